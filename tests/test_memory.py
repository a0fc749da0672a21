import functools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.callback import ProgressBar
from skorch.callbacks import EarlyStopping, EpochTimer, LRScheduler, PrintLog

from growlattice import LatticeClassifier, _memory, _persistence
from growlattice._memory import Entry, code_version, fit_key, identity
from growlattice._net import LatticeNet
from growlattice._training_set import TrainingSet


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


# --- what makes two fits the same ---


def key(clf, X, y, sample_weight=None):
    data = clf._training_set(np.asarray(X), y, sample_weight, again=False)
    return fit_key(clf, data, clf._seed())


def threshold(images, at=0.5):
    return images * (images > at)


def threshold_with_docstring(images, at=0.5):
    """Keep what is above."""
    return images * (images > at)


def other_threshold(images, at=0.5):
    return images * (images > at + 0.1)


CHANGES = {
    "breadth_pressure": 0.1,
    "depth_pressure": 0.1,
    "time_pressure": 0.1,
    "max_channels": 5,
    "max_layers": 3,
    "max_steps": 2,
    "kernel_size": 5,
    "time_selection": "fixed",
    "temperature": 4.0,
    "position_power": 3.0,
    "noise": 0.2,
    "annealing": (0.2, 0.5),
    "extra_costs": ((threshold, 0.1),),
    "compact_every": None,
    "max_epochs": 5,
    "batch_size": 31,
    "lr": 0.02,
    "weight_decay": 0.0,
    "class_weight": "balanced",
    "image_shape": (1, 4, 16),
    "image_size": 7,
    "augment": threshold,
    "precision": "float64",
    "n_threads": 2,
    "random_state": 1,
    "callbacks": [EarlyStopping(monitor="error")],
}
NO_CHANGES = {
    "memory": "elsewhere",
    "checkpoint_seconds": 1.0,
    "verbose": 1,
    "warm_start": True,
    "device": "cpu",
    "callbacks": [PrintLog(), ("timer", EpochTimer())],
    "annealing": [0.1, 0.5],
    "lr": np.float64(1e-2),
    "precision": "float32",  # which "auto" is on a CPU
}


def test_every_parameter_is_known_to_change_the_result_or_not(make_small):
    assert set(CHANGES) | set(NO_CHANGES) == set(make_small().get_params())


@pytest.mark.parametrize("name", CHANGES)
def test_a_parameter_that_changes_the_result_changes_the_key(small, make_small, name):
    assert key(make_small(**{name: CHANGES[name]}), *small) != key(make_small(), *small)


@pytest.mark.parametrize("name", NO_CHANGES)
def test_a_parameter_that_does_not_change_the_result_leaves_the_key(small, make_small, name):
    assert key(make_small(**{name: NO_CHANGES[name]}), *small) == key(make_small(), *small)


def test_the_data_change_the_key(small, make_small):
    X, y = small
    same, changed = key(make_small(), X, y), X.copy()
    changed[7, 3] += 1
    weights = np.linspace(1, 2, len(X))
    others = [(changed, y), (X, 1 - y), (X, np.array(["a", "b"])[y]), (X[1:], y[1:]), (X.astype(np.float32), y)]
    keys = [key(make_small(), *data) for data in [*others, (X, y, weights), (X, y, weights[::-1])]]
    assert len({same, *keys}) == 1 + len(keys)
    assert key(make_small(), X, y, np.ones(len(X))) == same
    assert key(make_small(), pd.DataFrame(X), y) == same
    named = make_small()
    data = named._training_set(pd.DataFrame(X).add_prefix("pixel_"), y, None, again=False)
    assert fit_key(named, data, named._seed()) != same


def test_code_is_told_apart_by_what_it_does():
    def closed_over(number):
        return lambda images: images + number

    def transform(size, sign):
        class Transform:
            def __init__(self):
                self.size = size

            if sign > 0:

                def __call__(self, images):
                    return images * self.size

            else:

                def __call__(self, images):
                    return -images * self.size

        return Transform()

    values = [
        transform(3, 1),
        transform(4, 1),
        transform(3, -1),
        torch.tensor([1.0]).add,
        torch.tensor([2.0]).add,
        functools.partial(threshold, at=2**60),
        functools.partial(threshold, at=2**60 + 1),
        torch.nn.Conv2d(1, 1, 3),
        torch.nn.Conv2d(1, 1, 3),
        torch.Generator().manual_seed(1),
        torch.Generator().manual_seed(2),
        threshold,
        other_threshold,
        functools.partial(threshold, at=0.7),
        functools.partial(threshold, at=0.8),
        closed_over(1),
        closed_over(2),
        torch.neg,
        torch.nn.Linear,
        lambda images: images if images in {"a", "b"} else None,
    ]
    identities = [str(identity(value)) for value in values]
    assert len(set(identities)) == len(values)
    assert identity(closed_over(1)) == identity(closed_over(1))
    assert identity(threshold)[1] == identity(threshold_with_docstring)[1]
    assert identity(transform(3, 1)) == identity(transform(3, 1))
    assert identity(1) == identity(1.0) == identity(np.float32(1)) and identity(np.inf) != identity(-np.inf)
    endless = []
    endless.append(endless)
    for value in (endless, threading.Lock()):
        with pytest.raises(ValueError, match="memory cannot tell .* from others of its kind"):
            identity(value)


