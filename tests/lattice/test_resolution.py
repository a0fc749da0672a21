import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from growlattice.lattice import Lattice
from growlattice.lattice._resolution import layer_factors, layer_sizes, pool, upsample

from .. import reference
from ..lattices import fresh_lattice

SIDES, FACTORS = st.integers(1, 9), st.integers(1, 9)


def maps_of(height, width, n_images=2):
    return torch.randn(n_images, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@given(SIDES, SIDES, FACTORS)
@settings(max_examples=60, deadline=None)
def test_pooling_equals_naive_reference_at_any_size(height, width, factor):
    maps = maps_of(height, width)
    expected = [reference.block_means(image, factor) for image in maps.numpy()]
    np.testing.assert_allclose(pool(maps, factor), expected, atol=1e-12)
    if factor <= max(height, width):
        assert layer_sizes((3, height, width), [factor]) == [tuple(pool(maps, factor).shape[2:])]


@given(SIDES, SIDES, FACTORS)
@settings(max_examples=60, deadline=None)
def test_upsampling_equals_naive_reference_at_any_size(height, width, factor):
    maps = maps_of(-(-height // factor), -(-width // factor))
    expected = [reference.repeat_pixels(image, factor, height, width) for image in maps.numpy()]
    assert np.array_equal(upsample(maps, factor, (height, width)), expected)


@pytest.mark.parametrize("factor", [41, 47, 61, 97])
def test_pixels_begin_where_their_blocks_do_at_factors_without_an_exact_inverse(factor):
    maps = torch.arange(30.0).reshape(1, 1, 1, 30)
    found = upsample(maps, factor, (1, 30 * factor))
    assert torch.equal(found, maps.repeat_interleave(factor, 3))


def test_pooling_takes_back_what_upsampling_did():
    maps = maps_of(3, 2)
    torch.testing.assert_close(pool(upsample(maps, 4, (10, 7)), 4), maps)


def test_sizes_are_rounded_up_and_never_empty():
    assert layer_sizes((1, 28, 28), (1, 8, 2)) == [(28, 28), (4, 4), (2, 2)]
    assert layer_sizes((3, 1, 60), (2, 3, 10)) == [(1, 30), (1, 10), (1, 1)]
    assert layer_sizes((5, 1, 1), (1, 1)) == [(1, 1), (1, 1)]


@pytest.mark.parametrize(
    "downsample", [0, -2, 2.0, "2", None, (1, 2), (1, 2, 0), (1, 2, 2.0), (1, 2, 2, 1), np.ones(3)]
)
def test_factors_that_make_no_sense_are_named(downsample):
    with pytest.raises(ValueError, match=r"downsample=.* must be an integer from 1 up .* each of the 3 layers"):
        layer_factors(downsample, 3)


@pytest.mark.parametrize(
    "shape, downsample, words",
    [
        ((1, 8, 8), 9, r"layer 1 cannot average 9 x 9 pixels, because 8 x 8 are left of images of 8 x 8\..*at most 8 "),
        ((1, 8, 8), (4, 1, 3), r"layer 3 cannot average 3 x 3 pixels, because 2 x 2 are left of images of 8 x 8\."),
        ((64, 1, 1), 2, "layer 1 cannot average 2 x 2 pixels, because 1 x 1 are left of images of 1 x 1"),
    ],
)
def test_a_factor_larger_than_what_is_left_of_the_image_is_named(shape, downsample, words):
    with pytest.raises(ValueError, match=words):
        fresh_lattice(shape=shape, downsample=downsample)


def test_factors_of_numpy_are_kept_as_plain_integers():
    config = fresh_lattice(shape=(1, 8, 8), downsample=np.int64(2)).config
    assert config["downsample"] == (2, 2, 2) and {type(factor) for factor in config["downsample"]} == {int}
    assert Lattice(**config).layer_sizes == [(4, 4), (2, 2), (1, 1)]
