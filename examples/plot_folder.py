"""
How do I train on a folder of images?
=====================================

Give ``fit`` the paths of the image files. It reads them once, as bytes at one size, and
keeps none of them afterwards. Labels may be strings, such as the names of folders.
"""

# %%
# A folder
# --------
#
# We make one: cut-outs of scikit-learn's two photographs, of different sizes, as PNG
# files in a folder for each photograph.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier
from growlattice.inspection import ExtremesDisplay

folder = Path(tempfile.mkdtemp())
rng = np.random.default_rng(0)
for name in ("china", "flower"):
    photograph = Image.fromarray(load_sample_image(f"{name}.jpg"))
    (folder / name).mkdir()
    for number in range(200):
        side = int(rng.integers(40, 80))
        left = int(rng.integers(photograph.width - side))
        top = int(rng.integers(photograph.height - side))
        cut_out = photograph.crop((left, top, left + side, top + side))
        cut_out.save(folder / name / f"{number:03}.png")

# %%
# Paths and labels
# ----------------
#
# The name of a file's folder is its label. ``image_size`` resizes all images, with
# antialiasing.

paths = sorted(folder.glob("*/*.png"))
labels = [path.parent.name for path in paths]
train, test, y_train, y_test = train_test_split(
    paths, labels, stratify=labels, random_state=0
)
clf = LatticeClassifier(
    image_size=16,
    max_channels=6,
    max_layers=2,
    max_steps=3,
    downsample=2,
    time_pressure=0.2,
    max_epochs=10,
    random_state=0,
)
clf.fit(train, y_train)
print(f"accuracy on unseen cut-outs: {clf.score(test, y_test):.3f}")
print(f"images as the lattice sees them: {clf.image_shape_}")

# %%
# One file
# --------
#
# ``predict`` takes a list of paths too.

for path, probability in zip(test[:3], clf.predict_proba(test[:3]), strict=True):
    answer = clf.classes_[probability.argmax()]
    print(f"{path.parent.name}/{path.name}: {answer} ({probability.max():.2f})")

# %%
# Easy and hard ones
# ------------------
#
# These cut-outs take the least and the most time. To draw them, we resize them much as
# ``fit`` does.

pixels = np.array([np.asarray(Image.open(path).resize((16, 16))) for path in test])
ExtremesDisplay.from_predictions(pixels, clf.time_used(test), y_test, n_shown=8)
plt.show()
