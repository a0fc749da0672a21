import importlib.metadata
import os
import pickle
import runpy
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.callback import ProgressBar
from skorch.callbacks import EpochTimer, LRScheduler

from growlattice import forget
from growlattice._estimators import _base
from growlattice._storage import _file, _memory
from growlattice._storage._file import pack, read, write
from growlattice._storage._memory import Entry
from growlattice._training._net import LatticeNet


@pytest.fixture
def epochs(monkeypatch):
    """Counts epochs trained; set `stop_at` to have a Ctrl-C when so many are done."""

    class Epochs:
        n, stop_at = 0, None

    def train_epoch(net, *args, **kwargs):
        if len(net.history) == Epochs.stop_at:
            raise KeyboardInterrupt
        Epochs.n += 1
        return original(net, *args, **kwargs)

    original = LatticeNet.train_epoch
    monkeypatch.setattr(LatticeNet, "train_epoch", train_epoch)
    return Epochs


@pytest.fixture
def make(make_small, tmp_path):
    return lambda **parameters: make_small(**{"memory": tmp_path / "memory", **parameters})


def assert_equal_fits(one, other, X):
    for method in ("predict_proba", "time_weights"):
        assert np.array_equal(getattr(one, method)(X), getattr(other, method)(X))
    assert one.costs_ == other.costs_ and one.time_used_ == other.time_used_
    columns = one.history_.columns.drop("dur")
    pd.testing.assert_frame_equal(one.history_[columns], other.history_[columns])


def test_a_finished_fit_is_read_and_not_trained(small, make, make_small, epochs):
    X, y = small
    trained, without = make().fit(X, y), make_small().fit(X, y)
    epochs.n = 0
    again = make(verbose=0, checkpoint_seconds=3.0).fit(X, y)
    assert epochs.n == 0
    assert_equal_fits(trained, without, X)
    assert_equal_fits(again, without, X)
    pd.testing.assert_frame_equal(again.history_, trained.history_)
    assert again.memory == trained.memory and again.checkpoint_seconds == 3.0


def test_what_was_read_goes_on_like_what_was_trained(small, make):
    X, y = small
    trained, again = make().fit(X, y), make().fit(X, y)
    for clf in (trained, again):
        clf.partial_fit(X, y)
    assert_equal_fits(trained, again, X)
    for clf in (trained, again):
        clf.set_params(warm_start=True).fit(X, y)
    assert_equal_fits(trained, again, X)
    assert len(os.listdir(trained.memory)) == 2  # the fit, and the fit that went on from it


@pytest.mark.parametrize(
    "parameters",
    [
        dict(breadth_pressure=0.3, time_pressure=0.1),
        dict(precision="float64", augment=torch.neg),
        dict(max_steps=1),
        dict(depth_pressure=1000.0, time_pressure=100.0, lr=0.15, temperature=20.0, annealing=(0.0, 0.0)),  # compacts
    ],
)
@pytest.mark.parametrize("stop_at", [1, 3])
def test_an_interrupted_fit_goes_on_and_ends_bit_for_bit_the_same(small, make, make_small, epochs, stop_at, parameters):
    X, y = small
    whole = make_small(**parameters).fit(X, y)
    epochs.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        make(checkpoint_seconds=0, **parameters).fit(X, y)
    (left,) = os.listdir(make().memory)
    assert left.endswith(".checkpoint")
    epochs.stop_at, epochs.n = None, 0
    resumed = make(checkpoint_seconds=0, **parameters).fit(X, y)
    assert epochs.n == 4 - stop_at
    assert_equal_fits(resumed, whole, X)
    (left,) = os.listdir(make().memory)
    assert left.endswith(".safetensors")


def test_checkpoints_come_no_more_often_than_asked_for(small, make, monkeypatch):
    written = []
    monkeypatch.setattr(Entry, "_write", lambda self, path, *rest: written.append(path))
    make(checkpoint_seconds=3600).fit(*small)
    assert [path.endswith(".safetensors") for path in written] == [True]
    make(checkpoint_seconds=0).fit(*small)
    assert len(written) == 1 + 4 + 1


