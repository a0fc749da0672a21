"""Confidence intervals: of correlations over images by a bootstrap, of means over seeds by the t distribution."""

import warnings
from typing import NamedTuple

import numpy as np
from scipy import stats

from ._checks import as_finite, check_axes, check_same_length

BATCH_VALUES = 2**20  # held at once by the bootstrap: 8 MiB an array


class Correlation(NamedTuple):
    """A correlation over images and its confidence interval.

    Attributes
    ----------
    statistic : float
        Correlation coefficient, from -1 to 1.
    low, high : float
        Bounds of the interval.
    """

    statistic: float
    low: float
    high: float


class SeedInterval(NamedTuple):
    """A mean over seeds and its confidence interval.

    Attributes
    ----------
    mean : float or ndarray
        Mean over the seeds, in the unit of the values.
    low, high : float or ndarray
        Bounds of the interval, of the same shape.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _as_varied(name, values):
    values = as_finite(name, values)
    check_axes(name, values, "(n_images,)")
    if len(values) < 3:
        raise ValueError(f"{name} has {len(values)} images, but a correlation needs at least 3. Give more images.")
    if np.ptp(values) == 0:
        raise ValueError(f"{name} is {values[0]} for every image, so nothing correlates with it. Give other images.")
    return values


def _check_confidence_level(confidence_level):
    if not 0 < confidence_level < 1:
        raise ValueError(f"confidence_level={confidence_level} is not between 0 and 1. Give a share, such as 0.95.")


def _deviations(values, axis):
    """Deviations from the mean, the largest of which is 1, so that neither tiny nor huge ones are lost when squared."""
    deviations = values - values.mean(axis=axis, keepdims=True)
    largest = np.abs(deviations).max(axis=axis, keepdims=True)
    return deviations / np.where(largest > 0, largest, 1)


def _pearson(first, second, axis=-1):
    """Correlation along an axis, NaN where either is constant."""
    constant = (np.ptp(first, axis=axis) == 0) | (np.ptp(second, axis=axis) == 0)
    first, second = (_deviations(values, axis) for values in (first, second))
    products = (first * second).sum(axis=axis)
    scale = np.sqrt((first**2).sum(axis=axis) * (second**2).sum(axis=axis))
    return np.divide(products, scale, out=np.full_like(products, np.nan), where=~constant).clip(-1, 1)


def _spearman(first, second, axis=-1):
    return _pearson(stats.rankdata(first, axis=axis), stats.rankdata(second, axis=axis), axis=axis)


_CORRELATIONS = {"spearman": _spearman, "pearson": _pearson}


def correlate(model, human, n_bootstrap=2000, confidence_level=0.95, method="spearman", random_state=None):
    """Correlate what a model does on each image with what people do, with a bootstrap interval over images.

    Parameters
    ----------
    model : array-like of shape (n_images,)
        Of the model, such as its time used, in steps.
    human : array-like of shape (n_images,)
        Of people on the same images, such as reaction times, or the entropy of their answers for their uncertainty.
    n_bootstrap : int, default=2000
        Number of resamples, at least 100.
    confidence_level : float, default=0.95
        Share of such intervals that hold the true correlation, between 0 and 1.
    method : {"spearman", "pearson"}, default="spearman"
        Correlation of the ranks, with ties at their mean rank, or of the values.
    random_state : int, Generator or None, default=None
        Seed of the resampling. The global random state is neither read nor changed.

    Returns
    -------
    Correlation
        `statistic`, `low` and `high`: the correlation, and percentiles of it over images drawn with replacement.
        Draws in which either array is constant are left out, which matters only for few images or distinct values.

    Raises
    ------
    ValueError
        If the arrays differ in length, have fewer than 3 images, hold NaN, infinity or a single value throughout, or a
        setting is outside its range.

    References
    ----------
    Butkus et al. (2026), section 4.2. Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    Examples
    --------
    >>> time_used = [1.0, 2.0, 1.5, 3.0, 2.5, 4.0]  # steps
    >>> reaction_time = [0.5, 0.7, 0.6, 0.9, 1.0, 1.1]  # seconds
    >>> round(float(correlate(time_used, reaction_time, random_state=0).statistic), 3)
    0.943
    """
    if method not in _CORRELATIONS:
        raise ValueError(f"method={method!r} is none of {list(_CORRELATIONS)}. Give one of these.")
    if n_bootstrap < 100:
        raise ValueError(f"n_bootstrap={n_bootstrap} is too few for an interval. Give at least 100.")
    _check_confidence_level(confidence_level)
    model, human = _as_varied("model", model), _as_varied("human", human)
    check_same_length("model", model, "human", human)
    with warnings.catch_warnings():
        # scipy's own interval is not used: it is NaN as soon as one resample is constant.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        resampled = stats.bootstrap(
            (model, human),
            _CORRELATIONS[method],
            n_resamples=n_bootstrap,
            batch=max(1, BATCH_VALUES // len(model)),
            paired=True,
            method="percentile",
            rng=np.random.default_rng(random_state),
        )
    tail = (1 - confidence_level) / 2
    low, high = np.nanquantile(resampled.bootstrap_distribution, [tail, 1 - tail])
    return Correlation(_CORRELATIONS[method](model, human), low, high)


def seed_interval(values, confidence_level=0.95, axis=0):
    """Mean over seeds and its confidence interval by the t distribution.

    Parameters
    ----------
    values : array-like
        A number for each seed, such as the accuracy of models that differ in nothing else; other axes are kept.
    confidence_level : float, default=0.95
        Share of such intervals that hold the true mean, between 0 and 1.
    axis : int, default=0
        Axis of the seeds.

    Returns
    -------
    SeedInterval
        `mean`, `low` and `high`, in the unit of the values, without the axis of the seeds. Seeds that agree give an
        interval without width.

    Raises
    ------
    ValueError
        If there are fewer than two seeds, or a value is NaN or infinite.

    References
    ----------
    Butkus et al. (2026), section 4: the error bars of its figures.

    Examples
    --------
    >>> interval = seed_interval([0.70, 0.72, 0.74])
    >>> [round(float(bound), 3) for bound in interval]
    [0.72, 0.67, 0.77]
    """
    _check_confidence_level(confidence_level)
    values = np.moveaxis(as_finite("values", values), axis, 0)
    n_seeds = len(values)
    if n_seeds < 2:
        raise ValueError(f"values has {n_seeds} seeds along axis={axis}, but an interval needs at least 2. Fit more.")
    mean = values.mean(axis=0)
    standard_error = values.std(axis=0, ddof=1) / np.sqrt(n_seeds)
    half_width = stats.t.ppf((1 + confidence_level) / 2, df=n_seeds - 1) * standard_error
    return SeedInterval(mean, mean - half_width, mean + half_width)
