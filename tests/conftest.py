import os

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier


def pytest_configure():
    """Set what workers of pytest-xdist and scripts inherit."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # they share the CPU: tests/lattice takes 0.6 of the time so
    os.environ["MPLBACKEND"] = "agg"


@pytest.fixture(scope="session")
def digits():
    """X_train, X_test, y_train, y_test of scikit-learn's digits, stratified, 75 to 25."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, stratify=y, random_state=0)


@pytest.fixture
def small():
    """Two kinds of digits, and a lattice that takes a second to tell them apart."""
    X, y = load_digits(n_class=2, return_X_y=True)
    return X[:120], y[:120]


@pytest.fixture
def make_small():
    def make(**parameters):
        defaults = dict(max_channels=4, max_layers=2, max_steps=3, max_epochs=4, random_state=0)
        return LatticeClassifier(**{**defaults, **parameters})

    return make


@pytest.fixture
def random_images():
    """Bytes of shape (n_images, height, width, 3) with the label written into the mean of the first channel."""
    rng = np.random.RandomState(0)
    images = rng.randint(0, 128, size=(40, 6, 5, 3), dtype=np.uint8)
    labels = np.arange(40) % 2
    images[..., 0] += (100 * labels).astype(np.uint8)[:, None, None]
    return images, labels


@pytest.fixture
def compacting():
    """Parameters with which a small lattice loses channels, a layer and two steps after its second epoch.

    Few and low channels cost little, hence the high prices.
    """
    pressures = dict(breadth_pressure=20_000.0, depth_pressure=10_000.0, time_pressure=80.0)
    return dict(annealing=(0.0, 0.0), lr=0.006, temperature=20.0, batch_size=8, **pressures)
