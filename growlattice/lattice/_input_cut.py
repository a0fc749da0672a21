"""Fewer channels between the image and the first layer: two convolutions in a row that are one linear map.

The input convolution and the first layer's bottom-up convolution have nothing between them but means of blocks of
pixels. The first, as a matrix, takes a patch of the image and a 1 to the input channels; the second takes these to each
channel of the first layer at each place in its kernel. What the first layer gets depends on the product of the two
matrices alone, at the borders too, where places outside the map count for nothing. So a product of smaller matrices
that is the same, or nearly the same, stands in for them: a singular value decomposition gives the best of each rank.
"""

import torch

from ._operations import convolve
from ._resolution import pool
from ._surgery import lattice_from_tensors

RIDGE = 1e-8  # of the mean square of an input channel: no direction is free because no image shows it


def input_rank(lattice):
    """How many input channels suffice for the same function: singular values of the product that are above rounding.

    Parameters
    ----------
    lattice : Lattice

    Returns
    -------
    int
        From 1 to `inputs_left`, and at most the number of weights of a kernel of the input convolution and its bias.
    """
    _, singular_values, _ = _decomposed(*_matrices(lattice))
    largest = max(lattice.bottom_up[0].weight.shape[0] * lattice.kernel_size**2, lattice.inputs_left)
    rounding = torch.finfo(lattice.input.weight.dtype).eps * largest * singular_values[0]
    return max(int((singular_values > rounding).sum()), 1)


def cut_input(lattice, n_inputs, moment=None):
    """A lattice with fewer channels of the input convolution, whose first layer is driven by nearly the same.

    Parameters
    ----------
    lattice : Lattice
    n_inputs : int
        Input channels to keep, from 1 to `inputs_left`.
    moment : tensor of shape (inputs_left, inputs_left), default=None
        Mean of `input_products` over images, on which the mean square of what changes in the kernels' drive is then the
        least possible. Without it, that is so of the kernels' product itself, and from `input_rank` up the function is
        the same to rounding.

    Returns
    -------
    Lattice
        With tensors of its own, on the same device. The magnitudes of the first layer's bottom-up kernels have the
        same sum over channels as before, so that costs keep their unit.

    Raises
    ------
    ValueError
        If there are not that many input channels.
    """
    if not 1 <= n_inputs <= lattice.inputs_left:
        raise ValueError(f"n_inputs={n_inputs} must be from 1 to the {lattice.inputs_left} input channels left.")
    left, singular_values, right = _decomposed(*_matrices(lattice), moment)
    n_inputs = min(n_inputs, len(singular_values))
    written, read = (left * singular_values)[:, :n_inputs], right[:n_inputs]
    weight = lattice.bottom_up[0].weight
    total = weight.detach().double().abs().sum().cpu()
    scale = total / written.abs().sum() if total else total + 1
    n_kept, _, k, _ = weight.shape
    state = {name: tensor.clone() for name, tensor in lattice.state_dict().items()}
    cut = {
        "input.weight": (read[:, :-1] / scale).unflatten(1, (-1, k, k)),  # (n_inputs, channels of the image, k, k)
        "input.bias": read[:, -1] / scale,
        "bottom_up.0.weight": (written * scale).unflatten(0, (n_kept, k, k)).movedim(3, 1),  # (n_kept, n_inputs, k, k)
    }
    return lattice_from_tensors(lattice.config, state | {name: tensor.to(weight) for name, tensor in cut.items()})


@torch.no_grad()
def input_products(lattice, images):
    """Products of all pairs of input channels, as the first layer reads them, averaged over pixels.

    Parameters
    ----------
    lattice : Lattice
    images : tensor of shape (n_images, n_inputs, height, width)
        As for the lattice.

    Returns
    -------
    tensor of float64 of shape (n_images, inputs_left, inputs_left)
    """
    maps = pool(convolve(lattice.normalize(images), lattice.input.weight, lattice.input.bias), lattice.factors[0])
    pixels = maps.double().flatten(2)  # (n_images, inputs_left, height * width)
    return pixels @ pixels.mT / pixels.shape[2]


@torch.no_grad()
def _matrices(lattice):
    """The two convolutions as matrices, in float64 on the CPU.

    Returns
    -------
    written : tensor of shape (n_kept * k * k, inputs_left)
    read : tensor of shape (inputs_left, channels of the image * k * k + 1)
        The last column is the bias.
    """
    first, second = lattice.input, lattice.bottom_up[0]
    read = torch.cat([first.weight.flatten(1), first.bias[:, None]], dim=1)
    return second.weight.movedim(1, 3).flatten(0, 2).double().cpu(), read.double().cpu()


def _decomposed(written, read, moment=None):
    """Factors of the product of two matrices: orthonormal columns, singular values, and rows.

    Of the product itself the rows are orthonormal; with a moment they are so on the images that it comes from.
    """
    if moment is not None:
        moment = moment.cpu()
        ridge = RIDGE * moment.diagonal().mean() + torch.finfo(moment.dtype).tiny
        root = torch.linalg.cholesky(moment + ridge * torch.eye(len(moment), dtype=moment.dtype, device=moment.device))
        left, singular_values, right = torch.linalg.svd(written @ root, full_matrices=False)
        return left, singular_values, right @ torch.linalg.solve_triangular(root, read, upper=False)
    q_written, r_written = torch.linalg.qr(written)
    q_read, r_read = torch.linalg.qr(read.T)
    left, singular_values, right = torch.linalg.svd(r_written @ r_read.T, full_matrices=False)
    return q_written @ left, singular_values, right @ q_read.T
