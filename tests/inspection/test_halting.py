import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from growlattice.inspection import HaltingDisplay


def lines(display):
    return {line.get_label(): line.get_xydata() for line in display.ax_.get_lines()}


def test_a_fitted_lattice_is_drawn_beside_trimmed_ones_with_its_threshold(fitted, images):
    fitted.halt(*images, keep=0.9)
    try:
        display = HaltingDisplay.from_estimator(fitted, *images)
        chosen = fitted.halting_["mean_steps"], fitted.halting_["accuracy"]
    finally:
        fitted.halt(None)
    curve = fitted.halting_curve(*images)
    pd.testing.assert_frame_equal(display.curve, curve)
    drawn = lines(display)
    assert np.array_equal(drawn["all images as long"], display.trimmed[["mean_steps", "accuracy"]])
    assert np.array_equal(drawn["each image until it is sure"], display.halted[["mean_steps", "accuracy"]])
    assert drawn["the threshold chosen"][0] == pytest.approx(chosen)
    assert display.ax_.get_xlabel() == "steps run, mean"


def test_weights_of_images_count(fitted, images):
    weights = np.arange(len(images[1])) + 1.0
    display = HaltingDisplay.from_estimator(fitted, *images, weights)
    pd.testing.assert_frame_equal(display.curve, fitted.halting_curve(*images, weights))
    assert not display.curve["accuracy"].equals(fitted.halting_curve(*images)["accuracy"])


def test_without_a_threshold_none_is_marked_and_the_axis_may_be_macs(fitted, images):
    curve = fitted.halting_curve(*images)
    display = HaltingDisplay.from_frame(curve, x="macs")
    assert display.marked is None and len(display.ax_.get_lines()) == 2
    assert lines(display)["all images as long"][-1, 0] == fitted.macs_per_image_
    with pytest.raises(ValueError, match="x='time' must be one of"):
        HaltingDisplay.from_frame(curve, x="time")


def test_other_tables_are_refused(fitted, images):
    with pytest.raises(ValueError, match=r"lacks the columns \['macs'\]. Give what LatticeClassifier.halting_curve"):
        HaltingDisplay.from_frame(fitted.halting_curve(*images).drop(columns="macs"))
    with pytest.raises(TypeError, match="has no halting_curve"):
        HaltingDisplay.from_estimator(DummyClassifier().fit(*images), *images)
