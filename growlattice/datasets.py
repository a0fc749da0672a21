"""Real images, and what people say of them, as arrays in scikit-learn's fetch_ convention.

Each data set is one .npz file in scikit-learn's data folder, downloaded through torchvision the first time. A file that
is damaged, or is not what its name says, is refused: zip's checksums cover every byte that is read.
"""

import warnings
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import entr
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from ._files import (
    DAMAGE,
    check_download_wanted,
    check_keys,
    check_there,
    download_errors,
    ensure_file,
    is_of_the_disk,
    load,
    new_file,
    read_array,
)
from ._tiny_imagenet import (
    TINY_IMAGENET_CLASSES,
    TINY_IMAGENET_SIZE,
    TINY_IMAGENET_URL,
    TINY_IMAGENET_ZIP,
    read_tiny_imagenet,
)

__all__ = ["fetch_cifar10", "fetch_cifar10h", "fetch_mnist", "fetch_tiny_imagenet"]

SUBSETS = {"train": ("train",), "test": ("test",), "all": ("train", "test")}
KEYS = ("x_train", "y_train", "x_test", "y_test", "label_names")

DIGITS = tuple("0123456789")
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

TINY_IMAGENET_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"

CIFAR10H_URL = "https://raw.githubusercontent.com/jcpeterson/cifar-10h/master/data/cifar10h-counts.npy"
CIFAR10H_LAYOUT = "an .npz file with counts (integers, (n_images, 10), at least one answer in each row)"
TRIAL_COLUMNS = ["is_attn_check", "cifar10_test_test_idx", "reaction_time"]


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
    n_classes : int
        Number of classes.
    description : str
        What the data set is, where it comes from, its sizes and its licence.
    download : callable or None
        Takes a folder for scratch files and returns a dict of the arrays of KEYS.
    """

    title: str
    filename: str
    image_shape: tuple
    n_classes: int
    description: str
    download: Callable | None = None


def _check_subset(subset):
    if subset not in tuple(SUBSETS):
        raise ValueError(f"subset={subset!r} is not known. Give 'train', 'test' or 'all'.")


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


def _check_counts(counts):
    """Refuse counts that are not integers of shape (n_images, 10), none negative, with an answer for each image."""
    if counts.dtype.kind not in "iu":
        raise ValueError(f"counts has dtype {counts.dtype}, but integers were expected")
    if counts.shape[1:] != (len(CIFAR10_NAMES),) or counts.shape[0] == 0:
        raise ValueError(f"counts has shape {counts.shape}, but (n_images, 10) with n_images >= 1 was expected")
    if counts.min() < 0:
        raise ValueError(f"counts goes down to {counts.min()}, but numbers of answers were expected")
    if not counts.any(axis=1).all():
        raise ValueError(f"row {counts.any(axis=1).argmin()} of counts holds no answer, but at least one was expected")


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


def _read_counts(archive):
    """Read the counts of answers, int64 of shape (n_images, 10), from an open .npz archive."""
    check_keys(archive, ("counts",))
    counts = read_array(archive, "counts")
    _check_counts(counts)
    return counts.astype(np.int64)


def _from_torchvision(name, label_names, folder):
    """Download a data set of torchvision's into a folder and return its arrays."""
    from torchvision import datasets

    arrays = {"label_names": np.array(label_names)}
    with warnings.catch_warnings():
        # NumPy 2.4 on the pickles of CIFAR-10: https://github.com/pytorch/vision/issues/9340
        warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
        for part in SUBSETS["all"]:
            dataset = getattr(datasets, name)(folder, train=part == "train", download=True)
            arrays |= {f"x_{part}": np.asarray(dataset.data), f"y_{part}": np.asarray(dataset.targets)}
    return arrays


def _download_counts(folder):
    """Download CIFAR-10H's counts of answers into a folder and return them."""
    from torchvision.datasets.utils import download_url

    download_url(CIFAR10H_URL, folder, "counts.npy")
    content = np.load(Path(folder) / "counts.npy", allow_pickle=False)
    counts = content.astype(np.int64)
    if not np.array_equal(content, counts):
        raise ValueError("what came are no whole numbers")
    _check_counts(counts)
    return {"counts": counts}


def _layout(source):
    """What a file of this data set has to hold, for those who write one by hand."""
    shape = ", ".join(map(str, source.image_shape))
    return (
        f"an .npz file with x_train and x_test (uint8, (n_images, {shape})), y_train and y_test (integers from 0 to "
        f"{source.n_classes - 1}, (n_images,)) and label_names ({source.n_classes} strings)"
    )


