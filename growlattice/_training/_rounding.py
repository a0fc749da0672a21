"""Numbers that are equal but for rounding: they have no deviation to be standardized by."""

import warnings

import numpy as np

ROUNDING = 1e-12  # of the mean of equal numbers, as a share of it


def is_constant(mean, std):
    """Whether numbers of this mean and deviation differ by no more than rounding."""
    return std <= ROUNDING * np.abs(mean)


def warn_of_constants(what):
    """Warn that numbers are taken for equal that are not."""
    warnings.warn(
        f"Some {what} differ by less than {ROUNDING:g} of their mean and are taken for constant. If they are not, "
        "subtract the mean, as StandardScaler does.",
        stacklevel=2,
    )
