"""Searches of 16 fits on digits: with one worker and two, and from a memory that holds them all.

    python benchmarks/search.py [--repeats 3] [--epochs 10]

One worker (with all of torch's threads) and two (with one thread each, loky) alternate in one run, each on an empty
memory; then each search is run again on its memory. Also: the time to hash 50,000 images of 32x32x3.
"""

import argparse
import hashlib
import tempfile
import time

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from growlattice import LatticeClassifier
from growlattice._memory import update_with_array

GRID = {"time_pressure": [0.0, 0.1, 0.3, 1.0], "depth_pressure": [0.0, 0.3]}


def seconds(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def search(folder, n_jobs, epochs):
    X, y = load_digits(return_X_y=True)
    clf = LatticeClassifier(max_epochs=epochs, random_state=0, memory=folder)
    GridSearchCV(clf, GRID, cv=2, n_jobs=n_jobs, refit=False).fit(X, y)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.repeats} repeats, {args.epochs} epochs")
    trained, read = {1: [], 2: []}, {1: [], 2: []}
    search(tempfile.mkdtemp(), 2, 1)  # starts the workers
    for _ in range(args.repeats):
        for n_jobs in (1, 2):
            folder = tempfile.mkdtemp()
            trained[n_jobs].append(seconds(search, folder, n_jobs, args.epochs))
            read[n_jobs].append(seconds(search, folder, n_jobs, args.epochs))
    one, two = (np.array(trained[n_jobs]) for n_jobs in (1, 2))
    print(
        f"16 fits: n_jobs=1 {np.median(one):.1f} s, n_jobs=2 {np.median(two):.1f} s; throughput of two workers "
        f"{np.median(one) / np.median(two):.2f} times that of one ({(one / two).min():.2f} to {(one / two).max():.2f})"
    )
    for n_jobs in (1, 2):
        shares = np.array(read[n_jobs]) / np.array(trained[n_jobs])
        print(
            f"from memory, n_jobs={n_jobs}: {np.median(read[n_jobs]):.2f} s, {np.median(shares):.2%} of the time of "
            f"training ({shares.min():.2%} to {shares.max():.2%})"
        )
    images = np.random.RandomState(0).randint(0, 256, size=(50000, 32, 32, 3), dtype=np.uint8)
    for name, array in (("channels last", images), ("channels first", images.transpose(0, 3, 1, 2))):
        hashing = seconds(update_with_array, hashlib.blake2b(), array)
        print(f"hashing 50,000 images of 32x32x3, {name}: {hashing:.2f} s")


if __name__ == "__main__":
    main()
