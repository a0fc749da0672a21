import math

import numpy as np
import pytest
import torch

from growlattice.lattice import _weights, compact, time_selection_weights
from growlattice.lattice._operations import standard_normal

from .. import reference
from ..lattices import as_arrays, copy_of, fresh_lattice, make_images, make_lattice, masked, without_use

SIZES = [
    dict(n_channels=1, n_layers=1, n_steps=1, kernel_size=1),
    dict(n_channels=3, n_layers=1, n_steps=3, kernel_size=3),
    dict(n_channels=2, n_layers=2, n_steps=1, kernel_size=5),
    dict(n_channels=3, n_layers=3, n_steps=3, kernel_size=3),
    dict(n_channels=2, n_layers=4, n_steps=2, kernel_size=1),
    dict(n_channels=17, n_layers=5, n_steps=5, kernel_size=1),
]


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
@pytest.mark.parametrize("sizes", SIZES)
def test_forward_equals_naive_reference(sizes, time_selection):
    lattice, images = make_lattice(**sizes, time_selection=time_selection), make_images()
    with torch.no_grad():
        output = lattice(images)
    for index, image in enumerate(images.numpy()):
        weights, step_probas, probas, activity = reference.forward(
            as_arrays(lattice), image, sizes["n_layers"], sizes["n_steps"], temperature=5.0
        )
        np.testing.assert_allclose(output.weights[index], weights, atol=1e-10)
        np.testing.assert_allclose(output.step_log_probas[index].exp(), step_probas, atol=1e-10)
        np.testing.assert_allclose(output.log_probas[index].exp(), probas, atol=1e-10)
        np.testing.assert_allclose(output.activity[index], activity, atol=1e-10)


FACTORS = [(2, 1, 1), (1, 2, 2), (2, 2, 2), (1, 3, 1), (4, 1, 1), (1, 1, 5)]


@pytest.mark.parametrize("factors", FACTORS)
def test_forward_at_other_resolutions_equals_naive_reference(factors):
    """With and without gradients, of sides that the factors divide and others."""
    lattice, images = make_lattice(downsample=factors, shape=(2, 7, 4)), make_images(shape=(2, 7, 4))
    arrays = as_arrays(lattice)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            output = [tensor.detach() for tensor in lattice(images)]
        for index, image in enumerate(images.numpy()):
            weights, step_probas, _, activity = reference.forward(arrays, image, 3, 3, temperature=5.0, factors=factors)
            np.testing.assert_allclose(output[0][index].exp(), step_probas, atol=1e-10)
            np.testing.assert_allclose(output[1][index].exp(), weights, atol=1e-10)
            np.testing.assert_allclose(output[2][index], activity, atol=1e-10)


@pytest.mark.parametrize("factor", [1, 2])
def test_one_factor_is_that_of_all_layers(factor):
    images, shape = make_images(shape=(2, 8, 8)), (2, 8, 8)
    one, all_three = (make_lattice(downsample=downsample, shape=shape) for downsample in (factor, [factor] * 3))
    assert torch.equal(one(images).log_probas, all_three(images).log_probas)
    assert one.config == all_three.config and one.config["downsample"] == (factor,) * 3


