"""Named tensors and a description in one file: safetensors, with the description as JSON in its header.

Nothing is pickled, so reading a stranger's file runs none of its code. Digests over all that the file holds, and over
its header alone, tell a damaged file from a sound one before anything is built from it.
"""

import hashlib
import json
import os
import platform
import uuid
from contextlib import contextmanager

import numpy as np
import safetensors
import sklearn
import skorch
import torch
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes

from .._version import __version__

FORMAT = 7  # in 6, files did not name their class; in 5, lattices did not grow; in 4, there was no halting
SIZE = 8  # bytes that give the header's length


def pack(tensors, description):
    """Tensors and a description as the bytes of a file.

    Parameters
    ----------
    tensors : dict of str to tensor
    description : dict
        Of what JSON can hold.

    Returns
    -------
    bytes
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text, versions = json.dumps(description, allow_nan=False, sort_keys=True), json.dumps(_versions())
    header = {
        "format": str(FORMAT),
        "versions": versions,
        "description": text,
        "header_digest": digest_of({}, text, versions),
        "digest": digest_of(tensors, text, versions),
    }
    return tensors_to_bytes(tensors, header)


def unpack(content, path="the bytes given"):
    """What `pack` was given, from its bytes.

    Parameters
    ----------
    content : bytes
    path : str or os.PathLike
        Where they come from, for errors.

    Returns
    -------
    tensors : dict of str to tensor
        On the CPU.
    description : dict

    Raises
    ------
    ValueError
        If the content is of another kind or format, or not as it was written.
    """
    header = _header(content[: SIZE + _header_size(content)], path)
    try:
        tensors = tensors_from_bytes(content)
    except Exception as error:  # safetensors raises many kinds for what is damaged
        raise unusable(path, f"it is not a complete safetensors file ({error})") from error
    if digest_of(tensors, header["description"], header["versions"]) != header["digest"]:
        raise unusable(path, "its content is not what was written")
    return tensors, _description(header, path)


def write(path, content):
    """Write bytes so that the file at `path` is the old one or the new one and nothing between."""
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    part = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)


def read(path):
    """Tensors and description of a file; see :func:`unpack`."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise
    except (OSError, MemoryError) as error:
        raise unusable(path, f"it cannot be read ({error})") from error
    return unpack(content, path)


def read_description(path):
    """The description of a file, without reading its tensors.

    Raises
    ------
    ValueError
        As for :func:`read`, but for damage to the tensors, which is not seen here.
    """
    try:
        with open(path, "rb") as file:
            size = file.read(SIZE)
            n_bytes = _header_size(size)
            content = size + file.read(min(n_bytes, os.fstat(file.fileno()).st_size))
    except FileNotFoundError:
        raise
    except (OSError, MemoryError) as error:
        raise unusable(path, f"it cannot be read ({error})") from error
    header = _header(content, path)
    if digest_of({}, header["description"], header["versions"]) != header["header_digest"]:
        raise unusable(path, "its header is not what was written")
    return _description(header, path)


class UnusableFile(ValueError):
    """A file that is not, or no longer, what this package wrote."""


class OtherFormat(UnusableFile):
    """A file of this package's in another format."""


def unusable(path, why, kind=UnusableFile, advice="Give a file that an estimator's save wrote."):
    return kind(f"Cannot load {os.fspath(path)!r}: {why}. {advice}")


@contextmanager
def other_errors_as_unusable(path):
    """Turn any error that a malformed description causes into an UnusableFile; a lack of memory stays what it is."""
    try:
        yield
    except (UnusableFile, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise unusable(path, f"its description does not fit ({type(error).__name__}: {error})") from error


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


def _versions():
    modules = {"torch": torch, "skorch": skorch, "scikit-learn": sklearn, "numpy": np, "safetensors": safetensors}
    versions = {name: module.__version__ for name, module in modules.items()}
    return {"growlattice": __version__, "python": platform.python_version(), **versions}


def _header_size(content):
    return int.from_bytes(content[:SIZE], "little")


def _header(content, path):
    """The texts in a safetensors header, of a format that this version reads."""
    try:
        header = json.loads(content[SIZE:]).get("__metadata__")
    except (ValueError, AttributeError, RecursionError) as error:
        raise unusable(path, f"it is not a complete safetensors file ({error})") from error
    if not isinstance(header, dict) or not {"format", "versions", "description", "digest"} <= set(header):
        raise unusable(path, "it was not written by growlattice")
    if header["format"] != str(FORMAT):
        found = header["format"]
        why = f"its format version is {found!r}, and this growlattice reads {FORMAT}"
        raise unusable(path, why, OtherFormat, "Read it with the version that wrote it, or fit again.")
    if "header_digest" not in header or not all(isinstance(text, str) for text in header.values()):
        raise unusable(path, "its header is not what was written")
    return header


def _description(header, path):
    try:
        return json.loads(header["description"])
    except (ValueError, RecursionError) as error:
        raise unusable(path, f"its description is no JSON ({error})") from error
