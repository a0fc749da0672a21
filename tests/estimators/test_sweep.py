import json
import os
import pathlib
import struct

import numpy as np
import pandas as pd
import pytest

import growlattice
from growlattice import LatticeClassifier, forget, read_sweep
from growlattice._storage._file import pack, read, write
from growlattice._storage._key import code_version


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
    with pytest.raises(TypeError, match="not NoneType"):
        read_sweep(None)


def test_a_folder_that_is_still_written_to_can_be_read(swept):
    folder, _ = swept
    names = sorted(os.listdir(folder))
    (folder / "unfinished.checkpoint").write_bytes(b"")
    (folder / f".{names[0]}.0.part").write_bytes(b"half")
    (folder / names[0]).write_bytes(b"cut")
    tensors, description = read(folder / names[1])
    write(folder / names[1], pack(tensors, {name: part for name, part in description.items() if name != "record"}))
    with pytest.warns(UserWarning) as caught:
        sweep = read_sweep(folder)
    assert len(sweep) == 2
    assert [name for name in names[:2] if any(name in str(warning.message) for warning in caught)] == names[:2]


def test_entries_say_nothing_of_the_machine_that_wrote_them(swept):
    folder, _ = swept
    for name in os.listdir(folder):
        assert str(folder) not in json.dumps(read(folder / name)[1])


def test_a_row_says_which_code_trained_it(swept, small):
    folder, _ = swept
    sweep = read_sweep(folder)
    assert sweep["version"].tolist() == [growlattice.__version__] * 4
    assert sweep["code"].tolist() == [code_version()] * 4
    assert sweep["path"].tolist() == [row["load"].args[0] for _, row in sweep.iterrows()]
    path = sweep.loc[2, "path"]
    tensors, description = read(path)
    write(path, pack(tensors, {**description, "version": "0.0.1", "code": "f" * 32}))
    again = read_sweep(folder)
    assert again["version"].tolist() == [growlattice.__version__] * 2 + ["0.0.1", growlattice.__version__]
    assert again["code"].nunique() == 2
    assert len(forget(folder)) == 1 and len(read_sweep(folder)) == 3


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_only_headers_are_read(swept, small, damage):
    folder, fits = swept
    sweep = read_sweep(folder)
    content = bytearray(pathlib.Path(sweep.loc[1, "path"]).read_bytes())
    if damage == "cut":
        del content[8 + struct.unpack("<Q", content[:8])[0] :]
    else:
        content[-1] ^= 1
    pathlib.Path(sweep.loc[1, "path"]).write_bytes(content)
    again = read_sweep(folder)
    pd.testing.assert_frame_equal(again.drop(columns="load"), sweep.drop(columns="load"))
    with pytest.raises(ValueError, match="Cannot load"):
        again.loc[1, "load"]()
    assert np.array_equal(again.loc[0, "load"]().predict(small[0]), fits[0].predict(small[0]))


def test_models_that_were_saved_beside_are_left_out_with_a_warning(swept):
    folder, fits = swept
    fits[0].save(folder / "mine.safetensors")
    with pytest.warns(UserWarning, match="Left out. Cannot load .*mine.safetensors.*it has no record of a fit"):
        assert len(read_sweep(folder)) == 4
