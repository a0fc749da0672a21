import numpy as np
import pytest

from growlattice._training._target_form import ClassTargets

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
