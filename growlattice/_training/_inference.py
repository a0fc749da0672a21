"""Running a lattice over images without training it: batches that fit into memory, and what is read from their outputs.

All batches of a call have one size, so the order of images does not matter at all. Sizes are powers of two, so that one
image is cheap and many are fast; how many images a call has matters to an answer by float rounding alone. Rows of a
table, of which 32 take no longer than one, come in batches of 32 at least, so that few of them are answered like one.
"""

import traceback

import numpy as np
import torch
from sklearn.utils import gen_batches

from ..lattice._costs import mean_step
from ..lattice._input_cut import input_products
from ..lattice._weights import SELECTOR_HIDDEN
from ._device import upload

MOST_IMAGES, FEWEST_ROWS = 4096, 32
WIDEST = 8  # bytes of a pixel as it is given
BUDGETS = {"cpu": 2**25, "cuda": 2**32}  # bytes that a batch may take; on a CPU more would leave its caches


def bytes_per_image(lattice, conv_dtype=None):
    """A bound on what all tensors that live at once take while the lattice runs on one image.

    Each of the lattice's layers has its hidden state and its activity, and drives its readers; the drives of the step
    before are there until all of the next are.

    Returns
    -------
    int
    """
    n_inputs, height, width = lattice.config["image_shape"]
    channels, steps = lattice.channels_left, lattice.steps_left
    pixels = [height * width for height, width in lattice.layer_sizes[: len(channels)]]
    wide = lattice.pixel_mean.element_size()
    narrow = conv_dtype.itemsize if conv_dtype else wide
    normalizing = n_inputs * (WIDEST + 2 * wide) * height * width
    image = n_inputs * (WIDEST + narrow) * height * width
    planes = [n_kept * n_pixels for n_kept, n_pixels in zip(channels, pixels, strict=True)]  # numbers in each layer
    first_drive = lattice.inputs_left * height * width + planes[0]
    if lattice.factors[0] > 1:  # what is pooled is there beside it
        first_drive = lattice.inputs_left * (height * width + pixels[0]) + planes[0]
    above = sum(planes[1:])  # what the last step drives
    top_down = sum(n_kept * n_pixels for n_kept, n_pixels in zip(channels[:-1], pixels[1:], strict=True))
    driven = above + sum(planes) + top_down  # bottom-up, lateral and top-down
    drives = {1: above, 2: driven + above}.get(steps, 2 * driven)
    blocks = zip(channels[:-1], pixels[1:], lattice.factors[1:], strict=False)  # a top-down drive, as upsampled
    upsampled = max((n_kept * n_pixels * factor**2 for n_kept, n_pixels, factor in blocks if factor > 1), default=0)
    states = planes[0] + 2 * sum(planes) + 2 * max(planes)  # with the first drive, and one that is made
    stepping = states * wide + (drives + 2 * max(planes) * bool(drives) + upsampled * (steps > 1)) * narrow
    read = steps * (2 * sum(channels) + 2 * SELECTOR_HIDDEN + 3 * lattice.config["n_outputs"])
    answered = lattice.n_steps * (2 * lattice.n_layers * lattice.n_channels + 3 * lattice.config["n_outputs"])
    return max(normalizing, image + max(first_drive * narrow, stepping)) + (read + answered) * wide


def outputs(lattice, images, conv_dtype=None, run=None):
    """Yield the rows of each batch and the lattice's output on them, without noise and without gradients.

    A batch that the memory cannot hold is tried again at half its size, down to a single image.

    Parameters
    ----------
    lattice : Lattice
    images : ndarray or tensor of shape (n_images, n_channels, height, width)
        A tensor is on the lattice's device already.
    conv_dtype : torch.dtype, default=None
        See :meth:`Lattice.forward`.
    run : callable, default=None
        Takes a lattice, a tensor of images and `conv_dtype`, and returns a named tuple of tensors whose first axes are
        that of the images. By default the lattice is called.

    Yields
    ------
    slice, LatticeOutput
        Or what `run` returns.
    """
    run = run or _run_all_steps
    if lattice.training:
        lattice.eval()
    device, start = lattice.pixel_mean.device, 0
    fewest = FEWEST_ROWS if lattice.config["image_shape"][1:] == (1, 1) else 1
    size = batch_size(max(len(images), fewest), _largest_batch(lattice, conv_dtype))
    while start < len(images):
        rows = slice(start, min(start + size, len(images)))
        try:
            with torch.no_grad():
                output = run(lattice, filled(images[rows], size, device), conv_dtype)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not _is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold what fills the memory
            size //= 2
            continue
        yield rows, output._make(tensor[: rows.stop - start] for tensor in output)
        start = rows.stop


