import math

import pytest
import torch

from growlattice.lattice import add_normalized, divisive_normalization, time_selection_weights
from growlattice.lattice._operations import convolve, convolve_together, standard_normal_like


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_divisive_normalization_by_hand():
    drive = torch.tensor([[[[2.0]], [[-4.0]], [[0.0]]]])  # one pixel, mean magnitude 2
    assert divisive_normalization(drive, n_channels=3).flatten().tolist() == pytest.approx([2 / 3, -4 / 3, 0.0])


def test_time_selection_by_hand():
    # scores of norm 5 become 0.6 and 0.8, so the weights are a softmax of 3 and 4
    weights = time_selection_weights(torch.tensor([[3.0, 4.0]]), temperature=5.0).exp()
    assert weights.tolist()[0] == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])


def test_time_selection_ignores_the_scale_of_scores():
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(time_selection_weights(scores, 5.0), time_selection_weights(1e-3 * scores, 5.0))


def plain_sum(hidden, drive, n_channels):
    return hidden + divisive_normalization(drive, n_channels)


POOLS = pytest.mark.parametrize("n_channels", [3, 5])  # 5: two channels were removed
HIDDEN = pytest.mark.parametrize("n_hidden", [3, 1])  # 1: as at the first step, where no channel has a state yet


@POOLS
@HIDDEN
def test_a_normalized_drive_is_added(n_hidden, n_channels):
    hidden, drive = draw(2, n_hidden, 2, 2), draw(2, 3, 2, 2, seed=1)
    torch.testing.assert_close(add_normalized(hidden, drive, n_channels), plain_sum(hidden, drive, n_channels))


@POOLS
@HIDDEN
def test_first_and_second_derivatives_pass_gradcheck(n_hidden, n_channels):
    inputs = draw(2, n_hidden, 2, 1).requires_grad_(), draw(2, 3, 2, 1, seed=1).requires_grad_()

    def squared(hidden, drive):  # so that the gradient of the sum is no constant
        return add_normalized(hidden, drive, n_channels).square()

    assert torch.autograd.gradcheck(squared, inputs, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(squared, inputs)


@POOLS
@HIDDEN
def test_hessian_vector_products_equal_those_of_the_plain_sum(n_hidden, n_channels):
    hidden, drive, vector = draw(2, n_hidden, 4, 3), draw(2, 3, 4, 3, seed=1), draw(2, 3, 4, 3, seed=2)

    def product(add):
        inputs = hidden.clone().requires_grad_(), drive.clone().requires_grad_()
        gradients = torch.autograd.grad(add(*inputs, n_channels).sigmoid().sum(), inputs, create_graph=True)
        return torch.autograd.grad((gradients[1] * vector).sum() + gradients[0].square().sum(), inputs)

    for found, expected in zip(product(add_normalized), product(plain_sum), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


@HIDDEN
def test_gradients_of_each_image_by_vmap_equal_those_of_a_loop(n_hidden):
    hidden, drive = draw(4, 1, n_hidden, 2, 2), draw(4, 1, 3, 2, 2, seed=1)

    def loss(hidden, drive):
        return add_normalized(hidden, drive, 5).square().sum()

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
        return torch.func.jacrev(torch.func.jacrev(lambda drive: add(hidden, drive, 5).square().sum()))(drive)

    torch.testing.assert_close(hessian(add_normalized), hessian(plain_sum))


def test_a_narrow_drive_leaves_the_hidden_state_wide():
    hidden = draw(2, 3, 4, 4, dtype=torch.float32).requires_grad_()
    drive = draw(2, 3, 4, 4, seed=1, dtype=torch.float32).bfloat16().requires_grad_()
    total = add_normalized(hidden, drive, 3)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, plain_sum(hidden, drive.float(), 3))
    weight = draw(2, 3, 4, 4, seed=2, dtype=torch.float32)
    found = torch.autograd.grad((total * weight).sum(), (hidden, drive))
    wide = drive.detach().float().requires_grad_()
    expected = torch.autograd.grad((plain_sum(hidden, wide, 3) * weight).sum(), (hidden, wide))
    assert [gradient.dtype for gradient in found] == [torch.float32, torch.bfloat16]
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1].bfloat16())


def test_noise_lies_in_memory_as_the_drives_do_and_comes_from_the_generator():
    like = torch.zeros(2, 5, 3, 4, dtype=torch.float64)
    first, again = (standard_normal_like(like, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == like.shape and first.dtype == like.dtype
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(first, again)


def test_convolutions_together_are_those_by_themselves():
    images = draw(2, 3, 4, 5)
    kernels = [(draw(2, 3, 3, 3, seed=1), None), (draw(1, 3, 3, 3, seed=2), draw(1, seed=3)), (draw(4, 3, 3, 3), None)]
    for together, (weight, bias) in zip(convolve_together(images, kernels), kernels, strict=True):
        torch.testing.assert_close(together, convolve(images, weight, bias))
