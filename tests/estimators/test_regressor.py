import inspect
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from numpydoc.docscrape import ClassDoc
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.metrics import make_scorer, mean_squared_error, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from skorch.callbacks import EarlyStopping

from growlattice import LatticeClassifier, LatticeRegressor, pressure_path, read_sweep
from growlattice.metrics import cheapest, resource_scorers


@pytest.fixture(scope="module")
def friedman():
    return make_friedman1(240, random_state=0)


@pytest.fixture
def make_reg():
    def make(**parameters):
        defaults = dict(max_channels=6, max_layers=2, max_steps=3, max_epochs=4, random_state=0)
        return LatticeRegressor(**{**defaults, **parameters})

    return make


@pytest.fixture(scope="module")
def fitted(friedman):
    reg = LatticeRegressor(max_channels=6, max_layers=2, max_steps=3, max_epochs=25, random_state=0)
    return reg.fit(*friedman)


@pytest.fixture
def copied(fitted):
    return pickle.loads(pickle.dumps(fitted))


# --- answers ---


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_answer_is_the_weighted_mean_of_the_stages(friedman, make_reg, time_selection):
    X, y = friedman
    reg = make_reg(time_selection=time_selection).fit(X, y)
    weights, stages = reg.time_weights(X), list(reg.staged_predict(X))
    assert [stage.shape for stage in stages] == [(240,)] * 3
    mean = sum(weights[:, step] * stage for step, stage in enumerate(stages))
    np.testing.assert_allclose(reg.predict(X), mean, rtol=1e-5)
    np.testing.assert_allclose(reg.time_used(X), weights @ [1, 2, 3], rtol=1e-6)


def test_it_learns_numbers(friedman, fitted):
    X, y = make_friedman1(200, random_state=1)
    assert fitted.score(X, y) == pytest.approx(r2_score(y, fitted.predict(X)))
    assert fitted.score(X, y) > 0.5


def test_it_learns_a_real_table():
    X, y = load_diabetes(return_X_y=True)
    reg = LatticeRegressor(max_channels=4, max_layers=1, max_steps=2, max_epochs=12, random_state=0)
    assert cross_val_score(reg, X, y, cv=3).mean() > 0.35  # a linear model comes to 0.49


