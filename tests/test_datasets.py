import errno
import inspect
import io
import re
import runpy
import sys
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from growlattice import datasets
from growlattice.datasets import fetch_cifar10, fetch_mnist

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
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
    return request.param


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

    for case in CASES.values():
        monkeypatch.setattr(torchvision.datasets, case.torchvision_name, refuse)


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
    arrays = some_arrays(case, n_train=10)
    store(tmp_path, case, arrays | {"y_train": np.arange(10)})
    assert case.fetch(data_home=tmp_path).target.tolist() == list(range(10))


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


def test_every_parameter_is_keyword_only_and_its_documented_default_is_the_real_one(case):
    parameters = inspect.signature(case.fetch).parameters
    documented = dict(re.findall(r"^    (\w+) : .*default=(.+)$", case.fetch.__doc__, flags=re.MULTILINE))
    assert {name: eval(default) for name, default in documented.items()} == {
        name: parameter.default for name, parameter in parameters.items()
    }
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())


def test_reading_needs_neither_torch_nor_the_rest_of_the_package(case, tmp_path, monkeypatch):
    store(tmp_path, case)
    for module in ("torch", "torchvision", "growlattice"):
        monkeypatch.setitem(sys.modules, module, None)
    module = runpy.run_path(datasets.__file__)
    assert len(module[case.fetch.__name__](data_home=tmp_path).images) == 3


# files that are not there, or wrong


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
    "a label below 0": ("y_train", lambda y: y.astype(int) - 2, "y_train goes from -1 to 1, but labels from 0 to 9"),
    "labels from 1": ("y_test", lambda y: y + 1, "y_test goes from 9 to 10, but labels from 0 to 9"),
    "a huge label": ("y_test", lambda y: np.array([2**63, 0], np.uint64), f"y_test goes from 0 to {2**63}"),
    "a name too few": (
        "label_names",
        lambda names: names[1:],
        r"label_names has .* shape \(9,\), but 10 strings",
    ),
    "names as numbers": ("label_names", lambda names: np.arange(10), "label_names has dtype int64"),
    "names as bytes": ("label_names", lambda names: names.astype("S"), r"label_names has dtype \|S"),
    "pickled images": ("x_train", lambda x: x.astype(object), "x_train cannot be read .*Object arrays"),
    "pickled labels": ("y_test", lambda y: y.astype(object), "y_test cannot be read .*Object arrays"),
    "pickled names": ("label_names", lambda names: names.astype(object), "label_names cannot be read .*Object arrays"),
}


@pytest.mark.parametrize("key, change, problem", WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_a_wrong_array_is_refused(case, key, change, problem, tmp_path):
    arrays = some_arrays(case)
    arrays[key] = change(arrays[key])
    assert_refused(case, store(tmp_path, case, arrays), problem)


def test_the_file_of_another_data_set_is_refused(tmp_path):
    mnist, cifar10 = CASES.values()
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
    content[content.index(arrays[key].tobytes()) + arrays[key].nbytes // 2] ^= 1
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


def test_a_downloaded_file_has_the_documented_keys(case, install, tmp_path):
    arrays = some_arrays(case)
    install(arrays)
    case.fetch(data_home=tmp_path)
    with np.load(tmp_path / case.filename, allow_pickle=False) as stored:
        assert sorted(stored.files) == sorted(KEYS)
        assert all(np.array_equal(stored[key], arrays[key]) for key in KEYS)


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


def test_an_interrupted_download_stays_an_interrupt_and_leaves_nothing(case, install, tmp_path):
    install(some_arrays(case), fails=("test", KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        case.fetch(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_writing_leaves_nothing(case, install, tmp_path, monkeypatch):
    install(some_arrays(case))

    def fail(path, **arrays):
        Path(path).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="No space left on device"):
        case.fetch(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


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


def test_a_damaged_file_is_downloaded_again_once_deleted(case, install, tmp_path):
    path = store(tmp_path, case)
    path.write_bytes(path.read_bytes()[:-1])
    fake = install(some_arrays(case))
    assert_refused(case, path)
    assert fake.calls == []
    path.unlink()
    assert len(case.fetch(data_home=tmp_path).images) == 3


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
