"""Every model in a memory folder, as a table."""

import os
import warnings
from functools import partial

import pandas as pd

from .._storage._file import UnusableFile, read_description, unusable
from .._storage._fit import LOCAL, read_params
from .._storage._json import from_json
from .._storage._memory import FINISHED
from ._classifier import LatticeClassifier
from ._regressor import LatticeRegressor

ESTIMATORS = {"classification": LatticeClassifier, "regression": LatticeRegressor}
COLUMNS = (
    "estimator seed error breadth depth time time_used accuracy channels_used layers_used n_parameters macs_per_image "
    "n_images n_epochs seconds finished trained_on version code path load"
).split()


def read_sweep(folder):
    """Read what the finished fits of a memory folder came to.

    The folder may still be written to. Only the headers of the files are read. One that is damaged is left out, with a
    warning; damage to the weights of a lattice shows when it is loaded.

    Parameters
    ----------
    folder : str or os.PathLike
        What `memory` was for the fits.

    Returns
    -------
    DataFrame
        A row for each finished fit, in the order in which they finished. Columns: the parameters, with the names of
        those that are code, which files do not hold; the class, `estimator`; `seed`; on the training images, `accuracy`
        (`r2` of regressors) in the last epoch, while training, and after it the costs `error`, `breadth`, `depth` and
        `time`, and `time_used` in steps; the resources as `fit` left them, `channels_used`, `layers_used`,
        `n_parameters` and `macs_per_image`; `n_images`, `n_epochs`, `seconds` of training, `finished` (UTC) and
        `trained_on`; the `version` of growlattice and a digest of its numerical `code` that trained it, for fits of
        different code are not comparable; the `path` of the file; and `load`, which takes a device and returns the
        model, or refuses if a subclass of yours trained it: ask that to load the path.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    See Also
    --------
    growlattice.metrics.pareto_front : Marks the rows that no other row beats.
    growlattice.forget : Removes the files of other code.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from sklearn.datasets import load_digits
    >>> from growlattice import LatticeClassifier, read_sweep
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> folder = mkdtemp()
    >>> small = dict(max_channels=4, max_epochs=2, memory=folder, random_state=0)
    >>> for pressure in (0.0, 1.0):
    ...     clf = LatticeClassifier(time_pressure=pressure, **small).fit(X, y)
    >>> sweep = read_sweep(folder)
    >>> sweep["time_pressure"].tolist()
    [0.0, 1.0]
    >>> sweep.loc[0, "load"]().predict(X[:2])
    array([0, 1])
    """
    rows, folder = [], os.fspath(folder)  # os.listdir would take None for the current folder
    for name in sorted(os.listdir(folder)):
        if name.endswith(FINISHED):
            path = os.path.join(folder, name)
            try:
                rows.append(_row(path))
            except FileNotFoundError:
                continue  # set aside by a fit since it was listed
            except UnusableFile as error:
                warnings.warn(f"Left out. {error}", stacklevel=2)
    rows.sort(key=lambda row: (row["finished"], row["path"]))
    return pd.DataFrame(rows, columns=None if rows else sorted(set(LatticeClassifier().get_params()) - LOCAL) + COLUMNS)


def _row(path):
    description = read_description(path)
    try:
        record, config = from_json(description["record"]), from_json(description["config"])
        return {
            **read_params(description),
            **description["left_out"],
            "estimator": description["class"],
            "seed": description["seed"],
            **from_json(description["costs"]),
            "time_used": description["time_used"],
            **record,
            "finished": pd.to_datetime(record["finished"], utc=True),
            "version": description["version"],
            "code": description["code"],
            "path": path,
            "load": partial(ESTIMATORS[config["task"]].load, path),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"it has no record of a fit ({type(error).__name__}: {error})"
        raise unusable(path, why, advice="If save wrote it, load reads it.") from error
