import errno
import importlib
import inspect
import io
import re
import sys
import warnings
import zipfile
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from scipy.stats import entropy
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from growlattice import _tiny_imagenet, datasets
from growlattice.datasets import fetch_cifar10, fetch_cifar10h, fetch_mnist, fetch_tiny_imagenet

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


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    """Nothing here reaches the network: a test that wants a download installs its own."""

    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse)
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", refuse)
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", refuse)


# reading


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("subset, parts", [("train", ["train"]), ("test", ["test"]), ("all", ["train", "test"])])
def test_a_subset_is_its_images_and_labels_in_order(case, subset, parts, save, tmp_path):
    arrays = some_arrays(case)
    store(tmp_path, case, arrays, save)
    dataset = case.fetch(data_home=tmp_path, subset=subset)
    assert np.array_equal(dataset.images, np.concatenate([arrays[f"x_{part}"] for part in parts]))
    assert np.array_equal(dataset.target, np.concatenate([arrays[f"y_{part}"] for part in parts]))


def test_the_default_subset_is_train(case, tmp_path):
    store(tmp_path, case)
    assert case.fetch(data_home=tmp_path).target.tolist() == [3, 2, 1]


def test_a_bunch_has_images_target_names_and_description(case, tmp_path):
    store(tmp_path, case)
    dataset = case.fetch(data_home=tmp_path)
    assert isinstance(dataset, Bunch)
    assert set(dataset) == {"images", "target", "target_names", "DESCR"}
    assert dataset.images.dtype == np.uint8 and dataset.images.shape == (3, *case.image_shape)
    assert dataset.images.flags.writeable
    assert dataset.target.dtype == np.int64
    assert dataset.target_names.tolist() == case.names
    assert dataset.target_names[dataset.target].tolist() == [case.names[label] for label in (3, 2, 1)]
    for word in ("What:", "Origin:", "Sizes:", "Licence:", "Citation:", "10,000 test images"):
        assert word in dataset.DESCR


def test_return_X_y_gives_images_and_target_alone(case, tmp_path):
    store(tmp_path, case)
    dataset = case.fetch(data_home=tmp_path, subset="all")
    images, target = case.fetch(data_home=tmp_path, subset="all", return_X_y=True)
    assert np.array_equal(images, dataset.images) and images.dtype == np.uint8
    assert np.array_equal(target, dataset.target) and target.dtype == np.int64


@pytest.mark.parametrize("dtype", ["int8", "uint64", ">i4"])
def test_labels_of_any_integer_dtype_become_int64(case, dtype, tmp_path):
    arrays = some_arrays(case)
    store(tmp_path, case, arrays | {"y_train": arrays["y_train"].astype(dtype)})
    target = case.fetch(data_home=tmp_path).target
    assert target.dtype == np.int64 and target.tolist() == [3, 2, 1]


def test_one_image_is_enough(case, tmp_path):
    store(tmp_path, case, some_arrays(case, n_train=1, n_test=1))
    assert case.fetch(data_home=tmp_path, subset="all").images.shape == (2, *case.image_shape)


def test_every_label_is_in_range(case, tmp_path):
    n_classes = len(case.names)
    arrays = some_arrays(case, n_train=n_classes)
    store(tmp_path, case, arrays | {"y_train": np.arange(n_classes)})
    assert case.fetch(data_home=tmp_path).target.tolist() == list(range(n_classes))


def test_other_keys_are_let_be(case, tmp_path):
    store(tmp_path, case, some_arrays(case) | {"remark": np.array("mine")})
    assert len(case.fetch(data_home=tmp_path).images) == 3


@pytest.mark.parametrize("subset, other", [("train", "test"), ("test", "train")])
def test_only_the_arrays_asked_for_are_read(case, subset, other, tmp_path):
    path = store(tmp_path, case, some_arrays(case) | {f"x_{other}": np.zeros(3), f"y_{other}": np.zeros(3)})
    assert case.fetch(data_home=tmp_path, subset=subset).images.shape[1:] == case.image_shape
    assert_refused(case, path, f"x_{other} has dtype float64")


def test_data_home_may_be_a_string_and_is_scikit_learns_by_default(case, tmp_path, monkeypatch):
    store(tmp_path, case)
    assert len(case.fetch(data_home=str(tmp_path)).images) == 3
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    assert len(case.fetch(download_if_missing=False).images) == 3


@pytest.mark.parametrize("subset", ["validation", "Train", "", None, ["train"]])
def test_an_unknown_subset_is_named_before_anything_is_downloaded(case, subset, tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"subset={subset!r}") + ".*'train', 'test' or 'all'"):
        case.fetch(data_home=tmp_path, subset=subset)


@pytest.mark.parametrize("fetch", [getattr(datasets, name) for name in datasets.__all__])
def test_every_parameter_is_keyword_only_and_its_documented_default_is_the_real_one(fetch):
    parameters = inspect.signature(fetch).parameters
    documented = dict(re.findall(r"^    (\w+) : .*default=(.+)$", fetch.__doc__, flags=re.MULTILINE))
    assert {name: eval(default) for name, default in documented.items()} == {
        name: parameter.default for name, parameter in parameters.items()
    }
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())


def test_reading_needs_neither_torch_nor_the_rest_of_the_package(case, tmp_path, monkeypatch):
    store(tmp_path, case)
    bare = ModuleType("growlattice")  # the package without what its __init__ imports
    bare.__path__ = [str(Path(datasets.__file__).parent)]
    own = {f"growlattice.{name}" for name in ("datasets", "_files", "_tiny_imagenet")}
    for name in ["torch", "torchvision", *(name for name in sys.modules if name.startswith("growlattice."))]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in own:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "growlattice", bare)
    module = importlib.import_module("growlattice.datasets")
    assert len(getattr(module, case.fetch.__name__)(data_home=tmp_path).images) == 3


