import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_denoise import (
    Augmenter,
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenseNetwork,
    DilatedNetwork,
    DnCNNNetwork,
    GaussianNoiser,
    ImageDenoiser,
    MedianDenoiser,
    RecordedNoiser,
    SignalDenoiser,
    SignalUNetNetwork,
    estimate_quality,
    make_denoising_scorer,
    make_self_supervised_scorer,
)
from sk_denoise.io import Recording
from sk_denoise.persistence import load, save
from sk_denoise.restoration import denoise_image

SMALL = SignalUNetNetwork((8, 16, 16))


def waves(n, length, seed=0):
    return np.sin(np.arange(length) / 9 + np.random.default_rng(seed).uniform(0, 6, (n, 1)))


def with_noise(clean, sigma, seed=0):
    return clean + np.random.default_rng(seed).normal(0, sigma, clean.shape)


WAVES = waves(60, 128)
TWO_CHANNELS = np.stack([WAVES, 1000 * waves(60, 128, 1) + 5000], axis=1)
RECORDINGS = [waves(2, length) for length in (200, 300, 450)]


def small(**parameters):
    return SignalDenoiser(**{"network": SMALL, "max_epochs": 1, "random_state": 0} | parameters)


@pytest.fixture(scope="module")
def fitted():
    return small(noise=GaussianNoiser(0.4), max_epochs=30).fit(WAVES)


@pytest.fixture(scope="module")
def of_two_channels():
    return small(noise=GaussianNoiser(0.4, scale="std"), max_epochs=40).fit(TWO_CHANNELS)


def error(x, clean):
    return np.mean((x - clean) ** 2)


# Layouts ------------------------------------------------------------------------------------------------


def test_noise_is_removed_from_signals_of_any_length(fitted):
    for length in (40, 128, 1000):
        clean = waves(5, length)
        noisy = with_noise(clean, 0.4)
        denoised = fitted.predict(noisy)
        assert (denoised.shape, denoised.dtype) == (clean.shape, np.float64)
        assert error(denoised, clean) < 0.25 * error(noisy, clean)


def test_arrays_lists_and_one_channel_have_the_same_outputs(fitted):
    noisy = with_noise(waves(3, 100), 0.4)
    expected = fitted.predict(noisy)
    np.testing.assert_allclose(fitted.predict(list(noisy)), expected, atol=1e-12)
    np.testing.assert_allclose(fitted.predict(noisy[:, None])[:, 0], expected, atol=1e-12)
    np.testing.assert_allclose(fitted.predict([noisy[:1], noisy[1:2, :70]])[0], expected[:1], atol=1e-12)
    assert [x.shape for x in fitted.predict([noisy[0], noisy[1, :70]])] == [(100,), (70,)]
    assert fitted.predict(noisy.astype(np.float32)).dtype == np.float32
    assert fitted.predict(noisy.round().astype(np.int16)).dtype == np.float32


def test_channels_have_units_of_their_own(of_two_channels):
    clean = np.stack([waves(8, 200, 2), 1000 * waves(8, 200, 3) + 5000], axis=1)
    noisy = with_noise(clean, [[0.3], [300]])
    denoised = of_two_channels.predict(noisy)
    assert of_two_channels.n_channels_ == 2
    for channel in (0, 1):
        assert error(denoised[:, channel], clean[:, channel]) < 0.5 * error(
            noisy[:, channel], clean[:, channel]
        )
    one = of_two_channels.predict([noisy[0], noisy[1, :, :77]])
    np.testing.assert_allclose(one[0], denoised[0], rtol=1e-9)
    assert one[1].shape == (2, 77)


@pytest.mark.parametrize("n_channels", [5, 12])
def test_many_channels_are_no_images(n_channels, tmp_path):
    X = np.repeat(TWO_CHANNELS, 6, axis=1)[:20, :n_channels]
    denoiser = small().fit(X)
    assert denoiser.predict(X[:, :, :50]).shape == (20, n_channels, 50)
    assert denoiser.fit([x[:, : 100 + n] for n, x in enumerate(X)]).predict(list(X))[0].shape == X[0].shape
    save(denoiser, tmp_path / "d.skd")
    np.testing.assert_array_equal(load(tmp_path / "d.skd").predict(X), denoiser.predict(X))


