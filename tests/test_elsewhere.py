"""The lines of docs/elsewhere.rst, run as they stand there wherever the tool is installed."""

import ast
import copy
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import check_cv, cross_val_score

PAGE = Path(__file__).parents[1] / "docs" / "elsewhere.rst"
TITLE = re.compile(r"^(.+)\n([=~-])\2+\n", flags=re.MULTILINE)
CODE = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", flags=re.MULTILINE)

pytestmark = pytest.mark.filterwarnings("default")  # of other people's packages


def read_page():
    """The code under each title of the page that has any."""
    _, *parts = TITLE.split(PAGE.read_text())
    titles, texts = parts[::3], parts[2::3]
    code = {title: "".join(map(textwrap.dedent, CODE.findall(text))) for title, text in zip(titles, texts, strict=True)}
    return {title: lines for title, lines in code.items() if lines}


SECTIONS = read_page()
START = SECTIONS.pop("Deploy it, and use it with other tools")


def skip_unless_installed(code):
    for node in ast.walk(ast.parse(code)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            pytest.importorskip(name, exc_type=ImportError)


@pytest.fixture(scope="module")
def started():
    names = {"__name__": "elsewhere"}
    exec(compile(START, str(PAGE), "exec"), names)
    return names


@pytest.fixture
def run(started, tmp_path, monkeypatch):
    """Runs the code under a title in a folder of its own, and gives its names."""

    def run(title):
        skip_unless_installed(SECTIONS[title])
        monkeypatch.chdir(tmp_path)
        names = {**started, "clf": copy.deepcopy(started["clf"]), "fitted": started["clf"]}
        exec(compile(SECTIONS[title], str(PAGE), "exec"), names)
        return names

    return run


def write_photos(folder, n_images=20):
    """Digits 0 and 1 as files, in a folder for each, in two sizes."""
    images, targets = load_digits(n_class=2, return_X_y=True)
    for index, (row, target) in enumerate(zip(images[:n_images], targets, strict=False)):
        of_class = folder / "photos" / ("zero", "one")[target]
        of_class.mkdir(parents=True, exist_ok=True)
        pixels = np.kron((16 * row).reshape(8, 8).astype(np.uint8), np.ones((1 + index % 2,) * 2, dtype=np.uint8))
        Image.fromarray(pixels).save(of_class / f"{index}.png")


def same_predictions(names, loaded):
    X, clf = names["X_test"], names["clf"]
    return np.array_equal(loaded.predict_proba(X), clf.predict_proba(X))


@pytest.mark.skipif(torch.__version__ < "2.8", reason="torch.export fails in torch 2.6")
def test_torch_export_and_onnx(run):
    names = run("torch.export and ONNX")
    expected = names["clf"].predict_proba(names["X_test"])
    for found in (names["exported"].detach(), names["probabilities"]):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.array_equal(names["labels"], names["clf"].predict(names["X_test"]))


@pytest.mark.parametrize("tool", ["skops", "mlflow"])
def test_what_is_stored_predicts_the_same(run, tool):
    names = run(tool)
    assert same_predictions(names, names["loaded"])


def test_captums_attributions_add_up_to_the_rise_above_a_black_image(run):
    names = run("captum")
    log_probas, images, classes = names["clf"].lattice_.log_probas, names["images"], names["classes"]
    rise = (log_probas(images) - log_probas(0 * images)).gather(1, classes[:, None])[:, 0]
    np.testing.assert_allclose(names["attributions"].sum(dim=(1, 2, 3)), rise.detach(), rtol=0.05, atol=0.05)


def test_shaps_values_add_up_to_the_probabilities(run):
    names = run("shap")
    explanation = names["explanation"]
    assert explanation.values.shape == (2, 64, 10)
    total = explanation.base_values + explanation.values.sum(axis=1)
    np.testing.assert_allclose(total, names["clf"].predict_proba(names["X_test"][:2]), atol=1e-4)


def test_optuna(run):
    names = run("Optuna")
    assert len(names["study"].trials) == 3 and names["front"]
    assert all(0 <= accuracy <= 1 and macs > 0 for _, (accuracy, macs) in names["front"])


@pytest.mark.parametrize("tool", ["Dask", "Ray"])
def test_scores_of_a_cluster_are_those_of_one_thread(run, tool):
    names = run(tool)
    X, y, search = names["X_train"][:200], names["y_train"][:200], names["search"]
    folds = check_cv(2, y, classifier=True)
    for params, found in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        assert found == cross_val_score(clone(names["fitted"]).set_params(**params), X, y, cv=folds).mean()


def test_polars(run):
    names = run("polars")
    assert names["clf"].feature_names_in_.tolist() == names["frame"].columns
    assert same_predictions(names, names["fitted"])
    assert names["labels"]["digit"].to_list() == names["clf"].predict(names["frame"]).tolist()


def test_hugging_face_datasets(run):
    names = run("Hugging Face datasets")
    assert names["clf"].image_shape_ == (1, 8, 8)
    assert names["clf"].score(names["pictures"], names["y_train"]) > 0.5


def test_image_folder(run, tmp_path):
    write_photos(tmp_path)
    names = run("ImageFolder")
    assert names["clf"].classes_.tolist() == ["one", "zero"]
    assert names["clf"].image_shape_[1:] == (16, 16)
    assert names["clf"].predict(names["paths"]).shape == (20,)


def test_validation_images_go_through_a_pipeline(run):
    names = run("Validation images")
    assert names["curve"].notna().all(axis=None)
    lattice = names["model"][-1]
    last = lattice.history_.iloc[-1]
    assert last["valid_accuracy"] == pytest.approx(names["model"].score(names["X_val"], names["y_val"]))


def test_kornia_draws_for_each_image_and_is_reproducible(run):
    names = run("Augmentation, drawn for each image")
    clf, photographs = names["clf"], names["photographs"]
    first = clf.predict_proba(photographs)
    assert np.array_equal(clf.fit(photographs, names["y_train"]).predict_proba(photographs), first)
    assert not np.array_equal(names["fitted"].predict_proba(photographs), first)


def test_notebooks(run):
    names = run("Notebooks")
    assert "max_channels" in names["table"]
