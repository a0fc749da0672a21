import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

from growlattice import LatticeClassifier, read_sweep

# --- attributes ---


def test_attributes_describe_the_fitted_lattice(small, make_small):
    X, y = small
    clf = make_small(time_pressure=0.1).fit(X, y)
    assert clf.n_features_in_ == 64
    assert clf.image_shape_ == (1, 8, 8)
    assert clf.device_ == "cpu"
    assert clf.channel_magnitude_.shape == (2, 4)
    n_numbers = sum(tensor.numel() for tensor in clf.lattice_.state_dict().values())
    assert clf.n_parameters_ == n_numbers - 2 - 1 - 3 - 8 - 3  # pixels, norm of scores, shares of steps, both masks
    assert clf.time_used_ == pytest.approx(clf.time_used(X).mean(), rel=1e-5)
    assert set(clf.costs_) == {"error", "breadth", "depth", "time"}
    truth = clf.predict_proba(X)[np.arange(len(y)), y]
    assert clf.costs_["error"] == pytest.approx(-np.log(truth).mean() / np.log(2), rel=1e-4)
    assert clf.costs_["time"] == pytest.approx(clf.time_used_ / 4)


def test_history_has_a_row_for_each_epoch(small, make_small):
    history = make_small(max_epochs=3).fit(*small).history_
    assert set(history) == {
        "epoch", "relaxing", "compiled", "accuracy", "train_loss", "error", "breadth", "depth", "time", "time_used",
        "macs_per_image", "train_macs", "dur", "channels", "layers", "steps",
    }  # fmt: skip
    assert history["epoch"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(history["time_used"], 4 * history["time"], rtol=1e-6)
    assert history.drop(columns="dur").notna().all(axis=None)


def test_verbose_prints_a_line_for_each_epoch(small, make_small, capsys):
    make_small(verbose=1, max_epochs=3).fit(*small)
    header, _, *lines = capsys.readouterr().out.strip().splitlines()
    columns = "epoch accuracy breadth channels depth error layers macs_per_image steps time time_used dur"
    assert header.split() == columns.split()
    assert len(lines) == 3
    make_small(max_epochs=1).fit(*small)
    assert capsys.readouterr().out == ""


# --- forms in which a fit is kept ---


def test_code_is_left_out_of_a_file_with_a_warning(small, make_small, tmp_path):
    clf = make_small(max_epochs=1, augment=lambda images: images).fit(*small)
    with pytest.warns(UserWarning, match="Not saved, because they are code or hold it: augment"):
        clf.save(tmp_path / "clf")
    with pytest.warns(UserWarning, match="Not in the file, because they are code or hold it: augment"):
        assert LatticeClassifier.load(tmp_path / "clf").augment is None


class Contrary(LatticeClassifier):
    def predict(self, X):
        return -super().predict(X)


def test_a_file_of_a_subclass_is_not_read_as_another(small, make_small, tmp_path):
    clf = Contrary(**make_small(max_epochs=1, memory=tmp_path).get_params()).fit(*small)
    clf.save(tmp_path / "clf")
    with pytest.raises(ValueError, match="it holds a Contrary. Use load of Contrary, not of LatticeClassifier"):
        LatticeClassifier.load(tmp_path / "clf")
    assert np.array_equal(Contrary.load(tmp_path / "clf").predict(small[0]), clf.predict(small[0]))
    (row,) = read_sweep(tmp_path).to_dict("records")
    assert row["estimator"] == "Contrary"
    with pytest.raises(ValueError, match="Use load of Contrary"):
        row["load"]()


def mirrored(images):
    return images.flip(-1)


def test_a_sweep_names_parameters_that_are_code(small, make_small, tmp_path):
    for augment in (None, mirrored):
        make_small(max_epochs=1, augment=augment, memory=tmp_path).fit(*small)
    sweep = read_sweep(tmp_path)
    assert sweep["augment"].fillna("none").tolist() == ["none", "mirrored"]
    with pytest.warns(UserWarning, match="Not in the file, because they are code or hold it: augment"):
        sweep["load"].iloc[1]()


def test_an_unfitted_classifier_cannot_be_saved(tmp_path):
    with pytest.raises(Exception, match="not fitted yet"):
        LatticeClassifier().save(tmp_path / "clf")
    assert not (tmp_path / "clf").exists()


@pytest.mark.parametrize("bad", [dict(max_channels=-1), dict(n_threads=2**31 - 1)])
def test_what_could_not_be_loaded_is_not_saved(small, make_small, tmp_path, bad):
    clf = make_small(max_epochs=1).fit(*small).set_params(**bad)
    with pytest.raises(ValueError, match=next(iter(bad))):
        clf.save(tmp_path / "clf")
    assert not (tmp_path / "clf").exists()


def test_a_device_that_is_not_there_is_named(small, make_small, tmp_path):
    make_small(max_epochs=1).fit(*small).save(tmp_path / "clf")
    with pytest.raises(ValueError, match="device='cuda:99' cannot be used here"):
        LatticeClassifier.load(tmp_path / "clf", device="cuda:99")


def test_a_pickle_is_parameters_and_the_bytes_of_a_file(small, make_small, tmp_path):
    X, y = small
    clf = make_small(max_epochs=1, augment=torch.neg).fit(X, y)
    state = clf.__getstate__()
    assert state.keys() == {*clf.get_params(), "_fit_bytes"}
    assert isinstance(state["_fit_bytes"], bytes) and state["augment"] is torch.neg
    clf.set_params(augment=None).save(tmp_path / "clf")
    assert len(pickle.dumps(clf)) < 1.2 * (tmp_path / "clf").stat().st_size + 2000
    assert make_small().__getstate__().keys() == set(clf.get_params())


def test_a_pickle_from_a_machine_with_a_gpu_loads_without_one(small, make_small, monkeypatch):
    X, y = small
    clf = make_small(max_epochs=1, device="cpu").fit(X, y)
    state = {**clf.__getstate__(), "device": "cuda:0"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    loaded = LatticeClassifier.__new__(LatticeClassifier)
    with pytest.warns(UserWarning, match="device='cuda:0' cannot be used here.*LatticeClassifier is now 'cpu'"):
        loaded.__setstate__(state)
    assert (loaded.device, loaded.device_) == ("cpu", "cpu")
    assert np.array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    loaded.partial_fit(X, y)
    assert "_fit_bytes" in state


def test_copies_share_or_own_the_lattice(small, make_small):
    X, y = small
    clf = make_small(max_epochs=1).fit(X, y)
    shallow, deep = copy.copy(clf), copy.deepcopy(clf)
    assert shallow.lattice_ is clf.lattice_ and shallow is not clf
    assert deep.lattice_ is not clf.lattice_
    for copied in (shallow, deep):
        assert np.array_equal(copied.predict_proba(X), clf.predict_proba(X))
    before = clf.predict_proba(X)
    deep.partial_fit(X, y)
    shallow.partial_fit(X, y)
    shallow.set_params(lr=0.5)
    assert np.array_equal(clf.predict_proba(X), before) and clf.lr != 0.5


def test_skops_needs_to_trust_one_type(small, make_small):
    X, y = small
    clf = make_small(time_pressure=0.5, max_epochs=2).fit(X, y)
    content = skops.io.dumps(clf)
    name = "growlattice.LatticeClassifier"
    assert skops.io.get_untrusted_types(data=content) == [name]
    loaded = skops.io.loads(content, trusted=[name])
    assert np.array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    assert loaded.get_params() == clf.get_params() and loaded.costs_ == clf.costs_
    pd.testing.assert_frame_equal(loaded.history_, clf.history_)
