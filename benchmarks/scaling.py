"""How the time of an epoch grows as the work grows, over channels, layers, steps and image size.

    python benchmarks/scaling.py [--repeats 3]

For each lattice: multiply-accumulates of a training image (three times those of a prediction), seconds of an epoch on
random images, and the rate, beside the rate of a large matrix product in the same run. Growth is that of time over that
of work, between a lattice and the next larger one: at most 1 where time grows no faster than work.
"""

import argparse
import time

import numpy as np
import torch

from growlattice import LatticeClassifier

AXES = {
    "channels": ("max_channels", (8, 16, 32, 64)),
    "layers": ("max_layers", (2, 4, 8)),
    "steps": ("max_steps", (2, 4, 8)),
    "image size": ("image_size", (8, 14, 28)),
}
N_IMAGES = 256


def product_rate(repeats, size=2048):
    """Multiply-accumulates per second of a matrix product."""
    one, other = torch.rand(size, size), torch.rand(size, size)
    return size**3 / min(seconds(torch.mm, one, other) for _ in range(5 * repeats))


def seconds(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def epoch_seconds(repeats, **parameters):
    """Multiply-accumulates of an epoch, and its median seconds without the first."""
    rng = np.random.RandomState(0)
    X, y = rng.randint(0, 256, size=(N_IMAGES, 14, 14), dtype=np.uint8), rng.randint(0, 10, size=N_IMAGES)
    clf = LatticeClassifier(random_state=0, max_epochs=repeats + 1, **parameters).fit(X, y)
    return 3 * clf.macs_per_image_ * N_IMAGES, float(clf.history_["dur"].iloc[1:].median())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    rate = product_rate(repeats)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; matrix product {rate / 1e9:.0f} GMAC/s")
    print("axis        value   GMAC an epoch   seconds   GMAC/s   of the product   growth of time over growth of work")
    for axis, (name, values) in AXES.items():
        before = None
        for value in values:
            macs, time_taken = epoch_seconds(repeats, **{name: value})
            growth = "" if before is None else f"{time_taken / before[1] / (macs / before[0]):.2f}"
            before = macs, time_taken
            print(
                f"{axis:10s} {value:6d} {macs / 1e9:15.2f} {time_taken:9.3f} {macs / time_taken / 1e9:8.1f} "
                f"{macs / time_taken / rate:16.2f}   {growth}",
                flush=True,
            )


if __name__ == "__main__":
    main()
