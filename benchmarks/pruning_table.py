"""What pruning leaves on digits over a grid of breadth and depth pressures.

    python benchmarks/pruning_table.py [--seeds 3] [--pressures 0 0.3 1] [--keep 0.98 0.99]

Pruned on the training images; accuracy is that on test images, which neither training nor pruning saw.
"""

import argparse
import copy
from itertools import product

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier


def one_fit(seed, keeps, pressures):
    """A row for each share of accuracy to keep."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=seed)
    full = LatticeClassifier(compact_every=None, random_state=seed, **pressures).fit(X_train, y_train)
    rows = []
    for keep in keeps:
        pruned = copy.deepcopy(full).prune(X_train, y_train, keep=keep)
        rows.append(
            {
                "breadth": full.breadth_pressure,
                "depth": full.depth_pressure,
                "keep": keep,
                "before": full.score(X_test, y_test),
                "after": pruned.score(X_test, y_test),
                "macs": pruned.macs_per_image_ / full.macs_per_image_,
                "channels": pruned.channels_used_,
                "layers": pruned.layers_used_,
                "steps": pruned.lattice_.steps_left,
            }
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pressures", type=float, nargs="+", default=[0.0, 0.3, 1.0])
    parser.add_argument("--time-pressure", type=float, default=0.0)
    parser.add_argument("--keep", type=float, nargs="+", default=[0.98, 0.99])
    parser.add_argument("--n-jobs", type=int, default=2)
    args = parser.parse_args()
    cells = [
        {"breadth_pressure": breadth, "depth_pressure": depth, "time_pressure": args.time_pressure}
        for breadth, depth in product(args.pressures, repeat=2)
    ]
    fits = Parallel(args.n_jobs, verbose=5)(
        delayed(one_fit)(seed, args.keep, cell) for cell, seed in product(cells, range(args.seeds))
    )
    frame = pd.DataFrame(np.concatenate([pd.DataFrame(rows).to_numpy() for rows in fits]), columns=list(fits[0][0]))
    print(f"mean of {args.seeds} seeds, time_pressure={args.time_pressure}")
    print(frame.groupby(["keep", "breadth", "depth"]).mean().round(4).to_string())


if __name__ == "__main__":
    main()
