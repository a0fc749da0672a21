"""A data set of labelled images as one .npz file: what it has to hold, and how it is checked and read."""

from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

from ._files import check_keys, load, read_array

SUBSETS = {"train": ("train",), "test": ("test",), "all": ("train", "test")}
KEYS = ("x_train", "y_train", "x_test", "y_test", "label_names")


class Source(NamedTuple):
    """What a fetcher has to know about its data set.

    Attributes
    ----------
    title : str
        Name of the data set, as people write it.
    filename : str
        Name of its file in the data folder.
    image_shape : tuple of int
        Shape of one image.
    n_classes : int
        Number of classes.
    description : str
        What the data set is, where it comes from, its sizes and its licence.
    torchvision_name : str or None
        Name of its class in torchvision.
    label_names : tuple of str
        Names of the classes, in the order of their labels, for the data sets of torchvision.
    """

    title: str
    filename: str
    image_shape: tuple
    n_classes: int
    description: str
    torchvision_name: str | None = None
    label_names: tuple = ()


def check_subset(subset):
    if subset not in tuple(SUBSETS):
        raise ValueError(f"subset={subset!r} is not known. Give 'train', 'test' or 'all'.")


def layout(source):
    """What a file of this data set has to hold, for those who write one by hand."""
    shape = ", ".join(map(str, source.image_shape))
    return (
        f"an .npz file with x_train and x_test (uint8, (n_images, {shape})), y_train and y_test (integers from 0 to "
        f"{source.n_classes - 1}, (n_images,)) and label_names ({source.n_classes} strings)"
    )


def _check_images(key, images, image_shape):
    """Refuse images that are not uint8 of shape (n_images, *image_shape), with at least one image."""
    if images.dtype != np.uint8:
        raise ValueError(f"{key} has dtype {images.dtype}, but uint8 was expected")
    if images.shape[1:] != image_shape or images.shape[0] == 0:
        expected = ", ".join(map(str, image_shape))
        raise ValueError(f"{key} has shape {images.shape}, but (n_images, {expected}) with n_images >= 1 was expected")


def _check_labels(key, labels, n_images, n_classes):
    """Refuse labels that are not integers from 0 to n_classes - 1, one for each image."""
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{key} has dtype {labels.dtype}, but integers were expected")
    if labels.shape != (n_images,):
        raise ValueError(f"{key} has shape {labels.shape}, but one label for each of {n_images} images was expected")
    lowest, highest = labels.min(), labels.max()
    if lowest < 0 or highest >= n_classes:
        raise ValueError(f"{key} goes from {lowest} to {highest}, but labels from 0 to {n_classes - 1} were expected")


def _check_names(names, n_classes):
    """Refuse names that are not one string for each class."""
    if names.dtype.kind != "U" or names.shape != (n_classes,):
        raise ValueError(
            f"label_names has dtype {names.dtype} and shape {names.shape}, but {n_classes} strings were expected"
        )


def _read_part(archive, part, source):
    """Read and check the images and labels of one part, "train" or "test"."""
    images, labels = read_array(archive, f"x_{part}"), read_array(archive, f"y_{part}")
    _check_images(f"x_{part}", images, source.image_shape)
    _check_labels(f"y_{part}", labels, len(images), source.n_classes)
    return images, labels.astype(np.int64)


def _read_images(archive, parts, source):
    """Read the parts asked for, one after the other, and the names of the classes from an open .npz archive.

    Returns
    -------
    images : ndarray of uint8 of shape (n_images, *source.image_shape)
    labels : ndarray of int64 of shape (n_images,)
    names : ndarray of str of shape (n_classes,)
    """
    check_keys(archive, KEYS)
    names = read_array(archive, "label_names")
    _check_names(names, source.n_classes)
    images, labels = zip(*(_read_part(archive, part, source) for part in parts), strict=True)
    if len(parts) == 1:
        return images[0], labels[0], names
    return np.concatenate(images), np.concatenate(labels), names


def read_dataset(path, source, subset, return_X_y):
    """Read the subset asked for of a file that is there."""
    images, target, target_names = load(path, partial(_read_images, parts=SUBSETS[subset], source=source))
    if return_X_y:
        return images, target
    return Bunch(images=images, target=target, target_names=target_names, DESCR=source.description)
