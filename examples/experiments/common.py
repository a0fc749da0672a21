"""What the experiments share: their arguments, images, training in parallel, and reports.

The scripts beside this file import it as ``common``. Each has three scales: "small" for a laptop, "full" for the size
of the paper, and "smoke" for a run of seconds on scikit-learn's digits, which shows that the script works and no more.
"""

import argparse
import copy
import sys
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import datasets
from growlattice.analysis import seed_interval

SCALES = ("small", "full", "smoke")


class Images(NamedTuple):
    """Training and test images of a data set, their labels, and which of the data set's test images they are."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    test_rows: np.ndarray
    target_names: list


def arguments(description, **extra):
    """Read the command line.

    Parameters
    ----------
    description : str
        What the script does: its docstring.
    **extra : dict
        Further options by name, with what `add_argument` takes: ``lattice={"type": Path, "help": "..."}``.

    Returns
    -------
    argparse.Namespace
        `scale`, `device`, `out`, `memory`, `n_jobs` and the further options. The folder `out` exists.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="small", help="how much to train (default: small)")
    parser.add_argument("--device", default="auto", help="where to train: auto, cpu, cuda (default: auto)")
    parser.add_argument("--out", type=Path, default=Path("results", Path(sys.argv[0]).stem), help="folder of results")
    parser.add_argument("--memory", type=Path, help="folder of finished fits (default: OUT/memory)")
    parser.add_argument("--n-jobs", type=int, default=2, help="fits at once, on one thread each (default: 2)")
    for name, options in extra.items():
        parser.add_argument("--" + name.replace("_", "-"), **options)
    chosen = parser.parse_args()
    chosen.memory = chosen.memory or chosen.out / "memory"
    chosen.out.mkdir(parents=True, exist_ok=True)
    return chosen


def where(options):
    """What the command line says of how to train, as parameters of a lattice."""
    return {"device": options.device, "memory": options.memory}


def images(name, scale, n_train=None, n_test=None, random_state=0, optional=False):
    """Training and test images of a data set.

    Parameters
    ----------
    name : {"digits", "mnist", "cifar10", "tiny_imagenet"}
        Data set. At the scale "smoke", digits stand in for all.
    scale : {"small", "full", "smoke"}
        Scale of the experiment.
    n_train, n_test : int, default=None
        How many images to draw, with the classes in equal shares as far as they are so in the data; by default all.
    random_state : int, default=0
        Seed of the draw.
    optional : bool, default=False
        Whether the experiment can do without the data set, if it is not there and cannot be downloaded; otherwise the
        program ends with a line that says so.

    Returns
    -------
    Images or None
        None, with a printed line, for an optional data set that is not there.
    """
    if name == "digits" or scale == "smoke":
        X, y = load_digits(return_X_y=True)
        rows = np.arange(len(y))
        rows_train, rows_test = train_test_split(rows, train_size=0.75, stratify=y, random_state=random_state)
        X, target_names = X.reshape(-1, 8, 8), [str(digit) for digit in range(10)]
        train, test = (X[rows_train], y[rows_train]), (X[rows_test], y[rows_test])
    else:
        fetch = getattr(datasets, f"fetch_{name}")
        try:
            train, test = (fetch(subset=subset) for subset in ("train", "test"))
        except OSError as error:
            if not optional:
                sys.exit(f"This experiment needs {name}: {error}")
            print(f"{name} is left out: {error}")
            return None
        target_names = list(train.target_names)
        train, test = ((part.images, part.target) for part in (train, test))
    kept_train, kept_test = _draw(train[1], n_train, random_state), _draw(test[1], n_test, random_state)
    return Images(
        train[0][kept_train], train[1][kept_train], test[0][kept_test], test[1][kept_test], kept_test, target_names
    )


