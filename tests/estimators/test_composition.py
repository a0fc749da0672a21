import pickle

import joblib
import numpy as np
import pytest
import sklearn
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# --- with the rest of scikit-learn ---


def test_clone_pickle_and_joblib(small, make_small, tmp_path):
    X, y = small
    clf = make_small().fit(X, y)
    assert not hasattr(clone(clf), "net_")
    joblib.dump(clf, tmp_path / "clf.joblib")
    copies = []
    for copied in (pickle.loads(pickle.dumps(clf)), joblib.load(tmp_path / "clf.joblib")):
        assert np.array_equal(copied.predict_proba(X), clf.predict_proba(X))
        assert copied.net_.module is copied.net_.module_
        copies.append(copied.partial_fit(X, y))
    clf.partial_fit(X, y)
    assert all(np.array_equal(copied.predict_proba(X), clf.predict_proba(X)) for copied in copies)
    again = pickle.loads(pickle.dumps(copies[0])).partial_fit(X, y)  # with the moments of the optimizer
    assert np.array_equal(again.predict_proba(X), clf.partial_fit(X, y).predict_proba(X))
    moments, expected = again.net_.moments(), clf.net_.moments()
    assert moments.keys() == expected.keys() and "readout.weight.exp_avg_sq" in moments
    assert all(torch.equal(moments[name], expected[name]) for name in moments)


def test_composes_with_meta_estimators(small, make_small):
    X, y = small
    clf = make_small(image_shape=(1, 8, 8))
    assert make_pipeline(StandardScaler(), clf).fit(X, y).score(X, y) > 0.8
    assert (cross_val_predict(clf, X, y, cv=3) == y).mean() > 0.8
    assert CalibratedClassifierCV(clf, cv=2).fit(X, y).predict_proba(X).shape == (120, 2)
    voting = VotingClassifier([("lattice", clf), ("line", LogisticRegression())], voting="soft")
    assert voting.fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_searches_over_pressures(small, make_small, search):
    X, y = small
    options = dict(min_resources=60) if search is HalvingGridSearchCV else {}
    found = search(make_small(), {"time_pressure": [0.0, 0.5]}, cv=2, **options).fit(X, y)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    assert found.best_estimator_.time_pressure == found.best_params_["time_pressure"]
    assert found.score(X, y) > 0.8


def test_randomized_search_on_images_and_paths(random_images, make_small, tmp_path):
    images, y = random_images
    paths = [tmp_path / f"{index}.png" for index in range(len(images))]
    for path, pixels in zip(paths, images, strict=True):
        Image.fromarray(pixels).save(path)
    scores = []
    for X in (images, paths):
        search = RandomizedSearchCV(make_small(max_epochs=10), {"breadth_pressure": [0.0, 0.1]}, n_iter=2, cv=2)
        scores.append(search.fit(X, y).best_score_)
    assert scores[0] == scores[1] > 0.9


def test_sample_weight_is_routed(small, make_small):
    X, y = small
    weights = np.where(np.arange(len(X)) < 60, 1.0, 0.0)
    with sklearn.config_context(enable_metadata_routing=True):
        clf = (
            make_small(image_shape=(1, 8, 8)).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        )
        pipeline = make_pipeline(StandardScaler(with_std=False).set_fit_request(sample_weight=False), clf)
        routed = pipeline.fit(X, y, sample_weight=weights)[-1]
        plain = make_small(image_shape=(1, 8, 8)).fit(X - X.mean(axis=0), y, sample_weight=weights)
        assert np.array_equal(routed.predict_proba(X), plain.predict_proba(X))
        clf.partial_fit(X, y, sample_weight=weights)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_scores_do_not_depend_on_n_jobs(small, make_small, backend):
    X, y = small
    grid = GridSearchCV(make_small(), {"time_pressure": [0.0, 0.5]}, cv=2, scoring="neg_log_loss")
    alone = clone(grid).fit(X, y).cv_results_
    with joblib.parallel_config(backend=backend, n_jobs=2):
        together = clone(grid).fit(X, y).cv_results_
    assert np.array_equal(alone["mean_test_score"], together["mean_test_score"])
