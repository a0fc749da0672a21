"""Displays of fitted lattices and of sweeps, and what they show.

As in scikit-learn, `from_estimator` and its kin compute and draw; `plot` draws again, in axes of yours or in new ones,
and leaves them in `ax_` and their figure in `figure_`. Drawing needs matplotlib: ``pip install growlattice[plot]``.
"""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import (
    assert_all_finite,
    check_array,
    check_consistent_length,
    check_random_state,
    check_scalar,
    column_or_1d,
)
from sklearn.utils.validation import check_is_fitted

from ._occlusion import as_channels_first, attribution_entropy, attribution_map, checked_images, occlude

__all__ = [
    "AttributionDisplay",
    "ExtremesDisplay",
    "MagnitudeDisplay",
    "OcclusionDisplay",
    "ParetoDisplay",
    "PressureGridDisplay",
    "TimeUsedDisplay",
    "attribution_entropy",
    "attribution_map",
    "occlude",
]
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
TITLES = {"time_used": "time used (steps)", "macs_per_image": "multiply-accumulates per image", "dur": "seconds"}


class _Display:
    """What displays share: `plot` finds the axes, and leaves the drawing to `_draw` and its options."""

    _size = (6, 4)

    def plot(self, ax=None, **options):
        """Draw in the matplotlib Axes `ax`, or in a new figure; returns self, with `ax_` and `figure_`.

        MagnitudeDisplay takes the option `vmax` and PressureGridDisplay `vmin` and `vmax`, the ends of the scale of
        shades, so that several can share one. ParetoDisplay takes ``line=False``, for a front that is not a line.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError(
                f"{type(self).__name__} draws with matplotlib, which is not installed. "
                "Install it with: pip install growlattice[plot]"
            ) from error
        if ax is None:
            _, ax = plt.subplots(figsize=self._size, layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self._draw(ax, **options)
        return self


class MagnitudeDisplay(_Display):
    """Weight magnitude of the channels of each layer, by rank, and the line to the left of which they survive pruning.

    Parameters
    ----------
    channel_magnitude, channel_mask : array-like of shape (n_layers, n_channels)
        The attributes of LatticeClassifier. After `prune`, what it removed has no magnitude; to see what it had, give
        the magnitudes from before and the mask from after.

    Attributes
    ----------
    ranked : ndarray of shape (n_layers, n_channels)
        Magnitudes (1 = untrained), sorted within each layer, survivors first.
    survivors : ndarray of shape (n_layers,)
        Channels that survive.

    Examples
    --------
    >>> MagnitudeDisplay([[0.2, 1.5], [0.1, 0.9]], [[False, True], [False, True]]).plot().survivors
    array([1, 1])
    """

    def __init__(self, channel_magnitude, channel_mask):
        magnitude = check_array(channel_magnitude, ensure_2d=False, dtype=float, input_name="channel_magnitude")
        mask = np.asarray(channel_mask)
        if magnitude.ndim != 2 or mask.shape != magnitude.shape or mask.dtype != bool:
            raise ValueError(
                f"channel_magnitude has shape {magnitude.shape}, and channel_mask is of {mask.dtype} and shape "
                f"{mask.shape}. Give both as (n_layers, n_channels), the mask of bool."
            )
        self.channel_magnitude, self.channel_mask = magnitude, mask
        self.ranked = np.take_along_axis(magnitude, np.lexsort((-magnitude, ~mask), axis=1), axis=1)
        self.survivors = mask.sum(axis=1)

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw a fitted LatticeClassifier."""
        return cls(_read(estimator, "channel_magnitude_"), _read(estimator, "channel_mask_")).plot(ax)

    def _draw(self, ax, vmax=None):
        from matplotlib.ticker import MaxNLocator

        n_layers, n_channels = self.ranked.shape
        extent = (0.5, n_channels + 0.5, 0.5, n_layers + 0.5)
        shades = dict(vmin=0, vmax=vmax, cmap="viridis")
        picture = ax.imshow(self.ranked, origin="lower", aspect="auto", extent=extent, **shades)
        self.figure_.colorbar(picture, ax=ax, label="weight magnitude (1 = untrained)")
        if not self.channel_mask.all():
            line = dict(edges=np.arange(n_layers + 1) + 0.5, orientation="horizontal", baseline=None, clip_on=False)
            ax.stairs(self.survivors + 0.5, color="white", linewidth=4, **line)
            ax.stairs(self.survivors + 0.5, color="red", linewidth=2, label="pruning boundary", **line)
            _legend_above(ax)
        ax.set(xlabel="channel, by rank", ylabel="layer")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