def in_parallel(function, tasks, n_jobs, title):
    """Call a function on each of the tasks, in processes of one thread each, and print how far it is.

    Parameters
    ----------
    function : callable
        Takes a task.
    tasks : sequence
        What the function is called with.
    n_jobs : int
        Processes; 1 calls in this one.
    title : str
        What the tasks are, for the progress.

    Returns
    -------
    list
        What the function returned, in the order of the tasks.
    """
    results = []
    with joblib.parallel_config("loky", n_jobs=n_jobs, inner_max_num_threads=1):
        for result in joblib.Parallel(return_as="generator")(joblib.delayed(function)(task) for task in tasks):
            results.append(result)
            print(f"\r{title}: {len(results)} of {len(tasks)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return results


def train(lattices, X, y, n_jobs):
    """Fit lattices on the same images, and return them fitted, in order. With `memory`, those that exist are read."""
    return in_parallel(partial(_fit, X=X, y=y), lattices, n_jobs, "trained")


def prune(lattice, X, y):
    """A copy of a fitted lattice without the channels and layers that it can do without; its steps stay.

    Parameters
    ----------
    lattice : LatticeClassifier
    X, y : ndarray
        Images to prune on, and their labels.

    Returns
    -------
    LatticeClassifier or None
        None if the lattice is not above chance, so that it needs no channel at all.
    """
    if lattice.score(X, y) <= 1 / len(lattice.classes_):
        return None
    return copy.deepcopy(lattice).prune(X, y, trim_steps=False)


def over_seeds(frame, by, values):
    """Mean and 95 % interval over seeds, by the t distribution.

    Parameters
    ----------
    frame : DataFrame
        A row for each model.
    by : str or list of str
        Columns in which models with the same settings agree.
    values : list of str
        Columns of numbers to average.

    Returns
    -------
    DataFrame
        Columns `by`, `n_seeds`, and for each value its mean under its own name, and its bounds as `_low` and `_high`.
    """
    by = [by] if isinstance(by, str) else list(by)
    rows = []
    for key, group in frame.groupby(by, sort=True):
        row = dict(zip(by, key, strict=True)) | {"n_seeds": len(group)}
        for value in values:
            row[value], row[f"{value}_low"], row[f"{value}_high"] = _interval(group[value])
        rows.append(row)
    return pd.DataFrame(rows)


def rank_correlation(a, b):
    """Spearman's correlation of two columns, or nan where either is the same throughout."""
    if a.nunique() < 2 or b.nunique() < 2:
        return np.nan
    return a.corr(b, method="spearman")


def claim(text, values, limits=(-np.inf, np.inf)):
    """A row of a table of claims: a number for each seed, as their mean and 95 % interval by the t distribution.

    The interval is cut at the `limits` of what is measured, such as -1 and 1 for correlations.
    """
    mean, *bounds = _interval(values)
    low, high = np.clip(bounds, *limits)
    return {"claim": text, "mean": mean, "low": low, "high": high, "n_seeds": len(values)}


def claim_over_pairs(text, values, n_seeds):
    """As :func:`claim`, of a number for each pair of seeds, in the order of `itertools.combinations`.

    Pairs share seeds, so the interval is that of a jackknife over seeds (Efron and Stein, 1981).
    """
    if n_seeds < 3:
        return claim(text, values) | {"n_seeds": n_seeds}
    pairs, values = np.array(list(combinations(range(n_seeds), 2))), np.asarray(values)
    without = np.array([values[(pairs != seed).all(axis=1)].mean() for seed in range(n_seeds)])
    return claim(text, n_seeds * values.mean() - (n_seeds - 1) * without)


def curve(ax, frame, x, y, **style):
    """Draw the column y of a table of :func:`over_seeds` against x, with its intervals as error bars."""
    bars = np.abs([frame[f"{y}_low"] - frame[y], frame[f"{y}_high"] - frame[y]])
    return ax.errorbar(frame[x], frame[y], yerr=bars, **{"marker": "o", "capsize": 3, "linewidth": 1.5} | style)


def report(frame, out, name):
    """Print a table, and write it to the folder `out` as ``name.csv``."""
    print(f"\n{name}\n{frame.round(3).to_string(index=False)}", flush=True)
    frame.to_csv(out / f"{name}.csv", index=False)


def save(figure, out, name):
    """Write a figure to the folder `out` as ``name.png``."""
    figure.savefig(out / f"{name}.png", dpi=150)
    print(out / f"{name}.png")


def _interval(values):
    """Mean and 95 % interval over seeds; without bounds for a single seed, and nan if a seed has no number."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2 or np.isnan(values).any():
        return values.mean(), np.nan, np.nan
    return tuple(seed_interval(values))


def _fit(lattice, X, y):
    return lattice.fit(X, y)


def _draw(y, n_images, random_state):
    """Rows of a stratified draw, in their order in the data."""
    rows = np.arange(len(y))
    if n_images is None or n_images >= len(y):
        return rows
    drawn, _ = train_test_split(rows, train_size=n_images, stratify=y, random_state=random_state)
    return np.sort(drawn)
