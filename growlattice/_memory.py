"""Finished fits and checkpoints in a folder, so that no fit is done twice and an interrupted one goes on.

A fit's entry is named by a digest of everything that decides what the fit comes to. A finished fit is a file as `save`
writes it, an unfinished one a checkpoint beside it; both are replaced in one piece, so any number of processes can
share a folder.
"""

import ast
import glob
import hashlib
import inspect
import json
import os
import platform
import time
import warnings
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.resources import files
from numbers import Real
from types import CodeType

import joblib
import numpy as np
import torch
from safetensors import SafetensorError
from skorch.callbacks import Callback, EpochTimer, PrintLog, ProgressBar
from skorch.history import History

from ._device import choose_device
from ._net import history_frame, history_rows
from ._persistence import (
    INPUT_ATTRIBUTES,
    UnusableFile,
    as_json,
    describe,
    digest_of,
    from_json,
    read,
    rebuild,
    restore,
    unusable,
    write,
)

FINISHED, CHECKPOINT = ".safetensors", ".checkpoint"
# What does not change the result, and what the key holds in another form (the seed drawn, the kind of device).
NOT_IN_KEY = {"callbacks", "checkpoint_seconds", "device", "memory", "random_state", "verbose", "warm_start"}
DISPLAYS = (PrintLog, ProgressBar, EpochTimer)
NUMERICAL_CODE = (
    "_batches",
    "_classifier",
    "_costs",
    "_device",
    "_images",
    "_lattice",
    "_net",
    "_pruning",
    "_training_set",
)
IMAGES_AT_ONCE = 4096
STALE = 3600.0  # seconds after which half a file is nobody's any more


def fit_key(classifier, data, seed, start=None):
    """The name of a fit: the same for two fits that come to the same, another for any other.

    Parameters
    ----------
    classifier : LatticeClassifier
        With the attributes that describe its input.
    data : TrainingSet
    seed : int
    start : Lattice, default=None
        What a fit with `warm_start` goes on from.

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    ValueError
        If a parameter is code that cannot be told from other code.
    """
    params = classifier.get_params(deep=False)
    parts = {
        "params": {name: identity(value) for name, value in params.items() if name not in NOT_IN_KEY},
        "callbacks": [identity(callback) for callback in deciding_callbacks(classifier)],
        "device": choose_device(classifier.device).type,
        "input": {name: as_json(getattr(classifier, name, None)) for name in INPUT_ATTRIBUTES},
        "seed": seed,
        "start": start and [as_json(start.config), digest_of(start.state_dict())],
        "code": code_version(),
    }
    digest = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16)
    for array in data:
        update_with_array(digest, array)
    return digest.hexdigest()


def deciding_callbacks(classifier):
    """The skorch callbacks that may change what a fit comes to: all but displays."""
    named = [pair[1] if isinstance(pair, (tuple, list)) else pair for pair in classifier.callbacks or ()]
    return [cb for cb in named if (cb if isinstance(cb, type) else type(cb)) not in DISPLAYS]


def update_with_array(digest, array):
    """Feed an array or None to a hashlib digest, some rows at a time."""
    if array is None:
        digest.update(b"none")
        return
    digest.update(f"{array.dtype.str} {array.shape}".encode())
    for start in range(0, len(array), IMAGES_AT_ONCE):
        digest.update(np.ascontiguousarray(array[start : start + IMAGES_AT_ONCE]).reshape(-1).view(np.uint8))


def identity(value):
    """A value in terms of JSON, equal for equal values; code by its names, bytecode and what it has closed over.

    Raises
    ------
    ValueError
        If the value cannot be told from others of its kind.
    """
    if isinstance(value, Real) and not isinstance(value, (bool, np.bool_)):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [identity(item) for item in value]
    if isinstance(value, dict):
        return sorted(([identity(key), identity(item)] for key, item in value.items()), key=json.dumps)
    if isinstance(value, partial):
        return ["partial", identity(value.func), identity(value.args), identity(value.keywords)]
    if inspect.ismethod(value):
        return ["method", identity(value.__func__), identity(value.__self__)]
    if inspect.isfunction(value):
        closure = [cell.cell_contents for cell in value.__closure__ or ()]
        return [
            value.__qualname__,
            _code_identity(value.__code__, value.__doc__),
            identity([closure, value.__defaults__, value.__kwdefaults__]),
        ]
    if isinstance(value, (type, np.ufunc)) or inspect.isbuiltin(value):
        return [getattr(value, "__module__", None), getattr(value, "__qualname__", repr(value))]
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, Callback):
        return [kind, identity(value.get_params(deep=False))]
    try:
        return as_json(value)
    except TypeError:
        pass
    try:
        return [kind, joblib.hash(value)]
    except Exception as error:
        raise ValueError(
            f"memory cannot tell {value!r} from others of its kind, for it cannot be pickled ({error}). "
            "Give a function, or an object of a class at the top of a module."
        ) from error


def _code_identity(code, docstring=None):
    constants = [
        _constant_identity(item if docstring is None or item != docstring else None) for item in code.co_consts
    ]
    return [code.co_code.hex(), constants, list(code.co_names)]


