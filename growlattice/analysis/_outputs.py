"""How far the outputs of models differ, and a map of models by these differences."""

import numpy as np
from scipy.special import entr
from sklearn.manifold import MDS

from ._checks import as_finite, check_axes, stacked

SUM_TOLERANCE = 1e-3  # of probabilities, which may come in half precision


def _as_probabilities(probas):
    probas = stacked("probas", probas)
    check_axes("probas", probas, "(n_models, n_images, n_classes)")
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
    divergence = as_finite("divergence", divergence)
    check_axes("divergence", divergence, "(n_models, n_models)")
    square = divergence.shape[0] == divergence.shape[1]
    if not square or not np.allclose(divergence, divergence.T) or divergence.min() < 0 or divergence.diagonal().any():
        raise ValueError(
            f"divergence of shape {divergence.shape} has the minimum {divergence.min()} and up to "
            f"{divergence.diagonal().max()} on the diagonal, but must be square, symmetric, at least 0, and 0 on the "
            "diagonal. Give what output_divergence returns."
        )
    return (divergence + divergence.T) / 2


def _mean_entropy(probas):
    """Entropy in bits of each image's distribution, averaged over images."""
    return entr(probas, dtype=np.float64).sum(axis=-1).mean() / np.log(2)


def _along_principal_axes(points):
    """Centre and turn points: spread most along the first axis, and the first point not negative."""
    left, spread, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return left * spread * np.where(left[0] < 0, -1, 1)


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
