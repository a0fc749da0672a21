"""The recurrent convolutional lattice of Butkus, Garzón Gupta and Kriegeskorte (2026), section 3.2.

Layers are stacked in depth, channels make the breadth of a layer, and the whole stack is run for a number of
recurrent steps. Pure torch: nothing here knows scikit-learn or skorch, and nothing draws random numbers except from
a generator that the caller hands in.

Axes are named once: B images, C channels, L layers, T steps, K classes, k kernel size.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

SELECTOR_HIDDEN = 64
MEMORY_FORMAT = torch.channels_last  # of kernels, and so of activations; measured: docs/choices
# Chosen by measurement: docs/choices.
INPUT_GAIN, BOTTOM_UP_GAIN, RECURRENT_GAIN, READOUT_GAIN = 1.0, 2.0, 1.0, 3.0


class LatticeOutput(NamedTuple):
    """What a lattice answers about a batch of images.

    Attributes
    ----------
    step_log_probas : tensor of shape (n_images, n_steps, n_classes)
        Log-probabilities of the classes after each step.
    log_weights : tensor of shape (n_images, n_steps)
        Logarithm of the time-selection weights.
    activity : tensor of shape (n_images, n_steps, n_channels_in_all)
        Activations after the ReLU, averaged over space, layer after layer: the side readout.
    """

    step_log_probas: torch.Tensor
    log_weights: torch.Tensor
    activity: torch.Tensor

    @property
    def log_probas(self):
        """Log-probabilities of the mixture over steps, of shape (n_images, n_classes)."""
        return torch.logsumexp(self.step_log_probas + self.log_weights.unsqueeze(2), dim=1)

    @property
    def weights(self):
        """Time-selection weights, of shape (n_images, n_steps); each row sums to 1."""
        return self.log_weights.exp()


def divisive_normalization(drive, n_channels):
    """Divide each channel by one plus the mean magnitude over channels at the same pixel.

    Parameters
    ----------
    drive : tensor of shape (n_images, n_kept, height, width)
        Input to a layer.
    n_channels : int
        Channels to average over. Those of a compacted layer that were removed count as zeros, so this may be more than
        `n_kept`.

    Returns
    -------
    tensor of the same shape

    Examples
    --------
    >>> drive = torch.tensor([3.0, -1.0]).reshape(1, 2, 1, 1)
    >>> divisive_normalization(drive, n_channels=2).flatten()  # 3 / (1 + 2), -1 / (1 + 2)
    tensor([ 1.0000, -0.3333])
    """
    return drive / (1 + drive.abs().sum(dim=1, keepdim=True) / n_channels)


class _AddNormalized(torch.autograd.Function):
    """hidden + divisive_normalization(drive, n_channels), and its gradient.

    With x the drive and r = 1 / (1 + sum |x| / n), a gradient g comes back to the drive as
    (g - sign(x) r sum(g x) / n) r. By hand, because automatic differentiation goes over the activations twice as often.
    """

    @staticmethod
    def forward(ctx, hidden, drive, n_channels):
        scale = drive.abs().sum(dim=1, keepdim=True).div_(n_channels).add_(1).reciprocal_()
        ctx.save_for_backward(drive, scale)
        ctx.n_channels = n_channels
        return torch.addcmul(hidden, drive, scale)

    @staticmethod
    def backward(ctx, gradient):
        drive, scale = ctx.saved_tensors
        pull = (gradient * drive).sum(dim=1, keepdim=True).mul_(scale).div_(-ctx.n_channels)
        return gradient, torch.addcmul(gradient, drive.sign(), pull).mul_(scale), None


def time_selection_weights(scores, temperature):
    """Logarithm of ``softmax(temperature * scores / |scores|)`` over steps.

    Parameters
    ----------
    scores : tensor of shape (n_images, n_steps)
        Raw time-selection weights, of any scale.
    temperature : float
        How near the softmax may come to choosing a single step.

    Returns
    -------
    tensor of shape (n_images, n_steps)
    """
    return functional.log_softmax(temperature * functional.normalize(scores, dim=1), dim=1)


def _standard_normal(like, generator):
    """Noise of a tensor's shape, with its channels last in memory as in that of the drives."""
    n_images, n_channels, height, width = like.shape
    drawn = torch.randn(
        (n_images, height, width, n_channels), generator=generator, dtype=like.dtype, device=like.device
    )
    return drawn.permute(0, 3, 1, 2)


def _call(images, convolution):
    return convolution(images)


def _stacked(convolutions):
    """A function of images that gives a function of the convolution, computed for all of them at once.

    One convolution is faster than several, most of all where channels are odd in number, as after pruning; but not its
    gradient.
    """
    kernel = torch.cat([convolution.weight for convolution in convolutions])
    sizes = [convolution.out_channels for convolution in convolutions]
    bias = kernel.new_zeros(len(kernel))
    for part, convolution in zip(bias.split(sizes), convolutions, strict=True):
        if convolution.bias is not None:
            part += convolution.bias

    def read(images):
        parts = functional.conv2d(images, kernel, bias, padding="same").split(sizes, dim=1)
        return dict(zip(convolutions, parts, strict=True)).__getitem__

    return read


