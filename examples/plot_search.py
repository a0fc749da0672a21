"""
How do I search over prices with joblib, Dask or Optuna?
========================================================

Prices are parameters of the estimator, so any search can choose them. With ``memory``,
every fit stays in a folder. You can kill a search and start it again, and it trains
only what is missing.
"""

# %%
# A grid, on joblib
# -----------------
#
# ``resource_scorers`` measures accuracy before and after pruning, time used before it,
# and channels, layers and multiply-accumulates after it. ``cheapest`` picks the
# candidate with the fewest multiply-accumulates within two points of the best.
# ``n_jobs`` is the number of processes.

import tempfile
import time

import joblib
import optuna
import pandas as pd
from dask.distributed import Client
from optuna.samplers import TPESampler
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score

from growlattice import LatticeClassifier, read_sweep
from growlattice.inspection import ParetoDisplay
from growlattice.metrics import cheapest, pareto_front, resource_scorers

X, y = load_digits(n_class=5, return_X_y=True)
X, y = X[:400], y[:400]
folder = tempfile.mkdtemp()
clf = LatticeClassifier(
    max_channels=8,
    max_layers=2,
    max_steps=2,
    downsample=(2, 1),
    max_epochs=6,
    memory=folder,
    random_state=0,
)
search = GridSearchCV(
    clf,
    {"breadth_pressure": [1.0, 10.0], "time_pressure": [0.0, 1.0]},
    scoring=resource_scorers(),
    refit=cheapest("macs_per_image"),
    cv=2,
    n_jobs=1,
)


def seconds(fit):
    start = time.perf_counter()
    fit()
    return time.perf_counter() - start


print(f"a grid of 4 prices, 2 folds: {seconds(lambda: search.fit(X, y)):.1f} s")
print(f"picked: {search.best_params_}")

# %%
# What the search measured, as a table:

scores = ["accuracy", "accuracy_pruned", "time_used", "macs_per_image"]
results = pd.DataFrame(search.cv_results_)
prices = ["param_breadth_pressure", "param_time_pressure"]
means = results[[*prices, *(f"mean_test_{score}" for score in scores)]]
means.columns = ["breadth price", "time price", *scores]
print(means.round(3).to_string(index=False))

# %%
# The networks that no other beats:

front = pareto_front(means, minimize=["macs_per_image"], maximize=["accuracy_pruned"])
ParetoDisplay.from_frame(means, "macs_per_image", "accuracy_pruned", front)

# %%
# The same search again
# ---------------------
#
# All fits are in the folder. The search reads them, and only scores them again.

print(f"from the folder: {seconds(lambda: search.fit(X, y)):.1f} s")
print(f"lattices in the folder: {len(read_sweep(folder))}")

# %%
# On Dask
# -------
#
# joblib hands the fits to a Dask cluster. Here the cluster is this process. Elsewhere,
# give ``Client`` the address of a scheduler. The third price of time is new and is
# trained, and the other fits are read.

search.param_grid = {"breadth_pressure": [1.0, 10.0], "time_pressure": [0.0, 0.5, 1.0]}
client = Client(processes=False, n_workers=1, threads_per_worker=1)
with client, joblib.parallel_config(backend="dask"):
    print(f"6 prices on Dask: {seconds(lambda: search.fit(X, y)):.1f} s")
print(f"lattices in the folder: {len(read_sweep(folder))}")

# %%
# With Optuna
# -----------
#
# A study proposes prices on a logarithmic scale. It maximizes accuracy less a charge
# for the steps used. With a seeded sampler, a study that is started again proposes the
# same trials and finds them in the folder.


def accuracy_and_steps(clf, X, y):
    return clf.score(X, y) - 0.05 * clf.time_used(X).mean()


def objective(trial):
    lattice = LatticeClassifier(**clf.get_params()).set_params(
        breadth_pressure=trial.suggest_float("breadth_pressure", 0.1, 10, log=True),
        time_pressure=trial.suggest_float("time_pressure", 0.1, 3, log=True),
    )
    return cross_val_score(lattice, X, y, cv=2, scoring=accuracy_and_steps).mean()


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=0))
study.optimize(objective, n_trials=3)
for name, value in study.best_params.items():
    print(f"{name}: {value:.2f}")
