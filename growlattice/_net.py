"""The skorch net that trains a lattice: one loss seam, one schedule, no synchronization between batches.

The schedule is a function of how far training has come, and the random generators of an epoch are a function of the
seed and the epoch, so the net keeps no state but weights, optimizer and history.
"""

import copy
import math
from contextlib import nullcontext

import numpy as np
import pandas as pd
import torch
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, EpochTimer, LRScheduler, PrintLog

from ._costs import breadth_cost, depth_cost, error_cost, time_cost, weighted_mean
from ._lattice import LatticeOutput


def ramp(progress, start, end):
    """The annealing ramp: 0 up to `start`, linear to 1 at `end`, then 1.

    Examples
    --------
    >>> [round(ramp(progress, 0.1, 0.5), 9) for progress in (0.0, 0.3, 0.9)]
    [0.0, 0.5, 1.0]
    """
    if progress >= end:
        return 1.0
    return 0.0 if progress <= start else (progress - start) / (end - start)


def cosine_decay(progress):
    """Share of the full learning rate: 1 at the start, 0 at the end.

    Examples
    --------
    >>> cosine_decay(0.0), round(cosine_decay(0.5), 9), cosine_decay(1.0)
    (1.0, 0.5, 0.0)
    """
    return (1 + math.cos(math.pi * progress)) / 2


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
        See :func:`growlattice._costs.breadth_cost`.
    noise : float
        Standard deviation of the noise on hidden states, fully annealed.
    annealing : tuple of float
        Shares of training at which pressures and noise begin to rise and are full.
    seed : int
        Seed of shuffling, noise and augmentation.
    autocast : torch.dtype, default=None
        Precision of convolutions, if other than that of the weights.
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
        autocast=None,
        optimizer=torch.optim.AdamW,
        train_split=None,
        **kwargs,
    ):
        super().__init__(module, criterion=None, optimizer=optimizer, train_split=train_split, **kwargs)
        self.pressures = pressures
        self.extra_costs = extra_costs
        self.position_power = position_power
        self.noise = noise
        self.annealing = annealing
        self.seed = seed
        self.autocast = autocast

    @property
    def _default_callbacks(self):
        return [("epoch_timer", EpochTimer()), ("print_log", PrintLog(keys_ignored=["train_loss"]))]

    def __getstate__(self):
        # The module that skorch was made from is the fitted one too, and skorch moves only the latter off a lost GPU.
        return super().__getstate__() | {"module": None}

    def __setstate__(self, state):
        super().__setstate__(state)
        self.module = self.module_

    def initialize_criterion(self):
        """The loss is `get_loss`; skorch asks for a criterion all the same."""
        self.criterion_ = error_cost
        return self

    def infer(self, x, **fit_params):
        return self.answer(self.module_, x, **fit_params)

    def answer(self, lattice, images, **noise):
        """A lattice's output, in this net's precision."""
        with torch.autocast(images.device.type, self.autocast) if self.autocast else nullcontext():
            return lattice(images, **noise)

    def go_on_from(self, net, moments=True):
        """Take over the history and, if this one's lattice is of the same form, the optimizer's moments of a net."""
        self.history = copy.deepcopy(net.history)
        if not moments:
            return self
        groups = self.optimizer_.state_dict()["param_groups"]
        self.optimizer_.load_state_dict({**copy.deepcopy(net.optimizer_.state_dict()), "param_groups": groups})
        return self

    def moments(self):
        """The optimizer's state as tensors, named by parameter and kind."""
        state = self.optimizer_.state_dict()["state"]
        names = [name for name, _ in self.module_.named_parameters()]
        return {f"{names[index]}.{kind}": tensor for index, kinds in state.items() for kind, tensor in kinds.items()}

    def take_over(self, lattice, moments):
        """Go on training another lattice, with moments of its own; whoever holds the optimizer keeps it."""
        self.module = self.module_ = lattice
        (group,) = self.optimizer_.param_groups
        group["params"] = list(lattice.parameters())
        self.optimizer_.state.clear()
        self.set_moments(moments)

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

    def train_epoch(self, batches, start, end, decay=True):
        """Train on shuffled batches once, from the share `start` of training to the share `end`.

        With `decay` off the learning rate stays as it is: a caller that feeds data piece by piece does not know how
        long training will be.
        """
        self.notify("on_epoch_begin", dataset_train=batches, dataset_valid=None)
        epoch = len(self.history)
        shuffling = seeded_generator(self.seed, epoch, 0)
        noise = seeded_generator(self.seed, epoch, 1, device=self.device)
        self.sums_, self.late_weights_ = {}, torch.zeros((), device=self.device)
        for index, batch in enumerate(batches.shuffled(shuffling)):
            progress = start + (end - start) * index / len(batches)
            self._set_progress(progress, decay)
            self.notify("on_batch_begin", batch=batch, training=True)
            step = self.train_step(batch, noise=self.noise * self.ramp_, generator=noise)
            self.notify("on_batch_end", batch=batch, training=True, **step)
        self._record_epoch(batches.n_images)
        self.notify("on_epoch_end", dataset_train=batches, dataset_valid=None)

    def outputs(self, batches, lattice):
        """Yield a lattice's output on each batch in order, without noise and without what fills up the last batch."""
        left = batches.n_images
        for batch in batches:
            with torch.no_grad():
                output = self.answer(lattice.eval(), batch[0])
            yield LatticeOutput(*(tensor[:left] for tensor in output))
            left -= batches.batch_size

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """The error cost and, in training, the annealed price of every resource."""
        labels, sample_weight = y_true
        error = error_cost(y_pred.log_probas, labels, sample_weight)
        if not training:
            return error
        costs = self.space_costs() if self.pressures["breadth"] or self.pressures["depth"] else {}
        costs["time"] = time_cost(y_pred.weights, self.module_.n_steps, sample_weight)
        extras = {name: _scalar(cost(self.module_, y_pred), name) for name, cost in self.extra_costs.items()}
        costs |= extras
        loss = error + self.ramp_ * sum(price * costs[name] for name, price in self.pressures.items() if price)
        if self.pressures["time"]:
            late_weights = y_pred.weights.detach().flip(1).cumsum(1).flip(1)  # of each step and all after it
            self.late_weights_ = torch.maximum(self.late_weights_, late_weights.amax(0))
        self._add_up(
            len(labels),
            {
                "train_loss": loss,
                "error": error,
                "time": costs["time"],
                **extras,
                "accuracy": weighted_mean((y_pred.log_probas.argmax(dim=1) == labels).to(loss.dtype), sample_weight),
            },
        )
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
        """The learning rate of the last batch, as a share of what it was at the start."""
        return self.optimizer_.param_groups[0]["lr"] / self.lr

    def _set_progress(self, progress, decay):
        self.ramp_ = ramp(progress, *self.annealing)
        if any(isinstance(callback, LRScheduler) for _, callback in self.callbacks_):
            return
        for group in self.optimizer_.param_groups:
            group["lr"] = self.lr * (cosine_decay(progress) if decay else 1.0)

    def _add_up(self, n_images, means):
        """Add a batch's means to the epoch's sums, on the device."""
        for name, mean in means.items():
            self.sums_[name] = self.sums_.get(name, 0.0) + mean.detach() * n_images

    @torch.no_grad()
    def _record_epoch(self, n_images):
        """Read the epoch's sums from the device, once, into the history."""
        means = {name: value / n_images for name, value in self.sums_.items()} | self.space_costs()
        del self.sums_
        means = dict(zip(means, torch.stack([mean.float() for mean in means.values()]).tolist(), strict=True))
        check_finite(means, len(self.history), self.lr)
        for name, mean in means.items():
            self.history.record(name, mean)
        self.history.record("time_used", means["time"] * self.module_.n_steps)


def history_frame(net):
    """The history as a table."""
    return pd.DataFrame(history_rows(net))


def history_rows(net):
    """A dict for each epoch, without what was recorded for each batch."""
    return [{name: value for name, value in row.items() if name != "batches"} for row in net.history]


def check_finite(costs, epoch, lr):
    """Raise a ValueError if one of the costs is not a finite number."""
    broken = [f"{name}={cost}" for name, cost in costs.items() if not math.isfinite(cost)]
    if broken:
        raise ValueError(
            f"Training broke down in epoch {epoch}: {', '.join(broken)}. Lower lr (now {lr}) or the pressures, "
            "scale the features of X, or mend the extra cost if it is one that is not finite."
        )


def stopped_early(net):
    """Whether a callback of skorch's, which raises KeyboardInterrupt to end training, asked for it.

    Any other KeyboardInterrupt is a Ctrl-C.
    """
    return any(isinstance(cb, EarlyStopping) and cb.misses_ == cb.patience for _, cb in net.callbacks_)


def _scalar(value, name):
    if not isinstance(value, torch.Tensor) or value.dim() != 0:
        came = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(
            f"The extra cost {name!r} returned {came}. Return a scalar tensor, such as the mean of what it returns."
        )
    return value
