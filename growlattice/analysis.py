"""What fitted models have in common, with each other and with people: arrays in, arrays out.

The analyses of Butkus, Garzón Gupta and Kriegeskorte (2026), sections 4.2 to 4.4: which images models get wrong, how
far their outputs differ, what accuracy a resource buys, whether the time used goes with human reaction times and
judgement uncertainty, and intervals over images and seeds.
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import entr
from sklearn.manifold import MDS
from sklearn.metrics import cohen_kappa_score

BATCH_VALUES = 2**20  # held at once by the bootstrap: 8 MiB an array
SUM_TOLERANCE = 1e-3  # of probabilities, which may come in half precision


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


def error_consistency(correct_a, correct_b):
    """Cohen's kappa of which images two models get right: agreement beyond what their accuracies explain.

    Parameters
    ----------
    correct_a, correct_b : array-like of bool of shape (n_images,)
        Whether each model, or person, is right about the same images in the same order.

    Returns
    -------
    float
        1 for the same errors, 0 for as many in common as chance gives, and negative for fewer. It is 1 too where both
        are right everywhere, or wrong everywhere, for which kappa is 0 / 0.

    Raises
    ------
    ValueError
        If the arrays hold anything but truth values, differ in length or are empty.

    References
    ----------
    Butkus et al. (2026), section 4.3. Geirhos, Meding and Wichmann (2020), Beyond accuracy: quantifying trial-by-trial
    behaviour of CNNs and humans by measuring error consistency, NeurIPS.

    Examples
    --------
    >>> float(error_consistency([True, True, False, False], [True, True, True, False]))
    0.5
    """
    correct_a = _as_truth_values("correct_a", correct_a, "(n_images,)")
    correct_b = _as_truth_values("correct_b", correct_b, "(n_images,)")
    _check_same_length("correct_a", correct_a, "correct_b", correct_b)
    if np.array_equal(correct_a, correct_b):
        return 1.0
    return cohen_kappa_score(correct_a, correct_b)


def error_consistency_matrix(correct):
    """Error consistency of every pair of models.

    Parameters
    ----------
    correct : array-like of bool of shape (n_models, n_images)
        Whether each model is right about each image.

    Returns
    -------
    ndarray of shape (n_models, n_models)
        :func:`error_consistency` of the pairs: symmetric, with ones on the diagonal.

    Raises
    ------
    ValueError
        If `correct` holds anything but truth values, has not two axes, is empty, or models differ in their images.

    Examples
    --------
    >>> y = np.array([0, 1, 2, 2])
    >>> predicted = np.array([[0, 1, 0, 0], [0, 1, 2, 0]])  # (n_models, n_images)
    >>> error_consistency_matrix(predicted == y)
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    # Counts are kept whole, in float64 for the sake of a fast product, so that equal rows give exactly 1.
    correct = _as_truth_values("correct", _stacked("correct", correct), "(n_models, n_images)").astype(np.float64)
    n_images = correct.shape[1]
    n_right = correct.sum(axis=1)
    agreed = n_images - n_right[:, None] - n_right + 2 * correct @ correct.T
    by_chance = np.outer(n_right, n_right) + np.outer(n_images - n_right, n_images - n_right)
    possible = n_images**2 - by_chance
    return np.divide(n_images * agreed - by_chance, possible, out=np.ones_like(agreed), where=possible > 0)


def output_divergence(probas):
    """Jensen-Shannon divergence between the outputs of every pair of models, averaged over images.

    Parameters
    ----------
    probas : array-like of shape (n_models, n_images, n_classes)
        Probabilities that each model gives to the classes, such as `predict_proba` returns them.

    Returns
    -------
    ndarray of shape (n_models, n_models)
        In bits, from 0 for equal outputs to 1 for outputs with no class in common; symmetric.

    Raises
    ------
    ValueError
        If `probas` has not three axes, is empty, or holds probabilities that are NaN or negative, or do not sum to 1;
        or if models differ in their images or classes, as after folds that lack a class.

    References
    ----------
    Butkus et al. (2026), section 4.3. Lin (1991), Divergence measures based on the Shannon entropy.

    Examples
    --------
    >>> output_divergence([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])
    array([[0. , 0.5],
           [0.5, 0. ]])
    """
    probas = _as_probabilities(probas)
    n_models = len(probas)
    entropies = [_mean_entropy(model) for model in probas]
    divergence = np.zeros((n_models, n_models))
    # One pair at a time, so that little is held in memory beside probas.
    for i, j in zip(*np.triu_indices(n_models, k=1), strict=True):
        mixture = np.add(probas[i], probas[j], dtype=np.float64) / 2
        divergence[i, j] = divergence[j, i] = _mean_entropy(mixture) - (entropies[i] + entropies[j]) / 2
    return divergence.clip(0, 1)


