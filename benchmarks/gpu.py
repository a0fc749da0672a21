"""Training throughput on a GPU, and what it means for a study of 1,000 lattices.

    python -m benchmarks.gpu [--batch-sizes 128 256 512 1024] [--peak-tflops 989 --peak-gb-s 4800]
    python -m benchmarks.gpu --train [--epochs 60]
    python -m benchmarks.gpu --tiny

Lattices of 32 channels, 6 layers and 6 steps on images of 32x32x3. "plain" is the lattice in float32 by torch's
defaults, called step by step, with channels first in memory and AdamW not fused; "library" is a whole fit of
LatticeClassifier; the others are its lattice and precision, compiled or as a CUDA graph. Shares are of the rates that a
large matrix product and a large copy reach in the same run and precision, or of the peaks given: the arithmetic counts
three times the multiply-accumulates of a prediction, the memory what convolutions at least read and write. GPU-hours
are those of 1,000 lattices trained for 150 epochs of 50,000 images.

With --train, a lattice is trained on CIFAR-10. With --tiny everything is small, and what needs a GPU is left out
without one.
"""

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torchvision.transforms import v2

from growlattice import LatticeClassifier
from growlattice.datasets import fetch_cifar10

from .many_lattices import captured, default_problem, single
from .scaling import product_rate, seconds

STUDY = 1000 * 150 * 50000  # images
TINY = dict(batch_sizes=(8,), n_channels=4, n_layers=2, n_steps=2, size=8, repeats=2)


def copy_rate(device, n_bytes):
    """Bytes per second that a copy reads and writes."""
    one, other = torch.empty(2, n_bytes, dtype=torch.uint8, device=device)
    return 2 * n_bytes / min(seconds(one.copy_, other) for _ in range(10))


def least_traffic(problem):
    """Numbers that the convolutions of one training image read and write at least.

    Forward, each reads its input and writes its output; those that read one layer read it together. Backward goes over
    as much twice.
    """
    n_layers, n_steps = problem.n_layers, problem.n_steps
    before, last = 3, 2 * (n_layers - 1)  # layers read and written; before the first step and in the last
    others = n_layers + (3 * n_layers - 2)
    channels = 3 + problem.n_channels * (before + (n_steps - 1) * others + last)
    return 3 * channels * problem.size**2


def library_rate(problem, n_batches):
    """Images per second of a fit, in the epochs after the first."""
    n_images, side = n_batches * problem.batch_size, problem.size
    X = np.random.RandomState(0).randint(0, 256, size=(n_images, side, side, 3), dtype=np.uint8)
    clf = LatticeClassifier(
        max_channels=problem.n_channels,
        max_layers=problem.n_layers,
        max_steps=problem.n_steps,
        batch_size=problem.batch_size,
        max_epochs=3,
        device=problem.device,
        random_state=0,
    )
    return n_images / clf.fit(X, np.arange(n_images) % 10).history_["dur"].iloc[1:].median()


def stepwise_rate(problem, repeats, compiled=False, graph=False):
    """Images per second of training steps on one batch."""
    step, optimizer = single(problem, 0, compiled)
    if graph:
        step = captured(step, optimizer)
    for _ in range(3):
        step()
    return problem.batch_size / statistics.median(seconds(step) for _ in range(repeats))


def rates(problem, repeats):
    """Images per second, by way."""
    fast = replace(problem, noise=0.1)
    plain = replace(fast, dtype=torch.float32, autocast=None, memory_format=torch.contiguous_format, fused=False)
    yield "plain", stepwise_rate(plain, repeats)
    yield "library", library_rate(fast, n_batches=repeats)
    if problem.device == "cuda":
        yield "compiled", stepwise_rate(fast, repeats, compiled=True)
        yield "CUDA graph", stepwise_rate(fast, repeats, graph=True)
        yield "compiled, CUDA graph", stepwise_rate(fast, repeats, compiled=True, graph=True)


def measure(batch_sizes=(128, 256, 512, 1024), repeats=20, peak_tflops=None, peak_gb_s=None, **shape):
    """A row for each batch size and way."""
    problem = replace(default_problem(), **{"n_channels": 32, **shape})
    on_gpu, dtype = problem.device == "cuda", problem.autocast or problem.dtype
    if not on_gpu:
        print("left out, need a GPU: compiled; CUDA graph; compiled, CUDA graph")
    product = product_rate(repeats, 8192 if on_gpu else 512, device=problem.device, dtype=dtype)
    macs_a_second = peak_tflops * 1e12 / 2 if peak_tflops else product
    bytes_a_second = peak_gb_s * 1e9 if peak_gb_s else copy_rate(problem.device, 2**30 if on_gpu else 2**24)
    macs, n_bytes = 3 * problem.lattice(0).macs(), least_traffic(problem) * dtype.itemsize
    rows = []
    for batch_size in batch_sizes:
        plain = None
        for way, rate in rates(replace(problem, batch_size=batch_size), repeats):
            plain = plain or rate
            rows.append(
                {
                    "batch size": batch_size,
                    "way": way,
                    "images/s": rate,
                    "times plain": rate / plain,
                    "of the arithmetic": rate * macs / macs_a_second,
                    "of the memory": rate * n_bytes / bytes_a_second,
                    "GPU-hours": STUDY / rate / 3600,
                }
            )
    return rows


def train(n_epochs, batch_size, tiny=False):
    """A row: the accuracy on CIFAR-10's test images and the time of training, or on noise if `tiny`."""
    clf = LatticeClassifier(
        max_channels=32,
        max_layers=6,
        max_steps=6,
        max_epochs=n_epochs,
        batch_size=batch_size,
        augment=v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(32, padding=4)]),
        random_state=0,
    )
    if tiny:
        X = np.random.RandomState(0).randint(0, 256, size=(20, 32, 32, 3), dtype=np.uint8)
        X_test, y = X, np.arange(20) % 10
        y_test = y
        clf.set_params(max_channels=4, max_layers=2, max_steps=2, max_epochs=1)
    else:
        X, y = fetch_cifar10(return_X_y=True)
        X_test, y_test = fetch_cifar10(subset="test", return_X_y=True)
    start = time.perf_counter()
    clf.fit(X, y)
    taken = time.perf_counter() - start
    return [{"images": len(X), "epochs": clf.max_epochs, "seconds": taken, "test accuracy": clf.score(X_test, y_test)}]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--peak-tflops", type=float, help="stated, of products in the precision that is chosen")
    parser.add_argument("--peak-gb-s", type=float, help="stated, of memory")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=128, help="of --train")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    peaks = dict(peak_tflops=args.peak_tflops, peak_gb_s=args.peak_gb_s)
    if args.train:
        rows = train(args.epochs, args.batch_size, args.tiny)
    elif args.tiny:
        rows = measure(**TINY, **peaks)
    else:
        rows = measure(args.batch_sizes, args.repeats, **peaks)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"torch {torch.__version__}, {gpu}")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
