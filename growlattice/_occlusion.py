"""Images with parts covered: how time used and answers change, and the importance of places in an image."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy.special import entr
from sklearn.utils import check_array, check_random_state, column_or_1d

CHANNELS = (1, 3, 4)


def occlude(images, share, *, patch_size=None, fill=None, random_state=None):
    """Cover an exact share of each image with square patches at random places.

    Patches fall until enough pixels are covered; of the last one, only the upper part may count. They may overhang the
    border, so that pixels near it are covered about as often as others.

    Parameters
    ----------
    images : array-like of shape (n, height, width), (n, height, width, channels) or (n, channels, height, width)
        Four axes need 1, 3 or 4 channels; where both ends could be channels, the last axis is.
    share : float
        Share of each image to cover, from 0 to 1: ``round(share * height * width)`` pixels.
    patch_size : int, default=None
        Side of the patches in pixels; by default a quarter of the shorter side of the images, and at least 1.
    fill : float or sequence of float, default=None
        Pixel that covers: one value, or one for each channel. By default the mean pixel of each image.
    random_state : int, RandomState instance or None, default=None
        Seed of the places. With the same integer, a smaller share covers a part of what a larger one does.

    Returns
    -------
    ndarray
        A copy, of the same shape and dtype.

    Raises
    ------
    ValueError
        If the images have other axes or are not finite, or if a parameter is out of range.

    Examples
    --------
    >>> occluded = occlude(np.ones((2, 8, 8)), 0.25, fill=0.0, random_state=0)
    >>> (occluded == 0).sum(axis=(1, 2))
    array([16, 16])
    """
    images = checked_images(images)
    if not (isinstance(share, Real) and 0 <= share <= 1):
        raise ValueError(f"share={share!r} must be a number from 0 to 1: the share of each image to cover.")
    occluded = images.copy()
    pixels = as_channels_first(occluded)
    n_images, _, height, width = pixels.shape
    patch_size, rng = _checked_patch_size(patch_size, height, width), check_random_state(random_state)
    n_covered = round(share * height * width)
    covered = np.array([_patches(rng, height, width, patch_size, n_covered) for _ in range(n_images)])
    np.copyto(pixels, _covering_pixels(pixels, fill), where=covered[:, None])
    return occluded


def attribution_map(estimator, X, y=None, *, patch_size=None, fill=None):
    """Importance of each place: how far the probability of the class drops when a patch over that place is filled.

    Patches tile the image from its upper left corner and are cut off where they pass its other borders: captum's
    Occlusion with strides as long as its windows, or its FeatureAblation with a feature for each patch.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier that takes images in `predict_proba`.
    X, patch_size, fill
        Images, patches and what fills them, as in :func:`occlude`.
    y : array-like of shape (n,), default=None
        Class of each image to ask for; by default the most probable one.

    Returns
    -------
    ndarray of float64 of shape (n, height, width)
        Between -1 and 1; negative where the patch hides what speaks against the class.

    Raises
    ------
    ValueError
        If y holds a class that the estimator does not know, and as :func:`occlude`.

    References
    ----------
    Zeiler, Fergus (2014). Visualizing and Understanding Convolutional Networks. Section 4.2.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from growlattice import LatticeClassifier
    >>> digits = load_digits(n_class=2)
    >>> clf = LatticeClassifier(max_channels=4, max_layers=2, max_epochs=2).fit(digits.images, digits.target)
    >>> attribution_map(clf, digits.images[:5]).shape
    (5, 8, 8)
    """
    X = checked_images(X)
    pixels = as_channels_first(X)
    n_images, _, height, width = pixels.shape
    side, covering = _checked_patch_size(patch_size, height, width), _covering_pixels(pixels, fill)
    before = estimator.predict_proba(X)
    asked = np.arange(n_images), before.argmax(axis=1) if y is None else _columns_of(y, estimator, n_images)
    maps = np.empty((n_images, height, width))
    for top in range(0, height, side):
        for left in range(0, width, side):
            patch = np.s_[..., top : top + side, left : left + side]
            filled = X.copy()
            as_channels_first(filled)[patch] = covering
            maps[patch] = (before[asked] - estimator.predict_proba(filled)[asked])[:, None, None]
    return maps


def attribution_entropy(maps):
    """How diffuse attribution maps are: their entropy in bits, as a share of the highest that there is.

    Parameters
    ----------
    maps : array-like of shape (n, ...)
        Attributions of places, signed or not. Each pixel is a place; for patches of 4 by 4 pixels to be one place each,
        give ``maps[:, ::4, ::4]``.

    Returns
    -------
    ndarray of shape (n,)
        Entropy of the absolute values, scaled to sum 1, over log2 of the number of places: from 0, all in one place, to
        1, the same everywhere. A map of zeros has none, and gives nan.

    Raises
    ------
    ValueError
        If a value is not finite, or if there are fewer than two places.

    Examples
    --------
    >>> attribution_entropy([[[1.0, 0.0], [0.0, 0.0]], [[0.5, -0.5], [0.0, 0.0]], [[0.1, 0.1], [0.1, 0.1]]])
    array([0. , 0.5, 1. ])
    """
    maps = check_array(maps, dtype=np.float64, allow_nd=True, ensure_2d=False, input_name="maps")
    if maps.size < 2 * len(maps):
        raise ValueError(f"maps has shape {maps.shape}, but entropy needs two places or more. Give (n, height, width).")
    magnitude = np.abs(maps.reshape(len(maps), -1))  # (n, n_places)
    largest = magnitude.max(axis=1, keepdims=True)
    magnitude /= np.where(largest > 0, largest, 1)  # so that the sum is finite
    total = magnitude.sum(axis=1, keepdims=True)
    shares = np.divide(magnitude, total, out=np.full_like(magnitude, np.nan), where=total > 0)
    return entr(shares).sum(axis=1) / np.log(shares.shape[1])


def checked_images(images):
    images = check_array(images, allow_nd=True, ensure_2d=False, input_name="images")
    if images.ndim == 3 or (images.ndim == 4 and (images.shape[3] in CHANNELS or images.shape[1] in CHANNELS)):
        return np.ascontiguousarray(images)
    raise ValueError(
        f"Images have shape {images.shape}, but need three axes, or four with 1, 3 or 4 channels. Give them as "
        "(n, height, width), (n, height, width, channels) or (n, channels, height, width)."
    )


def as_channels_first(images):
    """The images as a view of shape (n_images, n_channels, height, width)."""
    if images.ndim == 3:
        return images[:, None]
    return images.transpose(0, 3, 1, 2) if images.shape[3] in CHANNELS else images


def _checked_patch_size(patch_size, height, width):
    shorter = min(height, width)
    if patch_size is None:
        return max(shorter // 4, 1)
    if not (isinstance(patch_size, Integral) and 1 <= patch_size <= shorter):
        raise ValueError(f"patch_size={patch_size!r} must be an int from 1 to {shorter}, the shorter side in pixels.")
    return patch_size


def _covering_pixels(pixels, fill):
    """What covers, in the dtype of the pixels; of shape (n_images or 1, n_channels or 1, 1, 1)."""
    exact = pixels.dtype.kind == "f"
    if fill is None:
        mean = pixels.mean(axis=(2, 3), keepdims=True, dtype=np.float64)
        return (mean if exact else np.rint(mean)).astype(pixels.dtype)
    values = np.asarray(fill, dtype=np.float64).reshape(1, -1, 1, 1)
    with np.errstate(invalid="ignore", over="ignore"):
        covering = values.astype(pixels.dtype)
    fits = np.isfinite(covering) if exact else covering == values
    if values.size not in (1, pixels.shape[1]) or not fits.all():
        raise ValueError(
            f"fill={fill!r} must be a value of {pixels.dtype}, or one for each of {pixels.shape[1]} channels."
        )
    return covering


def _patches(rng, height, width, side, n_covered):
    """Which pixels the patches cover; of shape (height, width)."""
    places = height + side - 1, width + side - 1
    # When a patch falls on each place, and from that, when the first one that covers each pixel does.
    turn = rng.permutation(places[0] * places[1]).reshape(places)
    for axis in (0, 1):
        turn = np.lib.stride_tricks.sliding_window_view(turn, side, axis=axis).min(axis=-1)
    covered = np.zeros(height * width, dtype=bool)
    covered[np.argsort(turn, axis=None, kind="stable")[:n_covered]] = True
    return covered.reshape(height, width)


def _columns_of(y, estimator, n_images):
    """Column of `predict_proba` for the class of each image."""
    y = column_or_1d(y)
    columns = pd.Index(estimator.classes_).get_indexer(y)
    if len(y) != n_images or (columns < 0).any():
        raise ValueError(
            f"y holds {len(y)} labels, of which {np.unique(y[columns < 0])} are unknown. Give, for each of the "
            f"{n_images} images, one of the classes {estimator.classes_}."
        )
    return columns
