"""The weights of a lattice, in the form that is left of it: what can be removed, counted, initialized and loaded.

A lattice has two forms. The *logical* form is always L x C x T: all that is computed from a lattice has it, with zeros
where something was removed. The *stored* form is what is left: only tensors of weights have it.
"""

import math

import torch
from torch import nn

from ._costs import REFERENCE_CHANNELS, REFERENCE_LAYERS
from ._resolution import layer_factors, layer_sizes
from ._tasks import TASKS

SELECTOR_HIDDEN = 64
MEMORY_FORMAT = torch.channels_last  # of kernels, and so of activations; measured: docs/choices
# Chosen by measurement: docs/choices.
INPUT_GAIN, BOTTOM_UP_GAIN, RECURRENT_GAIN, READOUT_GAIN = 1.0, 2.0, 1.0, 3.0
SHARE_OF_ALL = -0.05  # logarithm of a share that is taken for 1
TIME_SELECTIONS = ("adaptive", "fixed")
CONNECTIONS = ("bottom_up", "lateral", "top_down")


class LatticeWeights(nn.Module):
    """Modules and buffers of a lattice, without what is computed with them; parameters as for :class:`Lattice`."""

    def __init__(
        self,
        image_shape,
        n_outputs,
        *,
        n_channels,
        n_layers,
        n_steps,
        kernel_size,
        time_selection,
        temperature,
        downsample=1,
        task="classification",
        mask=None,
        steps_left=None,
        inputs_left=None,
        generator=None,
    ):
        super().__init__()
        for name, value, known in (("time_selection", time_selection, TIME_SELECTIONS), ("task", task, TASKS)):
            if value not in known:
                raise ValueError(f"{name}={value!r} is none of {', '.join(known)}.")
        if kernel_size % 2 != 1:
            raise ValueError(f"kernel_size={kernel_size} must be odd.")
        sizes = dict(n_channels=n_channels, n_layers=n_layers, n_steps=n_steps, kernel_size=kernel_size)
        others = dict(time_selection=time_selection, temperature=temperature)
        others["downsample"] = self.factors = layer_factors(downsample, n_layers)
        answer = dict(n_outputs=n_outputs, task=task)
        self.config = dict(image_shape=tuple(image_shape), **answer, **sizes, **others)
        self.layer_sizes = layer_sizes(image_shape, self.factors)  # (height, width) of each, removed ones too
        self.n_channels, self.n_layers, self.n_steps = n_channels, n_layers, n_steps
        self.temperature, self.task = temperature, TASKS[task]
        for name in ("pixel_mean", "pixel_std"):
            self.register_buffer(name, torch.empty(image_shape[0], 1, 1, device="meta"))
        self.register_buffer("score_norm", torch.empty((), device="meta"))
        self.register_buffer("log_step_share", torch.empty(n_steps, device="meta"))
        mask = torch.ones(n_layers, n_channels, dtype=torch.bool, device="cpu") if mask is None else mask
        self._make_modules(mask.tolist(), steps_left or n_steps, inputs_left or n_channels)
        if generator is not None:
            self.to_empty(device="cpu").float()  # whatever the default precision: a seed draws the same weights
            self._initialize(generator)
            self._finish_modules()

    def channel_magnitude(self, connections=CONNECTIONS):
        """Summed absolute weight of the kernels that write each channel, in units of a fresh lattice of reference size.

        Parameters
        ----------
        connections : sequence of {"bottom_up", "lateral", "top_down"}
            Kernels to count, by default all. The unit stays that of all, so parts add up to the whole.

        Returns
        -------
        tensor of shape (n_layers, n_channels)
            0 for channels that were removed.
        """
        rows = []
        fan_in = REFERENCE_CHANNELS * self.kernel_size**2
        for layer, bottom_up in enumerate(self.bottom_up):
            kernels = [getattr(self, name)[layer].weight for name in connections if layer < len(getattr(self, name))]
            kernels = kernels or [bottom_up.weight[:, :0]]
            n_recurrent = 2 if layer < REFERENCE_LAYERS - 1 else 1
            expected = (BOTTOM_UP_GAIN + n_recurrent * RECURRENT_GAIN) * (2 * fan_in / math.pi) ** 0.5
            rows.append(torch.cat(kernels, dim=1).abs().sum(dim=(1, 2, 3)) / expected)
        return self._spread(torch.cat(rows))

    def fresh_magnitude(self):
        """What the magnitude of each layer's channels is expected to be if they are drawn with the form that is left.

        Returns
        -------
        tensor of shape (n_layers,)
            1 for layers that are not left.
        """
        expected = torch.ones(self.n_layers, device=self.pixel_mean.device, dtype=self.pixel_mean.dtype)
        reference = (REFERENCE_CHANNELS * self.kernel_size**2) ** 0.5
        for layer, bottom_up in enumerate(self.bottom_up):
            recurrent = [self.lateral[layer], *self.top_down[layer : layer + 1]]
            drawn = BOTTOM_UP_GAIN * n_weights(bottom_up) / fan_in(bottom_up) ** 0.5
            drawn += sum(RECURRENT_GAIN * n_weights(kernel) / fan_in(kernel) ** 0.5 for kernel in recurrent)
            n_recurrent = 2 if layer < REFERENCE_LAYERS - 1 else 1
            expected[layer] = drawn / ((BOTTOM_UP_GAIN + n_recurrent * RECURRENT_GAIN) * reference)
        return expected

    @property
    def channels_left(self):
        """Channels of each layer that is left, from the first up."""
        return [convolution.out_channels for convolution in self.bottom_up]

    @property
    def frozen(self):
        """Names of the parameters that training leaves as they are."""
        return [name for name, parameter in self.named_parameters() if not parameter.requires_grad]

    @frozen.setter
    def frozen(self, names):
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in names)

    def macs(self, n_steps=None):
        """Multiply-accumulates of one image: every convolution, readout and time selection.

        Parameters
        ----------
        n_steps : int, default=None
            Steps to run; by default all that are left.

        Returns
        -------
        int
        """

        def of(kernels, sizes):  # a top-down kernel runs at the resolution of the layer that it leaves
            pixels = [height * width for height, width in sizes[: len(kernels)]]
            return sum(n * kernel.weight.numel() for n, kernel in zip(pixels, kernels, strict=True))

        sizes, steps = self.layer_sizes, n_steps or self.steps_left
        convolved = of([self.input, self.bottom_up[0]], [self.config["image_shape"][1:], sizes[0]])
        convolved += steps * of(self.bottom_up[1:], sizes[1:])
        convolved += (steps - 1) * (of(self.lateral, sizes) + of(self.top_down, sizes[1:]))
        read = [self.readout] if self.selector is None else [self.readout, self.selector[0], self.selector[2]]
        return convolved + steps * sum(layer.weight.numel() for layer in read)

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Load tensors as any module does, and first take on the stored form that they have.

        So a state from before or after something was removed can be loaded, by whoever holds the lattice. Parameters
        are then others than before.
        """
        masks = {"mask": self.mask.shape, "step_mask": self.step_mask.shape}
        if all(name in state_dict and state_dict[name].shape == shape for name, shape in masks.items()):
            inputs_left = len(state_dict.get("input.weight", self.input.weight))
            form = state_dict["mask"].tolist(), int(state_dict["step_mask"].sum()), inputs_left
            if form != self._form:
                device, dtype = self.pixel_mean.device, self.pixel_mean.dtype
                frozen = self.frozen
                self._make_modules(*form)
                self.to_empty(device=device).to(dtype).train(self.training)
                self.frozen = frozen
        result = super().load_state_dict(state_dict, strict=strict, assign=assign)
        self._finish_modules()
        return result

    @torch.no_grad()
    def age_steps(self):
        """Let steps that were added lately count for more: the logarithm of their share is halved, down to nothing."""
        share = self.log_step_share / 2
        self.log_step_share.copy_(torch.where(share > SHARE_OF_ALL, 0.0, share))

    def _make_modules(self, channels, steps_left, inputs_left):
        """Make modules of the stored form, without values; `channels` is the mask as lists."""
        self._form = channels, steps_left, inputs_left
        self.steps_left, self.inputs_left = steps_left, inputs_left
        n_inputs, height, width = self.config["image_shape"]
        k = self.kernel_size = 1 if height == width == 1 else self.config["kernel_size"]
        kept = [sum(layer) for layer in channels if any(layer)]
        below, n_active = [inputs_left, *kept[:-1]], sum(kept)
        with torch.device("meta"):  # torch would fill the weights from its global generator
            self.register_buffer("mask", torch.empty(self.n_layers, self.n_channels, dtype=torch.bool))
            self.register_buffer("step_mask", torch.empty(self.n_steps, dtype=torch.bool))
            self.register_buffer("channel_index", torch.empty(n_active, dtype=torch.int64), persistent=False)
            self.input = _convolution(n_inputs, inputs_left, k)
            self.bottom_up = _convolutions(below, kept, k, bias=True)
            self.lateral = _convolutions(kept, kept, k)
            self.top_down = _convolutions(kept[1:], kept[:-1], k)
            self.readout = nn.Linear(n_active, self.config["n_outputs"])
            if self.config["time_selection"] == "adaptive":
                self.selector = nn.Sequential(
                    nn.Linear(n_active, SELECTOR_HIDDEN), nn.ReLU(), nn.Linear(SELECTOR_HIDDEN, 1)
                )
            else:
                self.register_module("selector", None)
                self.step_scores = nn.Parameter(torch.empty(steps_left))

    def _finish_modules(self):
        """Fill in what the form says, and bring kernels to the memory format."""
        channels, steps_left, _ = self._form
        device = self.pixel_mean.device
        self.mask = torch.tensor(channels, device=device)
        self.step_mask = torch.arange(self.n_steps, device=device) < steps_left
        self.channel_index = self.mask.flatten().nonzero().squeeze(1)
        self.to(memory_format=MEMORY_FORMAT)

    def _spread(self, values):
        """Values of the channels left, on the last axis, as layers by channels with zeros for those removed."""
        if values.shape[-1] < self.n_layers * self.n_channels:
            full = values.new_zeros(*values.shape[:-1], self.n_layers * self.n_channels)
            values = full.index_copy(values.dim() - 1, self.channel_index, values)
        return values.unflatten(-1, (self.n_layers, self.n_channels))

    @torch.no_grad()
    def _initialize(self, generator):
        """Draw the weights: normal kernels of variance gain**2 / fan-in, uniform readouts, no biases.

        Channels beyond the reference size do not count for the fan-in of a kernel between channels: how far a lattice
        might reach does not decide how strongly the channels that it uses act on each other.

        All steps begin with the same weight, for every image: normalizing scores near zero would turn noise into
        arbitrary differences between images.
        """
        self.pixel_mean.zero_()
        self.pixel_std.fill_(1.0)
        self.score_norm.fill_((self.steps_left / self.n_steps) ** 0.5)  # as of a lattice of no more steps
        self.log_step_share.zero_()
        gains = {self.input: INPUT_GAIN} | dict.fromkeys(self.bottom_up, BOTTOM_UP_GAIN)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                gain = gains.get(module, RECURRENT_GAIN)
                counted = n_weights(module) if module is self.input else fan_in(module)
                module.weight.normal_(0, gain / counted**0.5, generator=generator)
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


def n_weights(kernel):
    """Weights that write a channel."""
    return kernel.weight[0].numel()


def fan_in(kernel):
    """Of these, those that count for the scale of a fresh kernel: no more than at the reference size."""
    n_channels, height, width = kernel.weight[0].shape
    return min(n_channels, REFERENCE_CHANNELS) * height * width


def _convolution(n_in, n_out, kernel_size, bias=True):
    return nn.Conv2d(n_in, n_out, kernel_size, padding="same", bias=bias)


def _convolutions(n_ins, n_outs, kernel_size, bias=False):
    return nn.ModuleList(
        _convolution(n_in, n_out, kernel_size, bias) for n_in, n_out in zip(n_ins, n_outs, strict=True)
    )
