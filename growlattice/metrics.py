"""Scorers of accuracy and resources for scikit-learn's searches, and the rule that picks the cheapest candidate."""

import copy
import warnings
import weakref
from contextlib import contextmanager
from functools import partial
from numbers import Real

import joblib
import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline


def resource_scorers(keep=0.98, score="accuracy"):
    """Scorers for the `scoring` of GridSearchCV and its kin, all on held-out images.

    Parameters
    ----------
    keep : float, default=0.98
        Share of the score above chance that pruning and halting must keep.
    score : str, default="accuracy"
        What to call the estimator's score. Give "r2" for a regressor.

    Returns
    -------
    dict of str to callable
        "accuracy", or the name given, and "time_used" (steps) of the fitted lattice as it is; "steps_run", the mean
        over images, of a copy that halts as the estimator does, or else as the images say;
        "accuracy_pruned", "channels_used", "layers_used" and "macs_per_image" of a copy that is pruned on the images,
        once for all four. The estimator, which may be a pipeline that ends in a lattice, stays as it is. A lattice that
        is not above chance counts in full.

    See Also
    --------
    cheapest : Picks a candidate by these scores.

    Notes
    -----
    Resources are given as they are, not negated: of these scores, scikit-learn ranks only accuracy, or R2, the right
    way round.

    Examples
    --------
    >>> names = list(resource_scorers())
    >>> names[:3]  # of the lattice as it is
    ['accuracy', 'time_used', 'steps_run']
    >>> names[3:]  # of a pruned copy
    ['accuracy_pruned', 'channels_used', 'layers_used', 'macs_per_image']
    """
    if not (isinstance(keep, Real) and 0 <= keep <= 1):
        raise ValueError(f"keep={keep!r} must be a number from 0 to 1: the share of the score above chance to keep.")
    pruned = _PrunedCopy(keep)
    return {
        score: _score,
        "time_used": _time_used,
        "steps_run": partial(_steps_run, keep),
        f"{score}_pruned": partial(_score_after_pruning, pruned),
        **{
            name: partial(_left_after_pruning, pruned, name)
            for name in ("channels_used", "layers_used", "macs_per_image")
        },
    }


def cheapest(resource, within=0.02, accuracy="accuracy_pruned"):
    """A rule for the `refit` of a search: the cheapest candidate that is nearly as accurate as the best.

    Parameters
    ----------
    resource : str
        Name of a score that is a resource, such as "macs_per_image".
    within : float, default=0.02
        How far the mean accuracy may lie below the best one.
    accuracy : str, default="accuracy_pruned"
        Name of the score that is that accuracy: of the lattice that has the resource. Give "accuracy" for a resource of
        the lattice before pruning, such as "time_used".

    Returns
    -------
    callable
        Takes `cv_results_`, which must hold both scores, and returns the index of a candidate.

    Examples
    --------
    >>> results = {
    ...     "mean_test_accuracy": np.array([0.98, 0.97, 0.9]),
    ...     "mean_test_time_used": np.array([4.0, 2.0, 1.0]),
    ... }
    >>> int(cheapest("time_used", accuracy="accuracy")(results))
    1
    """
    return partial(_cheapest, resource, within, accuracy)


def pareto_front(frame, minimize=(), maximize=()):
    """Mark the rows that no other row beats.

    A row beats another if it is at least as good in every column named, and better in one.

    Parameters
    ----------
    frame : DataFrame
        A row for each model, such as :func:`growlattice.read_sweep` gives.
    minimize, maximize : sequence of str
        Columns of numbers of which less, or more, is better.

    Returns
    -------
    Series of bool
        With the index of the frame. Rows that lack one of the numbers are not on the front, and rows that are equal in
        all of them are on it together.

    Raises
    ------
    ValueError
        If no column is named, or one that the frame does not have.

    Examples
    --------
    >>> frame = pd.DataFrame({"accuracy": [0.9, 0.95, 0.94], "time_used": [1.0, 2.0, 3.0]})
    >>> pareto_front(frame, minimize=["time_used"], maximize=["accuracy"]).tolist()
    [True, True, False]
    """
    if isinstance(minimize, str) or isinstance(maximize, str):
        raise ValueError(f"minimize={minimize!r} and maximize={maximize!r} must be lists of columns.")
    columns = [*minimize, *maximize]
    missing = [name for name in columns if name not in frame]
    if missing or not columns:
        raise ValueError(
            f"minimize and maximize name {columns}, of which the frame lacks {missing}. Name at least one column "
            f"of {list(frame.columns)}."
        )
    values = frame[columns].to_numpy(dtype=float) * np.array([1.0] * len(minimize) + [-1.0] * len(maximize))
    beaten = [((values <= row).all(axis=1) & (values < row).any(axis=1)).any() for row in values]
    return pd.Series(~np.array(beaten, dtype=bool) & ~np.isnan(values).any(axis=1), index=frame.index, name="pareto")


