"""How displays draw: the base class that finds the axes, and what several displays draw alike."""

import numpy as np

from ._inputs import as_channels_first


def as_pictures(images):
    """The images as matplotlib draws them, scaled so that the smallest of all values is 0 and the largest 1."""
    pixels = as_channels_first(images).transpose(0, 2, 3, 1).astype(float)
    pixels = (pixels - pixels.min()) / (np.ptp(pixels) or 1)
    return pixels[..., 0] if pixels.shape[3] == 1 else pixels


def legend_above(ax):
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0.2)


class Display:
    """Base class of the displays: `plot` finds the axes, and `_draw` of each display draws in them."""

    _size = (6, 4)

    def plot(self, ax=None, **options):
        """Draw in the matplotlib Axes `ax`, or in a new figure; returns self, with `ax_` and `figure_`.

        MagnitudeDisplay takes the option `vmax` and PressureGridDisplay `vmin` and `vmax`, the limits of the color
        scale, so that several displays can share one. ParetoDisplay takes ``line=False``, for a front of points without
        a line, and HaltingDisplay ``x="macs"``, to draw against multiply-accumulates.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError(
                f"{type(self).__name__} draws with matplotlib, which is not installed. "
                "Install it with: pip install growlattice[plot]"
            ) from error
        before, given = dict(vars(self)), ax is not None
        if not given:
            _, ax = plt.subplots(figsize=self._size, layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        try:
            self._draw(ax, **options)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            if not given:
                plt.close(ax.figure)
            raise
        return self
