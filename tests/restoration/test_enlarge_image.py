"""Tests of enlargement by the pretrained network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sk_denoise import BicubicEnlarger, DownscaleNoiser
from sk_denoise.datasets import load_images
from sk_denoise.metrics import psnr
from sk_denoise.restoration import enlarge_image, load_pretrained


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_the_network_beats_cubic_interpolation(color):
    gains = []
    for photo in load_images(color).test[:3]:
        clean = photo[:160, :200]
        low = np.asarray(DownscaleNoiser(2).fit_transform(clean[None]))
        cubic = BicubicEnlarger(2).fit(low).predict(low)[0]
        enlarged = enlarge_image(low[0])
        assert enlarged.shape == clean.shape
        gains.append(
            psnr(clean[None], enlarged[None], data_range=1) - psnr(clean[None], cubic[None], data_range=1)
        )
    assert np.mean(gains) > 1.5
    assert min(gains) > 0


def test_types_alpha_and_one_channel_are_kept():
    photo = load_images("rgb").test[0][:40, :50]
    integers = (255 * photo).round().astype(np.uint8)
    large = enlarge_image(integers)
    assert (large.dtype, large.shape) == (np.uint8, (80, 100, 3))
    np.testing.assert_allclose(large / 255, enlarge_image(photo), atol=0.02)
    alpha = np.zeros((40, 50, 1), np.uint8)
    alpha[:, 25:] = 255
    with_alpha = enlarge_image(np.concatenate([integers, alpha], axis=2))
    np.testing.assert_array_equal(with_alpha[..., :3], large)
    assert with_alpha[:, :40, 3].max() == 0
    assert with_alpha[:, 60:, 3].min() == 255
    deep = enlarge_image((65535 * photo[..., 0]).astype(np.uint16))
    assert (deep.dtype, deep.shape) == (np.uint16, (80, 100))
    assert enlarge_image(photo[..., :1]).shape == (80, 100, 1)


def test_a_factor_of_four_enlarges_twice():
    image = load_images("gray").test[0][:24, :30]
    np.testing.assert_array_equal(enlarge_image(image, 4), enlarge_image(enlarge_image(image)))


def test_images_of_one_pixel_and_one_value_work():
    assert enlarge_image(np.full((1, 1), 7, np.uint8)).tolist() == [[7, 7], [7, 7]]
    np.testing.assert_allclose(enlarge_image(np.full((9, 9), 0.5)), 0.5, atol=0.01)


@pytest.mark.parametrize("factor", [1, 3, 2.5, True, "2"])
def test_other_factors_are_refused(factor):
    with pytest.raises(ValueError, match="factor must be 2 or 4"):
        enlarge_image(np.zeros((8, 8)), factor)


def test_pixels_without_a_value_are_refused():
    with pytest.raises(ValueError, match="holds NaN"):
        enlarge_image(np.where(np.eye(8) > 0, np.nan, 0.5))


def test_the_pretrained_network_is_an_estimator_that_enlarges():
    enlarger = load_pretrained("enlarge")
    assert enlarger.scale_ == 2
    photos = np.stack([x[:64, :64] for x in load_images("rgb").test[:2]])
    low = np.asarray(DownscaleNoiser(2).fit_transform(photos))
    assert enlarger.predict(low).shape == photos.shape
    assert isinstance(enlarger.net_.module_, torch.nn.Module)
    assert enlarger.score(low, photos) > 20
