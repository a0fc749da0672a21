"""A trained lattice in terms of tensors and JSON, and back, with every check that an untrusted file needs."""

import math

import pandas as pd
import torch

from .._training._input_form import InputForm
from .._training._target_form import TARGET_FORMS
from .._training._trained import TrainedLattice
from ..lattice import Lattice
from ..lattice._resolution import layer_factors
from ..lattice._surgery import drop_unreachable_layers, lattice_from_tensors
from ._file import other_errors_as_unusable, unusable
from ._json import as_json, from_json

MOST_STEPS = 10_000
MOMENTS = "moments."
LOCAL = {"memory"}  # parameters that mean something on one machine only
COSTS = {"error", "breadth", "depth", "time"}
PLAIN = "seed", "history", "costs", "time_used", "resources", "halting", "growth"  # written under their own names


def describe_estimator(estimator):
    """Class and parameters for JSON; those that are code or hold it are `left_out`, and only named."""
    described, left_out = [], {}
    for name, value in estimator.get_params(deep=False).items():
        if name in LOCAL:
            continue
        try:
            described.append([name, as_json(value)])
        except TypeError:
            left_out[name] = name_of(value)
    return {"class": type(estimator).__qualname__, "params": {"dict": described}, "left_out": left_out}


def name_of(value):
    """What to call something that is code, in a table.

    Examples
    --------
    >>> name_of([(describe_estimator, 1.0)])
    '[[describe_estimator, 1.0]]'
    """
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(name_of, value))}]"
    return repr(value) if isinstance(value, (int, float)) else getattr(value, "__qualname__", type(value).__qualname__)


def read_params(description):
    """The parameters that `describe_estimator` described."""
    return {name: value for name, value in from_json(description["params"]).items() if name not in LOCAL}


def describe_trained(trained):
    """A TrainedLattice as tensors and a description for JSON.

    Returns
    -------
    tensors : dict of str to tensor
    description : dict
    """
    moments = {MOMENTS + name: tensor for name, tensor in trained.moments.items()}
    description = {
        "config": as_json(trained.lattice.config),
        "frozen": trained.lattice.frozen,
        "form": as_json(list(vars(trained.form).values())),
        "target_form": as_json(list(vars(trained.target_form).values())),
        **{name: as_json(getattr(trained, name)) for name in PLAIN},
    }
    return trained.lattice.state_dict() | moments, description


def read_trained(path, tensors, description):
    """The TrainedLattice that `describe_trained` described, on the CPU.

    Raises
    ------
    ValueError
        If the parts do not fit each other; `path` is named.
    """
    with other_errors_as_unusable(path):
        moments = {name: tensor for name, tensor in tensors.items() if name.startswith(MOMENTS)}
        tensors = {name: tensor for name, tensor in tensors.items() if name not in moments}
        config = from_json(description["config"])
        trained = TrainedLattice(
            lattice=_read_lattice(path, tensors, config),
            form=InputForm(*from_json(description["form"])),
            target_form=TARGET_FORMS[config["task"]](*from_json(description["target_form"])),
            **{name: from_json(description[name]) for name in PLAIN},
            moments={name.removeprefix(MOMENTS): tensor for name, tensor in moments.items()},
        )
        for name in description["frozen"]:
            trained.lattice.get_parameter(name).requires_grad_(False)
        _check_trained(trained)
        _check_moments(trained)
    return trained


