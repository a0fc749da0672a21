import json
import os
import pickle
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from growlattice import LatticeClassifier
from growlattice._storage import _file
from growlattice._storage._file import OtherFormat, UnusableFile, pack, read, read_description, unpack, write

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "mask": torch.tensor([True, False]), "one": torch.tensor(1.5)}


def test_what_is_packed_is_unpacked():
    tensors, description = unpack(pack(TENSORS, {"a": [1, None, "text"]}))
    assert description == {"a": [1, None, "text"]}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor)


def test_tensors_of_any_memory_format_are_packed_by_their_values():
    turned = TENSORS["weight"].T.contiguous().T.requires_grad_()
    assert torch.equal(unpack(pack({"weight": turned}, {}))[0]["weight"], TENSORS["weight"])


def test_what_json_cannot_hold_is_not_packed():
    for description in ({"a": np.nan}, {"a": object()}):
        with pytest.raises((ValueError, TypeError)):
            pack({}, description)


def test_a_file_is_written_and_read(tmp_path):
    path = tmp_path / "file"
    write(path, pack(TENSORS, {"a": 1}))
    tensors, description = read(path)
    assert description == read_description(path) == {"a": 1}
    assert torch.equal(tensors["weight"], TENSORS["weight"])


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"content"


def test_only_the_header_is_read_for_the_description(saved):
    content = saved.read_bytes()
    n_header = 8 + struct.unpack("<Q", content[:8])[0]
    expected = read(saved)[1]
    for tensors in (b"", b"\0" * (len(content) - n_header)):
        saved.write_bytes(content[:n_header] + tensors)
        assert read_description(saved) == expected
        with pytest.raises(UnusableFile, match="Cannot load"):
            read(saved)


def test_a_damaged_header_is_seen_without_the_tensors(saved):
    content = saved.read_bytes()
    start = content.index(b"max_channels")
    saved.write_bytes(content[:start] + b"min" + content[start + 3 :])
    with pytest.raises(UnusableFile, match="its header is not what was written"):
        read_description(saved)


def test_a_crash_while_saving_leaves_the_old_file(fitted, saved, monkeypatch):
    before = saved.read_bytes()

    def crash(file):
        raise OSError("No space left on device")

    monkeypatch.setattr(_file.os, "fsync", crash)
    with pytest.raises(OSError, match="No space left"):
        fitted[0].save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


# --- files that are not what they should be ---


@pytest.mark.parametrize(
    "header, message",
    [
        ({"format": "1"}, "its format version is '1', and this growlattice reads 7"),
        ({"format": "2"}, "its format version is '2', and this growlattice reads 7"),
        ({"digest": "0"}, "its content is not what was written"),
        ({"description": "{"}, "its description is no JSON"),
        ({"description": "[" * 10**5}, "its description is no JSON"),
    ],
)
def test_headers_that_do_not_fit(saved, rewrite, header, message):
    rewrite(saved, **header)
    with pytest.raises(ValueError, match=message):
        LatticeClassifier.load(saved)


@pytest.mark.parametrize("other", ["1", "2", "3", "4", "5", "6", "8"])
def test_another_format_is_told_from_damage(saved, rewrite, other):
    rewrite(saved, format=other)
    for reader in (read, read_description):
        with pytest.raises(OtherFormat):
            reader(saved)


def test_a_header_digest_of_another_header_is_refused(saved, rewrite):
    rewrite(saved, header_digest="0")
    with pytest.raises(UnusableFile, match="its header is not what was written"):
        read_description(saved)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clf").write_bytes(pickle.dumps(Bomb()))
    torch.save(Bomb(), tmp_path / "other")
    for name in ("clf", "other"):
        with pytest.raises(ValueError, match=f"Cannot load '{name}': it is not a complete safetensors file"):
            LatticeClassifier.load(name)
    assert not (tmp_path / "exploded").exists()


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "clf")
    save_file({"weight": torch.zeros(3)}, tmp_path / "described", metadata={"format": "pt"})
    for name in ("clf", "described"):
        with pytest.raises(ValueError, match="it was not written by growlattice"):
            LatticeClassifier.load(tmp_path / name)


@pytest.mark.parametrize("size", [2**63, 2**40, 10**8])
def test_a_huge_declared_header_is_refused(saved, size):
    saved.write_bytes(struct.pack("<Q", size) + saved.read_bytes()[8:])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        LatticeClassifier.load(saved)
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        read_description(saved)


def test_a_folder_is_refused(tmp_path):
    for reader in (LatticeClassifier.load, read_description):
        with pytest.raises(ValueError, match=f"Cannot load '{tmp_path}'"):
            reader(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    for reader in (LatticeClassifier.load, read_description):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            reader(tmp_path / "nowhere")


def test_a_loaded_model_does_not_change_with_its_file(fitted, saved):
    loaded = LatticeClassifier.load(saved)
    with open(saved, "r+b") as file:
        file.seek(-500, os.SEEK_END)
        file.write(b"\xff" * 500)
    assert np.array_equal(loaded.predict_proba(fitted[1]), fitted[0].predict_proba(fitted[1]))


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_corruption_is_an_error_or_an_equal_model(fitted, saved, assert_equal_models, data):
    """Cut the file, flip bytes, put bytes in or take them out."""
    content = bytearray(saved.read_bytes())
    n_header = 8 + struct.unpack("<Q", content[:8])[0]
    kind = data.draw(st.sampled_from(["cut", "flip", "insert", "delete"]))
    place = data.draw(st.one_of(st.integers(0, n_header - 1), st.integers(0, len(content) - 1)))
    if kind == "cut":
        content = content[:place]
    elif kind == "flip":
        content[place] ^= data.draw(st.integers(1, 255))
    elif kind == "insert":
        content[place:place] = data.draw(st.binary(min_size=1, max_size=9))
    else:
        del content[place : place + data.draw(st.integers(1, 9))]
    broken = saved.parent / "broken"
    broken.write_bytes(content)
    try:
        description = read_description(broken)
    except ValueError as error:
        assert str(broken) in str(error)
    else:
        assert json.dumps(description) == json.dumps(read(saved)[1])
    try:
        loaded = LatticeClassifier.load(broken)
    except ValueError as error:
        assert str(broken) in str(error)
    else:
        assert_equal_models(fitted[0], loaded, fitted[1])