def embed_models(divergence, random_state=None):
    """Place models in a plane, so that their distances follow the divergence of their outputs.

    Parameters
    ----------
    divergence : array-like of shape (n_models, n_models)
        Divergences such as :func:`output_divergence` gives: symmetric, not negative, zero on the diagonal.
    random_state : int or None, default=None
        Seed of the starts of the multidimensional scaling, of which the best of several is kept.

    Returns
    -------
    ndarray of shape (n_models, 2)
        Positions in square roots of a bit, centred, spread most along the first axis, the first model's not negative.
        Models that are all alike lie at the origin, and so does a single one.

    Raises
    ------
    ValueError
        If `divergence` is not square, symmetric, finite, at least zero, and zero on the diagonal.

    Notes
    -----
    Metric multidimensional scaling takes its dissimilarities for distances, so it is given the square root of the
    divergence. The root of the Jensen-Shannon divergence, and of its mean over images, satisfies the triangle
    inequality, which the divergence itself does not.

    References
    ----------
    Butkus et al. (2026), section 4.3. Endres and Schindelin (2003), A new metric for probability distributions.

    Examples
    --------
    >>> embed_models([[0.0, 0.25], [0.25, 0.0]], random_state=0).round(2)
    array([[ 0.25,  0.  ],
           [-0.25,  0.  ]])
    """
    distances = np.sqrt(_as_divergence(divergence))
    if not distances.any():
        return np.zeros((len(distances), 2))
    rng = np.random.RandomState(random_state)
    scaling = MDS(metric="precomputed", init="random", n_init=8, max_iter=1000, eps=1e-8, random_state=rng)
    return _along_principal_axes(scaling.fit_transform(distances))


def efficiency(accuracy, resource, n_classes):
    """Accuracy above chance for each unit of a resource.

    Parameters
    ----------
    accuracy : array-like of float
        Share of images classified right, from 0 to 1.
    resource : array-like of float
        Channels, layers, steps or multiply-accumulates used: above zero.
    n_classes : array-like of int
        Number K of classes of the task, at least 2.

    Returns
    -------
    float or ndarray
        (accuracy - 1 / K) / resource, in the arguments' common shape: negative below chance, NaN where an argument is.

    Raises
    ------
    ValueError
        If a value lies outside its range, or the shapes do not broadcast.

    References
    ----------
    Butkus et al. (2026), section 4.4.

    Examples
    --------
    >>> efficiency([0.9, 0.7], resource=[4.0, 2.0], n_classes=10).round(3)
    array([0.2, 0.3])
    """
    accuracy, resource, n_classes = (np.asarray(values, dtype=float) for values in (accuracy, resource, n_classes))
    _check_range("accuracy", (accuracy < 0) | (accuracy > 1), accuracy, "between 0 and 1", "Divide per cent by 100.")
    _check_range("resource", resource <= 0, resource, "above 0", "Leave out models that use none of it.")
    _check_range("n_classes", n_classes < 2, n_classes, "at least 2", "Give the number of classes of the task.")
    return (accuracy - 1 / n_classes) / resource


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
    _check_same_length("model", model, "human", human)
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
    values = np.moveaxis(_as_finite("values", values), axis, 0)
    n_seeds = len(values)
    if n_seeds < 2:
        raise ValueError(f"values has {n_seeds} seeds along axis={axis}, but an interval needs at least 2. Fit more.")
    mean = values.mean(axis=0)
    standard_error = values.std(axis=0, ddof=1) / np.sqrt(n_seeds)
    half_width = stats.t.ppf((1 + confidence_level) / 2, df=n_seeds - 1) * standard_error
    return SeedInterval(mean, mean - half_width, mean + half_width)


def _mean_entropy(probas):
    """Entropy in bits of each image's distribution, averaged over images."""
    return entr(probas, dtype=np.float64).sum(axis=-1).mean() / np.log(2)


def _along_principal_axes(points):
    """Centre and turn points: spread most along the first axis, and the first point not negative."""
    left, spread, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return left * spread * np.where(left[0] < 0, -1, 1)


