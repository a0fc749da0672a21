"""How training changes as it goes on, from 0 to 1, and with the size of the lattice: prices and learning rate."""

import math

from ..lattice._costs import REFERENCE_CHANNELS, REFERENCE_LAYERS, REFERENCE_STEPS

RATE_POWER, MOST_RATE, WARM_UP = 0.75, 16.0, 0.1
REFERENCE_KERNEL = 3  # side, in pixels, of the kernels that `lr` is for


def ramp(progress, start, end):
    """The annealing ramp: 0 up to `start`, linear to 1 at `end`, then 1.

    Examples
    --------
    >>> [round(ramp(progress, 0.1, 0.5), 9) for progress in (0.0, 0.3, 0.9)]
    [0.0, 0.5, 1.0]
    """
    if progress >= end:
        return 1.0
    return 0.0 if progress <= start else (progress - start) / (end - start)


def cosine_decay(progress):
    """Share of the full learning rate: 1 at the start, 0 at the end.

    Examples
    --------
    >>> cosine_decay(0.0), round(cosine_decay(0.5), 9), cosine_decay(1.0)
    (1.0, 0.5, 0.0)
    """
    return (1 + math.cos(math.pi * progress)) / 2


def rate_share(channels, n_steps, kernel_size=REFERENCE_KERNEL):
    """Learning rate of a lattice in units of that of one of the reference size: the smaller, the higher.

    With Adam every weight moves by about the learning rate, so a drive moves by that times the fan-in, and what an
    image comes to by the moves of all layers and steps. The power and the highest rate are measured: docs/choices.
    Kernels larger than those of the reference have its rate, for nothing was measured there.

    Parameters
    ----------
    channels : list of int
        In use, in each layer that is.
    n_steps : int
    kernel_size : int, default=3
        Side of the kernels in pixels: 1 for rows of a table.

    Examples
    --------
    >>> rate_share([16, 16, 16, 16], 4), rate_share([8, 8, 8, 8], 4)
    (1.0, 2.0)
    >>> round(rate_share([16], 4), 3)
    2.828
    >>> rate_share([16, 16, 16, 16], 4, kernel_size=1)
    9.0
    """
    breadth = sum(channels) / len(channels) / REFERENCE_CHANNELS
    depth_and_time = len(channels) * n_steps / (REFERENCE_LAYERS * REFERENCE_STEPS)
    pixels = (min(kernel_size, REFERENCE_KERNEL) / REFERENCE_KERNEL) ** 2
    return min(1 / (breadth * pixels * depth_and_time**RATE_POWER), MOST_RATE)


def full_rate(share, progress, priced=0.0):
    """The learning rate in units of `lr` before it decays.

    The higher one of a small lattice comes over the first tenth of training. The lower one of a large lattice rises to
    `lr` as channels and layers come to cost something: they go as fast as the rate lets them, and what is left must not
    depend on how many there were.

    Parameters
    ----------
    share : float
        As from :func:`rate_share`.
    progress : float
    priced : float, default=0.0
        Share of their full price that channels and layers have by now.

    Examples
    --------
    >>> [round(full_rate(16.0, progress), 9) for progress in (0.0, 0.05, 0.5)]
    [1.0, 4.0, 16.0]
    >>> [round(full_rate(0.25, 0.3, priced), 9) for priced in (0.0, 0.5, 1.0)]
    [0.25, 0.5, 1.0]
    """
    return share ** (min(progress / WARM_UP, 1.0) if share > 1 else 1.0 - priced)
