"""
What in an image does an answer rest on?
========================================

There are two ways to ask. Occlusion covers each place in turn, and needs only
predictions. Integrated gradients, from captum, need gradients, which a fitted lattice
has as a torch module.
"""

# %%
# A lattice to explain
# --------------------

import matplotlib.pyplot as plt
import numpy as np
import torch
from captum.attr import IntegratedGradients
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier
from growlattice.inspection import (
    AttributionDisplay,
    attribution_entropy,
    attribution_map,
)

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, stratify=digits.target, random_state=0
)
clf = LatticeClassifier(
    max_channels=8,
    max_layers=2,
    max_steps=3,
    downsample=(2, 1),
    max_epochs=12,
    random_state=0,
)
clf.fit(X_train, y_train)
print(f"accuracy on unseen images: {clf.score(X_test, y_test):.3f}")

# %%
# By occlusion
# ------------
#
# Each patch of two by two pixels is covered in turn. Where the probability of the
# answer drops, the patch mattered.

first = [int(np.flatnonzero(y_test == label)[0]) for label in range(6)]
images = X_test[first]
AttributionDisplay.from_estimator(clf, images, patch_size=2)

# %%
# The entropy of a map says how spread out it is: 1 is the same everywhere.

maps = attribution_map(clf, images, patch_size=2)
print("entropy:", *(f"{entropy:.2f}" for entropy in attribution_entropy(maps)))

# %%
# By gradients
# ------------
#
# ``lattice_.log_probas`` takes a tensor of images in the units of X and returns the
# log-probabilities of the classes. Red pixels speak for the answer and blue ones
# against it. They are compared with a black image.

tensor = torch.from_numpy(images).float().unsqueeze(1)  # (n_images, 1, height, width)
answers = torch.from_numpy(clf.predict(images))
gradients = IntegratedGradients(clf.lattice_.log_probas)
attributions = gradients.attribute(tensor, target=answers, n_steps=30)

figure, axes = plt.subplots(2, 6, figsize=(9, 3.2), layout="constrained")
for column, (image, attribution) in enumerate(
    zip(images, attributions.detach().numpy()[:, 0], strict=True)
):
    limit = abs(attribution).max()
    axes[0, column].imshow(image, cmap="gray")
    axes[0, column].set_title(f"answer {answers[column]}")
    axes[1, column].imshow(attribution, cmap="RdBu_r", vmin=-limit, vmax=limit)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
plt.show()