class TimeUsedDisplay(_Display):
    """Time used for images: a histogram or, with classes, a row of shades and a mean for each class.

    Parameters
    ----------
    time_used : array-like of shape (n,)
        Steps, from 1 to `n_steps`.
    y : array-like of shape (n,), default=None
        Class of each image.
    n_steps : int, default=None
        Steps that could be used, for the axis; by default those of the image that takes longest.

    Attributes
    ----------
    mean_per_class : Series
        Mean time used (steps) by class, or None without classes.

    Examples
    --------
    >>> TimeUsedDisplay.from_predictions([1.0, 2.0, 3.0], ["cat", "dog", "dog"]).mean_per_class.to_dict()
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
                f"needs one axis and steps from 1 to {self.n_steps}. Give what LatticeClassifier.time_used returns."
            )
        self.time_used, self.y, self.mean_per_class = time_used, y, None
        if y is not None:
            self.y = column_or_1d(y)
            check_consistent_length(time_used, self.y)
            assert_all_finite(self.y, input_name="y")
            self.mean_per_class = pd.Series(time_used).groupby(self.y).mean()

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, ax=None):
        """Draw the time that a fitted LatticeClassifier uses for images X, by classes y if these are given."""
        return cls(_read(estimator, "time_used")(X), y, estimator.max_steps).plot(ax)

    @classmethod
    def from_predictions(cls, time_used, y=None, *, n_steps=None, ax=None):
        """Draw times that are known; the parameters are those of the class."""
        return cls(time_used, y, n_steps).plot(ax)

    def _draw(self, ax):
        longest = max(self.n_steps, 2)
        time_used, bins = self.time_used.clip(1, longest), np.linspace(1, longest, 31)
        ax.set(xlabel="time used (steps)", ylabel="images" if self.y is None else "class", xlim=(1, longest))
        ax.locator_params(axis="x", integer=True)
        if self.y is None:
            ax.hist(time_used, bins=bins, color="0.4")
            return
        means = self.mean_per_class
        counts = np.array([np.histogram(time_used[self.y == label], bins)[0] for label in means.index])
        rows, every = np.arange(len(means)), 1 + len(means) // 25
        shares = counts / counts.sum(axis=1, keepdims=True)
        picture = ax.pcolormesh(bins, np.arange(len(means) + 1) - 0.5, shares, cmap="Greys", vmin=0)
        self.figure_.colorbar(picture, ax=ax, label="share of the images of the class")
        ax.plot(means, rows, "o", color="tab:red", markeredgecolor="white", clip_on=False, label="mean of the class")
        ax.set_yticks(rows[::every], means.index[::every])
        _legend_above(ax)


class ExtremesDisplay(_Display):
    """The images that take the least time, in a row above, and those that take the most, below.

    Parameters
    ----------
    images : array-like of images
        As in :func:`occlude`; drawn with the least value of those shown as black and the greatest as white.
    time_used : array-like of shape (n,)
        Steps.
    labels : sequence of length n, default=None
        What is written below each image, such as its class.
    n_shown : int, default=8
        Images in a row; fewer if there are not twice as many.

    Attributes
    ----------
    least, most : ndarray
        Rows of `images`, from the one that takes least time on, and up to the one that takes most.

    Examples
    --------
    >>> display = ExtremesDisplay.from_predictions(np.ones((5, 4, 4)), [3.0, 1.0, 2.0, 1.5, 2.5], n_shown=2)
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
        """Draw images by the time that a fitted LatticeClassifier uses for them, above their classes y if given."""
        return cls(X, _read(estimator, "time_used")(X), y, n_shown).plot(ax)

    @classmethod
    def from_predictions(cls, images, time_used, labels=None, *, n_shown=8, ax=None):
        """Draw images by times that are known; the parameters are those of the class."""
        return cls(images, time_used, labels, n_shown).plot(ax)

    def _draw(self, ax):
        rows = [*self.least, *self.most]
        pixels = _as_pictures(self.images[rows])
        height, width = pixels.shape[1:3]
        n_shown, pitch = len(self.least), 1.5 * height
        for place, (row, image) in enumerate(zip(rows, pixels, strict=True)):
            left, top = 1.1 * width * (place % n_shown), pitch * (place // n_shown)
            ax.imshow(image, extent=(left, left + width, top + height, top), cmap="gray", vmin=0, vmax=1)
            if self.labels is not None:
                ax.text(
                    left + width / 2, top + 1.05 * height, self.labels[row], ha="center", va="top", fontsize="small"
                )
        least, most = self.time_used[self.least].mean(), self.time_used[self.most].mean()
        ax.set(xlim=(0, 1.1 * width * n_shown), ylim=(pitch + 1.4 * height, 0), xticks=[], aspect="equal")
        ax.set_yticks(
            [0.5 * height, pitch + 0.5 * height], [f"least\n({least:.2f} steps)", f"most\n({most:.2f} steps)"]
        )
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)


