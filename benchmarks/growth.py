"""Lattices that grow from a small start, beside those that have their full size from the first epoch.

    python -m benchmarks.growth [--out FILE] [--data digits mnist cifar10] [--seeds 3] [--bounds 28,5,5]
        [--draws] [--alone]

For each data set, bound and seed, with prices of 2, 2 and 0.2 and without: "full" from the start; "full, shorter", as
many epochs of it as come next to the multiply-accumulates of the grown one; "grown" from 8 x 2 x 2 with fresh channels;
and, with --draws, the same with channels drawn in other ways: "grown, tiny", "grown, GradMax", "grown, random" and
"grown, edge by gain", for which see benchmarks/growth_draws.py. With --alone, only "grown", as for bounds that double.
Digits are split 75 to 25; MNIST is 3,000 images at 14x14, tested on 4,000 others;
CIFAR-10 is 5,000 at 16x16, tested on 5,000.
A fit that is already in FILE is not done again.
"""

import argparse
import itertools
import os
from contextlib import nullcontext

import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier
from growlattice.datasets import fetch_cifar10, fetch_mnist

from . import cpu_seconds
from .growth_draws import DRAWS, drawing

PRICED = dict(breadth_pressure=2.0, depth_pressure=2.0, time_pressure=0.2)
START, EPOCHS = (8, 2, 2), 30
IMAGE_SIZE = {"digits": None, "mnist": 14, "cifar10": 16}
OTHER_DRAWS = ["grown, tiny", *(f"grown, {name}" for name in DRAWS)]
CASE = ["data", "priced", "bound", "seed", "method"]


def read(data):
    """X_train, X_test, y_train, y_test."""
    if data == "digits":
        return train_test_split(*load_digits(return_X_y=True), random_state=0)
    if data == "mnist":
        X, y = fetch_mnist(return_X_y=True)
        return X[:3000], X[3000:7000], y[:3000], y[3000:7000]
    X, y = fetch_cifar10(return_X_y=True)
    X_test, y_test = fetch_cifar10(subset="test", return_X_y=True)
    return X[:5000], X_test[:5000], y[:5000], y_test[:5000]


def fitted_row(data, priced, bound, seed, method, n_epochs):
    """What one fit comes to."""
    X_train, X_test, y_train, y_test = read(data)
    n_channels, n_layers, n_steps = bound
    grown, _, draw = method.partition(", ")
    clf = LatticeClassifier(
        **(PRICED if priced else {}),
        max_channels=n_channels,
        max_layers=n_layers,
        max_steps=n_steps,
        grow_from=START if grown == "grown" else None,
        growth="tiny" if method in OTHER_DRAWS else "fresh",
        max_epochs=n_epochs,
        image_size=IMAGE_SIZE[data],
        random_state=seed,
    )
    began = cpu_seconds()
    with drawing(draw) if draw in DRAWS else nullcontext():
        clf.fit(X_train, y_train)
    seconds = cpu_seconds() - began
    return {
        **dict(data=data, priced=priced, bound=" x ".join(map(str, bound)), seed=seed, method=method, epochs=n_epochs),
        **dict(seconds=seconds, train_macs=clf.train_macs_, accuracy=clf.score(X_test, y_test)),
        **dict(channels=" ".join(map(str, clf.lattice_.channels_left)), total=sum(clf.lattice_.channels_left)),
        **dict(steps=clf.lattice_.steps_left, macs=clf.macs_per_image_),
    }


def epochs_of_equal_compute(full, grown):
    """How many epochs of a fit of full size cost what the grown one cost, from the rows of both."""
    return max(1, round(full["epochs"] * grown["train_macs"] / full["train_macs"]))


def measure(data, bounds, n_seeds, priced=(True, False), n_epochs=EPOCHS, out=None, draws=(), alone=False):
    """A row for each fit."""
    rows = pd.read_csv(out).to_dict("records") if out and os.path.exists(out) else []

    def row(*case, epochs=n_epochs):
        named = dict(zip(CASE, (*case[:2], " x ".join(map(str, case[2])), *case[3:]), strict=True))
        for done in rows:
            if all(done[name] == value for name, value in named.items()):
                return done
        rows.append(fitted_row(*case, epochs))
        print(*rows[-1].values(), flush=True)
        if out:
            pd.DataFrame(rows).to_csv(out, index=False)
        return rows[-1]

    for case in itertools.product(data, priced, bounds, range(n_seeds)):
        grown = row(*case, "grown")
        if alone:
            continue
        full = row(*case, "full")
        row(*case, "full, shorter", epochs=epochs_of_equal_compute(full, grown))
        for method in draws:
            row(*case, method)
    return rows


def summarize(rows):
    """Means over seeds, and seconds and multiply-accumulates of training in units of the full fit's."""
    frame = pd.DataFrame(rows)
    means = frame.groupby(CASE[:3] + ["method"], sort=False)[
        ["epochs", "seconds", "train_macs", "accuracy", "total", "steps", "macs"]
    ].mean()
    full = means[means.index.get_level_values("method") == "full"].droplevel("method")
    for name in ("seconds", "train_macs"):
        means[f"{name} of full"] = means[name] / full[name].reindex(means.index.droplevel("method")).to_numpy()
    return means.assign(seeds=frame.groupby(CASE[:3] + ["method"], sort=False).size()).reset_index()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="a csv file for the fits")
    parser.add_argument("--data", nargs="+", default=["digits", "mnist", "cifar10"], choices=list(IMAGE_SIZE))
    parser.add_argument("--bounds", nargs="+", default=["28,5,5"], help="such as 32,6,6")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--priced", nargs="+", type=int, default=[1, 0], help="1 with prices, 0 without")
    parser.add_argument("--draws", action="store_true", help="other ways to draw new channels too")
    parser.add_argument("--alone", action="store_true", help="only the lattices that grow")
    args = parser.parse_args()
    bounds = [tuple(map(int, bound.split(","))) for bound in args.bounds]
    priced, draws = [bool(priced) for priced in args.priced], OTHER_DRAWS if args.draws else ()
    rows = measure(args.data, bounds, args.seeds, priced, out=args.out, draws=draws, alone=args.alone)
    print(summarize(rows).to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
