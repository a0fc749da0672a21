import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
)

from growlattice import LatticeClassifier
from growlattice._training._callbacks import (
    check_callbacks,
    check_monitors,
    default_callbacks,
    kind_of,
    stopped_early,
    unnamed,
)
from growlattice._training._net import LatticeNet, seeded_generator
from growlattice.lattice import Lattice

COLUMNS = {"train_loss", "error", "accuracy", "energy"}


def make_net(callbacks=(), verbose=0):
    lattice = Lattice(
        (1, 4, 4),
        3,
        n_channels=2,
        n_layers=1,
        n_steps=1,
        kernel_size=3,
        time_selection="fixed",
        temperature=5.0,
        generator=seeded_generator(0),
    )
    return LatticeNet(
        lattice,
        pressures={"breadth": 0.0, "depth": 0.0, "time": 0.0},
        extra_costs={},
        position_power=4.0,
        noise=0.0,
        annealing=(0.0, 0.0),
        seed=0,
        precision="float32",
        lr=0.01,
        verbose=verbose,
        callbacks=list(callbacks),
    ).initialize()


@pytest.mark.parametrize(
    "kind, arguments",
    [(EpochScoring, ("accuracy",)), (BatchScoring, ("accuracy",)), (PassthroughScoring, ("train_loss",))],
)
@pytest.mark.parametrize("given", ["instance", "class", "pair", "pair of a class", "subclass"])
def test_callbacks_that_score_a_data_set_are_refused(kind, arguments, given):
    sub = type("MyScoring", (kind,), {})
    callback = {
        "instance": lambda: kind(*arguments),
        "class": lambda: kind,
        "pair": lambda: ("scores", kind(*arguments)),
        "pair of a class": lambda: ["scores", kind],
        "subclass": lambda: sub(*arguments),
    }[given]()
    name = "MyScoring" if given == "subclass" else kind.__name__
    with pytest.raises(ValueError, match=f"callbacks holds {name}, which scores.*Give X_val and y_val.*ScoringMonitor"):
        check_callbacks([EpochTimer(), callback])


def test_callbacks_are_refused_before_training(small, make_small):
    with pytest.raises(ValueError, match="EpochScoring"):
        make_small(callbacks=[EpochScoring("accuracy")]).fit(*small)


@pytest.mark.parametrize("thing", [3, "EarlyStopping", print, int, ("name", 3), ("name", EpochTimer(), 1)])
def test_what_is_no_callback_is_refused(thing):
    with pytest.raises(ValueError, match="Give skorch callbacks, or pairs"):
        check_callbacks([thing])


@pytest.mark.parametrize(
    "callbacks", [None, (), [EpochTimer], [("stop", EarlyStopping())], [ProgressBar(), LRScheduler]]
)
def test_other_callbacks_pass(callbacks):
    check_callbacks(callbacks)


def test_pairs_are_taken_for_the_callback_they_hold():
    timer = EpochTimer()
    assert unnamed([timer, ("timer", timer), ["timer", timer], EpochTimer]) == [timer, timer, timer, EpochTimer]
    assert unnamed(None) == []
    assert kind_of(timer) is kind_of(EpochTimer) is EpochTimer


# --- the table of epochs ---


class MyLog(PrintLog):
    pass


@pytest.mark.parametrize("own", [PrintLog(), PrintLog, ("log", PrintLog()), MyLog(), ("my_log", MyLog)])
def test_a_log_of_the_users_own_replaces_the_built_in_one(own):
    assert [name for name, _ in default_callbacks([own])] == ["epoch_timer"]
    net = make_net([own])
    assert sum(isinstance(callback, PrintLog) for _, callback in net.callbacks_) == 1


def test_the_built_in_log_is_there_otherwise():
    for callbacks in (None, [], [EpochTimer()]):
        assert [name for name, _ in default_callbacks(callbacks)] == ["epoch_timer", "print_log"]


def test_one_table_of_epochs_is_printed(small, make_small, capsys):
    lines = []
    log = PrintLog(sink=lines.append, keys_ignored=["train_loss", "depth"])
    make_small(max_epochs=2, verbose=1, callbacks=[log]).fit(*small)
    assert capsys.readouterr().out == ""
    assert sum("accuracy" in line for line in lines) == 1 and "depth" not in lines[0]
    make_small(max_epochs=2, verbose=1).fit(*small)
    out = capsys.readouterr().out
    assert out.count("accuracy") == 1 and "depth" in out and "_best" not in out


# --- what callbacks monitor ---


@pytest.mark.parametrize("monitor", ["valid_loss", "valid_error", "eror_best", "best", "_best"])
def test_a_monitor_of_no_column_is_named_with_those_there_are(monitor):
    net = make_net([("stop", EarlyStopping(monitor=monitor))])
    with pytest.raises(ValueError, match=rf"callback stop monitors '{monitor}'.*'accuracy', 'energy', 'error'.*X_val"):
        check_monitors(net, COLUMNS)


