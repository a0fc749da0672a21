"""The skorch net that trains a lattice: loss, schedule and compaction, without waiting for a GPU between batches.

The schedule is a function of how far training has come, and the random generators of an epoch are a function of the
seed and the epoch, so the net keeps no state but weights, optimizer and history.
"""

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import LRScheduler

from ..lattice import breadth_cost, depth_cost, time_cost
from ..lattice._costs import REFERENCE_STEPS, weighted_mean
from ..lattice._surgery import (
    cut_state,
    cut_tensors,
    drop_unreachable_layers,
    extend_moments,
    score_norms,
)
from ._callbacks import default_callbacks
from ._compiling import PASSES, epoch_work, forward, has_failed, is_worth_compiling
from ._device import PRECISIONS, choose_precision
from ._history import check_finite, record_compiled, record_numbers, record_size
from ._inference import measure
from ._schedule import cosine_decay, full_rate, ramp, rate_share

OF_AN_EPOCH = "sums_", "unit_", "tail_weights_", "score_norms_", "last_step_weight_"


def seeded_generator(seed, *stream, device="cpu"):
    """A torch generator of its own for each seed and stream of integers."""
    words = np.random.SeedSequence(seed, spawn_key=stream).generate_state(2)
    return torch.Generator(device).manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


class LatticeNet(NeuralNet):
    """skorch net around a lattice, trained on batches that are already on its device.

    Parameters
    ----------
    module : Lattice
    pressures : dict of str to float
        Price of each cost by name: "breadth", "depth", "time" and the names of `extra_costs`.
    extra_costs : dict of str to callable
        Costs of the user's own: functions of the lattice and its output that return a scalar.
    position_power : float
        See :func:`growlattice.lattice.breadth_cost`.
    noise : float
        Standard deviation of the noise on hidden states, fully annealed.
    annealing : tuple of float
        Shares of training at which pressures and noise begin to rise and are full.
    seed : int
        Seed of shuffling, noise and augmentation.
    growth_share : float, default=0.0
        Share of training in which the lattice may grow. Where space has no price, the learning rate falls after it.
    precision : str
        See :func:`growlattice._training._device.choose_precision`; what it means depends on where the net is.
    compiling : {"auto"} or bool
        See :func:`growlattice._training._compiling.is_worth_compiling`. (skorch has a `compile` of its own.)
    **kwargs
        As for :class:`skorch.NeuralNet`.
    """

    def __init__(
        self,
        module,
        *,
        pressures,
        extra_costs,
        position_power,
        noise,
        annealing,
        seed,
        precision,
        compiling=False,
        growth_share=0.0,
        criterion=torch.nn.Identity,  # skorch asks for one; what is trained on is `get_loss`
        optimizer=torch.optim.AdamW,
        train_split=None,
        **kwargs,
    ):
        super().__init__(module, criterion=criterion, optimizer=optimizer, train_split=train_split, **kwargs)
        self.pressures = pressures
        self.extra_costs = extra_costs
        self.position_power = position_power
        self.noise = noise
        self.annealing = annealing
        self.seed = seed
        self.precision = precision
        self.compiling = compiling
        self.growth_share = growth_share

    @property
    def _default_callbacks(self):
        return default_callbacks(self.callbacks)

    @property
    def conv_dtype(self):
        """Precision of convolutions where the net is, if other than that of the weights."""
        return PRECISIONS[choose_precision(self.precision, torch.device(self.device))][1]

    def __getstate__(self):
        # `module` and `module_` are the same object; skorch remaps only `module_` where the GPU is missing.
        state = super().__getstate__() | {"module": None}
        return {name: value for name, value in state.items() if name not in OF_AN_EPOCH}

    def __setstate__(self, state):
        super().__setstate__(state)
        self.module = self.module_

    def initialize_history(self):
        super().initialize_history()
        self.growth_ = []  # a record for each thing that was added
        return self

    def initialize_optimizer(self, *args, **kwargs):
        super().initialize_optimizer(*args, **kwargs)
        self._set_rate_share()
        self._set_prices(relaxing=False)
        self.full_lr_ = self.lr * self.rate_share_
        self._set_lr(self.full_lr_)
        for group in self.optimizer_.param_groups:
            group["initial_lr"] = self.full_lr_  # for a scheduler that goes on, such as while relaxing
        # A callback may have loaded a lattice with other channels: the state to load belongs to its parameters.
        self.optimizer_.register_load_state_dict_pre_hook(lambda optimizer, _: self.update_parameters())
        return self

    def load_params(self, *args, checkpoint=None, **kwargs):
        """As skorch's, but the lattice comes first: the optimizer's state may belong to another stored form."""
        if checkpoint is not None and checkpoint.f_params:
            super().load_params(f_params=checkpoint.get_formatted_files(self)["f_params"], **kwargs)
        super().load_params(*args, checkpoint=checkpoint, **kwargs)

    def _set_training(self, training=True):
        if self.module_.training != training:  # skorch goes over all modules at every batch
            super()._set_training(training)

    def infer(self, x, compiled=False, **fit_params):
        noisy = bool(self.noise)
        return forward(self.module_, x, conv_dtype=self.conv_dtype, compiled=compiled, noisy=noisy, **fit_params)

    def is_compiled(self, n_images, start, end, relaxing=False):
        """Whether the epoch that is begun, from `start` to `end`, is to run compiled; no form stays in growth."""
        if not relaxing and start < self.growth_share:
            return False
        n_before = round(start / (end - start)) if end > start else 0
        rows = [row["macs_per_image"] for row in self.history[:-1] if row["relaxing"] == relaxing]
        rows = rows[max(len(rows) - n_before, 0) :]
        middle = sum(self.annealing) / 2  # of the rise of prices, by when they have begun to shrink a lattice
        last = middle if self.has_priced_space and not relaxing and start < middle else 1.0
        work = epoch_work(rows, self.module_.macs(), n_images, start, end, last)
        return is_worth_compiling(self.compiling, torch.device(self.device).type, work)

    def moments(self):
        """The optimizer's state as tensors, named by parameter and kind."""
        state = self.optimizer_.state_dict()["state"]
        names = [name for name, _ in self.module_.named_parameters()]
        return {f"{names[index]}.{kind}": tensor for index, kinds in state.items() for kind, tensor in kinds.items()}

    def set_moments(self, moments):
        """Put back what `moments` gave, in the memory format of the parameters."""
        state = {}
        for index, (name, parameter) in enumerate(self.module_.named_parameters()):
            if f"{name}.step" not in moments:  # no gradient has reached it, as with a single step
                continue
            kinds = {kind: moments[f"{name}.{kind}"] for kind in ("step", "exp_avg", "exp_avg_sq")}
            state[index] = {
                kind: torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
                for kind, tensor in kinds.items()
            }
        groups = self.optimizer_.state_dict()["param_groups"]
        self.optimizer_.load_state_dict({"state": state, "param_groups": groups})

    def update_parameters(self):
        """Let the optimizer go on with the lattice's parameters, if they are others than before, without moments."""
        (group,), parameters = self.optimizer_.param_groups, list(self.module_.parameters())
        if [id(parameter) for parameter in group["params"]] != [id(parameter) for parameter in parameters]:
            group["params"] = parameters
            self.optimizer_.state.clear()

    def compact(self, mask, steps_left):
        """Go on training without some channels and steps; whoever holds the lattice or the optimizer keeps it."""
        lattice = self.module_
        norm = self.score_norms_[steps_left - 1] if steps_left < lattice.steps_left else None
        moments = cut_tensors(self.moments(), lattice.mask, mask, steps_left)
        lattice.load_state_dict(cut_state(lattice, mask, steps_left, norm))
        self.update_parameters()
        self.set_moments(moments)

    def extend(self, larger):
        """Go on training with the new channels and steps of an extended lattice; the rest as in `compact`."""
        lattice, moments = self.module_, self.moments()
        had = lattice.mask.clone()
        lattice.load_state_dict(larger.state_dict())
        self.update_parameters()
        self.set_moments(extend_moments(moments, lattice, had))

    def train_epoch(self, batches, start, end, decay=True, validation=None, relaxing=False):
        """Train on shuffled batches once, from the share `start` of training to the share `end`.

        With `decay` off the learning rate stays as it is: a caller that feeds data piece by piece does not know how
        long training will be. `validation` is a TrainingSet to measure the lattice on after the epoch. With `relaxing`
        on nothing has a price.
        """
        self.notify("on_epoch_begin", dataset_train=batches.data, dataset_valid=None)
        self.history.record("relaxing", relaxing)
        macs = self.module_.macs()
        record_size(self.history, self.module_)
        self._set_rate_share()
        self.train_batches(batches, start, end, decay, relaxing)
        self._record_epoch(len(batches.data), macs)
        self.module_.age_steps()
        if validation is not None:
            measured = measure(self.module_, validation, self.conv_dtype)
            score_name = self.module_.task.score_name
            valid = {"valid_error": measured["error"], f"valid_{score_name}": measured[score_name]}
            record_numbers(self.history, valid)
        self.notify("on_epoch_end", dataset_train=batches.data, dataset_valid=None)
        if self._has_scheduler:
            self.history.record("next_lr", self.optimizer_.param_groups[0]["lr"])

    def resume_schedule(self):
        """Let a scheduler go on after epochs that it had: most compute a rate from the one that is set."""
        if self._has_scheduler and self.history and "next_lr" in self.history[-1]:
            self._set_lr(self.history[-1]["next_lr"])

    def forget_schedule(self):
        """Let go of schedulers, which hold the optimizer with its moments; skorch makes new ones for each training."""
        for _, callback in self.callbacks_:
            if isinstance(callback, LRScheduler):
                vars(callback).pop("lr_scheduler_", None)

    def train_batches(self, batches, start, end, decay, relaxing=False):
        """The batches of an epoch; nothing in here waits for the device."""
        epoch = 1 + sum(row["relaxing"] == relaxing for row in self.history[:-1])
        shuffling = seeded_generator(self.seed, epoch, 2 * relaxing)
        noise = seeded_generator(self.seed, epoch, 2 * relaxing + 1, device=self.device)
        compiled = self.is_compiled(len(batches.data), start, end, relaxing)
        record_compiled(self.history, compiled, self.module_.macs(), self.verbose)
        self._set_prices(relaxing)
        self.sums_, self.unit_ = {}, self.module_.task.unit(batches.data.targets, batches.data.sample_weight)
        self.tail_weights_, self.last_step_weight_, self.score_norms_ = torch.zeros(3, device=self.device)
        for index, batch in enumerate(batches.shuffled(shuffling)):
            progress = start + (end - start) * index / len(batches)
            self._set_progress(progress, decay)
            self.notify("on_batch_begin", batch=batch, training=True)
            step = self.train_step(batch, noise=self.noise * self.ramp_, generator=noise, compiled=compiled)
            self.notify("on_batch_end", batch=batch, training=True, **step)
        if compiled and has_failed(self.module_, self.conv_dtype):
            self.history.record("compiled", False)
        self.score_norms_ = self.score_norms_ / len(batches.data)
        self.last_step_weight_ = self.last_step_weight_ / len(batches.data)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """The error cost and, in training, the annealed price of every resource."""
        task, (targets, sample_weight) = self.module_.task, y_true
        error = task.error(y_pred, targets, sample_weight)
        if not training:
            return error
        costs = self.space_costs() if "breadth" in self.prices_ or "depth" in self.prices_ else {}
        costs["time"] = time_cost(y_pred.weights, sample_weight)
        extras = {name: _scalar(cost(self.module_, y_pred), name) for name, cost in self.extra_costs.items()}
        costs |= extras
        loss = error + self.ramp_ * sum(price * costs[name] for name, price in self.prices_.items())
        if "time" in self.prices_:
            self._track_step_use(y_pred)
        if self.growth_share:
            self.last_step_weight_ += y_pred.weights[:, self.module_.steps_left - 1].detach().sum()
        means = {"train_loss": loss, "error": error, "time": costs["time"], **extras}
        means[task.score_name] = weighted_mean(task.image_scores(y_pred, targets, self.unit_), sample_weight)
        for name, mean in means.items():  # added up on the device
            self.sums_[name] = self.sums_.get(name, 0.0) + mean.detach() * len(targets)
        return loss

    def space_costs(self):
        """Breadth and depth cost of the lattice, as scalar tensors."""
        magnitude = self.module_.channel_magnitude()
        return {
            "breadth": breadth_cost(magnitude, self.position_power),
            "depth": depth_cost(magnitude, self.position_power),
        }

    @property
    def lr_share(self):
        """How far the learning rate of the last batch has decayed, at most 1."""
        return min(self.optimizer_.param_groups[0]["lr"] / self.full_lr_, 1.0)

    @property
    def has_priced_space(self):
        """Whether channels or layers have a price."""
        return bool(self.pressures.get("breadth") or self.pressures.get("depth"))

    @property
    def _has_scheduler(self):
        return any(isinstance(callback, LRScheduler) for _, callback in self.callbacks_)

    def _set_rate_share(self):
        """Take the size of the lattice as it is now for the learning rate; what is silent does not count."""
        lattice = self.module_
        in_use = drop_unreachable_layers(lattice.mask & (lattice.channel_magnitude() > 0)).sum(dim=1).tolist()
        channels = [count for count in in_use if count] or [1]
        self.rate_share_ = rate_share(channels, lattice.steps_left, lattice.kernel_size)

    def _set_prices(self, relaxing):
        """Take what training is to pay, and how much of it comes before the learning rate falls."""
        self.flat_share_ = 0.0 if relaxing or self.has_priced_space else self.growth_share
        self.prices_ = {} if relaxing else {name: price for name, price in self.pressures.items() if price}

    def _set_lr(self, lr):
        for group in self.optimizer_.param_groups:
            group["lr"] = lr

    def _set_progress(self, progress, decay):
        self.ramp_ = ramp(progress, *self.annealing)
        if not self._has_scheduler:
            priced = self.ramp_ if "breadth" in self.prices_ or "depth" in self.prices_ else 0.0
            self.full_lr_ = self.lr * full_rate(self.rate_share_, progress, priced)
            falling = max(progress - self.flat_share_, 0.0) / (1 - self.flat_share_)
            self._set_lr(self.full_lr_ * (cosine_decay(falling) if decay else 1.0))

    @torch.no_grad()
    def _track_step_use(self, output):
        """Keep what says which trailing steps can go: the largest weight of each and all after it, and the norms."""
        tail_weights = output.weights.flip(1).cumsum(1).flip(1)
        self.tail_weights_ = torch.maximum(self.tail_weights_, tail_weights.amax(0))
        self.score_norms_ = self.score_norms_ + score_norms(output).sum(0)

    @torch.no_grad()
    def _record_epoch(self, n_images, macs):
        """Read the epoch's sums from the device, once, into the history."""
        means = {name: value / n_images for name, value in self.sums_.items()} | self.space_costs()
        del self.sums_, self.unit_
        means = dict(zip(means, torch.stack([mean.float() for mean in means.values()]).tolist(), strict=True))
        check_finite(means, len(self.history), self.lr)
        self.history.record("macs_per_image", macs)
        record_numbers(self.history, means)
        self.history.record("time_used", means["time"] * REFERENCE_STEPS)
        self.history.record("train_macs", PASSES * macs * n_images)


def _scalar(value, name):
    if not isinstance(value, torch.Tensor) or value.dim() != 0:
        came = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(
            f"The extra cost {name!r} returned {came}. Return a scalar tensor, such as the mean of what it returns."
        )
    return value
