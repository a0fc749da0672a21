import inspect
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import Occlusion
from numpydoc.docscrape import FunctionDoc
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from growlattice import LatticeClassifier
from growlattice.inspection import (
    AttributionDisplay,
    ExtremesDisplay,
    MagnitudeDisplay,
    OcclusionDisplay,
    ParetoDisplay,
    PressureGridDisplay,
    TimeUsedDisplay,
    attribution_entropy,
    attribution_map,
    occlude,
)
from growlattice.metrics import pareto_front

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

SHAPES = [(3, 9, 7), (3, 9, 7, 1), (3, 9, 7, 3), (3, 9, 7, 4), (3, 1, 9, 7), (3, 3, 9, 7), (3, 4, 9, 7)]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def images():
    digits = load_digits(n_class=3)
    return digits.images[:150], np.array(["zero", "one", "two"])[digits.target[:150]]


@pytest.fixture(scope="module")
def fitted(images):
    return LatticeClassifier(max_channels=4, max_layers=2, max_steps=3, max_epochs=6, random_state=0).fit(*images)


class Weighted:
    """Knows two classes, by a sum over pixels that has other weights in each place and channel."""

    classes_ = np.array(["dark", "light"])

    def predict_proba(self, X):
        weights = np.random.RandomState(1).normal(size=X.shape[1:])
        light = 1 / (1 + np.exp(-(X * weights).sum(axis=tuple(range(1, X.ndim))) / 200))
        return np.stack([1 - light, light], axis=1)


def to_channels_last(images):
    if images.ndim == 3:
        return images[..., None]
    return images if images.shape[3] in (1, 3, 4) else np.moveaxis(images, 1, 3)


