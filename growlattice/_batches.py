"""Images and labels in batches of one size, sliced where the network is.

The caller's array is sliced as it lies, so that bytes stay bytes until a batch is taken; only for training on another
device is it copied there, once. There are no worker processes and no work per image.
"""

import math
import threading

import numpy as np
import torch

_GLOBAL_GENERATORS = threading.Lock()


class Batches:
    """Batches of (images, (labels, sample_weight)) on a device.

    Parameters
    ----------
    images : ndarray of shape (n_images, n_channels, height, width)
        Of any real dtype.
    labels : ndarray of int64 of shape (n_images,), default=None
        Without labels, the second member of each batch is None.
    sample_weight : ndarray of shape (n_images,), default=None
        Weight of each image, scaled here to 1 on average.
    batch_size : int
        Most images in a batch.
    device : torch.device
        Where the batches are wanted.
    augment : callable, default=None
        Takes and returns a tensor of shape (batch_size, n_channels, height, width); used by `shuffled` alone.
    """

    def __init__(self, images, labels=None, sample_weight=None, *, batch_size, device, augment=None):
        self.device, self.augment = torch.device(device), augment
        self.batch_size = batch_size
        resident = labels is not None and self.device.type != "cpu"  # training goes over the images many times
        self.images = torch.from_numpy(np.ascontiguousarray(images)).to(self.device) if resident else images
        self.labels = None if labels is None else torch.from_numpy(labels).to(self.device)
        self.sample_weight = None
        if sample_weight is not None:
            self.sample_weight = torch.from_numpy(sample_weight / sample_weight.mean()).float().to(self.device)

    @property
    def n_images(self):
        return len(self.images)

    def __len__(self):
        return math.ceil(self.n_images / self.batch_size)

    def __iter__(self):
        """Batches in the order given, each of exactly `batch_size` images, the last filled up with the first image.

        What a network answers about an image then depends on that image alone and not, through the choice of
        another kernel, on how many others came with it.
        """
        rows = torch.zeros(len(self) * self.batch_size, dtype=torch.int64)
        rows[: self.n_images] = torch.arange(self.n_images)
        for batch in self._placed(rows).split(self.batch_size):
            yield self._take(batch)

    def shuffled(self, generator):
        """Batches in random order, of sizes that differ by one image at most, augmented."""
        order = torch.randperm(self.n_images, generator=generator)
        for batch in self._placed(order).tensor_split(len(self)):
            images, targets = self._take(batch)
            if self.augment is not None:
                images = self._augmented(images, generator)
            yield images, targets

    def _placed(self, rows):
        """Row numbers of an epoch, where the images are: copied there once, and not batch by batch."""
        return rows if isinstance(self.images, np.ndarray) else rows.to(self.device)

    def _take(self, rows):
        if isinstance(self.images, np.ndarray):
            taken = self.images[rows.numpy()]
            # Channels first in memory too, whatever the caller's order: other strides mean other, slower kernels.
            images = torch.from_numpy(taken.reshape(-1).reshape(taken.shape)).to(self.device)
        else:
            images = self.images[rows]
        if self.labels is None:
            return images, None
        return images, (self.labels[rows], None if self.sample_weight is None else self.sample_weight[rows])

    def _augmented(self, images, generator):
        """Apply `augment` with torch's global generators seeded for it alone, and put back as they were.

        Transforms draw from the global generators, which all threads share; the lock keeps fits in other threads
        from drawing in between.
        """
        seed = int(torch.randint(2**62, (), generator=generator))
        devices = [self.device] if self.device.type == "cuda" else []
        with _GLOBAL_GENERATORS, torch.random.fork_rng(devices):
            torch.random.default_generator.manual_seed(seed)
            if devices:
                torch.cuda.manual_seed(seed)
            augmented = self.augment(images)
        if _kind(augmented) != _kind(images):
            raise ValueError(
                f"augment returned {_kind(augmented)} for {_kind(images)}. "
                "Give a callable that returns a tensor of the shape and dtype it got."
            )
        return augmented


def _kind(images):
    if not isinstance(images, torch.Tensor):
        return type(images).__name__
    return f"a tensor of shape {tuple(images.shape)} and dtype {images.dtype}"
