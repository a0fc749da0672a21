"""A fitted lattice as one file: tensors in safetensors, everything else as JSON in the file's header.

Nothing is pickled, so reading a stranger's file runs none of its code. A digest over all that the file holds tells a
damaged file from a sound one before anything is built from it.
"""

import hashlib
import json
import os
import tempfile
from importlib.metadata import version

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ._lattice import Lattice
from ._pruning import build, settle

FORMAT = 1
ARRAY_DTYPES = {
    name: np.dtype(name)
    for name in "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 object".split()
}
LIBRARIES = ("growlattice", "torch", "skorch", "scikit-learn", "numpy")


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