def covered_by_patches_one_after_another(rng, height, width, side, n_covered):
    """Pixels that are covered, by dropping patches one at a time and counting one pixel at a time."""
    columns = width + side - 1
    covered = np.zeros((height, width), dtype=bool)
    turns = rng.permutation((height + side - 1) * columns)
    for place in np.argsort(turns):
        for row in range(place // columns - side + 1, place // columns + 1):
            for column in range(place % columns - side + 1, place % columns + 1):
                inside = 0 <= row < height and 0 <= column < width
                if inside and covered.sum() < n_covered:
                    covered[row, column] = True
    return covered


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_occlusion_covers_whole_pixels_exactly_as_often_as_asked(shape, dtype):
    images = np.random.RandomState(0).randint(0, 200, size=shape).astype(dtype)
    given = images.copy()
    for share in (0.0, 0.013, 0.3, 0.5, 0.99, 1.0):
        occluded = occlude(images, share, fill=255, random_state=3)
        assert occluded.shape == shape and occluded.dtype == dtype and not np.shares_memory(occluded, images)
        changed = to_channels_last(occluded) != to_channels_last(given)
        assert (changed.any(axis=3) == changed.all(axis=3)).all()
        assert changed.any(axis=3).sum(axis=(1, 2)).tolist() == [round(share * 63)] * 3
        assert (occluded[occluded != images] == 255).all()
    assert np.array_equal(images, given)


@pytest.mark.parametrize("side", [1, 2, 5, 7])
@pytest.mark.parametrize("share", [0.2, 0.55, 0.9])
def test_occlusion_equals_patches_that_fall_one_after_another(side, share):
    occluded = occlude(np.zeros((4, 9, 7)), share, patch_size=side, fill=1.0, random_state=5)
    rng = np.random.RandomState(5)
    for image in occluded:
        expected = covered_by_patches_one_after_another(rng, 9, 7, side, round(share * 63))
        assert np.array_equal(image == 1, expected)


def test_patches_have_a_quarter_of_the_shorter_side_unless_told():
    images = np.random.RandomState(0).rand(2, 16, 9)
    assert np.array_equal(occlude(images, 0.3, random_state=0), occlude(images, 0.3, patch_size=2, random_state=0))
    assert np.array_equal(
        occlude(images[:, :3, :3], 0.3, random_state=0), occlude(images[:, :3, :3], 0.3, patch_size=1, random_state=0)
    )


def test_places_differ_between_images_and_seeds_and_grow_with_the_share():
    images = np.zeros((30, 12, 12))
    some, more = (occlude(images, share, fill=1.0, random_state=0) for share in (0.3, 0.6))
    assert (more >= some).all()
    assert len(np.unique(some, axis=0)) == 30
    assert np.array_equal(some, occlude(images, 0.3, fill=1.0, random_state=0))
    assert not np.array_equal(some, occlude(images, 0.3, fill=1.0, random_state=1))
    assert np.array_equal(some[:10], occlude(images[:10], 0.3, fill=1.0, random_state=0))


def test_pixels_near_the_border_are_covered_about_as_often_as_others():
    covered = occlude(np.zeros((4000, 8, 8)), 0.5, patch_size=2, fill=1.0, random_state=0).mean(axis=0)
    assert covered.mean() == 0.5
    assert covered.min() > 0.85 * covered.max()


@pytest.mark.parametrize("shape", SHAPES)
def test_what_covers_is_the_mean_pixel_of_each_image(shape):
    images = np.random.RandomState(0).randint(0, 255, size=shape).astype(np.uint8)
    occluded, pixels = to_channels_last(occlude(images, 1.0)), to_channels_last(images)
    for image, given in zip(occluded, pixels, strict=True):
        for channel in range(given.shape[2]):
            assert (image[..., channel] == round(given[..., channel].mean())).all()
    assert np.allclose(occlude(images / 7, 1.0).mean(), (images / 7).mean())


def test_each_channel_can_be_covered_by_a_value_of_its_own():
    occluded = occlude(np.zeros((2, 3, 8, 8), dtype=np.uint8), 0.5, fill=[1, 2, 3], random_state=0)
    assert occluded.sum(axis=(2, 3)).tolist() == [[32, 64, 96]] * 2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"share": -0.1}, "share=-0.1 must be a number from 0 to 1"),
        ({"share": 1.01}, "from 0 to 1"),
        ({"share": np.nan}, "share=nan"),
        ({"share": "half"}, "share='half'"),
        ({"patch_size": 0}, "patch_size=0 must be an int from 1 to 6"),
        ({"patch_size": 7}, "from 1 to 6"),
        ({"patch_size": 1.5}, "patch_size=1.5"),
        ({"fill": [1, 2]}, "one for each of 1 channels"),
        ({"fill": np.nan}, "fill=nan must be a value of float64"),
        ({"images": np.zeros((2, 64))}, r"Images have shape \(2, 64\)"),
        ({"images": np.zeros((2, 8, 8, 5))}, "1, 3 or 4 channels"),
        ({"images": np.zeros((2, 1, 3, 8, 8))}, "three axes"),
        ({"images": np.full((2, 8, 8), np.nan)}, "images contains NaN"),
        ({"images": np.zeros((2, 8, 8), dtype=np.uint8), "fill": 256}, "fill=256 must be a value of uint8"),
        ({"images": np.zeros((2, 8, 8), dtype=np.uint8), "fill": -1}, "fill=-1"),
    ],
)
def test_occlusion_says_what_it_needs(options, message):
    with pytest.raises(ValueError, match=message):
        occlude(**{"images": np.zeros((2, 6, 8)), "share": 0.5, **options})


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fill", [None, 0.0])
def test_attribution_maps_equal_a_naive_ablation_of_patches(shape, fill):
    X, y, model = np.random.RandomState(0).normal(20, 30, size=shape), np.array(["light", "dark", "light"]), Weighted()
    given = X.copy()
    maps = attribution_map(model, X, y, patch_size=2, fill=fill)
    assert np.array_equal(X, given) and maps.dtype == np.float64 and maps.shape == (3, 9, 7)
    for index in range(3):
        column = list(model.classes_).index(y[index])
        for row in range(9):
            for place in range(7):
                changed = X[index : index + 1].copy()
                pixels = to_channels_last(changed)[0]
                baseline = to_channels_last(X)[index].mean(axis=(0, 1)) if fill is None else fill
                pixels[row // 2 * 2 : row // 2 * 2 + 2, place // 2 * 2 : place // 2 * 2 + 2] = baseline
                drop = model.predict_proba(X)[index, column] - model.predict_proba(changed)[0, column]
                assert maps[index, row, place] == pytest.approx(drop, abs=1e-12)
    assert np.abs(maps).max() > 0.01


@pytest.mark.parametrize("patch_size", [2, 3])  # 3 does not divide the 8 pixels
@pytest.mark.parametrize("fill", [None, 5.0])
def test_attribution_maps_equal_captums_occlusion(fitted, images, patch_size, fill):
    X, labels = images[0][:6], images[1][5::-1]
    baseline = X.mean(axis=(1, 2), keepdims=True) if fill is None else fill
    captum = Occlusion(lambda inputs: torch.from_numpy(fitted.predict_proba(inputs.numpy())))
    expected = captum.attribute(
        torch.from_numpy(X),
        sliding_window_shapes=(patch_size, patch_size),
        strides=(patch_size, patch_size),
        baselines=torch.from_numpy(np.broadcast_to(baseline, X.shape).copy()),
        target=torch.from_numpy(np.searchsorted(fitted.classes_, labels)),
    )
    maps = attribution_map(fitted, X, labels, patch_size=patch_size, fill=fill)
    assert np.abs(maps).max() > 0.01
    assert np.allclose(maps, expected.numpy(), rtol=0, atol=1e-5)


def test_attribution_asks_for_the_predicted_class_unless_told(fitted, images):
    X, _ = images
    assert np.array_equal(attribution_map(fitted, X[:9]), attribution_map(fitted, X[:9], fitted.predict(X[:9])))
    assert not np.array_equal(attribution_map(fitted, X[:9]), attribution_map(fitted, X[:9], ["two"] * 9))


def test_attribution_says_what_it_needs(fitted, images):
    X, y = images
    with pytest.raises(ValueError, match=r"of which \['three'\] are unknown"):
        attribution_map(fitted, X[:2], ["one", "three"])
    with pytest.raises(ValueError, match="y holds 3 labels"):
        attribution_map(fitted, X[:2], y[:3])
    with pytest.raises(ValueError, match="three axes"):
        attribution_map(fitted, X[:2].reshape(2, 64))
    with pytest.raises(NotFittedError):
        attribution_map(LatticeClassifier(), X[:2])


def test_entropy_by_hand():
    maps = np.zeros((5, 2, 4))
    maps[0, 1, 2] = -3.0
    maps[1] = 0.2
    maps[2, 0] = [1, -1, 1, -1]
    maps[3, 0] = [4, 2, 1, 1]  # 1/2, 1/4, 1/8, 1/8: 1.75 bits
    assert np.allclose(attribution_entropy(maps), [0, 1, 2 / 3, 1.75 / 3, np.nan], equal_nan=True)
    for scale in (1e-9, 1e307):
        assert np.allclose(attribution_entropy(scale * maps), attribution_entropy(maps), equal_nan=True)
    for bad, message in [(np.full((1, 2, 2), np.nan), "maps contains NaN"), (np.ones((3, 1, 1)), "two places or more")]:
        with pytest.raises(ValueError, match=message):
            attribution_entropy(bad)


@pytest.mark.parametrize("function", [occlude, attribution_map, attribution_entropy])
def test_every_parameter_is_documented_with_its_default(function):
    documented = {name: row.type for row in FunctionDoc(function)["Parameters"] for name in row.name.split(", ")}
    parameters = inspect.signature(function).parameters
    assert sorted(documented) == sorted(parameters)
    for name, described in documented.items():
        if "default=" in described:
            assert described.endswith(f"default={parameters[name].default}")


def test_magnitudes_are_drawn_by_rank_with_survivors_left_of_the_boundary(fitted, images):
    pruned = LatticeClassifier(max_channels=6, max_layers=3, max_epochs=6, random_state=0).fit(*images)
    magnitude = pruned.channel_magnitude_
    pruned.prune(*images, keep=0.5)
    display = MagnitudeDisplay(magnitude, pruned.channel_mask_).plot()
    assert np.array_equal(display.ranked, -np.sort(-magnitude, axis=1))
    assert np.array_equal(display.ax_.images[0].get_array(), display.ranked)
    assert 0 < display.survivors.sum() < 18
    for layer, survivors in enumerate(display.survivors):
        left = display.ranked[layer, :survivors]
        assert np.array_equal(np.sort(left), np.sort(magnitude[layer, pruned.channel_mask_[layer]]))
    boundary = display.ax_.patches[-1].get_data()
    assert np.array_equal(boundary.values, pruned.channel_mask_.sum(axis=1) + 0.5)
    after = MagnitudeDisplay.from_estimator(pruned)
    assert np.array_equal(after.channel_magnitude, pruned.channel_magnitude_)
    assert np.array_equal(after.survivors, display.survivors)
    assert MagnitudeDisplay.from_estimator(fitted).ax_.get_legend() is None  # nothing pruned, no boundary
    with pytest.raises(ValueError, match=r"shape \(3, 6\), and channel_mask is of bool and shape \(6,\)"):
        MagnitudeDisplay(magnitude, pruned.channel_mask_[0])


def test_time_used_is_drawn_as_a_histogram(fitted, images):
    display = TimeUsedDisplay.from_estimator(fitted, images[0])
    assert np.array_equal(display.time_used, fitted.time_used(images[0])) and display.mean_per_class is None
    heights = [bar.get_height() for bar in display.ax_.patches]
    assert np.array_equal(heights, np.histogram(display.time_used, np.linspace(1, 3, 31))[0])
    assert display.ax_.get_xlim() == (1, 3) and "steps" in display.ax_.get_xlabel()


def test_time_used_of_classes_is_drawn_with_their_means(fitted, images):
    X, y = images
    display = TimeUsedDisplay.from_estimator(fitted, X, y)
    time_used, classes = fitted.time_used(X), ["one", "two", "zero"]
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == classes
    (means,) = display.ax_.lines
    assert np.allclose(means.get_xdata(), [time_used[y == label].mean() for label in classes])
    shares = display.ax_.collections[0].get_array().reshape(3, 30)
    assert np.allclose(shares[1], np.histogram(time_used[y == "two"], np.linspace(1, 3, 31))[0] / (y == "two").sum())
    again = TimeUsedDisplay.from_predictions(time_used, y, n_steps=3)
    assert np.array_equal(again.mean_per_class, display.mean_per_class)


def test_the_images_that_take_least_and_most_time_are_drawn(fitted, images):
    X, y = images
    time_used = fitted.time_used(X)
    display = ExtremesDisplay.from_estimator(fitted, X, y, n_shown=3)
    assert time_used[display.least].max() <= np.delete(time_used, display.least).min()
    assert time_used[display.most].min() >= np.delete(time_used, display.most).max()
    rows = [*display.least, *display.most]
    for picture, row in zip(display.ax_.images, rows, strict=True):
        assert np.allclose(picture.get_array() * X[rows].max(), X[row])
    assert [text.get_text() for text in display.ax_.texts] == list(y[rows])
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == [
        f"{name}\n({time_used[some].mean():.2f} steps)"
        for name, some in (("least", display.least), ("most", display.most))
    ]


def test_no_image_is_among_both_the_least_and_the_most():
    display = ExtremesDisplay.from_predictions(np.random.RandomState(0).rand(5, 4, 6, 3), np.ones(5))
    assert (display.least.tolist(), display.most.tolist()) == ([0, 1], [3, 4])
    assert display.ax_.images[0].get_array().shape == (4, 6, 3)


@pytest.mark.parametrize(
    "time_used, options, message",
    [
        ([1.0, 2.0, 3.0], {}, "inconsistent"),
        ([1.0, np.nan], {}, "time_used contains NaN"),
        ([1.0, 2.0], {"labels": [1]}, "inconsistent"),
        ([1.0, 2.0], {"n_shown": 0}, "n_shown == 0"),
    ],
)
def test_extremes_say_what_they_need(time_used, options, message):
    with pytest.raises(ValueError, match=message):
        ExtremesDisplay(np.zeros((2, 4, 4)), time_used, **options)
    with pytest.raises(ValueError, match="There are 1 images"):
        ExtremesDisplay(np.zeros((1, 4, 4)), [1.0])


def test_one_step_for_all_images_can_be_drawn():
    assert TimeUsedDisplay.from_predictions(np.ones(4)).ax_.patches[0].get_height() == 4
    assert TimeUsedDisplay.from_predictions(np.float32([3.0000002, 3])).n_steps == 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([0.5, 2.0],), "from 0.5 to 2"),
        (([1.0, 4.0], None, 3), "steps from 1 to 3"),
        (([1.0, np.nan],), "time_used contains NaN"),
        (([[1.0, 2.0]],), r"shape \(1, 2\)"),
        (([1.0, 2.0], [0]), "inconsistent"),
    ],
)
def test_time_used_must_be_steps(arguments, message):
    with pytest.raises(ValueError, match=message):
        TimeUsedDisplay(*arguments)
    with pytest.raises(TypeError, match="n_steps must be an instance of"):
        TimeUsedDisplay([1.0, 2.0], n_steps="3")


