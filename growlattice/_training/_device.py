"""Where a lattice lives, and in what precision it computes."""

import multiprocessing
import os
import platform
import re
import threading
import traceback
import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import torch

MOST_THREADS = 1024
# How many computations run in this process, and torch's number of threads outside of them.
_THREADS = SimpleNamespace(running=0, outside=None, lock=threading.Lock(), of_thread=threading.local())
# dtype of the weights, and of autocast where that differs
PRECISIONS = {
    "float32": (torch.float32, None),
    "float64": (torch.float64, None),
    "bfloat16": (torch.float32, torch.bfloat16),
}


def choose_device(device, n_gpus=None, worker=None):
    """The torch device that a user's `device` means.

    Parameters
    ----------
    device : str or torch.device
        "auto" takes a GPU where there is one; where there are several, each worker of joblib's takes the next.
    n_gpus : int, default=None
        GPUs to choose from; by default those that torch sees, which `CUDA_VISIBLE_DEVICES` can limit.
    worker : int, default=None
        Number of the worker; by default that of the process and thread that calls.

    Raises
    ------
    ValueError
        If there is no such device on this machine.

    Examples
    --------
    >>> [str(choose_device("auto", n_gpus=2, worker=worker)) for worker in (0, 1, 2)]
    ['cuda:0', 'cuda:1', 'cuda:0']
    >>> choose_device("auto", n_gpus=0)
    device(type='cpu')
    """
    n_gpus = torch.cuda.device_count() if n_gpus is None else n_gpus
    if device == "auto":
        if not n_gpus:
            return torch.device("cpu")
        return torch.device("cuda", (worker_number() if worker is None else worker) % n_gpus)
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        there = "'cpu'" + "".join(f", 'cuda:{index}'" for index in range(n_gpus))
        raise ValueError(
            f"device={device!r} cannot be used here: {str(error).splitlines()[0]}. "
            f"This machine has {there}; give one of them, or 'auto'."
        ) from error
    return torch.device(device)


def choose_precision(precision, device, capability=None):
    """The name of the precision that a user's `precision` means on a device.

    Parameters
    ----------
    precision : {"auto", "float32", "float64", "bfloat16"}
        "auto" is bfloat16 on a GPU that computes in it by itself, from compute capability 8.0 on, and else float32.
    device : torch.device
    capability : tuple of int, default=None
        The GPU's compute capability; by default what torch says.

    Examples
    --------
    >>> choose_precision("auto", torch.device("cuda"), capability=(9, 0))
    'bfloat16'
    >>> choose_precision("auto", torch.device("cuda"), capability=(7, 5))
    'float32'
    >>> choose_precision("auto", torch.device("cpu"))
    'float32'
    """
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "float32"
    capability = torch.cuda.get_device_capability(device) if capability is None else capability
    return "bfloat16" if capability >= (8, 0) else "float32"


def bfloat16_units():
    """What of this CPU computes in bfloat16 by itself, by torch's own checks; None for CPUs that they say nothing of.

    Returns
    -------
    list of str or None
        "AMX", "AVX512-BF16", both or none.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    checks = {"AMX": "_is_amx_tile_supported", "AVX512-BF16": "_is_avx512_bf16_supported"}
    return [name for name, check in checks.items() if getattr(torch.cpu, check, lambda: False)()]


def warn_of_slow_precision(precision, device):
    """Warn where bfloat16 was asked for on a CPU that has to imitate it."""
    if precision == "bfloat16" and device.type == "cpu" and bfloat16_units() == []:
        warnings.warn(
            "precision='bfloat16' is slower than 'float32' on this CPU, which has neither AMX nor AVX512-BF16.",
            stacklevel=2,
        )


def worker_number(process=None, thread=None):
    """The number of a worker of joblib's, and 0 outside of one.

    joblib's backends number their processes ("LokyProcess-2") and threads ("Thread-3 (worker)"); a worker process whose
    name has no number, such as Dask's, counts by its process id.

    Parameters
    ----------
    process, thread : str, default=None
        Names; by default those of the process and thread that call.

    Examples
    --------
    >>> worker_number("MainProcess", "MainThread")
    0
    >>> worker_number("LokyProcess-2", "MainThread")
    2
    """
    process = multiprocessing.current_process().name if process is None else process
    thread = threading.current_thread().name if thread is None else thread
    if process == "MainProcess":
        return _number_in(thread, 0) if thread != "MainThread" else 0
    return _number_in(process, os.getpid())


@contextmanager
def own_torch(n_threads):
    """Compute with so many threads on the CPU while inside, and in none of the modes that a caller of torch may be in.

    A caller's autocast would decide the precision, and keep copies of weights that training changes; what is made in
    its inference mode cannot be trained.
    """
    modes = [torch.autocast(kind, enabled=False) for kind in ("cpu", "cuda")]
    with cpu_threads(n_threads), torch.inference_mode(False), modes[0], modes[1]:
        yield


@contextmanager
def cpu_threads(n_threads):
    """Compute with so many threads on the CPU while inside; None leaves the number as it is.

    torch keeps a number for each thread of Python, so fits beside each other do not disturb one another. But a thread
    that is new to torch inherits the number that was set last in any thread, possibly by a running fit: such a thread
    is left with the number from before the first of the running fits.
    """
    with _THREADS.lock:
        before = torch.get_num_threads()
        if not _THREADS.running:
            _THREADS.outside = before
        elif not hasattr(_THREADS.of_thread, "seen"):
            before = _THREADS.outside
        _THREADS.of_thread.seen = True
        _THREADS.running += 1
    torch.set_num_threads(min(n_threads or before, MOST_THREADS))
    try:
        yield
    finally:
        with _THREADS.lock:
            torch.set_num_threads(before)
            _THREADS.running -= 1


@contextmanager
def gpu_memory(batch_size):
    """Give a GPU's memory back to other processes when done, and say what to do if it was not enough."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        traceback.clear_frames(error.__traceback__)  # they hold what fills the memory
        raise torch.OutOfMemoryError(
            f"The GPU ran out of memory with batch_size={batch_size}: {str(error).splitlines()[0]} Lower batch_size, "
            "max_channels or image_size, run fewer fits at once (n_jobs), or set precision='bfloat16'."
        ) from None
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _number_in(name, otherwise):
    numbers = re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else otherwise


def upload(array, device):
    """A tensor of an array's numbers on a device; to a GPU through pinned memory, without waiting for it."""
    if device.type != "cuda":
        return contiguous_copy(array).to(device)
    copied = torch.empty(array.shape, dtype=contiguous_copy(array[:0]).dtype, device="cpu", pin_memory=True)
    copied.numpy()[...] = array
    return copied.to(device, non_blocking=True)


def contiguous_copy(array):
    """A tensor on the CPU of its own: writable, and in the order of its axes, since other strides are slower."""
    return torch.from_numpy(np.array(array, order="C"))
