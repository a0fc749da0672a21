"""Accuracy against multiply-accumulates: networks that a path of prices finds, beside what a user would pick instead.

    python -m benchmarks.front [--data digits mnist cifar10] [--seeds 3] [--out FILE.csv] [--rst FILE] [--picture FILE]

On the same images and seeds: `pressure_path` with its defaults, at the resolution of the images and at half of it, and
with twelve prices; six fits at six prices, each from its start; a plain grid of fixed sizes of the same lattice;
convolutional networks with batch normalization, without and with 2x2 pooling; torch-pruning with fine-tuning, where it
is installed; and MLPClassifier. Learning rates of what is not a lattice are chosen on validation images, each from
three, and the seconds of all three count. Digits are split 1,000 to 300 to 497, MNIST at 14x14 is 4,000, 1,000 and
4,000 images, CIFAR-10 at 16x16 5,000, 1,000 and 4,000. Run it with one thread.

A front is summed up as HVint: the mean over log10 of the multiply-accumulates, from 10,000 to those of the full
lattice, of (accuracy - chance) / (1 - chance), linear between the networks of the front, 0 left of its cheapest.
"""

import argparse
import copy
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from torch import nn

from growlattice import LatticeClassifier, pressure_path
from growlattice.datasets import fetch_cifar10, fetch_mnist
from growlattice.metrics import pareto_front

from . import cpu_seconds

GRID = (
    (4, 1, 1),
    (4, 2, 1),
    (8, 1, 1),
    (8, 2, 1),
    (8, 2, 2),
    (16, 2, 1),
    (16, 2, 2),
    (8, 3, 2),
    (16, 3, 2),
    (16, 4, 2),
    (16, 4, 4),
)
TWELVE_PRICES = dict(pressures=(0.1, 0.3, 1, 2, 3, 4.5, 6, 8, 10, 14, 20, 30), keeps=(0.6,))
SIX_PRICES = (0.3, 1, 3, 6, 10, 20)
LEAST_MACS = 1e4
SPLITS = {"digits": (1000, 300, 497), "mnist": (4000, 1000, 4000), "cifar10": (5000, 1000, 4000)}
EPOCHS = {"digits": 30, "mnist": 15, "cifar10": 15}
SHAPES = {"digits": (8, 8), "mnist": (14, 14), "cifar10": (16, 16, 3)}
RATES = (3e-3, 1e-2, 3e-2)


def read(data, seed):
    """Images of shape (n, height, width), or with colours last, and labels, to train on, to validate and to test."""
    if data == "digits":
        X, y = load_digits(return_X_y=True)
        X = X.reshape(-1, *SHAPES[data])
    else:
        X, y = {"mnist": fetch_mnist, "cifar10": fetch_cifar10}[data](return_X_y=True)
        X, y = X[:20000], y[:20000]
        height, width, *colours = SHAPES[data]
        X = X.reshape(-1, height, 2, width, 2, *colours).mean(axis=(2, 4))
    X = X.astype(np.float32)
    n_train, n_val, n_test = SPLITS[data]
    X_train, X, y_train, y = train_test_split(X, y, train_size=n_train, stratify=y, random_state=seed)
    X_val, X_test, y_val, y_test = train_test_split(
        X, y, train_size=n_val, test_size=n_test, stratify=y, random_state=seed
    )
    return X_train, y_train, X_val, y_val, X_test, y_test


# --- the lattice ---


def path_rows(data, seed, of_path=None, **lattice):
    X_train, y_train, X_val, y_val, X_test, y_test = read(data, seed)
    clf = LatticeClassifier(max_epochs=EPOCHS[data], random_state=seed, time_pressure=0.2, **lattice)
    start = cpu_seconds()
    path = pressure_path(clf, X_train, y_train, X_val, y_val, **(of_path or {}))
    seconds = cpu_seconds() - start
    for _, row in path.iterrows():
        setting = f"price {row['breadth_pressure']:g}, keep {row['keep']:g}"
        accuracy = row["load"]().score(X_test, y_test)
        yield setting, row["macs_per_image"], accuracy, seconds * row["train_macs"] / path["train_macs"].sum()


def priced_rows(data, seed):
    X_train, y_train, _, _, X_test, y_test = read(data, seed)
    for price in SIX_PRICES:
        clf = LatticeClassifier(breadth_pressure=price, depth_pressure=price, time_pressure=0.2, random_state=seed)
        start = cpu_seconds()
        clf.set_params(max_epochs=EPOCHS[data]).fit(X_train, y_train).prune(X_train, y_train)
        seconds = cpu_seconds() - start
        yield f"price {price:g}", clf.macs_per_image_, clf.score(X_test, y_test), seconds


def grid_rows(data, seed, **lattice):
    X_train, y_train, _, _, X_test, y_test = read(data, seed)
    for n_channels, n_layers, n_steps in GRID:
        clf = LatticeClassifier(max_channels=n_channels, max_layers=n_layers, max_steps=n_steps, random_state=seed)
        start = cpu_seconds()
        clf.set_params(max_epochs=EPOCHS[data], **lattice).fit(X_train, y_train)
        seconds = cpu_seconds() - start
        yield f"{n_channels} x {n_layers} x {n_steps}", clf.macs_per_image_, clf.score(X_test, y_test), seconds


