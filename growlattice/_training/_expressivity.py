"""Where a lattice lacks expressivity on a training set: what its layers want and cannot have, and channels for it."""

import copy
import math
from functools import partial

import numpy as np
import torch
from sklearn.utils import gen_batches

from ..lattice._bottleneck import best_channels, trace, unreachable
from ..lattice._surgery import extend
from ..lattice._tiny import extend_by_gain
from ._inference import filled
from ._training_set import TrainingSet

BATCH = 64
PIXELS, FEWEST = 2**14, 32  # of all training images that new channels are drawn on together, and fewest of those images


def traces(lattice, data):
    """Runs of a lattice over a training set in batches, whose losses add up to the error cost.

    Parameters
    ----------
    lattice : Lattice
        In float64, for the squares of small numbers.
    data : TrainingSet
        As `upload` gives it.

    Returns
    -------
    list of Trace
    """
    return [trace(lattice, images, loss, weights) for images, loss, weights in _batches(lattice, data)]


def expressivity(lattice, data, n_channels):
    """For each layer, and a new one on top if there may be one, what its readers want and cannot have.

    Parameters
    ----------
    lattice : Lattice
    data : TrainingSet
        As `upload` gives it.
    n_channels : int
        How many new channels the gain is of.

    Returns
    -------
    list of dict
    """
    lattice = copy.deepcopy(lattice).double().eval()
    runs, depth = traces(lattice, data), len(lattice.bottom_up)
    rows = []
    for layer in range(min(depth + 1, lattice.n_layers)):
        found = best_channels(lattice, runs, layer, n_channels)
        rows.append(
            {
                "layer": layer + 1,
                "resource": "channels" if layer < depth else "layers",
                "unreachable": unreachable(lattice, runs, layer),
                "gain": float(found.gain.norm()),
                "best_gain": float(found.gain[:1].sum()),
            }
        )
    return rows


def draw_by_gain(data, lattice, move, generator, find=best_channels):
    """A lattice extended by a move, with the channels that lower the error cost of some training images most.

    Parameters
    ----------
    data : TrainingSet
        As `upload` gives it. As many of its images are taken as have 2 ** 14 pixels together, but at least 32.
    lattice, move, generator
        See :func:`growlattice._training._growth.grow_net`.
    find : callable
        See :func:`growlattice.lattice._tiny.extend_by_gain`, which leaves out what lowers the error cost not at all.

    Returns
    -------
    Lattice
        In float64.
    """
    lattice, some = copy.deepcopy(lattice).double().eval(), some_images(data, generator)
    traces_of, error_of = partial(traces, data=some), partial(_error, data=some)
    mask, inputs_left = move.mask, move.inputs_left
    larger = extend_by_gain(lattice, mask, inputs_left, traces_of, error_of, generator=generator, find=find)
    return extend(larger, steps_left=move.steps_left, generator=generator)


@torch.no_grad()
def _error(lattice, data):
    """Error cost of a lattice on a training set."""
    return float(sum(loss(lattice(images)) for images, loss, _ in _batches(lattice, data)))


def some_images(data, generator):
    """Some images of a training set, with numbers to predict in float64."""
    n_images = max(PIXELS // math.prod(data.images.shape[2:]), FEWEST)
    rows = torch.randperm(len(data), generator=generator, device="cpu")[:n_images]
    images = data.images[rows.numpy()] if isinstance(data.images, np.ndarray) else data.images[rows]
    targets, weight = data.targets[rows], data.sample_weight
    targets = targets.double() if targets.is_floating_point() else targets
    return TrainingSet(images, targets, None if weight is None else weight[rows])


def _batches(lattice, data):
    """Images of each batch, the part that it has in the error cost of all as a function of the output, and weights."""
    for rows in gen_batches(len(data), BATCH):
        n_images = rows.stop - rows.start
        weights = None if data.sample_weight is None else data.sample_weight[rows]
        loss = partial(_share_of_error, lattice.task, n_images / len(data), data.targets[rows], weights)
        yield filled(data.images[rows], n_images, lattice.pixel_mean.device), loss, weights


def _share_of_error(task, share, targets, weights, output):
    return share * task.error(output, targets, weights)