def test_a_seed_is_needed(small, make):
    with pytest.raises(ValueError, match="memory needs a random_state: with random_state=None every fit is another"):
        make(random_state=None).fit(*small)


# --- images to measure it on ---


def test_what_was_measured_on_other_images_comes_back(small, make, epochs):
    X, y = small
    trained = make().fit(X, y, X_val=X[:30], y_val=y[:30])
    epochs.n = 0
    assert_equal_fits(make().fit(X, y, X_val=X[:30], y_val=y[:30]), trained, X)
    assert epochs.n == 0
    make().fit(X, y, X_val=X[:31], y_val=y[:31])
    make().fit(X, y)
    assert epochs.n == 8


def test_an_interrupted_fit_goes_on_measuring(small, make, make_small, epochs):
    X, y = small
    whole = make_small().fit(X, y, X_val=X[:30], y_val=y[:30])
    epochs.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        make(checkpoint_seconds=0).fit(X, y, X_val=X[:30], y_val=y[:30])
    epochs.stop_at, epochs.n = None, 0
    assert_equal_fits(make().fit(X, y, X_val=X[:30], y_val=y[:30]), whole, X)
    assert epochs.n == 2


# --- callbacks ---


def test_a_fit_with_callbacks_that_decide_is_stored_but_has_no_checkpoints(small, make, epochs):
    X, y = small
    callbacks = [LRScheduler("StepLR", step_size=2)]
    epochs.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        make(callbacks=callbacks, checkpoint_seconds=0).fit(X, y)
    assert os.listdir(make().memory) == []
    epochs.stop_at = None
    one = make(callbacks=callbacks).fit(X, y)
    epochs.n = 0
    assert_equal_fits(make(callbacks=[LRScheduler("StepLR", step_size=2)]).fit(X, y), one, X)
    assert epochs.n == 0
    make(callbacks=[LRScheduler("StepLR", step_size=1)]).fit(X, y)
    assert epochs.n == 4


def test_a_fit_that_a_callback_of_scikit_learns_ended_is_not_stored(small, make):
    class Stop(ProgressBar):
        def on_fit_task_end(self, estimator, context, **kwargs):
            return context.task_name == "epoch"

    for _ in range(2):
        clf = make(checkpoint_seconds=0).set_callbacks(Stop())
        clf.fit(*small)
        assert len(clf.history_) == 1
        assert os.listdir(clf.memory) == []


# --- several processes, and files that break ---


def test_threads_that_start_the_same_fit_are_both_right(small, make, make_small):
    X, y = small
    with ThreadPoolExecutor(4) as pool:
        fits = list(pool.map(lambda _: make(checkpoint_seconds=0).fit(X, y), range(4)))
    for clf in fits:
        assert_equal_fits(clf, make_small().fit(X, y), X)
    assert [name.endswith(".safetensors") for name in os.listdir(fits[0].memory)] == [True]


