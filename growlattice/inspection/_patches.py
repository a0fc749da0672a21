"""Square patches over images: their size, their fill, and random ones that cover an exact number of pixels."""

from numbers import Integral

import numpy as np


def checked_patch_size(patch_size, height, width):
    shorter = min(height, width)
    if patch_size is None:
        return max(shorter // 4, 1)
    if not (isinstance(patch_size, Integral) and 1 <= patch_size <= shorter):
        raise ValueError(f"patch_size={patch_size!r} must be an int from 1 to {shorter}, the shorter side in pixels.")
    return patch_size


def fill_pixels(pixels, fill):
    """Pixels that fill the patches, in the dtype of `pixels`; of shape (n_images or 1, n_channels or 1, 1, 1)."""
    is_float = pixels.dtype.kind == "f"
    if fill is None:
        mean = pixels.mean(axis=(2, 3), keepdims=True, dtype=np.float64)
        return (mean if is_float else np.rint(mean)).astype(pixels.dtype)
    values = np.asarray(fill, dtype=np.float64).reshape(1, -1, 1, 1)
    with np.errstate(invalid="ignore", over="ignore"):
        converted = values.astype(pixels.dtype)
    fits = np.isfinite(converted) if is_float else converted == values
    if values.size not in (1, pixels.shape[1]) or not fits.all():
        raise ValueError(
            f"fill={fill!r} must be a value of {pixels.dtype}, or one for each of {pixels.shape[1]} channels."
        )
    return converted


def random_patch_mask(rng, height, width, patch_size, n_covered):
    """Mask of the first `n_covered` pixels that patches placed in random order cover; of shape (height, width)."""
    positions = height + patch_size - 1, width + patch_size - 1
    # order[i, j] is when the patch at position (i, j) is placed; its minimum over the patches that overlap a pixel is
    # when that pixel is covered first
    order = rng.permutation(positions[0] * positions[1]).reshape(positions)
    for axis in (0, 1):
        order = np.lib.stride_tricks.sliding_window_view(order, patch_size, axis=axis).min(axis=-1)
    covered = np.zeros(height * width, dtype=bool)
    covered[np.argsort(order, axis=None, kind="stable")[:n_covered]] = True
    return covered.reshape(height, width)
