import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.utils.flop_counter import FlopCounterMode

from growlattice.lattice import compact
from growlattice.lattice._surgery import (
    cut_state,
    cut_tensors,
    drop_unreachable_layers,
    lattice_from_tensors,
    score_norms,
)

from ..lattices import make_images, make_lattice, masked, without_use

MASKS = arrays(bool, (3, 3)).map(torch.from_numpy)


@given(MASKS, st.sampled_from(["adaptive", "fixed"]), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=60, deadline=None)
def test_a_compacted_lattice_computes_what_the_masked_one_does(mask, time_selection, dtype):
    lattice = make_lattice(time_selection=time_selection).to(dtype)
    images = make_images().to(dtype)
    mask = drop_unreachable_layers(mask)
    if not mask.any():
        with pytest.raises(ValueError, match="removes every channel"):
            compact(lattice, mask)
        return
    with torch.no_grad():
        expected, output = masked(lattice, mask)(images), compact(lattice, mask)(images)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    for name in ("log_probas", "step_log_probas", "weights", "activity", "scores"):
        torch.testing.assert_close(getattr(output, name), getattr(expected, name), atol=tolerance, rtol=0)


@given(MASKS, MASKS)
@settings(max_examples=30, deadline=None)
def test_compacting_twice_is_compacting_once(first, second):
    lattice, images = make_lattice(), make_images()
    both = drop_unreachable_layers(first & second)
    if not both.any():
        return
    twice = compact(compact(lattice, first), second)
    assert torch.equal(twice.mask, both)
    assert torch.equal(twice(images).log_probas, compact(lattice, both)(images).log_probas)


def test_an_empty_layer_empties_those_above():
    mask = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    assert drop_unreachable_layers(mask).tolist() == [[True, False, True], [False] * 3, [False] * 3]
    assert len(compact(make_lattice(), mask).bottom_up) == 1


def test_one_channel_can_survive():
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[0, 1] = True
    lattice = compact(make_lattice(), mask)
    assert lattice.lateral[0].weight.shape == (1, 1, 3, 3)
    assert len(lattice.top_down) == 0


def test_everything_can_survive():
    lattice, images = make_lattice(), make_images()
    assert torch.equal(compact(lattice, lattice.mask)(images).log_probas, lattice(images).log_probas)


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_trimmed_steps_are_the_first_ones(time_selection):
    lattice, images = make_lattice(time_selection=time_selection), make_images()
    shorter, full = compact(lattice, lattice.mask, steps_left=2)(images), lattice(images)
    torch.testing.assert_close(shorter.step_log_probas[:, :2], full.step_log_probas[:, :2])
    torch.testing.assert_close(shorter.step_log_probas[:, 2], full.step_log_probas[:, 1])
    torch.testing.assert_close(shorter.activity[:, :2], full.activity[:, :2])
    assert (shorter.activity[:, 2] == 0).all() and (shorter.weights[:, 2] == 0).all()


def test_magnitudes_keep_their_place_and_unit():
    lattice = make_lattice()
    mask = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    torch.testing.assert_close(
        compact(lattice, mask).channel_magnitude(), without_use(lattice, mask).channel_magnitude()
    )


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
@pytest.mark.parametrize(
    "sizes",
    [
        dict(),
        dict(n_layers=1),
        dict(kernel_size=1),
        dict(n_steps=1),
        dict(downsample=(2, 1, 2)),
        dict(downsample=(1, 3, 2)),
    ],
)
def test_macs_equal_those_that_torch_counts(sizes, time_selection):
    lattice = make_lattice(time_selection=time_selection, **sizes)
    mask = torch.rand(lattice.mask.shape, generator=torch.Generator().manual_seed(1)) > 0.3
    mask[0, 0] = True
    for counted in (lattice, compact(lattice, mask, steps_left=max(1, lattice.n_steps - 1))):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            counted(make_images(1))
        assert counted.macs() == counter.get_total_flops() / 2


def with_scores(*scores):
    lattice = make_lattice(n_steps=len(scores), time_selection="fixed")
    with torch.no_grad():
        lattice.step_scores.copy_(torch.tensor(scores))
    return lattice


