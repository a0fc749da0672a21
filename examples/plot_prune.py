"""
How small can I cut a lattice?
==============================

Prices push the weights of channels and layers that are not worth their price towards
zero. ``prune`` cuts what is near zero. ``relax`` then trains what is left without
prices, so you can cut far deeper.
"""

# %%
# Fit under prices
# ----------------
#
# ``compact_every=None`` keeps everything in training, so there is something to cut. By
# default, training already drops most of it.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier
from growlattice.inspection import MagnitudeDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
clf = LatticeClassifier(
    max_channels=12,
    max_layers=3,
    max_steps=3,
    breadth_pressure=2.0,
    depth_pressure=2.0,
    downsample=(2, 1, 1),
    max_epochs=10,
    compact_every=None,
    random_state=0,
)
clf.fit(X_train, y_train)
magnitude = clf.channel_magnitude_


def describe(clf):
    return {
        "accuracy on unseen images": f"{clf.score(X_test, y_test):.3f}",
        "channels": ", ".join(map(str, clf.lattice_.channels_left)),
        "steps": clf.lattice_.steps_left,
        "multiply-accumulates": clf.macs_per_image_,
    }


stages = {"fitted": describe(clf)}

# %%
# Cut without loss
# ----------------
#
# By default, ``prune`` keeps 98 % of the accuracy above chance on the images given. The
# channels left of the red line survive.

clf.prune(X_train, y_train)
stages["pruned, keep=0.98"] = describe(clf)
MagnitudeDisplay(magnitude, clf.channel_mask_).plot()

# %%
# Cut deep, then relax
# --------------------
#
# A cut that keeps 50 % leaves a far smaller lattice, which is much less accurate.
# Training it without prices brings most of the accuracy back.

clf.prune(X_train, y_train, keep=0.5)
stages["pruned, keep=0.5"] = describe(clf)
clf.relax(X_train, y_train, epochs=6)
stages["relaxed"] = describe(clf)
print(pd.DataFrame(stages).T.to_string())

# %%
# Accuracy and cost of each stage
# -------------------------------

accuracy = [float(stage["accuracy on unseen images"]) for stage in stages.values()]
macs = [stage["multiply-accumulates"] for stage in stages.values()]
figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
ax.plot(macs, accuracy, "o-", color="tab:blue")
for name, x, height in zip(stages, macs, accuracy, strict=True):
    ax.annotate(name, (x, height), xytext=(5, -12), textcoords="offset points")
ax.set(xlabel="multiply-accumulates per image", ylabel="accuracy")
ax.margins(x=0.2, y=0.2)
plt.show()
