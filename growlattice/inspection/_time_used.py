"""Displays of the time used for images: its distribution, and the images with the least and the most of it."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_array, check_consistent_length, check_scalar, column_or_1d
from sklearn.utils.multiclass import type_of_target

from ._drawing import Display, as_pictures, legend_above
from ._inputs import checked_images, fitted_attribute, images_to_draw


class TimeUsedDisplay(Display):
    """Time used for images: one histogram or, with classes, a histogram in grey levels and a mean for each class.

    Parameters
    ----------
    time_used : array-like of shape (n,)
        Steps, from 1 to `n_steps`.
    y : array-like of shape (n,), default=None
        Class of each image.
    n_steps : int, default=None
        Number of steps of the lattice, where the axis ends; by default the longest time used, rounded up.

    Attributes
    ----------
    mean_per_class : Series
        Mean time used (steps) by class, or None without classes.

    Examples
    --------
    >>> labels = ["cat", "dog", "dog"]
    >>> display = TimeUsedDisplay.from_predictions([1.0, 2.0, 3.0], labels)
    >>> display.mean_per_class.to_dict()
    {'cat': 1.0, 'dog': 2.5}
    """

    def __init__(self, time_used, y=None, n_steps=None):
        time_used = check_array(time_used, ensure_2d=False, dtype=float, input_name="time_used")
        longest = time_used.max()
        if n_steps is not None:
            check_scalar(n_steps, "n_steps", Integral, min_val=1)
        self.n_steps = int(np.ceil(longest.round(3))) if n_steps is None else n_steps
        if time_used.ndim != 1 or time_used.min() < 0.999 or longest > self.n_steps + 0.001:
            raise ValueError(
                f"time_used has shape {time_used.shape} and values from {time_used.min():.4g} to {longest:.4g}, but "
                f"needs one axis and steps from 1 to {self.n_steps}. Give what time_used returns."
            )
        self.time_used, self.y, self.mean_per_class = time_used, y, None
        if y is not None:
            self.y = column_or_1d(y)
            check_consistent_length(time_used, self.y)
            if pd.isna(self.y).any():
                raise ValueError(
                    "Input y contains NaN, but each image is drawn in the row of its class. Leave such out."
                )
            if type_of_target(self.y) == "continuous":
                raise ValueError(
                    f"y holds {len(np.unique(self.y))} different numbers, but a row is drawn for each class. Give "
                    "classes, such as pandas.cut(y, 10, labels=False)."
                )
            self.mean_per_class = pd.Series(time_used).groupby(self.y).mean()

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, ax=None):
        """Draw the time that a fitted lattice uses for images X, by classes y if these are given."""
        return cls(fitted_attribute(estimator, "time_used")(X), y, estimator.max_steps).plot(ax)

    @classmethod
    def from_predictions(cls, time_used, y=None, *, n_steps=None, ax=None):
        """Draw times used that are already computed; the parameters are those of the class."""
        return cls(time_used, y, n_steps).plot(ax)

    def _draw(self, ax):
        last_step = max(self.n_steps, 2)
        time_used, bins = self.time_used.clip(1, last_step), np.linspace(1, last_step, 31)
        ax.set(xlabel="time used (steps)", ylabel="images" if self.y is None else "class", xlim=(1, last_step))
        ax.locator_params(axis="x", integer=True)
        if self.y is None:
            ax.hist(time_used, bins=bins, color="0.4")
            return
        means = self.mean_per_class
        counts = np.array([np.histogram(time_used[self.y == label], bins)[0] for label in means.index])
        rows, tick_spacing = np.arange(len(means)), 1 + len(means) // 25
        shares = counts / counts.sum(axis=1, keepdims=True)
        mesh = ax.pcolormesh(bins, np.arange(len(means) + 1) - 0.5, shares, cmap="Greys", vmin=0)
        self.figure_.colorbar(mesh, ax=ax, label="share of the images of the class")
        ax.plot(means, rows, "o", color="tab:red", markeredgecolor="white", clip_on=False, label="mean of the class")
        ax.set_yticks(rows[::tick_spacing], means.index[::tick_spacing])
        legend_above(ax)


class ExtremesDisplay(Display):
    """The images that take the least time in the upper row, and those that take the most in the lower row.

    Parameters
    ----------
    images : array-like of images
        As in :func:`occlude`; drawn with the smallest value of those shown as black and the largest as white.
    time_used : array-like of shape (n,)
        Steps.
    labels : sequence of length n, default=None
        Text below each image, such as its class, or a number.
    n_shown : int, default=8
        Images in a row; fewer if there are not twice as many.

    Attributes
    ----------
    least, most : ndarray
        Indices into `images`, each in the order of increasing time used.

    Examples
    --------
    >>> images, time_used = np.ones((5, 4, 4)), [3.0, 1.0, 2.0, 1.5, 2.5]
    >>> display = ExtremesDisplay.from_predictions(images, time_used, n_shown=2)
    >>> display.least, display.most
    (array([1, 3]), array([4, 0]))
    """

    def __init__(self, images, time_used, labels=None, n_shown=8):
        self.images = checked_images(images)
        self.time_used = column_or_1d(check_array(time_used, ensure_2d=False, dtype=float, input_name="time_used"))
        self.labels = None if labels is None else column_or_1d(labels)
        check_consistent_length(self.images, self.time_used, self.labels)
        check_scalar(n_shown, "n_shown", Integral, min_val=1)
        if len(self.images) < 2:
            raise ValueError(f"There are {len(self.images)} images, but two are needed for a least and a most.")
        order = self.time_used.argsort(kind="stable")
        n_shown = min(n_shown, len(order) // 2)
        self.least, self.most = order[:n_shown], order[-n_shown:]
        self._size = (1.1 * max(n_shown, 4) + 1, 3.2)

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, n_shown=8, ax=None):
        """Draw images by the time that a fitted lattice uses for them, above their classes y if given."""
        time_used = fitted_attribute(estimator, "time_used")(X)
        return cls(images_to_draw(estimator, X), time_used, y, n_shown).plot(ax)

    @classmethod
    def from_predictions(cls, images, time_used, labels=None, *, n_shown=8, ax=None):
        """Draw images by times used that are already computed; the parameters are those of the class."""
        return cls(images, time_used, labels, n_shown).plot(ax)

    def _draw(self, ax):
        indices = [*self.least, *self.most]
        pictures = as_pictures(self.images[indices])
        height, width = pictures.shape[1:3]
        n_shown, row_height = len(self.least), 1.5 * height
        for position, (index, picture) in enumerate(zip(indices, pictures, strict=True)):
            left, top = 1.1 * width * (position % n_shown), row_height * (position // n_shown)
            ax.imshow(picture, extent=(left, left + width, top + height, top), cmap="gray", vmin=0, vmax=1)
            if self.labels is not None:
                below = (left + width / 2, top + 1.05 * height)
                label = self.labels[index]
                label = f"{label:.3g}" if isinstance(label, float) else label
                ax.text(*below, label, ha="center", va="top", fontsize="small")
        least, most = self.time_used[self.least].mean(), self.time_used[self.most].mean()
        ax.set(xlim=(0, 1.1 * width * n_shown), ylim=(row_height + 1.4 * height, 0), xticks=[], aspect="equal")
        ax.set_yticks([0.5 * height, row_height + 0.5 * height])
        ax.set_yticklabels([f"least\n({least:.2f} steps)", f"most\n({most:.2f} steps)"])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
