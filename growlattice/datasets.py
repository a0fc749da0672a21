"""Real images as arrays, in scikit-learn's fetch_ convention.

Each data set is one .npz file in scikit-learn's data folder, downloaded through torchvision the first time. A file that
is damaged, or is not what its name says, is refused: zip's checksums cover every byte that is read.
"""

import errno
import io
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

__all__ = ["fetch_cifar10", "fetch_mnist"]

SUBSETS = {"train": ("train",), "test": ("test",), "all": ("train", "test")}
KEYS = ("x_train", "y_train", "x_test", "y_test", "label_names")
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# what zipfile and NumPy raise on damaged bytes, found by changing every byte of a file in turn
DAMAGE = (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class _Source(NamedTuple):
    """What a fetcher has to know about its data set.

    Attributes
    ----------
    title : str
        Name of the data set, as people write it.
    filename : str
        Name of its file in the data folder.
    image_shape : tuple of int
        Shape of one image.
    target_names : tuple of str
        Names of the classes, in the order of their labels.
    download : callable
        Takes a folder for scratch files and returns a dict of the arrays `x_train`, `y_train`, `x_test` and `y_test`.
    description : str
        What the data set is, where it comes from, its sizes and its licence.
    """

    title: str
    filename: str
    image_shape: tuple
    target_names: tuple
    download: Callable
    description: str


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


def _check_keys(archive):
    """Refuse an archive that lacks an array."""
    there = set(archive.namelist())
    missing = [key for key in KEYS if f"{key}.npy" not in there]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}; an .npz file with {', '.join(KEYS)} was expected")


def _read_array(archive, key):
    """Read one array of an open .npz archive, as np.load(allow_pickle=False) does but to the last byte.

    np.load stops where the array's own header says that it ends, and zip compares checksums only at the end: headers
    with a wrong byte would pass for fewer images or for shorter names.
    """
    member = archive.getinfo(f"{key}.npy")
    if member.compress_type not in COMPRESSIONS:
        raise ValueError(f"{key} has compression type {member.compress_type}, which NumPy does not write")
    try:
        content = io.BytesIO(archive.read(member))
        array = np.lib.format.read_array(content, allow_pickle=False)
    except DAMAGE as error:
        raise ValueError(f"{key} cannot be read ({str(error) or 'it ends too early'})") from error
    if content.read(1):
        raise ValueError(f"{key} goes on after its last value")
    return array


def _read_part(archive, part, source):
    """Read and check the images and labels of one part, "train" or "test"."""
    images, labels = _read_array(archive, f"x_{part}"), _read_array(archive, f"y_{part}")
    _check_images(f"x_{part}", images, source.image_shape)
    _check_labels(f"y_{part}", labels, len(images), len(source.target_names))
    return images, labels.astype(np.int64)


def _read(file, parts, source):
    """Read the parts asked for, one after the other, and the names of the classes from an open file."""
    with zipfile.ZipFile(file) as archive:
        _check_keys(archive)
        names = _read_array(archive, "label_names")
        _check_names(names, len(source.target_names))
        images, labels = zip(*(_read_part(archive, part, source) for part in parts), strict=True)
    if len(parts) == 1:
        return images[0], labels[0], names
    return np.concatenate(images), np.concatenate(labels), names


def _load(path, parts, source):
    """Read a data set's file, or say what is wrong with it.

    Returns
    -------
    images : ndarray of uint8 of shape (n_images, *source.image_shape)
    labels : ndarray of int64 of shape (n_images,)
    names : ndarray of str of shape (n_classes,)

    Raises
    ------
    ValueError
        If the file is damaged, or is not that of this data set.
    OSError
        If the file cannot be opened, or the disk cannot be read.
    """
    with open(path, "rb") as file:
        try:
            return _read(file, parts, source)
        except (*DAMAGE, OSError) as error:
            # a wrong offset inside the archive is an invalid seek; any other OSError is the disk's, not the file's
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            raise ValueError(f"{path} cannot be used: {error}; delete it to have it downloaded again.") from error