def _pearson(first, second, axis=-1):
    """Correlation along an axis, NaN where either is constant."""
    constant = (np.ptp(first, axis=axis) == 0) | (np.ptp(second, axis=axis) == 0)
    first, second = (_deviations(values, axis) for values in (first, second))
    products = (first * second).sum(axis=axis)
    scale = np.sqrt((first**2).sum(axis=axis) * (second**2).sum(axis=axis))
    return np.divide(products, scale, out=np.full_like(products, np.nan), where=~constant).clip(-1, 1)


def _deviations(values, axis):
    """Deviations from the mean, the largest of which is 1, so that neither tiny nor huge ones are lost when squared."""
    deviations = values - values.mean(axis=axis, keepdims=True)
    largest = np.abs(deviations).max(axis=axis, keepdims=True)
    return deviations / np.where(largest > 0, largest, 1)


def _spearman(first, second, axis=-1):
    return _pearson(stats.rankdata(first, axis=axis), stats.rankdata(second, axis=axis), axis=axis)


_CORRELATIONS = {"spearman": _spearman, "pearson": _pearson}


def _stacked(name, models):
    """What models gave, as one array."""
    try:
        return np.asarray(models)
    except ValueError:
        shapes = [np.shape(model) for model in models]
        raise ValueError(
            f"{name} has models of shapes {shapes}, but all must have the same. Let all answer the same images, and "
            "give a class that a model has not seen a column of zeros."
        ) from None


def _as_truth_values(name, values, shape):
    values = np.asarray(values)
    if values.dtype == object and all(isinstance(value, (bool, np.bool_)) for value in values.flat):
        values = values.astype(bool)
    _check_axes(name, values, shape)
    if values.dtype.kind not in "biuf" or not np.isin(values, (False, True)).all():
        raise ValueError(f"{name} of {values.dtype} holds more than True and False. Give, for example, predicted == y.")
    return values.astype(bool)


def _as_probabilities(probas):
    probas = _stacked("probas", probas)
    _check_axes("probas", probas, "(n_models, n_images, n_classes)")
    if not probas.min() >= 0:
        raise ValueError(f"probas has the minimum {probas.min()}, but probabilities are at least 0. Are these logits?")
    sums = probas.sum(axis=2, dtype=np.float64)
    if not np.allclose(sums, 1, rtol=0, atol=SUM_TOLERANCE):
        raise ValueError(
            f"probas sums over its last axis to {sums.min()} up to {sums.max()}, but to 1 was expected. Divide by the "
            "sums, or move the classes to the last axis."
        )
    return probas


def _as_divergence(divergence):
    divergence = _as_finite("divergence", divergence)
    _check_axes("divergence", divergence, "(n_models, n_models)")
    square = divergence.shape[0] == divergence.shape[1]
    if not square or not np.allclose(divergence, divergence.T) or divergence.min() < 0 or divergence.diagonal().any():
        raise ValueError(
            f"divergence of shape {divergence.shape} has the minimum {divergence.min()} and up to "
            f"{divergence.diagonal().max()} on the diagonal, but must be square, symmetric, at least 0, and 0 on the "
            "diagonal. Give what output_divergence returns."
        )
    return (divergence + divergence.T) / 2


def _as_varied(name, values):
    values = _as_finite(name, values)
    _check_axes(name, values, "(n_images,)")
    if len(values) < 3:
        raise ValueError(f"{name} has {len(values)} images, but a correlation needs at least 3. Give more images.")
    if np.ptp(values) == 0:
        raise ValueError(f"{name} is {values[0]} for every image, so nothing correlates with it. Give other images.")
    return values


def _as_finite(name, values):
    values = np.atleast_1d(np.asarray(values, dtype=float))
    n_bad = np.count_nonzero(~np.isfinite(values))
    if n_bad:
        raise ValueError(f"{name} holds {n_bad} values that are NaN or infinite. Leave them out.")
    return values


def _check_axes(name, values, shape):
    if values.ndim != shape.count("n_") or values.size == 0:
        raise ValueError(f"{name} has the shape {values.shape}. Give an array of shape {shape} that is not empty.")


def _check_same_length(name_a, a, name_b, b):
    if len(a) != len(b):
        raise ValueError(f"{name_a} has {len(a)} images, but {name_b} has {len(b)}. Give the same images to both.")


def _check_range(name, outside, values, expected, advice):
    if outside.any():
        raise ValueError(f"{name} holds {values[outside][0]}, but must be {expected}. {advice}")


def _check_confidence_level(confidence_level):
    if not 0 < confidence_level < 1:
        raise ValueError(f"confidence_level={confidence_level} is not between 0 and 1. Give a share, such as 0.95.")