def batch_size(n_images, largest):
    """The size of all batches of a call: a power of two that holds all its images, or the largest that memory allows.

    Examples
    --------
    >>> [batch_size(n_images, largest=128) for n_images in (1, 3, 64, 1000)]
    [1, 4, 64, 128]
    """
    return min(2 ** (max(n_images, 1) - 1).bit_length(), largest)


def collect(lattice, images, read, conv_dtype=None, run=None):
    """What `read` takes from each output, over all images.

    Parameters
    ----------
    lattice, images, conv_dtype, run
        As for :func:`outputs`.
    read : callable
        Takes an output and returns a tensor whose first axis is that of the images.

    Returns
    -------
    ndarray of shape (n_images, ...)
    """
    gathered, waiting = None, []  # a part is copied while the next batch computes
    for rows, output in outputs(lattice, images, conv_dtype, run):
        waiting.append((rows, read(output)))
        if gathered is None:  # filled in place: kept parts would scatter over the heap and hold it
            part = waiting[0][1]
            gathered = np.empty((len(images), *part.shape[1:]), part[:0].cpu().numpy().dtype)
        elif len(waiting) > 1:
            _store(gathered, *waiting.pop(0))
    for rows, part in waiting:
        _store(gathered, rows, part)
    return gathered


def measure(lattice, data, conv_dtype=None):
    """Error cost, score and time used of a lattice, as weighted means over images.

    Parameters
    ----------
    lattice : Lattice
    data : TrainingSet
        As `upload` gives it.
    conv_dtype
        As for :func:`outputs`.

    Returns
    -------
    dict of str to float
        "error", the score of the lattice's task under its name, and "time_used", in steps.
    """
    task, device = lattice.task, data.targets.device
    unit = task.unit(data.targets, data.sample_weight)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for rows, output in outputs(lattice, data.images, conv_dtype):
        targets = data.targets[rows]
        scores, time_used = task.image_scores(output, targets, unit), mean_step(output.weights)
        weight = torch.ones_like(scores) if data.sample_weight is None else data.sample_weight[rows]
        error = task.error(output, targets, weight) * len(targets)
        sums += torch.stack([error, (scores.to(weight.dtype) * weight).sum(), (time_used * weight).sum()])
    return dict(zip(("error", task.score_name, "time_used"), (sums / len(data)).tolist(), strict=True))


def input_moment(lattice, data):
    """What :func:`growlattice.lattice._input_cut.cut_input` asks for, as a weighted mean over images.

    Parameters
    ----------
    lattice : Lattice
    data : TrainingSet
        As `upload` gives it.

    Returns
    -------
    tensor of float64 of shape (inputs_left, inputs_left)
    """
    size, moment = _largest_batch(lattice), 0.0
    for rows in gen_batches(len(data), size):
        images = filled(data.images[rows], rows.stop - rows.start, lattice.pixel_mean.device)
        products = input_products(lattice, images)
        if data.sample_weight is not None:
            products = products * data.sample_weight[rows, None, None]
        moment = moment + products.sum(dim=0)
    return moment / (len(data) if data.sample_weight is None else data.sample_weight.sum())


def _largest_batch(lattice, conv_dtype=None):
    """The largest power of two of images that the budget of the lattice's device allows."""
    budget = BUDGETS.get(lattice.pixel_mean.device.type, BUDGETS["cpu"])
    largest = int(budget // bytes_per_image(lattice, conv_dtype))
    return 2 ** (min(max(largest, 1), MOST_IMAGES).bit_length() - 1)


def _run_all_steps(lattice, images, conv_dtype):
    return lattice(images, conv_dtype=conv_dtype)


def filled(images, size, device):
    """Images as a tensor on the device, filled up to a size with the first of them."""
    if not isinstance(images, torch.Tensor):
        images = upload(images, device)
    if len(images) == size:
        return images
    return torch.cat([images, images[:1].expand(size - len(images), -1, -1, -1)])


def _is_out_of_memory(error):
    on_cpu = "allocate memory" in str(error)  # torch has no class of errors for that
    return on_cpu or isinstance(error, (torch.OutOfMemoryError, MemoryError))


def _store(gathered, rows, part):
    gathered[rows] = part.cpu().numpy()
