"""predict_proba on 32x32x3 images with the full lattice and with what pruning leaves of it.

    python benchmarks/pruned_predict.py [--repeats 7] [--channels 32]

A lattice is trained on digits in colour at 8x8, with pressures, and pruned to several shares of accuracy; its kernels
then see images of 32x32. Full and pruned alternate in one run. For each reduction in multiply-accumulates: the median
of the paired ratios of seconds, its spread, and that speed-up as a share of the reduction.
"""

import argparse
import copy
import time

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

from growlattice import LatticeClassifier
from growlattice._training._input_form import InputForm
from growlattice.lattice import compact
from growlattice.lattice._surgery import lattice_from_tensors

SHARES = (1.0, 0.99, 0.97, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)


def seconds(classifier, X):
    start = time.perf_counter()
    classifier.predict_proba(X)
    return time.perf_counter() - start


def on_large_images(classifier):
    """A copy of the classifier whose lattice takes images of 32x32x3."""
    larger = copy.deepcopy(classifier)
    larger.input_form_ = InputForm((3, 32, 32), image_size=None)
    config = larger.lattice_.config | {"image_shape": larger.image_shape_}
    larger.net_ = larger._make_net(lattice_from_tensors(config, larger.lattice_.state_dict()), seed=0)
    return larger


def with_channels(classifier, n_channels):
    """A copy of the classifier that keeps so many channels in every layer, and all steps."""
    smaller = copy.deepcopy(classifier)
    mask = torch.arange(classifier.max_channels).expand(classifier.max_layers, -1) < n_channels
    smaller.net_ = smaller._make_net(compact(classifier.lattice_, mask), seed=0)
    return smaller


def what_pruning_leaves(full, X, y):
    """The full lattice pruned to about 2, 4 and 10 times fewer multiply-accumulates, on large images."""
    pruned = [copy.deepcopy(full).prune(X, y, keep=keep) for keep in SHARES]
    for reduction in (2, 4, 10):
        yield min(pruned, key=lambda one: abs(np.log(full.macs_per_image_ / one.macs_per_image_ / reduction)))


def measure(n_channels=32, n_epochs=10, repeats=7, n_images=256):
    """A row for each lattice that is smaller than the full one."""
    X, y = load_digits(return_X_y=True)
    X = np.repeat(X.reshape(-1, 1, 8, 8), 3, axis=1)
    small = LatticeClassifier(
        breadth_pressure=0.3,
        depth_pressure=0.1,
        time_pressure=0.1,
        max_channels=n_channels,
        max_epochs=n_epochs,
        compact_every=None,
        n_threads=None,
        random_state=0,
    ).fit(X, y)
    images = np.random.RandomState(0).randint(0, 256, size=(n_images, 32, 32, 3), dtype=np.uint8)
    full = on_large_images(small)
    lattices = [("as prune leaves it", on_large_images(pruned)) for pruned in what_pruning_leaves(small, X, y)]
    lattices += [("channels alone", with_channels(full, round(share * n_channels))) for share in (0.70, 0.5, 0.29)]
    return [compare(kind, full, smaller, images, repeats) for kind, smaller in lattices]


def compare(kind, full, smaller, images, repeats):
    seconds(full, images), seconds(smaller, images)
    ratios = np.array([seconds(full, images) / seconds(smaller, images) for _ in range(repeats)])
    reduction = full.macs_per_image_ / smaller.macs_per_image_
    return {
        "lattice": kind,
        "channels": str(smaller.channel_mask_.sum(axis=1).tolist()),
        "steps": smaller.lattice_.steps_left,
        "times fewer MAC": reduction,
        "times faster": np.median(ratios),
        "lowest": ratios.min(),
        "highest": ratios.max(),
        "of the reduction": np.median(ratios) / reduction,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.channels} channels, 4 layers, 4 steps")
    rows = measure(args.channels, args.epochs, args.repeats)
    print(pd.DataFrame(rows).to_string(index=False, na_rep="", float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
