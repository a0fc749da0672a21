"""Removing channels, layers and trailing steps during training, when they are no longer used under their prices."""

import torch

from ..lattice._surgery import drop_unreachable_layers
from ._growth import has_young_steps, young_channels

# Measured: docs/choices.
SILENT = 0.1  # magnitude of a channel, which is 1 on average in a fresh lattice of the reference size
UNUSED = 0.01  # time-selection weight of a step and all after it, for every image


def compact_net(net, trim_steps=True):
    """Remove from a net in training the channels, layers and trailing steps that are no longer used.

    A channel goes below a threshold that falls with the learning rate: late updates are too small to make up for a
    removal. Steps go only once prices are full: early in training the lattice has not learned to use them. What was
    added lately stays.

    Parameters
    ----------
    net : LatticeNet
        After an epoch of training.
    trim_steps : bool, default=True
        Whether the images of the epoch are all there are, so that a step that none of them uses can go.
    """
    lattice, prices = net.module_, net.pressures
    mask, steps_left = lattice.mask, lattice.steps_left
    if prices["breadth"] or prices["depth"]:
        mask = channels_above(SILENT * net.lr_share, lattice, young_channels(net))
    if prices["time"] and net.ramp_ == 1 and trim_steps and not has_young_steps(net):
        steps_left = min(steps_in_use(net.tail_weights_), steps_left)
    if steps_left < lattice.steps_left or not torch.equal(mask, lattice.mask):
        net.compact(mask, steps_left)


def channels_above(bar, lattice, kept=False):
    """The mask of the channels whose magnitude reaches a bar, and in any case of those in the mask `kept` and of the
    strongest of the first layer."""
    magnitude = lattice.channel_magnitude().detach()
    mask = lattice.mask & ((magnitude >= bar) | kept)
    mask[0, magnitude[0].argmax()] = True
    return drop_unreachable_layers(mask)


def steps_in_use(tail_weights):
    """How many steps are left without trailing ones that no image uses; at least 1.

    Parameters
    ----------
    tail_weights : tensor of shape (n_steps,)
        Time-selection weight of each step and all after it together, the largest of the images.

    Examples
    --------
    >>> steps_in_use(torch.tensor([1.0, 0.4, 0.005]))
    2
    """
    return max(1, int((tail_weights >= UNUSED).sum()))
