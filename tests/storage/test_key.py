import collections
import enum
import functools
import hashlib
import importlib
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import types
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest
import torch
from skorch.callbacks import EarlyStopping, EpochTimer, PrintLog

from growlattice import LatticeClassifier
from growlattice._storage import _key
from growlattice._storage._key import code_version, fit_key, identity
from growlattice._training._input_form import InputForm
from growlattice._training._target_form import ClassTargets
from growlattice._training._training_set import TrainingSet


def key(clf, X, y, sample_weight=None, X_val=None, y_val=None, start=None):
    data = clf._training_set(X, y, sample_weight, learn=True)
    return fit_key(clf, clf.input_form_, data, clf._validation_set(X_val, y_val), clf._seed(), start)


def threshold(images, at=0.5):
    return images * (images > at)


def threshold_with_docstring(images, at=0.5):
    """Keep what is above."""
    return images * (images > at)


def other_threshold(images, at=0.5):
    return images * (images > at + 0.1)


CHANGES = {
    "breadth_pressure": 0.1,
    "depth_pressure": 0.1,
    "time_pressure": 0.1,
    "max_channels": 5,
    "max_layers": 3,
    "max_steps": 2,
    "kernel_size": 5,
    "downsample": 2,
    "keep": 0.9,
    "relax_epochs": 1,
    "time_selection": "fixed",
    "temperature": 4.0,
    "position_power": 3.0,
    "noise": 0.2,
    "annealing": (0.2, 0.5),
    "extra_costs": ((threshold, 0.1),),
    "compact_every": None,
    "max_epochs": 5,
    "batch_size": 31,
    "lr": 0.02,
    "weight_decay": 0.0,
    "class_weight": "balanced",
    "image_shape": (1, 4, 16),
    "image_size": 7,
    "augment": threshold,
    "grow_from": (2, 1, 1),
    "precision": "float64",
    "compile": False,
    "n_threads": 2,
    "random_state": 1,
    "callbacks": [EarlyStopping(monitor="error")],
}
NO_CHANGES = {
    "memory": "elsewhere",
    "growth": "fresh",
    "checkpoint_seconds": 1.0,
    "verbose": 1,
    "warm_start": True,
    "device": "cpu",
    "callbacks": [PrintLog(), ("timer", EpochTimer())],
    "annealing": [0.1, 0.5],
    "lr": np.float64(1e-2),
    "precision": "float32",  # which "auto" is on a CPU
}


# --- parameters and data ---


@pytest.fixture(autouse=True)
def compiler(monkeypatch):
    """Without a C++ compiler all values of `compile` mean the same."""
    monkeypatch.setattr(_key, "can_compile", lambda device_type: True)


def test_every_parameter_is_known_to_change_the_result_or_not(make_small):
    assert set(CHANGES) | set(NO_CHANGES) == set(make_small().get_params())


@pytest.mark.parametrize("name", CHANGES)
def test_a_parameter_that_changes_the_result_changes_the_key(small, make_small, name):
    assert key(make_small(**{name: CHANGES[name]}), *small) != key(make_small(), *small)


@pytest.mark.parametrize("name", NO_CHANGES)
def test_a_parameter_that_does_not_change_the_result_leaves_the_key(small, make_small, name):
    assert key(make_small(**{name: NO_CHANGES[name]}), *small) == key(make_small(), *small)


def test_the_data_change_the_key(small, make_small):
    X, y = small
    same, changed = key(make_small(), X, y), X.copy()
    changed[7, 3] += 1
    weights = np.linspace(1, 2, len(X))
    others = [(changed, y), (X, 1 - y), (X, np.array(["a", "b"])[y]), (X[1:], y[1:]), (X.astype(np.float32), y)]
    keys = [key(make_small(), *data) for data in [*others, (X, y, weights), (X, y, weights[::-1])]]
    assert len({same, *keys}) == 1 + len(keys)
    assert key(make_small(), X, y, np.ones(len(X))) == same
    assert key(make_small(), pd.DataFrame(X), y) == same
    assert key(make_small(), pd.DataFrame(X).add_prefix("pixel_"), y) != same


