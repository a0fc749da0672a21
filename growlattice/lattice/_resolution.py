"""The resolution of each layer: averages of blocks of pixels on the way up, repeated pixels on the way down.

Resolutions that fall from layer to layer are those of the BLT networks of Spoerer et al. (2017, 2020), which take
maxima where means are taken here. A factor of 1, which is the paper, changes nothing. Functions without state.
"""

from numbers import Integral

from torch.nn import functional


def layer_factors(downsample, n_layers):
    """A factor for each layer, from one for all or one for each.

    Parameters
    ----------
    downsample : int or sequence of int of length n_layers
    n_layers : int

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        If a factor is no integer from 1 up, or if there are more or fewer than layers.

    Examples
    --------
    >>> layer_factors(2, n_layers=3), layer_factors([1, 2, 2], n_layers=3)
    ((2, 2, 2), (1, 2, 2))
    """
    factors = downsample if isinstance(downsample, (tuple, list)) else [downsample] * n_layers
    if len(factors) != n_layers or not all(isinstance(factor, Integral) and factor >= 1 for factor in factors):
        raise ValueError(
            f"downsample={downsample!r} must be an integer from 1 up for all layers, or a sequence of one for each of "
            f"the {n_layers} layers, from the first up."
        )
    return tuple(map(int, factors))


def layer_sizes(image_shape, factors):
    """Height and width of the maps of each layer: those below divided by the layer's factor, rounded up.

    Parameters
    ----------
    image_shape : tuple of int
        (channels, height, width) of the images.
    factors : sequence of int
        Of each layer.

    Returns
    -------
    list of (int, int)

    Raises
    ------
    ValueError
        If a factor is larger than both sides of what is below.

    Examples
    --------
    >>> layer_sizes((1, 28, 28), [1, 2, 4])
    [(28, 28), (14, 14), (4, 4)]
    """
    sizes, (height, width) = [], image_shape[1:]
    for layer, factor in enumerate(factors, start=1):
        if factor > max(height, width):
            raise ValueError(
                f"downsample={tuple(factors)!r}: layer {layer} cannot average {factor} x {factor} pixels, because "
                f"{height} x {width} are left of images of {image_shape[1]} x {image_shape[2]}. Give a factor of at "
                f"most {max(height, width)} to this layer."
            )
        height, width = -(-height // factor), -(-width // factor)
        sizes.append((height, width))
    return sizes


def pool(maps, factor):
    """The mean of each block of factor x factor pixels; of a block that a border cuts, the mean of what is there.

    Parameters
    ----------
    maps : tensor of shape (n_images, n_channels, height, width)
    factor : int

    Returns
    -------
    tensor of shape (n_images, n_channels, ceil(height / factor), ceil(width / factor))
    """
    if factor == 1:
        return maps
    return functional.avg_pool2d(maps, factor, ceil_mode=True, count_include_pad=False)


def upsample(maps, factor, size):
    """Every pixel as a block of factor x factor pixels, cut to a size: the way back from `pool`.

    Parameters
    ----------
    maps : tensor of shape (n_images, n_channels, ceil(height / factor), ceil(width / factor))
    factor : int
    size : (height, width)

    Returns
    -------
    tensor of shape (n_images, n_channels, height, width)
    """
    if factor == 1:
        return maps
    # "nearest" would round where a pixel begins, "nearest-exact" where its middle is
    repeated = functional.interpolate(maps, scale_factor=float(factor), mode="nearest-exact")
    return repeated[:, :, : size[0], : size[1]]
