"""
How does a lattice grow?
========================

Here a lattice begins small. Training extends it where its edge is in use, and prices
take back what is not worth its price. Growing is experimental: see
:doc:`/concepts/growing`.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from skorch.callbacks import Callback

from growlattice import LatticeClassifier

X, y = load_digits(n_class=5, return_X_y=True)
X_train, y_train, X_test, y_test = X[:400], y[:400], X[400:], y[400:]

# %%
# A callback keeps the magnitude of every channel after each epoch. The start is 4
# channels in 1 layer for 1 step; the bounds are 16 channels, 4 layers and 4 steps.


class KeepMagnitudes(Callback):
    def on_train_begin(self, net, **kwargs):
        self.kept = []

    def on_epoch_end(self, net, **kwargs):
        magnitude = net.module_.channel_magnitude().detach().numpy()
        self.kept.append(magnitude.copy())


keep = KeepMagnitudes()
clf = LatticeClassifier(
    grow_from=(4, 1, 1),
    max_channels=16,
    max_layers=4,
    max_steps=4,
    breadth_pressure=2,
    depth_pressure=2,
    time_pressure=0.1,
    max_epochs=20,
    callbacks=[keep],
    random_state=0,
).fit(X_train, y_train)
print(f"accuracy {clf.score(X_test, y_test):.3f}")

# %%
# Each picture is the lattice after an epoch. Layers go from the bottom up, and channels
# from left to right. Brighter channels have larger weights. New channels come in at
# about 1.

epochs = [1, 3, 5, 7, 9, 12, 16, 20]
_, axes = plt.subplots(1, len(epochs), figsize=(12, 1.8), layout="constrained")
for ax, epoch in zip(axes, epochs, strict=True):
    ax.imshow(keep.kept[epoch - 1], origin="lower", aspect="auto", vmin=0, vmax=2)
    ax.set(title=f"epoch {epoch}", xticks=[], yticks=[])
axes[0].set(ylabel="layer", xlabel="channel")
plt.show()

# %%
# The size by epoch. Channels are those of all layers together:

_, ax = plt.subplots(figsize=(6, 3), layout="constrained")
clf.history_.plot("epoch", ["channels", "layers", "steps"], ax=ax, logy=True)
ax.set(ylabel="how many")
plt.show()

# %%
# What was added when, with the statistic that decided, and its bar:

columns = ["epoch", "resource", "layer", "before", "after", "statistic", "bar"]
print(clf.growth_[columns].round(2).to_string(index=False))