def test_the_steps_left_keep_their_share_of_the_norm():
    """By hand, of the scores (1, .2, -3).

    Their norm is 3.1686, and softmax(5 * sqrt(3/4) * (.31560, .06312, -.94679)) is (.74663, .25021, .00316).
    """
    lattice, images = with_scores(1.0, 0.2, -3.0), make_images()
    output = lattice(images)
    torch.testing.assert_close(output.weights[0], torch.tensor([0.74663, 0.25021, 0.00316]).double(), atol=1e-5, rtol=0)
    norms = score_norms(output).mean(dim=0)
    torch.testing.assert_close(norms, torch.tensor([1.0, 1.04**0.5, 10.04**0.5]).double() / 10.04**0.5)
    kept = compact(lattice, lattice.mask, 2, norms[1])(images).weights[0]
    torch.testing.assert_close(kept[:2], output.weights[0, :2] / output.weights[0, :2].sum())
    torch.testing.assert_close(kept, torch.tensor([0.74900, 0.25100, 0]).double(), atol=1e-5, rtol=0)
    alone = compact(lattice, lattice.mask, 2)(images).weights[0]
    torch.testing.assert_close(alone, torch.tensor([0.96761, 0.03239, 0]).double(), atol=1e-5, rtol=0)


def test_steps_that_go_one_after_the_other_leave_the_same_weights():
    lattice, images = with_scores(1.0, 0.2, 0.7, -3.0), make_images()
    full = lattice(images)
    for steps_left in (3, 2):
        norms = score_norms(lattice(images)).mean(dim=0)
        lattice = compact(lattice, lattice.mask, steps_left, norms[steps_left - 1])
        weights = lattice(images).weights[:, :steps_left]
        expected = full.weights[:, :steps_left] / full.weights[:, :steps_left].sum(dim=1, keepdim=True)
        torch.testing.assert_close(weights, expected)


def test_adaptive_weights_of_an_image_keep_their_ratios_too():
    lattice, image = make_lattice(), make_images(1)
    output = lattice(image)
    weights = compact(lattice, lattice.mask, 2, score_norms(output)[0, 1])(image).weights[0, :2]
    torch.testing.assert_close(weights, output.weights[0, :2] / output.weights[0, :2].sum())


def test_a_cut_leaves_the_lattice_as_it_is_and_shares_nothing_with_it():
    lattice, images = make_lattice(), make_images()
    before = lattice(images).log_probas.detach()
    small = compact(lattice, lattice.mask, 2)
    with torch.no_grad():
        for tensor in small.state_dict().values():
            tensor.zero_()
    assert torch.equal(lattice(images).log_probas, before)
    assert lattice.mask.all() and lattice.steps_left == 3


def test_a_lattice_can_be_made_again_from_its_state():
    mask = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    small, images = compact(make_lattice(), mask, 2, 0.7), make_images()
    again = lattice_from_tensors(small.config, small.state_dict())
    for found, expected in zip(again(images), small(images), strict=True):
        assert torch.equal(found, expected)
    assert again.mask.equal(mask) and again.steps_left == 2


def test_moments_are_cut_as_the_parameters_they_belong_to():
    lattice = make_lattice(time_selection="fixed")
    mask = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    parameters = dict(lattice.named_parameters())
    moments = {f"{name}.exp_avg": tensor.detach() for name, tensor in parameters.items()}
    moments |= {f"{name}.step": torch.tensor(3.0) for name in parameters}
    left, state = cut_tensors(moments, lattice.mask, mask, 2), cut_state(lattice, mask, 2)
    kept = [name for name, _ in compact(lattice, mask, 2).named_parameters()]
    assert set(left) == {f"{name}.{kind}" for name in kept for kind in ("exp_avg", "step")}
    for name in kept:
        assert torch.equal(left[f"{name}.exp_avg"], state[name])
        assert left[f"{name}.step"] == 3


@pytest.mark.parametrize(
    "mask, steps_left, words",
    [
        (torch.ones(3, dtype=torch.bool), None, r"mask has shape \(3,\) and holds torch.bool. .* shape \(3, 3\)"),
        (torch.ones(3, 3, dtype=torch.int64), None, "holds torch.int64"),
        (torch.ones(3, 3, dtype=torch.bool), 0, "steps_left=0 must be from 1 to 2"),
        (torch.ones(3, 3, dtype=torch.bool), 3, "steps_left=3 must be from 1 to 2"),
    ],
)
def test_what_is_to_be_kept_must_be_there(mask, steps_left, words):
    shorter = compact(make_lattice(n_steps=3), torch.ones(3, 3, dtype=torch.bool), 2)
    with pytest.raises(ValueError, match=words):
        compact(shorter, mask, steps_left)
