"""
How do I fit a lattice and look at it?
======================================

You fit a lattice like any other classifier of scikit-learn. Afterwards it tells you
what it has kept, and how many steps it uses for each image.
"""

# %%
# Fit and score
# -------------
#
# The lattice may use up to 10 channels in each of 3 layers, over 4 steps. Training
# drops what is not worth its price.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier
from growlattice.inspection import ExtremesDisplay, MagnitudeDisplay, TimeUsedDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
clf = LatticeClassifier(
    max_channels=10,
    max_layers=3,
    breadth_pressure=3.0,
    depth_pressure=3.0,
    time_pressure=0.2,
    downsample=(2, 1, 1),
    max_epochs=12,
    random_state=0,
)
clf.fit(X_train, y_train)
print(f"accuracy on unseen images: {clf.score(X_test, y_test):.3f}")
print(f"channels left by layer:    {clf.lattice_.channels_left}")
print(f"steps used:                {clf.time_used(X_test).mean():.2f} of 4")

# %%
# How training went
# -----------------
#
# The prices rise between 10 % and 50 % of training. The lattice then uses fewer steps
# and channels, and an image costs fewer multiply-accumulates.

history = clf.history_.set_index("epoch")
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
columns = {
    "accuracy": "training accuracy",
    "time_used": "steps used",
    "macs_per_image": "multiply-accumulates",
}
for ax, (column, label) in zip(axes, columns.items(), strict=True):
    history[column].plot(ax=ax)
    ax.set_title(label, loc="left")
    ax.set_xlabel("epoch")
axes[2].set_ylim(bottom=0)

# %%
# What is left
# ------------
#
# Each cell is a channel. Its color is the size of its weights, as a multiple of those
# of a fresh channel in a lattice of the default size.

MagnitudeDisplay.from_estimator(clf)

# %%
# How many steps an image uses
# ----------------------------
#
# The lattice weights the answers after its steps, for each image anew. The mean step
# under these weights is the time that the image uses.

TimeUsedDisplay.from_estimator(clf, X_test, y_test)

# %%
# The images that use the least and the most time, with their labels:

ExtremesDisplay.from_estimator(clf, X_test.reshape(-1, 8, 8), y_test)
