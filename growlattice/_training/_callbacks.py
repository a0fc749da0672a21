"""skorch's callbacks: those that are refused, those that are built in, and those that end training."""

import inspect

from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    PassthroughScoring,
    PrintLog,
)

from ._history import LOWER_IS_BETTER

NO_SCORING = (EpochScoring, BatchScoring, PassthroughScoring)


def default_callbacks(callbacks):
    """The built-in callbacks, without a table of epochs where the user gives one."""
    built_in = [("epoch_timer", EpochTimer())]
    if not any(issubclass(kind_of(callback), PrintLog) for callback in unnamed(callbacks)):
        built_in.append(("print_log", PrintLog(keys_ignored=["train_loss", "train_macs", "relaxing", "compiled"])))
    return built_in


def unnamed(callbacks):
    """The callbacks of a list that may hold pairs (name, callback)."""
    return [pair[1] if isinstance(pair, (tuple, list)) and len(pair) == 2 else pair for pair in callbacks or ()]


def kind_of(callback):
    """The class of a callback, which may be given itself."""
    return callback if inspect.isclass(callback) else type(callback)


def check_callbacks(callbacks):
    """Raise a ValueError unless each is a skorch callback that can work here."""
    for given, callback in zip(callbacks or (), unnamed(callbacks), strict=True):
        if not issubclass(kind_of(callback), Callback):
            raise ValueError(f"callbacks holds {given!r}. Give skorch callbacks, or pairs (name, callback).")
        if issubclass(kind_of(callback), NO_SCORING):
            raise ValueError(
                f"callbacks holds {kind_of(callback).__name__}, which scores a skorch data set, and there is none. "
                "Give X_val and y_val to fit and read the columns valid_accuracy and valid_error, or give "
                "scikit-learn's ScoringMonitor to set_callbacks."
            )
        if getattr(callback, "use_safetensors", False):
            raise ValueError(
                "callbacks holds a Checkpoint with use_safetensors=True, which cannot hold kernels whose channels are "
                "last in memory. Give use_safetensors=False, or use the estimator's save."
            )


def check_monitors(net, columns):
    """Raise a ValueError if a callback monitors what the history will not have.

    Parameters
    ----------
    net : LatticeNet
        Initialized.
    columns : collection of str
        Of the history of the training to come.
    """
    for name, callback in net.callbacks_:
        monitor = getattr(callback, "monitor", None)
        best = {f"{column}_best" for column in columns if column in LOWER_IS_BETTER}
        if isinstance(monitor, str) and monitor not in best.union(columns):
            raise ValueError(
                f"The callback {name} monitors {monitor!r}, which is no column of the history. Give "
                f"monitor= one of {sorted(columns)}; those that begin with valid_ need X_val and y_val in this "
                "call of fit or relax; partial_fit and pressure_path never have them."
            )


def stopped_early(net):
    """Whether a callback of skorch's, which raises KeyboardInterrupt to end training, asked for it.

    Any other KeyboardInterrupt is a Ctrl-C.
    """
    return any(isinstance(cb, EarlyStopping) and cb.misses_ == cb.patience for _, cb in net.callbacks_)