class _PrunedCopy:
    """Prunes a copy of a lattice, and remembers the last one, for the scorers come one after the other."""

    def __init__(self, keep):
        self.keep = keep
        self._last = (lambda: None, None, None)

    def __call__(self, classifier, X, y):
        net, content, copied = self._last
        weights = {name: tensor.numpy(force=True) for name, tensor in classifier.lattice_.state_dict().items()}
        now = joblib.hash((X, y, weights))  # training changes a net in place
        if net() is not classifier.net_ or content != now:
            copied = copy.copy(classifier).set_params(verbose=0)  # a deep copy is of a finished fit
            if hasattr(copied, "halting_"):
                copied.halt(None)
            with _on_few_images():
                copied.prune(X, y, keep=self.keep)
            self._last = (weakref.ref(classifier.net_), now, copied)
        return copied

    def __getstate__(self):
        return {"keep": self.keep}

    def __setstate__(self, state):
        self.__init__(**state)


def _score(estimator, X, y):
    return estimator.score(X, y)


def _time_used(estimator, X, y):
    classifier, X = _classifier_and_input(estimator, X)
    return float(np.mean(classifier.time_used(X)))


def _steps_run(keep, estimator, X, y):
    classifier, X = _classifier_and_input(estimator, X)
    if not hasattr(classifier, "halting_"):
        classifier = copy.copy(classifier)
        with _on_few_images():
            classifier.halt(X, y, keep=keep)
    return float(np.mean(classifier.steps_run(X)))


@contextmanager
def _on_few_images():
    """Let a lattice at chance stay as it is, without warnings: folds are small, and nobody could give more images."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*less than one image")
            yield
    except ValueError as error:
        if "not above the chance level" not in str(error):
            raise


def _left_after_pruning(pruned, name, estimator, X, y):
    classifier, images = _classifier_and_input(estimator, X)
    return getattr(pruned(classifier, images, y), f"{name}_")


def _score_after_pruning(pruned, estimator, X, y):
    classifier, images = _classifier_and_input(estimator, X)
    return pruned(classifier, images, y).score(images, y)


def _classifier_and_input(estimator, X):
    """The lattice at the end of a pipeline, and what the steps before it make of X."""
    while isinstance(estimator, Pipeline):
        X = estimator[:-1].transform(X) if len(estimator) > 1 else X
        estimator = estimator[-1]
    return estimator, X


def _cheapest(resource, within, accuracy, cv_results_):
    missing = [name for name in (accuracy, resource) if f"mean_test_{name}" not in cv_results_]
    if missing:
        raise ValueError(f"cv_results_ lacks the scores {missing}. Give the search scoring=resource_scorers().")
    accuracy, cost = (np.asarray(cv_results_[f"mean_test_{name}"]) for name in (accuracy, resource))
    if (np.isnan(accuracy) | np.isnan(cost)).all():
        raise ValueError("No candidate has both scores: look at the warnings of the search, and at its cv_results_.")
    near = accuracy >= np.nanmax(accuracy) - within - 1e-12  # rounding
    if np.isnan(cost[near]).all():
        raise ValueError(
            f"No candidate that is accurate enough has the score {resource!r}: look at the warnings of the search, and "
            "at its cv_results_."
        )
    order = np.lexsort((-accuracy, np.where(near & ~np.isnan(cost), cost, np.inf)))
    return order[0]
