"""CIFAR-10H: what people see in the test images of CIFAR-10, and how long they take."""

import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import entr
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from ._cifar10 import CIFAR10_NAMES
from ._files import check_keys, check_there, damage_refused, ensure_file, load, read_array

COUNTS_URL = "https://raw.githubusercontent.com/jcpeterson/cifar-10h/master/data/cifar10h-counts.npy"
LAYOUT = "an .npz file with counts (integers, (n_images, 10), at least one answer in each row)"
TRIAL_COLUMNS = ["is_attn_check", "cifar10_test_test_idx", "reaction_time"]
DESCRIPTION = """\
CIFAR-10H: what people see in the test images of CIFAR-10
---------------------------------------------------------
What: for each of CIFAR-10's test images, in their order, how many people chose each of its ten classes.
Sizes: 10,000 images of 47 to 63 answers, about 51 on average.
Origin: 2,571 people on Amazon Mechanical Turk, who answered 200 images and 10 attention checks each. The raw trials
are of all of them; the counts leave a few people out.
Licence: CC BY-NC-SA 4.0.
Citation: Peterson, J. C., Battleday, R. M., Griffiths, T. L. and Russakovsky, O. (2019). Human uncertainty makes
classification more robust. Proceedings of the IEEE/CVF International Conference on Computer Vision, 9617-9626.
"""


def _check_counts(counts):
    """Refuse counts that are not integers of shape (n_images, 10), none negative, with an answer for each image."""
    if counts.dtype.kind not in "iu":
        raise ValueError(f"counts has dtype {counts.dtype}, but integers were expected")
    if counts.shape[1:] != (len(CIFAR10_NAMES),) or counts.shape[0] == 0:
        raise ValueError(f"counts has shape {counts.shape}, but (n_images, 10) with n_images >= 1 was expected")
    if counts.min() < 0:
        raise ValueError(f"counts goes down to {counts.min()}, but numbers of answers were expected")
    if not counts.any(axis=1).all():
        raise ValueError(f"row {counts.any(axis=1).argmin()} of counts holds no answer, but at least one was expected")


def _read_counts(archive):
    """Read the counts of answers, int64 of shape (n_images, 10), from an open .npz archive."""
    check_keys(archive, ("counts",))
    counts = read_array(archive, "counts")
    _check_counts(counts)
    return counts.astype(np.int64)


def _download_counts(folder):
    """Download CIFAR-10H's counts of answers into a folder and return them."""
    from torchvision.datasets.utils import download_url

    download_url(COUNTS_URL, folder, "counts.npy")
    content = np.load(Path(folder) / "counts.npy", allow_pickle=False)
    counts = content.astype(np.int64)
    if not np.array_equal(content, counts):
        raise ValueError("what came are no whole numbers")
    _check_counts(counts)
    return {"counts": counts}


@contextmanager
def _opened_csv(path):
    """Open a .csv file, or the only one in a zip file."""
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        # macOS adds a twin of each file
        names = [name for name in archive.namelist() if name.endswith(".csv") and not name.startswith("__MACOSX/")]
        if len(names) != 1:
            raise ValueError(f"it holds {len(names)} .csv files, but one was expected")
        with archive.open(names[0]) as file:
            yield file


def _summarize_trials(trials, n_images):
    """Median and mean reaction time of each image's trials, without attention checks and faulty records."""
    trials = trials[trials["is_attn_check"] == 0]
    image, time = trials["cifar10_test_test_idx"], trials["reaction_time"]
    if trials.empty:
        raise ValueError("it holds no trials but attention checks")
    if not image.isin(range(n_images)).all():
        raise ValueError(
            f"cifar10_test_test_idx goes from {image.min():g} to {image.max():g} outside attention checks, but "
            f"integers from 0 to {n_images - 1} were expected"
        )
    times = time[(time > 0) & np.isfinite(time)].groupby(image).agg(["median", "mean"]).reindex(range(n_images))
    return {"reaction_time": times["median"].to_numpy(), "mean_reaction_time": times["mean"].to_numpy()}


