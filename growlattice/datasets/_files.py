"""Files of data sets: read to the last byte, and downloaded without leaving half of one behind."""

import errno
import io
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# what zipfile and NumPy raise on damaged bytes, found by changing every byte of a file in turn
DAMAGE = (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def check_there(name, path):
    """Refuse a parameter that names no file or folder."""
    if not Path(path).exists():
        raise FileNotFoundError(f"{name}={str(path)!r} is not there. Give {name}=None, or the path of what is there.")


def check_keys(archive, keys):
    """Refuse an archive that lacks an array."""
    there = set(archive.namelist())
    missing = [key for key in keys if f"{key}.npy" not in there]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}; an .npz file with {', '.join(keys)} was expected")


def read_array(archive, key):
    """Read one array of an open .npz archive, as np.load(allow_pickle=False) does but to the last byte.

    np.load stops where the array's own header says that it ends, and zip compares checksums only at the end: headers
    with a wrong byte would pass for fewer images or for shorter names.
    """
    member = archive.getinfo(f"{key}.npy")
    if member.compress_type not in COMPRESSIONS:
        raise ValueError(f"{key} has compression type {member.compress_type}, which NumPy does not write")
    try:
        content = io.BytesIO(archive.read(member))
        array = np.lib.format.read_array(content, allow_pickle=False)
    except (*DAMAGE, MemoryError) as error:  # a header may claim any shape
        raise ValueError(f"{key} cannot be read ({str(error) or 'it ends too early'})") from error
    if content.read(1):
        raise ValueError(f"{key} goes on after its last value")
    return array


@contextmanager
def damage_refused(file, advice):
    """Refuse what is damaged or is not what its name says, except where the disk is at fault."""
    try:
        yield
    except (*DAMAGE, OSError) as error:
        # a wrong offset inside an archive is an invalid seek
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ValueError(f"{file} cannot be used: {error}{advice}") from error


def load(path, read):
    """Read a data set's file by a function of the open archive, or say what is wrong with it.

    Raises
    ------
    ValueError
        If the file is damaged, or is not that of this data set.
    OSError
        If the file cannot be opened, or the disk cannot be read.
    """
    advice = "; delete it to have it downloaded again."
    with open(path, "rb") as file, damage_refused(path, advice), zipfile.ZipFile(file) as archive:
        return read(archive)


@contextmanager
def new_file(path):
    """Give the path of a file to write in a folder for scratch files, and move it into place when it is complete.

    Nothing else is left behind, and nothing at all if an error is raised.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.stem}-") as folder:
        complete = Path(folder) / path.name
        yield complete
        complete.replace(path)


def check_download_wanted(path, by_hand, download_if_missing):
    """Refuse a missing file that is not to be downloaded."""
    if not download_if_missing:
        raise FileNotFoundError(
            f"{path} is not there, and download_if_missing=False. Give download_if_missing=True, or put it there "
            f"yourself: {by_hand}."
        )


@contextmanager
def download_errors(path, title, by_hand):
    """Whatever goes wrong in a download, say what to do instead."""
    try:
        yield
    except Exception as error:
        raise OSError(
            f"{title} could not be downloaded ({type(error).__name__}). Try again, or put {path} there yourself: "
            f"{by_hand}."
        ) from error


def ensure_file(path, title, layout, download, download_if_missing):
    """Download a data set's arrays and write its file, unless it is there.

    Raises
    ------
    OSError
        If there is no file and it is not to be downloaded, the download fails, or the file cannot be written.
    """
    if path.exists():
        return
    check_download_wanted(path, layout, download_if_missing)
    with new_file(path) as new:
        with download_errors(path, title, layout):
            arrays = download(new.parent)
        np.savez(new, **arrays)
