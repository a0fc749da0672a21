import math

import pytest
import torch
from scipy import stats

from growlattice.lattice import add_normalized, divisive_normalization, time_selection_weights
from growlattice.lattice._operations import convolve, join_kernels, spatial_mean, standard_normal


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_divisive_normalization_by_hand():
    drive = torch.tensor([[[[16.0]], [[-32.0]], [[0.0]]]])  # one pixel, 48 together: 3 on 16 channels
    assert divisive_normalization(drive).flatten().tolist() == pytest.approx([4.0, -8.0, 0.0])


def test_divisive_normalization_of_16_channels_is_by_their_mean():
    drive = draw(2, 16, 3, 3)
    expected = drive / (1 + drive.abs().mean(dim=1, keepdim=True))
    torch.testing.assert_close(divisive_normalization(drive), expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(add_normalized(torch.zeros_like(drive), drive), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("n_channels", [3, 16, 20])
def test_silent_channels_make_no_difference(n_channels):
    hidden, drive = draw(2, n_channels, 3, 3), draw(2, n_channels, 3, 3, seed=1)
    silent = torch.zeros(2, 9, 3, 3, dtype=torch.float64)
    wider_hidden, wider_drive = (torch.cat([maps, silent], dim=1) for maps in (hidden, drive))
    normalized, added = divisive_normalization(wider_drive), add_normalized(wider_hidden, wider_drive)
    torch.testing.assert_close(normalized[:, :n_channels], divisive_normalization(drive), rtol=1e-14, atol=0)
    torch.testing.assert_close(added[:, :n_channels], add_normalized(hidden, drive), rtol=1e-14, atol=1e-14)
    assert not normalized[:, n_channels:].any() and not added[:, n_channels:].any()


def test_time_selection_by_hand():
    # scores of norm 5 become 0.6 and 0.8, times the root of 2/4: the weights are a softmax of 3 and 4 for temperature 5
    weights = time_selection_weights(torch.tensor([[3.0, 4.0]]), temperature=5.0 * 2**0.5).exp()
    assert weights.tolist()[0] == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])
    # of 4 steps, the reference, the root is 1
    weights = time_selection_weights(torch.tensor([[3.0, 4.0, 0.0, 0.0]]), temperature=5.0).exp()
    total = math.e**3 + math.e**4 + 2
    assert weights.tolist()[0] == pytest.approx([math.e**3 / total, math.e**4 / total, 1 / total, 1 / total])


def scores_with(n_steps, other):
    """Two steps that are used, of root mean square 1 to a percent, and the others with a score that is lower."""
    return torch.tensor([[1.1, 0.9] + [other] * (n_steps - 2)], dtype=torch.float64)


def root_mean_square(scores):
    return scores.square().mean().sqrt().item()


@pytest.mark.parametrize("n_steps", [2, 4, 6])
def test_ratios_of_weights_depend_on_the_root_mean_square_of_scores_and_not_on_the_number_of_steps(n_steps):
    """The ratio of two weights is exp(temperature * (score - other score) / (2 * root mean square of all scores)).

    That is what a number of steps does not change. The root mean square is over all steps, those that are never used
    too: if the scores of these are far from 0 it is larger, and the ratios of the others are nearer to 1.
    """
    low = -root_mean_square(scores_with(2, 0.0))
    ratio = math.exp(5 * (1.1 - 0.9) / (2 * -low))
    log_weights = time_selection_weights(scores_with(n_steps, low), temperature=5.0)[0]
    assert (log_weights[0] - log_weights[1]).exp().item() == pytest.approx(ratio, rel=1e-12)
    assert (log_weights[2:].exp() < 0.006).all()
    if n_steps > 2:
        lower = scores_with(n_steps, 3 * low)
        log_weights = time_selection_weights(lower, temperature=5.0)[0]
        expected = ratio ** (-low / root_mean_square(lower))
        assert 1 < expected < 0.95 * ratio
        assert (log_weights[0] - log_weights[1]).exp().item() == pytest.approx(expected, rel=1e-12)


def test_time_selection_ignores_the_scale_of_scores():
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(time_selection_weights(scores, 5.0), time_selection_weights(1e-3 * scores, 5.0))


def plain_sum(hidden, drive):
    return hidden + divisive_normalization(drive)


POOLS = pytest.mark.parametrize("n_channels", [3, 20])  # fewer and more than the pool is divided by
HIDDEN = pytest.mark.parametrize("every", [True, False])  # False: as at the first step, where no channel has a state


@POOLS
@HIDDEN
def test_a_normalized_drive_is_added(every, n_channels):
    hidden, drive = draw(2, n_channels if every else 1, 2, 2), draw(2, n_channels, 2, 2, seed=1)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(add_normalized(hidden, drive), plain_sum(hidden, drive))


