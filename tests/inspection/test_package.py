import inspect

import pytest
from numpydoc.docscrape import FunctionDoc

from growlattice.inspection import attribution_entropy, attribution_map, occlude


@pytest.mark.parametrize("function", [occlude, attribution_map, attribution_entropy])
def test_every_parameter_is_documented_with_its_default(function):
    documented = {name: row.type for row in FunctionDoc(function)["Parameters"] for name in row.name.split(", ")}
    parameters = inspect.signature(function).parameters
    assert sorted(documented) == sorted(parameters)
    for name, described in documented.items():
        if "default=" in described:
            assert described.endswith(f"default={parameters[name].default}")
