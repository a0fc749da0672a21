"""Attribution maps: which places of an image the answer depends on, how diffuse they are, and their display."""

import numpy as np
import pandas as pd
from scipy.special import entr
from sklearn.utils import check_array, column_or_1d

from ._drawing import Display, as_pictures
from ._inputs import as_channels_first, checked_images, declared_shape, images_to_draw
from ._patches import checked_patch_size, fill_pixels


def _class_columns(y, estimator, n_images):
    """Column of `predict_proba` for the class of each image."""
    y = column_or_1d(y)
    columns = pd.Index(estimator.classes_).get_indexer(y)
    if len(y) != n_images or (columns < 0).any():
        unknown = f", of which {np.unique(y[columns < 0])} are unknown" if (columns < 0).any() else ""
        raise ValueError(
            f"y holds {len(y)} labels{unknown}. Give, for each of the {n_images} images, one of the classes "
            f"{estimator.classes_}."
        )
    return columns


def attribution_map(estimator, X, y=None, *, patch_size=None, fill=None):
    """Attribution of each place: how far the probability of the class drops when the patch over that place is filled.

    Patches tile the image from its upper left corner and are cut off where they pass its other borders: captum's
    Occlusion with strides as long as its windows, or its FeatureAblation with a feature for each patch.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier that takes images in `predict_proba`.
    X, patch_size, fill
        Images, patches and what fills them, as in :func:`occlude`.
    y : array-like of shape (n,), default=None
        Class of each image whose probability is measured; by default the most probable one.

    Returns
    -------
    ndarray of float64 of shape (n, height, width)
        Between -1 and 1; negative where the patch hides evidence against the class.

    Raises
    ------
    ValueError
        If y holds a class that the estimator does not know, and as :func:`occlude`.
    TypeError
        If the estimator gives no probabilities, as a regressor.

    References
    ----------
    Zeiler, Fergus (2014). Visualizing and Understanding Convolutional Networks. Section 4.2.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from growlattice import LatticeClassifier
    >>> digits = load_digits(n_class=2)
    >>> clf = LatticeClassifier(max_channels=4, max_layers=2, max_epochs=2)
    >>> clf = clf.fit(digits.images, digits.target)
    >>> attribution_map(clf, digits.images[:5]).shape
    (5, 8, 8)
    """
    if not hasattr(estimator, "predict_proba"):
        raise TypeError(
            f"{type(estimator).__name__} has no predict_proba, and attribution is to the probability of a class. "
            "Give a classifier."
        )
    shape = declared_shape(estimator)
    X = checked_images(X, shape)
    pixels = as_channels_first(X, shape)
    n_images, _, height, width = pixels.shape
    side, filling = checked_patch_size(patch_size, height, width), fill_pixels(pixels, fill)
    probas = estimator.predict_proba(X)
    of_class = np.arange(n_images), probas.argmax(axis=1) if y is None else _class_columns(y, estimator, n_images)
    maps = np.empty((n_images, height, width))
    for top in range(0, height, side):
        for left in range(0, width, side):
            patch = np.s_[..., top : top + side, left : left + side]
            filled = X.copy()
            as_channels_first(filled, shape)[patch] = filling
            maps[patch] = (probas[of_class] - estimator.predict_proba(filled)[of_class])[:, None, None]
    return maps


def attribution_entropy(maps):
    """Entropy of attribution maps in bits, as a share of its maximum: how diffuse they are.

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
    A map of one pixel, one of two, and one that is the same everywhere:

    >>> one, two = [[1.0, 0.0], [0.0, 0.0]], [[0.5, -0.5], [0.0, 0.0]]
    >>> everywhere = [[0.1, 0.1], [0.1, 0.1]]
    >>> attribution_entropy([one, two, everywhere])
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


class AttributionDisplay(Display):
    """Images, each with its attribution map below it.

    Parameters
    ----------
    images : array-like of images
        As in :func:`occlude`; drawn with the smallest of all values as black and the largest as white.
    maps : array-like of shape (n, height, width)
        As :func:`attribution_map` gives.
    labels : sequence, default=None
        Text below each pair of image and map.

    Examples
    --------
    >>> images, maps = np.ones((2, 4, 4)), np.zeros((2, 4, 4))
    >>> display = AttributionDisplay(images, maps, labels=["cat", "dog"]).plot()
    """

    def __init__(self, images, maps, labels=None):
        self.images = checked_images(images)
        self.maps = check_array(maps, allow_nd=True, dtype=float, input_name="maps")
        n_images, _, *size = as_channels_first(self.images).shape
        self.labels = [""] * n_images if labels is None else list(labels)
        if self.maps.shape != (n_images, *size) or len(self.labels) != n_images:
            raise ValueError(
                f"maps has shape {self.maps.shape}, with {len(self.labels)} labels, but there are {n_images} images "
                f"of {size[0]} by {size[1]} pixels. Give a map and a label for each."
            )
        self._size = (1.3 * max(n_images, 3) + 1.5, 3.2)

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, patch_size=None, fill=None, ax=None):
        """Draw images, their maps and, below, the class of each map; the parameters are those of `attribution_map`."""
        maps = attribution_map(estimator, X, y, patch_size=patch_size, fill=fill)
        labels = estimator.predict(X) if y is None else y
        return cls(images_to_draw(estimator, X), maps, labels).plot(ax)

    def _draw(self, ax):
        pictures = as_pictures(self.images)
        height, width = pictures.shape[1:3]
        lefts, limit = 1.1 * width * np.arange(len(pictures)), np.abs(self.maps).max() or 1
        for left, picture, attribution in zip(lefts, pictures, self.maps, strict=True):
            ax.imshow(picture, extent=(left, left + width, 1.1 * height, 2.1 * height), cmap="gray", vmin=0, vmax=1)
            extent = (left, left + width, 0, height)
            image = ax.imshow(attribution, extent=extent, cmap="RdBu_r", vmin=-limit, vmax=limit)
        self.figure_.colorbar(image, ax=ax, label="drop in probability", shrink=0.8)
        ax.set(xlim=(0, lefts[-1] + width), ylim=(0, 2.1 * height), aspect="equal")
        ax.set_xticks(lefts + width / 2, self.labels)
        ax.set_yticks([1.6 * height, 0.5 * height], ["image", "attribution"])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