def test_recordings_of_different_lengths_are_learned_from():
    denoiser = small(window_length=64, max_epochs=20).fit(RECORDINGS)
    assert [x.shape for x in denoiser.predict(RECORDINGS)] == [x.shape for x in RECORDINGS]
    assert denoiser.score(RECORDINGS) > 14
    pairs = [with_noise(x, 0.3) for x in RECORDINGS]
    assert small().fit(pairs, X_clean=RECORDINGS).target_source_ == "X_clean"
    assert small().fit(pairs, RECORDINGS).target_source_ == "y"
    assert small().fit(RECORDINGS, RECORDINGS).target_source_ == "X"
    assert small().fit(pairs, X_second=[with_noise(x, 0.3, 1) for x in RECORDINGS])
    watched = small(early_stopping=True).fit(RECORDINGS * 2, X_val=RECORDINGS[:1])
    assert len(watched.validation_scores_) == 1
    with pytest.raises(ValueError, match="X_val holds signals of 1"):
        small().fit(RECORDINGS, X_val=[WAVES[0]])


def test_one_long_recording_is_enough():
    recording = waves(1, 5000)[0]
    denoiser = small(noise=GaussianNoiser(0.4), max_epochs=3).fit([recording])
    assert denoiser.score([recording]) > 15
    with pytest.raises(ValueError, match="X is one recording"):
        small(early_stopping=True).fit([recording])


def test_lists_of_series_are_lists():
    arrays = [x[: 60 + n] for n, x in enumerate(WAVES[:20])]
    series = [pd.Series(x, index=np.arange(len(x)) + 5) for x in arrays]
    by_series, by_arrays = small().fit(series), small().fit(arrays)
    for output, expected in zip(by_series.predict(series), by_arrays.predict(arrays), strict=True):
        np.testing.assert_array_equal(output, expected)
    assert by_series.score(series) == by_arrays.score(arrays)


def test_sides_of_one_shape_may_be_a_list_and_an_array():
    noisy = with_noise(WAVES, 0.3)
    expected = small().fit(noisy, X_clean=WAVES).predict(noisy)
    np.testing.assert_array_equal(small().fit(noisy, X_clean=list(WAVES)).predict(noisy), expected)
    assert small().fit(list(noisy), X_clean=WAVES).target_source_ == "X_clean"


def test_frames_keep_their_names():
    frame = pd.DataFrame(WAVES, columns=[f"{400 + n} nm" for n in range(128)], index=np.arange(60) + 7)
    denoiser = small().fit(frame).set_output(transform="pandas")
    output = denoiser.transform(frame)
    assert list(output.columns) == list(frame.columns)
    assert list(output.index) == list(frame.index)
    assert denoiser.score(frame) > 0
    denoiser.partial_fit(frame)
    assert list(denoiser.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        denoiser.predict(frame.rename(columns={"400 nm": "x"}))


def test_the_source_of_a_noiser_is_found_for_all_channels():
    pipe = Pipeline([("noise", GaussianNoiser(0.3, scale="std", random_state=0)), ("denoiser", small())])
    pipe.fit(TWO_CHANNELS)
    assert pipe[-1].target_source_ == "noiser"
    assert pipe.predict(TWO_CHANNELS).shape == TWO_CHANNELS.shape
    noisy = GaussianNoiser(0.3, scale="std", random_state=0).fit_transform(TWO_CHANNELS)
    assert pipe[-1].score(noisy) == pytest.approx(pipe[-1].score(np.asarray(noisy), TWO_CHANNELS))


def test_recorded_noise_is_learned_in_windows():
    hum = np.sin(np.arange(4000) / 3)
    denoiser = small(noise=RecordedNoiser(hum, snr=0.0), max_epochs=40).fit(WAVES)
    noisy = WAVES + np.sin(np.arange(128) / 3 + 1)
    assert error(denoiser.predict(noisy), WAVES) < 0.2 * error(noisy, WAVES)


def test_windows_are_parts_unless_places_differ():
    rng = np.random.default_rng(0)
    bits = np.repeat(rng.integers(0, 2, (100, 16)), 8, axis=1).astype(float)
    assert small().fit(bits).patch_shape_ == (1, 128)
    assert small().fit(WAVES).patch_shape_ == (1, 96)
    assert small().fit(np.stack([WAVES, WAVES + np.sin(np.arange(128))], axis=1)).patch_shape_ == (1, 128, 2)
    assert small().fit([waves(1, 2000)[0]]).patch_shape_ == (1, 512)
    assert small(window_length=40).fit(WAVES).patch_shape_ == (1, 40)


@pytest.mark.slow
def test_a_baseline_far_above_the_signal_is_removed():
    baselines = np.random.default_rng(1).uniform(5, 15, (60, 1)) * np.linspace(1, 2, 128)
    raw = WAVES + baselines
    default = small(max_epochs=60).fit(raw, X_clean=WAVES)
    of_noise = SignalUNetNetwork((8, 16, 16), residual=True)
    residual = small(network=of_noise, max_epochs=60).fit(raw, X_clean=WAVES)
    assert error(default.predict(raw), WAVES) < 0.5 * error(residual.predict(raw), WAVES)


# Long recordings and streams ----------------------------------------------------------------------------


@pytest.mark.parametrize("network", [SMALL, DilatedNetwork(8, dilations=(1, 4))], ids=["unet", "dilated"])
def test_a_stream_is_the_whole(network):
    denoiser = SignalDenoiser(network, max_epochs=1, random_state=0).fit(WAVES)
    signal = with_noise(waves(1, 70_001)[0], 0.3)
    expected = denoiser.predict([signal])[0]
    sizes = [1, 3, 500, 0, 40_000, 7, 20_000]
    parts = list(denoiser.predict_stream(np.split(signal, np.cumsum(sizes))))
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-9)
    # The delay holds at each moment.
    n_given, n_returned, given = 0, 0, np.split(signal[:3000], range(100, 3000, 100))

    def chunks():
        nonlocal n_given
        for chunk in given:
            assert n_given - n_returned <= denoiser.delay_
            n_given += len(chunk)
            yield chunk

    for part in denoiser.predict_stream(chunks()):
        n_returned += len(part)
    assert n_returned == 3000