def test_another_class_of_classifier_is_another_fit(small, make_small):
    class Other(LatticeClassifier):
        def _make_lattice(self, data, seed):
            return super()._make_lattice(data, seed + 1)

    assert key(Other(**make_small().get_params()), *small) != key(make_small(), *small)


def test_keys_are_the_same_in_another_process(small, make_small):
    weights, kinds = torch.arange(3.0), frozenset("abcdef")
    extra_costs = [(other_threshold, 0.1), (functools.partial(threshold, at=(weights, kinds)), 0.1)]
    clf = make_small(augment=torch.nn.Conv2d(1, 1, 3), class_weight={0: 1.0, 1: 2.0}, extra_costs=extra_costs)
    script = (
        "import pickle, sys; clf, X, y = pickle.loads(sys.stdin.buffer.read());"
        "from tests.test_memory import key; print(key(clf, X, y), end='')"
    )
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", script],
            input=pickle.dumps((clf, *small)),
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        assert run.stdout.decode() == key(clf, *small), run.stderr.decode()


def test_code_version_does_not_see_comments(monkeypatch, tmp_path):
    source = 'def cost(m):\n    """The cost."""\n    return m + 1\n'
    for name in _memory.NUMERICAL_CODE:
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setattr(_memory, "files", lambda package: tmp_path)
    version = code_version.__wrapped__()
    for changed, same in [
        (source.replace("The cost", "What it costs").replace("+ 1", "+ 1  # one more"), True),
        (source.replace("+ 1", "+ 2"), False),
    ]:
        (tmp_path / "_costs.py").write_text(changed)
        assert (code_version.__wrapped__() == version) is same


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
    def full(tensors, path, metadata):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_persistence, "save_file", full)
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

    def after_epoch(entry, net):
        if len(net.history) == 2:
            for path in make().memory.iterdir():
                path.unlink()
            make().memory.rmdir()
        original(entry, net)

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
    monkeypatch.setattr(_persistence, "save_file", lambda *args, **kwargs: 1 / 0)
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

    monkeypatch.setattr(_persistence, "open", away, raising=False)
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
    original = _persistence.save_file

    def full(tensors, path, metadata):
        if "moments.readout.bias.step" not in tensors:
            raise OSError(28, "No space left on device")
        original(tensors, path, metadata)

    monkeypatch.setattr(_persistence, "save_file", full)
    with pytest.warns(UserWarning, match="could not be written"):
        clf = make(checkpoint_seconds=0).fit(*small)
    assert [name.endswith(".checkpoint") for name in os.listdir(clf.memory)] == [True]
    monkeypatch.setattr(_persistence, "save_file", original)
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


@pytest.mark.parametrize("description", [[1], {"history": 5}])
def test_a_description_that_makes_no_sense_counts_as_damage(small, make, epochs, description):
    epochs.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        make(checkpoint_seconds=0).fit(*small)
    (path,) = make().memory.iterdir()
    tensors, old = _persistence.read(path)
    _persistence.write(path, tensors, {**old, **description} if description != [1] else description)
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


KILLED = """
import sys
import threading
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from growlattice import LatticeClassifier
import numpy as np
X, y = load_digits(n_class=3, return_X_y=True)
clf = LatticeClassifier(max_channels=4, max_layers=2, max_steps=2, max_epochs=5, random_state=0,
                        memory=sys.argv[1], checkpoint_seconds=0)
search = GridSearchCV(clf, {"time_pressure": [0.0, 0.3, 1.0]}, cv=2, n_jobs=2, refit=False).fit(X, y)
print(search.cv_results_["mean_test_score"].tolist(), search.cv_results_["std_test_score"].tolist())
"""


def test_a_search_that_is_killed_ends_as_if_it_had_not_been(tmp_path):
    def run(folder, after=None):
        search = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        if after is not None:
            deadline = time.time() + 60
            while len(list(folder.glob("*"))) < after and search.poll() is None and time.time() < deadline:
                time.sleep(0.05)
            os.killpg(search.pid, signal.SIGKILL)
        return search.communicate()[0]

    undisturbed = run(tmp_path / "one")
    first_seen = {}
    for n_files in (1, 4):
        (tmp_path / "two").mkdir(exist_ok=True)
        run(tmp_path / "two", after=n_files)
        for path in (tmp_path / "two").glob("*.safetensors"):
            assert first_seen.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert run(tmp_path / "two") == undisturbed != ""
    assert all(path.stat().st_mtime_ns == seen for path, seen in first_seen.items())  # none trained twice
    assert len(list((tmp_path / "two").glob("*.safetensors"))) == 6


def test_hashing_does_not_copy_the_images_at_once():
    images = np.zeros((20000, 32, 32, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    tracemalloc.start()
    clf = LatticeClassifier(random_state=0)
    for name, value in dict(classes_=np.arange(2), n_features_in_=3072).items():
        setattr(clf, name, value)
    fit_key(clf, TrainingSet(images, np.zeros(20000, dtype=np.int64), None), seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes / 2


def test_nothing_is_said_unless_verbose(small, make, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().fit(*small)
        make().fit(*small)
    assert capsys.readouterr().out == ""
    make(verbose=1).fit(*small)
    assert capsys.readouterr().out.startswith("read from ")
