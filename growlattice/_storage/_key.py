"""The key of a fit: a digest of everything that decides its result.

Values without a reliable identity are an error, so that different fits never share a key.
"""

import ast
import copyreg
import dis
import functools
import hashlib
import inspect
import json
import os
import sys
from collections import OrderedDict
from contextlib import suppress
from enum import Enum
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path, PurePath
from types import CodeType, ModuleType

import joblib
import numpy as np
import torch
from skorch.callbacks import Callback, EpochTimer, PrintLog, ProgressBar

from .._training._callbacks import kind_of, unnamed
from .._training._compiling import can_compile
from .._training._device import choose_device, choose_precision
from ._file import digest_of
from ._json import as_json

# What does not change the result, and what the key holds in another form (the seed drawn, the kind of device).
NOT_IN_KEY = {"callbacks", "checkpoint_seconds", "device", "memory", "random_state", "verbose", "warm_start"}
DISPLAYS = (PrintLog, ProgressBar, EpochTimer)
HASHED_PACKAGES = ("lattice", "_training", "_estimators")
NOT_NUMERICAL = {"_sweep.py", "_parameters.py"}
LIBRARIES = {"growlattice", "numpy", "sklearn", "skorch", "torch", "torchvision", *sys.stdlib_module_names} - {
    "__main__"
}
INSTALLED = "site-packages", "dist-packages"
STANDARD_LIBRARY = os.path.dirname(os.__file__)
# What Python itself writes into classes and functions.
WRITTEN_BY_PYTHON = {
    "__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "__annotate__",
    "__annotate_func__", "__annotations_cache__", "__firstlineno__", "__static_attributes__", "__abstractmethods__",
    "__parameters__", "__orig_bases__", "__match_args__", "__dataclass_fields__", "__dataclass_params__",
    "__slotnames__", "_abc_impl",
}  # fmt: skip
IMAGES_AT_ONCE = 4096


def fit_key(estimator, form, data, validation, seed, start=None):
    """The name of a fit: the same for two fits with the same result, another for any other.

    Parameters
    ----------
    estimator : estimator of scikit-learn
        Its class and parameters count.
    form : InputForm
    data : TrainingSet
    validation : TrainingSet or None
    seed : int
    start : Lattice, default=None
        What a fit with `warm_start` goes on from.

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    ValueError
        If a parameter is code that cannot be told from other code.
    """
    params, device = estimator.get_params(deep=False), choose_device(estimator.device)
    params["precision"] = choose_precision(estimator.precision, device)
    params["compile"] = estimator.compile if can_compile(device.type) else False
    params["n_threads"] = device.type == "cpu" and (estimator.n_threads or torch.get_num_threads())
    parts = {
        "class": identity(type(estimator)),
        "params": {name: identity(value) for name, value in params.items() if name not in NOT_IN_KEY},
        "callbacks": [identity(callback) for callback in deciding_callbacks(estimator.callbacks)],
        "device": device.type,
        "form": identity(vars(form)),
        "target_form": identity(vars(estimator.target_form_)),
        "seed": seed,
        "start": start and [as_json(start.config), digest_of(start.state_dict()), start.frozen],
        "code": code_version(),
    }
    digest = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16)
    for images in (data, validation):
        for array in (None,) if images is None else (images.images, images.targets, images.sample_weight):
            update_with_array(digest, array)
    return digest.hexdigest()


def deciding_callbacks(callbacks):
    """The skorch callbacks that may change the result of a fit: all but displays."""
    return [callback for callback in unnamed(callbacks) if kind_of(callback) not in DISPLAYS]


def update_with_array(digest, array):
    """Feed an array or None to a hashlib digest, some rows at a time."""
    if array is None:
        digest.update(b"none")
        return
    digest.update(f"{array.dtype} {array.shape}".encode())
    for start in range(0, len(array), IMAGES_AT_ONCE):
        digest.update(np.ascontiguousarray(array[start : start + IMAGES_AT_ONCE]).reshape(-1).view(np.uint8))


def identity(value):
    """A value in terms of JSON, equal for equal values and in every process; code by its names and bytecode.

    Raises
    ------
    ValueError
        If the value cannot be told from others of its kind.
    """
    try:
        return _Identification().of(value)
    except Exception as error:
        raise ValueError(
            f"memory cannot tell {value!r} from others of its kind ({type(error).__name__}: {error}). "
            "Give a function, or an object of a class at the top of a module."
        ) from error


