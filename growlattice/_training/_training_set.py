"""What a lattice is trained on: images, targets, and weights."""

import math
import warnings
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd
import torch
from sklearn.utils import _safe_indexing, compute_class_weight

from ._device import upload
from ._rounding import is_constant, warn_of_constants

SMALL = 1000  # images, weights counted, up to which a sample weight of 2 is exactly the image twice
BYTES_AT_ONCE = 2**23  # of images as floats of 64 bits; more would leave the caches
LEVELS = 256  # of a byte
FAR = 1e4  # standard deviations from 0, where neighbours in single precision are a thousandth of one apart


@dataclass(frozen=True)
class TrainingSet:
    """Images, targets, and weights.

    Attributes
    ----------
    images : ndarray or tensor of shape (n_images, n_channels, height, width)
    targets : ndarray or tensor of shape (n_images,) or (n_images, n_outputs)
        Indices into the classes, or numbers.
    sample_weight : ndarray or tensor of shape (n_images,), default=None
        None where all images count the same.
    """

    images: np.ndarray | torch.Tensor
    targets: np.ndarray | torch.Tensor
    sample_weight: np.ndarray | torch.Tensor | None = None

    def __len__(self):
        return len(self.images)

    def upload(self, device, dtype=torch.float32):
        """The same as tensors on a device, weights scaled to 1 on average, and targets that are numbers of a dtype.

        On the CPU the images stay the caller's array, whose rows are copied batch by batch.
        """
        weight, targets = self.sample_weight, torch.from_numpy(self.targets)
        if weight is not None:
            weight = torch.from_numpy(weight / weight.mean()).float().to(device)
        targets = targets.to(dtype) if targets.is_floating_point() else targets
        images = self.images if device.type == "cpu" else upload(self.images, device)
        return TrainingSet(images, targets.to(device), weight)


def without_absent(X, y, sample_weight):
    """X, y and weights as a user gives them, without images of weight 0, which are not even looked at."""
    parts = X, y, sample_weight
    kinds = np.ndarray, list, pd.DataFrame, pd.Series
    if sample_weight is None or not (isinstance(X, kinds) and isinstance(y, kinds)):
        return parts
    weights = np.asarray(sample_weight)
    if weights.ndim != 1 or any(getattr(part, "ndim", 1) == 0 or len(part) != len(weights) for part in (X, y)):
        return parts  # which is an error, and is said where lengths are compared
    present = np.flatnonzero(weights != 0)
    if len(present) in (0, len(weights)):
        return parts
    return _safe_indexing(X, present), _safe_indexing(y, present), weights[present]


def make_training_set(images, targets, sample_weight, classes=None, class_weight=None):
    """Bring a small training set to its canonical form, and weigh the classes.

    Parameters
    ----------
    images, targets
        As in :class:`TrainingSet`.
    sample_weight : ndarray of shape (n_images,)
        Above 0.
    classes : ndarray of shape (n_classes,), default=None
        What the targets stand for, if they are indices.
    class_weight : dict, "balanced" or None
        As in scikit-learn.

    Returns
    -------
    TrainingSet
    """
    total = sample_weight.sum()
    if max(total, len(images)) <= SMALL and np.array_equal(sample_weight, np.round(sample_weight)):
        images, targets = repeat_in_order(images, targets, sample_weight.astype(int))
        sample_weight = np.ones(len(images))
    if class_weight is not None:
        images, targets, sample_weight = _weigh_classes(images, targets, sample_weight, classes, class_weight)
    if np.ptp(sample_weight) == 0:
        return TrainingSet(images, targets, None)
    return TrainingSet(images, targets, sample_weight / sample_weight.max())


