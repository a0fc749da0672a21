"""Images, a fitted lattice and a sweep to draw."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from growlattice import LatticeClassifier

SHAPES = [(3, 9, 7), (3, 9, 7, 1), (3, 9, 7, 3), (3, 9, 7, 4), (3, 1, 9, 7), (3, 3, 9, 7), (3, 4, 9, 7)]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def images():
    digits = load_digits(n_class=3)
    return digits.images[:150], np.array(["zero", "one", "two"])[digits.target[:150]]


@pytest.fixture(scope="session")
def fitted(images):
    return LatticeClassifier(max_channels=4, max_layers=2, max_steps=3, max_epochs=6, random_state=0).fit(*images)


@pytest.fixture
def sweep():
    pressures = [(breadth, time) for breadth in (0.0, 1.0) for time in (0.0, 0.5, 2.0)]
    frame = pd.DataFrame(pressures, columns=["breadth_pressure", "time_pressure"])
    frame["accuracy"] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.45]
    frame["macs_per_image"] = [60, 50, 40, 45, 30, 30]
    return frame.sample(frac=1, random_state=0)


def to_channels_last(images):
    if images.ndim == 3:
        return images[..., None]
    return images if images.shape[3] in (1, 3, 4) else np.moveaxis(images, 1, 3)
