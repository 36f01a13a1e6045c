"""NoiseModelDisplay: points, lines and words of a noise model, and errors."""

import numpy as np
import pytest
from skimage import data

from sk_denoise.plots import NoiseModelDisplay
from sk_denoise.restoration import NoiseModel, estimate_noise


def counts():
    return np.random.default_rng(0).poisson(0.4 * data.camera()).astype(np.uint16)


def test_counts_rise_along_the_line_of_the_model():
    display = NoiseModelDisplay.from_image(counts())
    light, variance = display.variance_line_.get_data()
    assert np.polyfit(light, variance, 1)[0] == pytest.approx(display.model.gain, rel=1e-6)
    means, variances = display.points_.get_offsets().data.T
    assert np.corrcoef(means, variances)[0, 1] > 0.9
    assert str(display.model) == display.figure_.get_suptitle().replace("\n", " ")


def test_white_noise_is_level_in_both_panels():
    noisy = 128 + np.random.default_rng(0).normal(0, 10, (256, 256))
    display = NoiseModelDisplay.from_model(estimate_noise(noisy))
    assert len(display.axes_) == 2
    assert np.ptp(display.variance_line_.get_ydata()) == 0
    levels = display.level_line_.get_ydata()
    assert max(levels) < 1.3 * min(levels)


def test_a_model_without_points_has_one_panel():
    display = NoiseModelDisplay.from_model(NoiseModel("camera", 0.02, levels=(0.01, 0.02, 0.03)))
    assert len(display.axes_) == 1
    np.testing.assert_array_equal(display.level_line_.get_xdata(), [1, 2, 4])
    assert NoiseModelDisplay.from_model(NoiseModel("none", 0.0)).points_ is None


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match="model must be a NoiseModel, as estimate_noise returns it, got 3"):
        NoiseModelDisplay.from_model(3)
