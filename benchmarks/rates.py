"""How far the rule for the learning rate by size is from the best rate of each size.

    python -m benchmarks.rates [--data digits mnist wine cancer] [--seeds 2] [--out FILE.csv]

Lattices of several sizes are trained with multiples of the default `lr`. For each data set and size: the mean accuracy
over seeds at each multiple, and how much the best multiple is above the default. Digits and MNIST at 14x14 are split as
in `benchmarks.front`; of the tables a quarter is tested. Run it with one thread.
"""

import argparse

import pandas as pd
import torch
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier

from . import front

SIZES = ((2, 2, 1), (4, 2, 1), (8, 2, 1), (16, 2, 2), (16, 4, 4), (32, 2, 2))
MULTIPLES = (0.5, 1.0, 2.0, 4.0)
TABLES = {"wine": load_wine, "cancer": load_breast_cancer}


def read(data, seed):
    """Training and test images or rows, and labels."""
    if data in TABLES:
        X, y = TABLES[data](return_X_y=True)
        X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=seed)
        return X_train, y_train, X_test, y_test
    X_train, y_train, _, _, X_test, y_test = front.read(data, seed)
    return X_train, y_train, X_test, y_test


def measure(data, n_seeds=2, sizes=SIZES, multiples=MULTIPLES, n_epochs=None, out=None):
    """A row for each data set, size, multiple and seed."""
    rows = []
    for name in data:
        epochs = n_epochs or front.EPOCHS.get(name, 30)
        for size in sizes:
            for seed in range(n_seeds):
                X_train, y_train, X_test, y_test = read(name, seed)
                shape = dict(zip(("max_channels", "max_layers", "max_steps"), size, strict=True))
                for multiple in multiples:
                    clf = LatticeClassifier(**shape, lr=1e-2 * multiple, max_epochs=epochs, random_state=seed)
                    accuracy = clf.fit(X_train, y_train).score(X_test, y_test)
                    sizes_text = " x ".join(map(str, size))
                    values = {"data": name, "size": sizes_text, "multiple": multiple, "seed": seed}
                    rows.append(values | {"accuracy": accuracy})
                    print(*rows[-1].values(), flush=True)
                    if out:
                        pd.DataFrame(rows).to_csv(out, index=False)
    return pd.DataFrame(rows)


def summarize(rows):
    """Mean accuracy at each multiple, and the best of them less that of the default, for each data set and size."""
    table = rows.pivot_table(index=["data", "size"], columns="multiple", values="accuracy", sort=False)
    return table.assign(**{"best less default": table.max(axis=1) - table[1.0]}).reset_index()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits", "mnist", *TABLES], choices=["digits", "mnist", *TABLES])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", help="a csv file of the rows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        summarize(measure(options.data, options.seeds, out=options.out)).to_string(
            index=False, float_format="{:.3f}".format
        )
    )


if __name__ == "__main__":
    main()
