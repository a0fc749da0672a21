"""A fitted lattice as one file: tensors in safetensors, everything else as JSON in the file's header.

Nothing is pickled, so reading a stranger's file runs none of its code. A digest over all that the file holds tells a
damaged file from a sound one before anything is built from it.
"""

import hashlib
import json
import math
import os
import uuid
import warnings
from contextlib import contextmanager
from importlib.metadata import version

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from skorch.history import History

from ._device import choose_device
from ._lattice import Lattice
from ._net import history_frame, history_rows
from ._parameters import check_parameters, check_sizes
from ._pruning import build, settle

FORMAT = 1
ARRAY_DTYPES = {
    name: np.dtype(name)
    for name in "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 object".split()
}
LONGEST_TEXT = 10_000_000  # characters of an array, padded
MOST_STEPS = 10_000
LIBRARIES = ("growlattice", "torch", "skorch", "scikit-learn", "numpy")
INPUT_ATTRIBUTES = (
    "classes_",
    "n_features_in_",
    "feature_names_in_",
    "input_shape_",
    "image_size_",
    "image_shape_",
)
SAVED = (*INPUT_ATTRIBUTES, "time_used_", "costs_", "resources_")
LOCAL = {"memory"}  # parameters that mean something on one machine only


def save_classifier(classifier, path):
    """Write a fitted LatticeClassifier; see :meth:`growlattice.LatticeClassifier.save`."""
    check_parameters(classifier)
    description, left_out = describe(classifier)
    if left_out:
        warnings.warn(f"Not saved, because they are code or hold it: {', '.join(left_out)}.", stacklevel=3)
    write(path, classifier.lattice_.state_dict(), description)


def describe(classifier):
    """Everything about a fitted classifier but its tensors, for JSON, and the names of the parameters left out."""
    params, left_out = {}, []
    for name, value in classifier.get_params(deep=False).items():
        if name in LOCAL:
            continue
        try:
            params[name] = as_json(value)
        except TypeError:
            left_out.append(name)
    description = {
        "params": {"dict": list(params.items())},
        "config": as_json(classifier.lattice_.config),
        "fitted": as_json({name: getattr(classifier, name) for name in SAVED if hasattr(classifier, name)}),
        "history": as_json(history_rows(classifier.net_)),
        "seed": classifier.net_.seed,
    }
    return description, left_out


def load_classifier(cls, path, device):
    """Read a fitted LatticeClassifier; see :meth:`growlattice.LatticeClassifier.load`."""
    choose_device(device)
    return restore(cls, path, *read(path), device)


def restore(cls, path, tensors, description, device):
    """A fitted classifier from what `read` gave."""
    with other_errors_as_unusable(path):
        params = {name: value for name, value in from_json(description["params"]).items() if name not in LOCAL}
        classifier = cls(**{**params, "device": device})
        check_parameters(classifier)
        fitted = from_json(description["fitted"])
        vars(classifier).update({name: fitted[name] for name in SAVED if name in fitted})
        lattice = rebuild(path, tensors, from_json(description["config"]))
        _check_fitted(classifier, lattice, description["seed"])
        classifier.net_ = classifier._make_net(lattice, description["seed"])
        classifier.net_.history = History(from_json(description["history"]))
        classifier.history_ = history_frame(classifier.net_)
    return classifier


