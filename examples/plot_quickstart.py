"""
How large a network do handwritten digits need?
===============================================

A lattice may use up to 16 channels in each of 4 layers, over 4 recurrent steps.
``pressure_path`` trains it under prices, cuts it to several sizes and trains what is
left. We take the smallest network that is nearly as accurate as the best, and look at
what it is.
"""

# %%
# Networks of several sizes
# -------------------------
#
# ``pressure_path`` sets the prices of breadth and depth to 10. We add a price of time.
# Each line of the output is a network. ``keeps`` are the shares of the accuracy above
# chance that the cuts keep, before the networks train further without prices.
# ``downsample`` halves the resolution above the first convolution, which makes
# everything about four times cheaper.

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
X, X_test, y, y_test = train_test_split(X, y, test_size=500, stratify=y, random_state=0)
X, X_val, y, y_val = train_test_split(X, y, test_size=450, stratify=y, random_state=0)

clf = LatticeClassifier(
    time_pressure=0.2, downsample=(2, 1, 1, 1), max_epochs=12, random_state=0
)
path = pressure_path(
    clf, X, y, X_val, y_val, keeps=[0.9, 0.6], relax_epochs=8, verbose=1
)

# %%
# The front
# ---------
#
# For a network on the line, no other network is both cheaper and more accurate.

front = pareto_front(path, minimize=["macs_per_image"], maximize=["accuracy"])
ax = ParetoDisplay.from_frame(path, "macs_per_image", "accuracy", front).ax_
ax.set(xlabel="multiply-accumulates per image", ylabel="accuracy")

# %%
# The smallest that is nearly as good as the best
# -----------------------------------------------
#
# Validation images choose the network. Test images measure it, and are used for nothing
# else.

good = path[path["accuracy"] >= path["accuracy"].max() - 0.02]
priced = path["load"].iloc[0]()
small = good.sort_values("macs_per_image")["load"].iloc[0]()


def describe(clf):
    """Size of a network, and its accuracy and speed on the test images."""
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        clf.predict(X_test)
        seconds.append(time.perf_counter() - start)
    return {
        "accuracy": f"{clf.score(X_test, y_test):.3f}",
        "channels": ", ".join(map(str, clf.lattice_.channels_left)),
        "layers": clf.layers_used_,
        "steps": clf.lattice_.steps_left,
        "multiply-accumulates": f"{clf.macs_per_image_:,}",
        "milliseconds for 500 images": f"{1000 * np.median(seconds):.1f}",
    }


table = pd.DataFrame({"priced": describe(priced), "cut and relaxed": describe(small)})
print(table.to_string())

# %%
# Before and after
# ----------------
#
# Each cell is a channel, and brighter ones have larger weights. Channels are sorted in
# each layer. Those right of the red line are gone.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
MagnitudeDisplay.from_estimator(priced, ax=left)
MagnitudeDisplay.from_estimator(small, ax=right)
left.set_title("priced", loc="right")
right.set_title("cut and relaxed", loc="right")
figure.savefig("quickstart.png", dpi=120)
print("picture saved as quickstart.png")