@pytest.mark.parametrize("shape", [(240,), (240, 1), (240, 3)])
def test_predictions_have_the_shape_of_y(friedman, make_reg, shape):
    X, y = friedman
    y = np.resize(np.column_stack([y, -y, X[:, 0]]) if shape[-1] == 3 else y, shape)
    reg = make_reg().fit(X, y)
    assert reg.predict(X).shape == shape and reg.predict(X).dtype == np.float64
    assert all(stage.shape == shape for stage in reg.staged_predict(X))
    assert np.shape(reg.target_mean_) == np.shape(reg.target_std_) == shape[1:]
    np.testing.assert_allclose(reg.target_mean_, y.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(reg.target_std_, y.std(axis=0), rtol=1e-12)
    assert reg.lattice_.readout.out_features == (shape[1] if len(shape) == 2 else 1)


def test_the_unit_of_y_does_not_matter(friedman, make_reg):
    X, y = friedman
    plain, scaled = make_reg().fit(X, y), make_reg().fit(X, 1024.0 * y)
    np.testing.assert_allclose(scaled.predict(X), 1024.0 * plain.predict(X), rtol=1e-5)


def test_the_origin_of_y_does_not_matter(friedman, make_reg):
    """The shift costs y its last digits, which some trainings take up: so the middle of three pairs counts."""
    X, y = friedman
    differences = []
    for seed in range(3):
        plain = make_reg(random_state=seed).fit(X, y)
        shifted = make_reg(random_state=seed).fit(X, y + 2**30)
        scores = plain.score(X, y), shifted.score(X, y + 2**30)
        differences.append([abs(np.subtract(*scores)), abs(plain.costs_["error"] - shifted.costs_["error"])])
    assert (np.median(differences, axis=0) < 0.02).all()


@pytest.mark.parametrize("value", [0.0, 3.25, -1e6])
def test_a_constant_is_answered_with_it(friedman, make_reg, value):
    X, _ = friedman
    reg = make_reg(max_epochs=10).fit(X, np.full(240, value))
    np.testing.assert_allclose(reg.predict(X), value, atol=0.5)
    assert np.isfinite(list(reg.costs_.values())).all() and reg.history_.notna().all(axis=None)


def test_one_image_and_one_constant_of_two_columns(friedman, make_reg):
    X, y = friedman
    assert make_reg().fit(X[:1], y[:1]).predict(X[:1]).shape == (1,)
    reg = make_reg().fit(X, np.column_stack([y, np.ones(240)]))
    assert reg.target_std_[1] == 1.0


def test_float64_computes_in_float64(friedman, make_reg):
    reg = make_reg(precision="float64").fit(*friedman)
    assert reg._collect(friedman[0], lambda output: output.values).dtype == np.float64
    assert make_reg(precision="bfloat16", max_epochs=12).fit(*friedman).score(*friedman) > 0.5


# --- costs and scores ---


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_the_error_cost_is_mean_squared_error_over_variance(friedman, make_reg, n_outputs):
    X, y = friedman
    y = np.column_stack([y, X[:, :2].sum(axis=1)])[:, :n_outputs]
    weights = np.random.RandomState(0).rand(240) + 0.1
    reg = make_reg().fit(X, y, sample_weight=weights)
    share = weights / weights.sum()
    variance = share @ (y - share @ y) ** 2
    expected = (share @ (y - reg.predict(X)) ** 2 / variance).mean()
    assert reg.costs_["error"] == pytest.approx(expected, rel=1e-4)


def test_what_the_mean_comes_to_costs_one(friedman, make_reg):
    X, y = friedman
    reg = make_reg(max_epochs=1).fit(X, y)
    reg.lattice_.readout.weight.data.zero_()
    reg.lattice_.readout.bias.data.zero_()
    assert mean_squared_error(y, reg.predict(X)) / y.var() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="The r2 on the images given is .*0.000, not above the chance level of 0.000"):
        reg.prune(X, y)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_measured_columns_are_those_of_the_lattice_after_the_epoch(friedman, make_reg, n_outputs):
    X, y = friedman
    y = np.column_stack([y, 3 * X[:, 1]])[:, :n_outputs]
    reg = make_reg().fit(X[40:], y[40:], X_val=X[:40], y_val=y[:40])
    last = reg.history_.iloc[-1]
    assert last["valid_r2"] == pytest.approx(reg.score(X[:40], y[:40]), abs=1e-5)
    errors = (y[:40] - reg.predict(X[:40])) ** 2
    assert last["valid_error"] == pytest.approx((errors / y[40:].var(axis=0)).mean(), rel=1e-4)
    assert last["r2"] == pytest.approx(1 - last["error"], abs=1e-6)
    assert not {"accuracy", "valid_accuracy"} & set(reg.history_)


def test_early_stopping_monitors_r2(friedman, make_reg):
    X, y = friedman
    stop = EarlyStopping(monitor="valid_r2", lower_is_better=False, patience=2, threshold=10.0, threshold_mode="abs")
    assert len(make_reg(callbacks=[stop], max_epochs=9).fit(X, y, X_val=X[:9], y_val=y[:9]).history_) == 3
    with pytest.raises(ValueError, match="monitors 'accuracy', which is no column of the history"):
        make_reg(callbacks=[EarlyStopping(monitor="accuracy")]).fit(X, y)


def test_raising_the_pressure_on_one_resource_lowers_its_cost(friedman, make_reg):
    """Real fits: each cost falls with its own pressure, over four values."""
    reg = make_reg(max_channels=8, max_epochs=12, lr=2.6e-3)
    free = clone(reg).fit(*friedman).costs_
    for name, pressures in {"breadth": (3, 10, 30), "depth": (3, 10, 30), "time": (0.1, 0.3, 1)}.items():
        priced = [clone(reg).set_params(**{f"{name}_pressure": pressure}).fit(*friedman) for pressure in pressures]
        costs = [free[name], *(fitted.costs_[name] for fitted in priced)]
        assert costs == sorted(costs, reverse=True) and len(set(costs)) == 4, (name, costs)


