"""Time used and people: do lattices take longer for what people are unsure about?

Lattices and people are asked the same question about the same photographs. Lattices are trained on questions made from
the classes of CIFAR-10, such as "an animal or a vehicle?", and never see what people say. People's answers are those of
CIFAR-10H, merged into the categories of the question. Then the time that a lattice uses for each test image is set
against people's uncertainty about it, whole and with other measures of the image taken out.

    python examples/experiments/people.py --scale small

writes people.png, and

people_lattices.csv   each lattice: accuracy, steps used, and relations with their intervals over images
people_means.csv      means of these over seeds, with intervals over seeds
people_trends.csv     whether the relation grows with accuracy, over all lattices and over those of one question
people_images.csv     steps used for each test image, by the lattices of the first question and the most images
people_classes.csv    their steps used and people's uncertainty, by class
people_errors.csv     whether shallow lattices share errors that deep ones do not make

Times of people are taken from --raw-trials, CIFAR-10H's cifar10h-raw.zip, or from --times, a table of your own (.csv)
with the columns "image", the index of a test image, and "time"; of images with several rows the median is taken, and
images without any are left out. For arrays of your own, growlattice.analysis.correlate is all it takes.
"""

from functools import partial
from pathlib import Path

import common
import figure_5
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import special
from sklearn.model_selection import train_test_split

from growlattice import LatticeClassifier
from growlattice.analysis import correlate, error_consistency_matrix
from growlattice.datasets import fetch_cifar10h

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
# question: the classes in each of its categories. Images of other classes are left out.
QUESTIONS = {
    "animal or vehicle": ("bird cat deer dog frog horse", "airplane automobile ship truck"),
    "automobile or frog": ("automobile", "frog"),
    "cat or dog": ("cat", "dog"),
    "on a road or not": ("automobile truck", "airplane ship"),
    "deer or horse": ("deer", "horse"),
    "mammal or not": ("cat deer dog horse", "bird frog"),
    "all ten": tuple(CLASSES),
}
# what is taken out of time used and of people's uncertainty, by the name of the relation
GIVEN = {
    "relation": [],
    "given_error": ["error"],
    "given_first": ["first_entropy"],
    "given_image": ["mean", "contrast"],
    "given_all": ["error", "first_entropy", "mean", "contrast"],
    "within_classes": CLASSES,
}
FORM = ["question", "time_pressure", "max_layers", "max_steps", "n_train"]


def mirror(images):
    """Half of the images of a batch, each as in a mirror."""
    return torch.where(torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5, images.flip(3), images)


# lattices: what differs from the first, and how many seeds of it. errors: question and numbers of layers of the
# lattices whose errors are compared
SETTINGS = {
    "smoke": dict(
        n_train=200,
        lattice=dict(max_channels=4, max_layers=1, max_steps=3, max_epochs=2, time_pressure=0.1),
        lattices=[
            dict(n_seeds=2),
            *(dict(change, n_seeds=2) for change in (dict(time_pressure=0.3), dict(max_layers=2))),
            *(dict(question=question, n_seeds=2) for question in ("cat or dog", "all ten")),
        ],
        errors=("animal or vehicle", [1, 2]),
        n_bootstrap=100,
    ),
    "small": dict(
        n_train=20000,
        lattice=dict(
            image_size=16, downsample=(2, 1), max_channels=16, max_layers=2, max_steps=6, max_epochs=8, batch_size=64,
            lr=2e-2, time_pressure=0.1, augment=mirror,
        ),
        lattices=[
            dict(n_seeds=5),
            dict(n_train=5000, n_seeds=3),
            dict(question="automobile or frog", n_train=5000, n_seeds=5),
            dict(question="automobile or frog", n_train=5000, max_layers=1, downsample=2, n_seeds=5),
            dict(question="automobile or frog", n_train=5000, max_layers=4, downsample=(2, 1, 2, 1), n_seeds=5),
            *(dict(question=question, n_seeds=5) for question in ("cat or dog", "deer or horse")),
            *(dict(question=question, n_seeds=3) for question in ("on a road or not", "mammal or not", "all ten")),
            *(dict(time_pressure=price, n_seeds=2) for price in (0.03, 0.3)),
            dict(max_steps=3, n_seeds=2),
        ],
        errors=("automobile or frog", [1, 2, 4]),
        n_bootstrap=500,
    ),
    "full": dict(
        n_train=None,
        lattice=dict(
            max_channels=32, max_layers=8, max_steps=8, max_epochs=150, batch_size=128, time_pressure=0.1,
            augment=mirror,
        ),
        lattices=[
            dict(n_seeds=5),
            *(dict(time_pressure=price, n_seeds=5) for price in (0.0, 0.02, 0.05, 0.2, 0.5, 1.0)),
            *(dict(max_steps=steps, n_seeds=5) for steps in (2, 4)),
            *(dict(max_layers=layers, n_seeds=5) for layers in (1, 2, 4)),
            *(dict(n_train=n_train, n_seeds=5) for n_train in (1000, 5000, 20000)),
            *(dict(question=question, n_seeds=5) for question in list(QUESTIONS)[1:]),
        ],
        errors=("animal or vehicle", [1, 2, 4, 8]),
        n_bootstrap=2000,
    ),
}  # fmt: skip