@pytest.mark.parametrize(
    "magnitude, mask, message",
    [
        ([[1.0, np.nan]], [[True, False]], "channel_magnitude contains NaN"),
        ([[True, False]], [[1.0, 0.5]], "of float64"),
        ([[1.0, 0.5]], [[True]], r"shape \(1, 1\)"),
        ([1.0, 0.5], [True, False], r"\(n_layers, n_channels\)"),
    ],
)
def test_magnitudes_and_mask_must_be_of_one_shape(magnitude, mask, message):
    with pytest.raises(ValueError, match=message):
        MagnitudeDisplay(magnitude, mask)


@pytest.mark.parametrize("n_layers", [1, 2, 9])
def test_layers_are_counted_in_whole_numbers(n_layers):
    display = MagnitudeDisplay(np.ones((n_layers, 3)), np.ones((n_layers, 3), dtype=bool)).plot()
    ticks = [tick for tick in display.ax_.get_yticks() if 0.5 <= tick <= n_layers + 0.5]
    assert ticks and all(tick == round(tick) for tick in ticks)


def test_displays_can_share_a_scale_of_shades(sweep):
    magnitudes = MagnitudeDisplay([[1.0, 0.5]], [[True, True]]).plot(vmax=3.0)
    assert magnitudes.ax_.images[0].get_clim() == (0, 3)
    options = dict(x="time_pressure", y="breadth_pressure", value="accuracy", vmin=0.2, vmax=1.5)
    assert PressureGridDisplay.from_frame(sweep, **options).ax_.images[0].get_clim() == (0.2, 1.5)


