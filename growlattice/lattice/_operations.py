"""What the steps of a lattice are made of: divisive normalization, time selection, and convolutions.

Section 3.2 of Butkus, Garzón Gupta and Kriegeskorte (2026). Functions of tensors, without state.
"""

import inspect

import torch
from torch.nn import functional

from ._costs import REFERENCE_CHANNELS, REFERENCE_STEPS

# Standard normal numbers for 16 random bits, and how many are drawn at once: what they are made from stays in caches.
QUANTILES = torch.special.ndtri((torch.arange(2**16, dtype=torch.float64, device="cpu") + 0.5) / 2**16).float()
AT_ONCE = 2**16


def divisive_normalization(drive):
    """Divide each channel by one plus a 16th of the summed magnitude of all channels at the same pixel.

    Parameters
    ----------
    drive : tensor of shape (n_images, n_kept, height, width)
        Input to a layer: the result of its convolutions. The pool is the sum over the reference number of channels,
        16, however many there are, so channels that are silent or removed make no difference.

    Returns
    -------
    tensor of the same shape

    Examples
    --------
    >>> drive = torch.tensor([24.0, -8.0]).reshape(1, 2, 1, 1)
    >>> divisive_normalization(drive).flatten()  # 24 / (1 + 32 / 16), -8 / (1 + 32 / 16)
    tensor([ 8.0000, -2.6667])
    """
    return drive / (1 + drive.abs().sum(dim=1, keepdim=True) / REFERENCE_CHANNELS)


def add_normalized(hidden, drive):
    """Add a normalized drive to a hidden state, in the precision of the hidden state.

    Parameters
    ----------
    hidden : tensor of shape (n_images, n_kept, height, width) or (n_images, 1, height, width)
    drive : tensor of shape (n_images, n_kept, height, width)
        Of the same dtype or a narrower one.

    Returns
    -------
    tensor of shape (n_images, n_kept, height, width)
        ``hidden + divisive_normalization(drive)``.
    """
    if torch.compiler.is_compiling():  # a compiler fuses the passes by itself, and caches no graph with a Function
        total = drive.abs().sum(dim=1, keepdim=True, dtype=hidden.dtype)
        return hidden + drive / (1 + total / REFERENCE_CHANNELS)
    sum_and_scale = _AddNormalized.apply if torch.is_grad_enabled() else _AddNormalized.forward
    return sum_and_scale(hidden, drive)[0]


