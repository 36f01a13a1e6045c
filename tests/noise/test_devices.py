"""Noise of recording devices: statistics, units, layouts, errors and training."""

from __future__ import annotations

import io
import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sk_denoise import (
    CameraNoiser,
    DenoisingAutoencoder,
    FoldedUNetNetwork,
    GaussianNoiser,
    GrainNoiser,
    ImageDenoiser,
    JPEGNoiser,
    NoiserChain,
    RecordedNoiser,
    SignalDenoiser,
    SignalUNetNetwork,
    StripeNoiser,
    WeakNoiseWarning,
)
from sk_denoise.datasets import load_images
from sk_denoise.metrics import psnr
from sk_denoise.noise import (
    add_grain,
    add_recording,
    add_stripes,
    carried_source,
    compress_images,
    simulate_camera,
)

RNG = np.random.default_rng(0)
PHOTO = data.chelsea()[20:148, 100:260]
BANK = RNG.normal(5, 2, size=(4, 170, 180))
# Recordings of mains hum and of a room
TONES = [np.sin(np.arange(700) / 5), RNG.normal(3, 0.2, size=900)]
STACK_NOISERS = [JPEGNoiser(30), CameraNoiser(0.01), StripeNoiser(0.1)]
ALL = [*STACK_NOISERS, GrainNoiser(0.1), RecordedNoiser(BANK, 10)]


def noised(noiser, X, seed=0):
    return np.asarray(clone(noiser).set_params(random_state=seed).fit_transform(X))


def noise_of(noiser, X, seed=0):
    return noised(noiser, X, seed) - X


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def correlation(one, other):
    return float(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1])


# Functions ----------------------------------------------------------------------------------------------

