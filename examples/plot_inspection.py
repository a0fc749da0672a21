"""
Does a lattice take longer for covered images?
==============================================

Displays show which channels and layers a fitted lattice uses, how many steps it uses
for which images, whether it uses more when an image is partly covered, and what in an
image its answer rests on. They work as scikit-learn's displays do: ``from_estimator``
computes and draws, and the attributes keep what was computed.
"""

# %%
# A lattice whose depth is in its time
# ------------------------------------
#
# With a single layer, more steps are the only way to compute more. Compaction is off,
# because it removes steps that no training image uses, and covered images may need
# them.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier
from growlattice.analysis import correlate, error_consistency
from growlattice.inspection import (
    AttributionDisplay,
    ExtremesDisplay,
    MagnitudeDisplay,
    OcclusionDisplay,
    TimeUsedDisplay,
)

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, random_state=0
)
clf = LatticeClassifier(
    max_layers=1,
    max_steps=6,
    breadth_pressure=0.1,
    time_pressure=0.2,
    compact_every=None,
    max_epochs=20,
    random_state=0,
)
clf.fit(X_train, y_train)
print(f"accuracy on unseen images: {clf.score(X_test, y_test):.3f}")
print(f"time used: {clf.time_used(X_test).mean():.2f} of {clf.max_steps} steps")

# %%
# How long, and for which images
# ------------------------------

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
TimeUsedDisplay.from_estimator(clf, X_test, ax=left)
by_class = TimeUsedDisplay.from_estimator(clf, X_test, y_test, ax=right)
print(by_class.mean_per_class.round(2).to_dict())

# %%
# The images that take least and most time, above their classes:

ExtremesDisplay.from_estimator(clf, X_test, y_test)

# %%
# Does it take longer where it is unsure? The entropy of its answer measures that, and
# the interval is a bootstrap over images. Give measures of people on the same images in
# the same way.

probas = clf.predict_proba(X_test)
entropy = -(probas * np.log(probas + 1e-12)).sum(axis=1)
found = correlate(clf.time_used(X_test), entropy, random_state=0)
print(f"rank correlation: {found.statistic:.2f} [{found.low:.2f}, {found.high:.2f}]")

# %%
# Covered images
# --------------
#
# Patches cover a growing share of each image, which training has never seen.

OcclusionDisplay.from_estimator(clf, X_test, random_state=0)

# %%
# What the answer rests on
# ------------------------
#
# Each patch of two by two pixels is covered in turn. Where the probability of the
# answer drops, the patch mattered.

AttributionDisplay.from_estimator(clf, X_test[:6], patch_size=2)

# %%
# What it is made of, and what pruning leaves
# -------------------------------------------

magnitude = clf.channel_magnitude_
right_before = clf.predict(X_test) == y_test
clf.prune(X_train, y_train, trim_steps=False)
MagnitudeDisplay(magnitude, clf.channel_mask_).plot()

# %%
# Does the pruned lattice err on the same images? Cohen's kappa of what both get right
# is 1 if it does, and 0 if they share no more errors than by chance:

right_after = clf.predict(X_test) == y_test
print(f"accuracy: {right_before.mean():.3f}, pruned {right_after.mean():.3f}")
print(f"error consistency: {error_consistency(right_before, right_after):.2f}")
