import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from skorch.callbacks import Callback

from growlattice import LatticeClassifier, pressure_path
from growlattice._training._net import LatticeNet

SHORT = dict(pressures=[3.0, 30.0], keeps=[0.9, 0.5], step_epochs=1, relax_epochs=2)
EXACT = ["keep", "accuracy", "layers", "steps", "macs_per_image", "n_parameters", "train_macs", "depth_pressure"]


@pytest.fixture
def task(small):
    X, y = small
    return X[:90], y[:90], X[90:], y[90:]


@pytest.fixture
def trained(monkeypatch):
    """Counts epochs; set `stop_at` to have a Ctrl-C when so many are done."""

    class Trained:
        n, stop_at = 0, None

    original = LatticeNet.train_epoch

    def train_epoch(net, *args, **kwargs):
        if Trained.n == Trained.stop_at:
            raise KeyboardInterrupt
        Trained.n += 1
        return original(net, *args, **kwargs)

    monkeypatch.setattr(LatticeNet, "train_epoch", train_epoch)
    return Trained


def assert_same_lattice(one, other):
    one, other = one.lattice_.state_dict(), other.lattice_.state_dict()
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_row_for_each_price_and_each_cut(task, make_small):
    path = pressure_path(make_small(), *task, **SHORT)
    assert path["breadth_pressure"].tolist() == path["depth_pressure"].tolist() == [3.0] * 3 + [30.0] * 3
    assert path["keep"].fillna(1).tolist() == [1, 0.9, 0.5] * 2
    assert (path["time_pressure"] == 0).all()
    for _, row in path.iterrows():
        clf = row["load"]()
        assert clf.score(*task[2:]) == row["accuracy"]
        assert clf.macs_per_image_ == row["macs_per_image"] and clf.n_parameters_ == row["n_parameters"]
        assert clf.lattice_.channels_left == row["channels"] and clf.lattice_.steps_left == row["steps"]
        assert clf.breadth_pressure == row["breadth_pressure"] and clf.warm_start is False
    assert path["macs_per_image"].iloc[2] < path["macs_per_image"].iloc[0]


def test_a_point_is_what_one_fit_with_the_same_settings_gives(task, make_small, tmp_path):
    """Bit for bit, in a search, and from memory."""
    X, y, X_val, y_val = task
    path = pressure_path(make_small(), *task, **SHORT, memory=tmp_path)
    clf = make_small(breadth_pressure=3.0, depth_pressure=3.0, relax_epochs=2, memory=tmp_path)
    split = PredefinedSplit(np.r_[np.full(len(X), -1), np.zeros(len(X_val))])
    search = GridSearchCV(clf, {"keep": [0.9, 0.5]}, cv=split, refit=False)
    search.fit(np.r_[X, X_val], np.r_[y, y_val])
    assert search.cv_results_["split0_test_score"].tolist() == path["accuracy"].iloc[[1, 2]].tolist()
    for row in (1, 2):
        alone = path["load"].iloc[row]().set_params(memory=None)
        assert_same_lattice(alone.fit(X, y), path["load"].iloc[row]())


def test_workers_and_memory_change_nothing(task, make_small, tmp_path, trained):
    alone = pressure_path(make_small(), *task, **SHORT)
    n = trained.n
    assert n == 4 + 1 + 4 * 2
    in_memory = pressure_path(make_small(), *task, **SHORT, memory=tmp_path)
    pd.testing.assert_frame_equal(in_memory[EXACT], alone[EXACT])
    trained.n, trained.stop_at = 0, 0
    again = pressure_path(make_small(memory=tmp_path), *task, **SHORT)
    pd.testing.assert_frame_equal(again[EXACT], alone[EXACT])
    workers = pressure_path(make_small(memory=tmp_path), *task, **SHORT, n_jobs=2)
    pd.testing.assert_frame_equal(workers[EXACT], alone[EXACT])


class Watching(Callback):
    """Writes down which callback each fit has called."""

    called = []

    def on_train_begin(self, net, **kwargs):
        self.called.append(self)


def test_each_fit_has_callbacks_of_its_own(task, make_small, monkeypatch):
    """In threads, two at the same time would write into one."""
    monkeypatch.setattr(Watching, "called", [])
    with joblib.parallel_config(backend="threading"):
        path = pressure_path(make_small(callbacks=[Watching()]), *task, **SHORT, n_jobs=2)
    assert len(set(Watching.called)) == len(path) == 6


