from types import SimpleNamespace

from skorch.history import History

from growlattice._training._history import history_rows, record_numbers


def make_history(epochs):
    """One with a row for each epoch: whether it relaxes, its multiply-accumulates, and numbers to record."""
    history = History()
    for relaxing, macs, numbers in epochs:
        history.new_epoch()
        history.record("relaxing", relaxing)
        history.record("macs_per_image", macs)
        record_numbers(history, numbers)
    return history


def test_the_history_says_what_is_the_best_so_far():
    values = [0.5, 0.7, 0.7, 0.4, 0.9]
    history = make_history((False, 1, {"error": value, "accuracy": value, "breadth": value}) for value in values)
    assert history[:, "error_best"] == [True, False, False, True, False]
    assert history[:, "accuracy_best"] == [True, True, False, False, True]
    assert "breadth_best" not in history[-1]
    rows = history_rows(SimpleNamespace(history=history))
    assert [row["error"] for row in rows] == values
    assert not any(name.endswith("_best") for row in rows for name in row)


def test_the_best_so_far_while_relaxing_is_of_the_same_form():
    epochs = [(False, 9, 0.1), (True, 9, 0.5), (True, 9, 0.6), (True, 4, 0.7), (True, 4, 0.6)]
    history = make_history((relaxing, macs, {"error": error}) for relaxing, macs, error in epochs)
    assert history[:, "error_best"] == [True, True, False, True, True]