@pytest.fixture
def sweep():
    pressures = [(breadth, time) for breadth in (0.0, 1.0) for time in (0.0, 0.5, 2.0)]
    frame = pd.DataFrame(pressures, columns=["breadth_pressure", "time_pressure"])
    frame["accuracy"] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.45]
    frame["macs_per_image"] = [60, 50, 40, 45, 30, 30]
    return frame.sample(frac=1, random_state=0)


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


def test_time_under_occlusion_is_that_of_the_occluded_images(fitted, images):
    X, shares = images[0][:20], (0.0, 0.3, 0.7)
    display = OcclusionDisplay.from_estimator(fitted, X, shares=shares, patch_size=3, random_state=4)
    time_used = [fitted.time_used(occlude(X, share, patch_size=3, random_state=4)) for share in shares]
    assert np.array_equal(display.time_used, time_used)
    (line,) = display.ax_.lines
    assert np.allclose(line.get_xydata(), np.stack([shares, np.mean(time_used, axis=1)], axis=1))
    half_width = 1.96 * np.array([np.std(row) / np.sqrt(19) for row in time_used])
    assert np.allclose(display.half_width, half_width)
    band = display.ax_.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx((line.get_ydata() + half_width).max())
    again = OcclusionDisplay.from_predictions(shares, time_used)
    assert np.array_equal(again.mean, display.mean)
    OcclusionDisplay.from_estimator(fitted, X, shares=shares, random_state=np.random.RandomState(0))


