import copy
import os
import pickle

import numpy as np
import pytest
import skorch
import torch
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
)

from growlattice import LatticeClassifier

# --- callbacks ---


class Count(Callback):
    def __init__(self):
        self.events = []

    def on_epoch_end(self, net, **kwargs):
        self.events.append(len(net.history))


def test_skorch_callbacks_are_called(small, make_small):
    count = Count()
    make_small(callbacks=[count, ("clip", GradientNormClipping(1.0))], max_epochs=3).fit(*small)
    assert count.events == [1, 2, 3]


def test_a_skorch_scheduler_takes_the_place_of_the_cosine(small, make_small):
    frozen = ("lr", LRScheduler(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 0.0, step_every="batch"))
    trained, fresh = (make_small(callbacks=[frozen], max_epochs=epochs).fit(*small).lattice_ for epochs in (3, 1))
    assert torch.equal(trained.readout.weight, fresh.readout.weight)


def test_skorch_early_stopping_ends_the_fit_and_leaves_it_fitted(small, make_small):
    stop = EarlyStopping(monitor="accuracy", lower_is_better=False, threshold=10.0, threshold_mode="abs", patience=2)
    clf = make_small(callbacks=[stop], max_epochs=9).fit(*small)
    assert len(clf.history_) == 3
    assert clf.predict(small[0]).shape == (120,)


def test_progress_bar_shows_epochs(small, make_small, capsys):
    make_small(max_epochs=3).set_callbacks(ProgressBar()).fit(*small)
    assert "LatticeClassifier - fit" in capsys.readouterr().out
    log = Epochs()
    make_small(max_epochs=3).set_callbacks(log).fit(*small)
    assert log.tasks == ["fit", "epoch", "epoch", "epoch"]


class Epochs:
    """A callback of scikit-learn's kind that writes down what begins."""

    def __init__(self):
        self.tasks = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.tasks.append(context.task_name)

    def on_fit_task_end(self, estimator, context):
        return context.task_name == "epoch" and getattr(self, "stop", False)

    def teardown(self, estimator, context):
        pass


def test_scikit_learn_callbacks_can_end_training(small, make_small):
    log = Epochs()
    log.stop = True
    assert len(make_small(max_epochs=5).set_callbacks(log).fit(*small).history_) == 1


def test_progress_bar_shows_epochs_of_nested_fits(small, make_small, capsys):
    grid = GridSearchCV(make_small(max_epochs=3), {"time_pressure": [0.0, 0.5]}, cv=2, n_jobs=2)
    grid.set_callbacks(ProgressBar()).fit(*small)
    out = capsys.readouterr().out
    assert "GridSearchCV - fit" in out
    assert "LatticeClassifier - fit" in out


def test_scoring_monitor_sees_every_epoch(small, make_small):
    monitor = ScoringMonitor(scoring="accuracy")
    clf = make_small(max_epochs=3).set_callbacks(monitor).fit(*small)
    log = monitor.get_logs().data_as_pandas
    epochs = log[log["task_name"] == "epoch"]
    assert len(epochs) == 3
    assert epochs["accuracy"].iloc[-1] == clf.score(*small)


# --- callbacks that restore, schedule or show ---


class Capture(Callback):
    """Keeps the lattice of each epoch as it is when the epoch ends."""

    def initialize(self):
        self.states, self.errors = [], []
        return self

    def on_epoch_end(self, net, **kwargs):
        self.states.append({name: tensor.clone() for name, tensor in net.module_.state_dict().items()})
        self.errors.append(net.history[-1, "error"])


