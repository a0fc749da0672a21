import numpy as np
import pytest

from growlattice._training._target_form import ClassTargets, NumberTargets

DAYS = np.array(["2026-11-21", "2026-11-22"], dtype="datetime64[D]")


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 7], [False, True], DAYS])
def test_labels_are_known_by_their_indices(labels):
    labels = np.array(labels)
    form = ClassTargets.learn(labels[[1, 0, 1]])
    assert form.n_outputs == 2
    assert form.encode(labels[[1, 1, 0]]).tolist() == [1, 1, 0]
    assert np.array_equal(form.decode(np.array([1, 1, 0])), labels[[1, 1, 0]])


def test_classes_that_are_given_are_all_there_are():
    form = ClassTargets.learn(np.array([1]), classes=[2, 1, 0])
    assert form.classes.tolist() == [0, 1, 2] and form.n_outputs == 3
    with pytest.raises(ValueError, match=r"y holds the classes array\(\[7\]\), which the lattice was not made for"):
        form.encode(np.array([1, 7]))


def test_one_class_has_a_second_logit_that_nobody_sees():
    form = ClassTargets.learn(np.array(["only"]))
    assert form.n_outputs == 2
    assert form.decode(np.array([1, 0])).tolist() == ["only", "only"]
    assert form.of_classes(np.log([[0.2, 0.8]])).tolist() == [[0.0]]


def test_numbers_written_as_text_are_no_known_labels():
    """With many classes NumPy writes both as text to compare them."""
    form = ClassTargets.learn(np.arange(20))
    with pytest.raises(ValueError, match="y holds the classes .*'10'.*, which the lattice was not made for"):
        form.encode(np.array(["0", "1", "2", "10", "11", "19"]))


# --- numbers ---


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_numbers_are_known_by_their_distance_from_the_mean_in_standard_deviations(scale):
    y = scale * (np.random.RandomState(0).rand(30, 3) * [1, 10, 100] + [0, 5, -1e5])
    form = NumberTargets.learn(y, None, one_axis=False)
    assert form.n_outputs == 3
    np.testing.assert_allclose(form.mean, y.mean(axis=0), rtol=1e-12)
    standardized = form.encode(y)
    np.testing.assert_allclose(standardized.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(standardized.std(axis=0), 1, rtol=1e-9)
    np.testing.assert_allclose(form.decode(standardized), y, rtol=1e-12)


def test_weights_count_as_repetition_does():
    rng = np.random.RandomState(0)
    y, counts = rng.rand(20, 2), rng.randint(1, 4, 20)
    weighted = NumberTargets.learn(y, counts / counts.max(), one_axis=False)
    repeated = NumberTargets.learn(y.repeat(counts, axis=0), None, one_axis=False)
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-12)
    np.testing.assert_allclose(weighted.std, repeated.std, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 + 0.1, 1e300])
def test_a_constant_is_not_divided_by_its_deviation(value):
    form = NumberTargets.learn(np.full((7, 1), value), None, one_axis=True)
    assert form.std.tolist() == [1.0]
    assert form.decode(np.zeros((2, 1), np.float32)).tolist() == pytest.approx([value, value])


def test_numbers_that_differ_by_less_than_their_rounding_draw_a_warning():
    y = 1.7e18 + 2048.0 * np.arange(20.0)[:, None]
    with pytest.warns(UserWarning, match="columns of y differ by less than 1e-12 of their mean"):
        assert NumberTargets.learn(np.c_[y, y - 1.7e18], None, one_axis=False).std[0] == 1.0


def test_small_numbers_on_a_large_mean_keep_their_digits():
    y = 1e9 + np.arange(4.0)[:, None]
    form = NumberTargets.learn(y, None, one_axis=True)
    np.testing.assert_allclose(form.decode(form.encode(y).astype(np.float32)), y[:, 0], rtol=0, atol=1e-5)


def test_another_number_of_columns_is_named():
    form = NumberTargets.learn(np.eye(3), None, one_axis=False)
    with pytest.raises(ValueError, match="y has 2 columns, but the lattice was made for 3"):
        form.encode(np.eye(2))
