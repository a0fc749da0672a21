"""
Which images need few steps?
============================

A lattice has an answer after each of its steps. For many images the first or second
answer is right, and few images need all steps. ``halt`` lets each image stop when its
answer is sure enough.
"""

# %%
# A threshold that keeps 98 % of the accuracy
# -------------------------------------------
#
# A price for time makes early answers good. ``compact_every=None`` keeps all
# steps in training. ``halt`` chooses the threshold on images that the lattice was not
# trained on, and we try it on others.

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier
from growlattice.inspection import ExtremesDisplay, HaltingDisplay

digits = load_digits()
X, y = digits.images, digits.target
X_train, X, y_train, y = train_test_split(X, y, train_size=900, random_state=0)
X_halt, X_test, y_halt, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
clf = LatticeClassifier(
    max_layers=2,
    max_steps=6,
    time_pressure=0.2,
    compact_every=None,
    max_epochs=15,
    random_state=0,
)
clf.fit(X_train, y_train)


def score_and_seconds():
    start = time.perf_counter()
    accuracy = clf.score(X_test, y_test)
    return accuracy, time.perf_counter() - start


accuracy, seconds = score_and_seconds()
clf.halt(X_halt, y_halt)
halted_accuracy, halted_seconds = score_and_seconds()
print(f"all steps: accuracy {accuracy:.3f}, {1000 * seconds:.0f} ms")
print(f"halting:   accuracy {halted_accuracy:.3f}, {1000 * halted_seconds:.0f} ms")
print(f"steps run: {clf.steps_run(X_test).mean():.2f} of {clf.max_steps} on average")

# %%
# Steps against accuracy
# ----------------------
#
# Every threshold is a point on the red line, and the diamond is the chosen one. The
# grey points let all images run the same number of steps. To be as accurate, most
# images would run longer than they need.

HaltingDisplay.from_estimator(clf, X_test, y_test)

# %%
# The images that stop first and last
# -----------------------------------

steps = clf.steps_run(X_test)
ExtremesDisplay.from_predictions(X_test, steps, y_test, n_shown=10)

# %%
# How many images stop after each step, and how many of their answers are right?

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
right = clf.predict(X_test) == y_test
numbers = np.arange(1, clf.max_steps + 1)
ax.bar(numbers, [(steps == n).sum() for n in numbers], color="0.8", label="stop")
stop_right = [(right & (steps == n)).sum() for n in numbers]
ax.bar(numbers, stop_right, width=0.5, color="tab:red", label="with a right answer")
ax.set(xlabel="step", ylabel="images", yscale="symlog")
ax.legend(frameon=False)
plt.show()