def _from_torchvision(name, folder):
    """Download a data set of torchvision's into a folder and return its arrays."""
    from torchvision import datasets

    arrays = {}
    with warnings.catch_warnings():
        # NumPy 2.4 on the pickles of CIFAR-10: https://github.com/pytorch/vision/issues/9340
        warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
        for part in SUBSETS["all"]:
            dataset = getattr(datasets, name)(folder, train=part == "train", download=True)
            arrays |= {f"x_{part}": np.asarray(dataset.data), f"y_{part}": np.asarray(dataset.targets)}
    return arrays


def _layout(source):
    """What a file of this data set has to hold, for those who write one by hand."""
    shape = ", ".join(map(str, source.image_shape))
    n_classes = len(source.target_names)
    return (
        f"an .npz file with x_train and x_test (uint8, (n_images, {shape})), y_train and y_test (integers from 0 to "
        f"{n_classes - 1}, (n_images,)) and label_names ({n_classes} strings)"
    )


def _download(path, source):
    """Download a data set and move its file into place when it is complete, leaving nothing else behind.

    Raises
    ------
    OSError
        If the download fails, or the file cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.stem}-") as folder:
        try:
            arrays = source.download(folder)
        except Exception as error:
            raise OSError(
                f"{source.title} could not be downloaded ({type(error).__name__}). Try again, or put {path} there "
                f"yourself: {_layout(source)}."
            ) from error
        complete = Path(folder) / path.name
        np.savez(complete, label_names=np.array(source.target_names), **arrays)
        complete.replace(path)


def _fetch(source, *, data_home, subset, download_if_missing, return_X_y):
    """Find, download if need be, and read a data set: what every fetcher does."""
    if subset not in tuple(SUBSETS):
        raise ValueError(f"subset={subset!r} is not known. Give 'train', 'test' or 'all'.")
    path = Path(get_data_home(data_home)) / source.filename
    if not path.exists():
        if not download_if_missing:
            raise FileNotFoundError(
                f"{path} is not there, and download_if_missing=False. Give download_if_missing=True, or put it there "
                f"yourself: {_layout(source)}."
            )
        _download(path, source)
    images, target, target_names = _load(path, SUBSETS[subset], source)
    if return_X_y:
        return images, target
    return Bunch(images=images, target=target, target_names=target_names, DESCR=source.description)


_MNIST = _Source(
    title="MNIST",
    filename="mnist.npz",
    image_shape=(28, 28),
    target_names=tuple("0123456789"),
    download=partial(_from_torchvision, "MNIST"),
    description="""\
MNIST: handwritten digits
-------------------------
What: grey images of 28 x 28 pixels, uint8, white ink (255) on black (0), of the digits 0 to 9.
Sizes: 60,000 training images and 10,000 test images, of 5,421 to 6,742 and of 892 to 1,135 images a class.
Origin: scans of digits by employees of the US Census Bureau and by high school students, from NIST's Special
Databases 3 and 1, scaled to fit 20 x 20 pixels and centred by their centre of mass.
Licence: CC BY-SA 3.0.
Citation: LeCun, Y., Bottou, L., Bengio, Y. and Haffner, P. (1998). Gradient-based learning applied to document
recognition. Proceedings of the IEEE, 86(11), 2278-2324.
""",
)

_CIFAR10 = _Source(
    title="CIFAR-10",
    filename="cifar10.npz",
    image_shape=(32, 32, 3),
    target_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    download=partial(_from_torchvision, "CIFAR10"),
    description="""\
