"""Views of images: arrays for the screen."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sk_denoise.app import _views
from sk_denoise.app._views import (
    amplify_residual,
    compute_display_range,
    compute_residual,
    crop_square,
    encode_data_uri,
    shrink_to_screen,
    to_display,
)


def decode(uri):
    """Return the header and the image of a data URI."""
    header, _, data = uri.partition(";base64,")
    return header, np.asarray(Image.open(BytesIO(b64decode(data))))


def test_8_bits_stay_the_same(photo):
    assert compute_display_range(photo) == (0, 255)
    np.testing.assert_array_equal(to_display(photo, (0, 255)), photo)
    with_alpha = np.dstack([photo, photo[..., 0]])
    np.testing.assert_array_equal(to_display(with_alpha, (0, 255)), photo)
    np.testing.assert_array_equal(to_display(with_alpha[..., [0, 3]], (0, 255)), photo[..., 0])


def test_deep_images_are_stretched_to_the_display_range(photo):
    twelve_bits = photo.astype(np.uint16) * 16
    low, high = compute_display_range(twelve_bits)
    assert 0 <= low < high <= 255 * 16
    assert np.ptp(to_display(twelve_bits, (low, high))) == 255
    flat = np.full((5, 5), 0.3)
    assert to_display(flat, compute_display_range(flat)).shape == (5, 5)


def test_large_images_are_shrunk_by_block_means(photo):
    small = shrink_to_screen(photo, max_side=64)
    assert small.shape == (48, 64, 3)
    np.testing.assert_allclose(small[0, 0], photo[:2, :2].reshape(-1, 3).mean(axis=0), atol=1)
    assert shrink_to_screen(photo, max_side=128) is photo


@pytest.mark.parametrize(
    ("across", "down", "rows", "columns"),
    [(0.5, 0.5, (32, 64), (48, 80)), (0, 0, (0, 32), (0, 32)), (1, 1, (64, 96), (96, 128))],
)
def test_a_square_lies_within_the_image(across, down, rows, columns, photo):
    np.testing.assert_array_equal(crop_square(photo, across, down, 32), photo[slice(*rows), slice(*columns)])
    assert crop_square(photo, across, down, 500).shape == photo.shape


def test_the_residual_is_gray_without_a_change(photo, noisy):
    unchanged = amplify_residual(compute_residual(photo, photo, (0, 255)), 4)
    assert unchanged.shape == photo.shape
    assert (unchanged == 128).all()
    residual = compute_residual(noisy, photo, (0, 255))
    brighter = noisy.astype(int) > photo
    assert (amplify_residual(residual, 4)[brighter] > 128).all()
    assert np.std(amplify_residual(residual, 8)) > np.std(amplify_residual(residual, 2))
    assert compute_residual(noisy, photo, (0, 255), max_side=64).shape == (48, 64, 3)


def test_data_uris_contain_the_image(photo, monkeypatch):
    header, image = decode(encode_data_uri(photo))
    assert header == "data:image/png"
    np.testing.assert_array_equal(image, photo)
    monkeypatch.setattr(_views, "MAX_PNG_PIXELS", 100)
    header, image = decode(encode_data_uri(photo))
    assert header == "data:image/jpeg"
    assert np.abs(image.astype(int) - photo).mean() < 5
