"""predict_proba with images that stop when they are sure, beside all steps and the fewest fixed steps that are as good.

    python -m benchmarks.halting [--data digits mnist] [--seeds 3] [--keep 0.98] [--out FILE]

A lattice of six steps is trained, and the threshold is chosen on images that neither training nor the test uses. The
fixed number of steps is the smallest whose accuracy on the test images is at least that of halting. The three alternate
in one run, for one image at a time, batches of 32 and of 1,024; ratios are those of medians, with the spread of the
pairs. The last table counts in how many of 100 random splits a guarantee of 0.95 holds on the images left.
"""

import argparse
import copy
import time

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

from growlattice import LatticeClassifier
from growlattice._estimators._thresholds import lowest_threshold, probability_thresholds, steps_until
from growlattice._training._inference import collect
from growlattice.lattice import compact
from growlattice.lattice._surgery import score_norms

PRICES = {"digits": 0.3, "mnist": 0.4}  # of time; at 0.05 and 0.2, two or three fixed steps are as cheap as halting
BATCHES = {1: 32, 32: 8, 1024: 1}  # images in a call, and calls that are timed together


def load(data, seed, n_images=None):
    """Images and labels to train on, to choose the threshold on, and to test on."""
    if data == "digits":
        X, y = load_digits(return_X_y=True)
        sizes = n_images or 900, 448, 449
    else:
        from growlattice.datasets import fetch_mnist

        X, y = fetch_mnist(return_X_y=True)
        sizes = n_images or 4000, 3000, 4000
    order = np.random.RandomState(seed).permutation(len(X))[: sum(sizes)]
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return [(X[rows], y[rows]) for rows in parts]


def train(data, seed, images, n_epochs=None):
    options = dict(max_epochs=25) if data == "digits" else dict(max_epochs=30, image_size=14)
    if n_epochs:
        options["max_epochs"] = n_epochs
    options |= dict(max_steps=6, time_pressure=PRICES[data], random_state=seed)
    return LatticeClassifier(**options).fit(*images)


def with_steps(clf, n_steps, X):
    """A copy whose lattice has lost its last steps, as prune would cut it."""
    if n_steps == clf.lattice_.steps_left:
        return copy.copy(clf)
    norm = collect(clf.lattice_, clf._images(X), score_norms).mean(axis=0)[n_steps - 1]
    shorter = copy.copy(clf)
    shorter.net_ = clf._make_net(compact(clf.lattice_, clf.lattice_.mask, n_steps, norm), seed=0)
    return shorter


def seconds(clf, X, size, n_calls):
    start = time.perf_counter()
    for call in range(n_calls):
        clf.predict_proba(X[call * size : (call + 1) * size])
    return time.perf_counter() - start


def compare(clf, calibration, test, keep=0.98, repeats=7):
    """A row for each size of batches."""
    full = copy.copy(clf).halt(None)
    halted = copy.copy(clf).halt(*calibration, keep=keep)
    accuracy, n_left = halted.score(*test), full.lattice_.steps_left
    cut = (with_steps(full, n_steps, calibration[0]) for n_steps in range(1, n_left + 1))
    fixed = next((one for one in cut if one.score(*test) >= accuracy), full)
    before, steps, X = full.score(*test), halted.steps_run(test[0]), np.resize(test[0], (1024, *test[0].shape[1:]))
    about = {
        "steps": n_left,
        "accuracy": before,
        "steps run": steps.mean(),
        "halted": accuracy,
        "kept": (accuracy - 0.1) / (before - 0.1),
        "fixed steps": fixed.lattice_.steps_left,
        "fixed": fixed.score(*test),
    }
    rows = []
    for size, n_calls in BATCHES.items():
        ways = full, fixed, halted
        times = np.array([[seconds(way, X, size, n_calls) for way in ways] for _ in range(repeats + 1)])[1:]
        row = {**about, "batch": size, "all, ms": 1e3 * np.median(times[:, 0]) / n_calls}
        for name, column in (("of all", 0), ("of fixed", 1)):
            pairs = times[:, 2] / times[:, column]
            row[name] = np.median(times[:, 2]) / np.median(times[:, column])
            row[f"{name}, lowest"], row[f"{name}, highest"] = pairs.min(), pairs.max()
        rows.append(row)
    return rows


def guarantee(clf, calibration, test, keep=0.98, n_splits=100):
    """In how many splits a threshold with a guarantee of 0.95 keeps enough on the images it was not chosen on."""
    X, y = (np.concatenate(parts) for parts in zip(calibration, test, strict=True))
    answers, data = clf._answers_so_far(X, y, None)
    right = clf._step_scores(answers, data)
    sureness, thresholds = answers.max(axis=2), np.log(probability_thresholds(len(clf.classes_)))
    kept, steps_run, rng = [], [], np.random.RandomState(0)
    for _ in range(n_splits):
        chosen, others = np.split(rng.permutation(len(y)), [len(y) // 2])
        shares = dict(keep=keep, chance=0.1, guarantee=0.95)
        try:
            threshold = lowest_threshold(sureness[chosen], right[chosen], thresholds, **shares)
        except ValueError:  # too few images
            return {"held": None, "of": n_splits, "images": len(y) // 2}
        steps = steps_until(sureness[others], threshold)
        accuracy = np.take_along_axis(right[others], steps[:, None] - 1, axis=1).mean()
        kept.append((accuracy - 0.1) / (right[others, -1].mean() - 0.1))
        steps_run.append(steps.mean())
    held = int((np.array(kept) >= keep).sum())
    return {"held": held, "of": n_splits, "images": len(y) // 2, "kept": np.mean(kept), "steps run": np.mean(steps_run)}


def measure(data=("digits",), n_seeds=1, keep=0.98, repeats=5, n_images=None, n_epochs=None):
    """A row for each data set, seed and size of batches; the guarantee is in the first of a lattice's rows."""
    rows = []
    for name in data:
        for seed in range(n_seeds):
            training, calibration, test = load(name, seed, n_images)
            rows += measure_one(train(name, seed, training, n_epochs), name, seed, calibration, test, keep, repeats)
    return rows


def measure_one(clf, name, seed, calibration, test, keep, repeats):
    """The rows of a trained lattice."""
    held = guarantee(clf, calibration, test, keep)["held"]
    rows = compare(clf, calibration, test, keep, repeats)
    return [{"data": name, "seed": seed, **row, "guarantee held": held} for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=["digits", "mnist"], default=["digits", "mnist"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=float, default=0.98)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", help="write the rows as CSV")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    rows = pd.DataFrame(measure(args.data, args.seeds, args.keep, args.repeats))
    print(rows.to_string(index=False, float_format="{:.3g}".format))
    if args.out:
        rows.to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
