import errno
import zipfile

import numpy as np
import pytest

from .conftest import CASES, KEYS, assert_refused, npy_bytes, some_arrays, store


def rewrite(path, key, content, compression=zipfile.ZIP_STORED):
    """Put other bytes, with the right checksum, in the place of one array."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, member in (members | {f"{key}.npy": content}).items():
            archive.writestr(name, member)


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


def test_a_header_that_claims_a_huge_shape_is_refused(case, tmp_path):
    path = tmp_path / case.filename
    header = np.lib.format.magic(1, 0) + b"\x76\x00"
    header += b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000, 32, 1000000, 3), }".ljust(0x75) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in some_arrays(case).items():
            archive.writestr(f"{key}.npy", header if key == KEYS[0] else npy_bytes(array))
    assert_refused(case, path, f"{KEYS[0]} cannot be read")


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