class _AddNormalized(torch.autograd.Function):
    """The sum and, beside it, the scale r = 1 / (1 + sum |x| / 16) of the drive x.

    A gradient g comes back to the drive as (g - sign(x) r sum(g x) / 16) r. By hand, because automatic differentiation
    goes over the activations twice as often.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(hidden, drive):
        total = drive.abs().sum(dim=-3, keepdim=True, dtype=hidden.dtype)
        scale = total.div_(REFERENCE_CHANNELS).add_(1).reciprocal_()
        return torch.addcmul(hidden, drive, scale), scale

    @staticmethod
    def setup_context(ctx, inputs, output):
        hidden, drive = inputs
        ctx.hidden_shape = hidden.shape
        ctx.save_for_backward(drive, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, gradient, _):
        drive, scale = ctx.saved_tensors
        if (
            torch.is_grad_enabled()
        ):  # for second derivatives: nothing in place, and the scale as a function of the drive
            scale = 1 / (1 + drive.abs().sum(dim=-3, keepdim=True, dtype=gradient.dtype) / REFERENCE_CHANNELS)
            pull = -scale * (gradient * drive).sum(dim=-3, keepdim=True) / REFERENCE_CHANNELS
            to_drive = (gradient + drive.sign() * pull) * scale
        else:
            pull = (gradient * drive).sum(dim=-3, keepdim=True).mul_(scale).div_(-REFERENCE_CHANNELS)
            to_drive = torch.addcmul(gradient, drive.sign(), pull).mul_(scale)
        to_hidden = gradient.sum_to_size(ctx.hidden_shape) if ctx.needs_input_grad[0] else None
        return to_hidden, to_drive.to(drive.dtype)

    # `apply` binds its arguments to the signature, and would work that out anew in each of a step's calls.
    forward.__func__.__signature__ = inspect.signature(forward.__func__)


def time_selection_weights(scores, temperature):
    """Logarithm of ``softmax(temperature * sqrt(n_steps / 4) * scores / |scores|)`` over steps.

    The root keeps the size of a single score, whatever the number of steps: it is 1 for 4 steps, the reference.

    Parameters
    ----------
    scores : tensor of shape (n_images, n_steps)
        Raw time-selection scores, of any scale.
    temperature : float
        How near the softmax may come to choosing a single step.

    Returns
    -------
    tensor of shape (n_images, n_steps)
    """
    scale = (scores.shape[1] / REFERENCE_STEPS) ** 0.5
    return functional.log_softmax(temperature * scale * functional.normalize(scores, dim=1), dim=1)


def rectify(hidden, dtype):
    """Activity in the precision of a hidden state, and in that of the convolutions that read it.

    Returns
    -------
    tuple of tensor of the same shape
        The same tensor twice, unless a compiler is at work: that keeps, for the gradient, what the convolutions keep
        anyway. Of a plain ReLU it would keep a mask of truth values, whose writing took half of the time of a step.
    """
    if not torch.compiler.is_compiling():
        active = torch.relu(hidden)
        return active, active
    narrow = torch.relu(hidden.to(dtype))
    return hidden * narrow.detach().sign(), narrow


def spatial_mean(active):
    """Mean of each map, with a gradient whose channels are last in memory, as in all that it is added to.

    Parameters
    ----------
    active : tensor of shape (n_images, n_kept, height, width)

    Returns
    -------
    tensor of shape (n_images, n_kept)
    """
    if torch.compiler.is_compiling():  # a compiler sees to the order in memory
        return active.mean(dim=(2, 3))
    return active.permute(0, 2, 3, 1).flatten(1, 2).mean(dim=1)


def standard_normal(shape, generator, dtype, device):
    """Draw standard normal numbers; on a CPU, each is one of 65,536 that are as probable as each other.

    Parameters
    ----------
    shape : tuple of int
    generator : torch.Generator
        On the device.
    dtype : torch.dtype
    device : torch.device

    Returns
    -------
    tensor
    """
    if device.type != "cpu":
        return torch.randn(shape, generator=generator, dtype=dtype, device=device)
    numbers = torch.empty(shape, dtype=QUANTILES.dtype, device=device)
    for part in numbers.flatten().split(AT_ONCE):
        words = torch.empty(-(-len(part) // 4), dtype=torch.int64, device=device)
        words.random_(-(2**63), None, generator=generator)
        rank = words.view(torch.int16)[: len(part)].to(torch.int32).add_(2**15)
        torch.index_select(QUANTILES, 0, rank, out=part)
    return numbers.to(dtype)


def convolve(images, kernel, bias):
    if kernel.shape[-1] == 1:  # a product of matrices, which takes a third of the time of a convolution
        return functional.linear(images.permute(0, 2, 3, 1), kernel.flatten(1), bias).permute(0, 3, 1, 2)
    return functional.conv2d(images, kernel, bias, padding="same")


def join_kernels(kernels):
    """The kernel whose convolution with images is that of several, one behind the other.

    Parameters
    ----------
    kernels : sequence of (tensor of shape (n_outputs, n_inputs, k, k), tensor of shape (n_outputs,) or None)
        Weights and biases.

    Returns
    -------
    tuple of tensor
        Weight and bias.
    """
    bias = torch.cat([weight.new_zeros(len(weight)) if bias is None else bias for weight, bias in kernels])
    return torch.cat([weight for weight, _ in kernels]), bias
