"""Train a lattice on all of CIFAR-10, at 16 by 16 pixels, for figure_4.py --lattice.

    python train_cifar10.py --epochs 20 --out lattice.safetensors --memory FOLDER

On one CPU core 20 epochs take about an hour. A run that is interrupted goes on from its last checkpoint.
"""

import argparse

import torch

from growlattice import LatticeClassifier
from growlattice.datasets import fetch_cifar10


def flip_and_shift(images, largest=2):
    """Mirror half of the images, and shift each by up to two pixels, the edge repeated."""
    n_images, _, height, width = images.shape
    images = torch.where(torch.rand(n_images, 1, 1, 1) < 0.5, images.flip(3), images)
    down, right = torch.randint(-largest, largest + 1, (2, n_images, 1))
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    which = torch.arange(n_images)[:, None, None]
    return images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", default="lattice.safetensors", help="file of the fitted lattice")
    parser.add_argument("--memory", default="memory", help="folder of checkpoints")
    options = parser.parse_args()
    lattice = LatticeClassifier(
        time_pressure=0.05,
        max_channels=32,
        max_layers=2,  # few, so that depth is in time
        max_steps=6,
        image_size=16,
        augment=flip_and_shift,
        max_epochs=options.epochs,
        batch_size=64,
        lr=5e-3,
        compact_every=None,  # steps that training images do not use may be of use to occluded ones
        device="cpu",  # flip_and_shift draws there
        memory=options.memory,
        checkpoint_seconds=30,
        random_state=0,
        verbose=1,
    )
    lattice.fit(*fetch_cifar10(return_X_y=True))
    lattice.set_params(augment=None).save(options.out)
    print(f"accuracy on test images: {lattice.score(*fetch_cifar10(subset='test', return_X_y=True)):.4f}")


if __name__ == "__main__":
    main()
