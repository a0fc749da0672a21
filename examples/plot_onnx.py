"""
How do I deploy a lattice with ONNX?
====================================

A fitted lattice is a torch module. As an ONNX file, it runs without Python and PyTorch,
on servers, phones and in browsers. We make it small, export it, and check that it gives
the same answers.
"""

# %%
# A small lattice
# ---------------
#
# Export comes last: what ``prune`` removed is not in the file.

import os
import tempfile
import time

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
clf = LatticeClassifier(
    breadth_pressure=3.0,
    depth_pressure=3.0,
    max_channels=8,
    max_layers=2,
    max_steps=2,
    downsample=(2, 1),
    max_epochs=12,
    random_state=0,
)
clf.fit(X_train, y_train)
clf.prune(X_train, y_train, keep=0.8).relax(X_train, y_train, epochs=4)
print(f"channels left by layer: {clf.lattice_.channels_left}")

# %%
# Export
# ------
#
# The model takes images of shape (n_images, channels, height, width) in the units that
# ``fit`` had. The number of images is free.


class LogProbas(torch.nn.Module):
    def __init__(self, lattice):
        super().__init__()
        self.lattice = lattice

    def forward(self, images):
        return self.lattice.log_probas(images)


folder = tempfile.mkdtemp()
path = os.path.join(folder, "digits.onnx")
images = X_test.reshape(-1, 1, 8, 8).astype("float32")
program = torch.onnx.export(
    LogProbas(clf.lattice_).eval(),
    (torch.from_numpy(images[:2]),),
    dynamic_shapes=({0: torch.export.Dim("n_images")},),
    dynamo=True,
    verbose=False,
)
program.save(path)
print(f"size of the file: {os.path.getsize(path) / 1e3:.0f} kB")

# %%
# Run
# ---
#
# Everything below needs onnxruntime and NumPy alone.

session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
(log_probas,) = session.run(None, {name: images})
answers = clf.classes_[log_probas.argmax(axis=1)]
print(
    f"accuracy: {np.mean(answers == y_test):.3f}, here {clf.score(X_test, y_test):.3f}"
)
difference = abs(np.exp(log_probas) - clf.predict_proba(X_test)).max()
print(f"largest difference of a probability: {difference:.1e}")

# %%
# How fast
# --------
#
# A runtime gains most with one image at a time. There is little to compute, and the
# overhead of Python counts.


def milliseconds(predict, n_images):
    predict(n_images)
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        predict(n_images)
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds))


sizes = [1, 10, 100]
ways = {
    "predict_proba": lambda n: clf.predict_proba(X_test[:n]),
    "onnxruntime": lambda n: session.run(None, {name: images[:n]}),
}
figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for label, predict in ways.items():
    ax.plot(sizes, [milliseconds(predict, n) for n in sizes], "o-", label=label)
ax.set(xscale="log", yscale="log", xlabel="images in a call", ylabel="milliseconds")
ax.legend()
plt.show()