@pytest.mark.parametrize("kind", ["cut", "flipped", "empty", "of another fit"])
def test_a_damaged_entry_is_reported_set_aside_and_trained_anew(small, make, epochs, kind):
    X, y = small
    trained = make().fit(X, y)
    (name,) = os.listdir(trained.memory)
    path = trained.memory / name
    content = bytearray(path.read_bytes())
    if kind == "of another fit":
        make(lr=0.02, memory=trained.memory / "other").fit(X, y)
        (other,) = (trained.memory / "other").iterdir()
        content = other.read_bytes()
        other.unlink(), other.parent.rmdir()
    elif kind == "flipped":
        content[-1] ^= 1
    else:
        del content[len(content) // 2 if kind == "cut" else 0 :]
    path.write_bytes(content)
    epochs.n = 0
    with pytest.warns(UserWarning, match=rf"Set aside as .*{name}.damaged, and trained anew. Cannot load"):
        again = make().fit(X, y)
    assert epochs.n == 4
    assert_equal_fits(again, trained, X)
    assert sorted(os.listdir(trained.memory)) == [name, name + ".damaged"]
    make().fit(X, y)
    assert epochs.n == 4


def test_a_damaged_checkpoint_is_reported_and_the_fit_starts_over(small, make, make_small, epochs):
    X, y = small
    epochs.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        make(checkpoint_seconds=0).fit(X, y)
    (path,) = make().memory.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    epochs.stop_at, epochs.n = None, 0
    with pytest.warns(UserWarning, match="Set aside as .*checkpoint.damaged, and trained anew"):
        clf = make().fit(X, y)
    assert epochs.n == 4
    assert_equal_fits(clf, make_small().fit(X, y), X)


def test_a_full_disk_costs_the_entry_and_not_the_fit(small, make, make_small, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_file.os, "fsync", full)
    with pytest.warns(UserWarning, match="could not be written: .*No space left on device. The fit goes on") as caught:
        clf = make(checkpoint_seconds=0).fit(*small)
    assert len(caught) == 1
    assert os.listdir(clf.memory) == []
    monkeypatch.undo()
    assert_equal_fits(clf, make_small().fit(*small), small[0])


def test_a_limit_on_file_sizes_is_met_for_real(small, make):
    """What the operating system does when there is no room for a file, without a full disk."""
    script = (
        "import pickle, resource, sys, warnings; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000));"
        "clf, X, y = pickle.loads(sys.stdin.buffer.read());"
        "warnings.simplefilter('always'); clf.fit(X, y); print(clf.score(X, y))"
    )
    clf = make(checkpoint_seconds=0)
    run = subprocess.run([sys.executable, "-c", script], input=pickle.dumps((clf, *small)), capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    assert float(run.stdout) > 0.5
    assert run.stderr.decode().count("could not be written") == 1
    assert os.listdir(clf.memory) == []


def test_a_folder_that_is_removed_in_mid_fit_costs_the_entry_and_not_the_fit(small, make, epochs, monkeypatch):
    original = Entry.after_epoch

    def after_epoch(entry, make_trained):
        if len(make_trained().history) == 2:
            for path in make().memory.iterdir():
                path.unlink()
            make().memory.rmdir()
        original(entry, make_trained)

    monkeypatch.setattr(Entry, "after_epoch", after_epoch)
    with pytest.warns(UserWarning, match="could not be written") as caught:
        clf = make(checkpoint_seconds=0).fit(*small)
    assert len(caught) == 1 and len(clf.history_) == 4
    assert not clf.memory.exists()


def test_a_path_that_cannot_be_a_folder_is_an_error_before_training(small, make, tmp_path, epochs):
    (tmp_path / "file").write_text("")
    clf = make(memory=tmp_path / "file" / "memory")
    with pytest.raises(ValueError, match="memory='.*file/memory' cannot be a folder: .* Give another"):
        clf.fit(*small)
    assert epochs.n == 0 and not hasattr(clf, "net_")


def test_a_folder_that_cannot_be_written_is_still_read(small, make, monkeypatch, epochs):
    trained = make().fit(*small)
    monkeypatch.setattr(_memory, "write", lambda *args, **kwargs: 1 / 0)
    epochs.n = 0
    assert_equal_fits(make().fit(*small), trained, small[0])
    assert epochs.n == 0


@pytest.mark.parametrize("error", [OSError(116, "Stale file handle"), PermissionError(13, "No"), MemoryError("full")])
def test_an_entry_that_cannot_be_read_for_now_is_left_alone(small, make, monkeypatch, error):
    trained = make().fit(*small)
    (path,) = trained.memory.iterdir()
    content = path.read_bytes()

    def away(*args, **kwargs):
        raise error

    monkeypatch.setattr(_file, "open", away, raising=False)
    with pytest.warns(UserWarning, match="Trained anew, for .* cannot be read now. "):
        assert_equal_fits(make().fit(*small), trained, small[0])
    assert [found.read_bytes() for found in trained.memory.iterdir()] == [content]


def test_a_checkpoint_beside_a_finished_fit_is_removed(small, make):
    clf = make().fit(*small)
    (path,) = clf.memory.iterdir()
    path.with_suffix(".checkpoint").write_bytes(b"left behind")
    make().fit(*small)
    assert list(clf.memory.iterdir()) == [path]


def test_others_may_read_what_is_stored(small, make):
    (path,) = make().fit(*small).memory.iterdir()
    (path.parent / "plain").write_bytes(b"")
    assert path.stat().st_mode == (path.parent / "plain").stat().st_mode


def test_a_checkpoint_stays_if_the_finished_fit_cannot_be_written(small, make, monkeypatch, epochs):
    original = _memory.write

    def full(path, content):
        if b"moments.readout.bias.step" not in content:
            raise OSError(28, "No space left on device")
        original(path, content)

    monkeypatch.setattr(_memory, "write", full)
    with pytest.warns(UserWarning, match="could not be written"):
        clf = make(checkpoint_seconds=0).fit(*small)
    assert [name.endswith(".checkpoint") for name in os.listdir(clf.memory)] == [True]
    monkeypatch.setattr(_memory, "write", original)
    epochs.n = 0
    assert_equal_fits(make().fit(*small), clf, small[0])
    assert epochs.n == 0
    assert [name.endswith(".safetensors") for name in os.listdir(clf.memory)] == [True]


def test_a_history_that_json_cannot_hold_costs_the_entry_and_not_the_fit(small, make):
    class Records(EpochTimer):
        def on_epoch_end(self, net, **kwargs):
            super().on_epoch_end(net, **kwargs)
            net.history.record("weights", net.module_.readout.weight.detach().clone())

    with pytest.warns(UserWarning, match="could not be written: Tensor cannot be written as JSON"):
        clf = make(callbacks=[Records()]).fit(*small)
    assert len(clf.history_) == 4


@pytest.mark.parametrize(
    "module, name",
    [
        (_memory, "write"),
        (_memory, "pack"),
        (_memory, "describe_trained"),
        (_base, "describe_estimator"),
        (_memory, "as_json"),
        (_memory, "code_version"),
        (_base, "fit_record"),
    ],
)
@pytest.mark.parametrize("error", [KeyError("x"), RecursionError("deep"), importlib.metadata.PackageNotFoundError("p")])
def test_whatever_fails_in_storing_costs_the_entry_and_not_the_fit(
    small, make, make_small, monkeypatch, module, name, error
):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(module, name, fail)
    with pytest.warns(UserWarning, match="could not be written: .* The fit goes on, but memory will not hold it"):
        clf = make(max_epochs=1).fit(*small)
    assert os.listdir(clf.memory) == []
    assert_equal_fits(clf, make_small(max_epochs=1).fit(*small), small[0])


def test_packages_that_are_not_installed_change_nothing(small, make, monkeypatch):
    """As from a checkout on sys.path, of which Python's metadata knows nothing."""

    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    for function in ("version", "distribution", "metadata"):
        monkeypatch.setattr(importlib.metadata, function, unknown)
    clf = make(max_epochs=1).fit(*small)
    assert len(os.listdir(clf.memory)) == 1


@pytest.mark.parametrize("description", [[1], {"history": 5}])
def test_a_description_that_makes_no_sense_counts_as_damage(small, make, epochs, description):
    epochs.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        make(checkpoint_seconds=0).fit(*small)
    (path,) = make().memory.iterdir()
    tensors, old = read(path)
    write(path, pack(tensors, {**old, **description} if description != [1] else description))
    epochs.stop_at = None
    with pytest.warns(UserWarning, match="Set aside as"):
        make().fit(*small)


def test_halves_of_files_are_removed_when_they_are_old(small, make):
    clf = make().fit(*small)
    (path,) = clf.memory.iterdir()
    path.unlink()
    for name, age in (("old", 2 * _memory.STALE), ("new", 0)):
        part = clf.memory / f".{path.name}.{name}.part"
        part.write_bytes(b"half")
        os.utime(part, (time.time() - age,) * 2)
    make().fit(*small)
    assert sorted(os.listdir(clf.memory)) == [f".{path.name}.new.part", path.name]


SEARCH = """
import sys
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from growlattice import LatticeClassifier

def search(folder, n_jobs):
    X, y = load_digits(n_class=3, return_X_y=True)
    clf = LatticeClassifier(max_channels=4, max_layers=2, max_steps=2, max_epochs=5, random_state=0,
                            memory=folder, checkpoint_seconds=0)
    found = GridSearchCV(clf, {"time_pressure": [0.0, 0.3, 1.0]}, cv=2, n_jobs=n_jobs, refit=False).fit(X, y)
    return found.cv_results_["mean_test_score"].tolist(), found.cv_results_["std_test_score"].tolist()

if __name__ == "__main__":
    search(sys.argv[1], 2)
"""


def test_a_search_that_is_killed_ends_as_if_it_had_not_been(tmp_path):
    script, folder = tmp_path / "search.py", tmp_path / "killed"
    script.write_text(SEARCH)
    folder.mkdir()
    search = runpy.run_path(script)["search"]  # here and in one process: each of the others takes seconds to start
    killed = subprocess.Popen([sys.executable, script, folder], start_new_session=True)
    deadline = time.time() + 60
    while len(list(folder.glob("*.safetensors"))) < 2 and time.time() < deadline:
        time.sleep(0.05)
    assert killed.poll() is None
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    first_seen = {path: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    assert 2 <= len(first_seen) < 6
    assert search(folder, None) == search(tmp_path / "undisturbed", None)
    assert all(path.stat().st_mtime_ns == seen for path, seen in first_seen.items())  # none trained twice
    assert len(list(folder.glob("*.safetensors"))) == 6


def test_nothing_is_said_unless_verbose(small, make, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().fit(*small)
        make().fit(*small)
    assert capsys.readouterr().out == ""
    make(verbose=1).fit(*small)
    assert capsys.readouterr().out.startswith("read from ")


# --- what an upgrade leaves behind ---


def of_other_code(path):
    """Rewrite an entry as another version of the package would have written it."""
    tensors, description = read(path)
    write(path, pack(tensors, {**description, "version": "0.0.1", "code": "0" * 32}))


def of_an_old_format(path, monkeypatch):
    tensors, description = read(path)
    monkeypatch.setattr(_file, "FORMAT", 1)
    write(path, pack(tensors, description))
    monkeypatch.undo()


@pytest.mark.parametrize("dry_run", [True, False])
def test_forget_removes_what_no_fit_can_read_and_nothing_else(small, make, monkeypatch, dry_run):
    X, y = small
    folder = make().memory
    clf = make(max_epochs=1).fit(X, y)
    (present,) = folder.iterdir()
    gone = []
    for seed in (1, 2):
        before = set(folder.iterdir())
        make(max_epochs=1, random_state=seed).fit(X, y)
        gone += set(folder.iterdir()) - before
    of_other_code(gone[0])
    of_an_old_format(gone[1], monkeypatch)
    checkpoint = folder / ("0" * 32 + ".checkpoint")
    checkpoint.write_bytes(gone[0].read_bytes())
    damaged = folder / (present.name + ".damaged")
    damaged.write_bytes(b"x")
    parts = {age: folder / f".{present.name}.{digit * 32}.part" for age, digit in ((7200, "1"), (0, "2"))}
    for age, part in parts.items():
        part.write_bytes(b"half")
        os.utime(part, (time.time() - age,) * 2)
    clf.save(folder / "other.safetensors")
    of_other_code(folder / "other.safetensors")
    for name in ("notes.txt", ".download.part", "0" * 32, "model.safetensors.damaged"):
        (folder / name).write_text("mine")
        os.utime(folder / name, (0, 0))
    broken = folder / ("1" * 32 + ".safetensors")  # which a fit with this key sets aside
    broken.write_bytes(b"cut")
    other = folder / ("2" * 32 + ".safetensors")
    write(other, pack({}, [1]))
    listed = set(folder.iterdir())
    expected = {*gone, checkpoint, damaged, parts[7200]}
    assert set(forget(folder, dry_run=dry_run)) == set(map(str, expected))
    assert set(folder.iterdir()) == (listed if dry_run else listed - expected)


def test_forget_names_a_folder_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        forget(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="not NoneType"):
        forget(None)