class _Identification:
    """One walk through a value and all that it refers to."""

    def __init__(self):
        self.code = {}  # functions and classes met, with their numbers: each is described once
        self.visiting = {}  # ids of the values that the walk is inside of, with their depths

    def of(self, value):
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or type(value) in (str, bool):
            return value
        if type(value) in (int, float):
            return int(value) if value == value // 1 else value
        if inspect.isfunction(value) or isinstance(value, type):
            if value in self.code:
                return ["met", self.code[value]]
            self.code[value] = len(self.code)
            return self._of_function(value) if inspect.isfunction(value) else self._of_class(value)
        if id(value) in self.visiting:
            return ["cycle", self.visiting[id(value)]]
        self.visiting[id(value)] = len(self.visiting)
        try:
            return self._of_object(value)
        finally:
            del self.visiting[id(value)]

    def _of_object(self, value):
        kind = type(value)
        if kind in (list, tuple):
            return [self.of(item) for item in value]
        if kind in (set, frozenset):
            return ["set", *(self.of(item) for item in sorted(value, key=_order))]
        if kind in (dict, OrderedDict):
            return [kind.__name__, *([self.of(key), self.of(item)] for key, item in value.items())]  # order may decide
        if kind is bytes:
            return ["bytes", value.hex()]
        if kind in (np.ndarray, np.memmap) or isinstance(value, (torch.Tensor, torch.Generator)):
            return self._of_numbers(value)
        if isinstance(value, Enum):
            return [self.of(kind), value.name, self.of(value.value)]
        if isinstance(value, PurePath):  # its state holds what was asked of it before
            return [kind.__name__, str(value)]
        if isinstance(value, ModuleType):
            return ["module", value.__name__]
        if isinstance(value, partial):
            return ["partial", *map(self.of, (value.func, value.args, value.keywords))]
        if inspect.ismethod(value):
            return ["method", self.of(value.__func__), self.of(value.__self__)]
        if isinstance(value, np.ufunc) or inspect.isbuiltin(value):
            return [getattr(value, "__module__", None), value.__name__, self.of(getattr(value, "__self__", None))]
        if isinstance(value, Callback):
            return [self.of(type(value)), self.of(value.get_params(deep=False))]
        state = self.of(object.__getstate__(value))  # attributes and slots
        plain = kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
        if not plain or kind in copyreg.dispatch_table:
            return [self.of(kind), state, joblib.hash(value)]
        # Raises a TypeError if there is more to the value than Python sees, as to a lock.
        _, (_, *made_of), _, items, pairs = object.__reduce_ex__(value, 2)
        return [self.of(kind), state, self.of([made_of, list(items or ()), list(pairs or ())])]

    def _of_numbers(self, value):
        if isinstance(value, torch.Generator):
            value = value.get_state()
        if isinstance(value, torch.Tensor):
            numbers = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            return ["tensor", str(value.dtype), list(value.shape), self._of_numbers(numbers)]
        if value.dtype == object:
            return ["array", list(value.shape), self.of(value.tolist())]
        digest = hashlib.blake2b(digest_size=16)
        update_with_array(digest, np.atleast_1d(value))
        return digest.hexdigest()

    def _of_function(self, function):
        """A function by its code, what it has closed over, its defaults, its attributes and the globals it names."""
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        closure = [cell.cell_contents for name, cell in cells if name != "__class__"]  # that of `super`, seen already
        parts = [closure, function.__defaults__, function.__kwdefaults__, vars(function)]
        used, names = ({}, set()) if _is_of_a_library(function) else _globals_of(function)
        return [
            function.__qualname__,
            _code_identity(function.__code__, function.__doc__),
            self.of(parts),
            [[name, self._of_global(used[name], function, names)] for name in sorted(used)],
        ]

    def _of_global(self, value, function, names):
        """What a function finds under a global name; code of other, installed packages by its name alone.

        Of a module, that is what it holds under the names of attributes in the function's code.
        """
        if isinstance(value, ModuleType) and id(value) not in self.visiting and not _is_installed(value):
            self.visiting[id(value)] = len(self.visiting)
            used = sorted(names & vars(value).keys())
            held = [[name, self._of_global(vars(value)[name], function, names)] for name in used]
            del self.visiting[id(value)]
            return ["module", value.__name__, held]
        if inspect.isfunction(value) or isinstance(value, type):
            if _root(value) != _root(function) and _is_installed(value):
                return [value.__module__, value.__qualname__]
        return self.of(value)

    def _of_class(self, cls):
        """A class by its name and by all that it and its bases define; bases of libraries by their names alone."""
        bases = [[base.__module__, base.__qualname__, self._of_members(base)] for base in cls.__mro__]
        return bases[:1] if _is_of_a_library(cls) else bases

    def _of_members(self, cls):
        if _is_of_a_library(cls):
            return None
        members = sorted(vars(cls).items())
        return [[name, self._of_member(member)] for name, member in members if name not in WRITTEN_BY_PYTHON]

    def _of_member(self, member):
        if isinstance(member, (staticmethod, classmethod)):
            return [type(member).__name__, self.of(member.__func__)]
        if isinstance(member, property):
            return ["property", self.of([member.fget, member.fset, member.fdel])]
        if isinstance(member, functools.cached_property):
            return ["cached_property", self.of(member.func)]
        if inspect.ismemberdescriptor(member):  # of a slot
            return ["slot", member.__name__]
        return self.of(member)


