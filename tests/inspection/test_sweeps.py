import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from growlattice.inspection import ParetoDisplay, PressureGridDisplay
from growlattice.metrics import pareto_front


def test_a_grid_of_pressures_shows_each_value_in_its_cell(sweep):
    display = PressureGridDisplay.from_frame(sweep, x="time_pressure", y="breadth_pressure", value="accuracy")
    assert np.array_equal(display.ax_.images[0].get_array(), [[0.9, 0.8, 0.7], [0.6, 0.5, 0.45]])
    written = {text.get_position(): text.get_text() for text in display.ax_.texts}
    assert written[(2, 1)] == "0.45" and written[(0, 0)] == "0.9" and len(written) == 6
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["0.0", "0.5", "2.0"]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("time pressure", "breadth pressure")


def test_a_cell_without_a_model_stays_blank(sweep):
    display = PressureGridDisplay.from_frame(
        sweep.drop(index=5), x="time_pressure", y="breadth_pressure", value="macs_per_image"
    )
    assert np.ma.getmaskarray(display.ax_.images[0].get_array()).tolist() == [[False] * 3, [False, False, True]]
    assert len(display.ax_.texts) == 5


def test_numbers_are_written_where_they_fit():
    frame = pd.DataFrame([(x, y, 1404686.0 + x) for x in range(9) for y in range(2)], columns=["x", "y", "macs"])
    assert PressureGridDisplay.from_frame(frame[:16], "x", "y", "macs").ax_.texts[0].get_text() == "1.4 M"
    assert not PressureGridDisplay.from_frame(frame, "x", "y", "macs").ax_.texts


def test_a_grid_takes_the_results_of_a_search(images):
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0], "fit_intercept": [True, False]}, cv=2)
    results = search.fit(images[0].reshape(150, 64), images[1]).cv_results_
    display = PressureGridDisplay.from_frame(results, x="param_C", y="param_fit_intercept", value="mean_test_score")
    assert display.grid.loc[True, 1.0] == results["mean_test_score"][2]
    assert (display.ax_.get_xlabel(), display.figure_.axes[1].get_ylabel()) == ("C", "score")


def test_a_grid_says_what_it_needs(sweep):
    columns = dict(x="time_pressure", y="breadth_pressure", value="accuracy")
    with pytest.raises(ValueError, match=r"lacks the columns \['depth_pressure'\]"):
        PressureGridDisplay.from_frame(sweep, **{**columns, "x": "depth_pressure"})
    with pytest.raises(ValueError, match="Several rows have time_pressure=0.5 and breadth_pressure=1.0"):
        PressureGridDisplay.from_frame(pd.concat([sweep, sweep.loc[[4]]]), **columns)
    with pytest.raises(ValueError, match="hold nan"):
        PressureGridDisplay.from_frame(sweep.replace({"time_pressure": {2.0: np.nan}}), **columns)
    with pytest.raises(ValueError, match="has 0 rows"):
        PressureGridDisplay.from_frame(sweep[:0], **columns)


@pytest.mark.parametrize("named", [False, True])
def test_the_front_is_drawn_apart_and_in_order(sweep, named):
    front = pareto_front(sweep, minimize=["macs_per_image"], maximize=["accuracy"])
    shuffled = sweep.assign(front=front).sort_values("accuracy")  # the front goes by the index, not by the position
    display = ParetoDisplay.from_frame(shuffled, "macs_per_image", "accuracy", "front" if named else front)
    beaten, best = display.ax_.lines
    assert best.get_xydata().tolist() == [[30, 0.5], [40, 0.7], [50, 0.8], [60, 0.9]]
    assert sorted(beaten.get_xydata().tolist()) == [[30, 0.45], [45, 0.6]]
    assert display.ax_.get_xlabel() == "multiply-accumulates per image"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["beaten by another", "Pareto front"]


def test_a_front_must_be_bools_for_the_rows(sweep):
    front = pareto_front(sweep, minimize=["macs_per_image"])
    for bad in (front.astype(int), front[:3], "accuracy"):
        with pytest.raises(ValueError, match="not bool"):
            ParetoDisplay.from_frame(sweep, "macs_per_image", "accuracy", bad)
    with pytest.raises(ValueError, match="inconsistent"):
        ParetoDisplay(sweep["accuracy"], sweep["accuracy"], np.ones(2, dtype=bool))
    points = ParetoDisplay.from_frame(sweep, "macs_per_image", "accuracy", front, line=False).ax_.lines[-1]
    assert (points.get_linestyle(), points.get_marker()) == ("None", "D")
    with pytest.raises(ValueError, match=r"lacks the columns \['pareto'\]"):
        ParetoDisplay.from_frame(sweep, "macs_per_image", "accuracy", "pareto")