@pytest.mark.parametrize(
    "shares, time_used, message",
    [
        ([0.0, 0.5], [[1.0, 2.0]], "time_used has 1 rows"),
        ([0.0, np.nan], [[1.0, 2.0], [1.0, 2.0]], "shares contains NaN"),
        ([0.0], [[1.0]], "minimum of 2"),
        ([0.0, 50.0], [[1.0, 2.0], [1.0, 2.0]], "between 0 and 50"),
        ([0.0, 0.5], [[1.0, 2.0], [1.0, -1.0]], "steps from -1 on"),
    ],
)
def test_time_under_occlusion_needs_a_row_for_each_share(shares, time_used, message):
    with pytest.raises(ValueError, match=message):
        OcclusionDisplay(shares, time_used)


def test_attribution_maps_are_drawn_below_their_images(fitted, images):
    X, y = images[0][:4], images[1][:4]
    display = AttributionDisplay.from_estimator(fitted, X, y)
    maps = attribution_map(fitted, X, y)
    assert np.array_equal(display.maps, maps)
    for index, (shown, below) in enumerate(zip(display.ax_.images[::2], display.ax_.images[1::2], strict=True)):
        assert np.allclose(shown.get_array(), X[index] / 16)
        assert np.array_equal(below.get_array(), maps[index])
        assert below.get_clim() == (-np.abs(maps).max(), np.abs(maps).max())
        assert shown.get_extent()[:2] == below.get_extent()[:2] and below.get_extent()[3] < shown.get_extent()[2]
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == list(y)
    assert AttributionDisplay.from_estimator(fitted, X).labels == list(fitted.predict(X))


