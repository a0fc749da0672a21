"""The display of weight magnitudes, and of what pruning leaves of them."""

import numpy as np
from sklearn.utils import check_array

from ._drawing import Display, legend_above
from ._inputs import fitted_attribute


class MagnitudeDisplay(Display):
    """Weight magnitude of the channels of each layer, by rank, with the boundary between surviving and pruned channels.

    Parameters
    ----------
    channel_magnitude, channel_mask : array-like of shape (n_layers, n_channels)
        The attributes of a fitted lattice. After `prune`, removed channels have magnitude 0. To show what they had
        before, give the magnitudes from before and the mask from after pruning.

    Attributes
    ----------
    ranked : ndarray of shape (n_layers, n_channels)
        Magnitudes (1 = a fresh channel of the default size), sorted within each layer, survivors first.
    survivors : ndarray of shape (n_layers,)
        Number of channels that survive in each layer.

    Examples
    --------
    >>> magnitude, mask = [[0.2, 1.5], [0.1, 0.9]], [[False, True], [False, True]]
    >>> MagnitudeDisplay(magnitude, mask).plot().survivors
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
        """Draw a fitted lattice."""
        magnitude = fitted_attribute(estimator, "channel_magnitude_")
        return cls(magnitude, fitted_attribute(estimator, "channel_mask_")).plot(ax)

    def _draw(self, ax, vmax=None):
        n_layers, n_channels = self.ranked.shape
        extent = (0.5, n_channels + 0.5, 0.5, n_layers + 0.5)
        image = ax.imshow(self.ranked, origin="lower", aspect="auto", extent=extent, vmin=0, vmax=vmax, cmap="viridis")
        self.figure_.colorbar(image, ax=ax, label="weight magnitude (1 = fresh, at the default size)")
        if not self.channel_mask.all():
            line = dict(edges=np.arange(n_layers + 1) + 0.5, orientation="horizontal", baseline=None, clip_on=False)
            ax.stairs(self.survivors + 0.5, color="white", linewidth=4, **line)
            ax.stairs(self.survivors + 0.5, color="red", linewidth=2, label="pruning boundary", **line)
            legend_above(ax)
        ax.set(xlabel="channel, by rank", ylabel="layer")
        ax.locator_params(integer=True, min_n_ticks=1)