# --- weights, parts of the data, and going on ---


def test_weight_zero_is_absence_and_weight_two_is_twice(friedman, make_reg):
    X, y = friedman
    weights = np.random.RandomState(0).randint(0, 3, size=len(X))
    weighted = make_reg().fit(X, y, sample_weight=weights)
    repeated = make_reg().fit(X.repeat(weights, axis=0), y.repeat(weights))
    assert np.array_equal(weighted.predict(X), repeated.predict(X))
    assert weighted.costs_ == repeated.costs_


def test_the_first_part_of_the_data_fixes_the_scale(friedman, make_reg):
    X, y = friedman
    reg = make_reg(max_epochs=20).partial_fit(X[:120], y[:120])
    assert reg.target_mean_ == pytest.approx(y[:120].mean())
    for _ in range(20):
        reg.partial_fit(X[120:], y[120:])
    assert reg.target_mean_ == pytest.approx(y[:120].mean())
    assert len(reg.history_) == 21 and reg.score(X, y) > 0.6
    with pytest.raises(ValueError, match="y has 2 columns, but the lattice was made for 1"):
        reg.partial_fit(X, np.column_stack([y, y]))


def test_warm_start_keeps_lattice_and_scale(friedman, make_reg):
    X, y = friedman
    reg = make_reg(warm_start=True).fit(X, y)
    before, mean = reg.predict(X), reg.target_mean_
    reg.set_params(lr=1e-12, weight_decay=0.0, max_epochs=1).fit(X, y + 1)
    np.testing.assert_allclose(reg.predict(X), before, rtol=1e-5)
    assert reg.target_mean_ == mean
    with pytest.raises(ValueError, match="y has 2 columns"):
        reg.fit(X, np.column_stack([y, y]))
    assert np.array_equal(reg.set_params(warm_start=False, max_epochs=1).fit(X, 2 * y).target_mean_, 2 * mean)


