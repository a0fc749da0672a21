"""How much time compaction saves in training, and what it changes: the same fit with it and without, alternating.

    python benchmarks/compaction.py [--data-home FOLDER]

One fit of each kind for each seed at pressures that empty most of the lattice, each pruned afterwards; then short fits
without pressures, where compaction finds nothing to remove and must cost nothing.
"""

import argparse
import platform
import time

import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier
from growlattice.datasets import fetch_mnist

PRESSURES = dict(breadth_pressure=3.0, depth_pressure=30.0)


def one_fit(data, compact_every, pressures, **parameters):
    """A row: a fit, and what pruning then leaves of it if there were pressures."""
    X, X_test, y, y_test = data
    start = time.perf_counter()
    clf = LatticeClassifier(compact_every=compact_every, n_threads=None, **pressures, **parameters).fit(X, y)
    row = {
        "pressures": "yes" if pressures else "no",
        "seed": parameters["random_state"],
        "compact_every": str(compact_every),
        "seconds": time.perf_counter() - start,
        "accuracy": clf.score(X_test, y_test),
        "channels": str(clf.channel_mask_.sum(axis=1).tolist()),
        "steps": clf.lattice_.steps_left,
        "MMAC": clf.macs_per_image_ / 1e6,
    }
    if pressures:
        clf.prune(X, y)
        row |= {"pruned accuracy": clf.score(X_test, y_test), "pruned MMAC": clf.macs_per_image_ / 1e6}
    return row


def with_and_without(data, seed, pressures, **parameters):
    """Two rows; the order of the two fits alternates with the seed."""
    rows = {
        every: one_fit(data, every, pressures, random_state=seed, **parameters)
        for every in ((1, None) if seed % 2 else (None, 1))
    }
    rows[1]["of the time"] = rows[1]["seconds"] / rows[None]["seconds"]
    return [rows[None], rows[1]]


def measure(data, n_epochs=30, n_seeds=3, n_short=5, **parameters):
    """Rows of fits with pressures, and of short ones without."""
    rows = []
    for seed in range(n_seeds):
        rows += with_and_without(data, seed, PRESSURES, max_epochs=n_epochs, **parameters)
    X, X_test, y, y_test = data
    short = X[:1000], X_test, y[:1000], y_test
    for seed in range(n_short):
        rows += with_and_without(short, seed, {}, max_epochs=2, **parameters)
    return rows


def on_digits(n_epochs, n_seeds, n_images=1000):
    """The same on scikit-learn's digits."""
    X, y = load_digits(return_X_y=True)
    data = train_test_split(X, y, train_size=n_images, stratify=y, random_state=0)
    return measure(data, n_epochs, n_seeds, n_short=n_seeds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-home")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    X, y = fetch_mnist(data_home=options.data_home, return_X_y=True)
    X_test, y_test = fetch_mnist(data_home=options.data_home, subset="test", return_X_y=True)
    data = X[: options.images], X_test, y[: options.images], y_test
    rows = measure(data, options.epochs, options.seeds, image_size=14)
    frame = pd.DataFrame(rows)
    print(frame.to_string(index=False, na_rep="", float_format="{:.4g}".format))
    for pressures, ratios in frame.groupby("pressures")["of the time"]:
        print(f"pressures {pressures}: {ratios.median():.3f} of the time ({ratios.min():.3f} to {ratios.max():.3f})")
    accuracies = frame[frame["pressures"] == "yes"].pivot(index="seed", columns="compact_every", values="accuracy")
    differences = 100 * (accuracies["1"] - accuracies["None"])
    print(f"test accuracy: {differences.mean():+.2f} points ({differences.round(2).tolist()})")


if __name__ == "__main__":
    main()
