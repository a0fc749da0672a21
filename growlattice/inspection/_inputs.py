"""What displays are given, checked: images, and attributes of a fitted estimator."""

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

CHANNELS = (1, 3, 4)


def checked_images(images, image_shape=None):
    """Images as a contiguous array, which have `image_shape` or a number of channels that says which axis they are."""
    images = check_array(images, allow_nd=True, ensure_2d=False, input_name="images")
    told = images.ndim == 4 and image_shape is not None and images.shape[1:] == tuple(image_shape)
    if images.ndim == 3 or told or (images.ndim == 4 and {images.shape[1], images.shape[3]} & set(CHANNELS)):
        return np.ascontiguousarray(images)
    raise ValueError(
        f"Images have shape {images.shape}, but need three axes, or four with 1, 3 or 4 channels. Give them as "
        "(n, height, width), (n, height, width, channels) or (n, channels, height, width)."
    )


def as_channels_first(images, image_shape=None):
    """The images as a view of shape (n_images, n_channels, height, width).

    Where both ends could be channels, the last axis is, unless `image_shape` is their (channels, height, width).
    """
    if images.ndim == 3:
        return images[:, None]
    if images.shape[3] not in CHANNELS or (image_shape is not None and images.shape[1:] == tuple(image_shape)):
        return images
    return images.transpose(0, 3, 1, 2)


def declared_shape(estimator):
    """The parameter `image_shape` that an estimator was fitted with, or None."""
    return getattr(getattr(estimator, "input_form_", None), "declared_shape", None)


def images_to_draw(estimator, images):
    """Images that an estimator reads, with the channels last if it was told that they are first."""
    shape = declared_shape(estimator)
    images = checked_images(images, shape)
    return images if shape is None else as_channels_first(images, shape).transpose(0, 2, 3, 1)


def fitted_attribute(estimator, name):
    check_is_fitted(estimator)
    if not hasattr(estimator, name):
        raise TypeError(
            f"{type(estimator).__name__} has no {name}. Give a fitted LatticeClassifier or LatticeRegressor; of a "
            "pipeline, give its last step, and images as that step sees them."
        )
    return getattr(estimator, name)
