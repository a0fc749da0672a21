"""Searches of 16 fits on digits: with one worker, of one thread and of two, with two workers, and from a full memory.

    python benchmarks/search.py [--repeats 3] [--epochs 10]

One worker whose fits take one thread, one whose fits take two, and two (loky) whose fits take one alternate in one run,
each on an empty memory; then each search is run again on its memory. Also: the time to hash 50,000 images of 32x32x3.
"""

import argparse
import hashlib
import tempfile
import time

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from growlattice import LatticeClassifier
from growlattice._storage._key import update_with_array

GRID = {"time_pressure": [0.0, 0.1, 0.3, 1.0], "depth_pressure": [0.0, 0.3]}


def seconds(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def search(folder, n_jobs, n_threads, epochs):
    X, y = load_digits(return_X_y=True)
    clf = LatticeClassifier(max_epochs=epochs, n_threads=n_threads, random_state=0, memory=folder)
    GridSearchCV(clf, GRID, cv=2, n_jobs=n_jobs, refit=False).fit(X, y)


def measure(repeats=3, n_epochs=10, n_images=50000):
    """Rows of training, of reading, and of hashing so many images; ratios are of seconds in the same round."""
    one, threads, workers = ways = [(1, 1), (1, 2), (2, 1)]  # n_jobs, n_threads
    trained, read = {way: [] for way in ways}, {way: [] for way in ways}
    search(tempfile.mkdtemp(), 2, 1, 1)  # starts the workers
    for _ in range(repeats):
        for way in ways:
            folder = tempfile.mkdtemp()
            trained[way].append(seconds(search, folder, *way, n_epochs))
            read[way].append(seconds(search, folder, *way, n_epochs))
    rows = [
        {"what": "16 fits", "seconds": np.median(trained[one])},
        compare("16 fits, n_threads=2", trained[threads], "one thread", trained[one]),
        compare("16 fits, n_jobs=2", trained[workers], "two threads", trained[threads]),
        compare("16 fits from memory", read[one], "training them", trained[one]),
        compare("16 fits from memory, n_jobs=2", read[workers], "training them", trained[workers]),
    ]
    images = np.random.RandomState(0).randint(0, 256, size=(n_images, 32, 32, 3), dtype=np.uint8)
    for order, array in (("last", images), ("first", images.transpose(0, 3, 1, 2))):
        hashing = seconds(update_with_array, hashlib.blake2b(), array)
        rows.append({"what": f"hashing {n_images:,} images of 32x32x3, channels {order}", "seconds": hashing})
    return rows


def compare(what, taken, beside, others):
    ratios = np.array(others) / np.array(taken)
    return {
        "what": what,
        "seconds": np.median(taken),
        "times faster": np.median(ratios),
        "than": beside,
        "lowest": ratios.min(),
        "highest": ratios.max(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.repeats} repeats, {args.epochs} epochs")
    rows = measure(args.repeats, args.epochs)
    print(pd.DataFrame(rows).to_string(index=False, na_rep="", float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
