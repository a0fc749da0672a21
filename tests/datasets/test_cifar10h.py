import zipfile
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy
from sklearn.utils import Bunch

from growlattice.datasets import _cifar10h, fetch_cifar10, fetch_cifar10h

from .conftest import CASES, npy_bytes, real_file, write_zip

COUNTS = np.array(
    [
        [0, 1, 1, 48, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 52, 0],
        [3, 0, 0, 0, 0, 0, 0, 0, 3, 0],
        [5] * 10,
    ],
    dtype=np.uint8,
)
# image, attention check, milliseconds
TRIALS = [
    (0, 0, 1000),
    (0, 0, 3000.5),
    (0, 0, 2000),
    (0, 0, -5),
    (0, 0, 0),
    (-99999, 1, 77),
    (0, 1, 99999),
    (3, 0, 800),
    (3, 0, 900),
    (1, 0, -1),
    (1, 0, np.inf),
]


def store_counts(folder, counts=COUNTS, **others):
    path = folder / "cifar10h.npz"
    np.savez(path, counts=counts, **others)
    return path


def trials_csv(trials=TRIALS, columns=("cifar10_test_test_idx", "is_attn_check", "reaction_time")):
    frame = pd.DataFrame(trials, columns=columns).assign(annotator_id=3, true_category="cat", time_elapsed=5)
    return frame.to_csv(index=False).encode()


def test_counts_become_probabilities_and_entropy(tmp_path):
    store_counts(tmp_path)
    people = fetch_cifar10h(data_home=tmp_path)
    assert isinstance(people, Bunch)
    assert set(people) == {"counts", "probabilities", "entropy", "target_names", "frame", "DESCR"}
    assert people.counts.dtype == np.int64 and np.array_equal(people.counts, COUNTS)
    assert np.allclose(people.probabilities, [row / sum(row) for row in COUNTS.astype(float)], rtol=1e-14)
    assert np.allclose(people.entropy, entropy(COUNTS.astype(float), axis=1), rtol=1e-12, atol=1e-15)
    assert people.entropy[1] == 0 and people.entropy[2] == pytest.approx(np.log(2))
    assert people.entropy[3] == pytest.approx(np.log(10))
    assert people.target_names.tolist() == CASES["cifar10"].names
    for word in ("What:", "Origin:", "Sizes:", "CC BY-NC-SA 4.0", "Peterson", "2019"):
        assert word in people.DESCR


def test_the_frame_has_a_row_for_each_image(tmp_path):
    store_counts(tmp_path)
    people = fetch_cifar10h(data_home=tmp_path)
    assert list(people.frame) == ["entropy", "n_answers", "label"]
    assert people.frame.index.tolist() == [0, 1, 2, 3]
    assert people.frame["n_answers"].tolist() == [51, 52, 6, 50]
    assert people.frame["label"].tolist() == [3, 8, 0, 0]
    assert np.array_equal(people.frame["entropy"], people.entropy)


@pytest.mark.parametrize("zipped", [False, True])
def test_reaction_times_are_those_of_the_trials_of_each_image(zipped, tmp_path):
    store_counts(tmp_path)
    if zipped:
        # as macOS makes it
        files = {"cifar10h-raw.csv": trials_csv(), "__MACOSX/._cifar10h-raw.csv": b"\0"}
        raw_trials = write_zip(tmp_path / "raw.zip", files, prefix="")
    else:
        raw_trials = tmp_path / "raw.csv"
        raw_trials.write_bytes(trials_csv())
    people = fetch_cifar10h(data_home=tmp_path, raw_trials=raw_trials)
    nan = np.nan
    assert np.array_equal(people.reaction_time, [2000, nan, nan, 850], equal_nan=True)
    assert np.array_equal(people.mean_reaction_time, [6000.5 / 3, nan, nan, 850], equal_nan=True)
    assert list(people.frame)[3:] == ["reaction_time", "mean_reaction_time"]
    for name in ("reaction_time", "mean_reaction_time"):
        assert np.array_equal(people.frame[name], people[name], equal_nan=True)


WRONG_TRIALS = {
    "a missing column": (trials_csv(columns=("image", "is_attn_check", "reaction_time")), "cifar10_test_test_idx"),
    "an image too high": (trials_csv([(4, 0, 900)]), "cifar10_test_test_idx goes from 4 to 4 .* from 0 to 3"),
    "an image below 0": (trials_csv([(-1, 0, 900), (2, 0, 900)]), "goes from -1 to 2"),
    "half an image": (trials_csv([(0.5, 0, 900)]), "goes from 0.5 to 0.5 .* but integers"),
    "no image": (trials_csv([(None, 0, 900), (1, 0, 800)]), "cifar10_test_test_idx goes from 1 to 1"),
    "times as text": (trials_csv([(1, 0, "fast")]), "could not convert string to float: 'fast'"),
    "nothing but checks": (trials_csv([(1, 1, 900)]), "no trials but attention checks"),
    "an empty file": (b"", "No columns to parse"),
    "no text": (bytes(range(128, 256)), "can't decode"),
}


@pytest.mark.parametrize("content, problem", WRONG_TRIALS.values(), ids=WRONG_TRIALS)
def test_wrong_trials_are_refused(content, problem, tmp_path):
    store_counts(tmp_path)
    path = tmp_path / "raw.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=problem) as caught:
        fetch_cifar10h(data_home=tmp_path, raw_trials=path)
    assert str(caught.value).startswith(f"raw_trials={str(path)!r} cannot be used: ")
    assert "cifar10h-raw.zip" in str(caught.value) and "reaction_time" in str(caught.value)


