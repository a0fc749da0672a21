"""CIFAR-10: small photographs of objects."""

from ._labelled_images import Source
from ._torchvision import fetch_from_torchvision

CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10 = Source(
    title="CIFAR-10",
    filename="cifar10.npz",
    image_shape=(32, 32, 3),
    n_classes=len(CIFAR10_NAMES),
    torchvision_name="CIFAR10",
    label_names=CIFAR10_NAMES,
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
    >>> names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    >>> train = dict(x_train=images, y_train=labels, label_names=names)
    >>> test = dict(x_test=images, y_test=labels)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/cifar10.npz", **train, **test)
    ...     photographs = fetch_cifar10(data_home=folder, subset="test")
    >>> photographs.target_names[photographs.target].tolist()
    ['cat', 'ship']
    """
    return fetch_from_torchvision(CIFAR10, data_home, subset, download_if_missing, return_X_y)