def test_a_stream_of_channels_keeps_them(of_two_channels):
    signal = np.stack([waves(1, 900)[0], 1000 * waves(1, 900)[0] + 5000]).astype(np.float32)
    parts = list(of_two_channels.predict_stream(np.array_split(signal, 7, axis=1)))
    assert all(part.shape[0] == 2 and part.dtype == np.float32 for part in parts)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), of_two_channels.predict([signal])[0], rtol=1e-5)
    with pytest.raises(ValueError, match="channels"):
        list(of_two_channels.predict_stream([signal[0]]))


def test_a_network_without_a_receptive_radius_takes_signals_whole():
    denoiser = SignalDenoiser(
        lambda channels: torch.nn.Conv1d(channels, channels, 5, padding=2), max_epochs=1
    )
    denoiser.fit(TWO_CHANNELS)
    assert denoiser.predict(TWO_CHANNELS[:, :, :77]).shape == (60, 2, 77)
    with pytest.raises(ValueError, match="receptive_radius"):
        next(denoiser.predict_stream([TWO_CHANNELS[0]]))


# Noisy signals alone ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["neighbours", "recorrupt", "blind"])
def test_noisy_signals_alone_are_enough(objective):
    noisy = with_noise(WAVES, 0.4)
    denoiser = small(objective=objective, max_epochs=60).fit(noisy)
    assert denoiser.target_source_ == "noisy"
    assert error(denoiser.predict(noisy), WAVES) < 0.5 * error(noisy, WAVES)


def test_levels_are_estimated_for_each_channel():
    noisy = with_noise(TWO_CHANNELS, [[0.3], [500]])
    model = small(objective="recorrupt").fit(noisy).noise_model_
    np.testing.assert_allclose(model.channel_sigmas, (0.3, 500), rtol=0.1)


@pytest.mark.slow
def test_quality_is_estimated_without_truth(fitted, of_two_channels):
    noisy = with_noise(WAVES, 0.4)
    expected = fitted.score(noisy, WAVES)
    assert estimate_quality(fitted, noisy, noise=0.4, data_range=fitted.data_range_).psnr == pytest.approx(
        expected, abs=0.6
    )
    both = with_noise(TWO_CHANNELS, [[0.4], [400]])
    levels = np.array([0.4, 400])
    quality = estimate_quality(of_two_channels, both, noise=levels, data_range=of_two_channels.data_range_)
    assert quality.psnr == pytest.approx(of_two_channels.score(both, TWO_CHANNELS), abs=0.6)


# With the rest of the library ---------------------------------------------------------------------------


