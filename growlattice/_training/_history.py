"""Rows of skorch's history, one for each epoch of a lattice: what is written, what is checked, and their table."""

import math

import pandas as pd

from ..lattice._tasks import TASKS

SIZES = "channels", "layers", "steps"
LOWER_IS_BETTER = dict.fromkeys(("train_loss", "error", "valid_error"), True) | {
    f"{measured_on}{task.score_name}": False for measured_on in ("", "valid_") for task in TASKS.values()
}


def history_frame(net):
    """The history as a table."""
    return pd.DataFrame(history_rows(net))


def history_rows(net):
    """A dict for each epoch, without what was recorded for each batch and what is the best so far."""
    return [
        {name: _as_number(value) for name, value in row.items() if name != "batches" and not name.endswith("_best")}
        for row in net.history
    ]


def _as_number(value):
    """What a callback recorded, as a number of Python's if it is a scalar of torch's or NumPy's."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def record_size(history, lattice):
    """Write what the epoch trains: channels of all layers together, layers and steps."""
    channels = lattice.channels_left
    for name, size in zip(SIZES, (sum(channels), len(channels), lattice.steps_left), strict=True):
        history.record(name, size)


def record_compiled(history, compiled, macs, verbose):
    """Write whether the epoch runs compiled, and say so where that is new."""
    rows = list(history[:-1])
    went_on = bool(rows) and rows[-1]["compiled"]
    if verbose and compiled and not (went_on and rows[-1]["macs_per_image"] == macs):
        print("compiling the lattice as it is now, which takes a while the first time")
    elif verbose and went_on and not compiled:
        print("the lattice has another form now and runs without being compiled")
    history.record("compiled", compiled)


def record_numbers(history, numbers):
    """Write numbers of the epoch and, as skorch does, whether they are the best so far."""
    for name, number in numbers.items():
        before = [row[name] for row in _rows_alike(history) if name in row]
        history.record(name, number)
        if name in LOWER_IS_BETTER:
            better = min if LOWER_IS_BETTER[name] else max
            history.record(f"{name}_best", not before or better(number, *before) != better(before))


def _rows_alike(history):
    """The epochs before this one that it is to be compared with: relaxing is a training of its own, of one form."""
    now, macs = history[-1]["relaxing"], history[-1]["macs_per_image"]
    return [row for row in history[:-1] if row["relaxing"] == now and (not now or row["macs_per_image"] == macs)]


def check_finite(costs, epoch, lr):
    """Raise a ValueError if one of the costs is not a finite number."""
    broken = [f"{name}={cost}" for name, cost in costs.items() if not math.isfinite(cost)]
    if broken:
        raise ValueError(
            f"Training broke down in epoch {epoch}: {', '.join(broken)}. Lower lr (now {lr}) or the pressures, "
            "scale the features of X, or mend the extra cost if it is one that is not finite."
        )
