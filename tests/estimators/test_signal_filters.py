"""Filters of signals, and filters of images on signals: channels, lists, searches, comparisons."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.signal import savgol_filter
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_denoise import (
    BandPassDenoiser,
    BilateralDenoiser,
    DilatedNetwork,
    GaussianNoiser,
    MedianDenoiser,
    NonLocalMeansDenoiser,
    SavitzkyGolayDenoiser,
    SignalDenoiser,
    TotalVariationDenoiser,
    WaveletDenoiser,
    WienerDenoiser,
    compare_restorers,
    make_denoising_scorer,
)
from sk_denoise.metrics import mse, psnr, snr_gain
from sk_denoise.persistence import load, save
from sk_denoise.restoration import estimate_sigma

SIGMA = 0.3
RNG = np.random.default_rng(0)
TIME = np.linspace(0, 1, 256)
CLEAN = np.sin(2 * np.pi * (RNG.uniform(2, 5, (12, 1)) * TIME + RNG.uniform(size=(12, 1))))
NOISY = CLEAN + RNG.normal(0, SIGMA, CLEAN.shape)
# Signals of two channels, the second in another unit
CHANNELS = np.stack([NOISY[:6], 100 * NOISY[6:] + 1000], axis=1)
FILTERS = {
    "Savitzky-Golay": SavitzkyGolayDenoiser(31),
    "band-pass": BandPassDenoiser(high=0.04),
    "median": MedianDenoiser(5, kind="signals"),
    "total variation": TotalVariationDenoiser(kind="signals"),
    "non-local means": NonLocalMeansDenoiser(kind="signals"),
    "bilateral": BilateralDenoiser(kind="signals"),
    "wavelets": WaveletDenoiser(kind="signals"),
}


@pytest.fixture(params=FILTERS)
def denoiser(request):
    if request.param == "wavelets":
        pytest.importorskip("pywt")
    return clone(FILTERS[request.param])


# All of them ---------------------------------------------------------------------------------------------


def test_signals_are_denoised(denoiser):
    denoised = denoiser.fit(CLEAN).predict(NOISY)
    assert snr_gain(CLEAN, NOISY, denoised) > 3


def test_each_channel_is_filtered_by_itself(denoiser):
    together = denoiser.fit(CHANNELS).predict(CHANNELS)
    for channel in (0, 1):
        alone = clone(denoiser).fit(CHANNELS[:, channel]).predict(CHANNELS[:, channel])
        np.testing.assert_allclose(together[:, channel], alone)
    # Batches inside the library have a height of 1 and their channels last.
    inside = np.moveaxis(CHANNELS, 1, 2)[:, None]
    of_batch = clone(denoiser).fit(inside).predict(inside)
    np.testing.assert_allclose(np.moveaxis(of_batch[:, 0], 2, 1), together)
    assert denoiser.image_shape_ is None
    assert np.isfinite(denoiser.score(CHANNELS))


@pytest.mark.parametrize("n_channels", [None, 2])
def test_lists_of_different_lengths_are_filtered_one_by_one(denoiser, n_channels):
    source = NOISY if n_channels is None else CHANNELS
    signals = [x[..., :n] for x, n in zip(source, (200, 256, 101), strict=False)]
    denoised = denoiser.fit(signals).predict(signals)
    assert isinstance(denoised, list)
    for signal, output in zip(signals, denoised, strict=True):
        np.testing.assert_allclose(output, clone(denoiser).fit(signal[None]).predict(signal[None])[0])
    # One new signal of a length of its own
    (single,) = denoiser.predict([source[3][..., :77]])
    assert single.shape == source[3][..., :77].shape


def test_clean_sides_and_scores_of_lists():
    lengths = (200, 256, 101)
    clean, noisy = ([x[:n] for x, n in zip(side, lengths, strict=False)] for side in (CLEAN, NOISY))
    denoiser = SavitzkyGolayDenoiser(31).fit(noisy, X_clean=clean)
    assert denoiser.target_source_ == "X_clean"
    assert denoiser.data_range_ == pytest.approx(np.ptp(np.concatenate(clean)))
    each = [
        psnr(t[None], p[None], data_range=denoiser.data_range_)
        for t, p in zip(clean, denoiser.predict(noisy), strict=True)
    ]
    assert denoiser.score(noisy, clean) == pytest.approx(np.mean(each))
    assert denoiser.score(noisy, clean, sample_weight=[0, 0, 1]) == pytest.approx(each[2])
    # Clean signals get the reference noise.
    assert 5 < denoiser.score(clean) < 40


def test_a_filter_fitted_to_a_list_comes_back_from_a_file(tmp_path):
    signals = [CHANNELS[0], CHANNELS[1, :, :99]]
    denoiser = SavitzkyGolayDenoiser(31).fit(signals)
    save(denoiser, tmp_path / "filter.safetensors")
    loaded = load(tmp_path / "filter.safetensors")
    for one, other in zip(loaded.predict(signals), denoiser.predict(signals), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.score(signals) == denoiser.score(signals)


def test_windows_of_signals_in_files_may_be_longer_than_those_of_images(tmp_path):
    far = {"patch_size": 301, "patch_distance": 2000}
    save(NonLocalMeansDenoiser(kind="signals", **far).fit(NOISY), tmp_path / "far.safetensors")
    assert load(tmp_path / "far.safetensors").patch_distance == 2000
    with pytest.raises(ValueError, match="files hold at most"):
        save(NonLocalMeansDenoiser(**far).fit(NOISY), tmp_path / "no.safetensors")
    with pytest.raises(ValueError, match="files hold at most"):
        save(SavitzkyGolayDenoiser(101, 60).fit(NOISY), tmp_path / "no.safetensors")


@pytest.mark.parametrize(
    "signals",
    [
        np.full((2, 256), 0.1),
        np.zeros((1, 256)),
        np.arange(512).reshape(2, 256),
        NOISY[:1].astype(np.float32),
    ],
)
def test_constants_ramps_and_single_signals(denoiser, signals):
    denoised = denoiser.fit(signals).predict(signals)
    assert denoised.shape == signals.shape
    assert denoised.dtype == (np.float64 if signals.dtype == np.float64 else np.float32)
    if np.ptp(signals) == 0:
        np.testing.assert_allclose(denoised, signals, atol=1e-12)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([NOISY[0], NOISY[1, :99] * np.nan], r"X\[1\] contains NaN"),
        ([NOISY[0], CHANNELS[0]], "the same number of axes"),
        ([CHANNELS[0], CHANNELS[0, :1, :99]], "the number of axes and of channels must be the same"),
        (np.ones((3, 4, 50, 2)), r"expected signals of shape \(n, length\)"),
        ([np.ones((1, 50, 2)), np.ones((1, 40, 2))], "Signals in a list are of shape"),
    ],
)
def test_what_is_no_set_of_signals_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        SavitzkyGolayDenoiser(5).fit(X)


# Filters of images ---------------------------------------------------------------------------------------


def test_channels_that_would_pass_for_rows_of_images_warn():
    leads = RNG.normal(size=(2, 12, 300))
    with pytest.warns(UserWarning, match=r'2 images of 12 x 300 pixels.*pass kind="signals"'):
        as_images = MedianDenoiser().fit(leads).predict(leads)
    with pytest.warns(UserWarning, match='kind="signals"'):
        MedianDenoiser().fit([leads[0], leads[1, :, :250]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        declared = MedianDenoiser(kind="images").fit(leads).predict(leads)
        as_signals = MedianDenoiser(kind="signals").fit(leads).predict(leads)
        MedianDenoiser().fit(RNG.normal(size=(2, 28, 40)))
    np.testing.assert_array_equal(as_images, declared)
    assert not np.allclose(as_signals, as_images)


def test_images_of_different_sizes_are_filtered_one_by_one():
    images = [RNG.uniform(size=shape) for shape in ((12, 14), (20, 9))]
    for image, output in zip(images, MedianDenoiser().fit(images).predict(images), strict=True):
        np.testing.assert_array_equal(output, MedianDenoiser().fit(image[None]).predict(image[None])[0])


def test_kind_and_shape_must_agree():
    with pytest.raises(ValueError, match="exclude each other"):
        MedianDenoiser(kind="signals", image_shape=(16, 16)).fit(NOISY)
    with pytest.raises(ValueError, match="rows need an image_shape"):
        MedianDenoiser(kind="images").fit(NOISY)
    with pytest.raises(ValueError, match="kind"):
        MedianDenoiser(kind="rows").fit(NOISY)


def test_a_filter_that_learns_refuses_lists():
    with pytest.raises(ValueError, match="rows of different lengths"):
        WienerDenoiser().fit([NOISY[0], NOISY[1, :99]])


# The forms of filters for signals -------------------------------------------------------------------------


def steps_and_peaks(n: int = 8, length: int = 400) -> np.ndarray:
    """Return signals of steps, and of peaks on a slope."""
    rng = np.random.default_rng(5)
    steps = np.repeat(rng.uniform(size=(n, 8)), length // 8, axis=1)
    places = np.arange(length)
    centers = rng.uniform(0, length, (n, 5, 1))
    peaks = np.exp(-0.5 * ((places - centers) / 8) ** 2).sum(axis=1) + places / length
    return np.concatenate([steps, peaks])


@pytest.mark.parametrize(
    ("denoiser", "min_gain"),
    [
        (TotalVariationDenoiser(), 9.5),
        (WaveletDenoiser(), 9.5),
        (NonLocalMeansDenoiser(), 8.0),
        (BilateralDenoiser(), 7.0),
    ],
)
@pytest.mark.parametrize("sigma", [SIGMA, "auto"])
def test_signals_gain_as_much_as_was_measured(denoiser, min_gain, sigma):
    if isinstance(denoiser, WaveletDenoiser):
        pytest.importorskip("pywt")
    clean = steps_and_peaks()
    noisy = clean + np.random.default_rng(6).normal(0, SIGMA, clean.shape)
    denoised = clone(denoiser).set_params(sigma=sigma).fit(clean).predict(noisy)
    assert snr_gain(clean, noisy, denoised) > min_gain


def test_the_total_variation_of_a_signal_is_minimized_exactly():
    denoised = TotalVariationDenoiser(1.0, strength=0.5).fit(NOISY).predict(NOISY)
    # The running sum of the differences is a dual variable: at the weight where the signal moves, else below.
    dual = np.cumsum(NOISY - denoised, axis=1)
    np.testing.assert_allclose(dual[:, -1], 0, atol=1e-6)
    assert np.abs(dual).max() < 0.5 + 1e-6
    moves = np.diff(denoised, axis=1)
    is_moving = np.abs(moves) > 1e-3
    assert 0.05 < is_moving.mean() < 0.95
    np.testing.assert_allclose(dual[:, :-1][is_moving], -0.5 * np.sign(moves[is_moving]), atol=1e-3)


def test_a_great_weight_leaves_the_mean_and_two_entries_meet():
    flat = TotalVariationDenoiser(1e6).fit(NOISY).predict(NOISY)
    np.testing.assert_allclose(
        flat, np.broadcast_to(NOISY.mean(axis=1, keepdims=True), flat.shape), atol=1e-6
    )
    pair = TotalVariationDenoiser(0.1, strength=1).fit_transform([[0.0, 1.0]])
    np.testing.assert_allclose(pair, [[0.1, 0.9]], atol=1e-4)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_spikes_of_any_height_leave_the_rest_of_a_signal_denoised(unit):
    spikes = np.zeros(256)
    spikes[60] = unit * 1e6
    denoised = TotalVariationDenoiser(SIGMA * unit).fit(unit * CLEAN).predict(unit * NOISY + spikes)
    rest = np.abs(np.arange(256) - 60) > 30
    assert mse(CLEAN[:, rest], denoised[:, rest] / unit) < mse(CLEAN[:, rest], NOISY[:, rest]) / 4
    constant = TotalVariationDenoiser(1e-300).fit(NOISY).predict(NOISY)
    np.testing.assert_allclose(constant, NOISY, atol=1e-12)


def test_non_local_means_average_repeats_of_a_signal():
    period = np.random.default_rng(7).normal(size=40)
    clean = np.tile(period, 10)[None]
    noisy = clean + np.random.default_rng(8).normal(0, 0.2, clean.shape)
    near = NonLocalMeansDenoiser(0.2, patch_distance=30).fit(clean).predict(noisy)
    far = NonLocalMeansDenoiser(0.2).fit(clean).predict(noisy)
    assert snr_gain(clean, noisy, near) < 1
    assert snr_gain(clean, noisy, far) > 5


def test_a_mean_over_shifts_is_independent_of_the_place_of_a_step():
    pytest.importorskip("pywt")
    errors = []
    for place in range(120, 136):
        clean = (np.arange(256) >= place).astype(float)[None]
        noisy = clean + np.random.default_rng(9).normal(0, 0.2, (1, 256))
        errors.append(mse(clean, WaveletDenoiser(0.2).fit(clean).predict(noisy)))
    assert max(errors) < 1.5 * min(errors)


def test_images_of_height_one_are_signals():
    as_images = TotalVariationDenoiser().fit(NOISY[:, None]).predict(NOISY[:, None])[:, 0]
    np.testing.assert_array_equal(as_images, TotalVariationDenoiser().fit(NOISY).predict(NOISY))


@pytest.mark.parametrize("period", [8, 12, 30])
def test_the_noise_level_of_waves_is_not_their_amplitude(period):
    phases = np.random.default_rng(1).uniform(0, 6, (20, 1))
    waves = np.sin(2 * np.pi * np.arange(400) / period + phases)
    noisy = waves + np.random.default_rng(2).normal(0, 0.1, waves.shape)
    assert np.mean([estimate_sigma(x[None]) for x in noisy]) == pytest.approx(0.1, rel=0.12)


# Savitzky-Golay ------------------------------------------------------------------------------------------


def test_the_savitzky_golay_filter_is_that_of_scipy():
    denoised = SavitzkyGolayDenoiser(21, 3).fit(NOISY).predict(NOISY)
    np.testing.assert_allclose(denoised, savgol_filter(NOISY, 21, 3), atol=1e-12)


def test_polynomials_stay_as_they_are():
    parabola = (1e6 + (np.arange(40) - 11) ** 2)[None]
    np.testing.assert_allclose(SavitzkyGolayDenoiser(9).fit_transform(parabola), parabola, rtol=1e-12)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window_length": 10}, "must be odd.*Use 9 or 11"),
        ({"window_length": 3, "polyorder": 3}, "needs a window_length of at least 5"),
        ({"window_length": 301}, "window_length=301 is longer than a signal of 256 entries. Use at most 255"),
        ({"window_length": 0}, "window_length"),
        ({"polyorder": -1}, "polyorder"),
    ],
)
def test_windows_that_do_not_fit_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        SavitzkyGolayDenoiser(**parameters).fit(NOISY)


def test_windows_longer_than_a_signal_of_a_list_are_refused():
    with pytest.raises(ValueError, match="longer than a signal of 9 entries"):
        SavitzkyGolayDenoiser(11).fit([NOISY[0], NOISY[1, :9]])
    with pytest.raises(ValueError, match="longer than a signal of 8 entries"):
        SavitzkyGolayDenoiser(11).fit(NOISY).predict([NOISY[1, :8]])
    three = NOISY[:, :3]
    assert SavitzkyGolayDenoiser(3, 1).fit(three).predict(three).shape == three.shape


# Bands ---------------------------------------------------------------------------------------------------

SECONDS = np.arange(2000) / 250


def wave(frequency: float) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * SECONDS + 1)[None]


@pytest.mark.parametrize(
    ("low", "high", "kept", "removed"),
    [(0.5, 40, 5, (0.05, 90)), (0.5, None, 90, (0.05,)), (None, 40, 5, (90,))],
)
def test_bands_keep_waves_inside_and_remove_those_outside(low, high, kept, removed):
    band = BandPassDenoiser(low, high, sampling_rate=250).fit(wave(5))
    inside = slice(250, -250)
    # No shift in time: the wave is where it was.
    np.testing.assert_allclose(band.predict(wave(kept))[:, inside], wave(kept)[:, inside], atol=0.02)
    for frequency in removed:
        assert np.abs(band.predict(wave(frequency))[:, inside]).max() < 0.05
    edge = low or high
    assert np.abs(band.predict(wave(edge))[:, inside]).max() == pytest.approx(0.5, abs=0.05)


def test_a_low_pass_keeps_the_mean_and_a_band_removes_it():
    offset = wave(5) + 1e6
    assert BandPassDenoiser(high=0.2).fit_transform(offset).mean() == pytest.approx(offset.mean())
    assert abs(BandPassDenoiser(0.01, 0.2).fit_transform(offset).mean()) < 0.1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "needs low, high or both"),
        ({"low": 0.5, "high": 40}, "below half of sampling_rate=1, got low=0.5, high=40"),
        ({"low": 0.3, "high": 0.2}, "low must be below high"),
        ({"low": 0.0}, "low"),
    ],
)
def test_bands_that_cannot_be_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        BandPassDenoiser(**parameters).fit(NOISY)


# Searches and comparisons --------------------------------------------------------------------------------


def test_window_lengths_can_be_searched_under_fixed_noise():
    scorer = make_denoising_scorer(GaussianNoiser(SIGMA, random_state=0), "snr_gain")
    grid = {"window_length": [5, 31, 201]}
    search = GridSearchCV(SavitzkyGolayDenoiser(), grid, scoring=scorer, cv=2, error_score="raise").fit(CLEAN)
    assert search.best_params_ == {"window_length": 31}
    assert search.best_score_ > 6


def test_searches_take_lists_of_different_lengths_also_with_single_signals_in_a_fold():
    signals = [x[:n] for x, n in zip(CLEAN, (256, 200, 180, 220), strict=False)]
    noiser = GaussianNoiser(SIGMA, random_state=0)
    scorer = make_denoising_scorer(noiser, "snr_gain")
    grid = {"window_length": [5, 31]}
    search = GridSearchCV(SavitzkyGolayDenoiser(), grid, scoring=scorer, cv=4, error_score="raise")
    assert search.fit(signals).best_params_ == {"window_length": 31}
    # A fold of a single signal is scored as in an array.
    single = scorer(SavitzkyGolayDenoiser(31).fit(signals), [signals[1]])
    assert single == pytest.approx(scorer(SavitzkyGolayDenoiser(31).fit(signals[1][None]), signals[1][None]))


def test_filters_and_networks_are_compared_on_lists_of_signals():
    pytest.importorskip("pywt")
    signals = [x[:n] for x, n in zip(CLEAN, range(140, 200, 5), strict=True)]
    methods = {
        "polynomials": SavitzkyGolayDenoiser(31).fit(signals),
        "wavelets": WaveletDenoiser().fit(signals),
        "network": SignalDenoiser(DilatedNetwork(4, dilations=(1,)), max_epochs=1, random_state=0).fit(
            signals
        ),
        "function": lambda x: savgol_filter(x, 31, 2),
    }
    noiser = GaussianNoiser(SIGMA, random_state=0)
    names = ["psnr", "ssd", "mad", "prd", "cosine_similarity", "snr", "snr_gain"]
    table = compare_restorers(methods, signals, noiser, metrics=names, data_range=2).set_index("method")
    assert table.loc["noisy", "snr_gain"] == 0
    assert table.loc["polynomials", "snr_gain"] > 6
    np.testing.assert_allclose(*table.loc[["polynomials", "function"], names].to_numpy(float))
    np.testing.assert_allclose(table.snr_gain, table.snr - table.snr["noisy"])
    for name in ("ssd", "mad", "prd"):
        assert table.loc["polynomials", name] < table.loc["noisy", name]
    assert list(compare_restorers(methods, signals[:2], noiser).columns) == [
        "method",
        "noise",
        "psnr",
        "seconds",
    ]


def test_channels_are_compared_without_similarity_of_images():
    leads = np.stack([CLEAN[:6], CLEAN[6:]], axis=1)
    methods = {
        "polynomials": SavitzkyGolayDenoiser(31).fit(leads),
        "median": MedianDenoiser(9, kind="signals").fit(leads),
    }
    table = compare_restorers(methods, leads, GaussianNoiser(SIGMA, random_state=0))
    assert list(table.columns) == ["method", "noise", "psnr", "seconds"]
    assert table.psnr[1] > table.psnr[0] + 6
    with pytest.raises(ValueError, match=r"or signals \(length,\) or \(channels, length\), of one type"):
        compare_restorers(methods, [leads[0], leads[1, 0]], GaussianNoiser(SIGMA))


def test_one_search_compares_kinds_of_denoisers():
    pipeline = Pipeline([("denoiser", SavitzkyGolayDenoiser())])
    grid = [
        {"denoiser": [SavitzkyGolayDenoiser()], "denoiser__window_length": [5, 31]},
        {"denoiser": [MedianDenoiser()], "denoiser__size": [3, 9]},
        {"denoiser": [BandPassDenoiser(high=0.3), TotalVariationDenoiser(), WienerDenoiser()]},
    ]
    scorer = make_denoising_scorer(GaussianNoiser(SIGMA, random_state=0), "prd")
    search = GridSearchCV(pipeline, grid, scoring=scorer, cv=2, error_score="raise").fit(CLEAN)
    assert len(search.cv_results_["params"]) == 7
    assert isinstance(search.best_estimator_[-1], SavitzkyGolayDenoiser)
    assert search.best_params_["denoiser__window_length"] == 31
    assert mse(CLEAN, search.predict(NOISY)) < mse(CLEAN, NOISY) / 5


@pytest.mark.parametrize("filtering", [SavitzkyGolayDenoiser(5), MedianDenoiser(kind="signals")])
def test_filters_of_signals_take_arrays_of_other_lengths(filtering):
    rng = np.random.default_rng(0)
    fitted, short = filtering.fit(rng.normal(size=(6, 2, 60))), rng.normal(size=(4, 2, 31))
    np.testing.assert_array_equal(fitted.predict(short), fitted.predict(list(short)))
    assert fitted.score(short, short + 1) == pytest.approx(fitted.score(list(short), list(short + 1)))
    with pytest.raises(ValueError, match="fitted on samples of shape"):
        fitted.predict(short[:, :1])
    with pytest.raises(ValueError, match="NaN"):
        fitted.predict(short * np.nan)
