"""Searches that others write, over lattices with a memory: the same scores whatever runs them."""

import os
import runpy
import signal
import subprocess
import sys

import joblib
import numpy as np
import optuna
import pytest
import torch
from sklearn.callback import ProgressBar
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
)

from growlattice import read_sweep

PRESSURES = {"time_pressure": [0.0, 0.5]}


@pytest.fixture(autouse=True)
def two_threads():
    """Here and not in workers, which have one each: what a fit comes to must not depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def grid(clf, X, y):
    return GridSearchCV(clf, PRESSURES, cv=2, n_jobs=None).fit(X, y).cv_results_["mean_test_score"]


def randomized(clf, X, y):
    search = RandomizedSearchCV(clf, PRESSURES, n_iter=2, cv=2, random_state=0)
    return search.fit(X, y).cv_results_["mean_test_score"]


def halving(clf, X, y):
    search = HalvingGridSearchCV(clf, PRESSURES, cv=2, factor=2, min_resources=40, random_state=0)
    return search.fit(X, y).cv_results_["mean_test_score"]


def validated(clf, X, y):
    return cross_validate(clf, X, y, cv=2)["test_score"]


def test_resolutions_can_be_searched_over(small, make_small, tmp_path):
    X, y = small
    downsample = [1, 2, (1, 2), [2, 1]]
    clf = make_small(memory=tmp_path, max_epochs=2)
    search = GridSearchCV(clf, {"downsample": downsample}, cv=2, refit=False, scoring=_macs).fit(X, y)
    macs = dict(zip(map(str, downsample), search.cv_results_["mean_test_score"], strict=True))
    assert macs["1"] > macs["(1, 2)"] > macs["[2, 1]"] > macs["2"]
    assert len(read_sweep(tmp_path)["downsample"]) == 8


def _macs(estimator, X, y):
    return estimator.macs_per_image_


@pytest.mark.parametrize("search", [grid, randomized, halving, validated])
def test_scores_are_the_same_whatever_runs_the_search(small, make_small, tmp_path, search):
    X, y = small
    alone = search(make_small(), X, y)
    for backend in ("loky", "threading"):
        clf = make_small(memory=tmp_path / backend)
        with joblib.parallel_config(backend=backend, n_jobs=2):
            assert np.array_equal(search(clf, X, y), alone)
        n_fits = len(read_sweep(tmp_path / backend))
        assert n_fits > 0
        assert np.array_equal(search(clf, X, y), alone)  # from memory
        assert len(read_sweep(tmp_path / backend)) == n_fits


def test_progress_is_shown_while_workers_train(small, make_small, tmp_path, capsys):
    clf = make_small(memory=tmp_path)
    for _ in range(2):  # trained, then read
        search = GridSearchCV(clf, PRESSURES, cv=2, n_jobs=2).set_callbacks(ProgressBar())
        search.fit(*small)
        assert "GridSearchCV" in capsys.readouterr().out


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_study_of_optunas(small, make_small, tmp_path, n_jobs):
    X, y = small
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial):
        pressure = trial.suggest_categorical("time_pressure", [0.0, 0.25, 0.5])
        return cross_val_score(make_small(memory=tmp_path, time_pressure=pressure), X, y, cv=2).mean()

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=4, n_jobs=n_jobs)
    for trial in study.trials:
        alone = cross_val_score(make_small(time_pressure=trial.params["time_pressure"]), X, y, cv=2).mean()
        assert trial.value == alone
    assert len(read_sweep(tmp_path)) == 2 * len({trial.params["time_pressure"] for trial in study.trials})


DASK = """
import os, signal, sys, threading, time
import joblib
from dask.distributed import Client, LocalCluster
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from growlattice import LatticeClassifier

def search(folder):
    X, y = load_digits(n_class=3, return_X_y=True)
    clf = LatticeClassifier(max_channels=4, max_layers=2, max_steps=2, max_epochs=5, random_state=0,
                            memory=folder, checkpoint_seconds=0)
    found = GridSearchCV(clf, {"time_pressure": [0.0, 0.3, 1.0]}, cv=2, refit=False).fit(X, y)
    return [found.cv_results_[name].tolist() for name in ("mean_test_score", "std_test_score")]

def kill_one(folder, pid, client):
    while not any(name.endswith(".checkpoint") for name in os.listdir(folder)):
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    print("killed", flush=True)

if __name__ == "__main__":
    folder = sys.argv[1]
    os.makedirs(folder)
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        client.wait_for_workers(2)
        pid = next(iter(client.run(os.getpid).values()))
        killer = threading.Thread(target=kill_one, args=(folder, pid, client), daemon=True)
        killer.start()
        with joblib.parallel_config(backend="dask"):
            found = search(folder)
        killer.join(1)
    print(found)
"""


def test_a_dask_cluster_that_loses_a_worker_ends_with_the_right_scores(tmp_path):
    pytest.importorskip("distributed", reason="needs the extra dask")
    script = tmp_path / "search.py"
    script.write_text(DASK)
    command = [sys.executable, str(script), str(tmp_path / "dask")]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run = subprocess.Popen(command, start_new_session=True, **pipes)
    try:
        out, errors = run.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise
    assert run.returncode == 0, errors
    alone = runpy.run_path(script)["search"](tmp_path / "alone")
    assert out.splitlines() == ["killed", str(alone)]
    assert len(read_sweep(tmp_path / "dask")) == 6
