"""Reading any X into one array of images with channels first: functions, each for one kind of X.

An array keeps its dtype where torch can hold it, and is a view of the caller's wherever no pixel has to change.
"""

import math
import os
import warnings
from contextlib import contextmanager
from numbers import Integral

import numpy as np
from scipy.sparse import issparse

CHANNELS = (1, 3, 4)
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
SMALLEST_SQUARE = 8
IMAGES_AT_ONCE = 1024
LARGEST = np.finfo(np.float32).max


def is_image_list(X):
    """Whether X is a list or column of PIL images or of image paths, rather than numbers."""
    first = first_of_column(X)
    return isinstance(first, (str, os.PathLike)) or is_pil(first)


def first_of_column(X):
    """The first item of a list or column; None if X is neither, or empty."""
    if hasattr(X, "shape"):
        if len(X.shape) not in (1, 2) or (len(X.shape) == 2 and X.shape[1] != 1) or issparse(X):
            return None
        X = np.asarray(X).reshape(-1)
    elif not isinstance(X, (list, tuple)):
        return None
    return X[0] if len(X) else None


def read_images(X, n_channels=None, image_size=None):
    """Read a list or column of PIL images or of paths.

    Parameters
    ----------
    X : sequence of PIL.Image.Image, str or os.PathLike
        Colour, grey or with an alpha channel, in any mix.
    n_channels : {1, 3, 4}, default=None
        Channels to convert every image to; by default as many as the richest image has.
    image_size : tuple of int, default=None
        (height, width) to resize every image to, with antialiasing.

    Returns
    -------
    ndarray of uint8 of shape (n_images, n_channels, height, width)

    Raises
    ------
    ValueError
        If an image cannot be read, or if the images differ in size and `image_size` is not given.
    """
    items = list(np.asarray(X).reshape(-1)) if hasattr(X, "shape") else list(X)
    for index, item in enumerate(items):
        if not isinstance(item, (str, os.PathLike)) and not is_pil(item):
            raise ValueError(f"Item {index} of X is {item!r}. Give a PIL image or a path for each image.")
    if n_channels not in (None, *MODES):
        raise ValueError(
            f"PIL images have 1, 3 or 4 channels, but {n_channels} are expected. Give image_shape accordingly."
        )
    if n_channels is None:
        n_channels = max(_n_channels(item) for item in items)
    images = None
    for index, item in enumerate(items):
        pixels = _pixels(item, MODES[n_channels])
        if image_size is not None:
            pixels = resize(pixels[None], image_size)[0]
        if images is None:
            images = np.empty((len(items), *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise ValueError(
                f"Images differ in size: the first is {images.shape[2]} by {images.shape[3]} pixels, "
                f"{_name(item, index)} is {pixels.shape[1]} by {pixels.shape[2]} pixels. "
                "Give image_size=(height, width) to resize all of them."
            )
        images[index] = pixels
    return images


def channels_first(X, image_shape=None):
    """View an array of three or four axes as (n_images, n_channels, height, width).

    Parameters
    ----------
    X : ndarray of shape (n, height, width), (n, height, width, n_channels) or (n, n_channels, height, width)
        Images; four axes need 1, 3 or 4 channels. Where both ends could be channels, the last axis is.
    image_shape : tuple of int, default=None
        (n_channels, height, width), which settles the doubtful cases.
    """
    if X.ndim == 3:
        return X.reshape(len(X), 1, *X.shape[1:])
    if image_shape is not None and X.shape[1:] == tuple(image_shape):
        return X
    if X.shape[3] in CHANNELS:
        return X.transpose(0, 3, 1, 2)
    if X.shape[1] in CHANNELS:
        return X
    raise ValueError(
        f"X has shape {X.shape}, but images need 1, 3 or 4 channels. Give X as (n, height, width, channels) or "
        "(n, channels, height, width)."
    )


def shape_of_rows(rows, image_shape=None):
    """Shape (n_channels, height, width) of the image that each row of numbers holds.

    Without `image_shape`, rows are square grey images if their length is the square of a number from 8 up and all
    numbers are whole and not negative, as pixels are; any other row is one pixel with a channel for each feature.

    Parameters
    ----------
    rows : ndarray of shape (n_images, n_features)
    image_shape : tuple of int, default=None

    Warns
    -----
    UserWarning
        If the length alone would make an image, or if it does and the numbers are all 0 or 1, as in many tables.

    Examples
    --------
    >>> shape_of_rows(np.zeros((2, 64))), shape_of_rows(np.zeros((2, 13)))
    ((1, 8, 8), (13, 1, 1))
    >>> shape_of_rows(np.zeros((2, 12)), image_shape=(3, 2, 2))
    (3, 2, 2)
    """
    n_features = rows.shape[1]
    if image_shape is not None:
        if math.prod(image_shape) != n_features:
            raise ValueError(
                f"image_shape={tuple(image_shape)} holds {math.prod(image_shape)} values, but X has {n_features} "
                "features. Give image_shape=(channels, height, width) whose product is X.shape[1]."
            )
        return tuple(image_shape)
    side = math.isqrt(n_features)
    if side < SMALLEST_SQUARE or side * side != n_features:
        return (n_features, 1, 1)
    if _look_like_pixels(rows):
        if rows.max(initial=0) == 1:
            warnings.warn(
                f"The rows of X have {n_features} numbers, all 0 or 1, and are taken as square images. If they are, "
                f"image_shape=(1, {side}, {side}) says so; if they are a table, give image_shape=({n_features}, 1, 1).",
                stacklevel=2,
            )
        return (1, side, side)
    warnings.warn(
        f"The rows of X have {n_features} numbers, of which some are negative or not whole, and are taken as one pixel "
        f"with {n_features} channels. If they are images, give image_shape=(1, {side}, {side}); "
        f"if not, image_shape=({n_features}, 1, 1) says so.",
        stacklevel=2,
    )
    return (n_features, 1, 1)


def _look_like_pixels(rows):
    """Whether all numbers are whole and not negative."""
    if rows.dtype.kind in "bu":
        return True
    parts = (rows[start : start + IMAGES_AT_ONCE] for start in range(0, len(rows), IMAGES_AT_ONCE))
    return all((part >= 0).all() and (part == np.floor(part)).all() for part in parts)


def resize(images, image_size):
    """Resize with antialiasing, a thousand images at a time.

    Parameters
    ----------
    images : ndarray of shape (n_images, n_channels, height, width)
        Of dtype uint8 or floating.
    image_size : tuple of int
        (height, width) in pixels.

    Returns
    -------
    ndarray of shape (n_images, n_channels, *image_size), of the same dtype
    """
    import torch
    from torchvision.transforms.v2 import functional

    if images.shape[2:] == tuple(image_size):
        return images
    resized = np.empty((*images.shape[:2], *image_size), dtype=images.dtype)
    for start in range(0, len(images), IMAGES_AT_ONCE):
        part = torch.from_numpy(np.array(images[start : start + IMAGES_AT_ONCE], order="C"))
        resized[start : start + IMAGES_AT_ONCE] = functional.resize(part, list(image_size), antialias=True).numpy()
    return resized


def as_pixels(images):
    """The array in a dtype that torch holds: uint8 and floats as they are, anything else as floats."""
    dtype = images.dtype
    if dtype != np.uint8:
        plain = dtype.kind in "biuf" and dtype.itemsize <= 8
        dtype = np.promote_types(dtype, np.float32) if plain else np.float64
    pixels = images.astype(np.dtype(dtype).newbyteorder("="), copy=False)
    if dtype == np.float64 and pixels.size and max(pixels.max(), -pixels.min()) > LARGEST:
        raise ValueError(
            f"X holds numbers from {pixels.min():g} to {pixels.max():g}, which single precision cannot hold. Scale X."
        )
    return pixels


def as_size(image_size):
    """(height, width) from an int, a pair or None."""
    if image_size is None:
        return None
    return (image_size, image_size) if isinstance(image_size, Integral) else tuple(image_size)


def is_pil(item):
    return hasattr(item, "getbands") and hasattr(item, "convert")


def _name(item, index):
    return f"image {index}" if is_pil(item) else repr(str(item))


def _n_channels(item):
    if not is_pil(item):
        with _opened(item) as image:
            return _n_channels(image)
    bands = item.getbands()
    if "A" in bands or "transparency" in item.info:  # of a palette, or of one colour
        return 4
    return 1 if bands in (("L",), ("1",)) else 3


def _pixels(item, mode):
    """Bytes of one image as (n_channels, height, width)."""
    if not is_pil(item):
        with _opened(item) as image:
            return _pixels(image, mode)
    if item.mode.startswith(("I", "F")):
        raise ValueError(
            f"An image has mode {item.mode!r}, more than 8 bits a pixel. Give such images as an array of floats."
        )
    if "transparency" in item.info:  # which is one colour, or a number for each of a palette
        item = item.convert("RGBA")
    pixels = np.asarray(item.convert(mode))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


@contextmanager
def _opened(path):
    """An image file, with every error of opening or decoding it told as one that names the file."""
    from PIL import Image

    try:
        with Image.open(str(path)) as image:
            yield image
    except Exception as error:
        raise ValueError(
            f"Cannot read the image {str(path)!r}: {error}. Give paths of images that Pillow opens."
        ) from error
