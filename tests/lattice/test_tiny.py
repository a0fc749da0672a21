import math

import pytest
import torch

from growlattice.lattice import compact
from growlattice.lattice._bottleneck import best_channels, trace
from growlattice.lattice._tiny import capped, extend_by_gain, fresh_norms, times

from ..lattices import fresh_lattice, writers
from .test_bottleneck import FORMS, loss_of, small_lattice, some_images


def by_gain(lattice, mask, loss=loss_of, **options):
    """The lattice extended on six images, and its loss before and after."""
    images = some_images(lattice)

    def loss_on_images(lattice):
        with torch.no_grad():
            return float(loss(lattice(images)))

    drawn = dict(inputs_left=None, generator=torch.Generator().manual_seed(0))
    traces_of = lambda lattice: [trace(lattice, images, loss)]  # noqa: E731
    larger = extend_by_gain(lattice, mask, traces_of=traces_of, loss_of=loss_on_images, **{**drawn, **options})
    return larger, loss_on_images(lattice), loss_on_images(larger)


def room(lattice):
    """A mask with a channel more in each layer, and two in a new one."""
    mask = lattice.mask.clone()
    mask[:-1, 3] = True
    mask[-1, :2] = True
    return mask


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_new_channels_of_all_layers_lower_the_loss(form):
    lattice = small_lattice(**form)
    larger, before, after = by_gain(lattice, room(lattice))
    assert after < before
    assert sum(larger.channels_left) > sum(lattice.channels_left)
    old = dict(lattice.named_parameters())
    for layer, count in enumerate(lattice.channels_left):
        assert torch.equal(larger.lateral[layer].weight[:count, :count], old[f"lateral.{layer}.weight"])


def useless(lattice, runs, layer, n_candidates):
    """Candidates that raise the loss: the best, with the sign of their outgoing weights turned."""
    found = best_channels(lattice, runs, layer, n_candidates)
    found.outgoing = -found.outgoing
    return found


def test_what_would_raise_the_loss_is_not_added():
    """Turned the wrong way, channels make the answers worse, or join a pool that is better where it is larger."""
    lattice = small_lattice()
    larger, before, after = by_gain(lattice, room(lattice), find=useless)
    assert after <= before
    alone = lattice.mask.clone()
    alone[-1, :2] = True  # a new layer on top is in no pool of the others
    larger, before, after = by_gain(lattice, alone, find=useless)
    assert after == before and larger is lattice


def test_nothing_is_added_where_nothing_is_wanted():
    lattice = small_lattice()
    larger, _, _ = by_gain(lattice, room(lattice), loss=lambda output: 0.0 * output.log_probas.sum())
    assert larger is lattice


def test_a_layer_needs_the_one_below_it():
    def only_above(lattice, runs, layer, n_candidates):
        return (useless if layer == 1 else best_channels)(lattice, runs, layer, n_candidates)

    lattice = compact(small_lattice(), torch.tensor([[True] * 5, *[[False] * 5] * 3]))
    mask = lattice.mask.clone()
    mask[1:3, :2] = True
    assert by_gain(lattice, mask, find=only_above)[0] is lattice
    assert by_gain(lattice, mask)[0].channels_left == [3, 2, 2]


@pytest.mark.parametrize("time_selection, n_channels", [("adaptive", 8), ("fixed", 8), ("adaptive", 24)])
def test_norms_of_a_fresh_draw_are_those_of_what_is_drawn(time_selection, n_channels):
    """In the mean of squares over channels and seeds."""
    sizes = dict(n_channels=n_channels, n_layers=3, n_steps=2, time_selection=time_selection)
    incoming, outgoing = torch.zeros(3), torch.zeros(3)
    n_seeds = 30
    for seed in range(n_seeds):
        lattice = fresh_lattice(seed=seed, **sizes)
        for layer in range(3):
            written = torch.cat([kernel.weight.flatten(1) for kernel in writers(lattice, layer)], dim=1)
            read = [lattice.lateral[layer].weight.transpose(0, 1).flatten(1)]
            read += [kernel.weight.transpose(0, 1).flatten(1) for kernel in lattice.bottom_up[layer + 1 : layer + 2]]
            if layer:
                read.append(lattice.top_down[layer - 1].weight.transpose(0, 1).flatten(1))
            readers = [lattice.readout] + ([lattice.selector[0]] if lattice.selector else [])
            read += [reader.weight[:, n_channels * layer : n_channels * (layer + 1)].T for reader in readers]
            incoming[layer] += written.detach().square().sum() / n_channels / n_seeds
            outgoing[layer] += torch.cat(read, dim=1).detach().square().sum() / n_channels / n_seeds
    for layer in range(3):
        expected = math.sqrt(incoming[layer]), math.sqrt(outgoing[layer])
        assert fresh_norms(lattice, layer) == pytest.approx(expected, rel=0.05)


def test_norms_are_capped_at_those_of_a_fresh_draw():
    lattice = small_lattice()
    found = best_channels(lattice, [trace(lattice, some_images(lattice), loss_of)], 1, 3)
    small = capped(found, 1e-3, 2.0)
    torch.testing.assert_close(small.incoming.norm(dim=1), torch.full((3,), 1e-3, dtype=torch.float64))
    torch.testing.assert_close(small.outgoing.norm(dim=1), 2 * found.gain / found.gain[0])
    assert torch.equal(capped(found, 1e6, 2.0).incoming, found.incoming)  # a cap, not a scale
    torch.testing.assert_close(times(small, 0.5).outgoing, 0.5 * small.outgoing)
    mask = room(lattice)
    larger, _, _ = by_gain(lattice, mask)
    for layer, count in enumerate(lattice.channels_left):
        new = torch.cat([kernel.weight[count:].flatten(1) for kernel in writers(larger, layer)], dim=1)
        assert (new.norm(dim=1) <= fresh_norms(larger, layer)[0] + 1e-9).all()
