"""Data sets that torchvision has: downloaded through it once, and kept as one .npz file."""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.datasets import get_data_home

from ._files import ensure_file
from ._labelled_images import SUBSETS, check_subset, layout, read_dataset


def _download(folder, source):
    """Download a data set of torchvision's into a folder and return a dict of the arrays of KEYS."""
    from torchvision import datasets

    arrays = {"label_names": np.array(source.label_names)}
    with warnings.catch_warnings():
        # NumPy 2.4 on the pickles of CIFAR-10: https://github.com/pytorch/vision/issues/9340
        warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
        for part in SUBSETS["all"]:
            dataset = getattr(datasets, source.torchvision_name)(folder, train=part == "train", download=True)
            arrays |= {f"x_{part}": np.asarray(dataset.data), f"y_{part}": np.asarray(dataset.targets)}
    return arrays


def fetch_from_torchvision(source, data_home, subset, download_if_missing, return_X_y):
    """Find, download if need be, and read a data set that torchvision has."""
    check_subset(subset)
    path = Path(get_data_home(data_home)) / source.filename
    ensure_file(path, source.title, layout(source), partial(_download, source=source), download_if_missing)
    return read_dataset(path, source, subset, return_X_y)
