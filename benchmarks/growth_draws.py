"""Other ways to draw new channels than those of the library, for benchmarks.growth: GradMax-like and random.

GradMax (Evci, van Merriënboer, Unterthiner, Vladymyrov, Pedregosa, 2022) gives new channels no incoming weights, and
the outgoing weights at which the gradient of the incoming ones is largest. A ReLU at 0 passes no gradient, so incoming
weights are a thousandth of fresh ones here. Random channels have the norms of the best ones and random directions, and
the line search chooses their amplitude.
"""

import copy
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import torch

from growlattice._estimators import _base
from growlattice._training._expressivity import draw_by_gain, some_images, traces
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


DRAWS = {"GradMax": draw_gradmax, "random": partial(draw_by_gain, find=random_channels)}


@contextmanager
def drawing(name):
    """Let estimators with ``growth="tiny"`` draw in another way."""
    with patch.object(_base, "draw_by_gain", DRAWS[name]):
        yield