def _read_reaction_times(path, n_images):
    """Read the raw trials of CIFAR-10H, or say what is wrong with them.

    Returns
    -------
    dict
        `reaction_time` and `mean_reaction_time`, each of shape (n_images,), in milliseconds.
    """
    advice = f". Give CIFAR-10H's cifar10h-raw.zip or cifar10h-raw.csv, with the columns {', '.join(TRIAL_COLUMNS)}."
    with damage_refused(f"raw_trials={str(path)!r}", advice), _opened_csv(path) as file:
        return _summarize_trials(pd.read_csv(file, usecols=TRIAL_COLUMNS, dtype=np.float64), n_images)


def fetch_cifar10h(*, data_home=None, raw_trials=None, download_if_missing=True):
    """Load CIFAR-10H, how people classified the 10,000 test images of CIFAR-10.

    The data are read from `cifar10h.npz` in the data folder, which is downloaded through torchvision if it is not
    there. Row i of every array is about image i of ``fetch_cifar10(subset="test")``.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of the file. By default :func:`sklearn.datasets.get_data_home` says: `SCIKIT_LEARN_DATA` in the
        environment, or `~/scikit_learn_data`.
    raw_trials : str or path-like, default=None
        CIFAR-10H's `cifar10h-raw.zip` or the `cifar10h-raw.csv` in it, for reaction times. It is read each time.
    download_if_missing : bool, default=True
        If False, a missing file is an error instead.

    Returns
    -------
    dataset : :class:`sklearn.utils.Bunch`
        With the attributes

        counts : ndarray of int64 of shape (n_images, 10)
            Number of people who chose each class.
        probabilities : ndarray of float64 of shape (n_images, 10)
            Their shares; each row sums to 1.
        entropy : ndarray of float64 of shape (n_images,)
            Entropy of the shares in nats: from 0, all agree, to log(10).
        reaction_time, mean_reaction_time : ndarray of float64 of shape (n_images,)
            Median and mean reaction time in milliseconds, only if `raw_trials` is given. Attention checks are left
            out, and so are times that are not above 0, of which the official file has a few; nan where no trial is
            left. Long pauses move the mean much more than the median.
        target_names : ndarray of str of shape (10,)
            Names of the classes.
        frame : :class:`pandas.DataFrame`
            A row for each image, with the columns `entropy`, `n_answers`, `label`, the class that most people chose
            (the first of equals, as an index into `target_names`), and, if `raw_trials` is given, `reaction_time` and
            `mean_reaction_time`. The true classes are those of :func:`fetch_cifar10`.
        DESCR : str
            Origin, sizes, licence and citation.

    Raises
    ------
    ValueError
        If the file or `raw_trials` is damaged or not that of CIFAR-10H.
    OSError
        If the file is not there and is not to be downloaded, or cannot be, or if `raw_trials` is not there.

    References
    ----------
    Peterson, Battleday, Griffiths and Russakovsky (2019). Human uncertainty makes classification more robust.
    Proceedings of the IEEE/CVF International Conference on Computer Vision, 9617-9626.

    Examples
    --------
    A file put there by hand is read like the one that is downloaded, and may hold fewer images:

    >>> import numpy as np, tempfile
    >>> cat = [0, 0, 0, 50, 0, 0, 0, 0, 0, 0]
    >>> airplane_or_ship = [25, 0, 0, 0, 0, 0, 0, 0, 25, 0]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/cifar10h.npz", counts=[cat, airplane_or_ship])
    ...     people = fetch_cifar10h(data_home=folder)
    >>> people.frame.round(3)
       entropy  n_answers  label
    0    0.000         50      3
    1    0.693         50      0
    """
    if raw_trials is not None:
        check_there("raw_trials", raw_trials)
    path = Path(get_data_home(data_home)) / "cifar10h.npz"
    ensure_file(path, "CIFAR-10H", LAYOUT, _download_counts, download_if_missing)
    counts = load(path, _read_counts)
    n_answers = counts.sum(axis=1)
    probabilities = counts / n_answers[:, None]
    entropy = entr(probabilities).sum(axis=1)
    times = {} if raw_trials is None else _read_reaction_times(raw_trials, len(counts))
    return Bunch(
        counts=counts,
        probabilities=probabilities,
        entropy=entropy,
        **times,
        target_names=np.array(CIFAR10_NAMES),
        frame=pd.DataFrame({"entropy": entropy, "n_answers": n_answers, "label": counts.argmax(axis=1), **times}),
        DESCR=DESCRIPTION,
    )