def _order(value):
    return json.dumps(identity(value))


def _root(code):
    """Name of the package at the top of which a module, a class or a function is."""
    return (getattr(code, "__module__", None) or getattr(code, "__name__", "")).split(".")[0]


def _is_of_a_library(code):
    """Whether code is of Python itself or of what the package stands on, and not of a user's file of such a name."""
    root = _root(code)
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    of_users = file.endswith(".py") and root in sys.stdlib_module_names and not file.startswith(STANDARD_LIBRARY)
    return root in LIBRARIES and not of_users


def _is_installed(code):
    package = sys.modules.get(_root(code))
    places = [getattr(package, "__file__", None) or "", *getattr(package, "__path__", ())]
    return _is_of_a_library(code) or any(folder in place for place in places for folder in INSTALLED)


def _globals_of(function):
    """What a function's code and the functions in it name or import, where there is such, and all names there."""
    codes, used, names = [function.__code__], {}, set()
    while codes:
        code = codes.pop()
        steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
        for level, wanted, step in zip([None, None, *steps], [None, *steps], steps, strict=False):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in function.__globals__:
                used[step.argval] = function.__globals__[step.argval]
            elif step.opname == "IMPORT_NAME":
                how = step.argval, function.__globals__, None, wanted.argval, level.argval
                with suppress(ImportError):  # then the function is without it, too
                    used[f"import {level.argval} {step.argval} {wanted.argval}"] = __import__(*how)
        names |= set(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return used, names


def _code_identity(code, docstring=None):
    constants = [_constant_identity(item) for item in code.co_consts]
    if docstring is not None and code.co_consts[0] == docstring and not _loads_first_constant(code):
        constants[0] = repr(None)
    stars = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    arguments = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, stars]
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + stars.bit_count()]
    return [code.co_code.hex(), constants, list(code.co_names), arguments, list(names)]


def _loads_first_constant(code):
    """Whether code reads the constant that is its docstring, as it does where it has an equal one."""
    return any(step.arg == 0 and step.opname.endswith("_CONST") for step in dis.get_instructions(code))


def _constant_identity(value):
    if isinstance(value, CodeType):
        return _code_identity(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


def _source_files():
    """The files of the code that decides the result of a fit, with their rooms."""
    for room in HASHED_PACKAGES:
        for file in sorted(files("growlattice").joinpath(room).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py") and file.name not in NOT_NUMERICAL:
                yield room, file


def _times_of_change():
    return {f"{room}/{file.name}": file.stat().st_mtime_ns for room, file in _source_files() if isinstance(file, Path)}


IMPORTED = _times_of_change()  # when the code that runs was read


@lru_cache
def code_version():
    """A digest of the code that decides the result of a fit, whatever its comments, docstrings and layout.

    Raises
    ------
    RuntimeError
        If the code was changed on disk after it was imported: what runs is then unknown.
    """
    if _times_of_change() != IMPORTED:
        raise RuntimeError(
            "growlattice was changed on disk after it was imported, so memory cannot tell what a fit would be of. "
            "Start Python anew."
        )
    digest = hashlib.blake2b(digest_size=16)
    for room, file in _source_files():
        digest.update(f"{room}/{file.name}".encode() + _code_of(file.read_text(encoding="utf-8")))
    return digest.hexdigest()


def _code_of(text):
    """A module's code without comments, docstrings and layout, the same in all versions of Python."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return json.dumps(_written(tree)).encode()


def _written(node):
    """A syntax tree as lists; without what is empty, as some versions have fields that others lack."""
    if isinstance(node, ast.AST):
        fields = [[name, _written(value)] for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *fields]
    return [_written(item) for item in node] if isinstance(node, list) else repr(node)
