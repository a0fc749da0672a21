"""A path of prices: from a large lattice to small ones, each cut at several depths and trained on without prices."""

import copy
from functools import partial
from itertools import pairwise
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from ._base import BaseLatticeEstimator
from ._parameters import PRESSURES, check_parameters, is_pressure

# What they find is measured: docs/benchmarks.
PATH_PRESSURES = (10.0,)
KEEPS = (0.9, 0.6, 0.3, 0.12, 0.05, 0.025, 0.0125)


def pressure_path(
    estimator,
    X,
    y,
    X_val,
    y_val,
    *,
    pressures=PATH_PRESSURES,
    keeps=KEEPS,
    step_epochs=4,
    relax_epochs=20,
    n_jobs=None,
    memory=None,
    verbose=0,
):
    """Networks of many sizes from one lattice: fitted under prices, cut to several sizes, and trained further.

    The lattice is fitted at the first prices, and trained for a few epochs at each of the next ones, if there are any.
    At each of the prices, copies are cut to several shares of their accuracy on the training images. Each copy is then
    trained without prices. Deep cuts and training give better small networks than a high price alone.

    Parameters
    ----------
    estimator : LatticeClassifier or LatticeRegressor
        Not fitted; its parameters count. It stays as it is.
    X, y, X_val, y_val
        Images and targets to train on, and to measure accuracy on, as in `fit`.
    pressures : float, dict, or sequence of such, default=(10.0,)
        Ascending. A number is the price of both breadth and depth. A dict, such as
        ``{"breadth_pressure": 3, "time_pressure": 0.3}``, gives prices of its own, and the rest stay as they are.
    keeps : sequence of float, default=(0.9, 0.6, 0.3, 0.12, 0.05, 0.025, 0.0125)
        Shares of the accuracy above chance to cut to; see the parameter `keep`.
    step_epochs : int, default=4
        Epochs at each of the prices after the first.
    relax_epochs : int, default=20
        Epochs without prices after each cut.
    n_jobs : int, default=None
        Cuts to train at the same time, as in scikit-learn.
    memory : str or os.PathLike, default=None
        Folder in place of the estimator's `memory`: a path that was interrupted is resumed from it.
    verbose : int, default=0
        1 prints a line for each network. The estimator's own `verbose` prints its epochs.

    Returns
    -------
    DataFrame
        A row for each network: the three prices; `keep`, NaN for the lattice at these prices before it is cut;
        `accuracy` on X_val, which is R2 for a regressor; what is left, in `channels` (of each layer), `layers`,
        `steps`, `macs_per_image` and `n_parameters`; what training took from the network that it was made from, in
        `seconds` and multiply-accumulates, `train_macs`, so that the sum of either is that of the whole path; and
        `load`, which returns the fitted estimator.

    Raises
    ------
    ValueError
        If the prices do not ascend, there is nothing to tell apart in y, or a parameter is out of range.

    See Also
    --------
    growlattice.metrics.pareto_front : Marks the rows that no other row beats.

    References
    ----------
    Friedman, Hastie, Tibshirani (2010). Regularization paths for generalized linear models via coordinate descent.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from growlattice import LatticeClassifier, pressure_path
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> clf = LatticeClassifier(max_channels=4, max_layers=2, max_epochs=4, random_state=0)
    >>> short = dict(pressures=[1, 10], keeps=[0.5], step_epochs=1, relax_epochs=2)
    >>> path = pressure_path(clf, X[:200], y[:200], X[200:], y[200:], **short)
    >>> path[["breadth_pressure", "keep"]].values.tolist()
    [[1.0, nan], [1.0, 0.5], [10.0, nan], [10.0, 0.5]]
    >>> smallest = path.sort_values("macs_per_image")["load"].iloc[0]()
    >>> smallest.predict(X[200:]).shape
    (160,)
    """
    if not isinstance(estimator, BaseLatticeEstimator):
        raise ValueError(
            f"estimator={estimator!r} is no estimator of growlattice. Give a LatticeClassifier or LatticeRegressor."
        )
    prices = _check_prices(pressures, estimator)
    keeps = _check_keeps(keeps)
    for name, value in {"step_epochs": step_epochs, "relax_epochs": relax_epochs}.items():
        if not (isinstance(value, Integral) and value > 0):
            raise ValueError(f"{name}={value!r} must be a whole number from 1 up.")
    if len(np.unique(np.asarray(y, dtype=object).astype(str))) < 2:
        raise ValueError("y holds one value, so no size is better than another. Give at least two.")
    if X_val is None or y_val is None:
        raise ValueError("X_val and y_val are missing. Give images that are not in X, to measure accuracy on.")
    start = clone(estimator).set_params(warm_start=False, keep=None, relax_epochs=0)
    if memory is not None:
        start.set_params(memory=memory)
    check_parameters(start)
    seed = estimator.random_state
    seed = int(seed) if isinstance(seed, Integral) else int(check_random_state(seed).randint(2**31 - 1))
    start.set_params(random_state=seed)
    validation = X_val, y_val
    _check_validation(clone(start), X, y, validation)
    report = partial(print, flush=True) if verbose else _silent
    try:
        parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    except ValueError:  # not all backends of joblib hand results over as they come
        parallel = Parallel(n_jobs=n_jobs)
    at_prices = list(_along(start, prices, X, y, validation, step_epochs, report))
    cuts = [(network, keep) for network, _ in at_prices for keep in keeps]
    rows = iter(parallel(delayed(_cut)(network, keep, relax_epochs, X, y, validation) for network, keep in cuts))
    table = []
    for _, row in at_prices:
        table.append(row)
        for _ in keeps:
            table.append(next(rows))
            report(_line(table[-1]))
    return pd.DataFrame(table)