@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_all_kinds_are_drawn_beside_their_maps(shape):
    images = np.random.RandomState(0).randint(0, 255, size=shape).astype(np.uint8)
    shown = AttributionDisplay(images, np.zeros((3, 9, 7))).plot().ax_.images[0].get_array()
    expected = (to_channels_last(images)[0].astype(float) - images.min()) / (images.max() - images.min())
    assert np.allclose(shown, expected[..., 0] if shown.ndim == 2 else expected)


def test_each_image_needs_a_map_and_a_label():
    with pytest.raises(ValueError, match=r"maps has shape \(2, 8, 8\), with 2 labels"):
        AttributionDisplay(np.zeros((2, 8, 9)), np.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match="with 1 labels"):
        AttributionDisplay(np.zeros((2, 8, 8)), np.zeros((2, 8, 8)), labels=["one"])


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


@pytest.mark.parametrize("display", [MagnitudeDisplay, TimeUsedDisplay, ExtremesDisplay, OcclusionDisplay])
def test_only_fitted_lattices_are_drawn(display, images):
    X = () if display is MagnitudeDisplay else (images[0],)
    with pytest.raises(NotFittedError, match="LatticeClassifier instance is not fitted"):
        display.from_estimator(LatticeClassifier(), *X)
    other = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(TypeError, match="LogisticRegression has no .*Give a fitted LatticeClassifier"):
        display.from_estimator(other, *X)


def test_without_matplotlib_an_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    display = TimeUsedDisplay([1.0, 2.0])
    with pytest.raises(ImportError, match=r"TimeUsedDisplay draws with matplotlib.*growlattice\[plot\]"):
        display.plot()
