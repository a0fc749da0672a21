"""What displays are given, checked: images, and attributes of a fitted estimator."""

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

CHANNELS = (1, 3, 4)


def checked_images(images):
    images = check_array(images, allow_nd=True, ensure_2d=False, input_name="images")
    if images.ndim == 3 or (images.ndim == 4 and (images.shape[3] in CHANNELS or images.shape[1] in CHANNELS)):
        return np.ascontiguousarray(images)
    raise ValueError(
        f"Images have shape {images.shape}, but need three axes, or four with 1, 3 or 4 channels. Give them as "
        "(n, height, width), (n, height, width, channels) or (n, channels, height, width)."
    )


def as_channels_first(images):
    """The images as a view of shape (n_images, n_channels, height, width)."""
    if images.ndim == 3:
        return images[:, None]
    return images.transpose(0, 3, 1, 2) if images.shape[3] in CHANNELS else images


def fitted_attribute(estimator, name):
    check_is_fitted(estimator)
    if not hasattr(estimator, name):
        raise TypeError(
            f"{type(estimator).__name__} has no {name}. Give a fitted LatticeClassifier or LatticeRegressor; of a "
            "pipeline, give its last step, and images as that step sees them."
        )
    return getattr(estimator, name)
