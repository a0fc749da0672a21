"""What is left of a lattice under the same prices, whatever its bound: channels, layers, steps and accuracy.

    python -m benchmarks.bounds [--out FILE] [--rst FILE] [--data digits mnist] [--seeds 3] [--prices 2 5 12]
                                [--time-price 0.2] [--bounds 16,4,4 32,4,4] [--jobs 2]

For each data set, price and seed, a lattice of each bound (channels x layers x steps) is trained under the same prices
of breadth and depth, and of time. Channels left by layer after training, without pruning; the spread
is over seeds. MNIST is 1,000 images at 14x14, tested on 4,000 others; digits are split 75 to 25. A fit that is already
in FILE is not done again.
"""

import argparse
import itertools
import os
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier
from growlattice.datasets import fetch_mnist

from . import cpu_seconds

BOUNDS = ((16, 4, 4), (32, 4, 4), (16, 6, 4), (32, 6, 6))
EPOCHS = {"digits": 30, "mnist": 30}
CASE = ["data", "price", "time price", "bound", "seed"]


def as_text(bound):
    return " x ".join(map(str, bound))


def read(data):
    """X_train, X_test, y_train, y_test."""
    if data == "digits":
        return train_test_split(*load_digits(return_X_y=True), random_state=0)
    X, y = fetch_mnist(return_X_y=True)
    return X[:1000], X[1000:5000], y[:1000], y[1000:5000]


def row(data, bound, price, time_price, seed, n_epochs=None):
    """What a fit leaves."""
    X_train, X_test, y_train, y_test = read(data)
    n_channels, n_layers, n_steps = bound
    start = cpu_seconds()
    clf = LatticeClassifier(
        breadth_pressure=price,
        depth_pressure=price,
        time_pressure=time_price,
        max_channels=n_channels,
        max_layers=n_layers,
        max_steps=n_steps,
        max_epochs=n_epochs or EPOCHS[data],
        image_size=14 if data == "mnist" else None,
        random_state=seed,
    ).fit(X_train, y_train)
    left = clf.channel_mask_.sum(axis=1)
    return {
        "data": data,
        "price": price,
        "time price": time_price,
        "bound": as_text(bound),
        "seed": seed,
        **{f"layer {layer + 1}": int(left[layer]) if layer < n_layers else 0 for layer in range(6)},
        "steps": clf.lattice_.steps_left,
        "time used": clf.time_used_,
        "accuracy": clf.score(X_test, y_test),
        "seconds": cpu_seconds() - start,
    }


def measure(
    data=("digits", "mnist"),
    prices=(2, 5, 12),
    n_seeds=3,
    bounds=BOUNDS,
    time_price=0.2,
    n_epochs=None,
    out=None,
    n_jobs=1,
):
    """A row for each fit."""
    rows = pd.read_csv(out).to_dict("records") if out and os.path.exists(out) else []
    done = {tuple(row[name] for name in CASE) for row in rows}
    cases = itertools.product(data, prices, [time_price], bounds, range(n_seeds))
    cases = [case for case in cases if (*case[:3], as_text(case[3]), case[4]) not in done]
    fits = (delayed(row)(name, bound, *prices, seed, n_epochs) for name, *prices, bound, seed in cases)
    for found in Parallel(n_jobs, return_as="generator")(fits):
        rows.append(found)
        print(*found.values(), flush=True)
        if out:
            pd.DataFrame(rows).to_csv(out, index=False)
    return rows


def summarize(rows):
    """Means over seeds, by data, price and bound, and the largest standard deviation of a layer's channels."""
    frame = pd.DataFrame(rows)
    layers = [name for name in frame if name.startswith("layer")]
    grouped = frame.groupby(CASE[:-1], sort=False)
    means = grouped[[*layers, "steps", "time used", "accuracy"]].mean()
    spread = grouped[layers].std(ddof=1).max(axis=1)
    return means.assign(**{"spread": spread, "seeds": grouped.size()}).reset_index()


def as_rst(rows):
    """The table as reStructuredText."""
    lines = [
        ".. csv-table::",
        '   :header: Data, Price, Price of time, Bound, "Channels left, by layer", Spread, Steps, Accuracy, Seeds',
        "",
    ]
    for _, row in summarize(rows).iterrows():
        left = [row[name] for name in row.index if name.startswith("layer")][: int(row["bound"].split(" x ")[1])]
        cells = [
            row["data"],
            f"{row['price']:g}",
            f"{row['time price']:g}",
            row["bound"],
            ", ".join(f"{count:.1f}" for count in left),
        ]
        cells += [f"{row['spread']:.1f}", f"{row['steps']:.1f}", f"{row['accuracy']:.3f}", str(row["seeds"])]
        lines.append("   " + ", ".join(f'"{cell}"' for cell in cells))
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="a csv file for the fits")
    parser.add_argument("--rst", help="a file for the table of the documentation")
    parser.add_argument("--data", nargs="+", default=["digits", "mnist"])
    parser.add_argument("--prices", nargs="+", type=float, default=[2, 5, 12])
    parser.add_argument("--time-price", type=float, default=0.2)
    parser.add_argument("--bounds", nargs="+", default=BOUNDS, type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="fits at a time")
    args = parser.parse_args()
    rows = measure(args.data, args.prices, args.seeds, args.bounds, args.time_price, out=args.out, n_jobs=args.jobs)
    print(summarize(rows).to_string(index=False, float_format="{:.3g}".format))
    if args.rst:
        Path(args.rst).write_text(as_rst(rows))


if __name__ == "__main__":
    main()