def categories_of(question):
    """Category of each class of CIFAR-10 in a question, -1 for classes that it is not about."""
    category = np.full(len(CLASSES), -1)
    for number, names in enumerate(QUESTIONS[question]):
        category[[CLASSES.index(name) for name in names.split()]] = number
    return category


def uncertainty(counts, category):
    """Entropy (nats) of people's answers to a question; nan for images that nobody gave an answer to it for.

    Parameters
    ----------
    counts : ndarray of int of shape (n_images, n_classes)
        Answers for each class.
    category : ndarray of int of shape (n_classes,)
        As `categories_of` gives it.
    """
    merged = counts @ (category[:, None] == np.arange(category.max() + 1))  # (n_images, n_categories)
    n_answers = merged.sum(axis=1, keepdims=True)
    shares = np.divide(merged, n_answers, out=np.full(merged.shape, np.nan), where=n_answers > 0)
    return special.entr(shares).sum(axis=1)


def read_times(path, n_images):
    """Median of the times of each image, from a table with the columns image and time; nan where there is none."""
    times = pd.read_csv(path, usecols=["image", "time"])
    if not times["image"].isin(range(n_images)).all():
        raise ValueError(
            f"image in {path} goes from {times['image'].min()} to {times['image'].max()}, but whole numbers from 0 to "
            f"{n_images - 1} were expected. Give the index of each image among the test images."
        )
    return times.groupby("image")["time"].median().reindex(range(n_images)).to_numpy()


def what_people_did(options, n_images):
    """Counts of people's answers for each test image, and a table of their times, which may have no column."""
    if options.scale == "smoke":  # digits stand in for photographs, and noise for people
        rng = np.random.default_rng(0)
        counts, times = (
            rng.multinomial(50, np.full(len(CLASSES), 0.1), size=n_images),
            pd.DataFrame(index=range(n_images)),
        )
    else:
        people = fetch_cifar10h(raw_trials=options.raw_trials)
        counts, times = people.counts, people.frame[people.frame.columns.intersection(["reaction_time"])]
    if options.times:
        times = pd.DataFrame({"reaction_time": read_times(options.times, n_images)})
    return counts, times


def asked(data, question):
    """Images and categories to train on and to test on, of a question's classes, and which test images these are."""
    category = categories_of(question)
    train, test = (np.flatnonzero(category[y] >= 0) for y in (data.y_train, data.y_test))
    X, y = (data.X_train[train], category[data.y_train[train]]), (data.X_test[test], category[data.y_test[test]])
    return *X, *y, test


def make_lattices(data, settings, options):
    """Fitted lattices, as a table with a row for each; the images of a question are drawn once for all its lattices."""
    tables = []
    for changes in settings["lattices"]:
        params = {"question": "animal or vehicle", "n_train": settings["n_train"], **settings["lattice"], **changes}
        question, n_train, n_seeds = (params.pop(name) for name in ("question", "n_train", "n_seeds"))
        X, y, *_ = asked(data, question)
        if n_train is not None and n_train < len(y):
            X, _, y, _ = train_test_split(X, y, train_size=n_train, stratify=y, random_state=0)
        make = partial(LatticeClassifier, **params, compact_every=None, **common.where(options))
        lattices = common.train([make(random_state=seed) for seed in range(n_seeds)], X, y, options.n_jobs)
        table = pd.DataFrame({"lattice": lattices, "seed": range(n_seeds)})
        settings_of = {"question": question, "n_train": len(y)} | {name: params[name] for name in FORM[1:4]}
        tables.append(table.assign(**settings_of))
    return pd.concat(tables, ignore_index=True)