def test_gradients_at_other_resolutions_pass_gradcheck():
    lattice = make_lattice(n_channels=2, n_layers=2, n_steps=2, downsample=(1, 2), shape=(1, 3, 3))
    images = make_images(1, shape=(1, 3, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda pixels: lattice(pixels).log_probas, images)


@pytest.mark.parametrize("term", ["top_down", "lateral", "top_layer", "step_1"])
def test_every_term_matters(term):
    """Without the term the reference gives another answer, so the test above fails if the lattice drops it."""
    lattice, image = make_lattice(), make_images(1)
    with torch.no_grad():
        probas = lattice(image).log_probas[0].exp()
    with_term, without = (
        reference.forward(as_arrays(lattice), image[0].numpy(), 3, 3, temperature=5.0, drop=drop)[2]
        for drop in ((), (term,))
    )
    np.testing.assert_allclose(probas, with_term, atol=1e-10)
    assert np.abs(with_term - without).max() > 1e-4


def test_noise_is_added_to_every_hidden_state_and_accumulates():
    lattice, image = make_lattice(), make_images(1)
    sigma, draws = 0.3, torch.Generator().manual_seed(5)
    drawn = standard_normal((1, 3 * 3 * 36), draws, torch.float64, image.device)  # of steps and layers
    noise = drawn.reshape(3, 3, 4, 3, 3).permute(0, 1, 4, 2, 3).numpy()  # from (height, width, channels)
    with torch.no_grad():
        output = lattice(image, noise=sigma, generator=torch.Generator().manual_seed(5))
    probas = reference.forward(as_arrays(lattice), image[0].numpy(), 3, 3, temperature=5.0, noise=sigma * noise)[2]
    np.testing.assert_allclose(output.log_probas[0].exp(), probas, atol=1e-10)


def test_no_noise_unless_asked_for():
    lattice, images = make_lattice(), make_images()
    for training in (True, False):
        lattice.train(training)
        assert torch.equal(lattice(images).log_probas, lattice(images).log_probas)


def test_top_layer_gets_no_top_down_input():
    lattice = make_lattice(n_layers=3)
    assert (len(lattice.bottom_up), len(lattice.lateral), len(lattice.top_down)) == (3, 3, 2)


def test_adaptive_weights_differ_between_images_and_fixed_do_not():
    images = make_images(3)
    adaptive, fixed = (make_lattice(time_selection=kind)(images).weights.detach() for kind in ("adaptive", "fixed"))
    assert torch.equal(fixed[0], fixed[1])
    assert not torch.allclose(adaptive[0], adaptive[1])


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_a_fresh_lattice_weighs_all_steps_equally(time_selection):
    weights = fresh_lattice(n_steps=5, time_selection=time_selection)(make_images(3)).weights.detach()
    torch.testing.assert_close(weights, torch.full((3, 5), 0.2, dtype=torch.float64))


GAINS = _weights.BOTTOM_UP_GAIN, _weights.RECURRENT_GAIN


@pytest.mark.parametrize(
    "sizes", [dict(), dict(n_layers=5), dict(n_channels=16, n_layers=4), dict(n_layers=6, kernel_size=1)]
)
def test_channel_magnitude_equals_naive_reference(sizes):
    lattice = make_lattice(**sizes)
    expected = reference.channel_magnitude(as_arrays(lattice), lattice.n_layers, GAINS)
    np.testing.assert_allclose(lattice.channel_magnitude().detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_channel_magnitude_of_a_fresh_lattice_of_the_reference_size_is_about_one(kernel_size):
    lattices = [fresh_lattice(n_channels=16, n_layers=4, kernel_size=kernel_size, seed=seed) for seed in range(4)]
    magnitude = torch.stack([lattice.channel_magnitude().detach() for lattice in lattices]).mean(dim=0)
    assert magnitude.mean(dim=1).tolist() == pytest.approx([1.0] * 4, abs=0.05)


@pytest.mark.parametrize("n_channels, kernel_size", [(8, 3), (32, 3), (32, 1)])
def test_channel_magnitude_of_a_fresh_lattice_grows_as_the_root_of_its_breadth_and_from_16_on_with_it(
    n_channels, kernel_size
):
    """And from the fourth layer on the unit is of two kernels, but a fresh one has three wherever there is a next."""
    magnitude = make_lattice(n_channels=n_channels, n_layers=5, kernel_size=kernel_size).channel_magnitude()
    assert magnitude.shape == (5, n_channels)
    kernels = torch.tensor([1, 1, 1, 4 / 3, 1], dtype=torch.float64)
    ratio = magnitude.mean(dim=1) / kernels / max((n_channels / 16) ** 0.5, n_channels / 16)
    assert ratio.tolist() == pytest.approx([1.0] * 5, abs=0.1)


def test_at_the_reference_size_a_magnitude_is_a_mean_over_its_expectation_in_the_lattice():
    lattice = make_lattice(n_channels=16, n_layers=4, n_steps=4)
    up, side = (gain / (16 * 9) ** 0.5 * (2 / math.pi) ** 0.5 for gain in GAINS)
    for layer, found in enumerate(lattice.channel_magnitude().detach()):
        kernels = [lattice.bottom_up[layer], lattice.lateral[layer], *lattice.top_down[layer : layer + 1]]
        n_recurrent = len(kernels) - 1
        mean = torch.cat([kernel.weight for kernel in kernels], dim=1).abs().mean(dim=(1, 2, 3))
        expected = mean / ((up + n_recurrent * side) / (1 + n_recurrent))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("n_steps", [1, 2, 4, 6])
def test_the_lattice_weighs_steps_as_time_selection_weights_does(n_steps):
    lattice = make_lattice(n_steps=n_steps, time_selection="fixed")
    log_weights = lattice(make_images()).log_weights
    expected = time_selection_weights(lattice.step_scores.expand(2, -1), 5.0)
    torch.testing.assert_close(log_weights, expected, rtol=1e-12, atol=1e-14)


def test_gradients_reach_every_parameter():
    lattice = make_lattice()
    output = lattice(make_images())
    (output.log_probas[:, 0].sum() + output.weights[:, 0].sum()).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in lattice.parameters())


def test_gradients_pass_gradcheck():
    lattice, images = make_lattice(n_channels=2, n_layers=2, n_steps=2), make_images(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda pixels: lattice(pixels).log_probas, images)


def test_one_pixel_images_have_kernels_of_one():
    lattice = make_lattice(shape=(5, 1, 1))
    assert {kernel.weight.shape[2:] for kernel in lattice.bottom_up} == {(1, 1)}


def test_bytes_and_floats_give_the_same_answer():
    lattice = make_lattice()
    images = torch.randint(0, 256, (2, 2, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(lattice(images).log_probas, lattice(images.double()).log_probas)


# --- the logical form of a lattice from which something was removed ---

MASK = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=torch.bool)
NORM = 0.8  # of the scores of the two steps that are left


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_a_compacted_lattice_equals_naive_reference_in_logical_form(time_selection):
    full, images = make_lattice(time_selection=time_selection), make_images()
    arrays = as_arrays(masked(full, MASK)) | {"score_norm": NORM}
    with torch.no_grad():
        output = compact(full, MASK, steps_left=2, score_norm=NORM)(images)
    assert output.activity.shape == (2, 3, 3, 3)
    for index, image in enumerate(images.numpy()):
        weights, step_probas, probas, activity = reference.forward(arrays, image, 3, 2, temperature=5.0, bound=3)
        np.testing.assert_allclose(output.weights[index], [*weights, 0], atol=1e-10)
        np.testing.assert_allclose(output.step_log_probas[index].exp(), step_probas[[0, 1, 1]], atol=1e-10)
        np.testing.assert_allclose(output.log_probas[index].exp(), probas, atol=1e-10)
        np.testing.assert_allclose(output.activity[index], [*activity, np.zeros((3, 3))], atol=1e-10)
    assert (output.activity[:, :, ~MASK] == 0).all() and (output.activity[:, :2, MASK] > 0).any()
    assert (output.scores[:, 2] == 0).all()
    torch.testing.assert_close(output.scores.norm(dim=1), torch.full((2,), NORM, dtype=torch.float64))


def test_a_compacted_lattice_keeps_its_resolutions():
    full, images, factors = make_lattice(downsample=(1, 2, 2)), make_images(), (1, 2, 2)
    arrays = as_arrays(masked(full, MASK)) | {"score_norm": NORM}
    small = compact(full, MASK, steps_left=2, score_norm=NORM)
    with torch.no_grad():
        output = small(images)
    for index, image in enumerate(images.numpy()):
        probas = reference.forward(arrays, image, 3, 2, temperature=5.0, bound=3, factors=factors)[2]
        np.testing.assert_allclose(output.log_probas[index].exp(), probas, atol=1e-10)
    assert (small.factors, small.layer_sizes) == (factors, full.layer_sizes)


def test_channel_magnitude_of_a_compacted_lattice_equals_naive_reference():
    full = make_lattice()
    magnitude = compact(full, MASK).channel_magnitude().detach()
    arrays = as_arrays(without_use(full, MASK))
    np.testing.assert_allclose(magnitude, reference.channel_magnitude(arrays, 3, GAINS), rtol=1e-12)
    assert (magnitude[~MASK] == 0).all()


def test_magnitudes_of_the_connections_add_up():
    lattice = compact(make_lattice(), MASK)
    parts = [lattice.channel_magnitude([name]) for name in _weights.CONNECTIONS]
    torch.testing.assert_close(sum(parts), lattice.channel_magnitude())
    assert (parts[2][0, :2] > 0).all() and (parts[2][1:] == 0).all()  # nothing above the second layer is left


def test_gradients_of_magnitudes_reach_the_channels_left_alone():
    lattice = compact(make_lattice(), MASK)
    price = torch.arange(1.0, 10, dtype=torch.float64).reshape(3, 3)
    (lattice.channel_magnitude() * price).sum().backward()
    unit = lattice.channel_magnitude().detach()[0, 1] / sum(
        kernel.weight[1].abs().sum() for kernel in (lattice.bottom_up[0], lattice.lateral[0], lattice.top_down[0])
    )
    lateral = lattice.lateral[0].weight
    torch.testing.assert_close(lateral.grad[1], price[0, 1] * unit.detach() * lateral.detach()[1].sign())


def energy(lattice, output):
    return output.activity.mean()


def feedback(lattice, output):
    return lattice.channel_magnitude(["top_down"]).mean()


def test_costs_stay_what_they_are_when_silent_channels_go():
    silent, images = without_use(make_lattice(), MASK), make_images()
    small = compact(silent, MASK)
    for cost in (energy, feedback):
        torch.testing.assert_close(cost(small, small(images)), cost(silent, silent(images)), rtol=1e-12, atol=0)
    assert energy(small, small(images)) > 0 and feedback(small, None) > 0


@pytest.mark.parametrize(
    "lattice", [make_lattice(n_layers=1), compact(make_lattice(), MASK & torch.tensor([[True], [False], [False]]))]
)
def test_costs_are_finite_with_one_layer(lattice):
    output = lattice(make_images())
    assert feedback(lattice, output) == 0
    (feedback(lattice, output) + energy(lattice, output)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in lattice.parameters())


# --- loading a state of another stored form ---


def forms(seed=0):
    """Of one lattice: as it is, with fewer channels, with fewer steps, and with one channel."""
    full = make_lattice(time_selection="fixed", seed=seed)
    one = torch.zeros(3, 3, dtype=torch.bool)
    one[0, 2] = True
    return [full, compact(full, MASK), compact(full, full.mask, 2, NORM), compact(full, one, 1)]


@pytest.mark.parametrize("source", range(4))
@pytest.mark.parametrize("target", range(4))
def test_a_state_of_any_form_can_be_loaded(source, target):
    images = make_images()
    target, source = (
        forms()[target].train(),
        make_lattice(seed=7, time_selection="fixed") if not source else forms()[source],
    )
    result = target.load_state_dict(source.state_dict())
    assert (result.missing_keys, result.unexpected_keys) == ([], [])
    assert target.training
    for found, expected in zip(target(images), source(images), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(target.channel_magnitude(), source.channel_magnitude())
    assert (target.macs(), target.steps_left, target.channels_left) == (
        source.macs(),
        source.steps_left,
        source.channels_left,
    )
    there = {tensor.data_ptr() for tensor in source.parameters()}
    assert there.isdisjoint(tensor.data_ptr() for tensor in target.parameters())
    assert all(kernel.weight.is_contiguous(memory_format=torch.channels_last) for kernel in target.bottom_up)


def test_a_state_of_the_same_form_keeps_the_parameters():
    lattice = compact(make_lattice(), MASK)
    before = list(lattice.parameters())
    lattice.load_state_dict(copy_of(lattice).state_dict())
    assert [id(parameter) for parameter in lattice.parameters()] == [id(parameter) for parameter in before]


def test_a_state_brings_its_form_and_not_its_precision():
    small = compact(make_lattice(), MASK)
    lattice = make_lattice().float()
    lattice.load_state_dict(small.state_dict())
    assert {tensor.dtype for tensor in lattice.parameters()} == {torch.float32}
    torch.testing.assert_close(
        lattice(make_images()).log_probas, small(make_images()).log_probas, check_dtype=False, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("sizes", [dict(n_channels=2), dict(n_layers=2), dict(n_steps=2)])
def test_a_state_of_another_size_is_refused_and_leaves_the_form(sizes):
    lattice, images = make_lattice(time_selection="fixed"), make_images()
    before = lattice(images).activity
    with pytest.raises(RuntimeError, match="size mismatch for"):
        lattice.load_state_dict(make_lattice(time_selection="fixed", **sizes).state_dict())
    assert lattice(images).activity.shape == before.shape
    assert lattice.channels_left == [3, 3, 3] and lattice.steps_left == 3


# --- precision ---


class _Types(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes the types of what convolutions take and give, and of what is rectified: the hidden states."""

    def __init__(self):
        super().__init__()
        self.convolved, self.hidden = set(), set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        if function is torch.ops.aten.convolution.default:
            self.convolved |= {args[0].dtype, args[1].dtype, result.dtype}
        if function is torch.ops.aten.relu.default and args[0].dim() == 4:
            self.hidden.add(args[0].dtype)
        return result


@pytest.mark.parametrize("grad", [False, True])
def test_only_convolutions_are_narrow_whatever_the_caller_does(grad):
    lattice, images = make_lattice(n_channels=8, shape=(2, 8, 8)).float(), make_images(4, shape=(2, 8, 8)).float()
    with torch.set_grad_enabled(grad):
        with _Types() as types:
            output = lattice(images, conv_dtype=torch.bfloat16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = lattice(images, conv_dtype=torch.bfloat16)
    assert (types.convolved, types.hidden) == ({torch.bfloat16}, {torch.float32})
    for narrow, same, wide in zip(output, inside, lattice(images), strict=True):
        assert narrow.dtype == torch.float32
        assert torch.equal(narrow, same)
        torch.testing.assert_close(narrow, wide, atol=0.05, rtol=0)
    assert not torch.equal(output.log_probas, lattice(images).log_probas)


def test_gradients_have_the_precision_of_the_weights_and_are_close():
    lattice = fresh_lattice(n_channels=16, n_layers=2, shape=(2, 8, 8)).float()
    images, gradients = make_images(8, shape=(2, 8, 8)).float(), []
    for dtype in (None, torch.bfloat16):
        lattice.zero_grad()
        lattice(images, conv_dtype=dtype).log_probas[:, 0].sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in lattice.parameters() if p.grad is not None]))
    wide, narrow = gradients
    assert narrow.dtype == torch.float32
    assert 0 < (narrow - wide).norm() < 0.03 * wide.norm()


# --- devices ---


def test_a_lattice_does_not_mind_the_default_device():
    expected = make_lattice()(make_images())
    try:
        torch.set_default_device("meta")
        lattice = fresh_lattice()
        small = compact(lattice, MASK)
        small.channel_magnitude().sum().backward()
    finally:
        torch.set_default_device(None)
    assert {tensor.device.type for tensor in [*lattice.state_dict().values(), small.channel_index]} == {"cpu"}
    lattice.load_state_dict(make_lattice().state_dict())
    assert torch.equal(lattice(make_images()).log_probas, expected.log_probas)


def test_one_tensor_for_tools_that_want_a_function_of_images():
    lattice, images = make_lattice(), make_images()
    assert torch.equal(lattice.log_probas(images), lattice(images).log_probas)


@pytest.mark.parametrize("shape", [(1, 5, 4), (2, 4, 4), (2, 5, 6)])
def test_images_of_another_shape_are_refused(shape):
    lattice = make_lattice(shape=(2, 5, 4), n_layers=1)
    with pytest.raises(ValueError, match=rf"shape \({shape[0]}, .*, but the lattice is for \(2, 5, 4\)"):
        lattice(make_images(3, shape))


@pytest.mark.parametrize(
    "form, words",
    [
        (dict(time_selection="Adaptive"), "time_selection='Adaptive' is none of adaptive, fixed"),
        (dict(task="regresion"), "task='regresion' is none of classification, regression"),
        (dict(kernel_size=4), "kernel_size=4 must be odd"),
    ],
)
def test_a_form_that_does_not_exist_is_refused(form, words):
    with pytest.raises(ValueError, match=words):
        make_lattice(**form)