def test_images_that_it_is_measured_on_change_the_key(small, make_small):
    X, y = small
    keys = [key(make_small(), X, y, None, *data) for data in [(), (X, y), (X[:9], y[:9]), (X, 1 - y), (X + 1, y)]]
    assert len(set(keys)) == len(keys)
    assert key(make_small(), X, y, None, X, y) == keys[1]


def test_the_lattice_to_go_on_from_changes_the_key(small, make_small):
    X, y = small
    starts = [make_small(max_epochs=1, random_state=seed).fit(X, y).lattice_ for seed in (0, 1)]
    assert len({key(make_small(), X, y, start=start) for start in (None, *starts)}) == 3


def test_what_is_frozen_in_it_changes_the_key(small, make_small):
    start = make_small(max_epochs=1).fit(*small).lattice_
    trained_whole = key(make_small(), *small, start=start)
    start.frozen = ["input.weight"]
    assert key(make_small(), *small, start=start) != trained_whole
    start.frozen = []
    assert key(make_small(), *small, start=start) == trained_whole


def test_how_labels_lie_in_memory_leaves_the_key(small, make_small):
    """A file and a pickle give them back as narrow as they are, and in the byte order of the machine."""
    X, y = small
    assert key(make_small(), X, y.astype("<U21")) == key(make_small(), X, y.astype(">U1"))
    assert key(make_small(), X, y.astype(">i8")) == key(make_small(), X, y.astype("<i8"))


def test_another_class_of_classifier_is_another_fit(small, make_small):
    class Other(LatticeClassifier):
        def _make_lattice(self, data, seed):
            return super()._make_lattice(data, seed + 1)

    assert key(Other(**make_small().get_params()), *small) != key(make_small(), *small)


