"""MNIST: handwritten digits."""

from ._labelled_images import Source
from ._torchvision import fetch_from_torchvision

DIGITS = tuple("0123456789")
MNIST = Source(
    title="MNIST",
    filename="mnist.npz",
    image_shape=(28, 28),
    n_classes=len(DIGITS),
    torchvision_name="MNIST",
    label_names=DIGITS,
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
    >>> train = dict(x_train=images, y_train=labels, label_names=list("0123456789"))
    >>> test = dict(x_test=images[:1], y_test=labels[:1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/mnist.npz", **train, **test)
    ...     digits = fetch_mnist(data_home=folder)
    >>> digits.images.shape, digits.target
    ((3, 28, 28), array([7, 2, 1]))
    """
    return fetch_from_torchvision(MNIST, data_home, subset, download_if_missing, return_X_y)
