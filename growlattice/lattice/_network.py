"""The recurrent convolutional lattice of Butkus, Garzón Gupta and Kriegeskorte (2026), section 3.2.

Layers are stacked in depth, channels make the breadth of a layer, and the whole stack is run for a number of
recurrent steps.

Axes are named once: B images, C channels, L layers, T steps, K classes, k kernel size.
"""

from contextlib import nullcontext

import torch
from torch.nn import functional

from ._costs import REFERENCE_STEPS
from ._operations import (
    add_normalized,
    convolve,
    divisive_normalization,
    join_kernels,
    rectify,
    spatial_mean,
    standard_normal,
)
from ._resolution import pool, upsample
from ._state import LatticeState
from ._weights import CONNECTIONS, LatticeWeights

FARTHEST = 1e30  # standard deviations from the mean of a pixel: as far as sums of products stay finite in 32 bits


class Lattice(LatticeWeights):
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

    def forward(self, images, noise=0.0, generator=None, conv_dtype=None):
        """Run the lattice on a batch of images.

        Parameters
        ----------
        images : tensor of shape (n_images, n_inputs, height, width)
            Of any real dtype, in the units of the training images.
        noise : float
            Standard deviation of the Gaussian noise added to every hidden state at every step.
        generator : torch.Generator, default=None
            Source of the noise, on the device of the images; by default the one that torch has for all.
        conv_dtype : torch.dtype, default=None
            Precision of the convolutions' operands and results, if other than that of the weights. Everything else,
            hidden states above all, keeps the precision of the weights.

        Returns
        -------
        LatticeOutput or RegressionOutput
        """
        return self.run(images, noise, self.draw_noise(len(images), generator) if noise else None, conv_dtype)

    def draw_noise(self, n_images, generator):
        """Draw the noise of all layers and steps for a batch of images, at once: few large draws cost less than many.

        Returns
        -------
        tensor of shape (n_images, n_hidden)
            Standard normal; of each step and each layer in it, in the order (height, width, channels).
        """
        dtype, device = self.pixel_mean.dtype, self.pixel_mean.device
        return standard_normal((n_images, self.n_hidden), generator, dtype, device)

    def run(self, images, noise=0.0, drawn=None, conv_dtype=None):
        """What :meth:`forward` does, with noise that is drawn already, and so a function of its arguments.

        Parameters
        ----------
        images, conv_dtype
            As for :meth:`forward`.
        noise : float or tensor of shape ()
            Standard deviation.
        drawn : tensor, default=None
            As :meth:`draw_noise` gives it; without it there is no noise.

        Returns
        -------
        LatticeOutput or RegressionOutput
        """
        sizes = self._hidden_sizes()
        drawn = [None] * self.steps_left if drawn is None else drawn.split(sum(sizes), dim=1)
        state, activity = self.start(images, conv_dtype), []
        if not isinstance(noise, torch.Tensor):
            noise = state.first_drive.new_full((), noise)
        for step, of_step in enumerate(drawn):
            layers = None if of_step is None else self._as_hidden(of_step.split(sizes, dim=1))
            activity.append(self.step(state, noise, layers, bottom_up_only=step == self.steps_left - 1))
        return self._read_out(torch.stack(activity, dim=1))  # (n_images, steps_left, channels of all layers)

    @property
    def n_hidden(self):
        """How many numbers the hidden states of all layers and steps that are left have for an image."""
        return self.steps_left * sum(self._hidden_sizes())

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
        shape, wanted = tuple(images.shape[1:]), self.config["image_shape"]
        if shape != wanted:
            raise ValueError(
                f"The images have shape {shape}, but the lattice is for {wanted}: channels, height, width."
            )
        dtype = self.pixel_mean.dtype
        conv_dtype = conv_dtype or dtype
        kernels = self._cast_kernels(conv_dtype)
        images = self.normalize(images).to(conv_dtype)
        # The image does not change, so neither does what it drives in the first layer.
        below = pool(convolve(images, *kernels["input"]), self.factors[0])
        first_drive = divisive_normalization(convolve(below, *kernels["bottom_up", 0]).to(dtype))
        del below
        silence = {(h, w): torch.zeros_like(first_drive[:, :1, :h, :w]) for h, w in set(self.layer_sizes)}
        hidden = [silence[size] for size in self.layer_sizes[: len(self.bottom_up)]]
        return LatticeState(kernels, first_drive, hidden)

    def normalize(self, images):
        """Images less their mean over the training images, in standard deviations of these, and finite.

        Parameters
        ----------
        images
            As for :meth:`forward`.

        Returns
        -------
        tensor of the same shape
        """
        normalized = (images.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        return normalized.clamp(-FARTHEST, FARTHEST)

    def step(self, state, noise=None, drawn=None, bottom_up_only=False):
        """Run one step, which changes the state.

        Parameters
        ----------
        state : LatticeState
        noise : tensor of shape (), default=None
            Standard deviation.
        drawn : sequence of tensor, default=None
            Noise of the hidden state of each layer, in its shape.
        bottom_up_only : bool, default=False
            Whether to leave out what the step after this one reads: this one is the last, or :meth:`drive_next` comes
            before the next.

        Returns
        -------
        tensor of shape (n_images, channels of all layers that are left)
            The activity after the step, averaged over space.
        """
        active, drives = [], {}  # of each layer; results of their outgoing kernels, by their names
        for layer in range(len(self.bottom_up)):
            if layer:
                hidden = add_normalized(state.hidden[layer], drives["bottom_up", layer])
            else:
                hidden = state.hidden[layer] + state.first_drive
            if state.drives is not None:
                hidden = add_normalized(hidden, self.recurrent_drive(state.drives, layer))
            if drawn is not None:
                hidden = torch.addcmul(hidden, drawn[layer], noise)
            state.hidden[layer] = hidden
            wide, narrow = rectify(hidden, state.kernels["input"][0].dtype)
            active.append(wide)
            outgoing = [name for name in self.outgoing_kernels(layer) if name[0] == "bottom_up" or not bottom_up_only]
            drives |= self._drive(narrow, layer, outgoing, state.kernels)
        state.drives = drives
        return torch.cat([spatial_mean(layer) for layer in active], dim=1)

    def drive_next(self, state):
        """Compute what the next step reads, after one with ``bottom_up_only=True``."""
        state.drives = {}
        for layer, hidden in enumerate(state.hidden):
            outgoing = [name for name in self.outgoing_kernels(layer) if name[0] != "bottom_up"]
            state.drives |= self._drive(torch.relu(hidden), layer, outgoing, state.kernels)

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

    def answer_so_far(self, activity):
        """The answer of the steps that :meth:`read` reads, of shape (n_images, n_outputs)."""
        if activity.shape[1] > 1:
            return self.read(activity).answer
        with _without_autocast(activity.device.type):  # the weight of a single step is 1, whatever its score
            return self.task.step_answers(self.readout(activity))[:, 0]

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
        """Standardized numbers of a lattice for regression, as one tensor.

        In the units of y they are ``target_mean_ + target_std_ * values``, by the attributes of the estimator.

        Parameters
        ----------
        images : tensor of shape (n_images, n_inputs, height, width)

        Returns
        -------
        tensor of shape (n_images, n_outputs)
        """
        return self(images).values

    def _cast_kernels(self, dtype):
        """Weight and bias of every convolution in a dtype, by name and layer."""
        kernels = {"input": _cast(self.input, dtype)}
        for name in CONNECTIONS:
            for layer, convolution in enumerate(getattr(self, name)):
                kernels[name, layer] = _cast(convolution, dtype)
        return kernels

    def _hidden_sizes(self):
        """How many numbers the hidden state of each layer that is left has for an image."""
        sizes = self.layer_sizes[: len(self.bottom_up)]
        return [n_kept * height * width for n_kept, (height, width) in zip(self.channels_left, sizes, strict=True)]

    def _as_hidden(self, rows):
        """Rows of numbers of each layer in the shape of its hidden state, with channels last in memory as there."""
        parts = zip(rows, self.layer_sizes[: len(rows)], self.channels_left, strict=True)
        return [row.unflatten(1, (*size, n_kept)).permute(0, 3, 1, 2) for row, size, n_kept in parts]

    def outgoing_kernels(self, layer):
        """Names of the kernels that read a layer: bottom-up to the next, lateral, and top-down to the one below."""
        kernels = ("bottom_up", layer + 1), ("lateral", layer), ("top_down", layer - 1)
        return [kernel for kernel in kernels if 0 <= kernel[1] < len(self.bottom_up)]

    def _drive(self, active, layer, outgoing, kernels):
        """Results of a layer's outgoing kernels, by their names."""
        active = active.to(kernels["input"][0].dtype)
        above = ("bottom_up", layer + 1)
        if above in outgoing and self.factors[layer + 1] > 1:
            drive = convolve(pool(active, self.factors[layer + 1]), *kernels[above])
            others = [name for name in outgoing if name != above]
            return {above: drive} | self._drive(active, layer, others, kernels)
        if len(outgoing) < 2:
            return {name: convolve(active, *kernels[name]) for name in outgoing}
        together = tuple(outgoing)  # one convolution is faster than several
        if together not in kernels:
            kernels[together] = join_kernels([kernels[name] for name in outgoing])
        drives = convolve(active, *kernels[together]).split([len(kernels[name][0]) for name in outgoing], dim=1)
        return dict(zip(outgoing, drives, strict=True))

    def recurrent_drive(self, drives, layer):
        """Lateral and top-down drive of a layer, from the drives of the step before."""
        drive = drives["lateral", layer]
        if layer + 1 == len(self.bottom_up):
            return drive
        return drive + upsample(drives["top_down", layer], self.factors[layer + 1], self.layer_sizes[layer])

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
        logits = scale * scores + self.log_step_share[:n_run]
        return self.task.output(answers, functional.log_softmax(logits, dim=1), activity, scores)


def _cast(convolution, dtype):
    return convolution.weight.to(dtype), None if convolution.bias is None else convolution.bias.to(dtype)


def _without_autocast(device_type):
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)