def test_the_same_seed_gives_the_same_result(friedman, make_reg):
    X, y = friedman
    first, again, other = (make_reg(random_state=seed).fit(X, y).predict(X) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    frame = pd.DataFrame(X, columns=[f"x{column}" for column in range(10)])
    reg = make_reg().fit(frame, pd.Series(y))
    assert np.array_equal(reg.predict(frame), first)
    assert reg.feature_names_in_.tolist() == list(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        reg.predict(frame[frame.columns[::-1]])


# --- pruning ---


def test_prune_keeps_a_share_of_r2(friedman, copied):
    X, y = friedman
    r2, macs = copied.score(X, y), copied.macs_per_image_
    copied.prune(X, y, keep=0.9)
    assert copied.score(X, y) >= 0.9 * r2 - 1e-5
    assert copied.macs_per_image_ < macs
    assert copied.resources_["r2"].tolist() == pytest.approx([r2, copied.score(X, y)], abs=1e-5)
    left = copied.lattice_.steps_left
    stages = list(copied.staged_predict(X))
    assert len(stages) == 3 and all(np.array_equal(stage, stages[left - 1]) for stage in stages[left:])


def test_another_score_is_kept_relative_to_that_of_the_mean(friedman, copied):
    X, y = friedman
    scoring = make_scorer(mean_squared_error, greater_is_better=False)
    before, chance = scoring(copied, X, y), -y.var()
    copied.prune(X, y, keep=0.8, scoring=scoring)
    assert scoring(copied, X, y) >= chance + 0.8 * (before - chance) - 1e-6
    assert copied.resources_["score"].tolist() == pytest.approx([before, scoring(copied, X, y)])


def test_few_images_draw_no_warning_for_r2_has_no_steps(friedman, copied):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copied.prune(friedman[0][:20], friedman[1][:20])


def test_a_cut_and_relaxing_in_fit(friedman, make_reg):
    X, y = friedman
    reg = make_reg(max_epochs=12, keep=0.6, relax_epochs=6, breadth_pressure=3.0).fit(X, y)
    assert reg.history_["relaxing"].sum() == 6
    assert reg.resources_.loc["after", "r2"] >= 0.6 * reg.resources_.loc["before", "r2"]
    assert reg.score(X, y) > reg.resources_.loc["after", "r2"]
    assert reg.relax(X, y, epochs=1) is reg


# --- kept as a file, and in a folder ---


def test_what_is_loaded_equals_what_was_saved(friedman, fitted, tmp_path):
    X, _ = friedman
    fitted.save(tmp_path / "reg")
    for loaded in (LatticeRegressor.load(tmp_path / "reg"), pickle.loads(pickle.dumps(fitted))):
        assert np.array_equal(loaded.predict(X), fitted.predict(X))
        assert loaded.get_params() == fitted.get_params() | {"device": loaded.device}
        assert (loaded.target_mean_, loaded.target_std_) == (fitted.target_mean_, fitted.target_std_)
        pd.testing.assert_frame_equal(loaded.history_, fitted.history_)
        assert loaded.costs_ == fitted.costs_
    assert len(loaded.partial_fit(*friedman).history_) == len(fitted.history_) + 1


def test_the_estimator_that_reads_a_file_must_be_of_its_task(fitted, small, make_small, tmp_path):
    fitted.save(tmp_path / "reg")
    with pytest.raises(ValueError, match="it holds a LatticeRegressor. Use load of LatticeRegressor"):
        LatticeClassifier.load(tmp_path / "reg")
    make_small(max_epochs=1).fit(*small).save(tmp_path / "clf")
    with pytest.raises(ValueError, match="it holds a LatticeClassifier. Use load of LatticeClassifier"):
        LatticeRegressor.load(tmp_path / "clf")


def test_memory_finds_a_fit_and_a_sweep_lists_it_beside_classifiers(friedman, small, make_reg, make_small, tmp_path):
    X, y = friedman
    reg = make_reg(memory=tmp_path).fit(X, y)
    again = make_reg(memory=tmp_path, callbacks=None).fit(X, y)
    assert again.history_["dur"].tolist() == reg.history_["dur"].tolist()  # read, not trained
    make_reg(memory=tmp_path).fit(X, y + 1)
    make_small(memory=tmp_path, max_epochs=1).fit(*small)
    sweep = read_sweep(tmp_path)
    assert len(sweep) == 3 and sweep["r2"].notna().sum() == 2 and sweep["accuracy"].notna().sum() == 1
    assert sweep["r2"].iloc[0] == reg.history_["r2"].iloc[-1]
    assert np.array_equal(sweep["load"].iloc[0]().predict(X), reg.predict(X))
    assert isinstance(sweep["load"].iloc[2](), LatticeClassifier)


def test_searches_pick_by_r2_and_resources(friedman, make_reg):
    search = GridSearchCV(
        make_reg(max_epochs=8),
        {"max_channels": [3, 6]},
        scoring=resource_scorers(score="r2"),
        refit=cheapest("macs_per_image", accuracy="r2_pruned", within=1.0),
        cv=2,
    ).fit(*friedman)
    assert search.best_params_ == {"max_channels": 3}
    assert search.cv_results_["mean_test_r2"].max() > 0.4


def test_a_path_of_prices_takes_a_regressor(friedman, make_reg):
    X, y = friedman
    path = pressure_path(
        make_reg(), X[:180], y[:180], X[180:], y[180:], pressures=[1, 10], keeps=[0.5], step_epochs=1, relax_epochs=2
    )
    assert len(path) == 4
    assert path["accuracy"].iloc[1] == pytest.approx(path["load"].iloc[1]().score(X[180:], y[180:]))


# --- what users get wrong ---


BAD_Y = {
    "NaN": (lambda y: np.where(y > y.mean(), np.nan, y), "Input y contains NaN"),
    "infinity": (lambda y: np.where(y > y.mean(), np.inf, y), "Input y contains infinity"),
    "strings": (lambda y: y.astype(str), "y holds dtype <U.*, and LatticeRegressor answers with numbers"),
    "objects": (lambda y: y.astype(str).astype(object), "y holds objects that are no numbers"),
    "dates": (lambda y: np.full(len(y), "2026-11-21", "datetime64[D]"), "y holds dtype datetime64"),
    "complex": (lambda y: y + 1j, "Complex data not supported"),
    "missing": (lambda y: None, "requires y to be passed"),
    "longer": (lambda y: np.append(y, 1), "inconsistent numbers of samples"),
    "three axes": (lambda y: y.reshape(-1, 1, 1), "dim 3"),
    "no columns": (lambda y: y.reshape(-1, 1)[:, :0], "0 feature"),
    "nothing": (lambda y: y[:0], "0 sample"),
}


@pytest.mark.parametrize("kind", [*BAD_Y, "sparse"])
def test_bad_y(friedman, make_reg, kind):
    X, y = friedman
    spoil, message = BAD_Y.get(kind, (lambda y: sparse.csr_array(y[:, None]), "Sparse data was passed for y"))
    error = TypeError if kind == "sparse" else ValueError
    reg = make_reg()
    with pytest.raises(error, match=message):
        reg.fit(X, spoil(y))
    assert vars(reg) == vars(make_reg())
    reg.fit(X, y)
    before = reg.predict(X)
    for spoiled in (lambda: reg.fit(X, spoil(y)), lambda: reg.prune(X, spoil(y)), lambda: reg.partial_fit(X, spoil(y))):
        with pytest.raises(error, match=message):
            spoiled()
    assert np.array_equal(reg.predict(X), before)


@pytest.mark.parametrize(
    "spoil, error, message",
    [
        (lambda X: np.where(X > 0.9, np.nan, X), ValueError, "Input X contains NaN"),
        (sparse.csr_array, TypeError, "Sparse data was passed"),
        (lambda X: X[:, 0], ValueError, "Expected 2D array, got 1D array"),
        (lambda X: X[:-1], ValueError, "inconsistent numbers of samples"),
    ],
)
def test_bad_X(friedman, make_reg, spoil, error, message):
    X, y = friedman
    reg = make_reg()
    with pytest.raises(error, match=message):
        reg.fit(spoil(X), y)
    assert vars(reg) == vars(make_reg())


@pytest.mark.parametrize("weights, message", [(np.zeros(240), "zero"), (-np.ones(240), "Negative values")])
def test_bad_sample_weight(friedman, make_reg, weights, message):
    reg = make_reg()
    with pytest.raises(ValueError, match=message):
        reg.fit(*friedman, sample_weight=weights)
    assert vars(reg) == vars(make_reg())


@pytest.mark.parametrize("name, value", [("lr", 0.0), ("max_layers", 0), ("keep", 2.0), ("precision", "float16")])
def test_bad_parameters_are_named(friedman, make_reg, name, value):
    with pytest.raises(ValueError, match=name):
        make_reg(**{name: value}).fit(*friedman)


def test_columns_of_validation_must_be_those_of_y(friedman, make_reg):
    X, y = friedman
    with pytest.raises(ValueError, match="y has 2 columns, but the lattice was made for 1"):
        make_reg().fit(X, y, X_val=X, y_val=np.column_stack([y, y]))


# --- parameters ---

# What is said of these parameters differs with the task.
OF_THE_TASK = {"extra_costs", "keep", "callbacks", "warm_start", "verbose"}


def test_documented_defaults_are_the_real_ones():
    documented = {
        parameter.name: re.search(r"default=(.*)$", parameter.type).group(1)
        for parameter in ClassDoc(LatticeRegressor)["Parameters"]
    }
    real = {name: p.default for name, p in inspect.signature(LatticeRegressor).parameters.items()}
    assert list(documented) == list(real)
    assert {name: eval(text) for name, text in documented.items()} == real


def test_parameters_are_those_of_the_classifier_and_documented_alike():
    """Each class writes its parameters out, for tools that read the source; here is what holds the two together."""
    of_regressor, of_classifier = LatticeRegressor().get_params(), LatticeClassifier().get_params()
    assert of_classifier == {**of_regressor, "class_weight": None}
    texts = [
        {parameter.name: (parameter.type, parameter.desc) for parameter in ClassDoc(estimator)["Parameters"]}
        for estimator in (LatticeRegressor, LatticeClassifier)
    ]
    differing = {name for name in of_regressor if texts[0][name] != texts[1][name]}
    assert differing == OF_THE_TASK
    assert clone(LatticeRegressor(lr=0.5)).lr == 0.5
