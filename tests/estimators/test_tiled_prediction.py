from __future__ import annotations

import numpy as np
import pytest

from sk_denoise import UNetNetwork
from sk_denoise._resources import Cost, cost_of
from sk_denoise.estimators._tiled_prediction import (
    MAX_TILE_MEMORY,
    TiledPredictor,
    check_tile_size,
    iterate_tiles,
    max_tile_side,
)


@pytest.mark.parametrize("sides", [(1, 1), (5, 40), (64, 64), (65, 130), (200, 3)])
@pytest.mark.parametrize("side", [4, 32, 64, None])
def test_tiles_cover_every_pixel_once(sides, side):
    covered = np.zeros(sides, int)
    for tile in iterate_tiles(*sides, side, 8):
        covered[tile.inner] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("sides", [(5, 40), (65, 130)])
def test_tiles_have_a_halo_inside_the_image(sides):
    image = np.arange(np.prod(sides)).reshape(sides)
    for tile in iterate_tiles(*sides, 16, 8):
        np.testing.assert_array_equal(image[tile.outer][tile.inner_in_outer], image[tile.inner])
        for inner, outer, length in zip(tile.inner, tile.outer, sides, strict=True):
            assert outer.start == max(0, inner.start - 8)
            assert outer.stop == min(length, inner.stop + 8)


def test_tiles_start_at_multiples_of_the_stride():
    starts = [
        edge.start % 4 for tile in iterate_tiles(101, 77, 32, 12) for edge in (*tile.inner, *tile.outer)
    ]
    assert set(starts) == {0}


def test_a_tile_with_its_halo_fits_in_the_memory():
    side = max_tile_side(512, 48, 4)
    assert side % 4 == 0
    assert 512 * (side + 96) ** 2 <= 2**28 < 512 * (side + 104) ** 2
    assert max_tile_side(512, 48, 4, memory=1000) == 48  # at least the halo


@pytest.mark.parametrize("tile_size", ["auto", None, 4, 64])
def test_valid_tile_sizes_pass(tile_size):
    check_tile_size(tile_size, 4)


@pytest.mark.parametrize("tile_size", [0, 2, 6, -4, 64.0, "large", True])
def test_invalid_tile_sizes_are_refused(tile_size):
    with pytest.raises(ValueError, match=r'tile_size must be "auto", None .* a multiple of 4 pixels'):
        check_tile_size(tile_size, 4)


def predictor(widths, tile_size="auto"):
    """Return the engine of a U-Net for gray images."""
    network = UNetNetwork(widths).build(channels=1, noise_map=False)
    cost = cost_of(network, (1, 128, 128))
    cost = Cost(cost.flops // 128**2, cost.widest // 128**2)
    return TiledPredictor.of(network, cost, black=0, data_range=1, adds_noise_map=False, tile_size=tile_size)


def test_a_network_whose_smallest_tile_is_too_large_is_refused_before_it_computes():
    deep = predictor((64, *[2] * 6))
    image = np.broadcast_to(np.float32(0), (1, 4000, 4000, 1))
    with pytest.raises(
        ValueError, match=r"UNet needs \d+\.\d GB for one tile of .* pixels on each side; the limit"
    ):
        deep.restore(image, image)
    with pytest.raises(ValueError, match="for one tile"):
        deep.differentiate(image, image)
    # An image that is smaller than a tile has no halo.
    small = np.zeros((1, 64, 64, 1), np.float32)
    deep.restore(small, small.copy())
    # A size that the user chose is taken.
    assert predictor((64, *[2] * 6), tile_size=128).bytes_per_pixel == 0


def test_a_wide_halo_makes_tiles_smaller_than_it():
    wide = predictor((16, *[2] * 6))
    assert 64 <= wide.side < wide.halo
    assert (wide.side + 2 * wide.halo) ** 2 * wide.bytes_per_pixel <= MAX_TILE_MEMORY
