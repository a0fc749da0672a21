"""Tiny ImageNet, as its official zip file lays it out."""

import io
import re
import zipfile
from contextlib import contextmanager

import numpy as np
from PIL import Image

from ._files import DAMAGE, damage_refused

FOLDER = "tiny-imagenet-200"
FILENAME = "tiny-imagenet-200.zip"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
SIZE = 64
N_CLASSES = 200
N_PER_CLASS = {"train": 500, "val": 50}


@contextmanager
def _opened(path):
    """Give a folder, or a zip file as if it were one: nothing is unpacked."""
    if path.is_dir():
        yield path
    else:
        with zipfile.ZipFile(path) as archive:
            yield zipfile.Path(archive)


def _read_member(root, name):
    """Read a file of Tiny ImageNet."""
    try:
        return root.joinpath(name).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"it lacks {name}") from error
    except DAMAGE as error:
        raise ValueError(f"{name} cannot be read ({str(error) or 'it ends too early'})") from error


def _read_table(root, name):
    """Read the first two of the columns, parted by tabs, of a text file of Tiny ImageNet as a dict."""
    lines = _read_member(root, name).decode(errors="replace").splitlines()
    rows = [line.split("\t") for line in lines if line]
    if not all(len(row) >= 2 for row in rows):
        raise ValueError(f"{name} has a line of one column, but two or more, parted by tabs, were expected")
    return {row[0]: row[1] for row in rows}


def _read_wnids(root):
    """Read the WordNet identifiers of Tiny ImageNet's classes, in the order of their labels."""
    wnids = _read_member(root, "wnids.txt").decode(errors="replace").split()
    # they become parts of paths
    known = {wnid for wnid in wnids if re.fullmatch(r"n\d{8}", wnid)}
    if not len(wnids) == len(known) == N_CLASSES:
        raise ValueError(
            f"wnids.txt holds {len(wnids)} words, of which {len(known)} are different identifiers such as n01443537, "
            f"but {N_CLASSES} of those and nothing else were expected"
        )
    return wnids


def _read_names(root, wnids):
    """Read the names of Tiny ImageNet's classes."""
    words = _read_table(root, "words.txt")
    nameless = [wnid for wnid in wnids if wnid not in words]
    if nameless:
        raise ValueError(f"words.txt lacks names of {len(nameless)} classes, of which {nameless[0]} is the first")
    return np.array([words[wnid] for wnid in wnids])


def _read_val_labels(root, wnids, names):
    """Read the labels of Tiny ImageNet's validation images."""
    annotations = _read_table(root, "val/val_annotations.txt")
    unlabelled = [name for name in names if annotations.get(name) not in wnids]
    if unlabelled:
        raise ValueError(
            f"val/val_annotations.txt lacks a known class for {len(unlabelled)} images, of which {unlabelled[0]} is "
            "the first"
        )
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    return np.array([labels[annotations[name]] for name in names])


def _decode(content, name, image_size):
    """Decode a JPEG of Tiny ImageNet into an array of uint8 of shape (image_size, image_size, 3)."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as file:
            image = file.convert("RGB")
    # Pillow raises errors of its own, OSError, SyntaxError, struct.error and more
    except Exception as error:
        raise ValueError(f"{name} cannot be decoded ({error})") from error
    if image.size != (SIZE, SIZE):
        raise ValueError(f"{name} has {image.size[0]} x {image.size[1]} pixels, but 64 x 64 were expected")
    if image_size != SIZE:
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)  # antialiases where it shrinks
    return np.asarray(image)


def _decode_all(root, names, image_size):
    """Decode JPEGs of Tiny ImageNet into an array of uint8 of shape (n_images, image_size, image_size, 3)."""
    images = np.empty((len(names), image_size, image_size, 3), dtype=np.uint8)
    for image, name in zip(images, names, strict=True):
        image[...] = _decode(_read_member(root, name), name, image_size)
    return images


def _decode_parts(root, image_size):
    """Decode Tiny ImageNet, whose text files are checked before the minutes that its images take."""
    n_train, n_val = N_PER_CLASS["train"], N_PER_CLASS["val"]
    wnids = _read_wnids(root)
    val = [f"val_{i}.JPEG" for i in range(n_val * N_CLASSES)]
    arrays = {
        "label_names": _read_names(root, wnids),
        "y_train": np.repeat(np.arange(N_CLASSES), n_train),
        "y_test": _read_val_labels(root, wnids, val),
    }
    train = [f"train/{wnid}/images/{wnid}_{i}.JPEG" for wnid in wnids for i in range(n_train)]
    return arrays | {
        "x_train": _decode_all(root, train, image_size),
        "x_test": _decode_all(root, [f"val/images/{name}" for name in val], image_size),
    }


def read_tiny_imagenet(path, image_size):
    """Decode Tiny ImageNet from a folder or from a zip file in memory, or say what is wrong with it."""
    advice = (
        f". Give source=the path of the official {FILENAME}, from {URL}, or of the folder {FOLDER} in it; or delete a "
        "damaged zip file in the data folder to have it downloaded again."
    )
    with damage_refused(path, advice), _opened(path) as root:
        inside = root.joinpath(FOLDER)
        return _decode_parts(inside if inside.is_dir() else root, image_size)
