import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from growlattice import LatticeRegressor
from growlattice.inspection import ExpressivityDisplay, expressivity_bottleneck


@pytest.fixture(scope="module")
def table(fitted, images):
    X, y = images
    return expressivity_bottleneck(fitted, X[:80], y[:80], n_channels=3)


def test_there_is_a_row_for_each_layer(table, fitted):
    assert list(table.columns) == ["layer", "resource", "unreachable", "gain", "best_gain"]
    assert table["layer"].tolist() == [1, 2] and set(table["resource"]) == {"channels"}  # no room for a third
    assert table["unreachable"].between(0, 1).all() and (table["gain"] >= table["best_gain"]).all()
    assert (table["best_gain"] > 0).all()


def test_batches_and_weights_make_no_difference_where_they_should_not(fitted, images, table):
    X, y = images
    twice = expressivity_bottleneck(fitted, X[:80], y[:80], np.full(80, 2.0), n_channels=3)
    pd.testing.assert_frame_equal(twice, table, rtol=1e-6)
    other = expressivity_bottleneck(fitted, X[:80], y[:80], np.arange(80) + 1.0, n_channels=3)
    assert not np.allclose(other["gain"], table["gain"])
    drawn = ExpressivityDisplay.from_estimator(fitted, X[:80], y[:80], np.arange(80) + 1.0, n_channels=3)
    pd.testing.assert_frame_equal(drawn.table, other)


def test_a_new_layer_is_told_apart_and_regressors_have_one_too():
    X = np.random.RandomState(0).randn(60, 3)
    sizes = dict(max_channels=3, max_layers=3, max_steps=2, grow_from=(3, 1, 2))
    reg = LatticeRegressor(**sizes, max_epochs=1, random_state=0).fit(X, X[:, 0])
    found = reg.expressivity(X, X[:, 0])
    assert found["resource"].tolist() == ["channels", "layers"]
    labels = [label.get_text() for label in ExpressivityDisplay.from_frame(found).ax_.get_xticklabels()]
    assert labels == ["layer 1", "layer 2\n(new)"]


def test_the_estimator_stays_as_it_is(fitted, images):
    before = fitted.predict_proba(images[0])
    fitted.expressivity(*images)
    assert np.array_equal(fitted.predict_proba(images[0]), before)
    assert fitted.lattice_.pixel_mean.dtype.itemsize == 4


def test_heights_of_bars_are_the_table(table):
    display = ExpressivityDisplay(table).plot()
    drawn = [[bar.get_height() for bar in ax.patches] for ax in display.figure_.axes]
    assert drawn == [table["unreachable"].tolist(), table["gain"].tolist()]


def test_other_things_are_refused(fitted, images, table):
    with pytest.raises(TypeError, match="has no expressivity"):
        expressivity_bottleneck(DummyClassifier().fit(*images), *images)
    with pytest.raises(ValueError, match=r"lacks the columns \['gain'\]"):
        ExpressivityDisplay(table.drop(columns="gain"))
    with pytest.raises(ValueError, match="n_channels=0 must be a whole number from 1 up"):
        fitted.expressivity(*images, n_channels=0)
