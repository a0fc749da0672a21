"""How far a lattice may reach is a guess: a bound that is never used does not matter."""

import pytest
import torch

from growlattice.lattice import breadth_cost, compact, depth_cost, error_cost, time_cost
from growlattice.lattice._surgery import score_norms

from ..lattices import embedded, make_images, make_lattice, part_of

SMALL, LARGE = dict(n_channels=5, n_layers=2, n_steps=3), dict(n_channels=9, n_layers=4, n_steps=5)
LABELS = torch.tensor([0, 3, 1])
SCORES = (1.1, 0.8, 1.2)  # of the small lattice's steps, if they are fixed


def small_lattice(time_selection, temperature=5.0):
    lattice = make_lattice(**SMALL, time_selection=time_selection)
    lattice.config["temperature"] = lattice.temperature = temperature
    if time_selection == "fixed":
        with torch.no_grad():
            lattice.step_scores.copy_(torch.tensor(SCORES, dtype=torch.float64))
    return lattice


def corner():
    mask = torch.zeros(LARGE["n_layers"], LARGE["n_channels"], dtype=torch.bool)
    mask[: SMALL["n_layers"], : SMALL["n_channels"]] = True
    return mask


def norm_of_the_same_scores():
    """Of the first 3 of 5 steps, if the root mean square of these is that of all: no number of steps changes it."""
    return (SMALL["n_steps"] / LARGE["n_steps"]) ** 0.5


def costs(lattice, output):
    magnitude = lattice.channel_magnitude()
    return {
        "error": error_cost(output.log_probas, LABELS),
        **{f"breadth {power}": breadth_cost(magnitude, power) for power in (0.0, 1.0, 4.0)},
        **{f"depth {power}": depth_cost(magnitude, power) for power in (0.0, 1.0, 4.0)},
        "time": time_cost(output.weights),
    }


def gradients(lattice):
    lattice.zero_grad()
    priced = costs(lattice, lattice(make_images(3)))
    (priced["error"] + 0.7 * priced["breadth 4.0"] + 0.6 * priced["depth 4.0"] + 0.5 * priced["time"]).backward()
    return {name: parameter.grad for name, parameter in lattice.named_parameters()}


def assert_equal_where_shared(found, expected, small, large, without=()):
    shared = [name for name in expected if name not in without]
    assert {name for name in found if part_of(name, found[name], small, large) is not None} >= set(shared)
    for name in shared:
        part = part_of(name, found[name], small, large)
        torch.testing.assert_close(part, expected[name].reshape(part.shape), atol=1e-10, rtol=0)
        assert expected[name].abs().max() > 1e-6  # or the equality says nothing


def assert_equal_output(small, large):
    """Where both have it; what only the larger has is silent."""
    images = make_images(3)
    with torch.no_grad():
        output, expected = large(images), small(images)
    steps, layers, channels = SMALL["n_steps"], SMALL["n_layers"], SMALL["n_channels"]
    pairs = [
        (output.log_probas, expected.log_probas),
        (output.step_log_probas[:, :steps], expected.step_log_probas),
        (output.weights[:, :steps], expected.weights),
        (output.activity[:, :steps, :layers, :channels], expected.activity),
        *zip(costs(large, output).values(), costs(small, expected).values(), strict=True),
    ]
    for found, equal in pairs:
        torch.testing.assert_close(found, equal, atol=1e-10, rtol=0)
    torch.testing.assert_close(output.weights[:, steps:], torch.zeros(3, 2).double(), atol=1e-10, rtol=0)
    assert not output.activity[:, :, ~corner()].any()
    magnitude = large.channel_magnitude().detach()
    torch.testing.assert_close(magnitude[corner()], small.channel_magnitude().detach().flatten(), atol=1e-12, rtol=0)
    assert not magnitude[~corner()].any()


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_channels_and_layers_that_are_silent_and_steps_that_are_removed_do_not_matter(time_selection):
    small = small_lattice(time_selection)
    large = embedded(small, **LARGE)
    large = compact(large, large.mask, SMALL["n_steps"], norm_of_the_same_scores())
    assert large.mask.all()
    assert_equal_output(small, large)
    found = gradients(large)
    assert_equal_where_shared(found, gradients(small), small, large)
    for name, gradient in found.items():  # what is silent stays silent in training
        if name.startswith(("input", "bottom_up", "lateral", "top_down")):
            part = part_of(name, gradient, small, large)
            whole, used = gradient.abs().sum(), 0 if part is None else part.abs().sum()
            torch.testing.assert_close(whole, torch.as_tensor(used, dtype=whole.dtype), atol=1e-12, rtol=0)


def test_steps_of_negligible_weight_do_not_matter_either():
    """The scores of the two other steps have the root mean square of the three, and the temperature makes it certain.

    Of the gradients, only that of the scores themselves is another: it is taken across the direction of all five.
    """
    small = small_lattice("fixed", temperature=60.0)
    low = -((sum(score**2 for score in SCORES) / 3) ** 0.5)
    large = embedded(small, **LARGE, other_scores=low)
    assert_equal_output(small, large)
    assert large.steps_left == 5 and (small(make_images(1)).weights[0] > 1e-12).all()
    found, expected = gradients(large), gradients(small)
    assert_equal_where_shared(found, expected, small, large, without=["step_scores"])


def stored_part(name, tensor):
    """Of a compacted lattice, what a smaller one has too: the image's map keeps all of its channels."""
    if name.startswith("input"):
        return tensor[: SMALL["n_channels"]]
    return tensor[:, : SMALL["n_channels"]] if name == "bottom_up.0.weight" else tensor


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_compaction_of_the_larger_is_the_smaller(time_selection):
    small = small_lattice(time_selection)
    left = compact(embedded(small, **LARGE), corner(), SMALL["n_steps"], norm_of_the_same_scores())
    assert (left.channels_left, left.steps_left) == (small.channels_left, small.steps_left)
    found, expected = dict(left.named_parameters()), dict(small.named_parameters())
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(stored_part(name, found[name]), expected[name]), name
    assert_equal_output(small, left)
    found, expected = gradients(left), gradients(small)
    for name in expected:
        torch.testing.assert_close(stored_part(name, found[name]), expected[name], atol=1e-10, rtol=0)


def test_a_compacted_lattice_has_the_norm_that_the_scores_of_its_steps_had():
    """Whose root mean square is that of all, so that the compacted lattice weighs steps as the smaller one does."""
    small = small_lattice("fixed")
    low = -((sum(score**2 for score in SCORES) / 3) ** 0.5)
    large = embedded(small, **LARGE, other_scores=low)
    norm = score_norms(large(make_images(1)))[0, SMALL["n_steps"] - 1]
    assert norm.item() == pytest.approx(norm_of_the_same_scores(), rel=1e-12)
    left = compact(large, corner(), SMALL["n_steps"], norm)
    torch.testing.assert_close(left(make_images(1)).weights[:, :3], small(make_images(1)).weights, atol=1e-12, rtol=0)
