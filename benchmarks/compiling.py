"""A training step and a prediction, eager and compiled, in float32 and bfloat16: milliseconds of CPU time.

    python -m benchmarks.compiling [--channels 16 32] [--repeats 15] [--noise 0.1]

Images of 14x14, 4 layers, 4 steps, one thread; batches of 32 in training (forward, loss, backward) and of 128 in
prediction. The ways alternate. Ratios are of medians, with the lowest and highest of the rounds. `first` is the first
call, with torch's cache on disk as it is; TORCHINDUCTOR_CACHE_DIR says where that is.
"""

import argparse

import numpy as np
import pandas as pd
import torch

from growlattice._training._compiling import forward
from growlattice._training._device import bfloat16_units
from growlattice._training._net import seeded_generator
from growlattice.lattice import Lattice

from . import cpu_seconds

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
EAGER = "eager float32"


def make_ways(n_channels, noise, n_training=32, n_predicted=128, size=14, n_layers=4, n_steps=4):
    """Functions without arguments: a training step and a prediction, each eager and compiled, in each precision."""
    generator = seeded_generator(0)
    sizes = dict(n_channels=n_channels, n_layers=n_layers, n_steps=n_steps, kernel_size=3)
    others = dict(time_selection="adaptive", temperature=5.0)
    lattice = Lattice((1, size, size), 10, **sizes, **others, generator=generator)
    images = torch.randint(0, 256, (n_predicted, 1, size, size), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (n_training,), generator=generator)

    def train(**options):
        lattice.zero_grad()
        output = forward(lattice, images[:n_training], noise=noise, generator=generator, **options)
        lattice.task.error(output, labels).backward()

    def predict(**options):
        with torch.no_grad():
            forward(lattice, images, **options)

    return {
        (what, f"{way} {name}"): lambda run=run, way=way, dtype=dtype: run(conv_dtype=dtype, compiled=way == "compiled")
        for what, run in (("training step", train), ("predict", predict))
        for name, dtype in PRECISIONS.items()
        for way in ("eager", "compiled")
    }


def seconds(function):
    start = cpu_seconds()
    function()
    return cpu_seconds() - start


def measure(n_channels=(16, 32), repeats=15, noise=0.1, **sizes):
    """Rows of every way for each number of channels."""
    rows = []
    for channels in n_channels:
        ways = make_ways(channels, noise, **sizes)
        first = {way: seconds(function) for way, function in ways.items()}
        taken = {way: [] for way in ways}
        for _ in range(repeats):
            for way, function in ways.items():
                taken[way].append(seconds(function))
        for (what, way), times in taken.items():
            ratios = np.array(taken[what, EAGER]) / np.array(times)
            spread = {"lowest": ratios.min(), "highest": ratios.max()}
            faster = np.median(taken[what, EAGER]) / np.median(times)
            row = {"channels": channels, "what": what, "way": way, "ms": 1e3 * np.median(times)}
            rows.append(row | {"times faster": faster} | spread | {"first, s": first[what, way]})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--noise", type=float, default=0.1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    units = " and ".join(bfloat16_units() or []) or "neither AMX nor AVX512-BF16"
    print(f"torch {torch.__version__}, one thread, {units}")
    rows = measure(args.channels, args.repeats, args.noise)
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
