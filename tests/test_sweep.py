import json
import os

import numpy as np
import pandas as pd
import pytest

from growlattice import LatticeClassifier, read_sweep
from growlattice._persistence import read, write


@pytest.fixture
def swept(small, make_small, tmp_path):
    X, y = small
    fits = [
        make_small(memory=tmp_path, random_state=seed, time_pressure=pressure, max_epochs=2).fit(X, y)
        for pressure in (0.0, 1.0)
        for seed in (0, 1)
    ]
    return tmp_path, fits


def test_a_row_says_what_each_fit_came_to(swept, small):
    folder, fits = swept
    sweep = read_sweep(folder)
    assert len(sweep) == 4
    for (_, row), clf in zip(sweep.iterrows(), fits, strict=True):
        params = clf.get_params()
        assert {name: row[name] for name in ("time_pressure", "random_state", "max_channels", "device")} == {
            name: params[name] for name in ("time_pressure", "random_state", "max_channels", "device")
        }
        assert {name: row[name] for name in clf.costs_} == clf.costs_
        for name in ("time_used", "channels_used", "layers_used", "n_parameters", "macs_per_image"):
            assert row[name] == getattr(clf, f"{name}_")
        assert row["accuracy"] == clf.history_["accuracy"].iloc[-1]
        assert row["seconds"] == pytest.approx(clf.history_["dur"].sum())
        assert (row["n_images"], row["n_epochs"]) == (120, 2)
        assert pd.Timestamp.now("UTC") - row["finished"] < pd.Timedelta("1h")
        assert isinstance(row["trained_on"], str)
        loaded = row["load"](device="cpu")
        assert isinstance(loaded, LatticeClassifier)
        assert np.array_equal(loaded.predict_proba(small[0]), clf.predict_proba(small[0]))
    assert sweep["seed"].nunique() == 2
    assert sweep["finished"].is_monotonic_increasing


def test_an_empty_folder_is_an_empty_table_and_a_missing_one_is_named(tmp_path_factory, swept):
    swept_columns, tmp_path = read_sweep(swept[0]).columns, tmp_path_factory.mktemp("empty")
    assert len(read_sweep(tmp_path)) == 0
    assert set(swept_columns) == set(read_sweep(tmp_path).columns)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_sweep(tmp_path / "nowhere")


def test_a_folder_that_is_still_written_to_can_be_read(swept):
    folder, _ = swept
    names = sorted(os.listdir(folder))
    (folder / "unfinished.checkpoint").write_bytes(b"")
    (folder / f".{names[0]}.0.part").write_bytes(b"half")
    (folder / names[0]).write_bytes(b"cut")
    tensors, description = read(folder / names[1])
    write(folder / names[1], tensors, {name: part for name, part in description.items() if name != "record"})
    with pytest.warns(UserWarning) as caught:
        sweep = read_sweep(folder)
    assert len(sweep) == 2
    assert [name for name in names[:2] if any(name in str(warning.message) for warning in caught)] == names[:2]


def test_entries_say_nothing_of_the_machine_that_wrote_them(swept):
    folder, _ = swept
    for name in os.listdir(folder):
        assert str(folder) not in json.dumps(read(folder / name)[1])
