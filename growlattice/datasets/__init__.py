"""Real images, and what people say of them, as arrays in scikit-learn's fetch_ convention.

Each data set is one .npz file in scikit-learn's data folder, downloaded through torchvision the first time. A file that
is damaged, or is not what its name says, is refused: zip's checksums cover every byte that is read.
"""

from ._cifar10 import fetch_cifar10
from ._cifar10h import fetch_cifar10h
from ._mnist import fetch_mnist
from ._tiny_imagenet import fetch_tiny_imagenet

__all__ = ["fetch_cifar10", "fetch_cifar10h", "fetch_mnist", "fetch_tiny_imagenet"]
