import json

import numpy as np
import pandas as pd
import pytest

from growlattice import LatticeClassifier
from growlattice._storage._file import FORMAT, digest_of, pack, read, tensors_to_bytes, write


@pytest.fixture(scope="module")
def fitted():
    """A small fitted classifier of a table, with labels and names of columns, and its X."""
    rng = np.random.RandomState(0)
    X = pd.DataFrame(rng.rand(40, 3), columns=["length", "width", "height"])
    y = np.where(X["length"] > 0.5, "long", "short")
    clf = LatticeClassifier(
        max_channels=3, max_layers=2, max_steps=2, max_epochs=2, class_weight={"long": 2, "short": 1.5}
    )
    return clf.set_params(random_state=0, annealing=(0.2, 0.6)).fit(X, y), X


@pytest.fixture
def saved(fitted, tmp_path):
    path = tmp_path / "clf.safetensors"
    fitted[0].save(path)
    return path


@pytest.fixture
def assert_equal_models():
    def check(one, other, X):
        assert np.array_equal(one.predict_proba(X), other.predict_proba(X))
        assert np.array_equal(one.predict(X), other.predict(X))
        assert np.array_equal(one.time_weights(X), other.time_weights(X))
        assert {**one.get_params(), "device": None} == {**other.get_params(), "device": None}
        assert one.costs_ == other.costs_ and one.time_used_ == other.time_used_
        assert one.n_features_in_ == other.n_features_in_
        pd.testing.assert_frame_equal(one.history_, other.history_)

    return check


@pytest.fixture
def rewrite():
    """Writes a file whose digests are right, as an attacker could, with something in it changed."""

    def rewritten(path, change_tensors=None, change_description=None, **header):
        tensors, description = read(path)
        for change, target in ((change_tensors, tensors), (change_description, description)):
            if change is not None:
                change(target)
        if not header:
            write(path, pack(tensors, description))
            return
        text, versions = header.get("description", json.dumps(description)), "{}"
        digests = {"header_digest": digest_of({}, text, versions), "digest": digest_of(tensors, text, versions)}
        full = {"format": str(FORMAT), "versions": versions, "description": text, **digests}
        write(path, tensors_to_bytes(tensors, {**full, **header}))

    return rewritten
