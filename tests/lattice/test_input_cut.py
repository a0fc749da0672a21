import numpy as np
import pytest
import torch

from growlattice.lattice import compact
from growlattice.lattice._input_cut import cut_input, input_products, input_rank
from growlattice.lattice._surgery import cut_tensors

from .. import reference
from ..lattices import as_arrays, copy_of, make_images, make_lattice

MASK = torch.tensor([[0, 1], [1, 1], [0, 0]], dtype=torch.bool).repeat(1, 6)  # 6, 12 and 0 of 12 channels
# Input channels that suffice: the weights that read a patch of the image and the bias, or those that write layer 1.
CASES = {
    "grey image": (dict(shape=(1, 5, 4)), 10),
    "two colours": (dict(shape=(2, 5, 4)), 12),
    "kernels of 5": (dict(shape=(1, 7, 6), kernel_size=5), 12),
    "kernels of 1": (dict(shape=(3, 4, 3), kernel_size=1), 4),
    "table": (dict(shape=(5, 1, 1)), 6),
    "wide table": (dict(shape=(30, 1, 1)), 12),
    "smaller first layer": (dict(shape=(1, 7, 6), downsample=(2, 1, 2)), 10),
    "one step": (dict(shape=(1, 5, 4), n_steps=1, time_selection="fixed"), 10),
}


def made(kind):
    parameters, rank = CASES[kind]
    return make_lattice(n_channels=12, **parameters), make_images(3, parameters["shape"]), rank


