"""The recurrent convolutional lattice of Butkus, Garzón Gupta and Kriegeskorte (2026), section 3.2.

Layers are stacked in depth, channels make the breadth of a layer, and the whole stack is run for a number of
recurrent steps. A lattice has two forms. The *logical* form is always L x C x T: all that is computed from a lattice
has it, with zeros where something was removed. The *stored* form is what is left: only tensors of weights have it.

Axes are named once: B images, C channels, L layers, T steps, K classes, k kernel size.
"""

import math
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional

from ._costs import REFERENCE_CHANNELS, REFERENCE_LAYERS, REFERENCE_STEPS
from ._operations import add_normalized, convolve, convolve_together, divisive_normalization, standard_normal_like
from ._resolution import layer_factors, layer_sizes, pool, upsample
from ._state import LatticeState
from ._tasks import TASKS

SELECTOR_HIDDEN = 64
MEMORY_FORMAT = torch.channels_last  # of kernels, and so of activations; measured: docs/choices
# Chosen by measurement: docs/choices.
INPUT_GAIN, BOTTOM_UP_GAIN, RECURRENT_GAIN, READOUT_GAIN = 1.0, 2.0, 1.0, 3.0
CONNECTIONS = ("bottom_up", "lateral", "top_down")


class Lattice(nn.Module):
    """Recurrent convolutional network with bottom-up, lateral and top-down connections.

    Parameters
    ----------
    image_shape : tuple of int
        (channels, height, width) of the images.
    n_outputs : int
        What the readout gives at each step: logits of classes, at least 2, or numbers.
    n_channels, n_layers, n_steps : int
        Breadth, depth and time of the lattice before anything is removed from it.
    kernel_size : int
        Odd side of the square kernels, in pixels. Images of one pixel always get kernels of one.
    time_selection : {"adaptive", "fixed"}
        Whether the time-selection weights are computed for each image or shared by all.
    temperature : float
        See :func:`time_selection_weights`.
    downsample : int or sequence of int of length n_layers, default=1
        Factor by which each layer's maps are smaller than those below, which it reads as means of blocks of pixels; the
        layer below the first is the input convolution, at the resolution of the images. A side that the factor does not
        divide is rounded up. By default all layers have the resolution of the images, as in the paper.
    task : {"classification", "regression"}, default="classification"
        What the outputs are.
    mask : tensor of bool of shape (n_layers, n_channels), default=None
        Channels that are left; by default all. No layer below one with a channel may be empty.
    steps_left : int, default=None
        Steps that are left; by default all.
    inputs_left : int, default=None
        Channels of the input convolution that are left; by default `n_channels`.
    generator : torch.Generator, default=None
        Source of the initial weights. Without it the tensors have shapes but no values, for weights to be put in.

    Raises
    ------
    ValueError
        If `downsample` is not as described, or a factor is larger than both sides of what is left below.

    References
    ----------
    Butkus, Garzón Gupta, Kriegeskorte (2026), section 3.2, "Model".
    """

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
        mask = torch.ones(n_layers, n_channels, dtype=torch.bool, device="cpu") if mask is None else mask
        self._make_modules(mask.tolist(), steps_left or n_steps, inputs_left or n_channels)
        if generator is not None:
            self.to_empty(device="cpu")
            self._initialize(generator)
            self._finish_modules()

    def forward(self, images, noise=0.0, generator=None, conv_dtype=None):
        """Run the lattice on a batch of images.

        Parameters
        ----------
        images : tensor of shape (n_images, n_inputs, height, width)
            Of any real dtype, in the units of the training images.
        noise : float
            Standard deviation of the Gaussian noise added to every hidden state at every step.
        generator : torch.Generator
            Source of the noise, on the device of the images.
        conv_dtype : torch.dtype, default=None
            Precision of the convolutions' operands and results, if other than that of the weights. Everything else,
            hidden states above all, keeps the precision of the weights.

        Returns
        -------
        LatticeOutput or RegressionOutput
        """
        state, activity = self.start(images, conv_dtype), []
        for step in range(self.steps_left):
            last = step == self.steps_left - 1
            activity.append(self.step(state, noise, generator, bottom_up_only=last))
        return self._read_out(torch.stack(activity, dim=1))  # (n_images, steps_left, channels of all layers)

    def start(self, images, conv_dtype=None):
        """What a run needs before its first step.

        Parameters
        ----------
        images, conv_dtype
            As for :meth:`forward`.

        Returns
        -------
        LatticeState
        """
        dtype = self.pixel_mean.dtype
        conv_dtype = conv_dtype or dtype
        kernels = self._cast_kernels(conv_dtype)
        images = ((images.to(dtype) - self.pixel_mean) / self.pixel_std).to(conv_dtype)
        # The image does not change, so neither does what it drives in the first layer.
        below = pool(convolve(images, *kernels["input"]), self.factors[0])
        first_drive = divisive_normalization(convolve(below, *kernels["bottom_up", 0]).to(dtype))
        del below
        silence = {(h, w): torch.zeros_like(first_drive[:, :1, :h, :w]) for h, w in set(self.layer_sizes)}
        hidden = [silence[size] for size in self.layer_sizes[: len(self.bottom_up)]]
        return LatticeState(kernels, first_drive, hidden)

    def step(self, state, noise=0.0, generator=None, bottom_up_only=False):
        """Run one step, which changes the state.

        Parameters
        ----------
        state : LatticeState
        noise, generator
            As for :meth:`forward`.
        bottom_up_only : bool, default=False
            Whether to leave out what the step after this one reads: this one is the last, or :meth:`drive_next` comes
            before the next.

        Returns
        -------
        tensor of shape (n_images, channels of all layers that are left)
            The activity after the step, averaged over space.
        """
        active, drives = [], []  # of each layer; results of its outgoing kernels, by their names
        for layer in range(len(self.bottom_up)):
            if layer:
                hidden = add_normalized(state.hidden[layer], drives[-1]["bottom_up", layer])
            else:
                hidden = state.hidden[layer] + state.first_drive
            if state.drives is not None:
                hidden = add_normalized(hidden, self._recurrent_drive(state.drives, layer))
            if noise:
                hidden = hidden + noise * standard_normal_like(hidden, generator)
            state.hidden[layer] = hidden
            active.append(torch.relu(hidden))
            outgoing = self._outgoing_kernels(layer, recurrent=not bottom_up_only)
            drives.append(self._drive(active[-1], layer, outgoing, state.kernels))
        state.drives = drives
        return torch.cat([layer.mean(dim=(2, 3)) for layer in active], dim=1)

    def drive_next(self, state):
        """Compute what the next step reads, after one with ``bottom_up_only=True``."""
        state.drives = [
            self._drive(torch.relu(hidden), layer, self._outgoing_kernels(layer, bottom_up=False), state.kernels)
            for layer, hidden in enumerate(state.hidden)
        ]

    def read(self, activity):
        """The output of all steps that are left or of the first of them, from the activity after each.

        Scores are divided by their norm over all steps. Where only the first are there, it is taken to be what it would
        be if the scores to come had the same mean square.

        Parameters
        ----------
        activity : tensor of shape (n_images, n_run, channels of all layers that are left)

        Returns
        -------
        LatticeOutput
            Of these steps and the channels that are left: not in the logical form. Weights sum to 1 over the steps.
        """
        n_images, n_run, _ = activity.shape
        with _without_autocast(activity.device.type):  # a caller's; here it would only lose precision
            answers = self.task.step_answers(self.readout(activity))
            if self.selector is not None:
                scores = self.selector(activity).squeeze(2)
            else:
                scores = self.step_scores[:n_run].expand(n_images, -1)
            return self._weigh(answers, activity, scores)

    def first_steps(self, output, n_run):
        """The output as it was after the first steps: as :meth:`read` gives it for them, in the logical form.

        Parameters
        ----------
        output : LatticeOutput
            Of this lattice.
        n_run : int
            Steps, from 1 to those that are left.

        Returns
        -------
        LatticeOutput
            Of `n_run` steps.
        """
        answers, _, activity, scores = (field[:, :n_run] for field in output)
        return self._weigh(answers, activity, scores)

    def log_probas(self, images):
        """Log-probabilities of the classes, as one tensor: for captum and other tools that want a function of images.

        Parameters
        ----------
        images : tensor of shape (n_images, n_inputs, height, width)

        Returns
        -------
        tensor of shape (n_images, n_classes)
        """
        return self(images).log_probas

    def values(self, images):
        """Numbers of a lattice for regression, as one tensor, on the scale of the targets of training.

        Parameters
        ----------
        images : tensor of shape (n_images, n_inputs, height, width)

        Returns
        -------
        tensor of shape (n_images, n_outputs)
        """
        return self(images).values

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

    @property
    def channels_left(self):
        """Channels of each layer that is left, from the first up."""
        return [convolution.out_channels for convolution in self.bottom_up]

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
                self._make_modules(*form)
                self.to_empty(device=device).to(dtype).train(self.training)
        result = super().load_state_dict(state_dict, strict=strict, assign=assign)
        self._finish_modules()
        return result

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

    def _cast_kernels(self, dtype):
        """Weight and bias of every convolution in a dtype, by name and layer."""
        convolutions = {"input": self.input} | {
            (name, layer): convolution
            for name in CONNECTIONS
            for layer, convolution in enumerate(getattr(self, name))
        }  # fmt: skip
        return {
            place: (convolution.weight.to(dtype), None if convolution.bias is None else convolution.bias.to(dtype))
            for place, convolution in convolutions.items()
        }

    def _outgoing_kernels(self, layer, bottom_up=True, recurrent=True):
        """Names of the kernels that read a layer: bottom-up to the next, lateral, and top-down to the one below."""
        above = [("bottom_up", layer + 1)] if bottom_up and layer + 1 < len(self.bottom_up) else []
        if not recurrent:
            return above
        return [*above, ("lateral", layer), *([("top_down", layer - 1)] if layer else [])]

    def _drive(self, active, layer, outgoing, kernels):
        """Results of a layer's outgoing kernels, by their names."""
        active = active.to(kernels["input"][0].dtype)
        above = ("bottom_up", layer + 1)
        if above in outgoing and self.factors[layer + 1] > 1:
            drive = convolve(pool(active, self.factors[layer + 1]), *kernels[above])
            others = [name for name in outgoing if name != above]
            return {above: drive} | self._drive(active, layer, others, kernels)
        if torch.is_grad_enabled() or len(outgoing) < 2:
            return {name: convolve(active, *kernels[name]) for name in outgoing}
        drives = convolve_together(active, [kernels[name] for name in outgoing])
        return dict(zip(outgoing, drives, strict=True))

    def _recurrent_drive(self, drives, layer):
        """Lateral and top-down drive of a layer, from the drives of the step before."""
        drive = drives[layer]["lateral", layer]
        if layer + 1 == len(drives):
            return drive
        return drive + upsample(drives[layer + 1]["top_down", layer], self.factors[layer + 1], self.layer_sizes[layer])

    def _read_out(self, activity):
        """The output in the logical form, from the activity of the channels and steps that are left."""
        removed = self.n_steps - self.steps_left
        answers, log_weights, activity, scores = self.read(activity)
        activity = self._spread(activity)
        if removed:
            repeated = answers[:, -1:].expand(-1, removed, -1)
            answers = torch.cat([answers, repeated], dim=1)
            scores = functional.pad(scores, (0, removed))
            log_weights = functional.pad(log_weights, (0, removed), value=torch.finfo(log_weights.dtype).min)
            activity = functional.pad(activity, (0, 0, 0, 0, 0, removed))
        return self.task.output(answers, log_weights, activity, scores)

    def _weigh(self, answers, activity, scores):
        """The output of the first steps, with weights from their raw scores."""
        norm, n_run = self.score_norm, scores.shape[1]
        if n_run < self.steps_left:
            norm = norm * (n_run / self.steps_left) ** 0.5
        scores = norm * functional.normalize(scores, dim=1)
        scale = self.temperature * (self.n_steps / REFERENCE_STEPS) ** 0.5  # as in time_selection_weights
        return self.task.output(answers, functional.log_softmax(scale * scores, dim=1), activity, scores)

    def _spread(self, values):
        """Values of the channels left, on the last axis, as layers by channels with zeros for those removed."""
        if values.shape[-1] < self.n_layers * self.n_channels:
            full = values.new_zeros(*values.shape[:-1], self.n_layers * self.n_channels)
            values = full.index_copy(values.dim() - 1, self.channel_index, values)
        return values.unflatten(-1, (self.n_layers, self.n_channels))

    @torch.no_grad()
    def _initialize(self, generator):
        """Draw the weights: normal kernels of variance gain**2 / fan-in, uniform readouts, no biases.

        All steps begin with the same weight, for every image: normalizing scores near zero would turn noise into
        arbitrary differences between images.
        """
        self.pixel_mean.zero_()
        self.pixel_std.fill_(1.0)
        self.score_norm.fill_(1.0)
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


def _without_autocast(device_type):
    return torch.autocast(device_type, enabled=False) if torch.amp.is_autocast_available(device_type) else nullcontext()


def _convolution(n_in, n_out, kernel_size, bias=True):
    return nn.Conv2d(n_in, n_out, kernel_size, padding="same", bias=bias)


def _convolutions(n_ins, n_outs, kernel_size, bias=False):
    return nn.ModuleList(
        _convolution(n_in, n_out, kernel_size, bias) for n_in, n_out in zip(n_ins, n_outs, strict=True)
    )
