"""What the parameters of the estimators may be, and the errors that say so."""

import os
import warnings
from numbers import Integral, Real
from operator import gt

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from .._training._callbacks import check_callbacks
from .._training._device import MOST_THREADS, PRECISIONS
from ..lattice._resolution import layer_factors
from ..lattice._tasks import TASKS

NOT_NEGATIVE, POSITIVE = [Interval(Real, 0, None, closed="left")], [Interval(Real, 0, None, closed="neither")]
COUNT = [Interval(Integral, 1, None, closed="left")]
SEQUENCE = [tuple, list]
PRESSURES = ("breadth_pressure", "depth_pressure", "time_pressure")
CONSTRAINTS = {
    **dict.fromkeys((*PRESSURES, "position_power", "noise", "weight_decay", "checkpoint_seconds"), NOT_NEGATIVE),
    **dict.fromkeys(("temperature", "lr"), POSITIVE),
    **dict.fromkeys(("max_channels", "max_layers", "max_steps", "kernel_size", "batch_size"), COUNT),
    **dict.fromkeys(("max_epochs", "relax_epochs"), [Interval(Integral, 0, None, closed="left")]),
    "grow_from": [*SEQUENCE, None],
    "growth": [StrOptions({"fresh", "tiny"})],
    "keep": [Interval(Real, 0, 1, closed="both"), None],
    **dict.fromkeys(("annealing", "extra_costs"), SEQUENCE),
    "downsample": [*COUNT, *SEQUENCE],
    "time_selection": [StrOptions({"adaptive", "fixed"})],
    "compact_every": [*COUNT, None],
    "image_shape": [*SEQUENCE, None],
    "image_size": [*COUNT, *SEQUENCE, None],
    "augment": [callable, None],
    "device": [str, torch.device],
    "precision": [StrOptions({"auto", *PRECISIONS})],
    "compile": [StrOptions({"auto"}), "boolean"],
    "n_threads": [Interval(Integral, 1, MOST_THREADS, closed="both"), None],
    "memory": [str, os.PathLike, None],
    "callbacks": [*SEQUENCE, None],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "verbose": [Interval(Integral, 0, 1, closed="both"), "boolean"],
}
COLUMNS = frozenset(
    """
    epoch relaxing compiled channels layers steps train_loss error breadth depth time time_used macs_per_image
    train_macs dur valid_error
    """.split()
)
SCORES = frozenset(task.score_name for task in TASKS.values())


def check_keep(keep):
    """Raise a ValueError unless this is a share of a score."""
    if not (isinstance(keep, Real) and 0 <= keep <= 1):
        raise ValueError(f"keep={keep!r} must be a number from 0 to 1: the share of the score above chance to keep.")


def check_above_chance(name, score, chance):
    """Raise a ValueError unless a score on some images leaves something to keep."""
    if score <= chance:
        raise ValueError(
            f"The {name} on the images given is {score:.3f}, not above the chance level of {chance:.3f}. "
            "Train the lattice further, or check that X and y belong to the task it was fitted on"
            f"{', and that y varies' if name == 'r2' else ''}."
        )


def warn_of_few_images(keep, accuracy, chance, n_images):
    """Warn, from the method that a user called, if the share of accuracy that may be lost is less than one image."""
    if 0 < (1 - keep) * (accuracy - chance) * n_images < 1:
        warnings.warn(
            f"keep={keep} of an accuracy of {accuracy:.3f} on {n_images} images leaves less than one image to lose, so "
            "the criterion is as strict as keep=1. Give more images, or a lower keep.",
            stacklevel=3,
        )


def check_parameters(estimator):
    """Raise a ValueError that names any parameter of the wrong kind or out of range."""
    estimator._validate_params()
    if estimator.kernel_size % 2 == 0:
        raise ValueError(f"kernel_size={estimator.kernel_size} is even. Give an odd number of pixels.")
    layer_factors(estimator.downsample, estimator.max_layers)
    if (
        len(estimator.annealing) != 2
        or not all(map(is_pressure, estimator.annealing))
        or not 0 <= estimator.annealing[0] <= estimator.annealing[1] <= 1
    ):
        raise ValueError(f"annealing={estimator.annealing!r} must be (start, end) with 0 <= start <= end <= 1.")
    if estimator.max_epochs + estimator.relax_epochs == 0:
        raise ValueError("max_epochs=0 and relax_epochs=0 leave nothing to train. Give one of them a number above 0.")
    if estimator.memory is not None and estimator.random_state is None:
        raise ValueError(
            "memory needs a random_state: with random_state=None every fit is another, so none can be found again. "
            "Give an integer."
        )
    check_sizes("image_shape", estimator.image_shape, 3, "(channels, height, width)")
    if not isinstance(estimator.image_size, Integral):
        check_sizes("image_size", estimator.image_size, 2, "a side or (height, width)")
    _check_growth(estimator)
    check_callbacks(estimator.callbacks)
    for cost in estimator.extra_costs:
        if not (isinstance(cost, (tuple, list)) and len(cost) == 2 and callable(cost[0]) and is_pressure(cost[1])):
            raise ValueError(
                f"extra_costs holds {cost!r}. Give pairs (callable, pressure), the pressure finite and from 0 up."
            )


def _check_growth(estimator):
    """Raise a ValueError unless the lattice can grow from where it starts to its bounds."""
    bounds = tuple(getattr(estimator, f"max_{name}") for name in ("channels", "layers", "steps"))
    check_sizes("grow_from", estimator.grow_from, 3, "(channels, layers, steps)")
    if estimator.grow_from is not None and any(map(gt, estimator.grow_from, bounds)):
        raise ValueError(
            f"grow_from={estimator.grow_from!r} is larger than (max_channels, max_layers, max_steps)={bounds!r}, up to "
            "which the lattice grows. Start smaller, or raise them."
        )


def name_extra_costs(extra_costs):
    """A name for each extra cost, which no other column of the history has."""
    names = [getattr(cost, "__name__", type(cost).__name__) for cost, _ in extra_costs]
    scores = (*SCORES, *(f"valid_{name}" for name in SCORES))
    taken = {*COLUMNS, *scores, "batches", *(name for name in names if names.count(name) > 1 or name.endswith("_best"))}
    return [f"{name}_{index}" if name in taken else name for index, name in enumerate(names)]


def history_columns(extra_costs, score_name, validated):
    """Names of the columns that the history of a fit will have."""
    measured = COLUMNS | {f"valid_{score_name}"} if validated else COLUMNS - {"valid_error"}
    return {*measured, score_name, *name_extra_costs(extra_costs)}


def is_pressure(value):
    return isinstance(value, Real) and np.isfinite(value) and value >= 0


def check_sizes(name, value, length, expected):
    """Raise a ValueError unless the value is None or so many whole numbers from 1 up."""
    if value is None:
        return
    if len(value) != length or not all(isinstance(size, Integral) and size > 0 for size in value):
        raise ValueError(f"{name}={value!r} must be {expected}, in whole numbers from 1 up.")
