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
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.resources import files
from numbers import Real
from types import CodeType, ModuleType

import joblib
import numpy as np
import torch
from safetensors import SafetensorError
from skorch.callbacks import Callback, EpochTimer, PrintLog, ProgressBar
from skorch.history import History

from ._device import choose_device, choose_precision
from ._net import history_frame, history_rows
from ._persistence import (
    INPUT_ATTRIBUTES,
    UnusableFile,
    as_json,
    describe,
    digest_of,
    from_json,
    other_errors_as_unusable,
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
LIBRARIES = {"builtins", "growlattice", "numpy", "sklearn", "skorch", "torch", "torchvision"}
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
    params, device = classifier.get_params(deep=False), choose_device(classifier.device)
    params["precision"] = choose_precision(classifier.precision, device)
    params["n_threads"] = device.type == "cpu" and (classifier.n_threads or torch.get_num_threads())
    parts = {
        "class": identity(type(classifier)),
        "params": {name: identity(value) for name, value in params.items() if name not in NOT_IN_KEY},
        "callbacks": [identity(callback) for callback in deciding_callbacks(classifier)],
        "device": device.type,
        "input": {name: identity(getattr(classifier, name, None)) for name in INPUT_ATTRIBUTES},
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
    """A value in terms of JSON, equal for equal values and in every process; code by its names and bytecode.

    Raises
    ------
    ValueError
        If the value cannot be told from others of its kind.
    """
    try:
        return _identity(value)
    except Exception as error:
        raise ValueError(
            f"memory cannot tell {value!r} from others of its kind ({type(error).__name__}: {error}). "
            "Give a function, or an object of a class at the top of a module."
        ) from error


def _identity(value):
    if value is None or isinstance(value, (str, bool, np.bool_)):
        return value if value is None or isinstance(value, str) else bool(value)
    if isinstance(value, Real):
        return int(value) if value == value // 1 else float(value)
    if isinstance(value, (list, tuple)):
        return [_identity(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_identity(item) for item in value), key=json.dumps)
    if isinstance(value, dict):
        return sorted(([_identity(key), _identity(item)] for key, item in value.items()), key=json.dumps)
    if isinstance(value, torch.Generator):
        value = value.get_state()
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous().view(torch.uint8).numpy() if value.dim() else value.item()
        return ["tensor", _identity(value)]
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return _identity(value.tolist())
        digest = hashlib.blake2b(digest_size=16)
        update_with_array(digest, np.atleast_1d(value))
        return digest.hexdigest()
    if isinstance(value, ModuleType):
        return ["module", value.__name__]
    if isinstance(value, partial):
        return ["partial", *map(_identity, (value.func, value.args, value.keywords))]
    if inspect.ismethod(value):
        return ["method", _identity(value.__func__), _identity(value.__self__)]
    if inspect.isfunction(value):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        closure = [cell.cell_contents for name, cell in cells if name != "__class__"]  # that of `super`, seen already
        return [
            value.__qualname__,
            _code_identity(value.__code__, value.__doc__),
            _identity([closure, value.__defaults__, value.__kwdefaults__]),
        ]
    if isinstance(value, type):
        return _class_identity(value)
    if isinstance(value, np.ufunc) or inspect.isbuiltin(value):
        return [getattr(value, "__module__", None), value.__name__, _identity(getattr(value, "__self__", None))]
    if isinstance(value, Callback):
        return [_class_identity(type(value)), _identity(value.get_params(deep=False))]
    state = vars(value) if hasattr(value, "__dict__") else joblib.hash(value)
    return [_class_identity(type(value)), _identity(state)]


def _class_identity(cls):
    """A class by its name and by its own and inherited methods, but for those of libraries."""
    methods = [
        [name, _identity(member)]
        for base in cls.__mro__
        if base.__module__.split(".")[0] not in LIBRARIES
        for name, member in sorted(vars(base).items())
        if inspect.isfunction(member)
    ]
    return [cls.__module__, cls.__qualname__, methods]


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

        def description():
            config, history = as_json(net.module_.config), as_json(history_rows(net))
            return {"key": self.key, "config": config, "history": history, "seed": net.seed}

        moments = {f"moments.{name}": tensor for name, tensor in net.moments().items()}
        self._write(self.checkpoint, {**net.module_.state_dict(), **moments}, description)
        self.last = time.monotonic()

    def finish(self, classifier, n_images):
        """Store the finished fit, unless another process did, and drop the checkpoint."""
        if not os.path.exists(self.finished):
            self._write(self.finished, classifier.lattice_.state_dict(), lambda: self._describe(classifier, n_images))
        if os.path.exists(self.finished):
            self._clear_up()

    def give_up(self):
        """Drop the checkpoint of a fit that came to an end which its key does not know."""
        with suppress(OSError):  # there may be none, or the folder may be read-only
            os.unlink(self.checkpoint)

    def _clear_up(self):
        """Remove what an unfinished fit leaves behind."""
        for path in [self.checkpoint, *glob.glob(_part_of(self.checkpoint)), *glob.glob(_part_of(self.finished))]:
            with suppress(OSError):  # gone already, or not ours to remove
                if path == self.checkpoint or time.time() - os.path.getmtime(path) > STALE:
                    os.unlink(path)

    def _load(self, classifier):
        tensors, description = read(self.finished)
        self._check_key(self.finished, description)
        return restore(type(classifier), self.finished, tensors, description, classifier.device)

    def _resume(self, classifier):
        tensors, description = read(self.checkpoint)
        self._check_key(self.checkpoint, description)
        with other_errors_as_unusable(self.checkpoint):
            moments = {name.removeprefix("moments."): tensors.pop(name) for name in list(tensors) if "moments." in name}
            lattice = rebuild(self.checkpoint, tensors, from_json(description["config"]))
            net = classifier._make_net(lattice, description["seed"])
            net.history = History(from_json(description["history"]))
            net.set_moments(moments)
        return net

    def _describe(self, classifier, n_images):
        description, _ = describe(classifier)
        return description | {"key": self.key, "record": as_json(_record(classifier, n_images))}

    def _check_key(self, path, description):
        if not isinstance(description, dict) or description.get("key") != self.key:
            raise unusable(path, "it is the entry of another fit")

    def _read(self, path, what):
        """What is in a file, or None if there is none; a damaged one is set aside with a warning."""
        try:
            before = os.stat(path)
            return what()
        except FileNotFoundError:
            return None
        except UnusableFile as error:
            if isinstance(error.__cause__, (OSError, MemoryError)):  # may pass: the file may be sound
                warnings.warn(f"Trained anew, for {path} cannot be read now. {error}", stacklevel=2)
                return None
            warnings.warn(f"Set aside as {path}.damaged, and trained anew. {error}", stacklevel=2)
            with suppress(OSError):  # another process was first, or the folder is read-only
                if os.path.samestat(before, os.stat(path)):  # else another process has replaced it
                    os.replace(path, f"{path}.damaged")
            return None

    def _write(self, path, tensors, description):
        try:
            write(path, tensors, description())
        except (OSError, SafetensorError, TypeError) as error:  # TypeError: what JSON cannot hold
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
