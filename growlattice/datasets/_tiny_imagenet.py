"""Tiny ImageNet: small photographs of two hundred kinds of things, decoded from its official zip file once a size."""

from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.datasets import get_data_home

from . import _tiny_imagenet_zip as official
from ._files import check_download_wanted, check_there, download_errors, new_file
from ._labelled_images import Source, check_subset, read_dataset

DESCRIPTION = """\
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


def _find_zip(folder, download_if_missing):
    """Path of Tiny ImageNet's zip file in the data folder, where it is downloaded to unless it is there."""
    path = folder / official.FILENAME
    if not path.exists():
        by_hand = f"the file {official.URL}, or give source=its path elsewhere, or the folder that it unpacks to"
        check_download_wanted(path, by_hand, download_if_missing)
        from torchvision.datasets.utils import download_url

        with new_file(path) as new, download_errors(path, "Tiny ImageNet", by_hand):
            download_url(official.URL, str(new.parent), new.name, official.MD5)
    return path


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
    >>> train = dict(x_train=images, y_train=labels, label_names=names)
    >>> test = dict(x_test=images, y_test=labels)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/tiny_imagenet_8.npz", **train, **test)
    ...     photographs = fetch_tiny_imagenet(data_home=folder, image_size=8)
    >>> photographs.images.shape, photographs.target_names[photographs.target].tolist()
    ((2, 8, 8, 3), ['kind 0', 'kind 199'])
    """
    check_subset(subset)
    if not (isinstance(image_size, Integral) and 1 <= image_size <= official.SIZE):
        raise ValueError(f"image_size={image_size!r} must be an int from 1 to 64, the size of the official images.")
    image_size = int(image_size)
    dataset = Source(
        title="Tiny ImageNet",
        filename=f"tiny_imagenet_{image_size}.npz",
        image_shape=(image_size, image_size, 3),
        n_classes=official.N_CLASSES,
        description=DESCRIPTION,
    )
    path = Path(get_data_home(data_home)) / dataset.filename
    if not path.exists():
        if source is None:
            source = _find_zip(path.parent, download_if_missing)
        check_there("source", source)
        with new_file(path) as new:
            np.savez(new, **official.read_tiny_imagenet(Path(source), image_size))
    return read_dataset(path, dataset, subset, return_X_y)