def look(row, data, people):
    """What a lattice does for each test image of its question, beside what people do and what is in the image.

    Parameters
    ----------
    row : dict
        Of the table of lattices.
    data : Images
    people : tuple
        As `what_people_did` gives it.

    Returns
    -------
    DataFrame
        Steps used, error (nats) and entropy (nats) of the first answer; people's `entropy` (nats) on the question and
        `entropy_ten` on all ten classes, their `reaction_time` if there is any; mean and contrast of the image; and a
        column of truth values for each class.
    """
    _, _, X, y, test = asked(data, row["question"])
    counts, times = people
    lattice, rows, grey = row["lattice"], data.test_rows[test], X.reshape(len(X), -1).astype(float)
    log_probas, first = lattice.predict_log_proba(X), next(iter(lattice.staged_predict_proba(X)))
    images = pd.DataFrame(
        {
            "image": rows,
            "label": np.array(CLASSES)[data.y_test[test]],
            "time_used": lattice.time_used(X),
            "error": -log_probas[np.arange(len(y)), y],
            "right": log_probas.argmax(axis=1) == y,
            "first_entropy": special.entr(first).sum(axis=1),
            "entropy": uncertainty(counts[rows], categories_of(row["question"])),
            "entropy_ten": uncertainty(counts[rows], np.arange(len(CLASSES))),
            "mean": grey.mean(axis=1),
            "contrast": grey.std(axis=1),
        }
    )
    of_classes = {name: images["label"] == name for name in CLASSES}
    return images.assign(**of_classes).join(times.iloc[rows].reset_index(drop=True))


def relation(images, measure, given, n_bootstrap):
    """Rank correlation of steps used with a measure, and its interval; nan if either is the same for all images.

    And nan if too few images have the measure, or what is given leaves nothing of it.
    """
    if images[["time_used", measure]].nunique().min() < 2:
        return np.nan, np.nan, np.nan
    try:
        given = images[given] if given else None
        return correlate(images["time_used"], images[measure], given, n_bootstrap, random_state=0)
    except ValueError as error:
        print(f"left out: {error}")
        return np.nan, np.nan, np.nan


def relate(images, n_bootstrap):
    """Relations of steps used with what people do, by name, with bounds of their intervals over images."""
    asked_for = {name: ("entropy", given) for name, given in GIVEN.items()} | {"entropy_ten": ("entropy_ten", [])}
    if "reaction_time" in images:
        asked_for |= {f"reaction_time_{name}": ("reaction_time", given) for name, given in GIVEN.items()}
    found = {}
    for name, (measure, given) in asked_for.items():
        found[name], found[f"{name}_low"], found[f"{name}_high"] = relation(images, measure, given, n_bootstrap)
    for measure in ("error", "first_entropy"):
        found[f"own_{measure}"] = common.rank_correlation(images["time_used"], images[measure])
    classes = by_class(images)
    few = len(classes) < 4  # ranks of two or three say nothing
    found["over_classes"] = np.nan if few else common.rank_correlation(classes["time_used"], classes["entropy"])
    return found


def by_class(images):
    """Means over the images of each class."""
    return images.groupby("label", as_index=False)[["time_used", "entropy", "right"]].mean()


def measure(row, data, people, n_bootstrap):
    """A lattice's row of the table, and what it does for each image."""
    images = look(row, data, people)
    found = {"accuracy": images["right"].mean(), "time_used": images["time_used"].mean()}
    return found | {"time_used_sd": images["time_used"].std()} | relate(images, n_bootstrap), images


def varied(table, name, lattices):
    """The rows of a table with the form of the first of the lattices but for, at most, one column."""
    same = [column for column in FORM if column != name]
    return table[(table[same] == lattices[same].iloc[0]).all(axis=1)]


def of_most_images(lattices):
    """The lattices that differ from the first, if at all, in that they were trained on the most images."""
    same = varied(lattices, "n_train", lattices)
    return same[same["n_train"] == same["n_train"].max()]


def trends(lattices):
    """Rank correlation, over lattices, of what they are with their relation to people; intervals by bootstrap.

    They take seeds of one form for lattices that are independent, and are too narrow by that.
    """
    rows = []
    first = lattices[lattices["question"] == lattices["question"].iloc[0]]
    groups = {("accuracy", "all"): lattices, ("accuracy", "of the first question"): first}
    groups |= {(name, "that differ in it alone"): varied(lattices, name, lattices) for name in FORM[1:]}
    for (name, which), group in groups.items():
        group = group.dropna(subset=["relation"])
        if len(group) < 3 or group[[name, "relation"]].nunique().min() < 2:
            continue
        found = correlate(group[name], group["relation"], random_state=0)
        rows.append({"with": name, "lattices": which, "n": len(group), **found._asdict()})
    return pd.DataFrame(rows)


def shared_errors(lattices, images, question, depths, n_bootstrap):
    """Error consistency of lattices of the fewest layers, of the most, and between; of other seeds, as in figure 5.

    Intervals over seeds are by a jackknife, and those over images by bootstrap.
    """
    asked_it = lattices[lattices["question"] == question]
    chosen = varied(asked_it, "max_layers", asked_it).query("max_layers in @depths")
    chosen = chosen[chosen.groupby("seed")["max_layers"].transform("nunique") == len(depths)]
    right = np.array([images[place]["right"] for place in chosen.index])  # (n_lattices, n_images)

    def of_images(images):
        consistency = error_consistency_matrix(right[:, images])
        groups = figure_5.consistency_of_groups(consistency, chosen["max_layers"].to_numpy(), chosen["seed"].to_numpy())
        return np.column_stack([groups, groups[:, 0] - groups[:, 2]])  # (n_pairs, 4)

    n_images, rng = right.shape[1], np.random.default_rng(0)
    found = of_images(np.arange(n_images))
    drawn = [of_images(rng.integers(n_images, size=n_images)).mean(axis=0) for _ in range(n_bootstrap)]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    least, most = min(depths), max(depths)
    texts = [f"within {least}", f"within {most}", f"between {least} and {most}", "first less third"]
    n_seeds = chosen["seed"].nunique()
    rows = [common.claim_over_pairs(f"layers: {text}", of, n_seeds) for text, of in zip(texts, found.T, strict=True)]
    return pd.DataFrame(rows).assign(images_low=low, images_high=high)


