"""Images of which a share is occluded, and the display of the time used for them."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_array, check_random_state

from ._drawing import Display, legend_above
from ._inputs import as_channels_first, checked_images, declared_shape, fitted_attribute
from ._patches import checked_patch_size, fill_pixels, random_patch_mask

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def occlude(images, share, *, patch_size=None, fill=None, random_state=None, image_shape=None):
    """Cover an exact share of each image with square patches at random positions.

    Patches are placed one after the other until enough pixels are covered; of the last one, only the upper part may
    count. They may overhang the border, so that pixels near it are covered about as often as others.

    Parameters
    ----------
    images : array-like of shape (n, height, width), (n, height, width, channels) or (n, channels, height, width)
        Four axes need 1, 3 or 4 channels, or `image_shape`; where both ends could be channels, the last axis is.
    share : float
        Share of each image to cover, from 0 to 1: ``round(share * height * width)`` pixels.
    patch_size : int, default=None
        Side of the patches in pixels; by default a quarter of the shorter side of the images, and at least 1.
    fill : float or sequence of float, default=None
        Value that covered pixels get: one value, or one for each channel. By default the mean pixel of each image.
    random_state : int, RandomState instance or None, default=None
        Seed of the positions. With the same integer, a smaller share covers a part of what a larger one does.
    image_shape : tuple of int, default=None
        (channels, height, width), which settles which axis the channels are where both ends could be.

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
    images = checked_images(images, image_shape)
    if not (isinstance(share, Real) and 0 <= share <= 1):
        raise ValueError(f"share={share!r} must be a number from 0 to 1: the share of each image to cover.")
    occluded = images.copy()
    pixels = as_channels_first(occluded, image_shape)
    n_images, _, height, width = pixels.shape
    patch_size, rng = checked_patch_size(patch_size, height, width), check_random_state(random_state)
    n_covered = round(share * height * width)
    covered = np.array([random_patch_mask(rng, height, width, patch_size, n_covered) for _ in range(n_images)])
    np.copyto(pixels, fill_pixels(pixels, fill), where=covered[:, None])
    return occluded


class OcclusionDisplay(Display):
    """Mean time used against the share of the images that is occluded.

    Parameters
    ----------
    shares : array-like of shape (n_shares,)
        Shares occluded.
    time_used : array-like of shape (n_shares, n_images)
        Steps, for each image at each share.

    Attributes
    ----------
    mean, half_width : ndarray of shape (n_shares,)
        Mean over the images (steps), and half the width of its 95 % confidence interval: 1.96 standard errors.

    Examples
    --------
    >>> OcclusionDisplay.from_predictions([0.0, 0.5], [[1.0, 3.0], [2.0, 4.0]]).mean
    array([2., 3.])
    """

    def __init__(self, shares, time_used):
        self.shares = check_array(shares, ensure_2d=False, dtype=float, input_name="shares")
        self.time_used = check_array(time_used, dtype=float, input_name="time_used")
        n_shares, n_images = self.time_used.shape
        _check_several(n_images)
        if self.shares.shape != (n_shares,):
            raise ValueError(
                f"time_used has {n_shares} rows, but shares has shape {self.shares.shape}. Give a row for each share."
            )
        if self.shares.min() < 0 or self.shares.max() > 1 or self.time_used.min() < 0.999:
            raise ValueError(
                f"shares lie between {self.shares.min():g} and {self.shares.max():g}, and steps from "
                f"{self.time_used.min():g} on. Give shares of the image, from 0 to 1, and steps, at least 1."
            )
        self.mean = self.time_used.mean(axis=1)
        self.half_width = 1.96 * self.time_used.std(axis=1, ddof=1) / np.sqrt(n_images)

    @classmethod
    def from_estimator(
        cls, estimator, images, *, shares=SHARES, patch_size=None, fill=None, random_state=None, ax=None
    ):
        """Draw the time that a fitted lattice uses for images when shares of them are occluded.

        The parameters are those of :func:`occlude`. All shares use the same seed, so that a pixel that is covered at
        one share is covered at all larger ones.
        """
        time_used, seed = fitted_attribute(estimator, "time_used"), random_state
        images = checked_images(images, declared_shape(estimator))
        _check_several(len(images))
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(2**31 - 1)
        options = dict(patch_size=patch_size, fill=fill, random_state=seed, image_shape=declared_shape(estimator))
        shares = list(shares)
        return cls(shares, [time_used(occlude(images, share, **options)) for share in shares]).plot(ax)

    @classmethod
    def from_predictions(cls, shares, time_used, *, ax=None):
        """Draw times used that are already computed; the parameters are those of the class."""
        return cls(shares, time_used).plot(ax)

    def _draw(self, ax):
        low, high = self.mean - self.half_width, self.mean + self.half_width
        ax.fill_between(self.shares, low, high, color="0.8", linewidth=0, label="95 % interval")
        ax.plot(self.shares, self.mean, "o-", color="tab:blue", label="mean of the images")
        ax.set(xlabel="share of the image occluded", ylabel="time used (steps)")
        legend_above(ax)


def _check_several(n_images):
    if n_images < 2:
        raise ValueError(f"There is {n_images} image, and an interval over images needs at least 2.")
