"""Finished fits and checkpoints in a folder, so that no fit is done twice and an interrupted one is resumed.

A fit's entry is named by its key. A finished fit is a file as `save` writes it, an unfinished one a checkpoint beside
it; both are replaced in one piece, so any number of processes can share a folder.
"""

import glob
import os
import re
import time
import warnings
from contextlib import suppress

from .._version import __version__
from ._file import OtherFormat, UnusableFile, pack, read, read_description, unusable, write
from ._fit import describe_trained, read_trained
from ._json import as_json
from ._key import code_version

FINISHED, CHECKPOINT, DAMAGED = ".safetensors", ".checkpoint", ".damaged"
ENTRY = re.compile(r"[0-9a-f]{32}(\.safetensors|\.checkpoint)(\.damaged)?")
PART = re.compile(r"\.[0-9a-f]{32}(\.safetensors|\.checkpoint)\.[0-9a-f]{32}\.part")
STALE = 3600.0  # seconds after which a partly written file is nobody's any more


class Entry:
    """What a memory folder holds of one fit.

    Parameters
    ----------
    folder : str or os.PathLike
        Made if it is not there.
    key : str
        See :func:`fit_key`.
    seconds : float
        Training time between checkpoints.
    report : callable
        Takes a line of text for what is read.

    Raises
    ------
    ValueError
        If there can be no such folder.
    """

    def __init__(self, folder, key, seconds, report):
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ValueError(f"memory={os.fspath(folder)!r} cannot be a folder: {error}. Give another.") from error
        self.folder, self.key, self.seconds, self.report = os.fspath(folder), key, seconds, report
        self.finished, self.checkpoint = (os.path.join(folder, key + suffix) for suffix in (FINISHED, CHECKPOINT))
        self.last, self.failed = time.monotonic(), False

    def read_finished(self):
        """The TrainedLattice of the finished fit, or None."""
        trained = self._read(self.finished)
        if trained is not None:
            self._remove_leftovers()
            self.report(f"read from {self.finished}")
        return trained

    def read_checkpoint(self):
        """The TrainedLattice of the unfinished fit, with the optimizer's moments, or None."""
        trained = self._read(self.checkpoint)
        if trained is not None:
            self.report(f"resumed after epoch {len(trained.history)}, from {self.checkpoint}")
        self.last = time.monotonic()
        return trained

    def after_epoch(self, make_trained):
        """Leave a checkpoint of what `make_trained` returns, if it is time for one."""
        if time.monotonic() - self.last >= self.seconds:
            self._write(self.checkpoint, make_trained, dict)
            self.last = time.monotonic()

    def finish(self, make_trained, make_description, make_record):
        """Store the finished fit, unless another process did, and drop the checkpoint.

        Parameters
        ----------
        make_trained : callable
            Returns the TrainedLattice.
        make_description : callable
            Returns what `describe_estimator` does.
        make_record : callable
            Returns, as a dict, what a table of fits says beside parameters and costs.
        """
        if not os.path.exists(self.finished):
            self._write(self.finished, make_trained, lambda: make_description() | {"record": as_json(make_record())})
        if os.path.exists(self.finished):
            self._remove_leftovers()

    def discard_checkpoint(self):
        """Delete the checkpoint: the fit is finished, or a callback of scikit-learn, unknown to the key, ended it."""
        with suppress(OSError):  # there may be none, or the folder may be read-only
            os.unlink(self.checkpoint)

    def _remove_leftovers(self):
        """Remove what an unfinished fit leaves behind."""
        self.discard_checkpoint()
        for path in glob.glob(os.path.join(glob.escape(self.folder), f".{self.key}.*.part")):
            with suppress(OSError):  # gone already, or not ours to remove
                if _is_stale(path):
                    os.unlink(path)

    def _read(self, path):
        """What is in a file, or None if there is none; a damaged one is set aside with a warning."""
        try:
            before = os.stat(path)
            tensors, description = read(path)
            if not isinstance(description, dict) or description.get("key") != self.key:
                raise unusable(path, "it is the entry of another fit")
            return read_trained(path, tensors, description)
        except FileNotFoundError:
            return None
        except UnusableFile as error:
            if isinstance(error.__cause__, (OSError, MemoryError)):  # may pass: the file may be sound
                warnings.warn(f"Trained anew, for {path} cannot be read now. {error}", stacklevel=2)
                return None
            warnings.warn(f"Set aside as {path}{DAMAGED}, and trained anew. {error}", stacklevel=2)
            with suppress(OSError):  # another process was first, or the folder is read-only
                if os.path.samestat(before, os.stat(path)):  # else another process has replaced it
                    os.replace(path, path + DAMAGED)
            return None

    def _write(self, path, make_trained, make_more):
        """Write an entry's file; a failure to describe or to write is told once a fit and never ends the fit."""
        try:
            tensors, description = describe_trained(make_trained())
            entry = {"key": self.key, "version": __version__, "code": code_version()}
            write(path, pack(tensors, description | entry | make_more()))
        except Exception as error:
            if not self.failed:
                warnings.warn(
                    f"{path} could not be written: {error}. The fit goes on, but memory will not hold it.", stacklevel=2
                )
            self.failed = True


def forget(folder, dry_run=False):
    """Remove from a memory folder what no fit of this version can read any more.

    These are fits and checkpoints that other code has written, such as another version of growlattice; files that were
    set aside as damaged; and files that a process left half-written more than an hour ago.

    Parameters
    ----------
    folder : str or os.PathLike
        What `memory` was for the fits.
    dry_run : bool, default=False
        Whether to remove nothing and only say what would be.

    Returns
    -------
    list of str
        Paths of the files.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    See Also
    --------
    growlattice.read_sweep : Lists the fits, with the version and the code that wrote them.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from growlattice import forget
    >>> forget(mkdtemp())
    []
    """
    removed, folder = [], os.fspath(folder)  # os.listdir would take None for the current folder
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        is_entry, is_part = ENTRY.fullmatch(name), PART.fullmatch(name)
        if (is_part and _is_stale(path)) or (is_entry and (name.endswith(DAMAGED) or _is_of_other_code(path))):
            removed.append(path)
            if not dry_run:
                with suppress(FileNotFoundError):  # another process was first
                    os.unlink(path)
    return removed


def _is_of_other_code(path):
    """Whether an entry can be told to be of other code, or of another format, which is of other code too."""
    try:
        description = read_description(path)
        return isinstance(description, dict) and description.get("code") != code_version()
    except OtherFormat:
        return True
    except (UnusableFile, FileNotFoundError):
        return False


def _is_stale(path):
    with suppress(OSError):
        return time.time() - os.path.getmtime(path) > STALE
    return False
