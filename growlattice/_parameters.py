"""What the parameters of LatticeClassifier may be, and the errors that say so."""

import os
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from skorch.callbacks import Callback

from ._device import PRECISIONS

CONSTRAINTS = {
    "breadth_pressure": [Interval(Real, 0, None, closed="left")],
    "depth_pressure": [Interval(Real, 0, None, closed="left")],
    "time_pressure": [Interval(Real, 0, None, closed="left")],
    "max_channels": [Interval(Integral, 1, None, closed="left")],
    "max_layers": [Interval(Integral, 1, None, closed="left")],
    "max_steps": [Interval(Integral, 1, None, closed="left")],
    "kernel_size": [Interval(Integral, 1, None, closed="left")],
    "time_selection": [StrOptions({"adaptive", "fixed"})],
    "temperature": [Interval(Real, 0, None, closed="neither")],
    "position_power": [Interval(Real, 0, None, closed="left")],
    "noise": [Interval(Real, 0, None, closed="left")],
    "annealing": [tuple, list],
    "extra_costs": [tuple, list],
    "compact_every": [Interval(Integral, 1, None, closed="left"), None],
    "max_epochs": [Interval(Integral, 1, None, closed="left")],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "lr": [Interval(Real, 0, None, closed="neither")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "class_weight": [StrOptions({"balanced"}), dict, None],
    "image_shape": [tuple, list, None],
    "image_size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
    "augment": [callable, None],
    "device": [str, torch.device],
    "precision": [StrOptions({"auto", *PRECISIONS})],
    "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    "memory": [str, os.PathLike, None],
    "checkpoint_seconds": [Interval(Real, 0, None, closed="left")],
    "callbacks": [list, tuple, None],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}
COLUMNS = {
    "epoch",
    "batches",
    "accuracy",
    "train_loss",
    "error",
    "breadth",
    "depth",
    "time",
    "time_used",
    "dur",
}


def check_parameters(classifier):
    """Raise a ValueError that names any parameter of the wrong kind or out of range."""
    classifier._validate_params()
    if classifier.kernel_size % 2 == 0:
        raise ValueError(f"kernel_size={classifier.kernel_size} is even. Give an odd number of pixels.")
    if (
        len(classifier.annealing) != 2
        or not all(map(is_price, classifier.annealing))
        or not 0 <= classifier.annealing[0] <= classifier.annealing[1] <= 1
    ):
        raise ValueError(f"annealing={classifier.annealing!r} must be (start, end) with 0 <= start <= end <= 1.")
    if classifier.memory is not None and classifier.random_state is None:
        raise ValueError(
            "memory needs a random_state: with random_state=None every fit is another, so none can be found again. "
            "Give an integer."
        )
    check_sizes("image_shape", classifier.image_shape, 3, "(channels, height, width)")
    if not isinstance(classifier.image_size, Integral):
        check_sizes("image_size", classifier.image_size, 2, "a side or (height, width)")
    for callback in classifier.callbacks or ():
        named = callback[1] if isinstance(callback, (tuple, list)) and len(callback) == 2 else callback
        if not (isinstance(named, Callback) or (isinstance(named, type) and issubclass(named, Callback))):
            raise ValueError(f"callbacks holds {callback!r}. Give skorch callbacks, or pairs (name, callback).")
    for cost in classifier.extra_costs:
        if not (isinstance(cost, (tuple, list)) and len(cost) == 2 and callable(cost[0]) and is_price(cost[1])):
            raise ValueError(
                f"extra_costs holds {cost!r}. Give pairs (callable, pressure), the pressure finite and from 0 up."
            )


def name_extra_costs(extra_costs):
    """A name for each extra cost, which no other column of the history has."""
    names = [getattr(cost, "__name__", type(cost).__name__) for cost, _ in extra_costs]
    return [f"{name}_{index}" if names.count(name) > 1 or name in COLUMNS else name for index, name in enumerate(names)]


def is_price(value):
    return isinstance(value, Real) and np.isfinite(value) and value >= 0


def check_sizes(name, value, length, expected):
    """Raise a ValueError unless the value is None or so many whole numbers from 1 up."""
    if value is None:
        return
    if len(value) != length or not all(isinstance(size, Integral) and size > 0 for size in value):
        raise ValueError(f"{name}={value!r} must be {expected}, in whole numbers from 1 up.")
