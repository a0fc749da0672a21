"""Other ways to grow than those of the library, for benchmarks.growth: GradMax-like, random, and the edge by its gain.

GradMax (Evci, van Merriënboer, Unterthiner, Vladymyrov, Pedregosa, 2022) gives new channels no incoming weights, and
the outgoing weights at which the gradient of the incoming ones is largest. A ReLU at 0 passes no gradient, so incoming
weights are a thousandth of fresh ones here. Random channels have the norms of the best ones and random directions, and
the line search chooses their amplitude. By its gain, after each of the first six epochs the one edge gets fresh
channels at which the expected fall of the error cost per multiply-accumulate is largest, be it in use or not.
"""

import copy
from contextlib import ExitStack, contextmanager
from functools import partial
from unittest.mock import patch

import torch

from growlattice._estimators import _base
from growlattice._training import _growth
from growlattice._training._expressivity import draw_by_gain, expressivity, some_images, traces
from growlattice.lattice import extend
from growlattice.lattice._bottleneck import best_channels, put_channels
from growlattice.lattice._tiny import capped, fresh_norms

NO_WHITENING = 1e9  # ridge beside which what is read does not matter: the singular vectors are those of N alone
INCOMING = 1e-3


def draw_gradmax(data, lattice, move, generator):
    """A lattice extended by a move, nearly without a change of its answers."""
    lattice, some = copy.deepcopy(lattice).double().eval(), some_images(data, generator)
    had, inputs_left, runs = lattice.mask, lattice.inputs_left, traces(lattice, some)
    larger = extend(lattice, move.mask, move.steps_left, move.inputs_left, generator=generator)
    new = (larger.mask & ~had).sum(dim=1).tolist()
    for layer, n_new in enumerate(new):
        if n_new:
            incoming, outgoing = fresh_norms(larger, layer)
            found = best_channels(lattice, runs, layer, n_new, ridge=NO_WHITENING)
            put_channels(larger, had, inputs_left, layer, capped(found, INCOMING * incoming, outgoing), 1.0)
    return larger


def random_channels(lattice, runs, layer, n_candidates, seed=0):
    """Candidates of random directions."""
    found = best_channels(lattice, runs, layer, n_candidates)
    generator = torch.Generator().manual_seed(seed)
    for name in ("incoming", "outgoing"):
        weights = getattr(found, name)
        drawn = torch.randn(weights.shape, generator=generator, dtype=weights.dtype)
        setattr(found, name, drawn * weights.norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True))
    return found


def draw_edge_by_gain(data, lattice, move, generator):
    """A lattice extended by fresh channels at one edge of a move, and by its steps."""

    def extended(mask, steps_left, seeded):
        inputs_left = max(lattice.inputs_left, int(mask[0].sum()))
        return extend(lattice, mask, steps_left, inputs_left, generator=seeded, outgoing=1.0)

    gains, had, best = expressivity(lattice, some_images(data, generator), n_channels=8), lattice.mask, (0.0, None)
    for layer, row in enumerate(gains):
        mask = had.clone()
        mask[layer] |= move.mask[layer]
        macs = extended(mask, lattice.steps_left, torch.Generator()).macs() - lattice.macs()
        if macs and row["gain"] / macs > best[0]:
            best = row["gain"] / macs, mask
    return extended(had if best[1] is None else best[1], move.steps_left, generator)


BY_GAIN_UNTIL = 0.2  # share of training
DRAWS = {
    "GradMax": draw_gradmax,
    "random": partial(draw_by_gain, find=random_channels),
    "edge by gain": draw_edge_by_gain,
}


@contextmanager
def drawing(name):
    """Let estimators with ``growth="tiny"`` grow in another way."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(_base, "draw_by_gain", DRAWS[name]))
        if name == "edge by gain":
            patches.enter_context(patch.object(_growth, "IN_USE", 0.0))
            patches.enter_context(patch.object(_growth, "is_time_to_widen", _is_early))
        yield


def _is_early(epoch, n_epochs, priced):
    return epoch <= BY_GAIN_UNTIL * n_epochs
