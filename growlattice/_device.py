"""Where a lattice lives, and in what precision it computes."""

import torch

# dtype of the weights, and of autocast where that differs
PRECISIONS = {
    "auto": (torch.float32, None),
    "float32": (torch.float32, None),
    "float64": (torch.float64, None),
    "bfloat16": (torch.float32, torch.bfloat16),
}


def choose_device(device):
    """The torch device that a user's `device` means.

    Parameters
    ----------
    device : str or torch.device
        "auto" takes a GPU where there is one.

    Raises
    ------
    ValueError
        If there is no such device on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        n_gpus = torch.cuda.device_count()
        there = "'cpu'" + "".join(f", 'cuda:{index}'" for index in range(n_gpus))
        raise ValueError(
            f"device={device!r} cannot be used here: {str(error).splitlines()[0]}. "
            f"This machine has {there}; give one of them, or 'auto'."
        ) from error
    return torch.device(device)


def prediction_batch_size(image_shape, n_channels, device):
    """Images to predict at a time: so many that calls cost little, and not much memory in a layer of so many channels.

    The number depends on the lattice alone, so that the answer about an image does not depend on its company.
    """
    most = 2**19 if device.type == "cpu" else 2**26  # activations of a layer
    size = min(max(most // (n_channels * image_shape[1] * image_shape[2]), 4), 256 if device.type == "cpu" else 4096)
    return 2 ** (size.bit_length() - 1)