def test_a_backend_that_hands_over_all_at_once_will_do(task, make_small):
    with joblib.parallel_config(backend="multiprocessing"):
        found = pressure_path(make_small(), *task, **SHORT)
    pd.testing.assert_frame_equal(found[EXACT], pressure_path(make_small(), *task, **SHORT)[EXACT])


@pytest.mark.parametrize("stop_at", [2, 5, 8])
def test_a_path_that_was_interrupted_goes_on(task, make_small, tmp_path, trained, stop_at):
    clf = make_small(memory=tmp_path, checkpoint_seconds=0)
    trained.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        pressure_path(clf, *task, **SHORT)
    trained.stop_at = None
    path = pressure_path(clf, *task, **SHORT)
    assert trained.n == 4 + 1 + 4 * 2
    pd.testing.assert_frame_equal(path[EXACT], pressure_path(make_small(), *task, **SHORT)[EXACT])


def test_the_sum_of_what_rows_took_is_that_of_all_training(task, make_small, monkeypatch):
    counted = []
    original = LatticeNet.train_epoch

    def train_epoch(net, batches, *args, **kwargs):
        counted.append(3 * net.module_.macs() * len(batches.data))
        return original(net, batches, *args, **kwargs)

    monkeypatch.setattr(LatticeNet, "train_epoch", train_epoch)
    assert pressure_path(make_small(), *task, **SHORT)["train_macs"].sum() == sum(counted)


def test_prices_can_rise_in_directions_of_their_own(task, make_small):
    steps = [{"depth_pressure": 2}, {"breadth_pressure": 3.0}, {"time_pressure": 0.5}]
    path = pressure_path(make_small(breadth_pressure=1.0), *task, **SHORT | {"pressures": steps, "keeps": 0.5})
    prices = path[["breadth_pressure", "depth_pressure", "time_pressure"]].iloc[::2]
    assert prices.values.tolist() == [[1, 2, 0], [3, 2, 0], [3, 2, 0.5]]


def test_the_estimator_given_stays_as_it_is(task, make_small):
    clf = make_small()
    before = repr(clf), clf.get_params()
    pressure_path(clf, *task, **SHORT | {"pressures": [1.0], "keeps": pd.Series([0.5])})
    assert (repr(clf), clf.get_params()) == before and not hasattr(clf, "net_")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(pressures=[3, 1]), "must ascend"),
        (dict(pressures=[3, 3]), "must ascend"),
        (dict(pressures=[{"time_pressure": 1}, {"time_pressure": 0.5}]), "must ascend"),
        (dict(pressures=[]), "pressures is empty"),
        (dict(pressures=[-1.0]), "pressures holds -1.0"),
        (dict(pressures=[np.nan]), "pressures holds nan"),
        (dict(pressures=["high"]), "pressures holds 'high'"),
        (dict(pressures=[{"pressure": 1}]), "pressures holds {'pressure': 1}"),
        (dict(keeps=[]), "keeps=\\[\\]"),
        (dict(keeps=[0.5, 1.5]), "keeps="),
        (dict(step_epochs=0), "step_epochs=0"),
        (dict(relax_epochs=0.5), "relax_epochs=0.5"),
        (dict(estimator=LatticeNet), "is no estimator of growlattice"),
        (dict(X_val=None), "X_val and y_val are missing"),
        (dict(y_val=None), "X_val and y_val are missing"),
        (dict(X_val=np.zeros((5, 49)), y_val=np.zeros(5)), "X_val and y_val do not fit: X has 49 features"),
        (dict(y_val=np.zeros(5)), "X_val and y_val do not fit: .* inconsistent numbers of samples"),
        (dict(y=np.zeros(90)), "y holds one value"),
        (dict(estimator=LatticeClassifier(), memory="folder"), "memory needs a random_state"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(task, make_small, arguments, message, trained):
    given = dict(zip(("estimator", "X", "y", "X_val", "y_val"), (make_small(), *task), strict=True))
    with pytest.raises(ValueError, match=message):
        pressure_path(**given | SHORT | arguments)
    assert trained.n == 0


def test_one_price_needs_no_list(task, make_small, trained):
    short = {**SHORT, "keeps": [0.5]}
    path = pressure_path(make_small(), *task, **{**short, "pressures": 3})
    pd.testing.assert_frame_equal(path[EXACT], pressure_path(make_small(), *task, **{**short, "pressures": [3]})[EXACT])


def test_progress_is_told(task, make_small, capsys):
    pressure_path(make_small(), *task, **SHORT, verbose=1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("prices")]
    assert len(lines) == 6 and "cut to 0.5" in lines[-1]
