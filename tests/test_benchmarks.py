"""The benchmarks run, at sizes whose figures mean nothing, and the ways of training that they compare are equal."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import bounds, compiled_fits, growth, many_lattices
from benchmarks.__main__ import ENTRIES, as_rst, main
from benchmarks.front import hvint
from benchmarks.gpu import least_traffic
from benchmarks.growth_draws import DRAWS, drawing
from growlattice._estimators import _base
from growlattice._training._net import seeded_generator

from .training.test_expressivity import error, move_of, small_lattice, training_set

PROBLEM = many_lattices.Problem(n_channels=4, n_layers=3, n_steps=3, size=6, batch_size=4, dtype=torch.float64)


@pytest.mark.parametrize("way", ["torch.vmap", "grouped, channels first", "grouped, channels last"])
def test_lattices_trained_at_once_are_those_trained_one_after_the_other(way):
    one_by_one, at_once = (many_lattices.WAYS[name](PROBLEM, range(3)) for name in ("one after the other", way))
    for _ in range(4):  # steps, so that equal losses speak for equal gradients and updates
        torch.testing.assert_close(at_once(), one_by_one(), rtol=1e-10, atol=0)


def test_least_traffic_counts_what_every_convolution_reads_and_writes():
    counted = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            output = function(*args, **(kwargs or {}))
            if function is torch.ops.aten.convolution.default:
                counted.append(args[0].numel() + output.numel())
            return output

    with Count():
        PROBLEM.lattice(0)(PROBLEM.batch(0)[0])
    assert 3 * sum(counted) == PROBLEM.batch_size * least_traffic(PROBLEM)
    assert least_traffic(replace(PROBLEM, size=12)) == 4 * least_traffic(PROBLEM)


def test_the_suite_writes_json_and_a_page(tmp_path, capsys):
    main(["gpu", "--tiny", "--out", str(tmp_path / "run.json"), "--rst", str(tmp_path / "run.inc")])
    run = json.loads((tmp_path / "run.json").read_text())
    assert {row["way"] for row in run["entries"]["gpu"]["rows"]} >= {"plain", "library"}
    assert run["versions"]["torch"] == torch.__version__
    assert (tmp_path / "run.inc").read_text() == as_rst(run)
    assert '"plain","' in as_rst(run)
    assert "images/s" in capsys.readouterr().out


def test_an_unknown_entry_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["scailing"])
    assert "no entry 'scailing'; choose from " + ", ".join(ENTRIES) in capsys.readouterr().err


def test_the_height_of_a_front_by_hand():
    """Nothing for a decade, then from half of what there is above chance to all of it; a network that is beaten."""
    networks = pd.DataFrame({"macs": [1e5, 1e6, 5e5], "accuracy": [0.55, 1.0, 0.5]})
    assert hvint(networks, 1e6) == pytest.approx((0 + 0.75) / 2, abs=1e-3)


def test_fits_that_are_in_the_file_are_not_done_again(tmp_path, monkeypatch):
    """And the shorter fit has as many epochs as come next to what the grown one cost."""
    done = []

    def fitted_row(data, priced, bound, seed, method, n_epochs):
        done.append((method, n_epochs))
        macs = {"grown": 4.0, "full": 10.0}.get(method, 4.0)
        case = dict(zip(growth.CASE, (data, priced, " x ".join(map(str, bound)), seed, method), strict=True))
        return case | dict(epochs=n_epochs, seconds=macs, train_macs=macs, accuracy=1.0, total=3, steps=2, macs=5)

    monkeypatch.setattr(growth, "fitted_row", fitted_row)
    for _ in range(2):
        rows = growth.measure(["digits"], [(28, 5, 5)], 1, [True], out=tmp_path / "growth.csv")
        assert done == [("grown", 30), ("full", 30), ("full, shorter", 12)]
    summary = growth.summarize(rows).set_index("method")
    assert summary["seconds of full"].to_dict() == {"grown": 0.4, "full": 1.0, "full, shorter": 0.4}
    alone = growth.summarize(growth.measure(["digits"], [(16, 4, 4), (32, 4, 4)], 1, [True], alone=True))
    assert alone["method"].tolist() == ["grown", "grown"] and alone["seconds of full"].isna().all()


def test_bounds_that_are_in_the_file_are_not_measured_again(tmp_path, monkeypatch):
    done = []

    def row(data, bound, price, time_price, seed, n_epochs):
        done.append(bound)
        case = dict(zip(bounds.CASE, (data, price, time_price, bounds.as_text(bound), seed), strict=True))
        return case | {"layer 1": bound[0], "steps": 4, "time used": 3.0, "accuracy": 1.0, "seconds": 1.0}

    monkeypatch.setattr(bounds, "row", row)
    for reach in ([(16, 4, 4)], [(16, 4, 4), (32, 4, 4)]):
        rows = bounds.measure(["digits"], [2.0], 1, reach, out=tmp_path / "bounds.csv")
    assert done == [(16, 4, 4), (32, 4, 4)] and bounds.summarize(rows)["layer 1"].tolist() == [16, 32]


def test_a_timed_fit_says_what_it_came_to():
    row = compiled_fits.fit_once(
        "digits", None, "eager bfloat16", max_epochs=1, max_channels=2, max_layers=1, max_steps=1
    )
    assert row["channels"] == 2 and row["epochs_compiled"] == 0 and 0.1 < row["accuracy"] < 1


def test_other_draws_change_the_answers_little_or_find_what_gains():
    """GradMax's change hardly anything; random channels are added where the line search finds that they gain."""
    lattice = small_lattice()
    data = training_set(lattice)
    same, random = (DRAWS[name](data, lattice, move_of(lattice), seeded_generator(0)) for name in ("GradMax", "random"))
    assert same.channels_left == [4, 2] and error(same, data) == pytest.approx(error(lattice, data), rel=1e-2)
    assert error(random, data) <= error(lattice, data)
    by_gain = DRAWS["edge by gain"](data, lattice, move_of(lattice), seeded_generator(0))
    assert sum(by_gain.channels_left) > sum(lattice.channels_left)
    assert (by_gain.mask & ~lattice.mask).any(dim=1).sum() == 1  # one edge, not all of the move's
    with drawing("GradMax"):
        assert _base.draw_by_gain is DRAWS["GradMax"]
