"""predict_proba on 32x32x3 images with the full and with pruned lattices.

    python benchmarks/pruned_predict.py [--repeats 7] [--channels 32]

Full and pruned alternate in one run. For each reduction in multiply-accumulates: the median of the paired ratios of
seconds, its spread, and that speed-up as a share of the reduction.
"""

import argparse
import copy
import time

import numpy as np
import torch

from growlattice import LatticeClassifier
from growlattice._pruning import compact


def seconds(classifier, X):
    start = time.perf_counter()
    classifier.predict_proba(X)
    return time.perf_counter() - start


def pruned_to(classifier, n_channels):
    """A copy of the classifier that keeps so many channels in every layer."""
    smaller = copy.deepcopy(classifier)
    mask = torch.arange(classifier.max_channels).expand(classifier.max_layers, -1) < n_channels
    smaller.net_ = smaller._make_net(compact(classifier.lattice_, mask), seed=0)
    return smaller


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--channels", type=int, default=32)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.channels} channels, 4 layers, 4 steps")
    X = np.random.RandomState(0).randint(0, 256, size=(256, 32, 32, 3), dtype=np.uint8)
    full = LatticeClassifier(max_channels=args.channels, max_epochs=1, random_state=0).fit(X[:32], np.arange(32) % 10)
    for share in (0.70, 0.48, 0.29):
        pruned = pruned_to(full, round(share * args.channels))
        seconds(full, X), seconds(pruned, X)
        ratios = np.array([seconds(full, X) / seconds(pruned, X) for _ in range(args.repeats)])
        reduction = full.macs_per_image_ / pruned.macs_per_image_
        print(
            f"{reduction:5.2f} times fewer multiply-accumulates: {np.median(ratios):5.2f} times faster "
            f"({ratios.min():.2f} to {ratios.max():.2f}), {np.median(ratios) / reduction:.2f} of the reduction",
            flush=True,
        )


if __name__ == "__main__":
    main()
