"""R2 of LatticeRegressor on tables beside MLPRegressor, and the angle of rotated digits beside a CNN.

    python -m benchmarks.regression [tables] [angles] [pruning] [--seeds 3]

tables: diabetes and 600 rows each of Friedman 1, 2 and 3, three quarters to train on; defaults, and with more weight
decay, beside MLPRegressor as it is, with its y standardized too, and with up to 2,000 iterations, all behind a
StandardScaler. angles: digits rotated by -45 to 45 degrees; mean absolute error in degrees, beside a CNN of as many
parameters, trained for as many epochs.
pruning: lattices under prices on the same images, pruned on the training images, without training further; R2 on test
images and multiply-accumulates, as shares of those of a lattice without prices.
"""

import argparse
import warnings

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import rotate
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_digits, make_friedman1, make_friedman2, make_friedman3
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetRegressor
from skorch.callbacks import LRScheduler

from growlattice import LatticeRegressor

from . import cpu_seconds
from .accuracy import PlainCNN

TABLES = {
    "diabetes": lambda seed, n_rows: load_diabetes(return_X_y=True),
    "Friedman 1": lambda seed, n_rows: make_friedman1(n_rows, random_state=seed),
    "Friedman 2": lambda seed, n_rows: make_friedman2(n_rows, random_state=seed),
    "Friedman 3": lambda seed, n_rows: make_friedman3(n_rows, random_state=seed),
}
SIZES = dict(max_channels=12, max_layers=3, max_steps=3, downsample=(1, 2, 2), lr=3e-2)  # for angles
PRICES = ((0, 0), (2, 0), (5, 0.1), (10, 0.3))  # of breadth and depth, and of time


def rivals(seed):
    """MLPRegressor, as weak and as strong as its defaults and a little care make it."""
    scaled = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    models = {
        "MLP": MLPRegressor(random_state=seed),
        "MLP, y standardized": scaled,
        "MLP, 2,000 iterations": MLPRegressor(max_iter=2000, random_state=seed),
    }
    return {name: make_pipeline(StandardScaler(), model) for name, model in models.items()}


def on_tables(n_seeds=3, n_rows=600, n_epochs=30):
    """A row for each table: R2 on test rows, the mean over seeds."""
    rows = []
    for name, make in TABLES.items():
        scores = []
        for seed in range(n_seeds):
            X_train, X_test, y_train, y_test = train_test_split(*make(seed, n_rows), random_state=seed)
            lattice = LatticeRegressor(max_epochs=n_epochs, random_state=seed)
            decaying = clone(lattice).set_params(weight_decay=0.3)
            models = {"lattice": lattice, "lattice, weight decay 0.3": decaying, **rivals(seed)}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                scores.append({name: model.fit(X_train, y_train) for name, model in models.items()})
            scores[-1] = {name: model.score(X_test, y_test) for name, model in scores[-1].items()}
        rows.append({"table": name, **pd.DataFrame(scores).mean().to_dict(), "seeds": n_seeds})
        print(*rows[-1].values(), flush=True)
    return rows


def rotated_digits(seed):
    """X_train, X_test, y_train, y_test: digits of 8 by 8 pixels, and the angles in degrees that they were turned by."""
    images, angles = load_digits().images, np.random.RandomState(seed).uniform(-45, 45, 1797)
    turned = [rotate(image, angle, reshape=False, order=1) for image, angle in zip(images, angles, strict=True)]
    return train_test_split(np.array(turned, dtype=np.float32), angles, random_state=seed)


def fit_cnn(images, angles, n_parameters, n_epochs, seed):
    """A plain CNN on standardized angles, with the optimizer and the schedule of the lattice."""
    torch.manual_seed(seed)
    cnn = NeuralNetRegressor(
        PlainCNN, module__n_channels=1, module__n_classes=1, module__n_parameters=n_parameters,
        optimizer=torch.optim.AdamW, lr=3e-3, max_epochs=n_epochs, batch_size=32, iterator_train__shuffle=True,
        callbacks=[LRScheduler(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=n_epochs)],
        train_split=None, verbose=0,
    )  # fmt: skip
    scaled = TransformedTargetRegressor(cnn, transformer=StandardScaler(), check_inverse=False)
    return scaled.fit(images, angles.astype(np.float32)[:, None])


def on_angles(n_seeds=3, n_epochs=30, **options):
    """A row for each seed: mean absolute error in degrees."""
    rows = []
    for seed in range(n_seeds):
        X_train, X_test, y_train, y_test = rotated_digits(seed)
        start = cpu_seconds()
        lattice = LatticeRegressor(max_epochs=n_epochs, random_state=seed, **SIZES, **options).fit(X_train, y_train)
        seconds = cpu_seconds() - start
        as_input = [(X[:, None] - X_train.mean()) / X_train.std() for X in (X_train, X_test)]
        cnn = fit_cnn(as_input[0], y_train, lattice.n_parameters_, n_epochs, seed)
        row = {"seed": seed, "parameters": lattice.n_parameters_, "lattice": lattice.predict(X_test)}
        row["CNN"] = cnn.predict(as_input[1]).ravel()
        row |= {name: mean_absolute_error(y_test, row[name]) for name in ("lattice", "CNN")}
        row |= {"R2": lattice.score(X_test, y_test), "seconds": seconds}
        rows.append(row)
        print(*rows[-1].values(), flush=True)
    return rows


def of_pruning(n_seeds=3, n_epochs=30, prices=PRICES, keep=0.99):
    """A row for each seed and price: R2 and multiply-accumulates of what pruning alone leaves."""
    rows = []
    for seed in range(n_seeds):
        X_train, X_test, y_train, y_test = rotated_digits(seed)
        for space, time_price in prices:
            reg = LatticeRegressor(
                breadth_pressure=space, depth_pressure=space, time_pressure=time_price, max_epochs=n_epochs,
                random_state=seed, **SIZES,
            ).fit(X_train, y_train)  # fmt: skip
            if (space, time_price) == prices[0]:
                full_r2, full_macs = reg.score(X_test, y_test), reg.macs_per_image_
            before = reg.score(X_test, y_test)
            reg.prune(X_train, y_train, keep=keep)
            r2 = reg.score(X_test, y_test)
            row = {"seed": seed, "price": space, "time price": time_price, "R2 before": before, "R2": r2}
            rows.append(row | {"share of R2": r2 / full_r2, "share of macs": reg.macs_per_image_ / full_macs})
            print(*rows[-1].values(), flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="tables, angles or pruning; by default all")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    parts = {"tables": on_tables, "angles": on_angles, "pruning": of_pruning}
    for name in args.parts or parts:
        print(pd.DataFrame(parts[name](args.seeds)).to_string(index=False, float_format="{:.4g}".format))


if __name__ == "__main__":
    main()
