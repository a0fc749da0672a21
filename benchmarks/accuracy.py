"""Accuracy of LatticeClassifier with its defaults, and beside other classifiers.

    python benchmarks/accuracy.py digits mnist cifar10 [--seeds 3] [--cifar-images 5000] [--cifar-epochs 30]

MNIST and CIFAR-10 are read from scikit-learn's data folder (SCIKIT_LEARN_DATA) or downloaded. Prints one row per fit.
"""

import argparse
import time

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from skorch import NeuralNetClassifier
from torch import nn

from growlattice import LatticeClassifier
from growlattice.datasets import fetch_cifar10, fetch_mnist


def digits(seed):
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, stratify=y, random_state=seed)


def mnist(seed, n_images=6000):
    (X, y), (X_test, y_test) = (fetch_mnist(subset=subset, return_X_y=True) for subset in ("train", "test"))
    rows = np.random.RandomState(seed).permutation(len(X))[:n_images]
    return X[rows], X_test, y[rows], y_test


def cifar10(seed, n_images):
    (X, y), (X_test, y_test) = (fetch_cifar10(subset=subset, return_X_y=True) for subset in ("train", "test"))
    rows = np.random.RandomState(seed).permutation(len(X))[:n_images]
    return X[rows], X_test, y[rows], y_test


class PlainCNN(nn.Module):
    """Three convolutions with pooling, as wide as it takes for `n_parameters`."""

    def __init__(self, n_channels=3, n_classes=10, n_parameters=30000):
        super().__init__()
        width = int((n_parameters / 45) ** 0.5)  # 9 w^2 * (1 + 4) parameters, about
        self.layers = nn.Sequential(
            nn.Conv2d(n_channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 4 * width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(4 * width, n_classes),
        )  # fmt: skip

    def forward(self, images):
        return self.layers(images)


def fit_and_report(name, classifier, data, size=None):
    X, X_test, y, y_test = data
    start = time.perf_counter()
    classifier.fit(X, y)
    seconds = time.perf_counter() - start
    print(f"{name:32s} accuracy {classifier.score(X_test, y_test):.4f}  fit {seconds:6.1f} s  {size or ''}", flush=True)
    return classifier


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", choices=["digits", "mnist", "cifar10"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cifar-images", type=int, default=5000)
    parser.add_argument("--cifar-epochs", type=int, default=30)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for seed in range(args.seeds):
        if "digits" in args.data:
            fit_and_report(f"digits, seed {seed}", LatticeClassifier(n_threads=None, random_state=seed), digits(seed))
        if "mnist" in args.data:
            classifier = LatticeClassifier(image_size=14, n_threads=None, random_state=seed)
            fit_and_report(f"mnist 6000 at 14x14, seed {seed}", classifier, mnist(seed))
        if "cifar10" in args.data:
            compare_on_cifar10(cifar10(seed, args.cifar_images), args.cifar_epochs, seed)


def compare_on_cifar10(data, max_epochs, seed):
    X, X_test, y, y_test = data
    lattice = LatticeClassifier(max_epochs=max_epochs, n_threads=None, random_state=seed)
    fit_and_report(f"cifar10 lattice, seed {seed}", lattice, data, f"{len(X)} images")
    n_parameters = lattice.n_parameters_
    floats = [images.transpose(0, 3, 1, 2).astype(np.float32) / 255 - 0.5 for images in (X, X_test)]
    torch.manual_seed(seed)
    cnn = NeuralNetClassifier(
        PlainCNN, module__n_parameters=n_parameters, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW,
        lr=3e-3, max_epochs=max_epochs, batch_size=32, iterator_train__shuffle=True, train_split=None, verbose=0,
    )  # fmt: skip
    fit_and_report(
        f"cifar10 plain CNN, seed {seed}", cnn, (floats[0], floats[1], y, y_test), f"{n_parameters} parameters"
    )
    flat = [images.reshape(len(images), -1) for images in (X, X_test)]
    mlp = make_pipeline(MinMaxScaler(), MLPClassifier(early_stopping=True, random_state=seed))
    fit_and_report(f"cifar10 MLPClassifier, seed {seed}", mlp, (flat[0], flat[1], y, y_test))


if __name__ == "__main__":
    main()
