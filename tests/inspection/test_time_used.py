import numpy as np
import pytest

from growlattice.inspection import ExtremesDisplay, TimeUsedDisplay


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
        (([1.0, 2.0], [None, "a"]), "y contains NaN"),
    ],
)
def test_time_used_must_be_steps(arguments, message):
    with pytest.raises(ValueError, match=message):
        TimeUsedDisplay(*arguments)
    with pytest.raises(TypeError, match="n_steps must be an instance of"):
        TimeUsedDisplay([1.0, 2.0], n_steps="3")


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


def test_numbers_are_no_classes():
    with pytest.raises(ValueError, match="y holds 3 different numbers, but a row is drawn for each class"):
        TimeUsedDisplay.from_predictions([1.0, 2.0, 3.0], [0.5, 1.5, 2.25])


def test_labels_that_are_numbers_are_rounded():
    display = ExtremesDisplay.from_predictions(np.ones((2, 4, 4)), [1.0, 2.0], [12.34567, -0.5])
    assert [text.get_text() for text in display.ax_.texts] == ["12.3", "-0.5"]
