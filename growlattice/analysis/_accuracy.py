"""What models get right: how consistent their errors are, and what accuracy a resource buys."""

import numpy as np
from sklearn.metrics import cohen_kappa_score

from ._checks import as_truth_values, check_same_length, stacked


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
    correct_a = as_truth_values("correct_a", correct_a, "(n_images,)")
    correct_b = as_truth_values("correct_b", correct_b, "(n_images,)")
    check_same_length("correct_a", correct_a, "correct_b", correct_b)
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
    correct = as_truth_values("correct", stacked("correct", correct), "(n_models, n_images)").astype(np.float64)
    n_images = correct.shape[1]
    n_right = correct.sum(axis=1)
    agreed = n_images - n_right[:, None] - n_right + 2 * correct @ correct.T
    by_chance = np.outer(n_right, n_right) + np.outer(n_images - n_right, n_images - n_right)
    possible = n_images**2 - by_chance
    return np.divide(n_images * agreed - by_chance, possible, out=np.ones_like(agreed), where=possible > 0)


def _check_range(name, outside, values, expected, advice):
    if outside.any():
        raise ValueError(f"{name} holds {values[outside][0]}, but must be {expected}. {advice}")


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