# files that are not there, or wrong


@of_torchvision
def test_a_missing_file_that_is_not_to_be_downloaded_is_named(case, tmp_path):
    with pytest.raises(OSError, match=re.escape(str(tmp_path / case.filename))) as caught:
        case.fetch(data_home=tmp_path, download_if_missing=False)
    assert "download_if_missing=False" in str(caught.value)
    assert all(key in str(caught.value) for key in KEYS)


@pytest.mark.parametrize("subset", ["train", "test", "all"])
@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named_whatever_the_subset(case, key, subset, tmp_path):
    arrays = some_arrays(case)
    del arrays[key]
    assert_refused(case, store(tmp_path, case, arrays), f"lacks {key};", subset)


def test_all_missing_keys_are_named_at_once(case, tmp_path):
    arrays = {"x_train": some_arrays(case)["x_train"]}
    assert_refused(case, store(tmp_path, case, arrays), "lacks y_train, x_test, y_test, label_names")


WRONG_ARRAYS = {
    "images as floats": ("x_train", lambda x: x / 255, "x_train has dtype float64, but uint8"),
    "images as int64": ("x_test", lambda x: x.astype(np.int64), "x_test has dtype int64, but uint8"),
    "images as booleans": ("x_test", lambda x: x > 9, "x_test has dtype bool, but uint8"),
    "images flattened": ("x_train", lambda x: x.reshape(len(x), -1), r"x_train has shape \(3, \d+\)"),
    "images too small": ("x_train", lambda x: x[:, 1:], "x_train has shape"),
    "images with one axis more": ("x_test", lambda x: x[..., None], "x_test has shape"),
    "another order of axes": ("x_train", lambda x: np.moveaxis(x, 0, -1), "x_train has shape"),
    "one image without its axis": ("x_train", lambda x: x[0], "x_train has shape"),
    "a number for images": ("x_train", lambda x: np.uint8(7), r"x_train has shape \(\), but \(n_images, "),
    "no images": ("x_train", lambda x: x[:0], r"x_train has shape \(0, .*n_images >= 1"),
    "an image too few": ("x_train", lambda x: x[1:], r"y_train has shape \(3,\).*2 images"),
    "a label too few": ("y_test", lambda y: y[1:], r"y_test has shape \(1,\).*2 images"),
    "a label too many": ("y_train", lambda y: np.append(y, y), r"y_train has shape \(6,\).*3 images"),
    "labels in a column": ("y_train", lambda y: y[:, None], r"y_train has shape \(3, 1\)"),
    "labels as floats": ("y_train", lambda y: y.astype(float), "y_train has dtype float64, but integers"),
    "labels as booleans": ("y_train", lambda y: y > 1, "y_train has dtype bool, but integers"),
    "labels as strings": ("y_test", lambda y: y.astype(str), "y_test has dtype <U3, but integers"),
    "a label below 0": (
        "y_train",
        lambda y: y.astype(int) - 2,
        "y_train goes from -1 to 1, but labels from 0 to {last}",
    ),
    "a huge label": ("y_test", lambda y: np.array([2**63, 0], np.uint64), f"y_test goes from 0 to {2**63}"),
    "a name too few": (
        "label_names",
        lambda names: names[1:],
        r"label_names has .* shape \({last},\), but {n} strings",
    ),
    "names as numbers": ("label_names", lambda names: np.arange(len(names)), "label_names has dtype int64"),
    "names as bytes": ("label_names", lambda names: names.astype("S"), r"label_names has dtype \|S"),
    "pickled images": ("x_train", lambda x: x.astype(object), "x_train cannot be read .*Object arrays"),
    "pickled labels": ("y_test", lambda y: y.astype(object), "y_test cannot be read .*Object arrays"),
    "pickled names": ("label_names", lambda names: names.astype(object), "label_names cannot be read .*Object arrays"),
}