def _read_dataset(path, source, *, subset, return_X_y):
    """Read the subset asked for of a file that is there."""
    images, target, target_names = load(path, partial(_read_images, parts=SUBSETS[subset], source=source))
    if return_X_y:
        return images, target
    return Bunch(images=images, target=target, target_names=target_names, DESCR=source.description)


def _fetch(source, *, data_home, subset, download_if_missing, return_X_y):
    """Find, download if need be, and read a data set that torchvision has."""
    _check_subset(subset)
    path = Path(get_data_home(data_home)) / source.filename
    ensure_file(path, source.title, _layout(source), source.download, download_if_missing)
    return _read_dataset(path, source, subset=subset, return_X_y=return_X_y)


def _find_tiny_imagenet_zip(folder, download_if_missing):
    """Path of Tiny ImageNet's zip file in the data folder, where it is downloaded to unless it is there."""
    path = folder / TINY_IMAGENET_ZIP
    if not path.exists():
        by_hand = f"the file {TINY_IMAGENET_URL}, or give source=its path elsewhere, or the folder that it unpacks to"
        check_download_wanted(path, by_hand, download_if_missing)
        from torchvision.datasets.utils import download_url

        with new_file(path) as new, download_errors(path, "Tiny ImageNet", by_hand):
            download_url(TINY_IMAGENET_URL, str(new.parent), new.name, TINY_IMAGENET_MD5)
    return path


@contextmanager
def _opened_csv(path):
    """Open a .csv file, or the only one in a zip file."""
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        # macOS adds a twin of each file
        names = [name for name in archive.namelist() if name.endswith(".csv") and not name.startswith("__MACOSX/")]
        if len(names) != 1:
            raise ValueError(f"it holds {len(names)} .csv files, but one was expected")
        with archive.open(names[0]) as file:
            yield file


def _summarize_trials(trials, n_images):
    """Median and mean reaction time of each image's trials, without attention checks and faulty records."""
    trials = trials[trials["is_attn_check"] == 0]
    image, time = trials["cifar10_test_test_idx"], trials["reaction_time"]
    if trials.empty:
        raise ValueError("it holds no trials but attention checks")
    if not image.isin(range(n_images)).all():
        raise ValueError(
            f"cifar10_test_test_idx goes from {image.min():g} to {image.max():g} outside attention checks, but "
            f"integers from 0 to {n_images - 1} were expected"
        )
    times = time[time > 0].groupby(image).agg(["median", "mean"]).reindex(range(n_images))
    return {"reaction_time": times["median"].to_numpy(), "mean_reaction_time": times["mean"].to_numpy()}


def _read_reaction_times(path, n_images):
    """Read the raw trials of CIFAR-10H, or say what is wrong with them.

    Returns
    -------
    dict
        `reaction_time` and `mean_reaction_time`, each of shape (n_images,), in milliseconds.
    """
    try:
        with _opened_csv(path) as file:
            trials = pd.read_csv(file, usecols=TRIAL_COLUMNS, dtype=np.float64)
        return _summarize_trials(trials, n_images)
    except (*DAMAGE, OSError) as error:
        if is_of_the_disk(error):
            raise
        raise ValueError(
            f"raw_trials={str(path)!r} cannot be used: {error}. Give CIFAR-10H's cifar10h-raw.zip or the "
            f"cifar10h-raw.csv in it, with the columns {', '.join(TRIAL_COLUMNS)}."
        ) from error


