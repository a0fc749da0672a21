"""How the time of an epoch grows as the work grows, over channels, layers, steps and image size.

    python benchmarks/scaling.py [--repeats 3]

For each lattice: multiply-accumulates of a training image (three times those of a prediction), seconds of an epoch on
random images, and the rate, beside the rate of a large matrix product in the same run. Growth is that of time over that
of work, between a lattice and the next larger one: at most 1 where time grows no faster than work.
"""

import argparse
import time

import numpy as np
import pandas as pd
import torch

from growlattice import LatticeClassifier

AXES = {
    "channels": ("max_channels", (8, 16, 32, 64)),
    "layers": ("max_layers", (2, 4, 8)),
    "steps": ("max_steps", (2, 4, 8)),
    "image size": ("image_size", (8, 14, 28)),
}


def product_rate(repeats, size=2048, **kind):
    """Multiply-accumulates per second of a matrix product; `kind` is its device and dtype."""
    one, other = torch.rand(2, size, size, **kind)
    return size**3 / min(seconds(torch.mm, one, other) for _ in range(5 * repeats))


def seconds(function, *args):
    synchronize()
    start = time.perf_counter()
    function(*args)
    synchronize()
    return time.perf_counter() - start


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def epoch_seconds(repeats, n_images, **parameters):
    """Multiply-accumulates of an epoch, and its median seconds without the first."""
    rng = np.random.RandomState(0)
    X, y = rng.randint(0, 256, size=(n_images, 14, 14), dtype=np.uint8), rng.randint(0, 10, size=n_images)
    form = dict(max_epochs=repeats + 1, random_state=0, **parameters)
    clf = LatticeClassifier(device="cpu", n_threads=None, **form).fit(X, y)
    return 3 * clf.macs_per_image_ * n_images, float(clf.history_["dur"].iloc[1:].median())


def measure(repeats=3, n_images=256):
    """A row for each lattice, the growth beside that before it on the same axis."""
    rate, rows = product_rate(repeats), []
    for axis, (name, values) in AXES.items():
        before = None
        for value in values:
            macs, taken = epoch_seconds(repeats, n_images, **{name: value})
            rows.append(
                {
                    "axis": axis,
                    "value": value,
                    "GMAC an epoch": macs / 1e9,
                    "seconds": taken,
                    "GMAC/s": macs / taken / 1e9,
                    "of the product": macs / taken / rate,
                    "growth": taken / before[1] / (macs / before[0]) if before else None,
                }
            )
            before = macs, taken
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    rows = measure(parser.parse_args().repeats)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(pd.DataFrame(rows).to_string(index=False, na_rep="", float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
