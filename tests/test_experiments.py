"""The scripts of examples/experiments, at the scale that shows that they run."""

import importlib
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "experiments"

# Script, its figures, and for each of its tables the rows and some columns.
SCRIPTS = {
    "figure_3": (
        ["figure_3", "figure_3_magnitudes", "figure_3_attributions"],
        {
            "figure_3_models": (8, ["breadth_pressure", "depth_pressure", "seed", "kept_train", "attribution_entropy"]),
            "figure_3_pressures": (4, ["n_seeds", "accuracy", "accuracy_low", "accuracy_high", "channels_used"]),
            "figure_3_claims": (16, ["claim", "mean", "low", "high", "n_seeds"]),
        },
    ),
    "figure_4": (
        ["figure_4"],
        {
            "figure_4_pressures": (4, ["time_selection", "time_cost", "time_used_low", "accuracy_high", "n_seeds"]),
            "figure_4_occlusion": (
                24,
                ["data", "time_pressure", "interval_over", "n", "share", "time_used", "rise_low", "rise_high"],
            ),
            "figure_4_people": (2, ["measure", "unit", "n", "correlation", "low", "high"]),
            "figure_4_images": (450, ["row", "label", "time_used", "right", "entropy"]),
        },
    ),
    "figure_4_occlusion": ([], {"figure_4_seeds": (12, ["data", "fill", "share", "rise", "low", "high", "n_seeds"])}),
    "figure_5": (
        ["figure_5", "figure_5_accuracy", "figure_5_errors"],
        {
            "figure_5_models": (16, ["time_pressure", "accuracy", "layers_used", "time_used", "pareto", "map_x"]),
            "figure_5_pressures": (8, ["n_seeds", "accuracy_low", "layers_used_high"]),
            "figure_5_errors": (16, [str(model) for model in range(16)]),
            "figure_5_claims": (29, ["claim", "mean", "low", "high", "n_seeds"]),
        },
    ),
    "figure_6": (
        ["figure_6"],
        {
            "figure_6_models": (12, ["data", "space_pressure", "seed", "accuracy", "channels_used", "per_channel"]),
            "figure_6_space_pressures": (6, ["data", "n_seeds", "channels_used_low", "layers_used_high"]),
            "figure_6_time_pressures": (3, ["data", "time_used", "per_step_low"]),
            "figure_6_differences": (36, ["data", "less", "of", "difference", "low", "high"]),
        },
    ),
    "people": (
        ["people"],
        {
            "people_lattices": (10, ["question", "seed", "accuracy", "relation_low", "given_error", "over_classes"]),
            "people_means": (5, ["question", "max_layers", "n_seeds", "relation_low", "given_all_high"]),
            "people_trends": (4, ["with", "lattices", "n", "statistic", "low", "high"]),
            "people_classes": (10, ["label", "time_used", "entropy", "right"]),
            "people_images": (450, ["image", "label", "entropy", "time_used_0", "time_used_1"]),
            "people_errors": (4, ["claim", "mean", "low", "high", "n_seeds", "images_low"]),
        },
    ),
}