def test_searches_and_ensembles_take_channels_and_lists():
    scorer = make_denoising_scorer(GaussianNoiser(0.3, scale="std"))
    search = GridSearchCV(small(), {"network__kernel_size": [3, 5]}, scoring=scorer, cv=2).fit(TWO_CHANNELS)
    assert search.best_params_["network__kernel_size"] in (3, 5)
    ensemble = DenoisingEnsemble(small(), 2, random_state=0).fit(TWO_CHANNELS)
    mean, std = ensemble.predict(TWO_CHANNELS[:3], return_std=True)
    assert mean.shape == std.shape == (3, 2, 128)
    assert len(DenoisingEnsemble(small(), 2, random_state=0).fit(RECORDINGS * 2).predict(RECORDINGS)) == 3


def test_callbacks_get_signals_in_the_layout_of_the_user():
    shapes = []
    small(
        max_epochs=2, callbacks=[lambda e, _: shapes.append(e.predict(TWO_CHANNELS[:2, :, :30]).shape)]
    ).fit(TWO_CHANNELS)
    assert shapes == [(2, 2, 30)] * 2


# Refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (WAVES[0], "One recording is a list of one"),
        ([], "holds no signals"),
        ("recordings", "Read files with read_signal"),
        ([WAVES[0], RECORDINGS[0]], "same channels"),
        ([WAVES[0], WAVES[1].astype(np.float32)], "different types"),
        ([np.array([0.0, np.nan])], "NaN or infinity"),
        ([list(WAVES[0]), list(WAVES[1, :50])], "Make them arrays"),
        ([np.zeros((50, 3)), np.zeros((60, 3))], r"Time is last: \[x.T for x in X\]"),
        ([pd.DataFrame(np.zeros((50, 3)))], r"x.to_numpy\(\).T"),
        (np.array([*RECORDINGS[:2], WAVES[0]], dtype=object), r"Pass arrays: list\(X\)"),
        ((x for x in WAVES), r"Make it a list: list\(X\)"),
        (Recording(WAVES[0]), r"Pass arrays: \[X.values\]"),
        ([Recording(WAVES[0])], r"Pass arrays: \[x.values for x in X\]"),
        (np.zeros((3, 28, 28, 1)), "take ImageDenoiser"),
        (np.zeros((3, 0)), "0 feature"),
    ],
)
def test_other_input_is_refused(X, message):
    with pytest.raises((ValueError, TypeError), match=message):
        small().fit(X)


@pytest.mark.parametrize(
    ("denoiser", "message"),
    [
        (SignalDenoiser("dncnn"), "is a network for ImageDenoiser"),
        (ImageDenoiser("signal_unet"), "is a network for SignalDenoiser"),
        (SignalDenoiser(SignalUNetNetwork(kernel_size=4)), "kernel_size must be odd"),
        (SignalDenoiser(loss="ssim"), "compares images"),
        (SignalDenoiser(window_length=0), "window_length"),
    ],
)
def test_other_parameters_are_refused(denoiser, message):
    with pytest.raises(ValueError, match=message):
        denoiser.fit(WAVES)


def test_an_offset_that_the_fit_has_not_seen_is_pointed_out(fitted):
    with pytest.warns(UserWarning, match="take the offset off"):
        fitted.predict(WAVES + 50)
    # Baselines of the training are no news.
    raw = WAVES + np.random.default_rng(1).uniform(50, 150, (60, 1))
    small().fit(raw, X_clean=WAVES).predict(raw)


@pytest.mark.parametrize(
    "denoiser",
    [
        DenoisingAutoencoder(DenseNetwork((4,)), 2, max_epochs=1),
        ImageDenoiser(DnCNNNetwork(2, width=4), max_epochs=1),
        MedianDenoiser(),
    ],
)
def test_channels_that_pass_for_images_elsewhere_are_pointed_out(denoiser):
    with pytest.warns(UserWarning, match="taken for 60 images of 2 x 128 pixels"):
        denoiser.fit(TWO_CHANNELS)


