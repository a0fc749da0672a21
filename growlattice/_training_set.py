"""What a lattice is trained on: images, indices of their labels, and weights."""

import math
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from sklearn.utils import compute_class_weight

SMALL = 1000  # images, weights counted, up to which a sample weight of 2 is exactly the image twice
IMAGES_AT_ONCE = 1024


class TrainingSet(NamedTuple):
    """Images, indices of their labels, and weights.

    Attributes
    ----------
    images : ndarray of shape (n_images, n_channels, height, width)
    labels : ndarray of int64 of shape (n_images,)
        Indices into the classes.
    sample_weight : ndarray of shape (n_images,) or None
        None where all images count the same.
    """

    images: np.ndarray
    labels: np.ndarray
    sample_weight: np.ndarray | None


def make_training_set(images, labels, sample_weight, classes, class_weight=None):
    """Bring a small training set to its canonical form, and weigh the classes.

    Parameters
    ----------
    images, labels
        As in :class:`TrainingSet`.
    sample_weight : ndarray of shape (n_images,)
        Above 0.
    classes : ndarray of shape (n_classes,)
        What the labels stand for.
    class_weight : dict, "balanced" or None
        As in scikit-learn.

    Returns
    -------
    TrainingSet
    """
    total = sample_weight.sum()
    if max(total, len(images)) <= SMALL and np.array_equal(sample_weight, np.round(sample_weight)):
        images, labels = repeat_in_order(images, labels, sample_weight.astype(int))
        sample_weight = np.ones(len(images))
    if class_weight is not None:
        images, labels, sample_weight = _weigh_classes(images, labels, sample_weight, classes, class_weight)
    if np.ptp(sample_weight) == 0:
        return TrainingSet(images, labels, None)
    return TrainingSet(images, labels, sample_weight / sample_weight.max())


def repeat_in_order(images, labels, counts):
    """Repeat every image and label as often as it counts, in an order that depends on nothing but their values.

    The result is the same whether a row comes twice or counts twice, and whatever the order of the rows.
    """
    names = [blake2b(image.astype(np.float64).tobytes()).digest() for image in images]
    order = sorted(range(len(images)), key=lambda row: (names[row], labels[row]))
    order = np.repeat(order, counts[order])
    return images[order], labels[order]


def pixel_statistics(images, sample_weight):
    """Weighted mean and standard deviation of each input channel, in float64.

    Parameters
    ----------
    images : ndarray of shape (n_images, n_channels, height, width)
    sample_weight : ndarray of shape (n_images,) or None
        None where all images count the same.

    Returns
    -------
    mean, std : ndarray of shape (n_channels,)
        The deviation of a constant channel is given as 1.
    """
    if sample_weight is None:
        sample_weight = np.ones(len(images))
    n_pixels = math.prod(images.shape[2:])
    mean = _weighted_sum(images, sample_weight, lambda pixels: pixels) / (sample_weight.sum() * n_pixels)
    centre = mean[:, None, None]
    variance = _weighted_sum(images, sample_weight, lambda pixels: (pixels - centre) ** 2)
    std = np.sqrt(variance / (sample_weight.sum() * n_pixels))
    return mean, np.where(std > 1e-12 * np.abs(mean), std, 1.0)


def _weigh_classes(images, labels, sample_weight, classes, class_weight):
    present = np.unique(labels)
    of_class = np.ones(len(classes))
    of_class[present] = compute_class_weight(
        class_weight, classes=classes[present], y=classes[labels], sample_weight=sample_weight
    )
    if not (np.isfinite(of_class).all() and (of_class >= 0).all() and of_class[present].any()):
        raise ValueError(
            f"class_weight={class_weight!r} must give finite weights from 0 up, and one above 0 to a class that y has."
        )
    kept = of_class[labels] > 0
    return images[kept], labels[kept], (sample_weight * of_class[labels])[kept]


def _weighted_sum(images, sample_weight, function):
    """Sum over images and pixels of weight * function(pixels), for each channel, some images at a time."""
    total = np.zeros(images.shape[1])
    for start in range(0, len(images), IMAGES_AT_ONCE):
        part = slice(start, start + IMAGES_AT_ONCE)
        total += sample_weight[part] @ function(np.ascontiguousarray(images[part], dtype=np.float64)).sum(axis=(2, 3))
    return total