@POOLS
@HIDDEN
def test_first_and_second_derivatives_pass_gradcheck(every, n_channels):
    hidden, drive = draw(2, n_channels if every else 1, 2, 1), draw(2, n_channels, 2, 1, seed=1)
    inputs = hidden.requires_grad_(), drive.requires_grad_()

    def squared(hidden, drive):  # so that the gradient of the sum is no constant
        return add_normalized(hidden, drive).square()

    assert torch.autograd.gradcheck(squared, inputs, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(squared, inputs)


@POOLS
@HIDDEN
def test_hessian_vector_products_equal_those_of_the_plain_sum(every, n_channels):
    hidden, drive = draw(2, n_channels if every else 1, 4, 3), draw(2, n_channels, 4, 3, seed=1)
    vector = draw(2, n_channels, 4, 3, seed=2)

    def product(add):
        inputs = hidden.clone().requires_grad_(), drive.clone().requires_grad_()
        gradients = torch.autograd.grad(add(*inputs).sigmoid().sum(), inputs, create_graph=True)
        return torch.autograd.grad((gradients[1] * vector).sum() + gradients[0].square().sum(), inputs)

    for found, expected in zip(product(add_normalized), product(plain_sum), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


@HIDDEN
def test_gradients_of_each_image_by_vmap_equal_those_of_a_loop(every):
    hidden, drive = draw(4, 1, 3 if every else 1, 2, 2), draw(4, 1, 3, 2, 2, seed=1)

    def loss(hidden, drive):
        return add_normalized(hidden, drive).square().sum()

    gradients = torch.func.grad(loss, argnums=(0, 1))
    together = torch.func.vmap(gradients)(hidden, drive)
    one_drive = torch.func.vmap(gradients, in_dims=(0, None))(hidden, drive[0])
    for index in range(4):
        for found, expected in zip(together, gradients(hidden[index], drive[index]), strict=True):
            torch.testing.assert_close(found[index], expected)
        for found, expected in zip(one_drive, gradients(hidden[index], drive[0]), strict=True):
            torch.testing.assert_close(found[index], expected)


def test_hessians_by_functional_transforms_equal_those_of_the_plain_sum():
    hidden, drive = draw(1, 3, 1, 2), draw(1, 3, 1, 2, seed=1)

    def hessian(add):
        return torch.func.jacrev(torch.func.jacrev(lambda drive: add(hidden, drive).square().sum()))(drive)

    torch.testing.assert_close(hessian(add_normalized), hessian(plain_sum))


def test_a_narrow_drive_leaves_the_hidden_state_wide():
    hidden = draw(2, 3, 4, 4, dtype=torch.float32).requires_grad_()
    drive = draw(2, 3, 4, 4, seed=1, dtype=torch.float32).bfloat16().requires_grad_()
    total = add_normalized(hidden, drive)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, plain_sum(hidden, drive.float()))
    weight = draw(2, 3, 4, 4, seed=2, dtype=torch.float32)
    found = torch.autograd.grad((total * weight).sum(), (hidden, drive))
    wide = drive.detach().float().requires_grad_()
    expected = torch.autograd.grad((plain_sum(hidden, wide) * weight).sum(), (hidden, wide))
    assert [gradient.dtype for gradient in found] == [torch.float32, torch.bfloat16]
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1].bfloat16())


def test_a_mean_over_space_passes_its_gradient_on_with_channels_last():
    active = draw(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    gradients = []
    active.requires_grad_().register_hook(gradients.append)
    mean = spatial_mean(active)
    torch.testing.assert_close(mean, active.mean(dim=(2, 3)))
    (2 * mean.sum()).backward()
    assert gradients[0].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(gradients[0], torch.full_like(active, 2 / 20))


def test_convolutions_together_are_those_by_themselves():
    images = draw(2, 3, 4, 5)
    kernels = [(draw(2, 3, 3, 3, seed=1), None), (draw(1, 3, 3, 3, seed=2), draw(1, seed=3)), (draw(4, 3, 3, 3), None)]
    together = convolve(images, *join_kernels(kernels)).split([2, 1, 4], dim=1)
    for one, (weight, bias) in zip(together, kernels, strict=True):
        torch.testing.assert_close(one, convolve(images, weight, bias))


def drawn_numbers(*shape, seed=0, dtype=torch.float32):
    return standard_normal(shape, torch.Generator().manual_seed(seed), dtype, torch.device("cpu"))


def test_standard_normal_numbers_are_independent_and_normal():
    numbers = drawn_numbers(1000, 1003)
    assert stats.kstest(numbers.flatten().double(), "norm").pvalue > 0.01
    assert numbers.double().var().item() == pytest.approx(1, abs=0.006)  # four standard errors
    error = numbers.shape[0] ** -0.5
    neighbours = torch.corrcoef(numbers[:, :8].T) - torch.eye(8)  # from one word of 64 bits, and from two
    assert neighbours.abs().max() < 4 * error
    assert abs(torch.corrcoef(torch.stack([numbers.flatten()[:-4], numbers.flatten()[4:]]))[0, 1]) < 0.004


def test_standard_normal_reaches_into_both_tails_and_not_further():
    largest = stats.norm.isf(0.5 / 2**16)
    numbers = drawn_numbers(1000, 1003)
    assert numbers.max().item() == pytest.approx(largest, rel=1e-6)
    assert numbers.min().item() == pytest.approx(-largest, rel=1e-6)


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (0, 7), (2, 4)])
def test_standard_normal_has_the_shape_and_dtype_asked_for_and_the_numbers_of_the_seed(shape):
    numbers = drawn_numbers(*shape, dtype=torch.float64)
    assert numbers.shape == shape and numbers.dtype == torch.float64
    torch.testing.assert_close(numbers, drawn_numbers(*shape).double(), rtol=0, atol=0)
    assert numbers.numel() == 0 or not torch.equal(numbers, drawn_numbers(*shape, seed=1, dtype=torch.float64))


@pytest.mark.parametrize("with_bias", [False, True])
def test_a_convolution_over_one_pixel_is_a_product(with_bias):
    images, kernel = draw(3, 4, 5, 6).to(memory_format=torch.channels_last), draw(2, 4, 1, 1, seed=1)
    bias = draw(2, seed=2) if with_bias else None
    expected = torch.nn.functional.conv2d(images, kernel, bias)
    found = convolve(images, kernel, bias)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    assert found.is_contiguous(memory_format=torch.channels_last)
