"""Batches of training images, shuffled, sliced where the network is.

On the CPU the caller's array is sliced as it lies, so that bytes stay bytes until a batch is taken; to another device
it was copied once. There are no worker processes and no work per image.
"""

import math
import threading
from contextlib import nullcontext

import numpy as np
import torch

from ._device import contiguous_copy

_GLOBAL_GENERATORS = threading.Lock()


class Batches:
    """Batches of (images, (targets, sample_weight)) on a device, for training.

    Parameters
    ----------
    data : TrainingSet
        As `upload` gives it.
    batch_size : int
        Most images in a batch.
    augment : callable, default=None
        Takes and returns a tensor of shape (batch_size, n_channels, height, width).
    """

    def __init__(self, data, batch_size, augment=None):
        self.data, self.batch_size, self.augment = data, batch_size, augment
        self.device = data.targets.device

    def __len__(self):
        return math.ceil(len(self.data) / self.batch_size)

    def shuffled(self, generator):
        """Batches in random order, of sizes that differ by one image at most, augmented."""
        order = torch.randperm(len(self.data), generator=generator, device="cpu").to(self.device)
        for rows in order.tensor_split(len(self)):
            images = self._images(rows)
            if self.augment is not None:
                images = self._augmented(images, generator)
            weight = self.data.sample_weight
            yield images, (self.data.targets[rows], None if weight is None else weight[rows])

    def _images(self, rows):
        if isinstance(self.data.images, np.ndarray):
            return contiguous_copy(self.data.images[rows.numpy()])
        return self.data.images[rows]

    def _augmented(self, images, generator):
        """Apply `augment` with torch's global generators seeded for it alone, and put back as they were.

        Transforms draw from the global generators, which all threads share; the lock keeps fits in other threads
        from drawing in between.
        """
        seed = int(torch.randint(2**62, (), generator=generator, device="cpu"))
        devices = [self.device] if self.device.type == "cuda" else []
        current = torch.cuda.device(self.device) if devices else nullcontext()
        with _GLOBAL_GENERATORS, current, torch.random.fork_rng(devices):
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