@pytest.mark.parametrize("key, change, problem", WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_a_wrong_array_is_refused(case, key, change, problem, tmp_path):
    arrays = some_arrays(case)
    arrays[key] = change(arrays[key])
    assert_refused(case, store(tmp_path, case, arrays), problem.format(n=len(case.names), last=len(case.names) - 1))


def test_labels_from_1_are_refused(case, tmp_path):
    n_classes = len(case.names)
    path = store(tmp_path, case, some_arrays(case) | {"y_test": np.array([1, n_classes])})
    assert_refused(case, path, f"y_test goes from 1 to {n_classes}, but labels from 0 to {n_classes - 1}")


def test_the_file_of_another_data_set_is_refused(tmp_path):
    mnist, cifar10 = CASES["mnist"], CASES["cifar10"]
    path = store(tmp_path, mnist, some_arrays(cifar10))
    assert_refused(mnist, path, r"x_train has shape \(3, 32, 32, 3\), but \(n_images, 28, 28\)")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.3, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(case, share, save, tmp_path):
    path = store(tmp_path, case, save=save)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(case, path, "not a zip file")


@pytest.mark.parametrize("n_bytes", [1, 2, 21, 22, 23, 100])
def test_a_file_without_its_last_bytes_is_refused(case, n_bytes, tmp_path):
    path = store(tmp_path, case)
    path.write_bytes(path.read_bytes()[:-n_bytes])
    assert_refused(case, path, "not a zip file")


@pytest.mark.parametrize("n_bytes", [1, 100, 3000])
def test_a_file_without_its_first_bytes_is_refused(case, n_bytes, tmp_path):
    path = store(tmp_path, case)
    path.write_bytes(path.read_bytes()[n_bytes:])
    assert_refused(case, path)


def npy_bytes(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


@pytest.mark.parametrize("content", [b"404: Not Found", npy_bytes(np.zeros(3)), b"\x80\x04]\x94."])
def test_a_file_that_is_no_archive_is_refused(case, content, tmp_path):
    path = tmp_path / case.filename
    path.write_bytes(content)
    assert_refused(case, path, "not a zip file")


@pytest.mark.parametrize("key", KEYS)
def test_a_flipped_byte_in_an_array_is_refused(case, key, tmp_path):
    arrays = some_arrays(case)
    path = store(tmp_path, case, arrays)
    content = bytearray(path.read_bytes())
    start = content.index(f"{key}.npy".encode())
    content[content.index(arrays[key].tobytes(), start) + arrays[key].nbytes // 2] ^= 1
    path.write_bytes(content)
    assert_refused(case, path, f"{key} cannot be read .*Bad CRC-32")


def test_an_array_said_to_lie_beyond_the_end_of_the_file_is_refused(case, tmp_path):
    path = store(tmp_path, case)
    content = bytearray(path.read_bytes())
    # the upper byte of the length of what lies between the header of the last array and the array
    content[content.rindex(b"PK\3\4") + 29] ^= 255
    path.write_bytes(content)
    assert_refused(case, path, "label_names cannot be read .it ends too early|label_names cannot be read .Overlapped")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_byte_anywhere_is_refused_or_changes_nothing(save, tmp_path):
    case = CASES["mnist"]
    arrays = some_arrays(case, n_train=1, n_test=1)
    path = store(tmp_path, case, arrays, save)
    content = path.read_bytes()
    directory = content.index(b"PK\1\2")
    positions = [*range(0, directory, 5), *range(directory, len(content))]
    n_refused = 0
    for position in positions:
        path.write_bytes(content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :])
        try:
            dataset = case.fetch(data_home=tmp_path, subset="all")
        except ValueError as error:
            assert str(path) in str(error)
            n_refused += 1
        else:
            assert np.array_equal(dataset.images, np.concatenate([arrays["x_train"], arrays["x_test"]]))
            assert dataset.target.tolist() == [1, 9]
            assert dataset.target_names.tolist() == case.names
    # what changes nothing is zip's own bookkeeping: dates, versions, permissions
    assert n_refused > 0.7 * len(positions)


def test_headers_that_promise_fewer_images_than_there_are_do_not_shorten_the_data(case, tmp_path):
    path = store(tmp_path, case)
    content = path.read_bytes()
    shape = ", ".join(map(str, case.image_shape))
    for header, shorter in [(f"'shape': (3, {shape})", f"'shape': (2, {shape})"), ("'shape': (3,)", "'shape': (2,)")]:
        assert content.count(header.encode()) == 1
        content = content.replace(header.encode(), shorter.encode())
    path.write_bytes(content)
    assert_refused(case, path, "x_train cannot be read .*Bad CRC-32")


def rewrite(path, key, content, compression=zipfile.ZIP_STORED):
    """Put other bytes, with the right checksum, in the place of one array."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, member in (members | {f"{key}.npy": content}).items():
            archive.writestr(name, member)


@pytest.mark.parametrize(
    "change, problem",
    [
        (lambda array: npy_bytes(array)[:-1], "x_train cannot be read .*EOF"),
        (lambda array: npy_bytes(array)[:60], "x_train cannot be read .*EOF"),
        (lambda array: npy_bytes(array) + b"\0", "x_train goes on after its last value"),
        (lambda array: array.tobytes(), "x_train cannot be read .*magic string"),
        (lambda array: b"", "x_train cannot be read .*EOF"),
    ],
)
def test_an_array_of_the_wrong_length_is_refused(case, change, problem, tmp_path):
    path = store(tmp_path, case)
    rewrite(path, "x_train", change(some_arrays(case)["x_train"]))
    assert_refused(case, path, problem)


def test_a_compression_that_numpy_does_not_write_is_refused(case, tmp_path):
    path = store(tmp_path, case)
    rewrite(path, "x_train", npy_bytes(some_arrays(case)["x_train"]), zipfile.ZIP_BZIP2)
    assert_refused(case, path, "compression type 12")


def test_a_disk_that_cannot_be_read_is_not_blamed_on_the_file(case, tmp_path, monkeypatch):
    store(tmp_path, case)

    def fail(*args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(zipfile.ZipFile, "read", fail)
    with pytest.raises(OSError, match="^.Errno .* Input/output error$"):
        case.fetch(data_home=tmp_path)


def test_a_folder_in_the_place_of_the_file_is_named(case, tmp_path):
    (tmp_path / case.filename).mkdir()
    with pytest.raises(OSError, match=case.filename):
        case.fetch(data_home=tmp_path)


# downloading


def fake_torchvision(case, arrays, fails=None):
    """A class like torchvision's for this data set, that fills its folder and may fail at one part."""

    class Fake:
        calls = []

        def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
            part = "train" if train else "test"
            self.calls.append((Path(root), part, download))
            (Path(root) / "raw").mkdir(exist_ok=True)
            (Path(root) / "raw" / f"{part}.gz").write_bytes(b"half of it")
            if fails is not None and part == fails[0]:
                raise fails[1]
            self.data, self.targets = arrays[f"x_{part}"], arrays[f"y_{part}"].tolist()
            if case.torchvision_name == "MNIST":
                self.data, self.targets = torch.from_numpy(self.data), torch.tensor(self.targets)
            else:
                warnings.warn(
                    "dtype(): align should be passed as Python or NumPy boolean but got `align=0`.", stacklevel=1
                )
                # as torchvision lays them out: channels first, seen as channels last
                self.data = np.ascontiguousarray(self.data.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)

    return Fake


@pytest.fixture
def install(case, monkeypatch):
    def install(arrays, fails=None):
        fake = fake_torchvision(case, arrays, fails)
        monkeypatch.setattr(torchvision.datasets, case.torchvision_name, fake)
        return fake

    return install


@of_torchvision
def test_a_missing_file_is_downloaded_once(case, install, tmp_path, recwarn):
    arrays = some_arrays(case)
    fake = install(arrays)
    data_home = tmp_path / "not" / "there"
    for _ in range(2):
        dataset = case.fetch(data_home=data_home, subset="all")
        assert np.array_equal(dataset.images, np.concatenate([arrays["x_train"], arrays["x_test"]]))
        assert dataset.target.tolist() == [3, 2, 1, 9, 8]
        assert dataset.target_names.tolist() == case.names
        assert [path.name for path in data_home.iterdir()] == [case.filename]
        assert [call[1:] for call in fake.calls] == [("train", True), ("test", True)]
    assert {folder.parent for folder, *_ in fake.calls} == {data_home}
    assert [str(warning.message) for warning in recwarn] == []


@of_torchvision
def test_a_downloaded_file_has_the_documented_keys(case, install, tmp_path):
    arrays = some_arrays(case)
    install(arrays)
    case.fetch(data_home=tmp_path)
    with np.load(tmp_path / case.filename, allow_pickle=False) as stored:
        assert sorted(stored.files) == sorted(KEYS)
        assert all(np.array_equal(stored[key], arrays[key]) for key in KEYS)


@of_torchvision
@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    "failure", [URLError("no network"), RuntimeError("File not found or corrupted."), EOFError(), OSError(28, "full")]
)
def test_a_failed_download_says_what_to_do_and_leaves_nothing(case, install, failure, part, tmp_path):
    install(some_arrays(case), fails=(part, failure))
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        case.fetch(data_home=tmp_path)
    message = str(caught.value)
    assert str(tmp_path / case.filename) in message and type(failure).__name__ in message
    assert all(key in message for key in KEYS)
    assert ", ".join(map(str, case.image_shape)) in message
    assert caught.value.__cause__ is failure
    assert list(tmp_path.iterdir()) == []


@of_torchvision
def test_an_interrupted_download_stays_an_interrupt_and_leaves_nothing(case, install, tmp_path):
    install(some_arrays(case), fails=("test", KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        case.fetch(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


@of_torchvision
def test_a_full_disk_while_writing_leaves_nothing(case, install, tmp_path, monkeypatch):
    install(some_arrays(case))

    def fail(path, **arrays):
        Path(path).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="No space left on device"):
        case.fetch(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


@of_torchvision
def test_a_file_appears_only_when_it_is_complete(case, install, tmp_path, monkeypatch):
    install(some_arrays(case))
    seen = []
    savez = np.savez

    def watch(path, **arrays):
        savez(path, **arrays)
        seen.append((Path(path) != tmp_path / case.filename, (tmp_path / case.filename).exists()))

    monkeypatch.setattr(np, "savez", watch)
    case.fetch(data_home=tmp_path)
    assert seen == [(True, False)]


@of_torchvision
def test_a_damaged_file_is_downloaded_again_once_deleted(case, install, tmp_path):
    path = store(tmp_path, case)
    path.write_bytes(path.read_bytes()[:-1])
    fake = install(some_arrays(case))
    assert_refused(case, path)
    assert fake.calls == []
    path.unlink()
    assert len(case.fetch(data_home=tmp_path).images) == 3


# Tiny ImageNet


SMALL = {"TINY_IMAGENET_CLASSES": 3, "TINY_IMAGENET_PER_CLASS": {"train": 2, "val": 1}}
WNIDS = ["n00000002", "n00000001", "n00000003"]
VAL_LABELS = [2, 0, 1]


@pytest.fixture
def small(monkeypatch):
    """Tiny ImageNet with three classes, two training images and one validation image a class."""
    for name, value in SMALL.items():
        monkeypatch.setattr(_tiny_imagenet, name, value)
    monkeypatch.setattr(datasets, "TINY_IMAGENET_CLASSES", SMALL["TINY_IMAGENET_CLASSES"])


def jpeg(seed, size=(64, 64), mode="RGB", format="JPEG"):
    """A coarse random pattern as the bytes of an image file, which hardly change its pixels."""
    pixels = np.random.default_rng(seed).integers(256, size=(4, 4, 3), dtype=np.uint8)
    content = io.BytesIO()
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).convert(mode)
    image.save(content, format, quality=95)
    return content.getvalue()


def pixels_of(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


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


def write_zip(path, files, prefix="tiny-imagenet-200/"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return path


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


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_tiny_imagenet_is_read_from_a_zip_file_or_a_folder(layout, small, tmp_path):
    files = official_files()
    (tmp_path / "source").mkdir()
    source, data_home = layout(tmp_path / "source", files), tmp_path / "home"
    dataset = fetch_tiny_imagenet(data_home=data_home, source=str(source), subset="all", download_if_missing=False)
    images = [pixels_of(content) for name, content in files.items() if name.endswith("JPEG") and name[:4] != "test"]
    assert np.array_equal(dataset.images, images)
    assert np.ptp(dataset.images[6], axis=2).max() == 0 and np.ptp(dataset.images[5], axis=2).max() > 0
    assert dataset.target.tolist() == [0, 0, 1, 1, 2, 2, *VAL_LABELS] and dataset.target.dtype == np.int64
    assert dataset.target_names.tolist() == ["goldfish", "crane, bird", "tailed frog"]
    assert [path.name for path in data_home.iterdir()] == ["tiny_imagenet_64.npz"]


def test_the_decoded_images_are_kept_and_the_source_is_not_read_again(small, tmp_path, monkeypatch):
    source = write_zip(tmp_path / "source.zip", official_files())
    first = fetch_tiny_imagenet(data_home=tmp_path, source=source, subset="test")
    source.unlink()
    again = fetch_tiny_imagenet(data_home=tmp_path, source=source, subset="test", download_if_missing=False)
    assert np.array_equal(first.images, again.images) and first.target.tolist() == again.target.tolist() == VAL_LABELS


def test_each_image_size_has_a_file_of_its_own_and_is_antialiased(small, tmp_path):
    files = official_files()
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    content = io.BytesIO()
    Image.fromarray(stripes).save(content, "JPEG", quality=95)
    files["val/images/val_0.JPEG"] = content.getvalue()
    source = write_zip(tmp_path / "source.zip", files)
    for image_size in (64, 16, np.int64(16), 1):
        images, _ = fetch_tiny_imagenet(
            data_home=tmp_path, source=source, subset="test", image_size=image_size, return_X_y=True
        )
        assert images.shape == (3, image_size, image_size, 3) and images.dtype == np.uint8
        if image_size < 64:
            assert np.all(np.abs(images[0].astype(int) - 128) < 20)  # without antialiasing it would be black or white
        else:
            assert np.ptp(images[0]) > 200
    names = {"tiny_imagenet_64.npz", "tiny_imagenet_16.npz", "tiny_imagenet_1.npz", "source.zip"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_resized_images_are_means_of_blocks_of_coarse_ones(small, tmp_path):
    source = write_zip(tmp_path / "source.zip", official_files())
    full = fetch_tiny_imagenet(data_home=tmp_path, source=source, subset="all").images.astype(float)
    half = fetch_tiny_imagenet(data_home=tmp_path, source=source, subset="all", image_size=32).images
    blocks = full.reshape(9, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(half - blocks).mean() < 2


@pytest.mark.parametrize("image_size", [0, -1, 65, 32.0, "32", None, (32, 32)])
def test_an_image_size_out_of_range_is_named_before_anything_is_downloaded(image_size, tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"image_size={image_size!r} must be an int from 1 to 64")):
        fetch_tiny_imagenet(data_home=tmp_path, image_size=image_size)


def test_a_source_that_is_not_there_is_named(small, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"source='.*gone.zip' is not there"):
        fetch_tiny_imagenet(data_home=tmp_path, source=tmp_path / "gone.zip")
    assert list(tmp_path.iterdir()) == []


IMAGE = f"train/{WNIDS[1]}/images/{WNIDS[1]}_1.JPEG"
WRONG_FILES = {
    "no list of classes": ("wnids.txt", None, "it lacks wnids.txt"),
    "a class too few": ("wnids.txt", b"n00000001\nn00000002\n", "holds 2 words, of which 2 .* but 3 of those"),
    "a class too many": ("wnids.txt", b"\n".join([b"n00000001", *map(str.encode, WNIDS)]), "holds 4 words, of which 3"),
    "a class twice": ("wnids.txt", b"n00000001\nn00000002\nn00000002\n", "holds 3 words, of which 2"),
    "a class that is a path": ("wnids.txt", b"n00000001\nn00000002\n../../x\n", "holds 3 words, of which 2"),
    "a list that is no text": ("wnids.txt", b"\xff\xfe\x00", "wnids.txt holds 1 words, of which 0"),
    "no names": ("words.txt", None, "it lacks words.txt"),
    "a name too few": ("words.txt", b"n00000001\tcrane\nn00000003\tfrog\n", "lacks names of 1 classes, .*n00000002"),
    "names without tabs": ("words.txt", b"n00000001 crane\n", "words.txt has a line of one column"),
    "no annotations": ("val/val_annotations.txt", None, "it lacks val/val_annotations.txt"),
    "an annotation too few": (
        "val/val_annotations.txt",
        b"val_0.JPEG\tn00000001\nval_2.JPEG\tn00000001\n",
        "lacks a known class for 1 images, of which val_1.JPEG",
    ),
    "an unknown class": (
        "val/val_annotations.txt",
        b"val_0.JPEG\tn00000001\nval_1.JPEG\tn00000001\nval_2.JPEG\tn00000007\n",
        "lacks a known class for 1 images, of which val_2.JPEG",
    ),
    "a missing training image": (IMAGE, None, f"it lacks {IMAGE}"),
    "a missing validation image": ("val/images/val_2.JPEG", None, "it lacks val/images/val_2.JPEG"),
    "a truncated image": (IMAGE, jpeg(3)[:-200], f"{IMAGE} cannot be decoded .*truncated"),
    "an empty image": (IMAGE, b"", f"{IMAGE} cannot be decoded"),
    "a text for an image": (IMAGE, b"404: Not Found", f"{IMAGE} cannot be decoded"),
    "another format": ("val/images/val_0.JPEG", jpeg(3, format="PNG"), "val_0.JPEG cannot be decoded"),
    "an image of another size": (IMAGE, jpeg(3, size=(64, 32)), f"{IMAGE} has 64 x 32 pixels, but 64 x 64"),
}


@pytest.mark.parametrize("write", [LAYOUTS["the zip file"], LAYOUTS["the folder"]], ids=["zip", "folder"])
@pytest.mark.parametrize("name, content, problem", WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_of_tiny_imagenet_is_named_and_nothing_is_left(write, name, content, problem, small, tmp_path):
    files = official_files() | {name: content}
    if content is None:
        del files[name]
    source = write(tmp_path, files)
    with pytest.raises(ValueError, match=problem) as caught:
        fetch_tiny_imagenet(data_home=tmp_path / "home", source=source)
    assert str(caught.value).startswith(f"{source} cannot be used: ")
    assert "Give source=" in str(caught.value) and datasets.TINY_IMAGENET_URL in str(caught.value)
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("n_bytes", [0, 100, 5000, -1])
def test_a_truncated_zip_file_is_refused(n_bytes, small, tmp_path):
    source = write_zip(tmp_path / "source.zip", official_files())
    source.write_bytes(source.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match="cannot be used: File is not a zip file"):
        fetch_tiny_imagenet(data_home=tmp_path / "home", source=source)
    assert list((tmp_path / "home").iterdir()) == []


def test_a_flipped_byte_anywhere_in_the_zip_file_is_refused_or_changes_nothing(small, tmp_path):
    files = official_files()
    source, home = write_zip(tmp_path / "source.zip", files), tmp_path / "home"
    expected = fetch_tiny_imagenet(data_home=home, source=source, subset="all", image_size=2)
    content = source.read_bytes()
    directory = content.index(b"PK\1\2")
    positions = [*range(0, directory, 151), *range(directory, len(content), 5)]
    n_refused = 0
    for position in positions:
        (home / "tiny_imagenet_2.npz").unlink(missing_ok=True)
        source.write_bytes(content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :])
        try:
            dataset = fetch_tiny_imagenet(data_home=home, source=source, subset="all", image_size=2)
        except ValueError as error:
            assert str(error).startswith(f"{source} cannot be used: ")
            assert list(home.iterdir()) == []
            n_refused += 1
        else:
            assert np.array_equal(dataset.images, expected.images)
            assert dataset.target.tolist() == expected.target.tolist()
            assert dataset.target_names.tolist() == expected.target_names.tolist()
    assert n_refused > 0.4 * len(positions)


def test_nothing_in_a_zip_file_is_unpacked(small, tmp_path):
    files = official_files() | {"../../outside.txt": b"", "/outside.txt": b"", "wnids.txt/inside": b""}
    fetch_tiny_imagenet(data_home=tmp_path / "home", source=write_zip(tmp_path / "source.zip", files))
    assert {path.name for path in tmp_path.rglob("*")} == {"source.zip", "home", "tiny_imagenet_64.npz"}


def test_an_interrupt_while_decoding_leaves_nothing(small, tmp_path, monkeypatch):
    source = write_zip(tmp_path / "source.zip", official_files())

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_tiny_imagenet, "_decode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_tiny_imagenet(data_home=tmp_path / "home", source=source)
    assert list((tmp_path / "home").iterdir()) == []


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


def test_the_zip_file_is_downloaded_once_for_all_sizes(small, install_url, tmp_path):
    calls = install_url(write_zip(tmp_path / "official.zip", official_files()).read_bytes())
    home = tmp_path / "home"
    for image_size in (64, 64, 8):
        images, target = fetch_tiny_imagenet(data_home=home, image_size=image_size, return_X_y=True)
        assert images.shape == (6, image_size, image_size, 3) and target.tolist() == [0, 0, 1, 1, 2, 2]
        assert calls == [(datasets.TINY_IMAGENET_URL, "tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de")]
    names = {"tiny_imagenet_64.npz", "tiny_imagenet_8.npz", "tiny-imagenet-200.zip"}
    assert {path.name for path in home.iterdir()} == names


def test_a_zip_file_in_the_data_folder_needs_no_download(small, tmp_path):
    write_zip(tmp_path / "tiny-imagenet-200.zip", official_files())
    assert len(fetch_tiny_imagenet(data_home=tmp_path, download_if_missing=False).images) == 6


@pytest.mark.parametrize("failure", [URLError("no network"), RuntimeError("File not found or corrupted."), EOFError()])
def test_a_failed_download_of_the_zip_file_says_what_to_do_and_leaves_nothing(failure, install_url, tmp_path):
    install_url(b"half of it", failure)
    with pytest.raises(OSError, match="Tiny ImageNet could not be downloaded") as caught:
        fetch_tiny_imagenet(data_home=tmp_path)
    message = str(caught.value)
    assert type(failure).__name__ in message and str(tmp_path / "tiny-imagenet-200.zip") in message
    assert datasets.TINY_IMAGENET_URL in message and "source=" in message
    assert caught.value.__cause__ is failure
    assert list(tmp_path.iterdir()) == []


def test_a_missing_zip_file_that_is_not_to_be_downloaded_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="tiny-imagenet-200.zip is not there.*source=") as caught:
        fetch_tiny_imagenet(data_home=tmp_path, download_if_missing=False)
    assert datasets.TINY_IMAGENET_URL in str(caught.value)


# CIFAR-10H


COUNTS = np.array(
    [
        [0, 1, 1, 48, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 52, 0],
        [3, 0, 0, 0, 0, 0, 0, 0, 3, 0],
        [5] * 10,
    ],
    dtype=np.uint8,
)
# image, attention check, milliseconds
TRIALS = [
    (0, 0, 1000),
    (0, 0, 3000.5),
    (0, 0, 2000),
    (0, 0, -5),
    (0, 0, 0),
    (-99999, 1, 77),
    (0, 1, 99999),
    (3, 0, 800),
    (3, 0, 900),
    (1, 0, -1),
]


def store_counts(folder, counts=COUNTS, **others):
    path = folder / "cifar10h.npz"
    np.savez(path, counts=counts, **others)
    return path


def trials_csv(trials=TRIALS, columns=("cifar10_test_test_idx", "is_attn_check", "reaction_time")):
    frame = pd.DataFrame(trials, columns=columns).assign(annotator_id=3, true_category="cat", time_elapsed=5)
    return frame.to_csv(index=False).encode()


def test_counts_become_probabilities_and_entropy(tmp_path):
    store_counts(tmp_path)
    people = fetch_cifar10h(data_home=tmp_path)
    assert isinstance(people, Bunch)
    assert set(people) == {"counts", "probabilities", "entropy", "target_names", "frame", "DESCR"}
    assert people.counts.dtype == np.int64 and np.array_equal(people.counts, COUNTS)
    assert np.allclose(people.probabilities, [row / sum(row) for row in COUNTS.astype(float)], rtol=1e-14)
    assert np.allclose(people.entropy, entropy(COUNTS.astype(float), axis=1), rtol=1e-12, atol=1e-15)
    assert people.entropy[1] == 0 and people.entropy[2] == pytest.approx(np.log(2))
    assert people.entropy[3] == pytest.approx(np.log(10))
    assert people.target_names.tolist() == CASES["cifar10"].names
    for word in ("What:", "Origin:", "Sizes:", "CC BY-NC-SA 4.0", "Peterson", "2019"):
        assert word in people.DESCR


def test_the_frame_has_a_row_for_each_image(tmp_path):
    store_counts(tmp_path)
    people = fetch_cifar10h(data_home=tmp_path)
    assert list(people.frame) == ["entropy", "n_answers", "label"]
    assert people.frame.index.tolist() == [0, 1, 2, 3]
    assert people.frame["n_answers"].tolist() == [51, 52, 6, 50]
    assert people.frame["label"].tolist() == [3, 8, 0, 0]
    assert np.array_equal(people.frame["entropy"], people.entropy)


@pytest.mark.parametrize("zipped", [False, True])
def test_reaction_times_are_those_of_the_trials_of_each_image(zipped, tmp_path):
    store_counts(tmp_path)
    if zipped:
        # as macOS makes it
        files = {"cifar10h-raw.csv": trials_csv(), "__MACOSX/._cifar10h-raw.csv": b"\0"}
        raw_trials = write_zip(tmp_path / "raw.zip", files, prefix="")
    else:
        raw_trials = tmp_path / "raw.csv"
        raw_trials.write_bytes(trials_csv())
    people = fetch_cifar10h(data_home=tmp_path, raw_trials=raw_trials)
    nan = np.nan
    assert np.array_equal(people.reaction_time, [2000, nan, nan, 850], equal_nan=True)
    assert np.array_equal(people.mean_reaction_time, [6000.5 / 3, nan, nan, 850], equal_nan=True)
    assert list(people.frame)[3:] == ["reaction_time", "mean_reaction_time"]
    for name in ("reaction_time", "mean_reaction_time"):
        assert np.array_equal(people.frame[name], people[name], equal_nan=True)


WRONG_TRIALS = {
    "a missing column": (trials_csv(columns=("image", "is_attn_check", "reaction_time")), "cifar10_test_test_idx"),
    "an image too high": (trials_csv([(4, 0, 900)]), "cifar10_test_test_idx goes from 4 to 4 .* from 0 to 3"),
    "an image below 0": (trials_csv([(-1, 0, 900), (2, 0, 900)]), "goes from -1 to 2"),
    "half an image": (trials_csv([(0.5, 0, 900)]), "goes from 0.5 to 0.5 .* but integers"),
    "no image": (trials_csv([(None, 0, 900), (1, 0, 800)]), "cifar10_test_test_idx goes from 1 to 1"),
    "times as text": (trials_csv([(1, 0, "fast")]), "could not convert string to float: 'fast'"),
    "nothing but checks": (trials_csv([(1, 1, 900)]), "no trials but attention checks"),
    "an empty file": (b"", "No columns to parse"),
    "no text": (bytes(range(128, 256)), "can't decode"),
}


@pytest.mark.parametrize("content, problem", WRONG_TRIALS.values(), ids=WRONG_TRIALS)
def test_wrong_trials_are_refused(content, problem, tmp_path):
    store_counts(tmp_path)
    path = tmp_path / "raw.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=problem) as caught:
        fetch_cifar10h(data_home=tmp_path, raw_trials=path)
    assert str(caught.value).startswith(f"raw_trials={str(path)!r} cannot be used: ")
    assert "cifar10h-raw.zip" in str(caught.value) and "reaction_time" in str(caught.value)


@pytest.mark.parametrize("files, n", [({"a.txt": b""}, 0), ({"a.csv": b"", "b.csv": b""}, 2)])
def test_a_zip_file_needs_one_table(files, n, tmp_path):
    store_counts(tmp_path)
    with pytest.raises(ValueError, match=f"it holds {n} .csv files, but one was expected"):
        fetch_cifar10h(data_home=tmp_path, raw_trials=write_zip(tmp_path / "raw.zip", files))


def test_a_flipped_byte_in_zipped_trials_is_refused(tmp_path):
    store_counts(tmp_path)
    path = tmp_path / "raw.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("raw.csv", trials_csv())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"3000.5", b"3001.5"))
    with pytest.raises(ValueError, match="Bad CRC-32"):
        fetch_cifar10h(data_home=tmp_path, raw_trials=path)


def test_trials_that_are_not_there_are_named_before_anything_is_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"raw_trials='.*gone.csv' is not there"):
        fetch_cifar10h(data_home=tmp_path, raw_trials=tmp_path / "gone.csv")


WRONG_COUNTS = {
    "shares": (COUNTS / 50, "counts has dtype float64, but integers"),
    "pickled": (COUNTS.astype(object), "counts cannot be read .*Object arrays"),
    "nine classes": (COUNTS[:, 1:], r"counts has shape \(4, 9\), but \(n_images, 10\)"),
    "one row": (COUNTS[0], r"counts has shape \(10,\)"),
    "no images": (COUNTS[:0], r"counts has shape \(0, 10\)"),
    "negative": (COUNTS.astype(int) - 1, "counts goes down to -1"),
    "an image without answers": (COUNTS * np.array([[1], [0], [1], [1]], np.uint8), "row 1 of counts holds no answer"),
}


@pytest.mark.parametrize("counts, problem", WRONG_COUNTS.values(), ids=WRONG_COUNTS)
def test_wrong_counts_are_refused(counts, problem, tmp_path):
    path = store_counts(tmp_path, counts)
    with pytest.raises(ValueError, match=problem) as caught:
        fetch_cifar10h(data_home=tmp_path)
    assert str(caught.value).startswith(f"{path} cannot be used: ")
    assert "delete it to have it downloaded again" in str(caught.value)


def test_a_file_without_counts_or_with_damage_is_refused(tmp_path):
    path = tmp_path / "cifar10h.npz"
    np.savez(path, probs=COUNTS)
    with pytest.raises(ValueError, match="it lacks counts; an .npz file with counts was expected"):
        fetch_cifar10h(data_home=tmp_path)
    content = store_counts(tmp_path).read_bytes()
    path.write_bytes(content.replace(COUNTS.tobytes(), COUNTS[::-1].tobytes()))
    with pytest.raises(ValueError, match="Bad CRC-32"):
        fetch_cifar10h(data_home=tmp_path)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="not a zip file"):
        fetch_cifar10h(data_home=tmp_path)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float64"])
def test_counts_are_downloaded_once(dtype, install_url, tmp_path):
    calls = install_url(npy_bytes(COUNTS.astype(dtype)))
    for _ in range(2):
        people = fetch_cifar10h(data_home=tmp_path / "home")
        assert np.array_equal(people.counts, COUNTS)
        assert [path.name for path in (tmp_path / "home").iterdir()] == ["cifar10h.npz"]
    assert [url for url, *_ in calls] == [datasets.CIFAR10H_URL]
    assert fetch_cifar10h(data_home=tmp_path / "home", download_if_missing=False).counts.dtype == np.int64


@pytest.mark.parametrize(
    "content, failure",
    [
        (b"half of it", URLError("no network")),
        (b"404: Not Found", None),
        (npy_bytes(COUNTS)[:-1], None),
        (npy_bytes(COUNTS / 50), None),
        (npy_bytes(COUNTS + 0.5), None),
        (npy_bytes(COUNTS.T), None),
    ],
)
def test_a_failed_download_of_counts_says_what_to_do_and_leaves_nothing(content, failure, install_url, tmp_path):
    install_url(content, failure)
    with pytest.raises(OSError, match="CIFAR-10H could not be downloaded") as caught:
        fetch_cifar10h(data_home=tmp_path)
    assert str(tmp_path / "cifar10h.npz") in str(caught.value)
    assert r"an .npz file with counts (integers, (n_images, 10)" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_missing_counts_that_are_not_to_be_downloaded_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="cifar10h.npz is not there.*counts"):
        fetch_cifar10h(data_home=tmp_path, download_if_missing=False)


# the real files, where there are any


@pytest.fixture
def real(case):
    path = Path(get_data_home()) / case.filename
    if not path.exists():
        pytest.skip(f"{case.filename} is not in scikit-learn's data folder, {path.parent}")
    return case.fetch(subset="all", download_if_missing=False)


CLASS_COUNTS = {
    "MNIST": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "CIFAR10": ([5000] * 10, [1000] * 10),
}


@of_torchvision
def test_the_real_file_holds_the_whole_data_set(case, real):
    train, test = CLASS_COUNTS[case.torchvision_name]
    n_train = sum(train)
    assert real.images.shape == (n_train + 10000, *case.image_shape)
    assert np.bincount(real.target[:n_train]).tolist() == train
    assert np.bincount(real.target[n_train:]).tolist() == test
    assert real.target_names.tolist() == case.names
    assert (real.images.min(), real.images.max()) == (0, 255)
    assert f"{n_train:,} training images" in real.DESCR
    assert all(f"{count:,}" in real.DESCR for count in (min(train), max(train), min(test), max(test)))


def real_file(name):
    path = Path(get_data_home()) / name
    if not path.exists():
        pytest.skip(f"{name} is not in scikit-learn's data folder, {path.parent}")


def test_the_real_tiny_imagenet_holds_the_whole_data_set():
    real_file("tiny_imagenet_64.npz")
    for subset, n_per_class in [("train", 500), ("test", 50)]:
        images, target = fetch_tiny_imagenet(subset=subset, download_if_missing=False, return_X_y=True)
        assert images.shape == (200 * n_per_class, 64, 64, 3)
        assert np.bincount(target).tolist() == [n_per_class] * 200
        assert (images.min(), images.max()) == (0, 255)


def test_the_real_counts_are_of_the_test_images_of_cifar10_in_their_order():
    real_file("cifar10h.npz")
    people = fetch_cifar10h(download_if_missing=False)
    assert people.counts.shape == (10000, 10)
    assert (people.frame["n_answers"].min(), people.frame["n_answers"].max()) == (47, 63)
    assert round(people.frame["n_answers"].mean()) == 51
    assert "47 to 63 answers, about 51" in people.DESCR
    real_file("cifar10.npz")
    _, target = fetch_cifar10(subset="test", download_if_missing=False, return_X_y=True)
    assert 0.99 < np.mean(people.frame["label"] == target) < 1
