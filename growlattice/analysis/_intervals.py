"""Confidence intervals of means over seeds, by the t distribution."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from ._checks import as_finite, check_confidence_level


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
    check_confidence_level(confidence_level)
    values = np.moveaxis(as_finite("values", values), axis, 0)
    n_seeds = len(values)
    if n_seeds < 2:
        raise ValueError(f"values has {n_seeds} seeds along axis={axis}, but an interval needs at least 2. Fit more.")
    mean = values.mean(axis=0)
    standard_error = values.std(axis=0, ddof=1) / np.sqrt(n_seeds)
    half_width = stats.t.ppf((1 + confidence_level) / 2, df=n_seeds - 1) * standard_error
    return SeedInterval(mean, mean - half_width, mean + half_width)