class PressureGridDisplay(_Display):
    """A value, such as accuracy or a resource, over a grid of two pressures.

    Parameters
    ----------
    grid : DataFrame
        A row for each value of one pressure, a column for each of the other, and their names on the two axes. Cells
        that are nan stay blank; up to 8 columns, the numbers are written in the cells.
    value : str
        What the cells hold.

    Examples
    --------
    >>> frame = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 1, 0, 1], "accuracy": [0.9, 0.8, 0.9, 0.7]})
    >>> PressureGridDisplay.from_frame(frame, x="a", y="b", value="accuracy").grid.to_numpy()
    array([[0.9, 0.9],
           [0.8, 0.7]])
    """

    def __init__(self, grid, value):
        self.grid, self.value = grid, value

    @classmethod
    def from_frame(cls, frame, x, y, value, *, ax=None, vmin=None, vmax=None):
        """Draw the column `value` of a table of models, such as `read_sweep` and `cv_results_` give.

        The columns x and y hold the pressures; vmin and vmax are the ends of the scale of shades. Columns that are
        missing, pressures that are nan, and several rows for one cell raise a ValueError.
        """
        frame = _checked_columns(frame, x, y, value)
        if frame[[x, y]].isna().any(axis=None):
            raise ValueError(f"Columns {x!r} and {y!r} hold nan, so that a row has no cell. Drop such rows.")
        twice = frame[frame.duplicated([x, y])]
        if len(twice):
            cell = f"{x}={twice[x].iloc[0]} and {y}={twice[y].iloc[0]}"
            raise ValueError(
                f"Several rows have {cell}, but a cell shows one. Select among the rows, or average them with "
                f"frame.groupby([{x!r}, {y!r}], as_index=False)[{value!r}].mean()."
            )
        return cls(frame.pivot(index=y, columns=x, values=value).astype(float), value).plot(ax, vmin=vmin, vmax=vmax)

    def _draw(self, ax, vmin=None, vmax=None):
        from matplotlib.ticker import EngFormatter

        values = np.ma.masked_invalid(self.grid.to_numpy(dtype=float))
        written = np.ma.ndenumerate(values) if values.shape[1] <= 8 else ()
        picture = ax.imshow(values, origin="lower", aspect="auto", cmap="viridis", vmin=vmin, vmax=vmax)
        self.figure_.colorbar(picture, ax=ax, label=_title(self.value))
        for (row, column), value in written:
            color = "black" if np.dot(picture.to_rgba(value)[:3], [0.299, 0.587, 0.114]) > 0.5 else "white"
            text = f"{value:.3g}" if abs(value) < 1000 else EngFormatter(places=1)(value)
            ax.text(column, row, text, ha="center", va="center", color=color)
        ax.set_xticks(range(len(self.grid.columns)), self.grid.columns)
        ax.set_yticks(range(len(self.grid.index)), self.grid.index)
        ax.set(xlabel=_title(self.grid.columns.name), ylabel=_title(self.grid.index.name))


class ParetoDisplay(_Display):
    """Models by two of their figures, with those that no other beats marked.

    Parameters
    ----------
    x, y : Series
        Figures of the models, which label the axes by the names of the series.
    front : Series of bool
        Which models are on the front.

    Examples
    --------
    >>> from growlattice.metrics import pareto_front
    >>> frame = pd.DataFrame({"time_used": [1.0, 2.0, 3.0], "accuracy": [0.90, 0.95, 0.94]})
    >>> front = pareto_front(frame, minimize=["time_used"], maximize=["accuracy"])
    >>> display = ParetoDisplay.from_frame(frame, x="time_used", y="accuracy", front=front)
    """

    def __init__(self, x, y, front):
        check_consistent_length(x, y, front)
        self.x, self.y, self.front = x, y, front

    @classmethod
    def from_frame(cls, frame, x, y, front, *, ax=None, line=True):
        """Draw two columns of a table of models.

        The front is what :func:`growlattice.metrics.pareto_front` returns, or the name of a column that holds it.
        Columns that are missing, and a front that is not of bools for the rows of the frame, raise a ValueError.
        """
        named = isinstance(front, str)
        frame = _checked_columns(frame, x, y, *([front] if named else []))
        marks = frame[front] if named else frame.assign(front=front)["front"]
        if marks.dtype != bool:
            raise ValueError(
                f"front gives {marks.dtype} for the rows of the frame, not bool. Give what pareto_front(frame) returns."
            )
        return cls(frame[x], frame[y], marks).plot(ax, line=line)

    def _draw(self, ax, line=True):
        ax.plot(self.x[~self.front], self.y[~self.front], "o", color="0.6", label="beaten by another")
        order = self.x[self.front].argsort()
        x, y = self.x[self.front].iloc[order], self.y[self.front].iloc[order]
        ax.plot(x, y, "D-" if line else "D", color="tab:red", linewidth=1, label="Pareto front")
        ax.set(xlabel=_title(self.x.name), ylabel=_title(self.y.name))
        _legend_above(ax)


