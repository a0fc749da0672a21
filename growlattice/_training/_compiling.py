"""A lattice's forward and backward pass as compiled code: when that pays, and who compiles.

What is compiled belongs to a form of lattice and not to a lattice or a net: all fits of one form in a process share it,
and processes share torch's cache on disk. The number of images in a batch is dynamic.
"""

import os
import shutil
import sys
import sysconfig
import warnings
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType

import torch

# Compiling takes 40 s and then saves a quarter of the time in float32 (docs/choices): what it takes to break even.
WORTH = 3e12  # multiply-accumulates, forward and backward, ahead of what is compiled
SETTLED = 3  # epochs that a form has to last before it is compiled, unless training begins with it
PASSES = 3  # forward, and backward for twice as much
FORMS = 64  # kept in a process
BACKEND = "inductor"
CONFIG = "torch._functorch.config"
BOTH_PASSES = "force_non_lazy_backward_lowering"  # torch's option to compile the backward pass with the forward pass
OPTIONS = {"compile_threads": 1}  # no pool of processes beside each worker of a search
# Convolutions are called from C++ instead of Python, and a pass is two files instead of some fifty (docs/choices).
OPTIONS_OF = {("linux", "cpu"): OPTIONS | {"cpp_wrapper": True, "cpp_wrapper_build_separate": True}}
_FAILED = set()


def compiles_both_passes():
    """Whether torch can compile the backward pass with the forward pass, so that it fails where that is caught."""
    return hasattr(import_module(CONFIG), BOTH_PASSES)


@lru_cache
def can_compile(device_type="cpu"):
    """Whether torch compiles both passes at once, and there are Triton, or a C++ compiler and Python's headers.

    This looks for them only; whether they work is seen when they are used.
    """
    if not compiles_both_passes():
        return False
    if device_type != "cpu":
        return find_spec("triton") is not None
    standard = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    headers = os.path.join(sysconfig.get_path("include"), "Python.h")
    return shutil.which(os.environ.get("CXX", standard)) is not None and os.path.exists(headers)


def is_worth_compiling(compile, device_type, macs):
    """What a user's `compile` means for work of so many multiply-accumulates.

    Parameters
    ----------
    compile : {"auto"} or bool
        "auto" compiles on a CPU, where work is long enough and something can be compiled. True compiles whatever there
        is to do.
    device_type : str
    macs : float
        0 for a form of lattice that may not last.

    Examples
    --------
    >>> is_worth_compiling(False, "cpu", 1e15), is_worth_compiling("auto", "cpu", 1e9)
    (False, False)
    >>> is_worth_compiling(True, "cpu", 1), is_worth_compiling(True, "cpu", 0)
    (True, False)
    """
    if compile != "auto":
        return bool(compile) and macs > 0
    return device_type == "cpu" and macs >= WORTH and can_compile(device_type)


def epoch_work(before, macs, n_images, start, end, last=1.0):
    """The training, in multiply-accumulates, for which an epoch's form would have been compiled; 0 is none.

    It is counted from the epoch in which the form was first due, as if the form stayed as long as it may. So it depends
    on nothing but what training has been so far, and a training that was interrupted goes on as it would have.

    Parameters
    ----------
    before : sequence of int
        Multiply-accumulates of one image, forward, in the epochs of this training before this one.
    macs : int
        The same of this epoch, which stands for the form.
    n_images : int
        In an epoch.
    start, end : float
        Shares of training before and after this epoch. They are equal where nobody knows how long training will be.
    last : float, default=1.0
        Share of training up to which the form may stay.

    Examples
    --------
    Three passes in each of 10 epochs; a form that has lasted 2 epochs only; one that has lasted 3:

    >>> epoch_work([], macs=100, n_images=10, start=0.0, end=0.1)
    30000
    >>> epoch_work([200, 200, 100, 100], macs=100, n_images=10, start=0.4, end=0.5)
    0
    >>> epoch_work([200, 100, 100, 100], macs=100, n_images=10, start=0.4, end=0.5)
    18000
    """
    others = [index for index, of_epoch in enumerate(before) if of_epoch != macs]
    alike = len(before) - (others[-1] + 1 if others else 0)
    overdue = alike - (SETTLED if others else 0)
    n_epochs = (round((last - start) / (end - start)) if end > start else 1) + overdue
    return PASSES * macs * n_images * n_epochs if overdue >= 0 else 0


def forward(lattice, images, conv_dtype=None, noise=0.0, generator=None, compiled=False, noisy=False):
    """Run a lattice as its forward pass does, compiled or not.

    Parameters
    ----------
    lattice, images, conv_dtype, noise, generator
        As for :meth:`Lattice.forward`.
    compiled : bool
        Where the compiler fails, the lattice runs as it is, and the first time a warning says so.
    noisy : bool
        Whether noise comes later: what is compiled then has it from the start.
    """
    form = _form(lattice, conv_dtype) if compiled else None
    hooks = lattice._forward_hooks or lattice._forward_pre_hooks  # of callbacks; `run` does not call them
    if not compiled or len(images) < 2 or hooks or form in _FAILED:
        return lattice(images, noise, generator, conv_dtype)
    place, drawn = lattice.pixel_mean, None
    if noise:
        drawn = lattice.draw_noise(len(images), generator)
    elif noisy:
        drawn = place.new_zeros(len(images), lattice.n_hidden)
    for tensor in (images, drawn):
        if tensor is not None:
            torch._dynamo.mark_dynamic(tensor, 0)
    try:
        with import_module(CONFIG).patch(BOTH_PASSES, True):  # it fails in torch 2.9, which has no such option
            return _compiled(form, place.device.type)(lattice, images, place.new_full((), noise), drawn, conv_dtype)
    except Exception as error:
        output = lattice.run(images, noise, drawn, conv_dtype)  # raises by itself what is not the compiler's fault
        if not _FAILED:
            reason = " ".join(f"{type(error).__name__}: {error}".splitlines()[:2])  # torch names its backend first
            warnings.warn(f"Not compiled, and slower for it: {reason} compile=False says that.", stacklevel=2)
        _FAILED.add(form)
        return output


def has_failed(lattice, conv_dtype):
    """Whether the compiler failed at this form, which runs as it is since."""
    return _form(lattice, conv_dtype) in _FAILED


def compiled_run(compile, lattice, n_images):
    """What :func:`growlattice._training._inference.outputs` is to call for so many images; None is the lattice."""
    device = lattice.pixel_mean.device.type
    return partial(forward, compiled=True) if is_worth_compiling(compile, device, n_images * lattice.macs()) else None


def _form(lattice, conv_dtype):
    """What compiled code is for."""
    place = lattice.pixel_mean
    return str((lattice.config, lattice._form, place.dtype, place.device, conv_dtype))


@lru_cache(FORMS)
def _compiled(form, device_type):
    """A compiled `_run` for a form. torch counts recompilations by code object, so each form has one of its own."""
    function = FunctionType(_run.__code__.replace(co_name=f"run_{hash(form) % 10**8}"), globals())
    options = OPTIONS_OF.get((sys.platform, device_type), OPTIONS) if BACKEND == "inductor" else None
    return torch.compile(function, fullgraph=True, dynamic=False, backend=BACKEND, options=options)


def _run(lattice, images, noise, drawn, conv_dtype):
    return lattice.run(images, noise, drawn, conv_dtype)