FUNCTIONS = {
    "grain": lambda x, g: add_grain(x, g, noise_factor=(0.1, 0.3), color_correlation=0.5),
    "white grain": lambda x, g: add_grain(x, g, noise_factor=0.2, kernel=0.0),
    "stripes": lambda x, g: add_stripes(x, g, noise_factor=(0.1, 0.3), axis="columns", drift=0.3),
    "jpeg": lambda x, g: compress_images(x, g, quality=(1, 60), chroma="random", grid="random"),
    "camera": lambda x, g: simulate_camera(x, g, shot=(0.01, 0.02)),
    "recording": lambda x, g: add_recording(x, g, records=list(BANK), snr=(0.0, 10.0)),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("shape", [(5, 12, 17), (5, 12, 17, 1), (5, 9, 8, 3), (2, 1, 1, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_every_function_is_pure_and_keeps_type_and_shape(function, shape, dtype):
    x = torch.rand(shape, generator=generator(1)).to(dtype)
    before, state = x.clone(), torch.get_rng_state()
    noisy = function(x, generator())
    assert noisy.dtype == dtype
    assert noisy.shape == x.shape
    assert noisy.isfinite().all()
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(function(x, generator()), noisy)
    if x[0].numel() > 3:
        assert not torch.equal(noisy, x)
        assert not torch.equal(function(x, generator(2)), noisy)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_data_of_either_precision_meet_the_same_noise(function):
    x = torch.rand(4, 20, 30, 3, generator=generator(1))
    double = function(x.double(), generator())
    torch.testing.assert_close(function(x, generator()).double(), double, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_noise_does_not_depend_on_the_default_type_of_torch(function):
    x = torch.rand(3, 8, 9, 3, generator=generator(1))
    expected = function(x, generator())
    torch.set_default_dtype(torch.float64)
    try:
        torch.testing.assert_close(function(x, generator()), expected)
    finally:
        torch.set_default_dtype(torch.float32)


# Units and layouts --------------------------------------------------------------------------------------


def scaled(noiser, factor):
    """Return a noiser with its amounts in another unit."""
    changed = {
        name: factor * getattr(noiser, name)
        for name in ("noise_factor",)
        if name in noiser.get_params(deep=False)
    }
    return clone(noiser).set_params(**changed)


@pytest.mark.parametrize("noiser", ALL, ids=repr)
@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint8, 255), (float, 255), (np.uint16, 65535), (np.float32, 65535)], ids=str
)
def test_noise_is_that_of_the_unit_of_the_images(noiser, dtype, white):
    def noise_on(noiser, images):
        x = torch.from_numpy(images.astype(np.float64))
        return (clone(noiser).fit(images).corrupt(x, generator()) - x).numpy()

    images = (PHOTO[None].astype(float) * (white / 255)).astype(dtype)
    noise = noise_on(scaled(noiser, white), images) / white
    expected = noise_on(noiser, PHOTO[None] / 255)
    # JPEG turns a difference of a rounding error into one of a step of its coefficients.
    assert np.abs(noise - expected).mean() < 0.02 * np.abs(expected).mean()
    assert noised(scaled(noiser, white), images).dtype == (np.float64 if dtype is float else np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("noiser", [JPEGNoiser(30), CameraNoiser(0.01)], ids=repr)
def test_black_and_white_follow_the_rule_of_the_library(noiser):
    def limits_of(images, **parameters):
        return clone(noiser).set_params(**parameters).fit(images).limits_.tolist()

    dark = (PHOTO[None] // 8).astype(np.uint8)
    assert limits_of(dark) == [0, 255]
    assert limits_of(PHOTO[None] / 255.0) == [0, 1]
    assert limits_of(PHOTO[None].astype(float)) == [0, 255]
    assert limits_of(PHOTO[None].astype(np.uint16) * 16) == [0, 4095]
    assert limits_of(PHOTO[None] / 255.0, limits=(-1, 3)) == [-1, 3]
    with pytest.warns(UserWarning, match=r"limits=\(0, 1\) covers little"):
        limits_of(PHOTO[None], limits=(0, 1))


@pytest.mark.parametrize("noiser", ALL, ids=repr)
@pytest.mark.parametrize("shape", [(16, 20), (16, 20, 1), (16, 20, 3)], ids=str)
def test_flat_images_are_corrupted_as_images_are(noiser, shape):
    images = RNG.uniform(0.2, 0.8, size=(6, *shape))
    rows = images.reshape(6, -1)
    by_rows = clone(noiser).set_params(image_shape=shape).fit(rows)
    noisy = by_rows.corrupt(torch.from_numpy(rows), generator())
    expected = clone(noiser).fit(images).corrupt(torch.from_numpy(images), generator())
    assert noisy.shape == rows.shape
    np.testing.assert_array_equal(noisy, expected.reshape(6, -1))


@pytest.mark.parametrize("noiser", ALL, ids=repr)
def test_a_channel_axis_of_one_changes_nothing(noiser):
    images = RNG.uniform(0.2, 0.8, size=(4, 12, 13))
    np.testing.assert_array_equal(noised(noiser, images[..., None])[..., 0].shape, images.shape)
    one = clone(noiser).fit(images).corrupt(torch.from_numpy(images), generator())
    other = clone(noiser).fit(images[..., None]).corrupt(torch.from_numpy(images[..., None]), generator())
    assert torch.equal(one, other[..., 0])


@pytest.mark.parametrize("noiser", ALL, ids=repr)
@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 2, 2, 3), (2, 1, 50), (2, 31, 1, 3)], ids=str)
def test_odd_and_tiny_images_pass(noiser, shape):
    images = RNG.uniform(0.2, 0.8, size=shape)
    assert np.isfinite(noised(noiser, images)).all()


@pytest.mark.parametrize("noiser", ALL, ids=repr)
def test_constant_images_pass(noiser):
    for value in (0, 255):
        noisy = noised(noiser, np.full((2, 16, 16, 3), value, np.uint8))
        assert np.isfinite(noisy).all()


# JPEG ---------------------------------------------------------------------------------------------------


def file_of(image, **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", **options)
    return np.asarray(Image.open(stream))


@pytest.mark.parametrize(("chroma", "subsampling"), [("4:2:0", 2), ("4:4:4", 0)])
def test_compression_is_that_of_a_file(chroma, subsampling):
    noisy = noised(JPEGNoiser(40, chroma=chroma), PHOTO[None])
    np.testing.assert_array_equal(noisy[0], file_of(PHOTO, quality=40, subsampling=subsampling))
    gray = noised(JPEGNoiser(40, chroma=chroma), PHOTO[None, ..., 1])
    np.testing.assert_array_equal(gray[0], file_of(PHOTO[..., 1], quality=40))


def test_lower_quality_is_worse_and_a_pair_draws_one_for_each_image():
    images = np.repeat(PHOTO[None], 40, axis=0)
    errors = [np.abs(noise_of(JPEGNoiser(q), images[:1].astype(float))).mean() for q in (5, 30, 90)]
    assert errors[0] > 1.5 * errors[1] > 3 * errors[2]
    each = np.abs(noise_of(JPEGNoiser((5, 90)), images.astype(float))).mean(axis=(1, 2, 3))
    assert errors[2] <= each.min() < errors[1] < each.max() <= errors[0]
    assert len(np.unique(each)) > 15


def test_a_random_grid_moves_the_borders_of_blocks():
    smooth = np.tile(np.linspace(0.2, 0.8, 64), (30, 64, 1))

    def steps(grid):
        noisy = noised(JPEGNoiser(5, grid=grid), smooth)
        return np.abs(np.diff(noisy, axis=2)).mean(axis=1)[:, 7::8].sum(axis=1)

    aligned, anywhere = steps("aligned"), steps("random")
    assert np.ptp(aligned) < 1e-9
    assert np.median(anywhere) < 0.5 * aligned.mean()


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_channels_other_than_colours_are_compressed_one_by_one(channels):
    images = RNG.uniform(size=(2, 16, 24, channels))
    together = noised(JPEGNoiser(50, limits=(0, 1)), images)
    alone = [noised(JPEGNoiser(50, limits=(0, 1)), images[..., channel]) for channel in range(channels)]
    np.testing.assert_array_equal(together, np.stack(alone, axis=-1))


def test_a_chain_of_noise_and_compression_clips_and_rounds_as_a_file():
    noisy = noised(NoiserChain([GaussianNoiser(60), JPEGNoiser(75)]), PHOTO[None])
    assert noisy.min() >= 0
    assert noisy.max() <= 255
    np.testing.assert_array_equal(noisy, noisy.round())


def test_an_image_too_large_for_a_file_is_refused():
    with pytest.raises(ValueError, match="JPEG files have at most 65500 pixels a side"):
        JPEGNoiser(50, limits=(0, 1)).fit_transform(np.zeros((1, 1, 65501), np.float32))


# Grain --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kernel", [0, 0.7, 3.0, np.ones((3, 5)), [1.0, 2.0, -1.0], np.eye(4) * 1e200], ids=str
)
@pytest.mark.parametrize("shape", [(200, 40, 30), (60, 40, 30, 3)], ids=str)
def test_grain_has_its_standard_deviation_for_any_kernel_up_to_the_border(kernel, shape):
    noise = noise_of(GrainNoiser(0.3, kernel), np.zeros(shape))
    assert noise.std() == pytest.approx(0.3, rel=0.03)
    assert noise[:, 0].std() == pytest.approx(0.3, rel=0.1)
    assert noise[:, :, -1].std() == pytest.approx(0.3, rel=0.1)
    assert abs(noise.mean()) < 0.01


def test_the_correlation_of_grain_is_that_of_its_kernel():
    kernel = RNG.normal(size=(4, 3))
    noise = noise_of(GrainNoiser(1.0, kernel), np.zeros((400, 24, 24)))
    for down, right in ((0, 1), (1, 0), (2, 1), (3, 2), (5, 0)):
        shifted = np.zeros_like(kernel)
        if down < 4:
            shifted[down:, right:] = kernel[: 4 - down, : 3 - right]
        expected = (kernel * shifted).sum() / (kernel**2).sum()
        measured = (noise[:, down:, right:] * noise[:, : 24 - down, : 24 - right]).mean()
        assert measured == pytest.approx(expected, abs=0.02)


def test_a_width_is_that_of_a_gaussian_kernel_and_0_is_white():
    flat = np.zeros((100, 64, 64))
    for width, expected in ((0.0, 0.0), (1.0, np.exp(-1 / 4)), (2.0, np.exp(-1 / 16))):
        noise = noise_of(GrainNoiser(0.1, width), flat)
        assert correlation(noise[:, 1:], noise[:, :-1]) == pytest.approx(expected, abs=0.02)
        assert correlation(noise[:, :, 1:], noise[:, :, :-1]) == pytest.approx(expected, abs=0.02)


def test_grain_of_rows_is_related_along_the_row_and_not_between_rows():
    noise = noise_of(GrainNoiser(0.2, 2.0), np.zeros((500, 300)))
    assert noise.std() == pytest.approx(0.2, rel=0.05)
    assert correlation(noise[:, 1:], noise[:, :-1]) == pytest.approx(np.exp(-1 / 16), abs=0.02)
    assert abs(correlation(noise[1:], noise[:-1])) < 0.03
    assert noised(GrainNoiser(0.2, [1, 1]), np.zeros((3, 1))).shape == (3, 1)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_colours_have_the_correlation_of_the_parameter(share):
    flat = np.zeros((60, 40, 40, 3))
    for noiser in (GrainNoiser(0.1, color_correlation=share), StripeNoiser(0.1, color_correlation=share)):
        noise = noise_of(noiser, flat)
        assert correlation(noise[..., 0], noise[..., 2]) == pytest.approx(share, abs=0.07)
        assert noise.std(axis=(0, 1, 2)) == pytest.approx([0.1] * 3, rel=0.1)


@pytest.mark.parametrize("kernel", [2.0, np.exp(-((np.arange(-8, 9) / 2) ** 2) / 2)], ids=["width", "array"])
def test_grain_of_signals_of_several_channels_is_related_along_the_signal(kernel):
    noise = noise_of(GrainNoiser(0.2, kernel), np.zeros((300, 200, 1, 2)))
    assert noise.std() == pytest.approx(0.2, rel=0.05)
    assert correlation(noise[:, 1:], noise[:, :-1]) == pytest.approx(np.exp(-1 / 16), abs=0.02)
    assert abs(correlation(noise[..., 0], noise[..., 1])) < 0.05


def test_a_kernel_wider_than_the_image_passes():
    noise = noise_of(GrainNoiser(0.1, np.ones((31, 31))), np.zeros((300, 5, 6)))
    assert noise.std() == pytest.approx(0.1, rel=0.2)
    # One level for the whole image, nearly.
    assert noise.std(axis=(1, 2)).mean() < 0.05


def test_relative_grain_spares_constant_features():
    rows = RNG.normal([0.0, 5.0, -3.0, 1.0], [1.0, 0.0, 100.0, 0.01], size=(3000, 4))
    noise = noise_of(GrainNoiser(0.5, 1.0, scale="std"), rows)
    np.testing.assert_allclose(noise.std(axis=0), 0.5 * rows.std(axis=0), rtol=0.1)
    assert (noise[:, 1] == 0).all()


@pytest.mark.parametrize("noiser", [GrainNoiser(0.1), StripeNoiser(0.1)], ids=repr)
def test_a_strength_in_another_unit_warns(noiser):
    images = RNG.integers(0, 255, size=(10, 8, 8), dtype=np.uint8)
    with pytest.warns(WeakNoiseWarning, match="in the unit of the data"):
        noiser.fit(images)


# Stripes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_stripes_are_constant_along_one_axis(axis):
    noise = noise_of(StripeNoiser(0.2, axis), np.zeros((50, 30, 40)))
    along = 2 if axis == "rows" else 1
    assert np.ptp(noise, axis=along).max() < 1e-6
    assert noise.std() == pytest.approx(0.2, rel=0.1)
    levels = noise.mean(axis=along)
    assert abs(correlation(levels[:, 1:], levels[:, :-1])) < 0.1


def test_a_drift_tilts_stripes_and_keeps_their_deviation():
    noise = noise_of(StripeNoiser(0.2, drift=0.5), np.zeros((200, 30, 40)))
    assert noise.std() == pytest.approx(0.2, rel=0.05)
    assert np.abs(np.diff(noise, n=2, axis=2)).max() < 1e-5
    assert noise.mean(axis=2).std() == pytest.approx(0.2 * np.sqrt(0.5), rel=0.05)
    # An image of a single column has no slope.
    narrow = add_stripes(torch.zeros(400, 20, 1), generator(), noise_factor=0.2, drift=1.0)
    assert narrow.std().item() == pytest.approx(0.2, rel=0.1)


# Cameras ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("channels", [(), (3,)], ids=["gray", "colour"])
def test_camera_noise_is_related_between_neighbours(channels):
    images = np.full((24, 48, 48, *channels), 0.4)
    noise = noise_of(CameraNoiser(), images)
    # Each image has a camera of its own, with its own change of brightness.
    related = [correlation(each[:, 1:], each[:, :-1]) for each in noise]
    assert 0.4 < np.median(related) < 0.85
    deviations = noise.std(axis=(1, 2)).ravel()
    assert deviations.max() > 3 * deviations.min()


def test_more_shot_noise_is_more_noise_and_stays_between_black_and_white():
    images = np.tile(np.linspace(0, 1, 64), (6, 64, 1))[..., None].repeat(3, axis=-1)
    deviations = []
    for shot in (1e-4, 1e-3, 1e-2):
        noisy = noised(CameraNoiser(shot, jpeg=None, smoothing=0.5), images)
        assert noisy.min() >= 0
        assert noisy.max() <= 1
        deviations.append((noisy - images).std())
    assert deviations[0] < 0.6 * deviations[1] < 0.4 * deviations[2]


@pytest.mark.filterwarnings("ignore:limits=")
def test_a_camera_without_a_file_leaves_values_beyond_white_between_them_and_white():
    bright = np.full((2, 16, 16), 1.5)
    noisy = noised(CameraNoiser(0.01, jpeg=None, limits=(0, 1)), bright)
    assert noisy.max() <= 1.5
    assert noisy.min() >= 0


def test_a_gray_image_gets_the_brightness_of_the_noise_of_a_gray_colour_image():
    x = torch.rand(1, 32, 32, generator=generator(3))
    gray = simulate_camera(x, generator(), jpeg=None)
    color = simulate_camera(x[..., None].repeat(1, 1, 1, 3), generator(), jpeg=None)
    brightness = color @ torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(gray.clamp(0.1, 0.9), brightness.clamp(0.1, 0.9), atol=0.03, rtol=0)
    assert correlation(gray - x, brightness - x) > 0.95


# Recordings ---------------------------------------------------------------------------------------------


def decibels(clean, noise):
    axes = tuple(range(1, clean.ndim))
    return 10 * np.log10(clean.var(axis=axes) / (noise**2).mean(axis=axes))


@pytest.mark.parametrize(
    ("bank", "shape"),
    [
        (TONES, (30, 200)),
        (TONES[0], (30, 200)),
        (TONES[0].tolist(), (30, 200)),
        (BANK, (30, 32, 40)),
        (BANK, (30, 32, 40, 3)),
        ((1000 * BANK).astype(np.uint16), (30, 32, 40)),
        ([BANK[0], BANK[1, :60, :50]], (30, 32, 40)),
        (RNG.normal(size=(3, 50, 60, 3)), (30, 32, 40, 3)),
        ([tone.astype(">f4") for tone in TONES], (30, 1, 200)),
        (TONES, (30, 200, 1, 2)),
        (RNG.normal(size=(3, 500, 1, 2)), (30, 200, 1, 2)),
    ],
    ids=[
        *("list", "one", "numbers", "gray", "gray on colour", "integers", "sizes", "colour", "height 1"),
        *("signals of two channels", "records of two channels"),
    ],
)
@pytest.mark.parametrize("snr", [-5, 12.5, (0, 20)], ids=str)
def test_every_sample_has_the_ratio_of_the_parameter(bank, shape, snr):
    clean = RNG.normal(100, 3, size=shape)
    ratios = decibels(clean, noise_of(RecordedNoiser(bank, snr), clean))
    low, high = snr if isinstance(snr, tuple) else (snr, snr)
    assert ratios.min() > low - 1e-3
    assert ratios.max() < high + 1e-3
    if high > low:
        assert ratios.std() == pytest.approx((high - low) / np.sqrt(12), rel=0.35)


def test_records_are_added_as_they_are_without_a_ratio():
    noise = noise_of(RecordedNoiser(BANK, None), np.zeros((50, 20, 30)))
    assert noise.mean() == pytest.approx(5, abs=0.1)
    # Each part is one of the bank, found by its first value.
    for part in noise[:5]:
        records, rows, columns = np.nonzero(np.isclose(BANK, part[0, 0], atol=1e-6))
        cuts = [
            BANK[n].take(range(r, r + 20), 0, mode="wrap").take(range(c, c + 30), 1, mode="wrap")
            for n, r, c in zip(records, rows, columns, strict=True)
        ]
        assert any(np.allclose(part, cut, atol=1e-5) for cut in cuts)


def test_all_records_and_places_are_taken():
    bank = np.arange(300.0).reshape(3, 100)
    noise = noise_of(RecordedNoiser(bank, None), np.zeros((4000, 5)))
    assert len(np.unique(noise[:, 0])) == 300


def test_a_short_record_repeats_with_a_warning():
    with pytest.warns(UserWarning, match=r"Records of the bank, the first of shape \(7,\).*repeat"):
        noisy = RecordedNoiser(np.arange(7.0), None, random_state=0).fit_transform(np.zeros((3, 20)))
    np.testing.assert_array_equal(np.asarray(noisy)[:, 7:], np.asarray(noisy)[:, :-7])


def test_constant_samples_get_noise_by_the_power_of_the_data_alone():
    signals = np.concatenate([RNG.normal(size=(20, 100)), np.full((20, 100), 2.0)])
    noise = noise_of(RecordedNoiser(TONES, 10), signals)
    assert (noise[20:] == 0).all()
    noise = noise_of(RecordedNoiser(TONES, 10, power="data"), signals)
    ratios = 10 * np.log10(signals.var() / (noise**2).mean(axis=1))
    np.testing.assert_allclose(ratios, 10, atol=1e-3)


def test_silence_in_a_record_is_not_amplified():
    record = np.zeros(10_000)
    record[:100] = RNG.normal(size=100)
    noise = noise_of(RecordedNoiser(record, 0), RNG.normal(size=(300, 50)))
    assert np.isfinite(noise).all()
    silent = np.abs(noise).max(axis=1) < 1
    assert silent.mean() > 0.9


def test_records_in_another_unit_warn():
    rows = 1000 * RNG.normal(size=(50, 100))
    with pytest.warns(WeakNoiseWarning, match="too weak to learn from. snr=None adds the bank as it is"):
        RecordedNoiser(TONES, None).fit(rows)
    with pytest.warns(UserWarning, match="hides the data completely. snr=None"):
        RecordedNoiser([1e6 * tone for tone in TONES], None).fit(rows / 1000)


def test_a_bank_survives_copies_and_is_left_alone():
    bank = BANK.copy()
    bank.flags.writeable = False
    noiser = RecordedNoiser(bank, 5, apply="always", random_state=0)
    X = RNG.normal(size=(4, 20, 20))
    expected = np.asarray(noiser.fit(X).transform(X))
    for copied in (pickle.loads(pickle.dumps(noiser)), clone(noiser).fit(X)):
        np.testing.assert_array_equal(copied.transform(X), expected)
    np.testing.assert_array_equal(bank, BANK)


LEADS = np.array([1.0, 10.0, 100.0])[:, None] * (np.sin(np.arange(3000) / 7) + RNG.normal(size=(3, 3000)))
LAYOUTS = {
    "3-D": (lambda x: x, lambda x: x),
    "height 1": (lambda x: np.moveaxis(x, 1, 2)[:, None], lambda x: np.moveaxis(x[:, 0], 2, 1)),
    "width 1": (lambda x: np.moveaxis(x, 1, 2)[:, :, None], lambda x: np.moveaxis(x[:, :, 0], 2, 1)),
}


@pytest.mark.parametrize(("to_layout", "to_signals"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_record_of_several_channels_keeps_them_together(to_layout, to_signals):
    bank = [(100 * LEADS + np.array([[3000], [-500], [7]])).astype(np.int16)]
    # Levels of channels are no power, in signals and in records.
    clean = RNG.normal(size=(20, 3, 150)) + np.array([[50.0], [0.0], [-9.0]])
    noise = to_signals(noise_of(RecordedNoiser(bank, 6, kind="signals"), to_layout(clean)))
    ratios = 10 * np.log10(clean.var(axis=2).mean(axis=1) / (noise**2).mean(axis=(1, 2)))
    np.testing.assert_allclose(ratios, 6, atol=1e-3)
    centered = bank[0] - np.median(bank[0], axis=1, keepdims=True)
    for part in noise[:3]:
        # All channels were cut at the same place.
        starts = [
            np.argmax(np.correlate(np.tile(record, 2), lead, "valid")[:3000])
            for record, lead in zip(centered[1:], part[1:], strict=True)
        ]
        assert starts[0] == starts[1]


@pytest.mark.parametrize("bank", [TONES, RNG.normal(size=(4, 800))], ids=["list", "array"])
def test_records_of_one_channel_are_cut_for_each_channel_of_signals(bank):
    noise = noise_of(RecordedNoiser(bank, 5, kind="signals"), RNG.normal(size=(30, 2, 150)))
    assert abs(correlation(noise[:, 0], noise[:, 1])) < 0.2
    assert noise.std(axis=2).min() > 0


def test_windows_of_a_network_get_all_channels_of_a_record():
    pixels = 100 * RNG.normal(size=(500, 1, 1, 3))
    noiser = RecordedNoiser([LEADS], None).fit(pixels)
    assert noiser.kind_ == "signals"
    noise = noiser.corrupt(torch.zeros(8, 1, 100, 3), generator()).numpy()[:, 0]
    assert (noise.std(axis=1)[:, :2] < noise.std(axis=1)[:, 1:]).all()


@pytest.mark.parametrize(
    "noiser",
    [
        RecordedNoiser([np.tile(LEADS, (4, 1))], (0, 10), kind="signals"),
        RecordedNoiser([np.tile(LEADS, (4, 1))], (0, 10)),
        RecordedNoiser(TONES, (0, 10), power="data"),
    ],
    ids=["leads", "leads by their rows", "tones"],
)
def test_a_signal_denoiser_meets_recordings_of_twelve_leads(noiser):
    X = np.sin(np.arange(100) / 6 + RNG.uniform(0, 6, size=(12, 12, 1)))
    network = SignalUNetNetwork((4, 8))
    denoiser = SignalDenoiser(network, noise=noiser, max_epochs=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert denoiser.fit(X).predict(X).shape == X.shape


def test_records_shorter_than_windows_warn_in_training():
    denoiser = SignalDenoiser(
        SignalUNetNetwork((4, 8)), noise=RecordedNoiser(TONES[0][:20]), max_epochs=1, random_state=0
    )
    with pytest.warns(UserWarning, match=r"first of shape \(20,\), are smaller than the samples"):
        denoiser.fit(RNG.normal(size=(10, 64)))


@pytest.mark.parametrize("kind", ["auto", "images"])
def test_images_stay_images(kind):
    images = RNG.normal(size=(6, 20, 30, 3))
    for bank in (BANK, RNG.normal(size=(2, 40, 50, 3)), [BANK[0, :3]] * 2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            noiser = RecordedNoiser(bank, 5, kind=kind).fit(images)
        assert noiser.kind_ == "images"
        assert noiser.centers_.shape == (len(bank),)


def test_arrays_that_may_be_images_or_signals_warn():
    with pytest.warns(UserWarning, match=r"X of shape \(5, 3, 80\) is taken for images.*kind=\"signals\""):
        RecordedNoiser([LEADS], 5).fit(RNG.normal(size=(5, 3, 80)))
    with pytest.warns(UserWarning, match=r"taken for 3 records of one channel each"):
        RecordedNoiser(LEADS, 5).fit(RNG.normal(size=(500, 1, 1, 3)))
    with pytest.warns(UserWarning, match=r"taken for 3 records of one channel each.*bank\[None\]"):
        RecordedNoiser(LEADS, 5, kind="signals").fit(RNG.normal(size=(5, 3, 80)))
    with pytest.warns(UserWarning, match=r"first of shape \(3, 50\), are smaller"):
        RecordedNoiser([LEADS[:, :50]], 5, kind="signals").fit(RNG.normal(size=(5, 3, 80)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RecordedNoiser(list(LEADS), 5, kind="signals").fit(RNG.normal(size=(5, 3, 80)))
        RecordedNoiser(LEADS[None], 5, kind="signals").fit(RNG.normal(size=(5, 3, 80)))


# Errors -------------------------------------------------------------------------------------------------

ROWS = RNG.uniform(size=(20, 12))
IMAGES = RNG.uniform(size=(20, 10, 12))
WRONG = [
    (JPEGNoiser(0), IMAGES, "quality must be a number above 0 and at most 100"),
    (JPEGNoiser((50, 101)), IMAGES, "quality must be a number above 0 and at most 100"),
    (JPEGNoiser(chroma="4:1:1"), IMAGES, "'chroma' parameter of JPEGNoiser"),
    (JPEGNoiser(limits=(1, 0)), IMAGES, r"limits must be a pair \(low, high\) with low < high"),
    (JPEGNoiser(limits=(0, np.inf)), IMAGES, "limits must hold finite numbers"),
    (JPEGNoiser(), ROWS, r"JPEGNoiser is for images, got rows of shape \(20, 12\).*image_shape"),
    (CameraNoiser(), ROWS, r"CameraNoiser is for images, got rows of shape \(20, 12\)"),
    (StripeNoiser(), ROWS, r"StripeNoiser is for images, got rows of shape \(20, 12\)"),
    (CameraNoiser(0), IMAGES, "shot must be a number above 0 and at most 1"),
    (CameraNoiser((0.1, 1.5)), IMAGES, "shot must be a number above 0 and at most 1"),
    (CameraNoiser(smoothing=-1), IMAGES, "smoothing must be a number of at least 0 and at most 10"),
    (CameraNoiser(jpeg=0), IMAGES, "jpeg must be a number above 0 and at most 100"),
    (CameraNoiser(), np.zeros((3, 8, 8, 4)), r"one or three channels, got 4.*X\[\.\.\., :3\]"),
    (CameraNoiser(), np.zeros((3, 3, 8, 8)), r"seems to be \(channels, height, width\)"),
    (GrainNoiser(kernel=-1), ROWS, "kernel must be a width from 0 to 100 pixels or an array"),
    (GrainNoiser(kernel=np.nan), ROWS, "kernel must be a width from 0 to 100"),
    (GrainNoiser(kernel=np.zeros((2, 2))), IMAGES, "kernel must have a weight other than 0"),
    (GrainNoiser(kernel=np.ones((2, 2, 2))), IMAGES, r"kernel must be a number or an array.*\(2, 2, 2\)"),
    (GrainNoiser(kernel=[[1, 2], [3]]), IMAGES, "kernel must be an array of numbers"),
    (GrainNoiser(kernel=[np.inf, 1.0]), IMAGES, "kernel must hold finite numbers"),
    (GrainNoiser(kernel=["a"]), IMAGES, "kernel must hold real numbers"),
    (GrainNoiser(kernel="wide"), IMAGES, "'kernel' parameter of GrainNoiser"),
    (GrainNoiser(kernel=np.ones((3, 3))), ROWS, r"kernel of shape \(3, 3\) is for images, got rows"),
    (GrainNoiser(color_correlation=1.5), IMAGES, "color_correlation must be a number from 0 to 1, got 1.5"),
    (StripeNoiser(drift=-0.1), IMAGES, "drift must be a number from 0 to 1"),
    (StripeNoiser(axis="diagonal"), IMAGES, "'axis' parameter of StripeNoiser"),
    (RecordedNoiser([]), ROWS, "bank must hold at least one record"),
    (RecordedNoiser("noise.wav"), ROWS, "'bank' parameter of RecordedNoiser"),
    (RecordedNoiser(torch.ones(3, 5)), ROWS, "'bank' parameter of RecordedNoiser"),
    (RecordedNoiser([TONES[0], np.full(9, np.nan)]), ROWS, "record 1 of bank must hold finite numbers"),
    (RecordedNoiser(np.ones((2, 4), complex)), ROWS, "record 0 of bank must hold real numbers"),
    (RecordedNoiser([TONES[0], np.ones(9)]), ROWS, "Record 1 of the bank is constant.*snr=None"),
    (RecordedNoiser(np.float64(3) * np.ones((1, 0))), ROWS, r"got shape \(0,\) for record 0"),
    (RecordedNoiser(BANK), ROWS, r"is an image of shape \(170, 180\), and X holds rows of 12 features"),
    (RecordedNoiser(TONES), IMAGES, r"is a signal of shape \(700,\), and X holds images.*bank\[None\]"),
    (RecordedNoiser(BANK[0]), IMAGES, r"is a signal of shape \(180,\), and X holds images.*bank\[None\]"),
    (RecordedNoiser(RNG.normal(size=(2, 30, 30, 3))), IMAGES, "has 3 channels, and the images in X have 1"),
    (RecordedNoiser(RNG.normal(size=(50, 60, 3))), IMAGES, r"bank seems to be one image.*bank\[None\]"),
    (RecordedNoiser(RNG.normal(size=(2, 3, 30, 30))), IMAGES, r"bank seems to be \(channels, height"),
    (RecordedNoiser(TONES), IMAGES, 'If X holds signals .n_samples, channels, length., set kind="signals"'),
    (RecordedNoiser([LEADS.T], kind="signals"), IMAGES[:, :3], r"has the shape \(3000, 3\).*record\.T"),
    (RecordedNoiser([LEADS], kind="signals"), ROWS, r"the signals in X have 1 channel\. .*\(1, length\)"),
    (RecordedNoiser([LEADS], kind="signals"), IMAGES[:, :2], r"fits any signal"),
    (RecordedNoiser([LEADS], kind="signals"), IMAGES[..., None].repeat(3, -1), "Signals have the shape"),
    (
        RecordedNoiser([np.eye(3)[:, :1].repeat(50, 1)], kind="signals"),
        IMAGES[:, :3],
        "constant.*snr=None",
    ),
    (RecordedNoiser(TONES, kind="audio"), ROWS, "'kind' parameter of RecordedNoiser"),
    (RecordedNoiser(TONES, "loud"), ROWS, "'snr' parameter of RecordedNoiser"),
    (RecordedNoiser(TONES, (10, 0)), ROWS, r"snr=\(low, high\) needs low <= high"),
    (RecordedNoiser(TONES, np.nan), ROWS, "snr must be a number of dB"),
    (RecordedNoiser(TONES, True), ROWS, "snr must be a number of dB"),
    (RecordedNoiser(TONES, power="record"), ROWS, "'power' parameter of RecordedNoiser"),
]


@pytest.mark.parametrize(("noiser", "X", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_parameters_and_layouts_are_refused_in_fit(noiser, X, message):
    with pytest.raises(ValueError, match=message):
        noiser.fit(X)


def test_image_records_meet_signals_in_training_with_the_same_error():
    denoiser = ImageDenoiser(SMALL, noise=RecordedNoiser(TONES), patch_size=8, max_epochs=1)
    with pytest.raises(ValueError, match=r"is a signal of shape \(700,\), and X holds images"):
        denoiser.fit(IMAGES)


# Training -----------------------------------------------------------------------------------------------

SMALL = FoldedUNetNetwork((8, 8), blocks=(1, 1))


@pytest.mark.parametrize(
    "noiser",
    [
        CameraNoiser(),
        JPEGNoiser((10, 60), grid="random"),
        GrainNoiser((0, 0.2), color_correlation=0.5),
        StripeNoiser(0.1),
        RecordedNoiser(BANK, (0, 10), power="data"),
        NoiserChain([GaussianNoiser(0.05), JPEGNoiser((60, 95))]),
    ],
    ids=lambda noiser: type(noiser).__name__,
)
@pytest.mark.parametrize("sigma", ["blind", pytest.param("map", marks=pytest.mark.slow)])
def test_an_image_denoiser_trains_on_patches(noiser, sigma):
    photos = [photo[:40, :48] for photo in load_images("rgb").train[:3]]
    denoiser = ImageDenoiser(SMALL, noise=noiser, sigma=sigma, patch_size=16, max_epochs=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        denoiser.fit(photos)
    (denoised,) = denoiser.predict([photos[0]])
    assert denoised.shape == photos[0].shape
    assert type(denoiser.noiser_) is type(noiser)
    again = clone(denoiser).fit(photos)
    np.testing.assert_array_equal(again.predict([photos[0]])[0], denoised)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "gain", "lead"),
    [(GrainNoiser(0.1), 3, 2), (CameraNoiser((2e-2, 3e-2), smoothing=1.0), 1, 0.2)],
    ids=["grain", "camera"],
)
def test_a_network_removes_more_of_the_noise_that_it_learned_from(noise, gain, lead):
    photos = load_images("gray")
    # Photos of half the sides, without the noise of the cameras that took them.
    train = [photo[::2, ::2][:128, :128] for photo in photos.train]
    clean = [photo[:96, :96] for photo in photos.test]
    noisy = [noised(noise, image[None])[0] for image in clean]

    def score(images):
        return np.mean([psnr(a[None], b[None], data_range=1) for a, b in zip(clean, images, strict=True)])

    settings = {"patch_size": 32, "max_epochs": 25, "random_state": 0}
    by_itself, by_white = (
        score(ImageDenoiser(SMALL, noise=kind, **settings).fit(train).predict(noisy))
        for kind in (noise, GaussianNoiser((0, 0.15)))
    )
    assert by_itself > score(noisy) + gain
    assert by_itself > by_white + lead


@pytest.mark.slow
def test_signals_meet_recorded_noise_in_an_autoencoder_and_in_a_pipeline():
    time = np.linspace(0, 6, 64)
    signals = np.sin(time + RNG.uniform(0, 6, size=(200, 1)))
    noise = RecordedNoiser(TONES, (0, 10))
    settings = {"max_epochs": 60, "random_state": 0}
    dae = DenoisingAutoencoder("dense", latent_dim=3, noise=noise, **settings).fit(signals[:150])
    noisy = noised(noise, signals[150:], seed=1)
    errors = [np.mean((X - signals[150:]) ** 2) for X in (noisy, dae.predict(noisy))]
    assert errors[1] < 0.5 * errors[0]
    pipeline = make_pipeline(noise, DenoisingAutoencoder("dense", latent_dim=3, max_epochs=1))
    assert pipeline.fit(signals)[-1].target_source_ == "noiser"
    source = carried_source(noise.fit_transform(signals))
    np.testing.assert_array_equal(source.clean, signals)


@pytest.mark.slow
def test_an_image_denoiser_of_signals_takes_recorded_signals_and_kernels_of_one_axis():
    rows = RNG.uniform(size=(40, 64))
    for noiser in (RecordedNoiser(TONES, 5), GrainNoiser(0.1, [1.0, 2.0, 1.0]), GrainNoiser(0.1, 2.0)):
        denoiser = ImageDenoiser("dncnn", noise=noiser, patch_size=(1, 32), max_epochs=1, random_state=0)
        assert denoiser.fit(rows).predict(rows).shape == rows.shape


def test_an_autoencoder_passes_its_image_shape_to_the_noise():
    images = RNG.integers(0, 256, size=(20, 8, 12, 3)).astype(np.uint8)
    for noiser in (CameraNoiser(), JPEGNoiser(), StripeNoiser(20)):
        stack = DenoisingAutoencoder(noise=noiser, max_epochs=1, random_state=0).fit(images)
        flat = clone(stack).set_params(image_shape=(8, 12, 3)).fit(images.reshape(20, -1))
        np.testing.assert_array_equal(
            flat.predict(images.reshape(20, -1)), stack.predict(images).reshape(20, -1)
        )
