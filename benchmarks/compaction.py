"""How much time compaction saves in training, and what it changes: the same fit with it and without, alternating.

    python benchmarks/compaction.py [--data-home FOLDER]

One fit of each kind for each seed at pressures that empty most of the lattice, each pruned afterwards; then short fits
without pressures, where compaction finds nothing to remove and must cost nothing.
"""

import argparse
import platform
import time

import numpy as np
import torch

from growlattice import LatticeClassifier
from growlattice.datasets import fetch_mnist

PRESSURES = dict(breadth_pressure=3.0, depth_pressure=3.0, time_pressure=0.3)


def timed_fit(X, y, **parameters):
    """A fitted lattice and the seconds that training took."""
    start = time.perf_counter()
    clf = LatticeClassifier(image_size=14, **parameters).fit(X, y)
    return clf, time.perf_counter() - start


def with_and_without(X, y, X_test, y_test, seed, n_epochs):
    """Print one fit of each kind; returns the ratio of their seconds, and the difference of their accuracies."""
    seconds, accuracies = [], []
    for compact_every in (1, None) if seed % 2 else (None, 1):
        clf, taken = timed_fit(X, y, compact_every=compact_every, max_epochs=n_epochs, random_state=seed, **PRESSURES)
        accuracy, left, macs = clf.score(X_test, y_test), clf.channel_mask_.sum(axis=1), clf.macs_per_image_
        clf.prune(X, y)
        print(
            f"seed {seed} compact_every={compact_every}: {taken:.0f} s, test accuracy {accuracy:.4f}, channels "
            f"{left.tolist()}, {macs:,} multiply-accumulates; pruned: {clf.channel_mask_.sum(axis=1).tolist()}, "
            f"{clf.lattice_.steps_left} steps, {clf.macs_per_image_:,}, {clf.score(X_test, y_test):.4f}",
            flush=True,
        )
        seconds.append(taken if compact_every else -taken)
        accuracies.append(accuracy if compact_every else -accuracy)
    return max(seconds) / -min(seconds), sum(accuracies)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-home")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads")

    X, y = fetch_mnist(data_home=options.data_home, return_X_y=True)
    X, y = X[: options.images], y[: options.images]
    X_test, y_test = fetch_mnist(data_home=options.data_home, subset="test", return_X_y=True)
    pairs = [with_and_without(X, y, X_test, y_test, seed, options.epochs) for seed in range(options.seeds)]
    ratios, differences = np.transpose(pairs)
    print(f"with pressures: {np.median(ratios):.2f} of the time ({ratios.min():.2f} to {ratios.max():.2f})")
    print(f"test accuracy: {100 * differences.mean():+.2f} points ({np.round(100 * differences, 2).tolist()})")

    seconds = {None: [], 1: []}
    for seed in range(5):
        for compact_every in (None, 1):
            _, taken = timed_fit(X[:1000], y[:1000], compact_every=compact_every, max_epochs=2, random_state=seed)
            seconds[compact_every].append(taken)
    ratios = np.divide(seconds[1], seconds[None])
    whole = np.median(seconds[1]) / np.median(seconds[None])
    print(f"without pressures: {whole:.3f} of the time (paired {ratios.min():.3f} to {ratios.max():.3f})")


if __name__ == "__main__":
    main()
