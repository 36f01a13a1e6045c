"""Noise of signals: statistics, spectra, layouts, windows and errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from sk_denoise import (
    BaselineWanderNoiser,
    DenoisingAutoencoder,
    DnCNNNetwork,
    HumNoiser,
    ImageDenoiser,
    NoiserChain,
    SignalDenoiser,
    SignalUNetNetwork,
)
from sk_denoise.noise import add_hum, add_wander

RNG = np.random.default_rng(0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def wander(x, seed=0, **settings):
    return add_wander(x, generator(seed), **{"noise_factor": 1.0, **settings})


def hum(x, seed=0, **settings):
    return add_hum(x, generator(seed), **{"noise_factor": 1.0, "sampling_rate": 360, **settings})


BOTH = pytest.mark.parametrize("add", [wander, hum])


# Functions ----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "shape", [(4, 50), (4, 3, 50), (4, 1, 50, 3), (4, 50, 1, 3), (1, 1), (2, 1, 1, 1)], ids=str
)
def test_a_function_is_pure_and_keeps_type_and_shape(add, dtype, shape):
    x = torch.rand(shape, generator=generator(1)).to(dtype)
    before, state = x.clone(), torch.get_rng_state()
    noisy = add(x)
    assert (noisy.dtype, noisy.shape) == (x.dtype, x.shape)
    assert noisy.isfinite().all()
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(add(x), noisy)
    assert not torch.equal(add(x, seed=1), noisy)


@BOTH
def test_all_layouts_get_equal_noise(add):
    signals = torch.zeros(4, 3, 60)
    noise = add(signals, noise_factor=(0.1, 1.0))
    assert torch.equal(add(torch.zeros(4, 1, 60, 3), noise_factor=(0.1, 1.0))[:, 0].mT, noise)
    assert torch.equal(add(torch.zeros(4, 60, 1, 3), noise_factor=(0.1, 1.0))[:, :, 0].mT, noise)
    rows = add(torch.zeros(4, 60), noise_factor=(0.1, 1.0))
    assert torch.equal(add(torch.zeros(4, 1, 60), noise_factor=(0.1, 1.0))[:, 0], rows)
    assert torch.equal(add(torch.zeros(4, 1, 60, 1), noise_factor=(0.1, 1.0))[:, 0, :, 0], rows)


@BOTH
def test_data_and_their_precision_do_not_change_the_noise(add):
    x = torch.rand(6, 2, 80, generator=generator(1))
    noise = add(torch.zeros_like(x))
    torch.testing.assert_close(add(x) - x, noise, rtol=0, atol=1e-5)
    torch.testing.assert_close(add(x.double()) - x.double(), noise.double(), rtol=0, atol=1e-6)


def spectrum(noise):
    return (np.abs(np.fft.rfft(noise)) ** 2).reshape(-1, noise.shape[-1] // 2 + 1).mean(axis=0)


def test_a_wander_has_its_deviation_at_each_sample_and_no_high_frequencies():
    noise = wander(torch.zeros(1500, 2, 400), noise_factor=0.5, max_frequency=0.02).numpy()
    assert noise.std() == pytest.approx(0.5, rel=0.02)
    np.testing.assert_allclose(noise[..., ::80].std(axis=(0, 1)), 0.5, rtol=0.07)
    # Close to Gaussian: 4.6 % of the values lie beyond two deviations.
    assert (np.abs(noise) > 1.0).mean() == pytest.approx(0.0455, abs=0.01)
    assert abs(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]) < 0.05
    tapered = spectrum(noise * np.hanning(400))
    # 0.02 waves per sample are eight in 400 samples.
    assert tapered[11:].sum() < 1e-3 * tapered.sum()
    assert tapered[5:9].sum() > 0.3 * tapered.sum()


def test_a_window_gets_the_part_of_a_long_wander():
    """A signal shorter than a wave has an offset and a slope, and no wave of its own."""
    long, short = (wander(torch.zeros(3000, length), max_frequency=0.001).numpy() for length in (500, 50))
    assert short.std() == pytest.approx(long.std(), rel=0.05)
    inside = short.std(axis=1).mean()
    windows = long.reshape(-1, 50)
    assert inside == pytest.approx(windows.std(axis=1).mean(), rel=0.1)
    assert inside < 0.1 * short.std()


def test_frequencies_in_hertz_are_those_of_the_sampling_rate():
    x = torch.zeros(3, 100)
    assert torch.equal(wander(x, max_frequency=5, sampling_rate=500), wander(x, max_frequency=0.01))


def test_a_long_wander_has_its_deviation_to_the_end():
    noise = wander(torch.zeros(1, 400_000), max_frequency=0.01)
    assert float(noise.std()) == pytest.approx(1.0, rel=0.03)
    assert float(noise[:, -100_000:].std()) == pytest.approx(1.0, rel=0.15)
    assert float(noise.diff(dim=1).abs().max()) < 4 * 2 * np.pi * 0.01


def test_hum_has_its_root_mean_square_and_lines_at_the_multiples_of_the_mains():
    noise = hum(torch.zeros(300, 720), noise_factor=0.3, frequency_deviation=0.0).numpy()
    # 720 samples are two seconds, 100 whole waves.
    np.testing.assert_allclose(np.sqrt((noise**2).mean(axis=1)), 0.3, rtol=1e-3)
    lines = spectrum(noise)
    assert lines[[100, 200, 300]].sum() == pytest.approx(lines.sum())
    assert lines[100] > 3 * lines[200] > 3 * lines[300] > 0
    phases = np.angle(np.fft.rfft(noise)[:, 100])
    assert abs(np.exp(1j * phases).mean()) < 0.2


def test_channels_share_the_frequency_and_have_their_own_amplitude():
    noise = hum(torch.zeros(200, 3, 3600), frequency_deviation=2.0, n_harmonics=1).numpy()
    peaks = np.abs(np.fft.rfft(noise)).argmax(axis=-1)
    assert (peaks == peaks[:, :1]).all()
    # Ten seconds: 2 Hz are 20 lines.
    assert peaks.min() == pytest.approx(480, abs=2)
    assert peaks.max() == pytest.approx(520, abs=2)
    amplitudes = np.sqrt((noise**2).mean(axis=2))
    np.testing.assert_allclose(np.sqrt((amplitudes**2).mean(axis=1)), 1.0, rtol=0.02)
    assert amplitudes.std(axis=1).min() > 0.001
    assert amplitudes.max() < 2


def test_harmonics_beyond_half_the_sampling_rate_are_left_out():
    noise = hum(torch.zeros(50, 240), sampling_rate=120, frequency_deviation=0.0, n_harmonics=9).numpy()
    lines = spectrum(noise)
    assert lines[100] == pytest.approx(lines.sum())


# Transformers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noiser", [BaselineWanderNoiser(0.5, scale="std"), HumNoiser(360, 0.5, scale="std")])
@pytest.mark.parametrize("layout", [lambda x: x, lambda x: np.moveaxis(x, 1, 2)[:, None]], ids=["3-D", "4-D"])
def test_relative_noise_follows_the_deviation_of_each_channel(noiser, layout):
    spreads = np.array([1e-3, 0.0, 1e3])[:, None]
    X = layout(RNG.normal(size=(200, 3, 300)) * spreads + 5)
    noise = np.asarray(noiser.set_params(random_state=0).fit_transform(X)) - X
    axes = (0, 2) if X.ndim == 3 else (0, 1, 2)
    np.testing.assert_allclose(noise.std(axis=axes), 0.5 * X.std(axis=axes), rtol=0.1)
    assert noiser.scale_.shape == (3,)
    assert noiser.scale_[1] == 0


def test_relative_noise_of_rows_has_one_unit_for_all_samples():
    X = np.sin(np.arange(200) / 20) * RNG.uniform(1, 2, size=(50, 1))
    assert BaselineWanderNoiser(0.5, scale="std").fit(X).scale_ == pytest.approx([X.std()])


def test_integers_keep_their_unit():
    X = RNG.integers(0, 4096, size=(100, 300)).astype(np.int16)
    noise = np.asarray(BaselineWanderNoiser(200, random_state=0).fit_transform(X)) - X
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(200, rel=0.15)


WRONG = [
    (HumNoiser(100), (5, 50), r"frequency \+ frequency_deviation must be below half the sampling rate, 50"),
    (HumNoiser(100, frequency=50, frequency_deviation=0), (5, 50), "below half the sampling rate.*aliasing"),
    (HumNoiser(360, frequency=1, frequency_deviation=1), (5, 50), "frequency_deviation=1 Hz must be below"),
    (HumNoiser(360, n_harmonics=0), (5, 50), "'n_harmonics' parameter of HumNoiser"),
    (HumNoiser(0.1), (5, 50), r"first argument: HumNoiser\(sampling_rate, noise_factor\)"),
    (HumNoiser(np.nan), (5, 50), "'sampling_rate' parameter of HumNoiser"),
    (HumNoiser(360, -1), (5, 50), "noise_factor must be a finite number of at least 0"),
    (HumNoiser(360, np.array([0.1, 0.2])), (5, 50), "'noise_factor' parameter of HumNoiser"),
    (HumNoiser(360), (5, 8, 8, 3), r"Signals have the shape \(n_samples, length\).*got \(5, 8, 8, 3\)"),
    (BaselineWanderNoiser(max_frequency=0.5), (5, 50), "waves per sample without a sampling_rate"),
    (BaselineWanderNoiser(max_frequency=0), (5, 50), "'max_frequency' parameter of BaselineWanderNoiser"),
    (BaselineWanderNoiser(sampling_rate=-1), (5, 50), "'sampling_rate' parameter of BaselineWanderNoiser"),
]


@pytest.mark.parametrize(("noiser", "shape", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_parameters_and_layouts_are_refused_in_fit(noiser, shape, message):
    with pytest.raises(ValueError, match=message):
        noiser.fit(RNG.uniform(size=shape))


def test_channels_in_the_place_of_time_warn():
    with pytest.warns(UserWarning, match=r"signals of 50 channels and 2 samples.*numpy.moveaxis\(X, -1, 1\)"):
        HumNoiser(360).fit(RNG.uniform(size=(20, 50, 2)))


# Training -----------------------------------------------------------------------------------------------

NOISE = NoiserChain([BaselineWanderNoiser(0.2), HumNoiser(360, (0.1, 0.2))])


@pytest.mark.parametrize("shape", [(30, 64), (30, 2, 64)], ids=str)
def test_a_signal_denoiser_trains_on_windows(shape):
    X = np.sin(np.arange(np.prod(shape)) / 5).reshape(shape)
    denoiser = SignalDenoiser(
        SignalUNetNetwork((4, 8)), noise=NOISE, window_length=32, max_epochs=1, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert denoiser.fit(X).predict(X).shape == X.shape


def test_images_in_gray_are_refused_in_training():
    denoiser = ImageDenoiser(DnCNNNetwork(2, width=4), noise=HumNoiser(360), patch_size=8, max_epochs=1)
    with pytest.raises(ValueError, match=r"is for signals\. The fit saw 1 channel, .* signals of 8"):
        denoiser.fit(RNG.uniform(size=(10, 16, 16)))


@pytest.mark.slow
def test_an_autoencoder_removes_a_wander():
    time = np.arange(128)
    X = np.sin(time / 2 + RNG.uniform(0, 6, size=(600, 1)))
    noise = BaselineWanderNoiser(1.0, max_frequency=0.01)
    noisy = np.asarray(noise.set_params(random_state=1).fit_transform(X[500:]))
    dae = DenoisingAutoencoder("dense", latent_dim=4, noise=noise, max_epochs=40, random_state=0).fit(X[:500])
    assert np.mean((dae.predict(noisy) - X[500:]) ** 2) < 0.1 * np.mean((noisy - X[500:]) ** 2)