@contextmanager
def other_errors_as_unusable(path):
    """Say whatever a stranger's description can bring about as one thing, but a lack of memory as what it is."""
    try:
        yield
    except (UnusableFile, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise unusable(path, f"its description does not fit ({type(error).__name__}: {error})") from error


def write(path, tensors, description):
    """Write tensors and a description, so that the file at `path` is the old one or the new one and nothing between.

    Parameters
    ----------
    path : str or os.PathLike
    tensors : dict of str to tensor
    description : dict
        Of what JSON can hold.
    """
    path = os.path.realpath(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(description, allow_nan=False, sort_keys=True)
    versions = json.dumps({name: version(name) for name in LIBRARIES})
    header = {
        "format": str(FORMAT),
        "versions": versions,
        "description": text,
        "digest": digest_of(tensors, text, versions),
    }
    folder, name = os.path.split(path)
    part = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.part")
    try:
        save_file(tensors, part, metadata=header)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)


def save_file(tensors, path, metadata):
    """Write a safetensors file that others may read as far as the umask allows; safetensors' own are private."""
    with open(path, "wb") as file:
        file.write(save(tensors, metadata))
        file.flush()
        os.fsync(file.fileno())


def read(path):
    """Read what `write` wrote.

    Returns
    -------
    tensors : dict of str to tensor
        On the CPU.
    description : dict

    Raises
    ------
    ValueError
        If the file is of another kind or format, or not as it was written. It is named.
    """
    path = os.fspath(path)
    try:
        open(path, "rb").close()  # says why it cannot be read, where safetensors says that it is not there
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if "format" in header and header["format"] != str(FORMAT):
                raise unusable(path, f"its format version is {header['format']!r}, and this growlattice reads {FORMAT}")
            if not {"format", "versions", "description", "digest"} <= set(header):
                raise unusable(path, "it was not written by growlattice")
            # copies: what the file holds may change later, under a memory map
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise unusable(path, f"it is no whole safetensors file ({error})") from error
    if digest_of(tensors, header["description"], header["versions"]) != header["digest"]:
        raise unusable(path, "its content is not what was written")
    try:
        return tensors, json.loads(header["description"])
    except (ValueError, RecursionError) as error:
        raise unusable(path, f"its description is no JSON ({error})") from error


def rebuild(path, tensors, config):
    """The lattice of a file, after a check that its tensors are those that the configuration asks for."""
    mask = tensors.get("mask")
    try:
        if mask is None or mask.dtype != torch.bool or tuple(mask.shape) != (config["n_layers"], config["n_channels"]):
            raise unusable(path, "its channel mask does not fit its configuration")
        if not mask.any() or not torch.equal(mask, settle(mask)):
            raise unusable(path, "its channel mask leaves no lattice")
        if sum(name.startswith("lateral.") for name in tensors) != int(mask.any(dim=1).sum()):
            raise unusable(path, "its tensors are not those of the layers in its mask")
        _check_config(config)
        expected = Lattice(**config, mask=mask).state_dict()
    except (TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise unusable(path, f"its configuration makes no lattice ({error})") from error
    dtype = tensors["input.weight"].dtype if "input.weight" in tensors else None
    for name in expected.keys() | tensors.keys():
        if name not in expected or name not in tensors or tensors[name].shape != expected[name].shape:
            raise unusable(path, f"the tensor {name!r} does not fit its configuration")
        if name != "mask" and (tensors[name].dtype != dtype or dtype not in (torch.float32, torch.float64)):
            raise unusable(path, f"the tensor {name!r} has dtype {tensors[name].dtype}")
        if not torch.isfinite(tensors[name]).all() or (name == "pixel_std" and not (tensors[name] > 0).all()):
            raise unusable(path, f"the tensor {name!r} holds numbers that no training gives")
    return build(config, tensors)


def as_json(value):
    """A value in terms that JSON keeps: tuples, dicts, arrays and data frames become tagged objects.

    Raises
    ------
    TypeError
        If the value is code or of a kind that is not known here.
    """
    if isinstance(value, (np.generic, torch.device)):
        value = value.item() if isinstance(value, np.generic) else str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [as_json(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[as_json(key), as_json(item)] for key, item in value.items()]}
    if (
        isinstance(value, np.ndarray)
        and value.ndim == 1
        and (value.dtype.kind == "U" or value.dtype.name in ARRAY_DTYPES)
    ):
        return {"array": [as_json(item) for item in value.tolist()], "dtype": value.dtype.name}
    if isinstance(value, pd.DataFrame):
        return {"frame": as_json(value.to_dict("split"))}
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def from_json(value):
    """What `as_json` was given."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(from_json(value["tuple"]))
    if "dict" in value:
        return {from_json(key): from_json(item) for key, item in value["dict"]}
    if "array" in value:
        return _array(from_json(value["array"]), value["dtype"])
    if "float" in value:
        return float(value["float"])
    frame = from_json(value["frame"])
    index, columns, data = (frame[name] for name in ("index", "columns", "data"))
    if not (isinstance(data, list) and len(data) == len(index) and all(len(row) == len(columns) for row in data)):
        raise ValueError("a table has rows of another length than its columns")
    return pd.DataFrame(data, index=index, columns=columns)


def _array(items, dtype):
    if not dtype.startswith("str"):
        return np.array(items, dtype=ARRAY_DTYPES[dtype])
    if max(map(len, items), default=0) * len(items) > LONGEST_TEXT:
        raise ValueError("an array of text is too large")
    return np.array(items)


class UnusableFile(ValueError):
    """A file that is not, or no longer, what `LatticeClassifier.save` wrote."""


def unusable(path, why):
    return UnusableFile(f"Cannot load {os.fspath(path)!r}: {why}. Give a file that LatticeClassifier.save wrote.")


def digest_of(tensors, *texts):
    """A digest of named tensors and texts."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + b"\0")
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _check_config(config):
    """Raise a TypeError unless the configuration is one that LatticeClassifier makes."""
    sizes = ("n_classes", "n_channels", "n_layers", "n_steps", "kernel_size", "steps_left")
    sound = (
        all(type(config[name]) is int and config[name] > 0 for name in sizes)
        and config["steps_left"] <= config["n_steps"] <= MOST_STEPS
        and config["kernel_size"] % 2 == 1
        and config["time_selection"] in ("adaptive", "fixed")
        and type(config["temperature"]) in (int, float)
        and 0 < config["temperature"] < math.inf
    )
    if not sound:
        raise TypeError("a size, the temperature or the time selection is out of range")


def _check_fitted(classifier, lattice, seed):
    """Raise a ValueError unless the fitted attributes fit each other and the lattice."""
    classes, shape = classifier.classes_, classifier.image_shape_
    check_sizes("input_shape_", classifier.input_shape_, 3, "(channels, height, width)")
    names = getattr(classifier, "feature_names_in_", None)
    table = getattr(classifier, "resources_", None)
    wrong = {
        "classes_": not isinstance(classes, np.ndarray) or not np.array_equal(classes, np.unique(classes)),
        "image_shape_": shape != lattice.config["image_shape"] or classifier.input_shape_[0] != shape[0],
        "image_size_": classifier.image_size_ not in (None, shape[1:]),
        "n_features_in_": type(classifier.n_features_in_) is not int
        or classifier.n_features_in_ != math.prod(classifier.input_shape_),
        "feature_names_in_": names is not None
        and not (
            isinstance(names, np.ndarray)
            and len(names) == classifier.n_features_in_
            and all(isinstance(name, str) for name in names)
        ),
        "time_used_": type(classifier.time_used_) is not float,
        "costs_": set(classifier.costs_) != {"error", "breadth", "depth", "time"}
        or not all(type(cost) is float for cost in classifier.costs_.values()),
        "resources_": table is not None and not isinstance(table, pd.DataFrame),
        "seed": type(seed) is not int or not 0 <= seed < 2**31,
    }
    if any(wrong.values()):
        raise ValueError(f"{', '.join(name for name, bad in wrong.items() if bad)} cannot be so")
    if max(2, len(classes)) != lattice.config["n_classes"]:
        raise ValueError(f"there are {len(classes)} classes, and the lattice was made for another number")
