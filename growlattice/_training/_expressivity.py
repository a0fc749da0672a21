"""Where a lattice lacks expressivity on a training set: a table of what its layers want and cannot have."""

import copy

from ..lattice._bottleneck import best_channels, trace, unreachable
from ._inference import filled

BATCH = 64


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
    device, runs = lattice.pixel_mean.device, []
    for rows in _batches(len(data)):
        images = filled(data.images[rows], rows.stop - rows.start, device)
        runs.append(trace(lattice, images, _share_of_error(lattice, data, rows)))
    return runs


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


def _batches(n_images):
    return [slice(start, min(start + BATCH, n_images)) for start in range(0, n_images, BATCH)]


def _share_of_error(lattice, data, rows):
    """The part that a batch has in the error cost of all images, as a function of the output."""
    weight = None if data.sample_weight is None else data.sample_weight[rows]
    share = (rows.stop - rows.start) / len(data)
    return lambda output: share * lattice.task.error(output, data.targets[rows], weight)