def _read_lattice(path, tensors, config):
    """The lattice of a file, after a check that its tensors are those that the configuration asks for."""
    mask, steps = tensors.get("mask"), tensors.get("step_mask")
    try:
        _check_config(config)
        for tensor, shape in ((mask, (config["n_layers"], config["n_channels"])), (steps, (config["n_steps"],))):
            if tensor is None or tensor.dtype != torch.bool or tuple(tensor.shape) != shape:
                raise unusable(path, "its masks do not fit its configuration")
        if not mask.any() or not torch.equal(mask, drop_unreachable_layers(mask)):
            raise unusable(path, "its channel mask leaves no lattice")
        if not steps[0] or (steps[1:] > steps[:-1]).any():
            raise unusable(path, "its step mask leaves no steps or others than the first")
        if sum(name.startswith("lateral.") for name in tensors) != int(mask.any(dim=1).sum()):
            raise unusable(path, "its tensors are not those of the layers in its mask")
        inputs_left = len(tensors["input.weight"])
        if not 1 <= inputs_left <= config["n_channels"]:
            raise unusable(path, "its input convolution has no channels or more than there were")
        expected = Lattice(**config, mask=mask, steps_left=int(steps.sum()), inputs_left=inputs_left).state_dict()
    except (TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise unusable(path, f"its configuration makes no lattice ({error})") from error
    dtype = tensors["input.weight"].dtype
    for name in expected.keys() | tensors.keys():
        if name not in expected or name not in tensors or tensors[name].shape != expected[name].shape:
            raise unusable(path, f"the tensor {name!r} does not fit its configuration")
        if name not in ("mask", "step_mask") and (
            tensors[name].dtype != dtype or dtype not in (torch.float32, torch.float64)
        ):
            raise unusable(path, f"the tensor {name!r} has dtype {tensors[name].dtype}")
        if not torch.isfinite(tensors[name]).all() or (
            name in ("pixel_std", "score_norm") and not (tensors[name] > 0).all()
        ):
            raise unusable(path, f"the tensor {name!r} holds numbers that no training gives")
    return lattice_from_tensors(config, tensors)


def _check_config(config):
    """Raise a TypeError unless the configuration is one that the estimators make."""
    sizes = ("n_outputs", "n_channels", "n_layers", "n_steps", "kernel_size")
    sound = (
        all(type(config[name]) is int and config[name] > 0 for name in sizes)
        and config["task"] in TARGET_FORMS
        and config["n_steps"] <= MOST_STEPS
        and config["kernel_size"] % 2 == 1
        and type(config["downsample"]) is tuple
        and config["downsample"] == layer_factors(config["downsample"], config["n_layers"])
        and config["time_selection"] in ("adaptive", "fixed")
        and type(config["temperature"]) in (int, float)
        and 0 < config["temperature"] < math.inf
    )
    if not sound:
        raise TypeError("a size, a resolution, the task, the temperature or the time selection is out of range")


def _check_trained(trained):
    """Raise a ValueError unless the parts fit each other."""
    trained.form.check()
    trained.target_form.check()
    costs, history = trained.costs, trained.history
    wrong = {
        "image_shape": trained.form.image_shape != trained.lattice.config["image_shape"],
        "time_used": type(trained.time_used) is not (float if costs else type(None)),
        "costs": costs is not None and (set(costs) != COSTS or not all(type(cost) is float for cost in costs.values())),
        "resources": trained.resources is not None and not isinstance(trained.resources, pd.DataFrame),
        "halting": trained.halting is not None and not _is_threshold(trained.halting["threshold"], trained.lattice),
        "seed": type(trained.seed) is not int or not 0 <= trained.seed < 2**31,
        "history": not _are_dicts(history),
        "growth": not _are_dicts(trained.growth) or not all(_is_growth(row, trained.lattice) for row in trained.growth),
    }
    if any(wrong.values()):
        raise ValueError(f"{', '.join(name for name, bad in wrong.items() if bad)} cannot be so")
    if trained.target_form.n_outputs != trained.lattice.config["n_outputs"]:
        raise ValueError(f"{trained.target_form} is the form of other targets than the lattice was made for")


def _are_dicts(rows):
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _is_growth(row, lattice):
    """Whether a record of growth names channels that there may be."""
    slots = row["new_channels"]
    sound = all(type(slot) is int and 0 <= slot < lattice.n_channels for layer in slots for slot in layer)
    return sound and len(slots) == lattice.n_layers and type(row["epoch"]) is int


def _is_threshold(number, lattice):
    """Whether this is a probability or, where answers are numbers, a movement."""
    if type(number) is not float:
        return False
    return 0 < number <= 1 if lattice.config["task"] == "classification" else 0 <= number < math.inf


def _check_moments(trained):
    """Raise a ValueError unless the moments are those of parameters of the lattice, all or none of each."""
    left = dict(trained.moments)
    for name, parameter in trained.lattice.named_parameters():
        shapes = {"step": (), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
        found = {kind: left.pop(f"{name}.{kind}") for kind in shapes if f"{name}.{kind}" in left}
        sound = all(
            tensor.shape == torch.Size(shapes[kind]) and torch.isfinite(tensor).all() for kind, tensor in found.items()
        )
        if not sound or len(found) not in (0, len(shapes)):
            raise ValueError(f"the moments of {name!r} do not fit it")
    if left:
        raise ValueError(f"there are moments of no parameter: {sorted(left)}")
