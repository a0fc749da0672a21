import errno
import re
import warnings
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from .conftest import KEYS, assert_refused, of_torchvision, some_arrays, store


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
def test_a_missing_file_that_is_not_to_be_downloaded_is_named(case, tmp_path):
    with pytest.raises(OSError, match=re.escape(str(tmp_path / case.filename))) as caught:
        case.fetch(data_home=tmp_path, download_if_missing=False)
    assert "download_if_missing=False" in str(caught.value)
    assert all(key in str(caught.value) for key in KEYS)


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