@pytest.mark.parametrize("monitor", ["error", "error_best", "energy", "accuracy_best", None])
def test_columns_and_what_is_their_best_can_be_monitored(monitor, tmp_path):
    check_monitors(make_net([Checkpoint(monitor=monitor, dirname=str(tmp_path))]), COLUMNS)


def test_functions_can_monitor():
    check_monitors(make_net([Checkpoint(monitor=lambda net: True)]), COLUMNS)


def test_monitors_are_checked_before_training(small, make_small):
    clf = make_small(callbacks=[EarlyStopping()])  # of skorch's valid_loss
    with pytest.raises(ValueError, match="EarlyStopping monitors 'valid_loss', which is no column"):
        clf.fit(*small)
    assert not hasattr(clf, "net_")


class Watch(Callback):
    """Notes columns of the history after each epoch."""

    def __init__(self, *names):
        self.names, self.rows = names, []

    def on_epoch_end(self, net, **kwargs):
        self.rows.append([net.history[-1][name] for name in self.names])


@pytest.mark.parametrize(
    "name, better",
    [("error", min), ("train_loss", min), ("accuracy", max), ("valid_error", min), ("valid_accuracy", max)],
)
def test_the_best_so_far_of_each_column_that_has_one(small, make_small, name, better):
    watch, (X, y) = Watch(name, f"{name}_best"), small
    clf = make_small(max_epochs=6, lr=0.1, callbacks=[watch]).fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:])
    values, flags = zip(*watch.rows, strict=True)
    expected = [index == 0 or better(values[:index], key=float) != better(values[: index + 1]) for index in range(6)]
    assert list(flags) == expected
    assert not any(column.endswith("_best") for column in clf.history_)


def test_the_weights_of_the_best_epoch_are_put_back(small, make_small):
    """Although channels and steps have gone since."""
    X, y = small
    watch = Watch("error")

    class Cut(Callback):
        """Compacts the net after the third epoch, and lets no later one be the best."""

        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 3:
                mask = net.module_.mask.clone()
                mask[1], mask[0, 2:] = False, False
                self.best = {name: tensor.clone() for name, tensor in net.module_.state_dict().items()}
                net.score_norms_ = torch.tensor([0.5, 0.8, 1.0])
                net.compact(mask, 2)
            elif len(net.history) > 3:
                net.history.record("error", 9.0)

    cut = Cut()
    stop = EarlyStopping(monitor="error", patience=2, load_best=True)
    clf = make_small(max_epochs=9, callbacks=[("watch", watch), ("stop", stop), ("cut", cut)])
    clf.fit(X, y)
    assert clf.channel_mask_.all() and clf.lattice_.steps_left == 3
    for name, tensor in clf.lattice_.state_dict().items():
        assert torch.equal(tensor, cut.best[name])
    assert clf.predict_proba(X).shape == (len(X), 2)
    clf.partial_fit(X, y)


def test_a_callback_that_ends_training_is_told_from_a_ctrl_c():
    stop = EarlyStopping(monitor="error", patience=2)
    net = make_net([stop])
    stop.misses_ = 1
    assert not stopped_early(net)
    stop.misses_ = 2
    assert stopped_early(net)
    assert not stopped_early(make_net([GradientNormClipping(1.0)]))


def test_a_learning_rate_far_above_lr_removes_no_channels():
    """With OneCycleLR up to 25 times lr, the bar for channels was above all of them."""
    X, y = load_digits(n_class=3, return_X_y=True)
    schedule = LRScheduler(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.02, total_steps=5 * 10, step_every="batch")
    parameters = dict(breadth_pressure=0.01, depth_pressure=0.01, max_channels=4, max_layers=2, max_steps=2)
    parameters |= dict(lr=0.02 / 25, max_epochs=5, batch_size=32, random_state=0, callbacks=[schedule])
    clf = LatticeClassifier(**parameters).fit(X[:300], y[:300])
    assert clf.channel_mask_.all()
    assert clf.score(X[300:], y[300:]) > 0.8


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gradients_can_be_clipped(small, make_small, precision):
    free, clipped = (
        make_small(max_epochs=1, precision=precision, callbacks=callbacks).fit(*small)
        for callbacks in ([], [GradientNormClipping(1e-6)])
    )
    assert not np.array_equal(free.predict_proba(small[0]), clipped.predict_proba(small[0]))


def test_a_checkpoint_that_safetensors_could_not_write_is_refused():
    with pytest.raises(ValueError, match="use_safetensors=True.*Give use_safetensors=False"):
        check_callbacks([Checkpoint(use_safetensors=True, f_optimizer=None, f_criterion=None)])