@pytest.mark.parametrize("kind", CASES)
def test_an_exact_cut_computes_the_same(kind):
    lattice, images, rank = made(kind)
    assert input_rank(lattice) == rank
    small = cut_input(lattice, rank)
    assert (small.inputs_left, small.input.out_channels, small.bottom_up[0].in_channels) == (rank,) * 3
    for found, expected in zip(small(images), lattice(images), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
    assert (small.macs() < lattice.macs()) == (rank < 12)


def test_an_exact_cut_drives_every_pixel_the_same_at_the_borders_too():
    """Against naive convolutions of the image, in which the bias is not padded."""
    lattice, images, rank = made("grey image")
    drives = []
    for weights in map(as_arrays, (lattice, cut_input(lattice, rank))):
        image = (images[0].numpy() - weights["pixel_mean"]) / weights["pixel_std"]
        below = reference.convolve(image, weights["input.weight"], weights["input.bias"])
        drives.append(reference.convolve(below, weights["bottom_up.0.weight"], weights["bottom_up.0.bias"]))
    np.testing.assert_allclose(*drives, atol=1e-10)
    assert np.abs(drives[0][:, 0, 0] - drives[0][:, 2, 2]).max() > 0.1


def test_a_lattice_with_few_channels_left_needs_few_inputs():
    lattice, images, _ = made("wide table")
    small = compact(lattice, MASK)
    assert input_rank(small) == 6
    for found, expected in zip(cut_input(small, 6)(images), small(images), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def test_inputs_that_repeat_each_other_or_are_silent_are_not_needed():
    lattice = make_lattice(n_channels=6, shape=(2, 5, 4))
    with torch.no_grad():
        lattice.input.weight[1], lattice.input.bias[1] = -2 * lattice.input.weight[0], -2 * lattice.input.bias[0]
        lattice.bottom_up[0].weight[:, 5] = 0
    assert input_rank(lattice) == 4
    with torch.no_grad():
        lattice.bottom_up[0].weight.zero_()
    assert input_rank(lattice) == 1
    images = make_images(2, (2, 5, 4))
    torch.testing.assert_close(cut_input(lattice, 1)(images).log_probas, lattice(images).log_probas)


def composed(lattice):
    """The two convolutions as one of a patch of patches: (n_kept, k, k, channels of the image * k * k + 1)."""
    read = torch.cat([lattice.input.weight.flatten(1), lattice.input.bias[:, None]], dim=1)
    return torch.einsum("oiyx,ij->oyxj", lattice.bottom_up[0].weight, read).detach()


def test_a_deeper_cut_is_the_nearest_of_its_rank():
    lattice = made("two colours")[0]
    product = composed(lattice).flatten(0, 2)
    singular_values = torch.linalg.svdvals(product)
    for n_inputs in (1, 3, 7):
        found = composed(cut_input(lattice, n_inputs)).flatten(0, 2)
        assert torch.linalg.matrix_rank(found) == n_inputs
        error = (found - product).square().sum()
        torch.testing.assert_close(error, singular_values[n_inputs:].square().sum(), rtol=1e-9, atol=0)


def drive(lattice, images):
    """What the first layer's kernels make of images, by naive loops."""
    weights, drives = as_arrays(lattice), []
    for image in images.numpy():
        image = (image - weights["pixel_mean"]) / weights["pixel_std"]
        below = reference.convolve(image, weights["input.weight"], weights["input.bias"])
        below = reference.block_means(below, lattice.factors[0])
        drives.append(reference.convolve(below, weights["bottom_up.0.weight"]))
    return np.array(drives)


@pytest.mark.parametrize("downsample", [1, (2, 1, 1)])
def test_products_are_means_over_pixels_of_what_the_first_layer_reads(downsample):
    lattice, images = make_lattice(n_channels=5, shape=(2, 5, 4), downsample=downsample), make_images(3, (2, 5, 4))
    weights = as_arrays(lattice)
    for found, image in zip(input_products(lattice, images), images.numpy(), strict=True):
        image = (image - weights["pixel_mean"]) / weights["pixel_std"]
        below = reference.convolve(image, weights["input.weight"], weights["input.bias"])
        below = reference.block_means(below, lattice.factors[0])
        expected = [[(one * other).mean() for other in below] for one in below]
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("downsample", [1, (2, 1, 1)])
def test_with_images_a_cut_is_one_that_they_hardly_show(downsample):
    """What they lack costs nothing: of the channels of the images, only two vary."""
    lattice = make_lattice(n_channels=9, kernel_size=1, shape=(8, 5, 4), downsample=downsample)
    images = make_images(40, (8, 5, 4))
    images[:, 2:] *= 0.01
    moment, full = input_products(lattice, images).mean(dim=0), drive(lattice, images)
    for n_inputs in (2, 3, 4):
        errors = [
            np.square(drive(cut_input(lattice, n_inputs, given), images) - full).mean() for given in (moment, None)
        ]
        assert errors[0] < errors[1]
    assert errors[0] < 1e-3 * errors[1]


def test_with_images_a_cut_is_the_nearest_that_there_is():
    """With kernels of 1, what changes is, in the sum of squares, the singular values left out: no less can be."""
    lattice, images = make_lattice(n_channels=5, kernel_size=1, shape=(6, 3, 3)), make_images(9, (6, 3, 3))
    moment, full = input_products(lattice, images).mean(dim=0), drive(lattice, images)
    values = torch.linalg.svdvals(torch.from_numpy(full).movedim(1, 3).flatten(0, 2))
    for n_inputs in (1, 2, 4):
        error = np.square(drive(cut_input(lattice, n_inputs, moment), images) - full).sum()
        assert error == pytest.approx(values[n_inputs:].square().sum().item(), rel=1e-6)


@pytest.mark.parametrize("images", [torch.zeros(4, 2, 5, 4).double(), torch.ones(1, 2, 5, 4).double()])
def test_images_that_show_nothing_or_little_leave_the_weights_finite(images):
    lattice = make_lattice(n_channels=6, shape=(2, 5, 4))
    moment = input_products(lattice, images).mean(dim=0)
    for given in (moment, torch.zeros_like(moment)):
        small = cut_input(lattice, 3, given)
        assert all(tensor.isfinite().all() for tensor in small.parameters())


@pytest.mark.parametrize("n_inputs", [2, 10])
def test_the_magnitudes_of_the_first_layer_keep_their_sum(n_inputs):
    lattice = made("grey image")[0]
    before, after = (of.channel_magnitude().detach() for of in (lattice, cut_input(lattice, n_inputs)))
    torch.testing.assert_close(after.sum(dim=1), before.sum(dim=1), rtol=1e-12, atol=0)
    assert torch.equal(after[1:], before[1:])


def test_single_precision_has_the_rank_that_rounding_leaves():
    lattice, images, rank = made("grey image")
    lattice, images = lattice.float(), images.float()
    assert input_rank(lattice) == rank
    small = cut_input(lattice, rank)
    assert {tensor.dtype for tensor in small.parameters()} == {torch.float32}
    torch.testing.assert_close(small(images).log_probas, lattice(images).log_probas, atol=1e-5, rtol=0)


def test_a_cut_shares_nothing_and_can_be_cut_again():
    lattice, images, _ = made("grey image")
    before = copy_of(lattice)
    twice = cut_input(cut_input(lattice, 8), 4)
    torch.testing.assert_close(composed(twice), composed(cut_input(lattice, 4)), atol=1e-10, rtol=0)
    with torch.no_grad():
        for tensor in twice.state_dict().values():
            tensor.zero_()
    assert torch.equal(lattice(images).log_probas, before(images).log_probas)


def test_channels_and_steps_go_from_a_lattice_with_fewer_inputs():
    lattice, images, _ = made("grey image")
    one, other = compact(cut_input(lattice, 7), MASK, 2, 0.8), compact(lattice, MASK, 2, 0.8)
    assert (one.inputs_left, other.inputs_left) == (7, 12)
    expected = cut_tensors(cut_input(lattice, 7).state_dict(), lattice.mask, MASK, 2)
    assert torch.equal(one.bottom_up[0].weight, expected["bottom_up.0.weight"])
    assert one(images).activity.shape == other(images).activity.shape


def test_a_state_brings_its_number_of_inputs():
    lattice, images, _ = made("grey image")
    small = cut_input(lattice, 5)
    for target, source in ((copy_of(lattice), small), (copy_of(small), lattice)):
        target.load_state_dict(source.state_dict())
        assert (target.inputs_left, target.macs()) == (source.inputs_left, source.macs())
        assert torch.equal(target(images).log_probas, source(images).log_probas)


@pytest.mark.parametrize("n_inputs", [0, -1, 13])
def test_a_number_of_inputs_that_there_cannot_be_is_named(n_inputs):
    with pytest.raises(ValueError, match=f"n_inputs={n_inputs} must be from 1 to the 12 input channels"):
        cut_input(made("grey image")[0], n_inputs)
