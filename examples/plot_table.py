"""
Does a lattice work on a table?
===============================

Yes, but simpler models are as good. A row of a table becomes an image of one pixel,
with a channel for each feature. The lattice is then a small recurrent network, and
works in pipelines as any classifier does. Here it is compared with two methods that one
would try first.
"""

# %%
# Three models
# ------------
#
# Breast cancer data: 569 patients, 30 features. The lattice is at the end of a pipeline
# that fills in missing values.

import time

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from growlattice import LatticeClassifier
from growlattice.inspection import TimeUsedDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
lattice = LatticeClassifier(
    breadth_pressure=1.0,
    time_pressure=0.2,
    max_channels=8,
    max_layers=2,
    max_epochs=20,
    random_state=0,
)
models = {
    "lattice": make_pipeline(SimpleImputer(), lattice),
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
    "gradient boosting": HistGradientBoostingClassifier(max_iter=50, random_state=0),
}
rows = {}
for name, model in models.items():
    start = time.perf_counter()
    scores = cross_validate(model, X, y, cv=3)["test_score"]
    rows[name] = {
        "accuracy": scores.mean(),
        "lowest": scores.min(),
        "highest": scores.max(),
        "seconds": time.perf_counter() - start,
    }
table = pd.DataFrame(rows).T
print(table.round(3).to_string())

# %%
# When to take a lattice
# ----------------------
#
# The bars are the lowest and highest of the three folds. Linear models and boosting
# train faster. On tables, take a lattice to study how its size and time follow from
# prices, and not for accuracy alone.

figure, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
spread = [table["accuracy"] - table["lowest"], table["highest"] - table["accuracy"]]
ax.errorbar(table["accuracy"], table.index, xerr=spread, fmt="o", capsize=4)
ax.set(xlabel="accuracy on held-out patients")
ax.margins(y=0.3)

# %%
# Which patients need time?
# -------------------------
#
# Steps are chosen for each row, as for each image.

model = models["lattice"].fit(X, y)
images = model[:-1].transform(X)
TimeUsedDisplay.from_estimator(model[-1], images, y)
print(f"what the lattice took a row for: {model[-1].image_shape_}")
plt.show()