CIFAR-10: small photographs of objects
--------------------------------------
What: colour images of 32 x 32 pixels, uint8, red, green and blue last, of ten kinds of vehicles and animals.
Sizes: 50,000 training images and 10,000 test images, 5,000 and 1,000 a class.
Origin: a part of the 80 Million Tiny Images, collected from the web and labelled by hand by A. Krizhevsky, V. Nair and
G. Hinton.
Licence: none stated.
Citation: Krizhevsky, A. (2009). Learning multiple layers of features from tiny images. Technical report, University of
Toronto.
""",
)


def fetch_mnist(*, data_home=None, subset="train", download_if_missing=True, return_X_y=False):
    """Load MNIST, 70,000 grey images of handwritten digits.

    The data are read from `mnist.npz` in the data folder, which is downloaded through torchvision if it is not there.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of the file. By default :func:`sklearn.datasets.get_data_home` says: `SCIKIT_LEARN_DATA` in the
        environment, or `~/scikit_learn_data`.
    subset : {"train", "test", "all"}, default="train"
        The 60,000 training images, the 10,000 test images, or both in this order.
    download_if_missing : bool, default=True
        If False, a missing file is an error instead.
    return_X_y : bool, default=False
        If True, return `(images, target)` instead of a Bunch.

    Returns
    -------
    dataset : :class:`sklearn.utils.Bunch`
        With the attributes

        images : ndarray of uint8 of shape (n_images, 28, 28)
            From 0, the background, to 255.
        target : ndarray of int64 of shape (n_images,)
            The digits.
        target_names : ndarray of str of shape (10,)
            The digits as strings.
        DESCR : str
            Origin, sizes, licence and citation.

    (images, target) : tuple if `return_X_y` is True

    Raises
    ------
    ValueError
        If `subset` is none of the three, or if the file is damaged or not that of MNIST.
    OSError
        If the file is not there and is not to be downloaded, or cannot be.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner (1998). Gradient-based learning applied to document recognition. Proceedings of
    the IEEE, 86(11), 2278-2324.

    Examples
    --------
    A file put there by hand is read like the one that is downloaded, and may hold fewer images:

    >>> import numpy as np, tempfile
    >>> images, labels = np.zeros((3, 28, 28), dtype=np.uint8), np.array([7, 2, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/mnist.npz", x_train=images, y_train=labels, x_test=images[:1], y_test=labels[:1],
    ...              label_names=list("0123456789"))
    ...     digits = fetch_mnist(data_home=folder)
    >>> digits.images.shape, digits.target
    ((3, 28, 28), array([7, 2, 1]))
    """
    return _fetch(
        _MNIST, data_home=data_home, subset=subset, download_if_missing=download_if_missing, return_X_y=return_X_y
    )


def fetch_cifar10(*, data_home=None, subset="train", download_if_missing=True, return_X_y=False):
    """Load CIFAR-10, 60,000 colour photographs of ten kinds of vehicles and animals.

    The data are read from `cifar10.npz` in the data folder, which is downloaded through torchvision if it is not there.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of the file. By default :func:`sklearn.datasets.get_data_home` says: `SCIKIT_LEARN_DATA` in the
        environment, or `~/scikit_learn_data`.
    subset : {"train", "test", "all"}, default="train"
        The 50,000 training images, the 10,000 test images, or both in this order.
    download_if_missing : bool, default=True
        If False, a missing file is an error instead.
    return_X_y : bool, default=False
        If True, return `(images, target)` instead of a Bunch.

    Returns
    -------
    dataset : :class:`sklearn.utils.Bunch`
        With the attributes

        images : ndarray of uint8 of shape (n_images, 32, 32, 3)
            Red, green and blue, from 0 to 255.
        target : ndarray of int64 of shape (n_images,)
            Index of each image's class in `target_names`.
        target_names : ndarray of str of shape (10,)
            Names of the classes.
        DESCR : str
            Origin, sizes, licence and citation.

    (images, target) : tuple if `return_X_y` is True

    Raises
    ------
    ValueError
        If `subset` is none of the three, or if the file is damaged or not that of CIFAR-10.
    OSError
        If the file is not there and is not to be downloaded, or cannot be.

    References
    ----------
    Krizhevsky (2009). Learning multiple layers of features from tiny images. Technical report, University of Toronto.

    Examples
    --------
    A file put there by hand is read like the one that is downloaded, and may hold fewer images:

    >>> import numpy as np, tempfile
    >>> images, labels = np.zeros((2, 32, 32, 3), dtype=np.uint8), np.array([3, 8])
    >>> names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/cifar10.npz", x_train=images, y_train=labels, x_test=images, y_test=labels,
    ...              label_names=names)
    ...     photographs = fetch_cifar10(data_home=folder, subset="test")
    >>> photographs.target_names[photographs.target].tolist()
    ['cat', 'ship']
    """
    return _fetch(
        _CIFAR10, data_home=data_home, subset=subset, download_if_missing=download_if_missing, return_X_y=return_X_y
    )
