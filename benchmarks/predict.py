"""predict of one image and of many, beside the bare forward pass of the same lattice.

    python -m benchmarks.predict [--repeats 7] [--images 50000]

The bare pass calls the torch module on a tensor that is already there: one image, or batches of 256 one after the
other, and takes the most probable class. The two alternate in one run; ratios are medians of pairs, with their spread.
"""

import argparse
import time

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

from growlattice import LatticeClassifier


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(what, ours, bare, repeats):
    """A row: medians of the seconds, and the spread of the paired ratios."""
    ours(), bare()
    pairs = np.array([(seconds(ours), seconds(bare)) for _ in range(repeats)])
    ratios = pairs[:, 0] / pairs[:, 1]
    return {
        "what": what,
        "predict, ms": 1e3 * np.median(pairs[:, 0]),
        "bare, ms": 1e3 * np.median(pairs[:, 1]),
        "ratio": np.median(ratios),
        "lowest": ratios.min(),
        "highest": ratios.max(),
    }


def measure(repeats=7, n_images=50000, n_epochs=1):
    """A row for one image, and one for so many."""
    X, y = load_digits(return_X_y=True)
    clf = LatticeClassifier(max_epochs=n_epochs, device="cpu", random_state=0).fit(X[:200], y[:200])
    many = np.resize(X, (n_images, 64)).astype(np.float32)
    images, lattice = torch.from_numpy(many.reshape(-1, 1, 8, 8)), clf.lattice_

    @torch.no_grad()
    def bare(images):
        return torch.cat([lattice(part).log_probas.argmax(dim=1) for part in images.split(256)])

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [compare("one image", lambda: clf.predict(many[:1]), lambda: bare(images[:1]), 10 * repeats)]
        return rows + [compare(f"{n_images:,} images", lambda: clf.predict(many), lambda: bare(images), repeats)]
    finally:
        torch.set_num_threads(n_threads)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--images", type=int, default=50000)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, one thread")
    print(pd.DataFrame(measure(args.repeats, args.images)).to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