def test_keys_are_the_same_in_another_process(small, make_small):
    weights, kinds = torch.arange(3.0), frozenset("abcdef")
    extra_costs = [(other_threshold, 0.1), (functools.partial(threshold, at=(weights, kinds)), 0.1), (scaled, 0.1)]
    extra_costs += [(Cost(3), 0.1), (Cost(4).__call__, 0.1)]
    clf = make_small(augment=torch.nn.Conv2d(1, 1, 3), class_weight={0: 1.0, 1: 2.0}, extra_costs=extra_costs)
    clf.set_params(compile=False)  # elsewhere the compiler counts, which `compiler` only brings into this process
    script = (
        "import pickle, sys; clf, X, y = pickle.loads(sys.stdin.buffer.read());"
        "from tests.storage.test_key import key; print(key(clf, X, y), end='')"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    for run in runs:
        assert run.communicate(pickle.dumps((clf, *small)))[0].decode() == key(clf, *small)


def test_the_order_of_named_parts_counts():
    parts = dict(flip=torch.nn.ReLU(), shift=torch.nn.Tanh())
    one, same, other = (
        torch.nn.Sequential(collections.OrderedDict(items))
        for items in (parts.items(), parts.items(), reversed(parts.items()))
    )
    assert identity(one) == identity(same) != identity(other)
    assert identity(collections.OrderedDict(a=1, b=2)) != identity(collections.OrderedDict(b=2, a=1))


def test_hashing_does_not_copy_the_images_at_once():
    images = np.zeros((20000, 32, 32, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    tracemalloc.start()
    clf = LatticeClassifier(random_state=0)
    clf.target_form_ = ClassTargets(np.arange(2))
    data = TrainingSet(images, np.zeros(20000, dtype=np.int64), None)
    fit_key(clf, InputForm((3, 32, 32), None), data, validation=None, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes / 2


# --- code ---


SCALES = {"low": 0.5, "high": torch.tensor(2.0)}


class Cost:
    """A cost that uses all that a class can define."""

    kinds = {"a", "b", "c"}
    __slots__ = ("power", "__dict__")

    def __init__(self, power):
        self.power, self.shift = power, power + 1

    @staticmethod
    def raised(activity, power):
        return activity**power

    @functools.cached_property
    def scale(self):
        return scaled(1.0)

    def __call__(self, lattice, output):
        return self.raised(output.activity.mean(), self.power) * self.scale


def scaled(value):
    return value * SCALES["low"]


def test_code_is_told_apart_by_what_it_does():
    def closed_over(number):
        return lambda images: images + number

    def transform(size, sign):
        class Transform:
            def __init__(self):
                self.size = size

            if sign > 0:

                def __call__(self, images):
                    return images * self.size

            else:

                def __call__(self, images):
                    return -images * self.size

        return Transform()

    values = [
        transform(3, 1),
        transform(4, 1),
        transform(3, -1),
        torch.tensor([1.0]).add,
        torch.tensor([2.0]).add,
        functools.partial(threshold, at=2**60),
        functools.partial(threshold, at=2**60 + 1),
        torch.nn.Conv2d(1, 1, 3),
        torch.nn.Conv2d(1, 1, 3),
        torch.Generator().manual_seed(1),
        torch.Generator().manual_seed(2),
        threshold,
        other_threshold,
        functools.partial(threshold, at=0.7),
        functools.partial(threshold, at=0.8),
        closed_over(1),
        closed_over(2),
        torch.neg,
        torch.nn.Linear,
        lambda images: images if images in {"a", "b"} else None,
    ]
    identities = [str(identity(value)) for value in values]
    assert len(set(identities)) == len(values)
    assert identity(closed_over(1)) == identity(closed_over(1))
    assert identity(threshold)[1] == identity(threshold_with_docstring)[1]
    assert identity(transform(3, 1)) == identity(transform(3, 1))
    assert identity(1) == identity(1.0) == identity(np.float32(1)) and identity(np.inf) != identity(-np.inf)
    with pytest.raises(ValueError, match="memory cannot tell .* from others of its kind"):
        identity(threading.Lock())


SOURCE = """
import functools
import torch

SCALE = 1.0
WEIGHTS = torch.ones(3)

def helper(value):
    return value * SCALE

def helped(value):
    return helper(value)

def counted(value):
    return value * counted.times
counted.times = 3

def deep(value):
    return [(lambda part: part * SCALE)(part) for part in value]

def local(value):
    class Inside:
        scale = SCALE
    return Inside.scale * value

@functools.wraps(helper)
def wrapped(value):
    return helper(value)

@functools.lru_cache
def cached(value):
    return value + 5

class Base:
    inherited = 7

class Cost(Base):
    scale = 0.0
    weights = torch.zeros(2)
    __slots__ = ("power",)

    @property
    def doubled(self):
        return self.scale * 2

    @doubled.setter
    def doubled(self, value):
        self.power = value / 2

    @staticmethod
    def tripled(value):
        return value * 3

    @classmethod
    def of(cls, value):
        return cls.scale * value + 4

    @functools.cached_property
    def kept(self):
        return helper(self.scale) + 6

    @functools.lru_cache
    def slow(self):
        return 8

    part = functools.partialmethod(lambda self, value: value, 9)

    class Inner:
        scale = 11

    def __call__(self, lattice, output):
        return self.scale * output.activity.mean()

class Layer(torch.nn.ReLU):
    pass

@torch.no_grad()
def without_gradient(value):
    return value + 12

def named(price, base, *rest):
    return rest

def described(value):
    "mean"
    return getattr(value, "mean")()

COST, LAYER, METHOD = Cost(), Layer(), Cost().of
"""

EDITS = [
    ("COST", "scale = 0.0", "scale = 50.0"),
    ("named", "price, base", "base, price"),
    ("named", "*rest", "rest"),
    ("described", "mean", "sum"),
    ("COST", "scale = 0.0", "scale = SCALE"),
    ("COST", "scale = 0.0", "scale = 0.0\n    more = 1"),
    ("COST", "torch.zeros(2)", "torch.zeros(2, dtype=torch.float64)"),
    ("COST", "torch.zeros(2)", "torch.zeros(2, dtype=torch.int32)"),
    ("COST", "torch.zeros(2)", "torch.zeros(2, 1)"),
    ("COST", '("power",)', '("strength",)'),
    ("COST", "self.scale * 2", "self.scale * 3"),
    ("COST", "value / 2", "value / 3"),
    ("COST", "@functools.cached_property", "@property"),
    ("COST", "value * 3", "value * 4"),
    ("COST", "@staticmethod", "@classmethod"),
    ("COST", "value + 4", "value + 5"),
    ("COST", "helper(self.scale) + 6", "helper(self.scale) + 7"),
    ("COST", "return 8", "return 9"),
    ("COST", "value, 9)", "value, 10)"),
    ("COST", "scale = 11", "scale = 12"),
    ("COST", "inherited = 7", "inherited = 8"),
    ("COST", "SCALE = 1.0", "SCALE = 2.0"),  # through a property's helper
    ("Cost", "scale = 0.0", "scale = 50.0"),
    ("METHOD", "scale = 0.0", "scale = 50.0"),
    ("LAYER", "torch.nn.ReLU", "torch.nn.ReLU6"),
    ("helper", "SCALE = 1.0", "SCALE = 2.0"),
    ("helper", "SCALE = 1.0", "SCALE = torch.ones(())"),
    ("helped", "SCALE = 1.0", "SCALE = 2.0"),
    ("helped", "value * SCALE\n\ndef helped", "value / SCALE\n\ndef helped"),
    ("deep", "SCALE = 1.0", "SCALE = 2.0"),
    ("deep", "part * SCALE", "part + SCALE"),
    ("local", "SCALE = 1.0", "SCALE = 2.0"),
    ("wrapped", "SCALE = 1.0", "SCALE = 2.0"),
    ("cached", "value + 5", "value + 6"),
    ("without_gradient", "value + 12", "value + 13"),
    ("counted", "counted.times = 3", "counted.times = 4"),
]


@pytest.fixture(autouse=True)
def no_module_left_behind(monkeypatch):
    monkeypatch.setitem(sys.modules, "edited", None)


def defined(source, name):
    """What a name stands for in a module of this source, as after an edit and another start of Python."""
    module = sys.modules["edited"] = types.ModuleType("edited")
    exec(compile(textwrap.dedent(source), "edited.py", "exec"), vars(module))
    return getattr(module, name)


@pytest.mark.parametrize("name, old, new", EDITS)
def test_an_edit_of_what_code_uses_changes_its_identity(name, old, new):
    assert SOURCE.count(old) >= 1
    assert identity(defined(SOURCE.replace(old, new), name)) != identity(defined(SOURCE, name))


@pytest.mark.parametrize("name", sorted({name for name, _, _ in EDITS}))
@pytest.mark.parametrize(
    "old, new",
    [
        ("", ""),
        ("\nSCALE = 1.0", "\nUNUSED = 1\nSCALE = 1.0"),
        ("def __call__(self, lattice, output):", 'def __call__(self, lattice, output):\n        "What it costs."'),
        ("scale = 0.0", "scale = 0.0  # nothing"),
    ],
)
def test_what_code_does_not_use_leaves_its_identity(name, old, new):
    if sys.version_info >= (3, 13) and name == "local" and "UNUSED" in new:
        pytest.skip("Python 3.13 writes the line of a class that a function defines into the function's code")
    assert identity(defined(SOURCE.replace(old, new), name)) == identity(defined(SOURCE, name))


def test_an_identity_does_not_change_with_use():
    for value in (Cost(1), Cost, scaled):
        before = identity(value)
        pickle.dumps(value)
        hash(value)
        assert identity(value) == before


def test_an_identity_does_not_change_with_the_use_of_a_path():
    """It keeps what was asked of it."""
    path = PurePosixPath("masks/of")
    before = identity(path)
    hash(path), str(path), path.parts, path.parent
    assert identity(path) == before != identity(PurePosixPath("masks"))


class Kind(enum.Enum):
    MEAN = 1
    SUM = 2

    def of(self, value):
        return getattr(value, self.name.lower())()


Pair = collections.namedtuple("Pair", "first second")


class Chain(list):
    def __call__(self, images):
        return images


class Table(dict):
    pass


@pytest.mark.parametrize(
    "one, other",
    [
        (b"a", b"b"),
        (1j, 2j),
        (re.compile("a"), re.compile("b")),
        (Kind.MEAN, Kind.SUM),
        (Path("a"), Path("b")),
        (Pair(1, 2), Pair(1, 3)),
        (Pair(1, 2), (1, 2)),
        (Chain([1]), Chain([2])),
        (Chain([1]), [1]),
        (Table(a=1), Table(a=2)),
        ({"a": 1}, [["a", 1]]),
        ({1, 2}, [1, 2]),
        (slice(1), slice(2)),
        (torch.float32, torch.float64),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (np.zeros(2), np.zeros(2, dtype=np.int64)),
        (np.zeros(1, [("a", "i4")]), np.zeros(1, [("b", "i4")])),
        (np.array([1, "a"], dtype=object), np.array([1, "b"], dtype=object)),
        (np.add, np.subtract),
        (True, 1),
        ("1", 1),
        (None, 0),
    ],
)
def test_values_of_all_kinds_are_told_apart(one, other):
    assert json.dumps(identity(one)) != json.dumps(identity(other))
    assert identity(one) == identity(pickle.loads(pickle.dumps(one)))


def test_an_array_that_a_worker_reads_from_disk_is_the_same(tmp_path):
    array = np.arange(6.0)
    mapped = np.memmap(tmp_path / "array", np.float64, "w+", shape=6)
    mapped[:] = array
    assert identity(mapped) == identity(array)


def endless(depth, back):
    """Lists in lists, the last of which holds one of them."""
    lists = [[]]
    for _ in range(depth):
        lists.append([lists[-1]])
    lists[0].append(lists[back])
    return lists[-1]


def test_cycles_end_and_are_told_apart():
    cycles = [(depth, back) for depth in (1, 2) for back in range(depth + 1)]
    assert len({str(identity(endless(*cycle))) for cycle in cycles}) == len(cycles)
    assert identity(endless(2, 1)) == identity(endless(2, 1))
    lattice_like = Cost(1)
    lattice_like.owner = [lattice_like]
    assert identity(lattice_like) != identity(Cost(1))


@pytest.mark.parametrize(
    "value",
    [
        threading.Lock(),
        (item for item in "ab"),
        memoryview(b"a"),
        np.ma.array([1, 2], mask=[True, False]),
        pd.DataFrame({"a": [1]}),
        [{"a": open},  threading.RLock()],
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_holds_a_state_that_cannot_be_seen_is_refused(value):
    with pytest.raises(ValueError, match="(?s)memory cannot tell .* from others of its kind .* Give a function"):
        identity(value)


def test_a_refusal_comes_before_training(small, make_small, tmp_path):
    holder = Cost(1)
    holder.lock = threading.Lock()
    clf = make_small(extra_costs=[(holder, 0.1)], memory=tmp_path)
    with pytest.raises(ValueError, match="memory cannot tell .*lock"):
        clf.fit(*small)
    assert vars(clf) == vars(make_small(extra_costs=clf.extra_costs, memory=tmp_path))


def test_an_edited_cost_is_trained_anew(small, make_small, tmp_path):
    fits = []
    for source in (SOURCE, SOURCE.replace("scale = 0.0", "scale = 50.0")):
        cost = defined(source, "COST")
        fits.append(make_small(max_epochs=2, extra_costs=[(cost, 1.0)], memory=tmp_path).fit(*small))
    assert len(os.listdir(tmp_path)) == 2
    assert fits[0].history_["Cost"].tolist() == [0.0, 0.0] != fits[1].history_["Cost"].tolist()


HELPERS = "SCALE = 1.0\nUNUSED = 1\ndef scaled(value):\n    return value * SCALE\n"
USERS = [
    "from helpers import scaled\ndef cost(value):\n    return scaled(value)\n",
    "import helpers\ndef cost(value):\n    return helpers.scaled(value)\n",
    "import helpers\nclass Cost:\n    def __call__(self, x):\n        return x * helpers.SCALE\ncost = Cost()\n",
    "from helpers import SCALE\ndef cost(value):\n    return value * SCALE\n",
    "def cost(value):\n    from helpers import scaled\n    return scaled(value)\n",
    "def cost(value):\n    import helpers as them\n    return [them.scaled(part) for part in value]\n",
    "def cost(x):\n    def by():\n        from helpers import SCALE\n        return SCALE\n    return x * by()\n",
]


@pytest.mark.parametrize("user", USERS)
def test_code_in_files_beside_counts_as_far_as_it_is_used(monkeypatch, tmp_path, user):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "costs.py").write_text(user)
    identities = []
    for old, new in [("", ""), ("UNUSED = 1", "UNUSED = 2"), ("SCALE = 1.0", "SCALE = 2.0")]:
        (tmp_path / "helpers.py").write_text(HELPERS.replace(old, new))
        for name in ("helpers", "costs"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        identities.append(identity(importlib.import_module("costs").cost))
    assert identities[0] == identities[1] != identities[2]


def test_an_import_that_fails_counts_for_nothing():
    def cost(value):
        try:
            from nowhere import scaled
        except ImportError:
            return value
        return scaled(value)

    assert "import" not in str(identity(cost)[3])


def test_a_users_file_with_the_name_of_pythons_own_counts(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    identities = []
    for price in (1, 2):
        (tmp_path / "trace.py").write_text(f"PRICE = {price}\ndef cost(value):\n    return PRICE * value\n")
        monkeypatch.delitem(sys.modules, "trace", raising=False)
        identities.append(identity(importlib.import_module("trace").cost))
    assert identities[0] != identities[1]


def test_modules_that_name_each_other_end(monkeypatch):
    module = sys.modules["edited"] = types.ModuleType("edited")
    module.edited, module.other = module, types.ModuleType("other")
    module.other.edited = module
    exec("def cost(value):\n    return value * edited.other.edited.scale\nscale = 3", vars(module))
    before = identity(module.cost)
    module.scale = 4
    assert identity(module.cost) != before


# --- the code of the package ---


def test_code_version_does_not_see_comments(monkeypatch, tmp_path):
    source = 'def cost(m):\n    """The cost."""\n    return m + 1\n'
    for room in _key.HASHED_PACKAGES:
        (tmp_path / room).mkdir()
        (tmp_path / room / "_costs.py").write_text(source)
    monkeypatch.setattr(_key, "files", lambda package: tmp_path)
    monkeypatch.setattr(_key, "_times_of_change", lambda: _key.IMPORTED)
    version = code_version.__wrapped__()
    for room in _key.HASHED_PACKAGES:
        for changed, same in [
            (source.replace("The cost", "What it costs").replace("+ 1", "+ 1  # one more"), True),
            (source.replace("+ 1", "+ 2"), False),
            (source, True),
        ]:
            (tmp_path / room / "_costs.py").write_text(changed)
            assert (code_version.__wrapped__() == version) is same
        (tmp_path / room / "_new.py").write_text(source)
        assert code_version.__wrapped__() != version
        (tmp_path / room / "_new.py").unlink()


def test_code_version_is_the_same_in_all_versions_of_python():
    """Of syntax whose text or whose tree differs between 3.11, 3.12 and 3.13, on which this runs too."""
    source = (
        "class Cost:\n    def of(self, m, *, by=None):\n        return f'{m!r:>{by}} and ' f\"{m['a']:.2f}\" 'none'\n"
    )
    assert hashlib.blake2b(_key._code_of(source), digest_size=8).hexdigest() == "1b937cc13216993c"


def test_code_that_was_changed_after_its_import_is_refused(monkeypatch):
    assert len(_key.IMPORTED) > 20 and code_version.__wrapped__() == code_version()
    monkeypatch.setitem(_key.IMPORTED, "lattice/_costs.py", 0)
    with pytest.raises(RuntimeError, match="changed on disk after it was imported.* Start Python anew"):
        code_version.__wrapped__()


def test_code_version_covers_all_rooms_that_decide_a_fit():
    import growlattice.lattice
    from growlattice import _estimators, _training

    rooms = [growlattice.lattice, _training, _estimators]
    assert [f"growlattice.{room}" for room in _key.HASHED_PACKAGES] == [room.__name__ for room in rooms]
    known = {name for room in rooms for name in os.listdir(os.path.dirname(room.__file__))}
    assert _key.NOT_NUMERICAL <= known
