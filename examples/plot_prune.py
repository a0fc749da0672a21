"""
What a lattice uses, and how to cut it
======================================

Pressures push the weights of channels and layers that do not pay towards zero. Pruning
removes what is near zero. Here a lattice is fitted to handwritten digits under moderate
pressures, pruned, and looked at.
"""

# %%
# Fit under pressure, then prune
# ------------------------------
#
# Pruning keeps 98 % of the accuracy above chance on the images given, without further
# training. ``compact_every=None`` leaves it everything to remove; by default, training
# would already have dropped most of it on the way.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
clf = LatticeClassifier(
    breadth_pressure=1.0,
    depth_pressure=1.0,
    max_epochs=20,
    compact_every=None,
    random_state=0,
)
clf.fit(X_train, y_train)
full_accuracy, magnitude = clf.score(X_test, y_test), clf.channel_magnitude_

clf.prune(X_train, y_train)
print(clf.resources_.to_string())
print(
    f"accuracy on unseen images: {full_accuracy:.3f} before, "
    f"{clf.score(X_test, y_test):.3f} after"
)

# %%
# The pruning boundary
# --------------------
#
# Channels are sorted by magnitude in each layer. Those to the left of the red line
# survive.

order = np.argsort(-magnitude, axis=1)
n_layers, n_channels = magnitude.shape
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
picture = ax.imshow(
    np.take_along_axis(magnitude, order, axis=1),
    origin="lower",
    aspect="auto",
    extent=(0.5, n_channels + 0.5, 0.5, n_layers + 0.5),
    vmin=0,
)
figure.colorbar(picture, ax=ax, label="weight magnitude (1 = untrained)")
survivors = clf.channel_mask_.sum(axis=1)
edges = np.arange(n_layers + 1) + 0.5
ax.stairs(
    survivors + 0.5,
    edges,
    orientation="horizontal",
    baseline=None,
    color="red",
    linewidth=2,
)
ax.set(
    xlabel="channel, by rank",
    ylabel="layer",
    yticks=range(1, n_layers + 1),
    title="What pruning leaves",
)
plt.show()

# %%
# Cut deeper, then relax
# ----------------------
#
# A cut that keeps 60 % leaves a far smaller lattice, which has forgotten a lot.
# Training it without prices brings most of that back.

clf.prune(X_train, y_train, keep=0.6)
cut_accuracy = clf.score(X_test, y_test)
clf.relax(X_train, y_train, epochs=10)
print(clf.resources_.to_string())
print(
    f"accuracy on unseen images: {cut_accuracy:.3f} after the cut, "
    f"{clf.score(X_test, y_test):.3f} relaxed"
)