def _convolution(n_in, n_out, kernel_size, bias=True):
    return nn.Conv2d(n_in, n_out, kernel_size, padding="same", bias=bias)


def _convolutions(n_ins, n_outs, kernel_size, bias=False):
    return nn.ModuleList(
        _convolution(n_in, n_out, kernel_size, bias) for n_in, n_out in zip(n_ins, n_outs, strict=True)
    )


class Lattice(nn.Module):
    """Recurrent convolutional network with bottom-up, lateral and top-down connections.

    Parameters
    ----------
    image_shape : tuple of int
        (channels, height, width) of the images.
    n_classes : int
        Number of logits, at least 2.
    n_channels, n_layers, n_steps : int
        Breadth, depth and time of the lattice before anything is removed from it.
    kernel_size : int
        Odd side of the square kernels, in pixels. Images of one pixel always get kernels of one.
    time_selection : {"adaptive", "fixed"}
        Whether the time-selection weights are computed for each image or shared by all.
    temperature : float
        See :func:`time_selection_weights`.
    mask : tensor of bool of shape (n_layers, n_channels), default=None
        Channels that are left; by default all. No layer below one with a channel may be empty.
    steps_left : int, default=None
        Steps that are left; by default all.
    generator : torch.Generator, default=None
        Source of the initial weights. Without it the tensors have shapes but no values, for weights to be put in.

    References
    ----------
    Butkus, Garzón Gupta, Kriegeskorte (2026), section 3.2, "Model".
    """

    def __init__(
        self,
        image_shape,
        n_classes,
        *,
        n_channels,
        n_layers,
        n_steps,
        kernel_size,
        time_selection,
        temperature,
        mask=None,
        steps_left=None,
        generator=None,
    ):
        super().__init__()
        n_inputs, height, width = image_shape
        self.config = dict(
            image_shape=tuple(image_shape),
            n_classes=n_classes,
            n_channels=n_channels,
            n_layers=n_layers,
            n_steps=n_steps,
            kernel_size=kernel_size,
            time_selection=time_selection,
            temperature=temperature,
            steps_left=steps_left or n_steps,
        )
        self.n_channels, self.n_layers, self.n_steps = n_channels, n_layers, n_steps
        self.steps_left, self.temperature = self.config["steps_left"], temperature
        if mask is None:
            mask = torch.ones(n_layers, n_channels, dtype=torch.bool)
        k = 1 if height == width == 1 else kernel_size
        self.fan_in = n_channels * k * k  # of every uncut kernel between layers
        kept = [count for count in mask.sum(dim=1).tolist() if count]
        below, n_active = [n_channels, *kept[:-1]], sum(kept)
        with torch.device("meta"):  # torch would fill the weights from its global generator
            self.register_buffer("mask", torch.empty_like(mask, device="meta"))
            self.register_buffer("pixel_mean", torch.empty(n_inputs, 1, 1))
            self.register_buffer("pixel_std", torch.empty(n_inputs, 1, 1))
            self.input = _convolution(n_inputs, n_channels, k)
            self.bottom_up = _convolutions(below, kept, k, bias=True)
            self.lateral = _convolutions(kept, kept, k)
            self.top_down = _convolutions(kept[1:], kept[:-1], k)
            self.readout = nn.Linear(n_active, n_classes)
            if time_selection == "adaptive":
                self.selector = nn.Sequential(
                    nn.Linear(n_active, SELECTOR_HIDDEN), nn.ReLU(), nn.Linear(SELECTOR_HIDDEN, 1)
                )
            else:
                self.register_module("selector", None)
                self.step_scores = nn.Parameter(torch.empty(self.steps_left))
        if generator is not None:
            self.to_empty(device="cpu")
            self._initialize(generator)
            self.mask.copy_(mask)
            self.to(memory_format=MEMORY_FORMAT)

    def forward(self, images, noise=0.0, generator=None):
        """Run the lattice on a batch of images.

        Parameters
        ----------
        images : tensor of shape (n_images, n_inputs, height, width)
            Of any real dtype, in the units of the training images.
        noise : float
            Standard deviation of the Gaussian noise added to every hidden state at every step.
        generator : torch.Generator
            Source of the noise, on the device of the images.

        Returns
        -------
        LatticeOutput
        """
        image_drive = self.input((images.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std)
        # The image does not change, so neither does what it drives in the first layer.
        first_drive = divisive_normalization(self.bottom_up[0](image_drive), self.n_channels)
        hidden, before, activity = [torch.zeros_like(first_drive[:, :1])] * len(self.bottom_up), None, []
        at_once = None if torch.is_grad_enabled() else [_stacked(readers) for readers in self._readers()]
        for step in range(self.steps_left):
            active, read = [], []
            for layer, bottom_up in enumerate(self.bottom_up):
                state = hidden[layer]
                if layer:
                    state = _AddNormalized.apply(state, read[-1](bottom_up), self.n_channels)
                else:
                    state = state + first_drive
                if before is not None:
                    state = _AddNormalized.apply(state, self._recurrent(layer, before), self.n_channels)
                if noise:
                    state = state + noise * _standard_normal(state, generator)
                hidden[layer] = state
                active.append(torch.relu(state))
                if at_once is None or step == self.steps_left - 1:  # each reader by itself, if and when it reads
                    read.append(partial(_call, active[-1]))
                else:
                    read.append(at_once[layer](active[-1]))
            activity.append(torch.cat([layer.mean(dim=(2, 3)) for layer in active], dim=1))
            before = read
        activity = torch.stack(activity, dim=1)  # (n_images, n_steps, channels of all layers)
        with torch.autocast(images.device.type, enabled=False):  # the answer keeps the precision of the weights
            activity = activity.to(self.pixel_mean.dtype)
            return LatticeOutput(
                step_log_probas=functional.log_softmax(self.readout(activity), dim=2),
                log_weights=time_selection_weights(self._scores(activity), self.temperature),
                activity=activity,
            )

    def channel_magnitude(self):
        """Mean absolute weight of the kernels that write each channel, in units of its expectation at initialization.

        Returns
        -------
        tensor of shape (n_layers, n_channels)
        """
        rows = []
        for layer in range(len(self.bottom_up)):
            kernels = torch.cat([kernel.weight for kernel in self._writers(layer)], dim=1)
            n_recurrent = 2 if layer < self.n_layers - 1 else 1
            expected = (BOTTOM_UP_GAIN + n_recurrent * RECURRENT_GAIN) * (2 * self.fan_in / math.pi) ** 0.5
            rows.append(kernels.abs().sum(dim=(1, 2, 3)) / expected)
        magnitude = torch.cat(rows)
        return magnitude.new_zeros(self.mask.shape).masked_scatter(self.mask, magnitude)

    @property
    def widest(self):
        """Channels of the broadest layer that is left."""
        return max(kernel.out_channels for kernel in self.bottom_up)

    def macs(self):
        """Multiply-accumulates of one image: every convolution, readout and time selection, over all steps.

        Returns
        -------
        int
        """
        _, height, width = self.config["image_shape"]
        convolved = sum(kernel.weight.numel() for kernel in (self.input, self.bottom_up[0]))
        convolved += self.steps_left * sum(kernel.weight.numel() for kernel in self.bottom_up[1:])
        convolved += (self.steps_left - 1) * sum(kernel.weight.numel() for kernel in [*self.lateral, *self.top_down])
        read = [self.readout] if self.selector is None else [self.readout, self.selector[0], self.selector[2]]
        return height * width * convolved + self.steps_left * sum(layer.weight.numel() for layer in read)

    def _recurrent(self, layer, before):
        """Lateral and top-down input to a layer from the step before."""
        lateral = before[layer](self.lateral[layer])
        if layer == len(self.top_down):
            return lateral
        return lateral + before[layer + 1](self.top_down[layer])

    def _readers(self):
        """The convolutions that read each layer: bottom-up to the next, lateral, and top-down to the one below."""
        for layer, lateral in enumerate(self.lateral):
            below = self.top_down[layer - 1 : layer] if layer else []
            yield [*self.bottom_up[layer + 1 : layer + 2], lateral, *below]

    def _scores(self, activity):
        """Raw time-selection weights, of shape (n_images, n_steps)."""
        if self.selector is not None:
            return self.selector(activity).squeeze(2)
        return self.step_scores.expand(len(activity), -1)

    def _writers(self, layer):
        """The convolutions that write a layer's channels."""
        return [self.bottom_up[layer], self.lateral[layer], *self.top_down[layer : layer + 1]]

    @torch.no_grad()
    def _initialize(self, generator):
        """Draw the weights: normal kernels of variance gain**2 / fan-in, uniform readouts, no biases.

        All steps begin with the same weight, for every image. Scores that begin near zero would be normalized to
        anything, and differ between images for no reason.
        """
        self.pixel_mean.zero_()
        self.pixel_std.fill_(1.0)
        gains = {self.input: INPUT_GAIN} | dict.fromkeys(self.bottom_up, BOTTOM_UP_GAIN)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                gain = gains.get(module, RECURRENT_GAIN)
                module.weight.normal_(0, gain / module.weight[0].numel() ** 0.5, generator=generator)
            elif isinstance(module, nn.Linear):
                bound = (READOUT_GAIN if module is self.readout else 1.0) / module.in_features**0.5
                module.weight.uniform_(-bound, bound, generator=generator)
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()
        if self.selector is None:
            self.step_scores.fill_(1.0)
        else:
            self.selector[-1].weight.zero_()
            self.selector[-1].bias.fill_(1.0)
