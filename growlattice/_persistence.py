"""A fitted lattice as one file: tensors in safetensors, everything else as JSON in the file's header.

Nothing is pickled, so reading a stranger's file runs none of its code. A digest over all that the file holds tells a
damaged file from a sound one before anything is built from it.
"""

import hashlib
import json
import os
import tempfile
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from skorch.history import History

from ._device import choose_device
from ._lattice import Lattice
from ._net import history_frame
from ._parameters import check_parameters, check_sizes
from ._pruning import build, settle

FORMAT = 1
ARRAY_DTYPES = {
    name: np.dtype(name)
    for name in "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 object".split()
}
LIBRARIES = ("growlattice", "torch", "skorch", "scikit-learn", "numpy")
SAVED = (
    "classes_",
    "n_features_in_",
    "feature_names_in_",
    "input_shape_",
    "image_size_",
    "image_shape_",
    "time_used_",
    "costs_",
    "resources_",
)


def save_classifier(classifier, path):
    """Write a fitted LatticeClassifier; see :meth:`growlattice.LatticeClassifier.save`."""
    params, left_out = {}, []
    for name, value in classifier.get_params(deep=False).items():
        try:
            params[name] = as_json(value)
        except TypeError:
            left_out.append(name)
    if left_out:
        warnings.warn(f"Not saved, because they are code or hold it: {', '.join(left_out)}.", stacklevel=3)
    description = {
        "params": {"dict": list(params.items())},
        "config": as_json(classifier.lattice_.config),
        "fitted": as_json({name: getattr(classifier, name) for name in SAVED if hasattr(classifier, name)}),
        "history": as_json(classifier.history_.to_dict("records")),
        "seed": classifier.net_.seed,
    }
    write(path, classifier.lattice_.state_dict(), description)


def load_classifier(cls, path, device):
    """Read a fitted LatticeClassifier; see :meth:`growlattice.LatticeClassifier.load`."""
    choose_device(device)
    tensors, description = read(path)
    try:
        classifier = cls(**{**from_json(description["params"]), "device": device})
        check_parameters(classifier)
        fitted = from_json(description["fitted"])
        vars(classifier).update({name: fitted[name] for name in SAVED if name in fitted})
        lattice = rebuild(path, tensors, from_json(description["config"]))
        _check_fitted(classifier, lattice)
        classifier.net_ = classifier._make_net(lattice, int(description["seed"]))
        classifier.net_.history = History(from_json(description["history"]))
        classifier.history_ = history_frame(classifier.net_)
    except UnusableFile:
        raise
    except Exception as error:  # whatever a stranger's description can bring about, said as one thing
        raise unusable(path, f"its description does not fit ({type(error).__name__}: {error})") from error
    return classifier


def write(path, tensors, description):
    """Write tensors and a description, so that the file at `path` is the old one or the new one and nothing between.

    Parameters
    ----------
    path : str or os.PathLike
    tensors : dict of str to tensor
    description : dict
        Of what JSON can hold.
    """
    path = os.fspath(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(description, allow_nan=False, sort_keys=True)
    versions = json.dumps({name: version(name) for name in LIBRARIES})
    header = {
        "format": str(FORMAT),
        "versions": versions,
        "description": text,
        "digest": _digest(tensors, text, versions),
    }
    handle, part = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=os.path.basename(path), suffix=".part")
    os.close(handle)
    try:
        save_file(tensors, part, metadata=header)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


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
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if "format" in header and header["format"] != str(FORMAT):
                raise unusable(path, f"its format version is {header['format']!r}, and this growlattice reads {FORMAT}")
            if not {"format", "versions", "description", "digest"} <= set(header):
                raise unusable(path, "it was not written by growlattice")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise unusable(path, f"it is no whole safetensors file ({error})") from error
    if _digest(tensors, header["description"], header["versions"]) != header["digest"]:
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
        expected = Lattice(**config, mask=mask).state_dict()
    except (TypeError, KeyError, RuntimeError) as error:
        raise unusable(path, f"its configuration makes no lattice ({error})") from error
    dtype = tensors["input.weight"].dtype if "input.weight" in tensors else None
    for name in expected.keys() | tensors.keys():
        if name not in expected or name not in tensors or tensors[name].shape != expected[name].shape:
            raise unusable(path, f"the tensor {name!r} does not fit its configuration")
        if name != "mask" and (tensors[name].dtype != dtype or dtype not in (torch.float32, torch.float64)):
            raise unusable(path, f"the tensor {name!r} has dtype {tensors[name].dtype}")
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
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [as_json(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[as_json(key), as_json(item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray) and value.ndim == 1:
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
        items = from_json(value["array"])
        text = value["dtype"].startswith("str")
        return np.array(items) if text else np.array(items, dtype=ARRAY_DTYPES[value["dtype"]])
    return pd.DataFrame(**from_json(value["frame"]))


class UnusableFile(ValueError):
    """A file that is not, or no longer, what `LatticeClassifier.save` wrote."""


def unusable(path, why):
    return UnusableFile(f"Cannot load {os.fspath(path)!r}: {why}. Give a file that LatticeClassifier.save wrote.")


def _digest(tensors, *texts):
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + b"\0")
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _check_fitted(classifier, lattice):
    """Raise a ValueError unless the fitted attributes fit each other and the lattice."""
    if not (
        isinstance(classifier.classes_, np.ndarray)
        and len(np.unique(classifier.classes_)) == len(classifier.classes_) > 0
    ):
        raise ValueError("classes_ must be an array of different labels")
    if max(2, len(classifier.classes_)) != lattice.config["n_classes"]:
        raise ValueError(f"there are {len(classifier.classes_)} classes, and the lattice was made for another number")
    check_sizes("input_shape_", classifier.input_shape_, 3, "(channels, height, width)")
    if (
        classifier.image_shape_ != lattice.config["image_shape"]
        or classifier.input_shape_[0] != classifier.image_shape_[0]
    ):
        raise ValueError(f"image_shape_={classifier.image_shape_!r} is not that of the lattice")
    if classifier.n_features_in_ != np.prod(classifier.input_shape_):
        raise ValueError(
            f"n_features_in_={classifier.n_features_in_!r} is not the size of input_shape_={classifier.input_shape_!r}"
        )
