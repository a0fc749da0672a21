"""Whole fits and a search, eager and compiled, in float32 and bfloat16: seconds, and what it does to accuracy.

    python -m benchmarks.compiled_fits seconds [--images 5000] [--epochs 30] [--out FILE]
    python -m benchmarks.compiled_fits search [--fits 24] [--images 5000] [--epochs 30]
    python -m benchmarks.compiled_fits accuracy [--seeds 3] [--data digits mnist cifar10] [--out FILE]

MNIST at 14x14 and the default lattice of 16 channels, 4 layers and 4 steps; CIFAR-10 at 16x16 for accuracy. "cold" is
with an empty cache of torch's on disk and "warm" with what the cold fit left there; each fit has a process of its own,
with one thread. Prices are 2, 2 and 0.2. Seconds are of the CPU, with those of C++ compilers and without imports. A
search draws its prices at random and runs n_jobs=2; its seconds are those on the wall.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from . import cpu_seconds

WAYS = {
    "eager float32": dict(compile=False),
    "compiled float32": dict(compile=True),
    "compiled bfloat16": dict(compile=True, precision="bfloat16"),
    "eager bfloat16": dict(compile=False, precision="bfloat16"),
}
PRICED = dict(breadth_pressure=2.0, depth_pressure=2.0, time_pressure=0.2)
CACHE = "TORCHINDUCTOR_CACHE_DIR"


def load(data, n_images):
    """X_train, X_test, y_train, y_test, and what the lattice needs to know of them."""
    if data == "digits":
        return *train_test_split(*load_digits(return_X_y=True), random_state=0), dict(max_epochs=30)
    from growlattice.datasets import fetch_cifar10, fetch_mnist

    X, y = (fetch_mnist if data == "mnist" else fetch_cifar10)(return_X_y=True)
    parts = X[:n_images], X[n_images : n_images + 5000], y[:n_images], y[n_images : n_images + 5000]
    return *parts, dict(max_epochs=12, image_size=14 if data == "mnist" else 16)


def fit_once(data, n_images, way, seed=0, **options):
    """Seconds of CPU of one fit in this process, its accuracy and what is left."""
    from growlattice import LatticeClassifier

    X, X_test, y, y_test, of_data = load(data, n_images)
    clf = LatticeClassifier(**of_data | WAYS[way] | options, n_threads=1, random_state=seed)
    start = cpu_seconds()
    clf.fit(X, y)
    taken = cpu_seconds() - start
    row = dict(data=data, way=way, seed=seed, seconds=taken, accuracy=clf.score(X_test, y_test))
    return row | dict(channels=sum(clf.lattice_.channels_left), epochs_compiled=int(clf.history_["compiled"].sum()))


def fit_in_process(cache, *args, **options):
    """The same in a process of its own, with a cache folder of torch's."""
    fit = f"fit_once(*{args!r}, **{options!r})"
    code = f"import json; from benchmarks.compiled_fits import fit_once; print(json.dumps({fit}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {CACHE: cache, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure_seconds(n_images, n_epochs, data="mnist"):
    """A row for each way, cold and warm, without prices and with them."""
    for prices in ({}, PRICED):
        first = None
        for way in list(WAYS)[:3]:
            with tempfile.TemporaryDirectory() as cache:
                for state in ("cold", "warm")[: 1 + way.startswith("compiled")]:
                    row = fit_in_process(cache, data, n_images, way, max_epochs=n_epochs, **prices)
                    first = first or row["seconds"]
                    yield row | dict(priced=bool(prices), cache=state, share=row["seconds"] / first)


def search_seconds(n_fits, n_images, n_epochs, data="mnist"):
    """Seconds on the wall of many fits with prices, two at a time, for eager float32 and compiled bfloat16."""
    prices = [dict(zip(PRICED, row, strict=True)) for row in np.random.default_rng(0).uniform(0, 2, (n_fits, 3))]
    for way in ("eager float32", "compiled bfloat16"):
        with tempfile.TemporaryDirectory() as cache:
            os.environ[CACHE] = cache
            start = time.perf_counter()
            rows = Parallel(n_jobs=2)(
                delayed(fit_once)(data, n_images, way, max_epochs=n_epochs, **price) for price in prices
            )
            taken = time.perf_counter() - start
            accuracy = np.mean([row["accuracy"] for row in rows])
            yield dict(way=way, fits=n_fits, wall=taken, accuracy=accuracy)


def measure_accuracy(data, n_seeds, n_images):
    """A row for each data set, seed and precision, compiled."""
    for name in data:
        for seed in range(n_seeds):
            for way in ("compiled float32", "compiled bfloat16"):
                yield fit_once(name, n_images, way, seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["seconds", "search", "accuracy"])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--fits", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", nargs="+", choices=["digits", "mnist", "cifar10"], default=["digits", "mnist"])
    parser.add_argument("--out", help="write the rows as CSV")
    args = parser.parse_args()
    if args.what == "seconds":
        found = measure_seconds(args.images, args.epochs)
    elif args.what == "search":
        found = search_seconds(args.fits, args.images, args.epochs)
    else:
        found = measure_accuracy(args.data, args.seeds, args.images)
    rows = []
    for row in found:
        rows.append(row)
        print(*(f"{name}={value}" for name, value in row.items()), flush=True)
        if args.out:
            pd.DataFrame(rows).to_csv(args.out, index=False)
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
