"""
By what angle is a digit turned?
================================

A lattice can answer with numbers as well as with classes. Here digits are turned by up
to 45 degrees to either side, and a lattice says by how much. With a price of time, we
see how good the answer is after each step, and which images take long.
"""

# %%
# Turned digits
# -------------
#
# Angles and predictions are in degrees. The lattice standardizes numbers inside.

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split

from growlattice import LatticeRegressor
from growlattice.inspection import ExtremesDisplay

digits = load_digits()
angles = np.random.RandomState(0).uniform(-45, 45, len(digits.images))
turned = map(partial(rotate, reshape=False, order=1), digits.images, angles)
images = np.array(list(turned))
X_train, X_test, y_train, y_test = train_test_split(images, angles, random_state=0)

# %%
# The lattice
# -----------
#
# Layers 2 and 3 see the images at half and a quarter of their resolution, which makes
# the lattice faster.

reg = LatticeRegressor(
    time_pressure=0.05,
    max_channels=12,
    max_layers=3,
    max_steps=3,
    downsample=(1, 2, 2),
    max_epochs=10,
    random_state=0,
)
reg.fit(X_train, y_train)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot([-45, 45], [-45, 45], color="0.7", linewidth=1)
left.scatter(y_test, reg.predict(X_test), s=8, alpha=0.5)
left.set(xlabel="angle (degrees)", ylabel="predicted angle (degrees)", aspect="equal")
left.set_title(f"R2 = {reg.score(X_test, y_test):.3f}", loc="left")
errors = [mean_absolute_error(y_test, stage) for stage in reg.staged_predict(X_test)]
right.bar(range(1, len(errors) + 1), errors, color="0.8", label="answer of the step")
error = mean_absolute_error(y_test, reg.predict(X_test))
right.axhline(error, color="tab:red", label="mean by time-selection weights")
right.set(xlabel="step", ylabel="mean absolute error (degrees)")
right.set_xticks(range(1, len(errors) + 1))
right.legend()
plt.show()

# %%
# Which images take long
# ----------------------
#
# The images that take the least time and those that take the most, with their angles:

labels = [f"{angle:.0f}°" for angle in y_test]
ExtremesDisplay.from_estimator(reg, X_test, labels)
plt.show()
