"""A fit through LatticeClassifier against a bare, hand-written PyTorch loop of the same network.

    python benchmarks/bare_loop.py [--repeats 5]

The two alternate in one run; the ratio of medians is reported with the spread of the paired ratios. The bare network
shares no code with the package: it is what somebody would write who needs this one network once, with the same
initialization scale, batches, noise, schedule, fused AdamW and a running loss and accuracy.
"""

import argparse
import math
import time

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from growlattice import LatticeClassifier


class BareNetwork(nn.Module):
    def __init__(self, n_inputs, n_classes, n_channels=16, n_layers=4, n_steps=4):
        super().__init__()
        self.n_layers, self.n_steps = n_layers, n_steps

        def conv(bias=False):
            layer = nn.Conv2d(n_channels, n_channels, 3, padding=1, bias=bias)
            nn.init.normal_(layer.weight, 0, (9 * n_channels) ** -0.5)
            return layer

        self.first = nn.Conv2d(n_inputs, n_channels, 3, padding=1)
        self.up = nn.ModuleList(conv(bias=True) for _ in range(n_layers))
        self.side = nn.ModuleList(conv() for _ in range(n_layers))
        self.down = nn.ModuleList(conv() for _ in range(n_layers - 1))
        self.out = nn.Linear(n_layers * n_channels, n_classes)
        self.pick = nn.Sequential(nn.Linear(n_layers * n_channels, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x, noise):
        def normalize(d):
            return d / (1 + d.abs().mean(dim=1, keepdim=True))

        bottom = normalize(self.up[0](self.first(x)))
        h, a_before, zs = [0] * self.n_layers, None, []
        for _ in range(self.n_steps):
            a = []
            for i in range(self.n_layers):
                d = bottom if i == 0 else normalize(self.up[i](a[i - 1]))
                if a_before is not None:
                    r = self.side[i](a_before[i])
                    if i + 1 < self.n_layers:
                        r = r + self.down[i](a_before[i + 1])
                    d = d + normalize(r)
                if noise:
                    d = d + noise * torch.randn_like(d)
                h[i] = h[i] + d
                a.append(h[i].relu())
            a_before = a
            zs.append(torch.cat([layer.mean(dim=(2, 3)) for layer in a], dim=1))
        z = torch.stack(zs, dim=1)
        s = functional.log_softmax(5 * functional.normalize(self.pick(z).squeeze(2), dim=1), dim=1)
        return torch.logsumexp(functional.log_softmax(self.out(z), dim=2) + s.unsqueeze(2), dim=1)


def bare_fit(images, labels, n_epochs, batch_size=32, lr=1e-2):
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    pixels = x.float()
    mean = pixels.mean(dim=(0, 2, 3), keepdim=True)
    std = pixels.std(dim=(0, 2, 3), keepdim=True)
    del pixels
    network = BareNetwork(images.shape[1], len(np.unique(labels)))
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-4, fused=True)
    n_batches = math.ceil(len(x) / batch_size)
    for epoch in range(n_epochs):
        total_loss = total_right = 0
        for index, rows in enumerate(torch.randperm(len(x)).tensor_split(n_batches)):
            progress = (epoch + index / n_batches) / n_epochs
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 + math.cos(math.pi * progress)) / 2
            log_probas = network((x[rows].float() - mean) / std, 0.1 * min(max((progress - 0.1) / 0.4, 0), 1))
            loss = functional.nll_loss(log_probas, y[rows]) / math.log(10)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total_loss += loss.item() * len(rows)
            total_right += (log_probas.argmax(dim=1) == y[rows]).sum().item()
    return network


def compare(name, images, labels, n_epochs, repeats):
    """A row: medians over the repeats, their ratio, and the spread of the paired ratios."""
    seconds = {"bare": [], "LatticeClassifier": []}
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        bare_fit(images, labels, n_epochs)
        between = time.perf_counter()
        LatticeClassifier(max_epochs=n_epochs, device="cpu", n_threads=None, random_state=0).fit(images, labels)
        end = time.perf_counter()
        if repeat:  # the first round warms up
            seconds["bare"].append(between - start)
            seconds["LatticeClassifier"].append(end - between)
    bare, ours = (np.array(values) for values in seconds.values())
    return {
        "data": name,
        "bare, s": np.median(bare),
        "LatticeClassifier, s": np.median(ours),
        "ratio": np.median(ours) / np.median(bare),
        "lowest": (ours / bare).min(),
        "highest": (ours / bare).max(),
    }


def measure(repeats=5, n_epochs=10, n_images=320):
    """A row for digits, and one for so many images of 32x32x3."""
    digits, labels = load_digits(return_X_y=True)
    digits = digits.reshape(-1, 1, 8, 8).astype(np.float32)
    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, size=(n_images, 3, 32, 32), dtype=np.uint8)
    return [
        compare("digits", digits, labels, n_epochs, repeats),
        compare("32x32x3 images", images, rng.randint(0, 10, size=n_images), n_epochs, repeats),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    rows = measure(parser.parse_args().repeats)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(pd.DataFrame(rows).to_string(index=False, na_rep="", float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