def _constant_identity(value):
    if isinstance(value, CodeType):
        return _code_identity(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


@lru_cache
def code_version():
    """A digest of the code that decides what a fit comes to, whatever its comments, docstrings and layout."""
    digest = hashlib.blake2b(digest_size=16)
    for name in NUMERICAL_CODE:
        tree = ast.parse(files(__package__).joinpath(f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
                node.body[0] = ast.Pass()
        digest.update(ast.unparse(tree).encode())
    return digest.hexdigest()


class Entry:
    """What a memory folder holds of one fit.

    Parameters
    ----------
    folder : str or os.PathLike
        Made if it is not there.
    key : str
        See :func:`fit_key`.
    seconds : float
        Training time between checkpoints.
    report : callable
        Takes a line of text for what is read.

    Raises
    ------
    ValueError
        If there can be no such folder.
    """

    def __init__(self, folder, key, seconds, report):
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ValueError(f"memory={os.fspath(folder)!r} cannot be a folder: {error}. Give another.") from error
        self.key, self.seconds, self.report = key, seconds, report
        self.finished, self.checkpoint = (os.path.join(folder, key + suffix) for suffix in (FINISHED, CHECKPOINT))
        self.last, self.failed = time.monotonic(), False

    def read_finished(self, classifier):
        """Put the finished fit into a classifier of the same parameters, and say whether there was one."""
        stored = self._read(self.finished, lambda: self._load(classifier))
        if stored is None:
            return False
        net = classifier._make_net(stored.lattice_, stored.net_.seed)
        net.history = stored.net_.history
        classifier.net_, classifier.history_ = net, history_frame(net)
        classifier.time_used_, classifier.costs_ = stored.time_used_, stored.costs_
        self._clear_up()
        self.report(f"read from {self.finished}")
        return True

    def read_checkpoint(self, classifier):
        """Let a classifier's net go on from where the checkpoint stands, if there is one."""
        net = self._read(self.checkpoint, lambda: self._resume(classifier))
        if net is not None:
            classifier.net_ = net
            self.report(f"goes on after epoch {len(net.history)} of {classifier.max_epochs}, from {self.checkpoint}")
        self.last = time.monotonic()

    def after_epoch(self, net):
        """Leave a checkpoint if it is time for one."""
        if time.monotonic() - self.last < self.seconds:
            return
        description = {
            "key": self.key,
            "config": as_json(net.module_.config),
            "history": as_json(history_rows(net)),
            "seed": net.seed,
        }
        moments = {f"moments.{name}": tensor for name, tensor in net.moments().items()}
        self._write(self.checkpoint, {**net.module_.state_dict(), **moments}, description)
        self.last = time.monotonic()

    def finish(self, classifier, n_images):
        """Store the finished fit, unless another process did, and drop the checkpoint."""
        if not os.path.exists(self.finished):
            description, _ = describe(classifier)
            description |= {"key": self.key, "record": as_json(_record(classifier, n_images))}
            self._write(self.finished, classifier.lattice_.state_dict(), description)
        self._clear_up()

    def _clear_up(self):
        """Remove what an unfinished fit leaves behind."""
        for path in [self.checkpoint, *glob.glob(_part_of(self.checkpoint)), *glob.glob(_part_of(self.finished))]:
            try:
                if path == self.checkpoint or time.time() - os.path.getmtime(path) > STALE:
                    os.unlink(path)
            except OSError:
                pass  # gone already, or not ours to remove

    def _load(self, classifier):
        tensors, description = read(self.finished)
        self._check_key(self.finished, description)
        return restore(type(classifier), self.finished, tensors, description, classifier.device)

    def _resume(self, classifier):
        tensors, description = read(self.checkpoint)
        self._check_key(self.checkpoint, description)
        moments = {name.removeprefix("moments."): tensors.pop(name) for name in list(tensors) if "moments." in name}
        lattice = rebuild(self.checkpoint, tensors, from_json(description["config"]))
        net = classifier._make_net(lattice, description["seed"])
        net.history = History(from_json(description["history"]))
        net.set_moments(moments)
        return net

    def _check_key(self, path, description):
        if description.get("key") != self.key:
            raise unusable(path, "it is the entry of another fit")

    def _read(self, path, what):
        """What is in a file, or None if there is none; a damaged one is set aside with a warning."""
        try:
            return what()
        except FileNotFoundError:
            return None
        except (UnusableFile, KeyError, ValueError, RuntimeError) as error:
            if isinstance(error.__cause__, OSError):  # of the disk or the network, and may pass: the file may be sound
                warnings.warn(f"Trained anew, for {path} cannot be read now. {error}", stacklevel=2)
                return None
            warnings.warn(f"Set aside as {path}.damaged, and trained anew. {error}", stacklevel=2)
            try:
                os.replace(path, f"{path}.damaged")
            except OSError:
                pass  # another process was first, or the folder is read-only
            return None

    def _write(self, path, tensors, description):
        try:
            write(path, tensors, description)
        except (OSError, SafetensorError) as error:
            if not self.failed:  # said once a fit
                warnings.warn(
                    f"{path} could not be written: {error}. The fit goes on, but memory will not hold it.", stacklevel=2
                )
            self.failed = True


def _part_of(path):
    folder, name = os.path.split(path)
    return os.path.join(glob.escape(folder), f".{name}.*.part")


def _record(classifier, n_images):
    """What a sweep's table says about a fit beside its parameters and costs."""
    device = torch.device(classifier.device_)
    return {
        "accuracy": float(classifier.history_["accuracy"].iloc[-1]),
        "channels_used": classifier.channels_used_,
        "layers_used": classifier.layers_used_,
        "n_parameters": classifier.n_parameters_,
        "macs_per_image": classifier.macs_per_image_,
        "n_images": n_images,
        "n_epochs": len(classifier.history_),
        "seconds": float(classifier.history_["dur"].sum()),
        "finished": datetime.now(UTC).isoformat(),
        "trained_on": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
    }
