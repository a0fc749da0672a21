"""The form of X: learned in `fit`, it reads any X in `predict`."""

import math
import os
from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from ._images import (
    as_pixels,
    as_size,
    channels_first,
    first_of_column,
    is_image_list,
    is_pil,
    read_images,
    resize,
    shape_of_rows,
)

HOW_TO_GIVE_IMAGES = (
    "Give an array of shape (n, height, width), (n, height, width, channels) or (n, channels, height, width), rows of "
    "numbers, or a list of PIL images or of paths of image files"
)


@dataclass(frozen=True)
class InputForm:
    """What `fit` found out about X, so that `predict` reads another X alike.

    Attributes
    ----------
    input_shape : tuple of int
        (channels, height, width) of the images before they are resized.
    image_size : tuple of int or None
        (height, width) that they are resized to.
    declared_shape : tuple of int or None
        The parameter `image_shape`, which settles the order of axes where an array leaves it in doubt.
    feature_names : ndarray of str or None
        Names of the columns of a data frame.
    """

    input_shape: tuple
    image_size: tuple | None
    declared_shape: tuple | None = None
    feature_names: np.ndarray | None = None

    @classmethod
    def learn(cls, X, image_shape, image_size, estimator):
        """The form of a first X, and its images.

        Parameters
        ----------
        X
            As in `LatticeClassifier.fit`.
        image_shape, image_size
            The user's parameters.
        estimator
            Told of by scikit-learn's errors; gets `n_features_in_` and `feature_names_in_` from rows of numbers.

        Returns
        -------
        InputForm
        ndarray of shape (n_images, *image_shape)
        """
        _refuse_what_is_no_array(X)
        size = as_size(image_size)
        vars(estimator).pop("feature_names_in_", None)
        declared = None if image_shape is None else tuple(map(int, image_shape))
        images = _read(X, image_shape, declared, size, estimator, reset=True)
        shape, resized = images.shape[1:], is_image_list(X) and size is not None
        if declared is not None and not resized and shape != declared:
            raise ValueError(
                f"X holds images of shape {shape}, but image_shape={declared}. "
                "Leave image_shape out, or give the shape (channels, height, width) that X has."
            )
        if size is not None and shape[1:] == (1, 1):
            raise ValueError(
                f"image_size={image_size} cannot resize rows of {shape[0]} features, which are no square image. "
                "Give image_shape=(channels, height, width) whose product is X.shape[1]."
            )
        if 0 in shape:
            raise ValueError(
                f"X holds images of shape {shape} (channels, height, width), without pixels. Give larger ones."
            )
        form = cls(shape, size, declared, getattr(estimator, "feature_names_in_", None))
        estimator.n_features_in_ = form.n_features
        return form, form._resized(images)

    def read(self, X, estimator):
        """Another X as images of the same form.

        Returns
        -------
        ndarray of shape (n_images, *image_shape)
        """
        _refuse_what_is_no_array(X)
        self._refuse_single_image(X)
        images = _read(X, self.input_shape, self.declared_shape, self.image_size, estimator, reset=False)
        images = self._resized(images)
        if images.shape[1:] != self.image_shape:
            raise ValueError(
                f"X holds images of shape {images.shape[1:]}, but {type(estimator).__name__} was fitted on images of "
                f"shape {self.image_shape} (channels, height, width). Give images of that shape."
            )
        return images

    @property
    def n_features(self):
        """Numbers in each image before it is resized."""
        return math.prod(self.input_shape)

    @property
    def image_shape(self):
        """(channels, height, width) of the images as the lattice sees them."""
        return self.input_shape if self.image_size is None else (self.input_shape[0], *self.image_size)

    def check(self):
        """Raise a ValueError unless this is a form that some X can have, as what comes from a file may not be."""
        sound = self.input_shape is not None
        for shape, length in ((self.input_shape, 3), (self.image_size, 2), (self.declared_shape, 3)):
            if shape is not None:
                sound = sound and len(shape) == length and all(type(side) is int and side > 0 for side in shape)
        if sound and self.feature_names is not None:
            names = self.feature_names
            sound = isinstance(names, np.ndarray) and len(names) == self.n_features
            sound = sound and all(isinstance(name, str) for name in names)
        if not sound:
            raise ValueError(f"no input has the form {self}")

    def _refuse_single_image(self, X):
        channels, height, width = self.input_shape
        single = [(height, width), (height, width, channels)] + [self.input_shape] * (channels > 1)
        one_row = 1, self.n_features  # an image of one line of pixels
        if height * width > 1 and getattr(X, "shape", None) in single and X.shape != one_row:
            raise ValueError(f"X has shape {tuple(X.shape)}, as one image has. Give images: X[None].")

    def _resized(self, images):
        images = as_pixels(images)
        return images if self.image_size is None else resize(images, self.image_size)


def _read(X, shape, declared, size, estimator, reset):
    """X as an array of images, of a shape that is known or None; those of a list are resized already."""
    if is_image_list(X):
        return read_images(X, n_channels=shape and shape[0], image_size=size)
    if hasattr(X, "shape") and np.ndim(first := first_of_column(X)):
        raise ValueError(f"X is a column of arrays, the first of shape {np.shape(first)}. Give numpy.stack(column).")
    if _n_axes(X) > 4:
        raise ValueError(f"X has {_n_axes(X)} axes. {HOW_TO_GIVE_IMAGES}.")
    if _n_axes(X) in (3, 4):
        return channels_first(check_array(X, allow_nd=True), declared)
    rows = validate_data(estimator, X, reset=reset)
    return rows.reshape(len(rows), *shape_of_rows(rows, shape))


def _refuse_what_is_no_array(X):
    """Raise a TypeError that says what to give instead of a path, a torch Dataset or a DataLoader."""
    if isinstance(X, (str, os.PathLike)):
        raise TypeError(
            f"X is the path {os.fspath(X)!r}. {HOW_TO_GIVE_IMAGES}; of a folder with one subfolder for each class: "
            "X, y = zip(*torchvision.datasets.ImageFolder(path).samples)."
        )
    if is_pil(X):
        raise TypeError("X is one image. Give a list of images: [X].")
    numbers = isinstance(X, (list, tuple)) or any(hasattr(X, name) for name in ("shape", "__array__", "__dataframe__"))
    if hasattr(X, "__getitem__") and not numbers:
        found = type(X).__name__
    elif hasattr(X, "dataset") and hasattr(X, "batch_size"):
        found = "DataLoader"
    else:
        return
    raise TypeError(
        f"X is a {found}, and fit takes arrays. {HOW_TO_GIVE_IMAGES}; of an ImageFolder: X, y = zip(*folder.samples)."
    )


def _n_axes(X):
    if hasattr(X, "ndim"):
        return X.ndim
    try:
        return np.asarray(X).ndim
    except ValueError as error:  # NumPy's about rows or images of unequal shape
        raise ValueError(f"X is a {type(X).__name__} that is no array: {error} {HOW_TO_GIVE_IMAGES}.") from error
