"""What pruning leaves on digits over a grid of breadth and depth pressures.

    python benchmarks/pruning_table.py [--seeds 3] [--pressures 0 0.3 1 3]

Pruned on the training images; accuracy is that on test images, which neither training nor pruning saw.
"""

import argparse
from itertools import product

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier


def one_fit(seed, keep, **pressures):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=seed)
    clf = LatticeClassifier(random_state=seed, **pressures).fit(X_train, y_train)
    macs, before = clf.macs_per_image_, clf.score(X_test, y_test)
    clf.prune(X_train, y_train, keep=keep)
    after, steps = clf.score(X_test, y_test), clf.lattice_.steps_left
    return before, after, clf.macs_per_image_ / macs, clf.channels_used_, clf.layers_used_, steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pressures", type=float, nargs="+", default=[0.0, 0.3, 1.0, 3.0])
    parser.add_argument("--time-pressure", type=float, default=0.0)
    parser.add_argument("--keep", type=float, default=0.98)
    parser.add_argument("--pairs", type=float, nargs="+", help="breadth and depth pressures, instead of a grid")
    args = parser.parse_args()
    print("breadth  depth   before   after    macs  channels  layers  steps   (mean of seeds)")
    grid = product(args.pressures, repeat=2)
    if args.pairs:
        grid = zip(args.pairs[::2], args.pairs[1::2], strict=True)
    for breadth, depth in grid:
        pressures = {"breadth_pressure": breadth, "depth_pressure": depth, "time_pressure": args.time_pressure}
        rows = [one_fit(seed, args.keep, **pressures) for seed in range(args.seeds)]
        before, after, macs, channels, layers, steps = np.mean(rows, axis=0)
        print(
            f"{breadth:7g} {depth:6g} {before:8.4f} {after:7.4f} {macs:7.3f} "
            f"{channels:9.1f} {layers:7.1f} {steps:6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