@pytest.mark.parametrize("files, n", [({"a.txt": b""}, 0), ({"a.csv": b"", "b.csv": b""}, 2)])
def test_a_zip_file_needs_one_table(files, n, tmp_path):
    store_counts(tmp_path)
    with pytest.raises(ValueError, match=f"it holds {n} .csv files, but one was expected"):
        fetch_cifar10h(data_home=tmp_path, raw_trials=write_zip(tmp_path / "raw.zip", files))


def test_a_flipped_byte_in_zipped_trials_is_refused(tmp_path):
    store_counts(tmp_path)
    path = tmp_path / "raw.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("raw.csv", trials_csv())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"3000.5", b"3001.5"))
    with pytest.raises(ValueError, match="Bad CRC-32"):
        fetch_cifar10h(data_home=tmp_path, raw_trials=path)


def test_trials_that_are_not_there_are_named_before_anything_is_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"raw_trials='.*gone.csv' is not there"):
        fetch_cifar10h(data_home=tmp_path, raw_trials=tmp_path / "gone.csv")


WRONG_COUNTS = {
    "shares": (COUNTS / 50, "counts has dtype float64, but integers"),
    "pickled": (COUNTS.astype(object), "counts cannot be read .*Object arrays"),
    "nine classes": (COUNTS[:, 1:], r"counts has shape \(4, 9\), but \(n_images, 10\)"),
    "one row": (COUNTS[0], r"counts has shape \(10,\)"),
    "no images": (COUNTS[:0], r"counts has shape \(0, 10\)"),
    "negative": (COUNTS.astype(int) - 1, "counts goes down to -1"),
    "an image without answers": (COUNTS * np.array([[1], [0], [1], [1]], np.uint8), "row 1 of counts holds no answer"),
}


@pytest.mark.parametrize("counts, problem", WRONG_COUNTS.values(), ids=WRONG_COUNTS)
def test_wrong_counts_are_refused(counts, problem, tmp_path):
    path = store_counts(tmp_path, counts)
    with pytest.raises(ValueError, match=problem) as caught:
        fetch_cifar10h(data_home=tmp_path)
    assert str(caught.value).startswith(f"{path} cannot be used: ")
    assert "delete it to have it downloaded again" in str(caught.value)


def test_a_file_without_counts_or_with_damage_is_refused(tmp_path):
    path = tmp_path / "cifar10h.npz"
    np.savez(path, probs=COUNTS)
    with pytest.raises(ValueError, match="it lacks counts; an .npz file with counts was expected"):
        fetch_cifar10h(data_home=tmp_path)
    content = store_counts(tmp_path).read_bytes()
    path.write_bytes(content.replace(COUNTS.tobytes(), COUNTS[::-1].tobytes()))
    with pytest.raises(ValueError, match="Bad CRC-32"):
        fetch_cifar10h(data_home=tmp_path)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="not a zip file"):
        fetch_cifar10h(data_home=tmp_path)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float64"])
def test_counts_are_downloaded_once(dtype, install_url, tmp_path):
    calls = install_url(npy_bytes(COUNTS.astype(dtype)))
    for _ in range(2):
        people = fetch_cifar10h(data_home=tmp_path / "home")
        assert np.array_equal(people.counts, COUNTS)
        assert [path.name for path in (tmp_path / "home").iterdir()] == ["cifar10h.npz"]
    assert [url for url, *_ in calls] == [_cifar10h.COUNTS_URL]
    assert fetch_cifar10h(data_home=tmp_path / "home", download_if_missing=False).counts.dtype == np.int64


@pytest.mark.parametrize(
    "content, failure",
    [
        (b"half of it", URLError("no network")),
        (b"404: Not Found", None),
        (npy_bytes(COUNTS)[:-1], None),
        (npy_bytes(COUNTS / 50), None),
        (npy_bytes(COUNTS + 0.5), None),
        (npy_bytes(COUNTS.T), None),
    ],
)
def test_a_failed_download_of_counts_says_what_to_do_and_leaves_nothing(content, failure, install_url, tmp_path):
    install_url(content, failure)
    with pytest.raises(OSError, match="CIFAR-10H could not be downloaded") as caught:
        fetch_cifar10h(data_home=tmp_path)
    assert str(tmp_path / "cifar10h.npz") in str(caught.value)
    assert r"an .npz file with counts (integers, (n_images, 10)" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_missing_counts_that_are_not_to_be_downloaded_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="cifar10h.npz is not there.*counts"):
        fetch_cifar10h(data_home=tmp_path, download_if_missing=False)


def test_the_real_counts_are_of_the_test_images_of_cifar10_in_their_order():
    real_file("cifar10h.npz")
    people = fetch_cifar10h(download_if_missing=False)
    assert people.counts.shape == (10000, 10)
    assert (people.frame["n_answers"].min(), people.frame["n_answers"].max()) == (47, 63)
    assert round(people.frame["n_answers"].mean()) == 51
    assert "47 to 63 answers, about 51" in people.DESCR
    real_file("cifar10.npz")
    _, target = fetch_cifar10(subset="test", download_if_missing=False, return_X_y=True)
    assert 0.99 < np.mean(people.frame["label"] == target) < 1
