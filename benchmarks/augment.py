"""Test accuracy on CIFAR-10 without augmentation, with draws for a batch and with draws for each image.

    python -m benchmarks.augment [--images 2000] [--epochs 60] [--seeds 2] [--out FILE.csv]

Half of the images are mirrored, and each is shifted by up to two of its 16 by 16 pixels. torchvision draws once for a
whole batch, kornia for each image of it. Needs kornia, and CIFAR-10 in the data folder. Fits that stand in the file are
not run again.
"""

import argparse
import time
from pathlib import Path

import kornia.augmentation as K
import pandas as pd
from torchvision.transforms import v2

from growlattice import LatticeClassifier
from growlattice.datasets import fetch_cifar10

SIZES = dict(image_size=16, max_channels=16, max_layers=3, max_steps=3, downsample=(2, 2, 1), batch_size=64)

for_a_batch = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(16, padding=2)])
moves = K.AugmentationSequential(K.RandomHorizontalFlip(), K.RandomCrop((16, 16), padding=2))


def for_each_image(images):
    return moves(images.float()).to(images.dtype)


WAYS = {"none": None, "torchvision, a draw for a batch": for_a_batch, "kornia, a draw for each image": for_each_image}


def measure(n_images=2000, n_epochs=60, n_seeds=2, n_test=10_000, out=None):
    """A row for each way and seed: accuracy on the training images and on test images, and seconds."""
    X_train, y_train = fetch_cifar10(return_X_y=True)
    X_test, y_test = fetch_cifar10(subset="test", return_X_y=True)
    rows = pd.read_csv(out).to_dict("records") if out is not None and Path(out).exists() else []
    done = {(row["augment"], row["seed"]) for row in rows}
    for seed in range(n_seeds):
        for name, augment in WAYS.items():
            if (name, seed) in done:
                continue
            clf = LatticeClassifier(**SIZES, augment=augment, max_epochs=n_epochs, device="cpu", random_state=seed)
            start = time.perf_counter()
            clf.fit(X_train[:n_images], y_train[:n_images])
            seconds = time.perf_counter() - start
            scores = {
                "train": clf.score(X_train[:n_images], y_train[:n_images]),
                "test": clf.score(X_test[:n_test], y_test[:n_test]),
            }
            rows.append({"augment": name, "seed": seed, **scores, "seconds": seconds})
            print(*rows[-1].values(), flush=True)
            if out is not None:
                pd.DataFrame(rows).to_csv(out, index=False)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", help="a csv file of the rows")
    options = parser.parse_args()
    rows = measure(options.images, options.epochs, options.seeds, out=options.out)
    print(pd.DataFrame(rows).groupby("augment", sort=False)[["train", "test", "seconds"]].agg(["mean", "min", "max"]))


if __name__ == "__main__":
    main()
