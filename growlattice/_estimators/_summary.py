"""Numbers about a fitted lattice: a row of `resources_`, and the record of a fit in `memory`."""

import platform
from datetime import UTC, datetime

import torch


def resources_row(lattice, **scores):
    """A row of `resources_`: what is left of a lattice, and how good it is."""
    return {
        "inputs": lattice.inputs_left,
        "layers": len(lattice.channels_left),
        "channels": lattice.channels_left,
        "steps": lattice.steps_left,
        "parameters": sum(parameter.numel() for parameter in lattice.parameters()),
        "macs": lattice.macs(),
        **scores,
    }


def fit_record(estimator, n_images):
    """What a sweep's table says about a fit beside its parameters and costs."""
    device = torch.device(estimator.device_)
    history, score_name = estimator.history_, estimator.lattice_.task.score_name
    return {
        score_name: float(history[score_name].iloc[-1]),
        "channels_used": estimator.channels_used_,
        "layers_used": estimator.layers_used_,
        "n_parameters": estimator.n_parameters_,
        "macs_per_image": estimator.macs_per_image_,
        "n_images": n_images,
        "n_epochs": len(history),
        "seconds": float(history["dur"].sum()),
        "finished": datetime.now(UTC).isoformat(),
        "trained_on": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
    }