def test_other_channels_and_sides_are_refused(fitted):
    with pytest.raises(ValueError, match="1 channel, and X holds signals of 2"):
        fitted.predict(TWO_CHANNELS)
    with pytest.raises(ValueError, match="X_clean must have the form of X"):
        small().fit(WAVES, X_clean=WAVES[:, :50])
    with pytest.raises(ValueError, match=r"X\[1\] has the shape \(2, 300\), X_clean\[1\] \(2, 299\)"):
        small().fit(RECORDINGS, X_clean=[x[:, : 299 if n == 1 else None] for n, x in enumerate(RECORDINGS)])
    with pytest.raises(ValueError, match="X_clean must have the form of X"):
        small().fit(RECORDINGS, X_clean=WAVES)
    with pytest.raises(ValueError, match="seems to be a clean side"):
        small(objective="neighbours").fit(RECORDINGS, [x + 1 for x in RECORDINGS])
    with pytest.warns(UserWarning, match="unit of the fit"):
        fitted.predict(1000 * WAVES)


def test_signals_that_are_hardly_meant_so_are_warned_of():
    with pytest.warns(UserWarning, match="60 channels and 5 entries. Time is last"):
        small().fit(WAVES[:40, :60, None] + np.zeros(5))
    with pytest.warns(UserWarning, match=r"X\[3\] of 2 entries"):
        small().fit([*WAVES[:3], WAVES[0, :2]])
    wild = WAVES.copy()
    wild[3, 40] = 1e4
    for X in (wild, list(wild)):
        with pytest.warns(UserWarning, match=r"wild values, such as 1e\+04"):
            small().fit(X)


@pytest.mark.filterwarnings("error")
def test_short_and_flat_parts_are_in_the_unit_of_the_fit(fitted):
    rounding = np.random.default_rng(0).normal(0, 1e-15, 200)
    parts = [WAVES[0, :3] * 1e-4, 0.3 + rounding]
    fitted.predict(parts)
    list(fitted.predict_stream(parts[:1]))


def test_one_warning_is_enough_for_a_list_or_a_stream(fitted):
    for call in (fitted.predict, lambda chunks: list(fitted.predict_stream(chunks))):
        with pytest.warns(UserWarning, match="unit of the fit") as caught:
            call([1e-4 * WAVES[0], 1e-5 * WAVES[1]])
        assert len(caught) == 1


def test_chunks_are_arrays_of_one_type(fitted):
    with pytest.raises(ValueError, match=r"one sample is \[x\]"):
        list(fitted.predict_stream(WAVES[0]))
    with pytest.raises(ValueError, match="Convert all chunks to one type"):
        list(fitted.predict_stream([WAVES[0].astype(np.float32), WAVES[1]]))


def test_ensembles_take_lists_and_any_length():
    arrays = [x[: 60 + n] for n, x in enumerate(WAVES[:20])]
    ensemble = DenoisingEnsemble(small(), 2, calibration_fraction=0.4, random_state=0).fit(arrays)
    mean, std = ensemble.predict(arrays[:2], return_std=True)
    assert [x.shape for x in mean] == [x.shape for x in std] == [(60,), (61,)]
    np.testing.assert_allclose(ensemble.predict(WAVES[:2, :60])[0], mean[0], rtol=1e-6)
    assert ensemble.score(WAVES[:2]) > 0


def test_scores_without_truth_take_lists(fitted):
    noisy = with_noise(WAVES[:20], 0.3)
    for scorer in (make_self_supervised_scorer("blind"), make_self_supervised_scorer(noise=0.3)):
        assert scorer(fitted, list(noisy)) == pytest.approx(scorer(fitted, noisy), rel=0.2)
    quality = estimate_quality(fitted, list(noisy), noise=0.3)
    assert quality.data_range == fitted.data_range_
    denoiser = small(objective="recorrupt", noise=0.3).fit(list(noisy[:10]))
    assert denoiser.score([x[:100] for x in noisy[10:]]) > 5


def test_summaries_have_shapes_of_signals(of_two_channels):
    summary = of_two_channels.summary((2, 500))
    assert summary.input_shape == (2, 500)
    assert "for each entry" in repr(summary)
    assert "pixel" not in repr(of_two_channels.summary())
    assert small().summary((500,)).input_shape == (500,)
    with pytest.raises(ValueError, match="signals with 2 channels"):
        of_two_channels.summary((500,))


def test_images_and_their_changes_are_refused(fitted):
    with pytest.raises(TypeError, match="model is a SignalDenoiser"):
        denoise_image(np.zeros((32, 32)), model=fitted)
    for augment in (Augmenter(quarter_turns=True), Augmenter(zoom=(0.9, 1.1)), Augmenter(flip="vertical")):
        with pytest.raises(ValueError, match="Use SignalAugmenter"):
            small(augment=augment).fit(WAVES)
    assert small(augment=Augmenter()).fit(WAVES)