@pytest.fixture
def script(monkeypatch):
    """Imports a script of the folder, beside which it finds `common`."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


@pytest.mark.filterwarnings("ignore:.*leaves less than one image to lose:UserWarning")  # they are few at this scale
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_leaves_its_figures_and_tables(name, script, monkeypatch, tmp_path):
    figures, tables = SCRIPTS[name]
    options = ["--scale", "smoke", "--device", "cpu", "--out", str(tmp_path), "--n-jobs"]
    if name == "people":  # as a user does: its own functions go to the workers, and have to get there
        command = [sys.executable, FOLDER / f"{name}.py", *options, "2"]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr
    else:
        monkeypatch.setattr(sys, "argv", [name, *options, "1"])
        script(name).main()
        plt.close("all")
    for figure in figures:
        assert (tmp_path / f"{figure}.png").stat().st_size > 10_000
    for table, (n_rows, columns) in tables.items():
        frame = pd.read_csv(tmp_path / f"{table}.csv")
        assert len(frame) == n_rows, table
        assert set(columns) <= set(frame.columns), table
    assert any((tmp_path / "memory").glob("*.safetensors"))


def lattices_of(script, name, tmp_path, monkeypatch):
    """The lattices that a script would train."""
    asked = []

    def stop(lattices, *others):
        asked.extend(lattices)
        raise SystemExit

    monkeypatch.setattr(script("common"), "train", stop)
    monkeypatch.setattr(sys, "argv", [name, "--scale", "smoke", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        script(name).main()
    assert asked
    return [lattice.get_params() for lattice in asked]


def test_figure_5_takes_the_lattices_of_figure_3(script, tmp_path, monkeypatch):
    of_figure_3, of_figure_5 = (lattices_of(script, name, tmp_path, monkeypatch) for name in ("figure_3", "figure_5"))
    assert [params for params in of_figure_5 if params["time_pressure"] == 0] == of_figure_3
    figure_3, figure_5 = script("figure_3").SETTINGS, script("figure_5").SETTINGS
    for scale, settings in figure_5.items():
        assert set(settings["space"]) <= set(figure_3[scale]["pressures"])
        assert 0.0 in settings["time"]


def test_lattices_of_the_figures_on_time_keep_all_steps(script, tmp_path, monkeypatch):
    for name in ("figure_4", "figure_4_occlusion"):
        assert all(params["compact_every"] is None for params in lattices_of(script, name, tmp_path, monkeypatch))


def test_without_its_images_an_experiment_ends_with_a_line(script, monkeypatch, capsys):
    def absent(**options):
        raise OSError("no such folder")

    monkeypatch.setattr("growlattice.datasets.fetch_mnist", absent)
    with pytest.raises(SystemExit, match="needs mnist: no such folder"):
        script("common").images("mnist", "small")
    assert script("common").images("mnist", "small", optional=True) is None
    assert "mnist is left out" in capsys.readouterr().out


def test_intervals_over_seeds_by_hand(script):
    common = script("common")
    frame = pd.DataFrame({"price": [1, 1, 1, 2, 2, 3], "kept": [0.70, 0.72, 0.74, 0.5, np.nan, 0.1]})
    means = common.over_seeds(frame, "price", ["kept"]).set_index("price")
    half_width = 4.30265 * 0.02 / np.sqrt(3)
    assert means.loc[1].tolist() == pytest.approx([3, 0.72, 0.72 - half_width, 0.72 + half_width], abs=1e-5)
    assert means.loc[2].isna().tolist() == [False, True, True, True]
    assert means.loc[3, "kept"] == 0.1 and np.isnan(means.loc[3, "kept_low"])
    cut = common.claim("correlation", [0.8, 0.9, 1.0], limits=(-1, 1))
    assert (cut["mean"], cut["high"], cut["n_seeds"]) == (pytest.approx(0.9), 1.0, 3)
    assert cut["low"] == pytest.approx(0.9 - 5 * half_width, abs=1e-4)


def test_rank_correlation_of_a_column_without_ranks_is_unknown(script):
    rank_correlation = script("common").rank_correlation
    rising, constant = pd.Series([1.0, 5.0, 6.0]), pd.Series([2.0, 2.0, 2.0])
    assert rank_correlation(rising, rising**3) == pytest.approx(1) and np.isnan(rank_correlation(rising, constant))


def test_selections_are_compared_at_equal_time(script):
    rows = []
    for seed, gain in ((0, 0.1), (1, 0.3)):
        rows += [("fixed", seed, time, 0.1 * time) for time in (1.0, 3.0)]
        rows += [("adaptive", seed, time, 0.1 * time + gain) for time in (2.0, 4.0)]
    sweep = pd.DataFrame(rows, columns=["time_selection", "seed", "time_used", "accuracy"])
    table = script("figure_4").compare_at_equal_time(sweep, n_levels=3)
    assert table["time_used"].tolist() == [2.0, 2.5, 3.0]
    assert table["fixed"].tolist() == pytest.approx([0.2, 0.25, 0.3])
    assert table["difference"].tolist() == pytest.approx([0.2] * 3)
    assert table["difference_low"].tolist() == pytest.approx([0.2 - 12.7062 * 0.1] * 3, abs=1e-4)


def test_the_rise_under_occlusion_is_paired(script):
    figure_4 = script("figure_4")
    whole, per_share = np.array([1.0, 5.0]), np.arange(len(figure_4.SHARES))[:, None]
    table = figure_4.occlusion_table("cifar10", whole + per_share * np.array([0.1, 0.3]), "seeds")
    assert table["rise"].tolist() == pytest.approx((0.2 * per_share[:, 0]).tolist())
    assert table["rise_low"].iloc[1] == pytest.approx(0.2 - 12.7062 * 0.1, abs=1e-4)
    assert table["time_used"].iloc[0] == 3


def test_error_consistency_is_compared_between_seeds_alone(script):
    resource, seeds = np.array([2, 3, 1, 30, 10, 20]), np.repeat([0, 1], 3)
    consistency = np.full((6, 6), 99.0)  # of lattices of one seed, which must not be read
    consistency[:3, 3:] = [[0, 0, 0], [0.4, 0, 0.2], [0.6, 0, 0.8]]  # the columns use 30, 10 and 20
    consistency[1, 4] = 0.3
    consistency[2, 4] = 0.7
    consistency[3:, :3] = consistency[:3, 3:].T
    groups = script("figure_5").consistency_of_groups(consistency, resource, seeds)
    assert groups == pytest.approx(np.array([[0.7, 0.4, (0.6 + 0.3) / 2]]))


def test_an_interval_over_pairs_is_one_over_the_seeds_in_them(script):
    """Of a value for each seed, the mean of two in each pair: the interval is that of the seeds."""
    common, values = script("common"), np.array([0.1, 0.5, 0.3, 0.9])
    pairs = [(one + other) / 2 for one, other in combinations(values, 2)]
    found, expected = common.claim_over_pairs("a", pairs, 4), common.claim("a", values)
    assert found == pytest.approx(expected) and found["n_seeds"] == 4
    assert common.claim_over_pairs("a", [0.5], 2) == pytest.approx(
        {"claim": "a", "mean": 0.5, "low": np.nan, "high": np.nan, "n_seeds": 2}, nan_ok=True
    )


def test_figures_are_drawn_where_no_lattice_is_accurate_enough(script):
    figure_5 = script("figure_5")
    models = pd.DataFrame({"accuracy": [0.5, 0.6], "channels_used": [2, 3], "layers_used": [1, 2], "time_used": [1, 2]})
    figure = figure_5.draw_trade_offs(models.assign(pareto=False), np.zeros((2, 2)), threshold=0.7)
    assert len(figure.axes[3].collections) == 1
    plt.close(figure)


def test_people_whose_file_cannot_be_read_end_the_program_before_training(script, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["figure_4", "--scale", "small", "--reaction-times", str(tmp_path / "no.zip")])
    with pytest.raises(SystemExit, match="no.zip cannot be read"):
        script("figure_4").main()


def test_too_few_images_with_a_measure_of_people_leave_it_out(script, capsys):
    rng = np.random.default_rng(0)
    images = pd.DataFrame({"time_used": rng.random(20), "times": np.where(np.arange(20) < 3, rng.random(20), np.nan)})
    assert np.isnan(script("people").relation(images, "times", [], n_bootstrap=10)).all()
    assert "left out" in capsys.readouterr().out


def test_share_of_ranks_explained(script):
    explained = script("figure_5").explained
    assert explained({"x": [1.0, 2.0, 9.0], "y": [0.0, 1.0, 0.5]}, [3.0, 4.0, 5.0]) == pytest.approx(1)
    assert explained({"x": [1.0, 2.0, 3.0]}, [1.0, 3.0, 2.0]) == pytest.approx(0.25)  # squared rank correlation
    assert np.isnan(explained({"x": [1.0, 2.0, 3.0]}, [4.0, 4.0, 4.0]))


def test_harder_data_is_compared_seed_by_seed(script):
    figure_6 = script("figure_6")
    cells = [("mnist", 0, 2.0), ("mnist", 1, 4.0), ("cifar10", 0, 5.0), ("cifar10", 1, 9.0)]
    models = pd.DataFrame(cells, columns=["data", "seed", "channels_used"]).assign(
        space_pressure=1.0, time_pressure=0.1
    )
    models = models.assign(**{name: 1.0 for name in figure_6.MEASURES if name != "channels_used"})
    others = models.assign(space_pressure=2.0, channels_used=[1.0, 1.0, 1.0, 9.0])
    table = figure_6.differences(pd.concat([models, others]))
    average = table.query("space_pressure == 'all' and of == 'channels_used'").squeeze()
    assert (average["difference"], average["high"]) == pytest.approx((4.0, 4 + 12.7062 * 2.5), abs=1e-4)
    table = table.query("space_pressure == 1").set_index("of")
    row = table.loc["channels_used"]
    assert (row["data"], row["less"], row["difference"]) == ("cifar10", "mnist", 4.0)
    assert row["high"] == pytest.approx(4 + 12.7062, abs=1e-4)
    assert table.loc["layers_used", ["difference", "low", "high"]].tolist() == [0, 0, 0]


def test_peoples_answers_are_merged_into_the_categories_of_a_question(script):
    people = script("people")
    category = people.categories_of("cat or dog")
    assert [people.CLASSES[place] for place in np.flatnonzero(category >= 0)] == ["cat", "dog"]
    counts = np.zeros((3, 10), dtype=int)
    counts[0, [3, 5, 4]] = 10, 30, 60  # cat, dog, deer
    counts[1, 5] = 7
    counts[2, 4] = 50  # nobody says cat or dog
    quarter = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    assert people.uncertainty(counts, category) == pytest.approx([quarter, 0, np.nan], nan_ok=True)
    animals = people.categories_of("animal or vehicle")
    assert people.uncertainty(counts, animals).tolist() == [0, 0, 0]
    assert np.bincount(animals).tolist() == [6, 4] and np.bincount(people.categories_of("all ten")).tolist() == [1] * 10


def test_times_of_people_are_medians_of_a_table(script, tmp_path):
    read_times = script("people").read_times
    path = tmp_path / "times.csv"
    path.write_text("who,image,time\na,1,300\nb,1,900\nc,1,400\nd,3,250\n")
    assert read_times(path, 4) == pytest.approx([np.nan, 400, np.nan, 250], nan_ok=True)
    with pytest.raises(ValueError, match="goes from 1 to 3, but whole numbers from 0 to 2 were expected"):
        read_times(path, 3)


def test_lattices_of_people_differ_from_the_first_in_one_setting_alone(script):
    people = script("people")
    rows = [("a", 0.1, 2, 6, 100), ("a", 0.2, 2, 6, 100), ("a", 0.2, 1, 6, 100), ("b", 0.1, 2, 6, 100)]
    table = pd.DataFrame(rows, columns=people.FORM)
    assert people.varied(table, "time_pressure", table).index.tolist() == [0, 1]
    assert people.varied(table, "question", table).index.tolist() == [0, 3]
    assert people.varied(table, "seed", table).index.tolist() == [0]


def test_shared_errors_are_those_of_lattices_of_other_seeds(script):
    people = script("people")
    lattices = pd.DataFrame({"max_layers": [1, 4, 1, 4, 1], "seed": [0, 0, 1, 1, 2]}).assign(
        question="a", time_pressure=0.1, max_steps=6, n_train=100
    )
    hard = np.random.default_rng(0).random((2, 400)) < 0.2  # what shallow lattices get wrong, and what deep ones do
    images = [pd.DataFrame({"right": ~hard[int(layers > 1)]}) for layers in lattices["max_layers"]]
    table = people.shared_errors(lattices, images, "a", depths=[1, 4], n_bootstrap=100).set_index("claim")
    assert table["n_seeds"].unique().tolist() == [2]  # the third seed has no deep one
    between = table.loc["layers: between 1 and 4", "mean"]
    assert table["mean"].tolist() == pytest.approx([1, 1, between, 1 - between])
    assert between < 0.3 and table.loc["layers: first less third", "images_low"] > 0.5
