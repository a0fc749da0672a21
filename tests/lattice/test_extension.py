"""`extend`, the inverse of `compact`."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from growlattice.lattice import Lattice, compact, extend
from growlattice.lattice._surgery import (
    STEP_SHARE,
    drop_unreachable_layers,
    extend_moments,
    extended_state,
    score_norms,
)

from ..lattices import fresh_lattice, make_images, make_lattice

MASKS = arrays(bool, (3, 4)).map(torch.from_numpy)
SMALL = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
LARGE = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 1]], dtype=torch.bool)
ALL = torch.ones(3, 4, dtype=torch.bool)


def seeded(seed=5):
    return torch.Generator().manual_seed(seed)


def small_lattice(mask=SMALL, steps_left=2, **parameters):
    lattice = make_lattice(n_channels=4, n_steps=4, **parameters)
    return compact(lattice, mask, steps_left, (steps_left / 4) ** 0.5)


@given(MASKS, MASKS, st.sampled_from(["adaptive", "fixed"]), st.sampled_from([0.0, 1.0]))
@settings(max_examples=40, deadline=None)
def test_a_cut_takes_back_exactly_what_was_added(first, second, time_selection, outgoing):
    mask, larger = drop_unreachable_layers(first & second), drop_unreachable_layers(first)
    if not mask.any():
        return
    lattice = small_lattice(mask, time_selection=time_selection)
    grown = extend(lattice, larger, 3, generator=seeded(), outgoing=outgoing)
    assert torch.equal(grown.mask, larger) and grown.steps_left == 3
    again = compact(grown, mask, 2, lattice.score_norm)
    for name, tensor in lattice.state_dict().items():
        if name != "log_step_share":
            assert torch.equal(again.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    "parameters", [{}, dict(time_selection="fixed"), dict(downsample=(2, 1, 2)), dict(kernel_size=1, seed=3)]
)
def test_a_new_layer_on_top_changes_no_answer(parameters):
    lattice, images = small_lattice(**parameters), make_images()
    mask = SMALL.clone()
    mask[2] = True
    expected, output = lattice(images), extend(lattice, mask, generator=seeded())(images)
    for name in ("step_log_probas", "log_weights", "scores"):
        torch.testing.assert_close(getattr(output, name), getattr(expected, name), atol=1e-12, rtol=0)
    assert (output.activity[:, :, 2] > 0).any() and (expected.activity[:, :, 2] == 0).all()
    drawn = extend(lattice, mask, generator=seeded(), outgoing=1.0)(images)
    assert (drawn.step_log_probas - expected.step_log_probas).abs().max() > 1e-3


def test_a_new_channel_changes_others_by_its_part_in_the_pool_alone():
    lattice, images = small_lattice(), make_images()
    mask = SMALL.clone()
    mask[0, 1] = True
    grown = extend(lattice, mask, generator=seeded())
    before, after = lattice.start(images), grown.start(images)
    weight, bias = grown.bottom_up[0].weight, grown.bottom_up[0].bias
    normalized = (images - lattice.pixel_mean) / lattice.pixel_std
    below = torch.nn.functional.conv2d(normalized, lattice.input.weight, lattice.input.bias, padding="same")
    drive = torch.nn.functional.conv2d(below, weight, bias, padding="same").abs()
    old = [0, 2]  # places of the channels that were there
    pool, added = drive[:, old].sum(dim=1, keepdim=True), drive[:, 1:2]
    expected = before.first_drive * (16 + pool) / (16 + pool + added)
    torch.testing.assert_close(after.first_drive[:, old], expected, atol=1e-12, rtol=0)
    assert (after.first_drive[:, old] - before.first_drive).abs().max() > 1e-3


def test_a_channel_whose_kernels_are_silent_changes_nothing():
    lattice, images = small_lattice(), make_images()
    state = extended_state(lattice, LARGE, generator=seeded())
    for name, tensor in state.items():
        if name.startswith(("bottom_up.0", "lateral.0", "top_down.0")):
            tensor[1] = 0  # the new one of the first layer
        if name.startswith(("bottom_up.1", "lateral.1", "top_down.1")):
            tensor[0] = 0
    grown = Lattice(**lattice.config, mask=LARGE, steps_left=2, inputs_left=lattice.inputs_left)
    grown.load_state_dict(state, assign=True)
    torch.testing.assert_close(grown(images).step_log_probas, lattice(images).step_log_probas, atol=1e-12, rtol=0)


def test_new_input_channels_change_no_answer():
    lattice, images = small_lattice(), make_images()
    state = lattice.state_dict() | {"input.weight": lattice.input.weight[:2].detach()}
    state |= {"input.bias": lattice.input.bias[:2].detach()}
    state |= {"bottom_up.0.weight": lattice.bottom_up[0].weight[:, :2].detach()}
    narrow = Lattice(**lattice.config, mask=SMALL, steps_left=2, inputs_left=2)
    narrow.load_state_dict(state, assign=True)
    grown = extend(narrow, inputs_left=4, generator=seeded())
    assert grown.inputs_left == 4
    torch.testing.assert_close(grown(images).log_probas, narrow(images).log_probas, atol=1e-12, rtol=0)


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_a_new_step_has_little_weight_at_first_and_all_of_it_in_the_end(time_selection):
    lattice, images = small_lattice(time_selection=time_selection), make_images()
    grown = extend(lattice, steps_left=3, generator=seeded())
    young = grown(images).weights
    grown.log_step_share.zero_()
    grown_up = grown(images).weights
    odds_young, odds = young[:, 2] / (1 - young[:, 2]), grown_up[:, 2] / (1 - grown_up[:, 2])
    torch.testing.assert_close(odds_young, STEP_SHARE * odds)
    torch.testing.assert_close(lattice(images).step_log_probas[:, :2], grown(images).step_log_probas[:, :2])
    if time_selection == "fixed":  # the ratios between the others stay
        before = lattice(images).weights
        torch.testing.assert_close(young[:, :2] / young[:, :1], before[:, :2] / before[:, :1])


def test_steps_come_of_age_within_six_epochs():
    grown = extend(small_lattice(), steps_left=4, generator=seeded())
    shares = []
    for _ in range(7):
        shares.append(float(grown.log_step_share[3].exp()))
        grown.age_steps()
    assert shares[0] == pytest.approx(STEP_SHARE) and shares[-1] == 1.0
    assert shares == sorted(shares) and shares[1] == pytest.approx(STEP_SHARE**0.5)
    assert (grown.log_step_share[:2] == 0).all()


def test_young_steps_weigh_less_in_the_first_steps_and_in_a_cut_too():
    grown, images = extend(small_lattice(), steps_left=4, generator=seeded()), make_images()
    output = grown(images)
    first = grown.first_steps(output, 3)
    norms = score_norms(output)
    cut = compact(grown, grown.mask, 3, norms[0, 2])(images[:1])
    expected = output.weights[:1, :3] / output.weights[:1, :3].sum(dim=1, keepdim=True)
    torch.testing.assert_close(cut.weights[:, :3], expected)
    assert (first.weights[:, 2] < STEP_SHARE * 10).all()


def test_a_lattice_made_small_is_as_one_whose_bound_is_small():
    """The initial time selection knows nothing of the bound."""
    mask = torch.ones(2, 3, dtype=torch.bool)
    bound = torch.zeros(4, 8, dtype=torch.bool)
    bound[:2, :3] = True
    sizes = dict(kernel_size=3, time_selection="adaptive", temperature=5.0)
    small = Lattice((1, 5, 5), 3, n_channels=3, n_layers=2, n_steps=2, mask=mask, generator=seeded(), **sizes)
    large = Lattice(
        (1, 5, 5), 3, n_channels=8, n_layers=4, n_steps=6, mask=bound, steps_left=2, inputs_left=3,
        generator=seeded(), **sizes,
    )  # fmt: skip
    images = make_images(shape=(1, 5, 5)).float()
    with torch.no_grad():
        for lattice in (small, large):
            lattice.selector[2].weight.fill_(0.3)
        torch.testing.assert_close(small(images).log_probas, large(images).log_probas)
        torch.testing.assert_close(small(images).weights, large(images).weights[:, :2])


def test_new_kernels_are_drawn_as_fresh_ones():
    lattice = fresh_lattice(n_channels=40, n_layers=2, n_steps=2)
    mask = torch.zeros(2, 40, dtype=torch.bool)
    mask[0, :2] = True
    grown = extend(compact(lattice, mask), torch.ones(2, 40, dtype=torch.bool), generator=seeded(), outgoing=1.0)
    use = grown.channel_magnitude().detach() / grown.fresh_magnitude()[:, None]
    assert use[0, 2:].mean() == pytest.approx(1, abs=0.02) and use[1].mean() == pytest.approx(1, abs=0.02)
    old = grown.lateral[0].weight[:2].detach()
    assert old[:, 2:].std() == pytest.approx(1 / (16 * 9) ** 0.5, rel=0.1)  # 16, of the reference, and not 40
    assert (extend(compact(lattice, mask), generator=seeded()).lateral[0].weight.shape) == (2, 2, 3, 3)


@pytest.mark.parametrize("form", [{}, dict(n_layers=1), dict(kernel_size=1), dict(n_layers=5), dict(n_channels=20)])
def test_fresh_magnitude_is_what_fresh_lattices_have_on_average(form):
    lattices = [fresh_lattice(**{"n_channels": 6, **form}, seed=seed) for seed in range(30)]
    found = torch.stack([lattice.channel_magnitude().mean(dim=1) for lattice in lattices]).mean(dim=0)
    torch.testing.assert_close(found, lattices[0].fresh_magnitude(), rtol=0.05, atol=0)


def test_the_generator_decides_what_is_drawn_and_nothing_is_shared():
    lattice, images = small_lattice(), make_images()
    before = lattice(images).log_probas.detach()
    one, same, other = (extend(lattice, LARGE, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.lateral[0].weight, same.lateral[0].weight)
    assert not torch.equal(one.lateral[0].weight, other.lateral[0].weight)
    with torch.no_grad():
        for tensor in one.state_dict().values():
            tensor.zero_()
    assert torch.equal(lattice(images).log_probas, before)


def test_moments_keep_what_there_was_and_begin_with_the_mean_of_the_squares():
    lattice = small_lattice(time_selection="fixed")
    parameters = dict(lattice.named_parameters())
    moments = {f"{name}.exp_avg": tensor.detach() for name, tensor in parameters.items()}
    moments |= {f"{name}.exp_avg_sq": tensor.detach().square() for name, tensor in parameters.items()}
    moments |= {f"{name}.step": torch.tensor(3.0) for name in parameters}
    grown = extend(lattice, LARGE, 3, generator=seeded())
    extended = extend_moments(moments, grown, lattice.mask)
    assert extended.keys() == moments.keys()
    assert "top_down.1.weight.step" not in extended  # a kernel that is new as a whole
    kernel, first = extended["lateral.0.weight.exp_avg"], moments["lateral.0.weight.exp_avg"]
    assert torch.equal(kernel[[0, 2]][:, [0, 2]], first) and kernel[1].abs().sum() == kernel[:, 1].abs().sum() == 0
    second = extended["bottom_up.1.bias.exp_avg_sq"]
    mean = moments["bottom_up.1.bias.exp_avg_sq"].mean()
    assert second[1] == moments["bottom_up.1.bias.exp_avg_sq"][0] and second[0] == mean
    assert extended["step_scores.exp_avg"].tolist() == [*lattice.step_scores.tolist(), 0]
    assert extended["lateral.0.weight.step"] == 3
    for name, parameter in grown.named_parameters():
        if f"{name}.exp_avg" in extended:
            assert extended[f"{name}.exp_avg"].shape == parameter.shape


BAD = {
    "a mask of another shape": (dict(mask=torch.ones(3, 5, dtype=torch.bool)), r"mask must be of shape \(3, 4\)"),
    "a gap": (dict(mask=ALL & torch.tensor([[True], [False], [True]])), "without an empty layer"),
    "a channel less": (dict(mask=torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0] * 4]).bool()), "lacks channels"),
    "fewer steps": (dict(steps_left=1), "steps_left=1 must be from 2"),
    "too many steps": (dict(steps_left=5), "to 4, the bound"),
    "too many inputs": (dict(inputs_left=5), "inputs_left=5 must be from 4"),
}  # fmt: skip


@pytest.mark.parametrize("form, message", BAD.values(), ids=BAD)
def test_forms_that_no_extension_has_are_refused(form, message):
    with pytest.raises(ValueError, match=message):
        extend(small_lattice(), **form, generator=seeded())


def test_the_reference_is_the_form_at_which_fresh_magnitude_is_one():
    lattice = fresh_lattice(n_channels=16, n_layers=4, n_steps=4)
    torch.testing.assert_close(lattice.fresh_magnitude(), torch.ones(4).double())