_MNIST = _Source(
    title="MNIST",
    filename="mnist.npz",
    image_shape=(28, 28),
    n_classes=len(DIGITS),
    download=partial(_from_torchvision, "MNIST", DIGITS),
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
    n_classes=len(CIFAR10_NAMES),
    download=partial(_from_torchvision, "CIFAR10", CIFAR10_NAMES),
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

_TINY_IMAGENET_DESCRIPTION = """\
Tiny ImageNet: small photographs of two hundred kinds of things
---------------------------------------------------------------
What: colour images of 64 x 64 pixels, or of fewer if they were resized, uint8, red, green and blue last, of 200 of
ImageNet's kinds of things; grey ones have three equal channels.
Sizes: 100,000 training images, 500 a class, and 10,000 test images, 50 a class. The test images are the official
validation images; the labels of the official test images are not published.
Origin: images of ImageNet, cut and scaled for a course at Stanford University.
Licence: none stated; ImageNet's terms of access allow research and education that are not commercial.
Citation: Le, Y. and Yang, X. (2015). Tiny ImageNet visual recognition challenge. CS 231N, Stanford University.
"""

_CIFAR10H_DESCRIPTION = """\
CIFAR-10H: what people see in the test images of CIFAR-10
---------------------------------------------------------
What: for each of CIFAR-10's test images, in their order, how many people chose each of its ten classes.
Sizes: 10,000 images of 47 to 63 answers, about 51 on average.
Origin: 2,571 people on Amazon Mechanical Turk, who answered 200 images and 10 attention checks each. The raw trials
are of all of them; the counts leave a few people out.
Licence: CC BY-NC-SA 4.0.
Citation: Peterson, J. C., Battleday, R. M., Griffiths, T. L. and Russakovsky, O. (2019). Human uncertainty makes
classification more robust. Proceedings of the IEEE/CVF International Conference on Computer Vision, 9617-9626.
"""


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


def fetch_cifar10h(*, data_home=None, raw_trials=None, download_if_missing=True):
    """Load CIFAR-10H, how people classified the 10,000 test images of CIFAR-10.

    The data are read from `cifar10h.npz` in the data folder, which is downloaded through torchvision if it is not
    there. Row i of every array is about image i of ``fetch_cifar10(subset="test")``.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of the file. By default :func:`sklearn.datasets.get_data_home` says: `SCIKIT_LEARN_DATA` in the
        environment, or `~/scikit_learn_data`.
    raw_trials : str or path-like, default=None
        CIFAR-10H's `cifar10h-raw.zip` or the `cifar10h-raw.csv` in it, for reaction times. It is read each time.
    download_if_missing : bool, default=True
        If False, a missing file is an error instead.

    Returns
    -------
    dataset : :class:`sklearn.utils.Bunch`
        With the attributes

        counts : ndarray of int64 of shape (n_images, 10)
            Number of people who chose each class.
        probabilities : ndarray of float64 of shape (n_images, 10)
            Their shares; each row sums to 1.
        entropy : ndarray of float64 of shape (n_images,)
            Entropy of the shares in nats: from 0, all agree, to log(10).
        reaction_time, mean_reaction_time : ndarray of float64 of shape (n_images,)
            Median and mean reaction time in milliseconds, only if `raw_trials` is given. Attention checks are left
            out, and so are times that are not above 0, of which the official file has a few; nan where no trial is
            left. Long pauses move the mean much more than the median.
        target_names : ndarray of str of shape (10,)
            Names of the classes.
        frame : :class:`pandas.DataFrame`
            A row for each image, with the columns `entropy`, `n_answers`, `label`, the class that most people chose
            (the first of equals, as an index into `target_names`), and, if `raw_trials` is given, `reaction_time` and
            `mean_reaction_time`. The true classes are those of :func:`fetch_cifar10`.
        DESCR : str
            Origin, sizes, licence and citation.

    Raises
    ------
    ValueError
        If the file or `raw_trials` is damaged or not that of CIFAR-10H.
    OSError
        If the file is not there and is not to be downloaded, or cannot be, or if `raw_trials` is not there.

    References
    ----------
    Peterson, Battleday, Griffiths and Russakovsky (2019). Human uncertainty makes classification more robust.
    Proceedings of the IEEE/CVF International Conference on Computer Vision, 9617-9626.

    Examples
    --------
    A file put there by hand is read like the one that is downloaded, and may hold fewer images:

    >>> import numpy as np, tempfile
    >>> cat, airplane_or_ship = [0, 0, 0, 50, 0, 0, 0, 0, 0, 0], [25, 0, 0, 0, 0, 0, 0, 0, 25, 0]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/cifar10h.npz", counts=[cat, airplane_or_ship])
    ...     people = fetch_cifar10h(data_home=folder)
    >>> people.frame.round(3)
       entropy  n_answers  label
    0    0.000         50      3
    1    0.693         50      0
    """
    if raw_trials is not None:
        check_there("raw_trials", raw_trials)
    path = Path(get_data_home(data_home)) / "cifar10h.npz"
    ensure_file(path, "CIFAR-10H", CIFAR10H_LAYOUT, _download_counts, download_if_missing)
    counts = load(path, _read_counts)
    n_answers = counts.sum(axis=1)
    probabilities = counts / n_answers[:, None]
    entropy = entr(probabilities).sum(axis=1)
    times = {} if raw_trials is None else _read_reaction_times(raw_trials, len(counts))
    return Bunch(
        counts=counts,
        probabilities=probabilities,
        entropy=entropy,
        **times,
        target_names=np.array(CIFAR10_NAMES),
        frame=pd.DataFrame({"entropy": entropy, "n_answers": n_answers, "label": counts.argmax(axis=1), **times}),
        DESCR=_CIFAR10H_DESCRIPTION,
    )


def fetch_tiny_imagenet(
    *, data_home=None, subset="train", image_size=64, source=None, download_if_missing=True, return_X_y=False
):
    """Load Tiny ImageNet, 110,000 colour photographs of 200 kinds of things.

    The data are read from `tiny_imagenet_64.npz` in the data folder, and for another `image_size` from a file of that
    number. If it is not there, it is made from the official `tiny-imagenet-200.zip` in the data folder, which is
    downloaded through torchvision (248 MB) if it is not there either. That takes a minute or two, up to 3 GB of memory
    and, with 64 pixels, 1.4 GB on disk. Afterwards the zip file is needed only for other sizes.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of the files. By default :func:`sklearn.datasets.get_data_home` says: `SCIKIT_LEARN_DATA` in the
        environment, or `~/scikit_learn_data`.
    subset : {"train", "test", "all"}, default="train"
        The 100,000 training images, the 10,000 official validation images, whose labels are known where those of the
        official test images are not, or both in this order.
    image_size : int, default=64
        Height and width in pixels, at most 64. Smaller images are resized with antialiasing.
    source : str or path-like, default=None
        The official zip file elsewhere, or the folder that it unpacks to. It is read only if the file of decoded images
        is not there.
    download_if_missing : bool, default=True
        If False, a file that would have to be downloaded is an error instead.
    return_X_y : bool, default=False
        If True, return `(images, target)` instead of a Bunch.

    Returns
    -------
    dataset : :class:`sklearn.utils.Bunch`
        With the attributes

        images : ndarray of uint8 of shape (n_images, image_size, image_size, 3)
            Red, green and blue, from 0 to 255.
        target : ndarray of int64 of shape (n_images,)
            Index of each image's class in `target_names`, in the order of the official `wnids.txt`.
        target_names : ndarray of str of shape (200,)
            Names of the classes, as in the official `words.txt`.
        DESCR : str
            Origin, sizes, licence and citation.

    (images, target) : tuple if `return_X_y` is True

    Raises
    ------
    ValueError
        If `subset` or `image_size` is none of those, or if a file is damaged or not that of Tiny ImageNet.
    OSError
        If `source` is not there, or if a file is not there and is not to be downloaded, or cannot be.

    References
    ----------
    Le and Yang (2015). Tiny ImageNet visual recognition challenge. CS 231N, Stanford University.

    Examples
    --------
    A file put there by hand is read like the one that is made from the zip file, and may hold fewer images:

    >>> import numpy as np, tempfile
    >>> images, labels = np.zeros((2, 8, 8, 3), dtype=np.uint8), np.array([0, 199])
    >>> names = [f"kind {label}" for label in range(200)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/tiny_imagenet_8.npz", x_train=images, y_train=labels, x_test=images, y_test=labels,
    ...              label_names=names)
    ...     photographs = fetch_tiny_imagenet(data_home=folder, image_size=8)
    >>> photographs.images.shape, photographs.target_names[photographs.target].tolist()
    ((2, 8, 8, 3), ['kind 0', 'kind 199'])
    """
    _check_subset(subset)
    if not (isinstance(image_size, Integral) and 1 <= image_size <= TINY_IMAGENET_SIZE):
        raise ValueError(f"image_size={image_size!r} must be an int from 1 to 64, the size of the official images.")
    image_size = int(image_size)
    dataset = _Source(
        title="Tiny ImageNet",
        filename=f"tiny_imagenet_{image_size}.npz",
        image_shape=(image_size, image_size, 3),
        n_classes=TINY_IMAGENET_CLASSES,
        description=_TINY_IMAGENET_DESCRIPTION,
    )
    path = Path(get_data_home(data_home)) / dataset.filename
    if not path.exists():
        if source is None:
            source = _find_tiny_imagenet_zip(path.parent, download_if_missing)
        check_there("source", source)
        with new_file(path) as new:
            np.savez(new, **read_tiny_imagenet(Path(source), image_size))
    return _read_dataset(path, dataset, subset=subset, return_X_y=return_X_y)