def full_macs(data):
    X, y = np.zeros((10, *SHAPES[data]), dtype=np.float32), np.arange(10)
    return LatticeClassifier(max_epochs=1, random_state=0).fit(X, y).macs_per_image_


# --- what a user would pick instead ---


def make_cnn(n_inputs, width, pooling):
    def block(n_in, n_out):
        return [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]

    pool = [nn.MaxPool2d(2)] if pooling else []
    wider = 2 * width if pooling else width
    layers = [*block(n_inputs, width), *pool, *block(width, wider), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(wider, 10))


def macs_of(model, image):
    """Multiply-accumulates of convolutions and linear layers, of one image."""
    counted = []

    def count(module, _, output):
        positions = output[0].numel() // output.shape[1]
        counted.append(module.weight.numel() * positions)

    hooks = [
        module.register_forward_hook(count) for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    model.eval()
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def train(model, X, y, lr, n_epochs, seed, batch_size=32):
    """AdamW with a rate that falls along a cosine."""
    generator = torch.Generator().manual_seed(seed)
    n_batches = -(-len(X) // batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs * n_batches)
    model.train()
    for _ in range(n_epochs):
        for rows in torch.randperm(len(X), generator=generator).tensor_split(n_batches):
            loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy_of(model, X, y):
    with torch.no_grad():
        return float((model(X).argmax(dim=1) == y).float().mean())


def standardized(data, seed):
    """Tensors of images, with channels first, and labels."""
    X_train, y_train, X_val, y_val, X_test, y_test = read(data, seed)
    mean, std = X_train.mean(), X_train.std()
    images = [torch.from_numpy((X - mean) / std) for X in (X_train, X_val, X_test)]
    images = [X.movedim(3, 1).contiguous() if X.dim() == 4 else X[:, None] for X in images]
    labels = [torch.from_numpy(y) for y in (y_train, y_val, y_test)]
    return images, labels


def best_of_rates(make, images, labels, n_epochs, seed):
    """The model of the rate that is best on validation images."""
    models = []
    for lr in RATES:
        torch.manual_seed(seed)
        models.append(train(make(), images[0], labels[0], lr, n_epochs, seed))
    return max(models, key=lambda model: accuracy_of(model, images[1], labels[1]))


def cnn_rows(data, seed, pooling, widths=(2, 3, 4, 6, 8, 12, 16, 24)):
    images, labels = standardized(data, seed)
    for width in widths:
        start = cpu_seconds()
        model = best_of_rates(
            lambda width=width: make_cnn(images[0].shape[1], width, pooling), images, labels, EPOCHS[data], seed
        )
        seconds = cpu_seconds() - start
        yield f"width {width}", macs_of(model, images[2][:1]), accuracy_of(model, images[2], labels[2]), seconds


def pruned_cnn_rows(data, seed, width=24, shares=(0.3, 0.5, 0.65, 0.8, 0.9)):
    """A CNN with pooling, cut by torch-pruning and fine-tuned."""
    try:
        import torch_pruning
    except ImportError:
        print("torch-pruning is left out: it is not installed")
        return
    images, labels = standardized(data, seed)
    start = cpu_seconds()
    full = best_of_rates(lambda: make_cnn(images[0].shape[1], width, True), images, labels, EPOCHS[data], seed)
    shared = (cpu_seconds() - start) / len(shares)
    for share in shares:
        start = cpu_seconds()
        model = copy.deepcopy(full)
        pruner = torch_pruning.pruner.MagnitudePruner(
            model,
            images[0][:1],
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=share,
            ignored_layers=[model[-1]],
        )
        pruner.step()
        model = best_of_rates(lambda model=model: copy.deepcopy(model), images, labels, EPOCHS[data] // 2, seed)
        seconds = cpu_seconds() - start + shared
        yield f"cut {share:g}", macs_of(model, images[2][:1]), accuracy_of(model, images[2], labels[2]), seconds


def mlp_rows(data, seed, widths=(4, 8, 16, 32, 64, 128)):
    (X_train, X_val, X_test), (y_train, y_val, y_test) = standardized(data, seed)
    X_train, X_val, X_test = (X.flatten(1).numpy() for X in (X_train, X_val, X_test))
    for width in widths:
        start = cpu_seconds()
        models = [
            MLPClassifier((width,), learning_rate_init=lr, max_iter=200, early_stopping=True, random_state=seed).fit(
                X_train, y_train
            )
            for lr in RATES
        ]
        model = max(models, key=lambda model: model.score(X_val, y_val))
        seconds = cpu_seconds() - start
        yield f"width {width}", sum(kernel.size for kernel in model.coefs_), model.score(X_test, y_test), seconds


METHODS = {
    "path": path_rows,
    "path, downsampled": lambda data, seed: path_rows(data, seed, downsample=(2, 1, 1, 1)),
    "path, twelve prices": lambda data, seed: path_rows(data, seed, TWELVE_PRICES),
    "six prices": priced_rows,
    "grid": grid_rows,
    "CNN": lambda data, seed: cnn_rows(data, seed, pooling=False),
    "CNN, pooling": lambda data, seed: cnn_rows(data, seed, pooling=True),
    "torch-pruning": pruned_cnn_rows,
    "MLP": mlp_rows,
}


def measure(data=("digits", "mnist"), n_seeds=3, methods=METHODS, out=None):
    """A row for each network."""
    rows = []
    for name in data:
        for seed in range(n_seeds):
            for method in methods:
                for setting, macs, accuracy, seconds in METHODS[method](name, seed):
                    values = dict(setting=setting, macs=macs, accuracy=accuracy, seconds=seconds)
                    rows.append({"data": name, "seed": seed, "method": method, **values})
                    print(*rows[-1].values(), flush=True)
                if out:
                    pd.DataFrame(rows).to_csv(out, index=False)
    return pd.DataFrame(rows)


def front_of(networks):
    """The networks that no other beats, from the cheapest up."""
    on_front = pareto_front(networks, minimize=["macs"], maximize=["accuracy"])
    return networks[on_front].sort_values("macs").drop_duplicates("macs")


def hvint(networks, most_macs, chance=0.1):
    """Mean height of a front over log10 of the multiply-accumulates; see above.

    Examples
    --------
    >>> networks = pd.DataFrame({"macs": [1e5, 1e6], "accuracy": [0.55, 1.0]})
    >>> round(hvint(networks, 1e6), 3)  # nothing for a decade, then from 0.5 to 1
    0.375
    """
    front = front_of(networks)
    x = np.linspace(np.log10(LEAST_MACS), np.log10(most_macs), 2001)
    height = np.interp(x, np.log10(front["macs"]), front["accuracy"], left=chance)
    return float(np.mean((height - chance) / (1 - chance)))


def summarize(networks):
    """A row for each data set and method: means over seeds."""
    rows = []
    for data, of_data in networks.groupby("data", sort=False):
        most = full_macs(data)
        for method, of_method in of_data.groupby("method", sort=False):
            seeds = [of_seed for _, of_seed in of_method.groupby("seed")]
            fronts = [hvint(of_seed, most) for of_seed in seeds]
            good = [of_seed["macs"][of_seed["accuracy"] >= 0.95].min() for of_seed in seeds]
            rows.append(
                {
                    "data": data,
                    "method": method,
                    "HVint": np.mean(fronts),
                    "lowest": min(fronts),
                    "MACs for .95": np.mean(good),
                    **{
                        f"best at {cap:,}": np.mean([best(of_seed, cap) for of_seed in seeds])
                        for cap in (30_000, 120_000, 350_000)
                    },
                    "seconds": np.mean([of_seed["seconds"].sum() for of_seed in seeds]),
                    "seeds": len(seeds),
                }
            )
    return pd.DataFrame(rows)


def best(networks, cap):
    """Accuracy of the best network of at most so many multiply-accumulates."""
    return networks["accuracy"][networks["macs"] <= cap].max()


def as_rst(networks):
    """The summary as reStructuredText."""
    table = summarize(networks)
    lines = [".. csv-table::", f"   :header: {', '.join(f'{chr(34)}{name}{chr(34)}' for name in table)}", ""]
    for row in table.itertuples(index=False):
        cells = [_as_text(cell) for cell in row]
        lines.append("   " + ", ".join(f'"{cell}"' for cell in cells))
    return "\n".join(lines) + "\n"


def _as_text(cell):
    if isinstance(cell, str):
        return cell
    if np.isnan(cell):
        return "none"
    return f"{cell:.3f}" if 0 < cell < 1 else f"{cell:,.0f}"


def draw(networks, path):
    """A panel for each data set, a line for each method and seed."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    names = list(networks["data"].unique())
    figure, axes = plt.subplots(1, len(names), figsize=(5.5 * len(names), 4), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        of_data = networks[networks["data"] == name]
        for color, (method, of_method) in enumerate(of_data.groupby("method", sort=False)):
            for seed, of_seed in of_method.groupby("seed"):
                front = front_of(of_seed)
                label = method if seed == 0 else None
                axis.plot(front["macs"], front["accuracy"], ".-", color=f"C{color}", linewidth=1, label=label)
        axis.set(xscale="log", xlabel="multiply-accumulates", ylabel="test accuracy", title=name, ylim=(0.5, 1.0))
        axis.legend()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits", "mnist"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--out", help="a csv file for the networks")
    parser.add_argument("--rst", help="a file for the table of the documentation")
    parser.add_argument("--picture", help="a file for the picture")
    args = parser.parse_args()
    torch.set_num_threads(1)
    networks = measure(args.data, args.seeds, args.methods, args.out)
    print(summarize(networks).to_string(index=False, float_format="{:.3g}".format))
    if args.rst:
        Path(args.rst).write_text(as_rst(networks))
    if args.picture:
        draw(networks, args.picture)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