def draw_accuracy(ax, means):
    """Relation against accuracy, for all questions."""
    for question, table in means.groupby("question", sort=False):
        common.curve(ax, table, "accuracy", "relation", linestyle="none", label=question)
    ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    ax.set(xlabel="accuracy on test images", ylabel="time used and people's uncertainty\n(rank correlation)")
    ax.legend(frameon=False, fontsize="small")


def draw_given(ax, lattices):
    """What is left of the relation of each lattice when other measures are taken out."""
    texts = ["nothing", "its error", "its first uncertainty", "mean, contrast", "all of these", "the class"]
    for place, name in enumerate(GIVEN):
        bars = np.abs([lattices[f"{name}_low"] - lattices[name], lattices[f"{name}_high"] - lattices[name]])
        ax.errorbar(lattices[name], place + np.linspace(-0.2, 0.2, len(lattices)), xerr=bars, fmt=".", color="tab:blue")
    ax.axvline(0, color="0.7", linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(GIVEN)), texts)
    ax.invert_yaxis()
    ax.set(xlabel="rank correlation of each lattice, 95 % over images", ylabel="taken out")


def draw_classes(ax, classes):
    """Mean steps used and mean uncertainty of people, by class."""
    ax.plot(classes["time_used"], classes["entropy"], ".", color="0.3")
    for row in classes.itertuples():
        ax.annotate(row.label, (row.time_used, row.entropy), (4, 2), textcoords="offset points", fontsize="x-small")
    ax.margins(x=0.2)
    ax.set(xlabel="time used (steps)", ylabel="people's uncertainty (nats)")


def draw(lattices, means, classes):
    """The figure: all questions; and the first one, with measures taken out, by class, and in other settings."""
    figure, axes = plt.subplots(2, 3, figsize=(14, 8), layout="constrained")
    draw_accuracy(axes[0, 0], means)
    draw_given(axes[0, 1], of_most_images(lattices))
    draw_classes(axes[0, 2], classes)
    settings = {"n_train": "training images", "time_pressure": "time pressure", "max_steps": "steps at most"}
    for ax, (name, label) in zip(axes[1], settings.items(), strict=True):
        common.curve(ax, varied(means, name, lattices).sort_values(name), name, "relation", color="tab:blue")
        ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
        ax.set(xlabel=label, ylabel="rank correlation")
    return figure


def main():
    """Train, measure, and write the tables and the figure."""
    options = common.arguments(
        __doc__,
        raw_trials=dict(type=Path, help="cifar10h-raw.zip, or the cifar10h-raw.csv in it"),
        times=dict(type=Path, help="people's times, a .csv with the columns image and time"),
    )
    settings = SETTINGS[options.scale]
    data = common.images("cifar10", options.scale)
    people = what_people_did(options, n_images=10000)
    lattices = make_lattices(data, settings, options)
    of_lattice = partial(measure, data=data, people=people, n_bootstrap=settings["n_bootstrap"])
    measured = common.in_parallel(of_lattice, lattices.to_dict("records"), options.n_jobs, "measured")
    rows, images = zip(*measured, strict=True)
    lattices = lattices.drop(columns="lattice").join(pd.DataFrame(rows))
    means = common.over_seeds(lattices, FORM, [name for name in rows[0] if not name.endswith(("_low", "_high"))])
    best = [images[place] for place in of_most_images(lattices).index]
    classes = by_class(pd.concat(best))
    common.report(lattices, options.out, "people_lattices")
    common.report(means, options.out, "people_means")
    common.report(trends(lattices), options.out, "people_trends")
    common.report(classes, options.out, "people_classes")
    common.report(
        shared_errors(lattices, images, *settings["errors"], settings["n_bootstrap"]), options.out, "people_errors"
    )
    of_seeds = {f"time_used_{seed}": table["time_used"] for seed, table in enumerate(best)}
    best[0][["image", "label", "entropy"]].assign(**of_seeds).to_csv(options.out / "people_images.csv", index=False)
    common.save(draw(lattices, means, classes), options.out, "people")


if __name__ == "__main__":
    main()
