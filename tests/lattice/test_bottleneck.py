"""The first-order theory of new channels, against finite differences of the loss in float64."""

import pytest
import torch

from growlattice.lattice import compact, extend
from growlattice.lattice._bottleneck import best_channels, put_channels, trace, unreachable

from ..lattices import make_images, make_lattice

LABELS = torch.tensor([0, 2, 3, 1, 1, 0])
FORMS = {
    "adaptive": {},
    "fixed": dict(time_selection="fixed"),
    "one step": dict(n_steps=1),
    "one layer": dict(n_layers=1),
    "resolutions": dict(downsample=(1, 2, 2), shape=(2, 5, 6)),
    "pixels": dict(kernel_size=1, shape=(3, 1, 1)),
}


def some_images(lattice):
    return make_images(6, lattice.config["image_shape"])


def loss_of(output):
    return -output.log_probas.gather(1, LABELS[:, None]).mean()


def small_lattice(n_layers=3, **form):
    """A lattice in which each layer has room for two more channels, and there is room for a layer."""
    lattice = make_lattice(n_channels=5, n_layers=n_layers + 1, **with_factors(form))
    mask = torch.ones(n_layers + 1, 5, dtype=torch.bool)
    mask[:, 3:] = False
    mask[-1] = False
    return compact(lattice, mask)


def with_factors(form):
    return form | ({"downsample": (*form["downsample"], 1)} if "downsample" in form else {})


def extended(lattice, layer):
    mask = lattice.mask.clone()
    mask[layer, 3 if mask[layer].any() else 0] = True
    return extend(lattice, mask, generator=torch.Generator().manual_seed(0))


def places(lattice):
    return [*range(len(lattice.bottom_up)), len(lattice.bottom_up)]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_predicted_decrease_is_that_of_the_loss(form):
    lattice = small_lattice(**form)
    images, amplitude, balance = some_images(lattice), 1e-4, 1e-8
    run = trace(lattice, images, loss_of)
    for layer in places(lattice):
        found = best_channels(lattice, [run], layer, n_candidates=3)
        assert (found.gain[:-1] >= found.gain[1:]).all() and found.gain[0] > 0
        grown, losses = extended(lattice, layer), []
        for factor in (amplitude, -amplitude):
            put_channels(grown, lattice.mask, lattice.inputs_left, layer, found, factor, balance)
            with torch.no_grad():
                losses.append(float(loss_of(grown(images))))
        assert 0.99 < (losses[1] - losses[0]) / (2 * amplitude * float(found.gain[0])) < 1.01, layer
        with torch.no_grad():
            put_channels(grown, lattice.mask, lattice.inputs_left, layer, found, 0.0, balance)
            assert float(loss_of(grown(images))) == pytest.approx(float(loss_of(lattice(images))), abs=1e-9)


def test_the_best_channels_do_better_than_random_ones():
    """Of the same norms, in the same layer."""
    lattice = small_lattice()
    images = some_images(lattice)
    run = trace(lattice, images, loss_of)
    found = best_channels(lattice, [run], 1, n_candidates=1)
    grown = extended(lattice, 1)
    decreases = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        other = best_channels(lattice, [run], 1, n_candidates=1)
        other.incoming = torch.randn(found.incoming.shape, generator=generator, dtype=torch.float64)
        other.incoming *= found.incoming.norm() / other.incoming.norm()
        other.outgoing = torch.randn(found.outgoing.shape, generator=generator, dtype=torch.float64)
        other.outgoing /= other.outgoing.norm()
        with torch.no_grad():
            put_channels(grown, lattice.mask, lattice.inputs_left, 1, other, 1e-4, 1e-8)
            decreases.append(float(loss_of(lattice(images)) - loss_of(grown(images))))
    assert max(decreases) < 0.5 * 1e-4 * float(found.gain[0])


def test_batches_add_up():
    lattice = small_lattice()
    images = some_images(lattice)
    whole = best_channels(lattice, [trace(lattice, images, loss_of)], 0, 2)

    def part(rows):
        return lambda output: -output.log_probas.gather(1, LABELS[rows, None]).sum() / 6

    runs = [trace(lattice, images[rows], part(rows)) for rows in (slice(0, 4), slice(4, 6))]
    torch.testing.assert_close(best_channels(lattice, runs, 0, 2).gain, whole.gain)


def test_what_weights_could_bring_about_is_reachable():
    """With as many weights as images, a readout can do all; few weights cannot."""
    lattice = small_lattice()
    images = some_images(lattice)
    shares = [unreachable(lattice, [trace(lattice, images, loss_of)], layer) for layer in places(lattice)]
    assert all(0 <= share < 1 for share in shares) and max(shares) > 0.01
    one = trace(lattice, images[:1], lambda output: -output.log_probas[:, 0].mean())
    assert unreachable(lattice, [one], len(lattice.bottom_up), ridge=1e-12) < 0.5


def test_a_top_layer_that_is_silent_leaves_to_its_readers_what_they_read_besides():
    lattice = small_lattice()
    with torch.no_grad():
        lattice.bottom_up[2].weight.zero_()
        lattice.bottom_up[2].bias.fill_(-1.0)
        lattice.lateral[2].weight.zero_()
    run = trace(lattice, some_images(lattice), loss_of)
    assert not any(active[2].any() for active in run.active)
    assert 0 < unreachable(lattice, [run], 2) < 1


def test_the_trace_leaves_the_lattice_as_it_is():
    lattice = small_lattice()
    images = some_images(lattice)
    before = lattice(images).log_probas.detach()
    trace(lattice, images, loss_of)
    assert torch.equal(lattice(images).log_probas, before)
    assert all(parameter.grad is None for parameter in lattice.parameters())
    assert not lattice.readout._forward_hooks


def test_an_image_of_weight_two_is_the_image_twice():
    lattice, n_times = small_lattice(), torch.tensor([1, 2, 1, 3, 1, 2])
    images = some_images(lattice)

    def loss_of_all(times, labels):
        return lambda output: -(times * output.log_probas.gather(1, labels[:, None])[:, 0]).sum()

    repeated = loss_of_all(1, LABELS.repeat_interleave(n_times))
    weighted = trace(lattice, images, loss_of_all(n_times, LABELS), n_times / 7)
    twice = trace(lattice, images.repeat_interleave(n_times, dim=0), repeated)
    for layer in places(lattice):
        found, expected = (best_channels(lattice, [run], layer, 2) for run in (weighted, twice))
        torch.testing.assert_close(found.gain, expected.gain)
        torch.testing.assert_close(found.incoming.abs(), expected.incoming.abs())
        shares = [unreachable(lattice, [run], layer) for run in (weighted, twice)]
        assert shares[0] == pytest.approx(shares[1], rel=1e-6)
