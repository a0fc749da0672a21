"""The scripts of examples/experiments, at the scale that shows that they run."""

import os
import subprocess
import sys
from pathlib import Path

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
    "figure_4_digits": ([], {"figure_4_digits": (6, ["fill", "share", "rise", "low", "high", "n_seeds"])}),
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
            "figure_6_differences": (24, ["data", "less", "of", "difference", "low", "high"]),
        },
    ),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_leaves_its_figures_and_tables(script, tmp_path):
    figures, tables = SCRIPTS[script]
    command = [sys.executable, FOLDER / f"{script}.py", "--scale", "smoke", "--n-jobs", "1", "--device", "cpu"]
    environment = os.environ | {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [*command, "--out", tmp_path], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    for figure in figures:
        assert (tmp_path / f"{figure}.png").stat().st_size > 10_000
    for table, (n_rows, columns) in tables.items():
        frame = pd.read_csv(tmp_path / f"{table}.csv")
        assert len(frame) == n_rows, table
        assert set(columns) <= set(frame.columns), table
    assert any((tmp_path / "memory").glob("*.safetensors"))


def test_figure_5_takes_the_lattices_of_figure_3(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import figure_3
    import figure_5

    for scale, settings in figure_5.SETTINGS.items():
        assert set(settings["space"]) <= set(figure_3.SETTINGS[scale]["pressures"])
        assert 0.0 in settings["time"]
