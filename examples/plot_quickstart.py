"""
How large a network do handwritten digits need?
===============================================

A lattice may use up to 16 channels in each of 4 layers, over 4 recurrent steps. Here a
path of prices trains it, prices it, cuts it at several depths and trains what is left.
That gives networks of many sizes. We take the smallest that is nearly as accurate as
the best, and look at what it is.
"""

# %%
# A path of prices
# ----------------
#
# The prices of breadth and depth rise along the path; time has a price of its own. Each
# row of the table is a network: ``keep`` is the share of its accuracy that the cut left
# before the network was trained further without prices.

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier, pressure_path
from growlattice.inspection import MagnitudeDisplay, ParetoDisplay
from growlattice.metrics import pareto_front

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=400, stratify=y, random_state=0)
X, X_val, y, y_val = train_test_split(X, y, test_size=400, stratify=y, random_state=0)

clf = LatticeClassifier(time_pressure=0.2, max_epochs=20, random_state=0)
path = pressure_path(
    clf,
    X,
    y,
    X_val,
    y_val,
    pressures=[3.0, 10.0],
    keeps=[0.9, 0.6, 0.3, 0.15],
    relax_epochs=10,
    verbose=1,
)
columns = [
    "breadth_pressure",
    "keep",
    "accuracy",
    "channels",
    "steps",
    "macs_per_image",
]
print(path[columns].round(3).to_string(index=False))

# %%
# The smallest that is nearly as good as the best
# -----------------------------------------------
#
# Validation images choose; the test images have seen neither training nor choice.

good = path[path["accuracy"] >= path["accuracy"].max() - 0.02]
large, small = (
    path["load"].iloc[0](),
    good.sort_values("macs_per_image")["load"].iloc[0](),
)


def describe(clf):
    """What a network is, and how good and how fast, on images that it has not seen."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        clf.predict(X_test)
        seconds.append(time.perf_counter() - start)
    return {
        "accuracy": round(clf.score(X_test, y_test), 3),
        "channels": clf.lattice_.channels_left,
        "steps": clf.lattice_.steps_left,
        "multiply-accumulates": f"{clf.macs_per_image_:,}",
        "ms for 400 images": round(1000 * float(np.median(seconds)), 1),
    }


table = pd.DataFrame({"priced": describe(large), "cut and relaxed": describe(small)})
print(table.to_string())

# %%
# Looked at
# ---------
#
# Left: every network of the path, and those that no other beats. Right: the weight that
# is left, by layer and channel, of the lattice as it was priced.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
front = pareto_front(path, minimize=["macs_per_image"], maximize=["accuracy"])
ParetoDisplay.from_frame(path, "macs_per_image", "accuracy", front, ax=left)
left.set(xscale="log", xlabel="multiply-accumulates per image", ylabel="accuracy")
MagnitudeDisplay.from_estimator(large, ax=right)
figure.savefig("quickstart.png", dpi=120)
print("picture saved as quickstart.png")
