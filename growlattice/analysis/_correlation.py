"""Correlations over images, whole or with other measures taken out, and their intervals by a bootstrap."""

from typing import NamedTuple

import numpy as np

from ._checks import as_finite, check_axes, check_confidence_level, check_same_length

METHODS = ("spearman", "pearson")
ROUNDING = 1e-28  # sum of squared deviations, the largest about 1 or more, that a constant column may have
LEAST_LEFT = 1e-10  # share of a variance below which what is left of it is rounding


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


def _as_measure(name, values):
    """Numbers of shape (n_images,) as float64, none of them infinite; NaN may be among them."""
    values = np.atleast_1d(np.ma.filled(np.ma.asarray(values).astype(float), np.nan))  # what is masked is missing
    check_axes(name, values, "(n_images,)")
    as_finite(name, values[~np.isnan(values)])
    return values


def _as_covariates(given, n_images):
    """Columns of shape (n_images, n_covariates); none for None."""
    if given is None:
        return np.empty((n_images, 0))
    given = as_finite("given", given)
    given = given[:, None] if given.ndim == 1 else given  # (n_images, n_covariates)
    check_axes("given", given, "(n_images, n_covariates)")
    return given


def _scaled(columns):
    """Deviations from the mean, the largest of which is 1, so that neither tiny nor huge ones are lost when squared."""
    deviations = columns - columns.mean(axis=0)
    largest = np.abs(deviations).max(axis=0)
    return deviations / np.where(largest > 0, largest, 1)


def _positions(column):
    """Position of each value among the different values, in order."""
    return np.unique(column, return_inverse=True)[1]


def _ranks(positions, counts):
    """Ranks of images that occur `counts` times, those with ties at their mean rank."""
    equal = np.bincount(positions, weights=counts)
    return (np.cumsum(equal) - (equal - 1) / 2)[positions]


def _correlations(columns, counts):
    """Pearson's correlation of all pairs of columns over images that occur `counts` times; 0 with a constant."""
    deviations = columns - counts @ columns / counts.sum()
    products = deviations.T @ (counts[:, None] * deviations)
    squares = products.diagonal()
    scale = np.sqrt(np.where(squares > ROUNDING, squares, np.inf))
    return products / np.outer(scale, scale)


def _partial(correlations):
    """Correlation of the first two without what is linear in the others; NaN where nothing is left of either."""
    others = correlations[2:, :2]
    explained = others.T @ np.linalg.pinv(correlations[2:, 2:], rcond=LEAST_LEFT, hermitian=True) @ others
    left = correlations[:2, :2] - explained
    if left.diagonal().min() < LEAST_LEFT:
        return np.nan
    return np.clip(left[0, 1] / np.sqrt(left[0, 0] * left[1, 1]), -1, 1)


def _columns(model, human, given):
    """Model, human and covariates side by side, without the images that people have not seen."""
    model, human = as_finite("model", model), _as_measure("human", human)
    check_axes("model", model, "(n_images,)")
    check_same_length("model", model, "human", human)
    given = _as_covariates(given, len(model))
    check_same_length("model", model, "given", given)
    columns = np.column_stack([model, human, given])[~np.isnan(human)]
    n_images, n_columns = columns.shape
    if n_images <= n_columns:
        beside = f" and {n_columns - 2} other measures given" if n_columns > 2 else ""
        seen = " that human has numbers for" if n_images < len(model) else ""
        raise ValueError(
            f"model has {n_images} images{seen}{beside}, but a correlation needs at least {n_columns + 1}. "
            "Give more images."
        )
    for name, column in zip(("model", "human"), columns.T, strict=False):
        if np.ptp(column) == 0:
            raise ValueError(
                f"{name} is {column[0]} for every image, so nothing correlates with it. Give other images."
            )
    return columns


def _coefficient(columns, method):
    """A function of how often each image occurs, which gives the correlation of the first two columns."""
    if method == "pearson":
        scaled = _scaled(columns)
        return lambda counts: _partial(_correlations(scaled, counts))
    positions = [_positions(column) for column in columns.T]
    return lambda counts: _partial(
        _correlations(np.column_stack([_ranks(place, counts) for place in positions]), counts)
    )


def correlate(model, human, given=None, n_bootstrap=2000, confidence_level=0.95, method="spearman", random_state=None):
    """Correlate what a model does on each image with what people do, with a bootstrap interval over images.

    Parameters
    ----------
    model : array-like of shape (n_images,)
        Of the model, such as its time used, in steps.
    human : array-like of shape (n_images,)
        Of people on the same images, such as reaction times, or the entropy of their answers for their uncertainty.
        NaN is for images without people; these are left out.
    given : array-like of shape (n_images,) or (n_images, n_covariates), default=None
        Other measures of the images, such as the model's error or their contrast, which are taken out: the
        correlation is that of what a linear model of them leaves of `model` and of `human`, all as ranks for
        "spearman". Columns of 0 and 1, one for each class, give the correlation within classes.
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
        Draws in which either array is constant, or has nothing left, are left out, which matters only for few images
        or distinct values.

    Raises
    ------
    ValueError
        If the arrays differ in length, have fewer than 3 images, or, with covariates, 3 more than there are of these;
        hold infinity, NaN outside `human` or a single value throughout; if `given` explains one of them altogether,
        or a setting is outside its range.

    References
    ----------
    Butkus et al. (2026), section 4.2. Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    Examples
    --------
    Steps of a lattice, and seconds of people, who have not seen the last image:

    >>> time_used = [1.0, 2.0, 1.5, 3.0, 2.5, 4.0, 2.2]
    >>> reaction_time = [0.5, 0.7, 0.6, 0.9, 1.0, 1.1, np.nan]
    >>> found = correlate(time_used, reaction_time, random_state=0)
    >>> round(float(found.statistic), 3)
    0.943
    >>> contrast = [0.9, 0.4, 0.8, 0.3, 0.1, 0.2, 0.5]
    >>> found = correlate(time_used, reaction_time, given=contrast, random_state=0)
    >>> round(float(found.statistic), 3)
    0.866
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is none of {list(METHODS)}. Give one of these.")
    if n_bootstrap < 100:
        raise ValueError(f"n_bootstrap={n_bootstrap} is too few for an interval. Give at least 100.")
    check_confidence_level(confidence_level)
    columns = _columns(model, human, given)
    n_images, coefficient = len(columns), _coefficient(columns, method)
    statistic = coefficient(np.ones(n_images))
    if np.isnan(statistic):
        raise ValueError("given explains model or human altogether, so nothing is left to correlate. Leave some out.")
    rng = np.random.default_rng(random_state)
    resampled = [
        coefficient(np.bincount(rng.integers(n_images, size=n_images), minlength=n_images)) for _ in range(n_bootstrap)
    ]
    tail = (1 - confidence_level) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return Correlation(statistic, low, high)
