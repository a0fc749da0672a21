"""Accuracy on all of CIFAR-10 at 16 by 16 pixels, on one CPU thread, with the time and the multiply-accumulates.

    python -m benchmarks.cifar10 --memory FOLDER [--channels 64] [--layers 4] [--steps 2] [--downsample 2 1 2 1]
                                 [--epochs 50] [--batch 64] [--lr 1e-2] [--noise 0.1]

Each image is mirrored or not and shifted by up to two pixels, by kornia, with a draw of its own. A run that is
interrupted goes on from its last checkpoint in the folder.
"""

import argparse
import functools

import kornia.augmentation as K
import torch

from growlattice import LatticeClassifier
from growlattice.datasets import fetch_cifar10

from . import cpu_seconds


@functools.cache
def moves():
    return K.AugmentationSequential(K.RandomHorizontalFlip(), K.RandomCrop((16, 16), padding=2))


def mirror_and_shift(images):
    return moves()(images.float()).to(images.dtype)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", required=True, help="folder of checkpoints")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--downsample", type=int, nargs="+", default=[2, 1, 2, 1])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--noise", type=float, default=0.1)
    options = parser.parse_args()
    lattice = LatticeClassifier(
        max_channels=options.channels,
        max_layers=options.layers,
        max_steps=options.steps,
        downsample=options.downsample,
        image_size=16,
        augment=mirror_and_shift,
        max_epochs=options.epochs,
        batch_size=options.batch,
        lr=options.lr,
        noise=options.noise,
        compact_every=None,
        device="cpu",
        memory=options.memory,
        checkpoint_seconds=30,
        random_state=0,
        verbose=1,
    )
    start = cpu_seconds()
    lattice.fit(*fetch_cifar10(return_X_y=True))
    seconds = cpu_seconds() - start
    lattice.set_params(augment=None)
    print(
        f"torch {torch.__version__}: accuracy on test images"
        f" {lattice.score(*fetch_cifar10(subset='test', return_X_y=True)):.4f}, {lattice.macs_per_image_:,}"
        f" multiply-accumulates, {lattice.n_parameters_:,} parameters, {seconds / 60:.0f} CPU minutes since the start"
    )


if __name__ == "__main__":
    main()
