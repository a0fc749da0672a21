"""What users get wrong: each a clear error or the documented result, and never a half-fitted estimator."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import sparse
from skorch.callbacks import Callback


def with_value(X, value):
    X = X.astype(float)
    X[3, 5] = value
    return X


def vector_cost(lattice, output):
    return output.activity.mean(dim=0)


BAD_X = {
    "NaN": (lambda X: with_value(X, np.nan), ValueError, "Input X contains NaN"),
    "infinity": (lambda X: with_value(X, np.inf), ValueError, "Input X contains infinity"),
    "complex": (lambda X: X + 1j, ValueError, "Complex data not supported"),
    "sparse": (sparse.csr_array, TypeError, "Sparse data was passed"),
    "objects": (lambda X: np.where(X > 15, {}, X), TypeError, "argument must be a string or a real number"),
    "one axis": (lambda X: X[:, 0], ValueError, "Expected 2D array, got 1D array"),
    "zero rows": (lambda X: X[:0], ValueError, "Found array with 0 sample"),
    "zero images": (lambda X: X[:0].reshape(0, 8, 8), ValueError, "Found array with 0 sample"),
    "NaN in images": (lambda X: with_value(X, np.nan).reshape(-1, 8, 8), ValueError, "Input contains NaN"),
    "two channels": (lambda X: np.zeros((len(X), 8, 8, 2)), ValueError, "images need 1, 3 or 4 channels"),
    "seven channels": (lambda X: np.zeros((len(X), 8, 8, 7)), ValueError, "images need 1, 3 or 4 channels"),
    "five axes": (lambda X: X.reshape(-1, 2, 2, 4, 4), ValueError, "X has 5 axes. Give an array"),
    "fewer rows": (lambda X: X[:-1], ValueError, "inconsistent numbers of samples"),
    "mixed sizes": (
        lambda X: [Image.new("L", (8, 8 + row % 2)) for row in range(len(X))],
        ValueError,
        "Images differ in size",
    ),
    "unreadable files": (lambda X: [__file__] * len(X), ValueError, "Cannot read the image .*test_parameters.py"),
    "missing files": (lambda X: [f"no/such/{row}.png" for row in range(len(X))], ValueError, "no/such/0.png"),
}


@pytest.mark.parametrize("kind", BAD_X)
def test_bad_X(small, make_small, kind):
    X, y = small
    spoil, error, message = BAD_X[kind]
    clf = make_small()
    with pytest.raises(error, match=message):
        clf.fit(spoil(X), y)
    assert vars(clf) == vars(make_small())
    clf.fit(X, y)
    before = clf.predict_proba(X)
    with pytest.raises(error, match=message):
        clf.fit(spoil(X), y)
    assert np.array_equal(clf.predict_proba(X), before)


BAD_Y = {
    "continuous": (lambda y: y + 0.5 * np.random.RandomState(0).rand(len(y)), "Unknown label type: continuous"),
    "NaN": (lambda y: np.where(y, np.nan, 0.0), "Input y contains NaN"),
    "missing": (lambda y: None, "requires y to be passed"),
    "longer": (lambda y: np.append(y, 1), "inconsistent numbers of samples"),
    "two columns": (lambda y: np.column_stack([y, y]), "should be a 1d array"),
}


@pytest.mark.parametrize("kind", BAD_Y)
def test_bad_y(small, make_small, kind):
    X, y = small
    spoil, message = BAD_Y[kind]
    clf = make_small()
    with pytest.raises(ValueError, match=message):
        clf.fit(X, spoil(y))
    assert vars(clf) == vars(make_small())


@pytest.mark.parametrize(
    "weights, message",
    [
        (np.zeros(120), "zero"),
        (-np.ones(120), "Negative values"),
        (np.full(120, np.nan), "NaN"),
        (np.ones(7), r"sample_weight|inconsistent"),
    ],
)
def test_bad_sample_weight(small, make_small, weights, message):
    clf = make_small()
    with pytest.raises(ValueError, match=message):
        clf.fit(*small, sample_weight=weights)
    assert vars(clf) == vars(make_small())


BAD_PARAMETERS = {
    "max_channels": [0, 2.5],
    "max_layers": [0],
    "max_steps": [-1],
    "kernel_size": [0, 2],
    "downsample": [0, -1, 2.0, "2", (), (1, 0), (1, 2.0), (2,), (1, 1, 1), 9, (4, 3)],
    "breadth_pressure": [-1.0, np.nan, np.inf],
    "depth_pressure": [-1.0, np.nan],
    "time_pressure": [-1.0, np.nan, "high"],
    "time_selection": ["both"],
    "annealing": [(0.5, 0.1), (0.1,), (0.0, np.nan), (-1, 1), ("a", 1)],
    "max_epochs": [0],
    "batch_size": [0],
    "lr": [0.0, np.nan, np.inf],
    "noise": [-0.1, np.inf],
    "temperature": [0.0, np.inf],
    "image_shape": [(8, 8), (1, 8, 0), (1, 8.0, 8)],
    "image_size": [0, (8,), (8, 0)],
    "extra_costs": [
        [vector_cost],
        [(vector_cost, -1.0)],
        [(vector_cost, np.nan)],
        [("cost", 1.0)],
        [(vector_cost, 1.0)],
    ],
    "augment": ["flip"],
    "device": ["cuda:99", "gpu", "meta"],
    "precision": ["float16"],
    "compile": ["always", 2],
    "n_threads": [0, 1.5, "all", 1025, 2**31 - 1],
    "verbose": [2, -1, "yes"],
    "class_weight": ["even", {0: 0, 1: 0}, {0: np.nan, 1: 1.0}, {0: -1, 1: 1}],
    "callbacks": [[3], ["EarlyStopping"]],
    "random_state": ["seed"],
}


@pytest.mark.parametrize("name, value", [(name, value) for name, values in BAD_PARAMETERS.items() for value in values])
def test_bad_parameters_are_named(small, make_small, name, value):
    clf = make_small(**{name: value})
    before = vars(clf).copy()
    with pytest.raises(ValueError, match=name if value != [(vector_cost, 1.0)] else "vector_cost.*Return a scalar"):
        clf.fit(*small)
    assert vars(clf) == before


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_weights_that_break_in_the_last_batch_are_found(small, make_small, method):
    clf = make_small(lr=1e38, max_epochs=1, batch_size=120)
    with pytest.raises(ValueError, match="broke down in epoch 1"):
        getattr(clf, method)(*small)
    assert vars(clf) == vars(make_small(lr=1e38, max_epochs=1, batch_size=120))


def test_an_extra_cost_that_is_not_finite_is_named(small, make_small):
    def energy(lattice, output):
        return output.activity.mean() / 0

    with pytest.raises(ValueError, match="energy=(nan|inf)"):
        make_small(extra_costs=[(energy, 0.1)]).fit(*small)


def test_items_that_are_no_images_are_named(make_small, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "0.png")
    with pytest.raises(ValueError, match="Item 1 of X is nan. Give a PIL image or a path"):
        make_small().fit([str(tmp_path / "0.png"), np.nan], [0, 1])


def test_images_without_pixels(make_small):
    with pytest.raises(ValueError, match="without pixels"):
        make_small().fit(np.zeros((4, 8, 0)), [0, 1, 0, 1])


def test_balance_needs_all_data(small, make_small):
    with pytest.raises(ValueError, match="class_weight='balanced' does not work with partial_fit"):
        make_small(class_weight="balanced").partial_fit(*small)


def test_image_shape_that_does_not_multiply_out(small, make_small):
    with pytest.raises(ValueError, match=r"image_shape=\(3, 32, 32\) holds 3072 values, but X has 64 features"):
        make_small(image_shape=(3, 32, 32)).fit(*small)


def test_image_shape_that_is_not_that_of_the_images(random_images, make_small):
    images, y = random_images
    with pytest.raises(ValueError, match=r"X holds images of shape \(3, 6, 5\), but image_shape=\(1, 8, 8\)"):
        make_small(image_shape=(1, 8, 8)).fit(images, y)


def test_rows_that_are_no_image_cannot_be_resized(make_small, small):
    X, y = small
    with pytest.raises(ValueError, match="image_size=4 cannot resize rows of 63 features"):
        make_small(image_size=4).fit(X[:, :63], y)


def test_another_number_of_features_at_predict(small, make_small):
    X, y = small
    clf = make_small().fit(X, y)
    with pytest.raises(ValueError, match="X has 63 features, but LatticeClassifier is expecting 64 features"):
        clf.predict(X[:, :63])
    with pytest.raises(ValueError, match=r"images of shape \(1, 4, 16\), but LatticeClassifier was fitted on images"):
        clf.predict(X.reshape(-1, 4, 16))
    with pytest.raises(ValueError, match="63 features"):
        clf.partial_fit(X[:, :63], y)


def test_another_number_of_features_with_warm_start(small, make_small):
    X, y = small
    clf = make_small(warm_start=True).fit(X, y)
    before = clf.predict_proba(X)
    with pytest.raises(ValueError, match="63 features"):
        clf.fit(X[:, :63], y)
    assert np.array_equal(clf.predict_proba(X), before)


def test_a_loss_that_is_not_finite_stops_with_epoch_and_remedy(small, make_small):
    X, y = small
    clf = make_small(lr=1e30)
    with pytest.raises(ValueError, match=r"broke down in epoch [12]: .* Lower lr \(now 1e\+30\)"):
        clf.fit(X, y)
    assert vars(clf) == vars(make_small(lr=1e30))


class Interrupt(Callback):
    """A Ctrl-C in the second epoch."""

    def on_batch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt


def test_an_interrupted_fit_raises_and_leaves_no_fit(small, make_small):
    X, y = small
    clf = make_small(callbacks=[Interrupt()])
    before = vars(clf).copy()
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)
    assert vars(clf) == before


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_interrupted_continuation_leaves_the_last_fit(small, make_small, method):
    X, y = small
    clf = make_small(warm_start=True).fit(X, y)
    weights = {name: weight.clone() for name, weight in clf.lattice_.state_dict().items()}

    def interrupt(images):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        getattr(clf.set_params(augment=interrupt), method)(X, y)
    assert len(clf.history_) == 4
    assert all(torch.equal(weight, weights[name]) for name, weight in clf.lattice_.state_dict().items())
