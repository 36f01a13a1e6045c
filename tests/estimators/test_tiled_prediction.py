from __future__ import annotations

import numpy as np
import pytest

from sk_denoise.estimators._tiled_prediction import check_tile_size, iterate_tiles, max_tile_side


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
