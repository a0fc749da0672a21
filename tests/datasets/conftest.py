"""Small files of the data sets, downloads that are refused or faked, and a small Tiny ImageNet."""

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torchvision
from PIL import Image
from sklearn.datasets import get_data_home

from growlattice.datasets import _tiny_imagenet_zip, fetch_cifar10, fetch_mnist, fetch_tiny_imagenet

KEYS = ["x_train", "y_train", "x_test", "y_test", "label_names"]


class Case(NamedTuple):
    fetch: callable
    filename: str
    torchvision_name: str
    image_shape: tuple
    names: list


CASES = {
    "mnist": Case(fetch_mnist, "mnist.npz", "MNIST", (28, 28), list("0123456789")),
    "cifar10": Case(
        fetch_cifar10,
        "cifar10.npz",
        "CIFAR10",
        (32, 32, 3),
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    ),
    "tiny_imagenet": Case(
        fetch_tiny_imagenet, "tiny_imagenet_64.npz", None, (64, 64, 3), [f"kind {label}" for label in range(200)]
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


of_torchvision = pytest.mark.parametrize("case", ["mnist", "cifar10"], indirect=True)


def some_arrays(case, n_train=3, n_test=2):
    """Random images with the labels n_train, n_train - 1, ... and 9, 8, ... in small arrays of a data set's kind."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(256, size=(n_train, *case.image_shape), dtype=np.uint8),
        "y_train": np.arange(n_train, 0, -1, dtype=np.uint8),
        "x_test": rng.integers(256, size=(n_test, *case.image_shape), dtype=np.uint8),
        "y_test": np.arange(9, 9 - n_test, -1, dtype=np.uint8),
        "label_names": np.array(case.names),
    }


def store(folder, case, arrays=None, save=np.savez):
    path = folder / case.filename
    save(path, **(arrays or some_arrays(case)))
    return path


def assert_refused(case, path, problem="cannot be used", subset="all"):
    """The fetcher says which file is bad, what is wrong with it, and what to do, and does not touch it."""
    before = path.read_bytes()
    with pytest.raises(ValueError, match=problem) as caught:
        case.fetch(data_home=path.parent, subset=subset)
    assert str(path) in str(caught.value)
    assert "delete it to have it downloaded again" in str(caught.value)
    assert path.read_bytes() == before


def npy_bytes(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def write_zip(path, files, prefix="tiny-imagenet-200/"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return path


def real_file(name):
    path = Path(get_data_home()) / name
    if not path.exists():
        pytest.skip(f"{name} is not in scikit-learn's data folder, {path.parent}")


def assert_real_file_is_whole(case, train_counts, test_counts):
    """The file in the data folder, if there is one, holds as many images of each class as published."""
    real_file(case.filename)
    real = case.fetch(subset="all", download_if_missing=False)
    n_train = sum(train_counts)
    assert real.images.shape == (n_train + 10000, *case.image_shape)
    assert np.bincount(real.target[:n_train]).tolist() == train_counts
    assert np.bincount(real.target[n_train:]).tolist() == test_counts
    assert real.target_names.tolist() == case.names
    assert (real.images.min(), real.images.max()) == (0, 255)
    assert f"{n_train:,} training images" in real.DESCR
    assert all(f"{f(counts):,}" in real.DESCR for counts in (train_counts, test_counts) for f in (min, max))


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    """Nothing here reaches the network: a test that wants a download installs its own."""

    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse)
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", refuse)
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", refuse)


@pytest.fixture
def install_url(monkeypatch):
    def install(content, failure=None):
        """A download_url like torchvision's, that writes `content` and may then fail; returns the list of its calls."""
        calls = []

        def download_url(url, root, filename=None, md5=None):
            calls.append((url, filename, md5))
            (Path(root) / filename).write_bytes(content)
            if failure is not None:
                raise failure

        monkeypatch.setattr(torchvision.datasets.utils, "download_url", download_url)
        return calls

    return install


SMALL = {"N_CLASSES": 3, "N_PER_CLASS": {"train": 2, "val": 1}}
WNIDS = ["n00000002", "n00000001", "n00000003"]
VAL_LABELS = [2, 0, 1]


@pytest.fixture
def small(monkeypatch):
    """Tiny ImageNet with three classes, two training images and one validation image a class."""
    for name, value in SMALL.items():
        monkeypatch.setattr(_tiny_imagenet_zip, name, value)


def jpeg(seed, size=(64, 64), mode="RGB", format="JPEG"):
    """A coarse random pattern as the bytes of an image file, which hardly change its pixels."""
    pixels = np.random.default_rng(seed).integers(256, size=(4, 4, 3), dtype=np.uint8)
    content = io.BytesIO()
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).convert(mode)
    image.save(content, format, quality=95)
    return content.getvalue()


def official_files():
    """What the official zip file holds, by name, in the small data set; the seventh image is grey."""
    train = [f"train/{wnid}/images/{wnid}_{i}.JPEG" for wnid in WNIDS for i in range(2)]
    val = [f"val/images/val_{i}.JPEG" for i in range(3)]
    files = {name: jpeg(seed, mode="L" if seed == 6 else "RGB") for seed, name in enumerate(train + val)}
    annotations = [f"val_{i}.JPEG\t{WNIDS[label]}\t0\t32\t44\t62\n" for i, label in enumerate(VAL_LABELS)]
    return files | {
        "wnids.txt": "".join(f"{wnid}\n" for wnid in WNIDS).encode(),
        "words.txt": b"n00000001\tcrane, bird\nn00000002\tgoldfish\nn00000009\tunused\nn00000003\ttailed frog\n",
        "val/val_annotations.txt": "".join(annotations).encode(),
        "test/images/test_0.JPEG": jpeg(99),
        f"train/{WNIDS[0]}/{WNIDS[0]}_boxes.txt": b"no image",
    }


def write_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


LAYOUTS = {
    "the zip file": lambda path, files: write_zip(path / "any name.zip", files),
    "a zip file without the outer folder": lambda path, files: write_zip(path / "z.zip", files, prefix=""),
    "the folder": lambda path, files: write_folder(path / "tiny-imagenet-200", files),
    "the folder around it": lambda path, files: write_folder(path / "tiny-imagenet-200", files).parent,
}