def repeat_in_order(images, targets, counts):
    """Repeat every image and target as often as it counts, in an order that depends on nothing but their values.

    The result is the same whether a row comes twice or counts twice, and whatever the order of the rows.
    """
    names = [blake2b(image.astype(np.float64).tobytes()).digest() for image in images]
    order = sorted(range(len(images)), key=lambda row: (names[row], targets[row].tolist()))
    order = np.repeat(order, counts[order])
    return images[order], targets[order]


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
    if images.dtype == np.uint8:
        mean, std = _byte_statistics(images, sample_weight)
    else:
        n_pixels = sample_weight.sum() * math.prod(images.shape[2:])
        mean = _weighted_sum(images, sample_weight, lambda pixels: pixels) / n_pixels
        centre = mean[:, None, None]
        std = np.sqrt(_weighted_sum(images, sample_weight, lambda pixels: (pixels - centre) ** 2) / n_pixels)
    constant = is_constant(mean, std)
    if any(np.ptp(images[sample_weight > 0, channel]) > 0 for channel in np.flatnonzero(constant)):
        warn_of_constants("features or image channels of X")
    return mean, np.where(constant, 1.0, std)


def warn_of_far_pixels(mean, std):
    """Warn if single precision tells values of an input channel apart no better than to a thousandth of their spread.

    Parameters
    ----------
    mean, std : ndarray of shape (n_channels,)
        As from :func:`pixel_statistics`.
    """
    far = (np.abs(mean) > FAR * std) & (std != 1)  # 1 is given for a constant, in which nothing is lost
    if far.any():
        warnings.warn(
            f"{far.sum()} of {len(far)} features or image channels of X lie so far from 0 that single precision tells "
            f"their values apart to a thousandth of their spread at best (mean {mean[far][0]:g}, standard deviation "
            f"{std[far][0]:g}). Subtract the mean from X, as StandardScaler does, or give precision='float64'.",
            stacklevel=2,
        )


def _weigh_classes(images, labels, sample_weight, classes, class_weight):
    present = np.unique(labels)
    of_class = np.ones(len(classes))
    if isinstance(class_weight, dict):
        unknown = [label for label in class_weight if label not in classes]
        if unknown:
            raise ValueError(f"class_weight holds {unknown!r}, which are none of the classes {classes!r}.")
        class_weight = {label: weight for label, weight in class_weight.items() if label in classes[present]}
    of_class[present] = compute_class_weight(
        class_weight, classes=classes[present], y=classes[labels], sample_weight=sample_weight
    )
    if not (np.isfinite(of_class).all() and (of_class >= 0).all() and of_class[present].any()):
        raise ValueError(
            f"class_weight={class_weight!r} must give finite weights from 0 up, and one above 0 to a class that y has."
        )
    kept = of_class[labels] > 0
    return images[kept], labels[kept], (sample_weight * of_class[labels])[kept]


def _byte_statistics(images, sample_weight):
    """Mean and deviation of bytes, from how often each of the 256 values comes: exact, in one pass."""
    n_channels, n_pixels = images.shape[1], math.prod(images.shape[2:])
    counts = np.zeros((n_channels, LEVELS))
    equal = np.ptp(sample_weight) == 0
    for part in _parts(images):
        weights = None if equal else np.repeat(sample_weight[part], n_pixels)
        for channel in range(n_channels):
            counts[channel] += np.bincount(images[part, channel].ravel(), weights, LEVELS)
    values, total = np.arange(LEVELS), counts.sum(axis=1)
    mean = counts @ values / total
    return mean, np.sqrt((counts * (values - mean[:, None]) ** 2).sum(axis=1) / total)


def _weighted_sum(images, sample_weight, function):
    """Sum over images and pixels of weight * function(pixels), for each channel, some images at a time."""
    total = np.zeros(images.shape[1])
    for part in _parts(images):
        total += sample_weight[part] @ function(np.ascontiguousarray(images[part], dtype=np.float64)).sum(axis=(2, 3))
    return total


def _parts(images):
    """Slices of the images, of so many that they take few bytes as floats of 64 bits."""
    at_once = max(BYTES_AT_ONCE // (8 * math.prod(images.shape[1:])), 1)
    return [slice(start, start + at_once) for start in range(0, len(images), at_once)]
