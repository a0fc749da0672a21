"""
How do I charge for energy or wiring?
=====================================

A cost of your own is a function of the lattice and of its output on a batch. It returns
one number, and PyTorch finds the gradient. Here activity costs energy, and recurrent
weights cost more if they reach further.
"""

# %%
# Two costs
# ---------
#
# ``output.activity`` has the mean activity of each image, step, layer and channel. The
# kernels are modules of the lattice: ``lateral`` has one for each layer, ``top_down``
# one for each but the top. A weight is charged its distance, in pixels, from the center
# of its kernel.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier

distance = torch.hypot(*torch.meshgrid(*[torch.arange(-1.0, 2.0)] * 2, indexing="ij"))


def energy(lattice, output):
    """Mean activity over images, steps, layers and channels."""
    return output.activity.mean()


def wiring(lattice, output):
    """Mean over recurrent weights of their size times the distance they reach."""
    kernels = [kernel.weight for kernel in [*lattice.lateral, *lattice.top_down]]
    reach = distance.to(kernels[0])
    lengths = sum((kernel.abs() * reach).sum() for kernel in kernels)
    return lengths / sum(kernel.numel() for kernel in kernels)


# %%
# Without a price, and with one
# -----------------------------
#
# A pressure of 0 records a cost without charging it. The history has a column for each.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
prices = {
    "free": [(energy, 0.0), (wiring, 0.0)],
    "energy": [(energy, 1.0), (wiring, 0.0)],
    "wiring": [(energy, 0.0), (wiring, 10.0)],
}
fitted = {}
for name, extra_costs in prices.items():
    clf = LatticeClassifier(
        extra_costs=extra_costs,
        max_channels=8,
        max_layers=2,
        max_steps=3,
        downsample=(2, 1),
        max_epochs=12,
        batch_size=64,
        random_state=0,
    )
    fitted[name] = clf.fit(X_train, y_train)
    last = clf.history_.iloc[-1]
    print(
        f"{name:7} accuracy {clf.score(X_test, y_test):.3f}, "
        f"energy {last['energy']:.4f}, wiring {last['wiring']:.4f}"
    )

# %%
# How the costs fall
# ------------------
#
# Extra prices rise between 10 % and 50 % of training, as all prices do.

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for ax, cost in zip(axes, ["energy", "wiring"], strict=True):
    for name, clf in fitted.items():
        ax.plot(clf.history_["epoch"], clf.history_[cost], label=f"price on {name}")
    ax.set(xlabel="epoch", ylabel=cost, ylim=(0, None))
axes[0].legend(["no price", "price on energy", "price on wiring"])

# %%
# What the price of wiring does to the kernels
# --------------------------------------------
#
# The pictures show the mean size of the lateral weights of layer 1, at each place in
# the kernel. Under a price of wiring, weights stay near the center.

figure, axes = plt.subplots(1, 2, figsize=(6, 2.6), layout="constrained")
for ax, name in zip(axes, ["free", "wiring"], strict=True):
    weight = fitted[name].lattice_.lateral[0].weight.detach().abs().mean(dim=(0, 1))
    picture = ax.imshow(weight.numpy(), vmin=0)
    ax.set(
        xticks=[], yticks=[], title="no price" if name == "free" else "price on wiring"
    )
    for (row, column), value in np.ndenumerate(weight.numpy()):
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", color="w")
plt.show()
