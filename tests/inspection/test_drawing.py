import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from growlattice.inspection import (
    AttributionDisplay,
    ExtremesDisplay,
    HaltingDisplay,
    MagnitudeDisplay,
    OcclusionDisplay,
    ParetoDisplay,
    PressureGridDisplay,
    TimeUsedDisplay,
)

from .conftest import SHAPES, to_channels_last

CURVE = ["rule", "threshold", "mean_steps", "macs", "accuracy"]


def test_displays_draw_in_axes_that_are_given(fitted, images, sweep):
    X, y = images[0][:4], images[1][:4]
    figure, axes = plt.subplots(2, 4, figsize=(18, 7), layout="constrained")
    displays = [
        MagnitudeDisplay.from_estimator(fitted, ax=axes[0, 0]),
        TimeUsedDisplay.from_estimator(fitted, X, y, ax=axes[0, 1]),
        PressureGridDisplay.from_frame(sweep, "time_pressure", "breadth_pressure", "accuracy", ax=axes[0, 2]),
        ParetoDisplay.from_frame(sweep, "accuracy", "macs_per_image", np.ones(6, dtype=bool), ax=axes[1, 0]),
        OcclusionDisplay.from_estimator(fitted, X, shares=[0.0, 0.5], ax=axes[1, 1]),
        AttributionDisplay.from_estimator(fitted, X, ax=axes[1, 2]),
        ExtremesDisplay.from_estimator(fitted, X, y, ax=axes[0, 3]),
        ExtremesDisplay.from_predictions(X, [1.0, 2.0, 2.0, 3.0], ax=axes[1, 3]),
    ]
    order = [axes[place] for place in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))]
    for display, ax in zip(displays, order, strict=True):
        assert display.ax_ is ax and display.figure_ is figure
        assert display.plot() is display and display.figure_ is not figure
    figure.canvas.draw()


def test_an_error_while_drawing_leaves_display_and_figures_as_they_were():
    curve = pd.DataFrame([("halted", 0.9, 1.5, 10.0, 0.98), ("trimmed", np.nan, 1.0, 7.0, 0.9)], columns=CURVE)
    display = HaltingDisplay(curve)
    for before in (None, plt.subplots()[1]):
        if before is not None:
            display.plot(before)
        n_figures = len(plt.get_fignums())
        with pytest.raises(ValueError, match="must be one of"):
            display.plot(x="nothing")
        assert getattr(display, "ax_", None) is before and len(plt.get_fignums()) == n_figures


def test_displays_can_share_a_colour_scale(sweep):
    magnitudes = MagnitudeDisplay([[1.0, 0.5]], [[True, True]]).plot(vmax=3.0)
    assert magnitudes.ax_.images[0].get_clim() == (0, 3)
    options = dict(x="time_pressure", y="breadth_pressure", value="accuracy", vmin=0.2, vmax=1.5)
    assert PressureGridDisplay.from_frame(sweep, **options).ax_.images[0].get_clim() == (0.2, 1.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_all_kinds_are_drawn_beside_their_maps(shape):
    images = np.random.RandomState(0).randint(0, 255, size=shape).astype(np.uint8)
    shown = AttributionDisplay(images, np.zeros((3, 9, 7))).plot().ax_.images[0].get_array()
    expected = (to_channels_last(images)[0].astype(float) - images.min()) / (images.max() - images.min())
    assert np.allclose(shown, expected[..., 0] if shown.ndim == 2 else expected)


def test_without_matplotlib_an_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    display = TimeUsedDisplay([1.0, 2.0])
    with pytest.raises(ImportError, match=r"TimeUsedDisplay draws with matplotlib.*growlattice\[plot\]"):
        display.plot()
