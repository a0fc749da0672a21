"""What a run of the lattice holds between two steps."""

from dataclasses import dataclass, replace

import torch


@dataclass
class LatticeState:
    """What a lattice holds of a batch of images between two steps.

    Attributes
    ----------
    kernels : dict of (str, int) to (tensor, tensor or None)
        Weight and bias of each convolution, in the precision of the convolutions; and, by a tuple of such names, those
        of several that were joined.
    first_drive : tensor of shape (n_images, n_channels, height, width)
        What the images drive in the first layer, normalized.
    hidden : list of tensor
        Hidden state of each layer.
    drives : list of dict of (str, int) to tensor, default=None
        For each layer, the results of the kernels that read it; None before the first step.
    """

    kernels: dict
    first_drive: torch.Tensor
    hidden: list
    drives: dict | None = None

    def images(self, rows):
        """The state of some of the images, by their indices, before :meth:`Lattice.drive_next`."""
        hidden = [_images(layer, rows) for layer in self.hidden]
        return replace(self, first_drive=_images(self.first_drive, rows), hidden=hidden, drives=None)


def _images(tensor, rows):
    """Some of the images of a tensor whose channels are last in memory, and stay so: copied in pieces, so quickly."""
    return tensor.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
