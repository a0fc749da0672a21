import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from growlattice import datasets

from .conftest import store


@pytest.mark.parametrize("fetch", [getattr(datasets, name) for name in datasets.__all__])
def test_every_parameter_is_keyword_only_and_its_documented_default_is_the_real_one(fetch):
    parameters = inspect.signature(fetch).parameters
    documented = dict(re.findall(r"^(\w+) : .*default=(.+)$", inspect.getdoc(fetch), flags=re.MULTILINE))
    assert {name: eval(default) for name, default in documented.items()} == {
        name: parameter.default for name, parameter in parameters.items()
    }
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())


def test_reading_needs_neither_torch_nor_the_rest_of_the_package(case, tmp_path, monkeypatch):
    store(tmp_path, case)
    bare = ModuleType("growlattice")  # the package without what its __init__ imports
    bare.__path__ = [str(Path(datasets.__file__).parent.parent)]
    loaded = [name for name in sys.modules if name.startswith("growlattice.")]
    for name in ["torch", "torchvision", *loaded]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in loaded:
        if name.startswith("growlattice.datasets"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "growlattice", bare)
    module = importlib.import_module("growlattice.datasets")
    assert len(getattr(module, case.fetch.__name__)(data_home=tmp_path).images) == 3