class Spoil(Callback):
    """Sets a bias of the answers, from the third epoch on, so that the best epoch is none of the last."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) > 2:
            with torch.no_grad():
                net.module_.readout.bias.copy_(torch.tensor([40.0, -40.0]))


def assert_state(lattice, state):
    found = lattice.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())


@pytest.mark.parametrize("patience", [2, 9])
def test_early_stopping_restores_the_best_epoch_whatever_went_since(small, make_small, compacting, patience):
    X, y = small
    capture, stop = Capture(), EarlyStopping(monitor="error", load_best=True, patience=patience, sink=str)
    clf = make_small(callbacks=[capture, Spoil(), stop], max_epochs=5, **compacting).fit(X, y)
    best = int(np.argmin(capture.errors))
    assert best < 2 and len(capture.errors) > 3
    assert len(capture.states[-1]) < len(capture.states[best])  # a layer has gone
    assert_state(clf.lattice_, capture.states[best])
    assert clf.costs_["error"] < capture.errors[-1]
    copied = pickle.loads(pickle.dumps(clf))
    assert_state(copied.lattice_, capture.states[best])
    assert np.array_equal(copied.predict_proba(X), clf.predict_proba(X))
    clf.set_params(callbacks=None).partial_fit(X, y)


def test_checkpoint_restores_the_best_epoch_whatever_went_since(small, make_small, compacting, tmp_path):
    X, y = small
    checkpoint = Checkpoint(monitor="error_best", load_best=True, dirname=tmp_path)
    capture = Capture()
    clf = make_small(callbacks=[capture, Spoil(), checkpoint], max_epochs=5, **compacting).fit(X, y)
    best = int(np.argmin(capture.errors))
    assert best < 2
    assert len(capture.states[-1]) < len(capture.states[best])  # a layer has gone
    assert_state(clf.lattice_, capture.states[best])
    assert sorted(os.listdir(tmp_path)) == ["criterion.pt", "history.json", "optimizer.pt", "params.pt"]
    assert np.isfinite(clf.predict_proba(X)).all()


@pytest.mark.parametrize("monitor", ["error_best", "accuracy_best", "train_loss_best", "valid_error_best"])
def test_columns_of_what_is_best_so_far_can_be_monitored(small, make_small, tmp_path, monitor):
    X, y = small
    make_small(callbacks=[Checkpoint(monitor=monitor, dirname=tmp_path)], max_epochs=2).fit(X, y, X_val=X, y_val=y)
    assert (tmp_path / "params.pt").exists()


@pytest.mark.parametrize("callback", [EarlyStopping(), Checkpoint(), EarlyStopping(monitor="valid_error")])
def test_a_monitor_of_no_column_is_refused_before_training(small, make_small, callback):
    clf = make_small(callbacks=[callback])
    before = vars(clf).copy()
    with pytest.raises(ValueError, match="monitors 'valid_.*', which is no column of the history. Give monitor="):
        clf.fit(*small)
    assert vars(clf) == before


@pytest.mark.parametrize("monitor", ["time_used_best", "next_lr"])
def test_a_column_that_is_not_there_while_callbacks_run_is_refused(small, make_small, monitor):
    with pytest.raises(ValueError, match=f"monitors '{monitor}', which is no column of the history"):
        make_small(callbacks=[EarlyStopping(monitor=monitor), LRScheduler()]).fit(*small)


def test_what_is_frozen_stays_so_while_a_lattice_shrinks_and_grows(small, make_small, compacting):
    for change in (compacting, dict(grow_from=(1, 1, 1), max_epochs=6)):
        clf = make_small(callbacks=[Freezer("input.*")], **change).fit(*small)
        assert clf.history_[["channels", "steps"]].drop_duplicates().shape[0] > 1
        trained = {name for name, parameter in clf.lattice_.named_parameters() if parameter.requires_grad}
        assert not any(name.startswith("input") for name in trained) and "readout.weight" in trained


@pytest.mark.parametrize(
    "callback",
    [EpochScoring("accuracy"), EpochScoring, BatchScoring("accuracy"), ("scores", PassthroughScoring("train_loss"))],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_callbacks_that_would_score_nothing_are_refused_before_training(small, make_small, callback, method):
    clf = make_small(callbacks=[callback])
    with pytest.raises(ValueError, match="Scoring, which scores a skorch data set, and there is none. Give X_val"):
        getattr(clf, method)(*small)
    assert not hasattr(clf, "net_")


def test_a_schedule_that_rises_above_lr_leaves_the_network(digits):
    """OneCycleLR goes to 75 times lr: the bar under channels must not rise with it."""
    X, y = digits[0][:300], digits[2][:300]
    schedule = LRScheduler(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.03, total_steps=101, step_every="batch")
    clf = LatticeClassifier(
        breadth_pressure=0.1, max_channels=6, max_layers=2, max_steps=2, max_epochs=10, lr=4e-4, random_state=0
    )
    clf.set_params(callbacks=[schedule]).fit(X, y)
    assert clf.channel_mask_.sum() >= 10
    assert clf.score(X, y) > 0.6


def test_the_progress_bar_counts_batches(small, make_small, monkeypatch):
    bars = []

    class Bar:
        def __init__(self, total=None, **kwargs):
            self.total, self.n = total, 0
            bars.append(self)

        def update(self):
            self.n += 1

        def set_postfix(self, *args, **kwargs):
            pass

        close = set_postfix

    monkeypatch.setattr("skorch.callbacks.logging.tqdm.tqdm", Bar)
    callback = skorch.callbacks.ProgressBar(detect_notebook=False)
    make_small(callbacks=[callback], max_epochs=2, batch_size=50).fit(*small, X_val=small[0], y_val=small[1])
    assert [(bar.total, bar.n) for bar in bars] == [(3, 3), (3, 3)]


def test_a_print_log_takes_the_place_of_the_built_in_one(small, make_small, capsys):
    lines = []
    log = PrintLog(sink=lines.append, keys_ignored=["dur"])
    make_small(callbacks=[log], max_epochs=2, verbose=1).fit(*small)
    assert capsys.readouterr().out == ""
    assert len(lines) == 4 and "train_loss" in lines[0] and "dur" not in lines[0]


def test_text_in_the_middle_of_a_first_fit_is_that_of_the_parameters(small, make_small):
    texts = []

    class Text:
        def setup(self, estimator, context):
            pass

        teardown = setup

        def on_fit_task_begin(self, estimator, context):
            texts.append((repr(estimator), estimator._repr_html_()))

        def on_fit_task_end(self, estimator, context):
            texts.append((repr(estimator), estimator._repr_html_()))

    clf = make_small(max_epochs=2).set_callbacks(Text())
    unfitted = repr(clf)
    clf.fit(*small)
    assert len(texts) == 6
    assert all(text[0].startswith(unfitted) for text in texts)


def test_what_is_frozen_stays_so_after_the_cut_and_in_copies(small, make_small, tmp_path):
    def fitted():
        freezer = Freezer("selector*")
        return make_small(
            max_channels=4, max_steps=3, callbacks=[freezer], keep=0.5, relax_epochs=2, memory=tmp_path
        ).fit(*small)

    trained, read = fitted(), fitted()
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    for clf in (trained, read, pickle.loads(pickle.dumps(trained))):
        frozen = {name for name, parameter in clf.lattice_.named_parameters() if not parameter.requires_grad}
        assert frozen == {f"selector.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")}
    before = trained.lattice_.state_dict()["selector.0.weight"].clone()
    for clf in (trained, read):
        assert torch.equal(clf.relax(*small, epochs=1).lattice_.state_dict()["selector.0.weight"], before)


def test_a_callback_may_record_tensors_of_one_number(small, make_small):
    class Norm(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("readout_norm", net.module_.readout.weight.detach().norm())

    clf = make_small(callbacks=[Norm()]).fit(*small)
    assert clf.history_["readout_norm"].dtype == float
    assert copy.deepcopy(clf).history_.equals(clf.history_)


def test_a_pickle_with_a_scheduler_holds_no_optimizer(small, make_small):
    sizes = [len(pickle.dumps(make_small(callbacks=given).fit(*small))) for given in ([], [LRScheduler()])]
    assert sizes[1] < sizes[0] + 2000