class OcclusionDisplay(_Display):
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
        Mean over the images (steps), and how far its 95 % interval reaches to either side: 1.96 standard errors.

    Examples
    --------
    >>> OcclusionDisplay.from_predictions([0.0, 0.5], [[1.0, 3.0], [2.0, 4.0]]).mean
    array([2., 3.])
    """

    def __init__(self, shares, time_used):
        self.shares = check_array(shares, ensure_2d=False, dtype=float, input_name="shares")
        self.time_used = check_array(time_used, dtype=float, ensure_min_features=2, input_name="time_used")
        n_shares, n_images = self.time_used.shape
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
        """Draw the time that a fitted LatticeClassifier uses for images when shares of them are occluded.

        The parameters are those of :func:`occlude`. One seed serves all shares, so what is covered stays covered.
        """
        time_used, seed = _read(estimator, "time_used"), random_state
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(2**31 - 1)
        options = dict(patch_size=patch_size, fill=fill, random_state=seed)
        return cls(shares, [time_used(occlude(images, share, **options)) for share in shares]).plot(ax)

    @classmethod
    def from_predictions(cls, shares, time_used, *, ax=None):
        """Draw times that are known; the parameters are those of the class."""
        return cls(shares, time_used).plot(ax)

    def _draw(self, ax):
        low, high = self.mean - self.half_width, self.mean + self.half_width
        ax.fill_between(self.shares, low, high, color="0.8", linewidth=0, label="95 % interval")
        ax.plot(self.shares, self.mean, "o-", color="tab:blue", label="mean of the images")
        ax.set(xlabel="share of the image occluded", ylabel="time used (steps)")
        _legend_above(ax)


class AttributionDisplay(_Display):
    """Images, and below each its attribution map.

    Parameters
    ----------
    images : array-like of images
        As in :func:`occlude`; drawn with the least of all values as black and the greatest as white.
    maps : array-like of shape (n, height, width)
        As :func:`attribution_map` gives.
    labels : sequence, default=None
        What is written below each pair.

    Examples
    --------
    >>> display = AttributionDisplay(np.ones((2, 4, 4)), np.zeros((2, 4, 4)), labels=["cat", "dog"]).plot()
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
        """Draw the maps of images, above the class that each is for; the parameters are those of `attribution_map`."""
        maps = attribution_map(estimator, X, y, patch_size=patch_size, fill=fill)
        return cls(X, maps, estimator.predict(X) if y is None else y).plot(ax)

    def _draw(self, ax):
        pixels = _as_pictures(self.images)
        height, width = pixels.shape[1:3]
        lefts, limit = 1.1 * width * np.arange(len(pixels)), np.abs(self.maps).max() or 1
        for left, image, attribution in zip(lefts, pixels, self.maps, strict=True):
            ax.imshow(image, extent=(left, left + width, 1.1 * height, 2.1 * height), cmap="gray", vmin=0, vmax=1)
            extent = (left, left + width, 0, height)
            picture = ax.imshow(attribution, extent=extent, cmap="RdBu_r", vmin=-limit, vmax=limit)
        self.figure_.colorbar(picture, ax=ax, label="drop in probability", shrink=0.8)
        ax.set(xlim=(0, lefts[-1] + width), ylim=(0, 2.1 * height), aspect="equal")
        ax.set_xticks(lefts + width / 2, self.labels)
        ax.set_yticks([1.6 * height, 0.5 * height], ["image", "attribution"])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)


def _read(estimator, name):
    check_is_fitted(estimator)
    if not hasattr(estimator, name):
        raise TypeError(
            f"{type(estimator).__name__} has no {name}. Give a fitted LatticeClassifier; of a pipeline, give its last "
            "step, and images as that step sees them."
        )
    return getattr(estimator, name)


def _checked_columns(frame, *names):
    frame = pd.DataFrame(frame)
    missing = [name for name in names if name not in frame]
    if missing or frame.empty:
        raise ValueError(
            f"The frame has {len(frame)} rows and lacks the columns {missing}. Give a row for each model, and names "
            f"among {list(frame.columns)}."
        )
    return frame


def _as_pictures(images):
    """The images as matplotlib draws them, from 0 for the least of all values to 1 for the greatest."""
    pixels = as_channels_first(images).transpose(0, 2, 3, 1).astype(float)
    pixels = (pixels - pixels.min()) / (np.ptp(pixels) or 1)
    return pixels[..., 0] if pixels.shape[3] == 1 else pixels


def _title(name):
    """The label of an axis for a column of a sweep or of `cv_results_`."""
    name = str(name).removeprefix("param_").removeprefix("mean_test_").rsplit("__", 1)[-1]
    return TITLES.get(name, name.replace("_", " "))


def _legend_above(ax):
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0.2)