def _along(estimator, prices, X, y, validation, step_epochs, report):
    """The estimator fitted at each of the prices, from the one before on, and its row."""
    for index, price in enumerate(prices):
        goes_on = dict(warm_start=True, max_epochs=step_epochs, annealing=(0.0, 0.0), grow_from=None) if index else {}
        estimator = _copy(estimator).set_params(**price)
        row = _fitted_row(estimator, X, y, validation, np.nan, **goes_on)
        report(_line(row))
        yield estimator, row


def _cut(network, keep, relax_epochs, X, y, validation):
    """The row of what a cut leaves of a fitted network, trained without prices."""
    copied = _copy(network).set_params(keep=keep, relax_epochs=relax_epochs)
    return _fitted_row(copied, X, y, validation, keep, warm_start=True, max_epochs=0, grow_from=None, verbose=0)


def _copy(estimator):
    """A copy with callbacks of its own, as fits in threads would write into the same ones."""
    return copy.copy(estimator).set_params(callbacks=clone(estimator.callbacks, safe=False))


def _fitted_row(estimator, X, y, validation, keep, **for_this_fit):
    given = {name: getattr(estimator, name) for name in for_this_fit}
    estimator.set_params(**for_this_fit)
    estimator.fit(X, y)
    estimator.set_params(**given)  # as for a fit of its own
    lattice = estimator.lattice_
    return {
        **{name: getattr(estimator, name) for name in PRESSURES},
        "keep": keep,
        "accuracy": estimator.score(*validation),
        "channels": lattice.channels_left,
        "layers": estimator.layers_used_,
        "steps": lattice.steps_left,
        "macs_per_image": estimator.macs_per_image_,
        "n_parameters": estimator.n_parameters_,
        "seconds": float(estimator.history_["dur"].sum()),
        "train_macs": estimator.train_macs_,
        "load": _Loader(estimator),
    }


class _Loader:
    """Returns a copy of a fitted estimator; in a pickle it is as small as the estimator."""

    def __init__(self, estimator):
        self.estimator = estimator

    def __call__(self):
        return copy.deepcopy(self.estimator)

    def __repr__(self):
        return f"<a {type(self.estimator).__name__}>"


def _check_validation(estimator, X, y, validation):
    """Raise a ValueError now, and not after training, if the images to measure on do not fit."""
    estimator._training_set(X, y, None, learn=True)
    estimator._validation_set(*validation)


def _silent(line):
    """Print nothing."""


def _line(row):
    prices = ", ".join(f"{row[name]:g}" for name in PRESSURES)
    kept = "" if np.isnan(row["keep"]) else f", cut to {row['keep']:g}"
    return (
        f"prices {prices}{kept}: {row['accuracy']:.3f}, channels {row['channels']}, {row['steps']} steps, "
        f"{row['macs_per_image']:,} MACs"
    )


def _check_prices(pressures, estimator):
    """The three prices of each step of the path, as dicts; ascending."""
    prices = [{name: getattr(estimator, name) for name in PRESSURES}]
    for step in [pressures] if isinstance(pressures, (Real, dict)) else pressures:
        new = {"breadth_pressure": step, "depth_pressure": step} if isinstance(step, Real) else step
        if not (isinstance(new, dict) and set(new) <= set(PRESSURES) and all(map(is_pressure, new.values()))):
            raise ValueError(
                f"pressures holds {step!r}. Give finite numbers from 0 up, or dicts of such with the names "
                f"{', '.join(PRESSURES)}."
            )
        prices.append({**prices[-1], **{name: float(value) for name, value in new.items()}})
    prices = prices[1:]
    if not prices:
        raise ValueError("pressures is empty. Give at least one price.")
    for lower, higher in pairwise(prices):
        if lower == higher or any(lower[name] > higher[name] for name in PRESSURES):
            raise ValueError(
                f"pressures must ascend, for a lattice that has shrunk does not come back, but {higher} follows "
                f"{lower}. Sort them, and give each once."
            )
    return prices


def _check_keeps(keeps):
    keeps = np.ravel(keeps).tolist()
    if not keeps or not all(isinstance(keep, Real) and 0 <= keep <= 1 for keep in keeps):
        raise ValueError(f"keeps={keeps!r} must be numbers from 0 to 1: shares of the accuracy above chance to keep.")
    return [float(keep) for keep in keeps]
