"""One rule of black and white, in the library, on the command line and in the app."""

from __future__ import annotations

import numpy as np
import pytest

from sk_denoise import FoldedUNetNetwork, GaussianNoiser, ImageDenoiser
from sk_denoise._intensity import UNIT, IntensityRange, without_alpha
from sk_denoise.app._processing import DenoisingRequest, denoise_to_folder
from sk_denoise.cli import main
from sk_denoise.datasets import RandomPatches, load_images
from sk_denoise.io import read_image, write_image
from sk_denoise.metrics import make_denoising_scorer
from sk_denoise.preprocessing import PixelScaler
from sk_denoise.restoration import denoise_image, load_pretrained

TEN = 10 / 255  # the level of the noise, as a share of the range


@pytest.fixture(scope="module")
def clean():
    return load_images("gray").test[0][:160, :160].astype(float)


@pytest.fixture(scope="module")
def noisy(clean):
    return clean + np.random.default_rng(0).normal(0, TEN, clean.shape)


def decibels(truth, answer, white=1.0):
    return 10 * np.log10(white**2 / np.mean((np.asarray(truth, float) - np.asarray(answer, float)) ** 2))


def ramp(dtype, low, high):
    return np.linspace(low, high, 5000).reshape(50, 100).astype(dtype)


@pytest.mark.parametrize(
    ("image", "black", "white"),
    [
        (np.eye(20, dtype=bool), 0, 1),
        (ramp("uint8", 0, 20), 0, 255),
        (ramp("int8", -5, 5), -128, 127),
        (ramp("uint16", 0, 200), 0, 255),
        (ramp("uint16", 0, 50), 0, 49),
        (ramp("uint16", 0, 1000), 0, 1023),
        (ramp("uint16", 0, 4095), 0, 4095),
        (ramp("uint16", 0, 16_000), 0, 16_383),
        (ramp("uint16", 0, 20_000), 0, 65_535),
        (ramp("int16", 0, 4000), 0, 4095),
        (ramp("int32", 0, 70_000), 0, 70_000),
        (ramp("int16", -1000, 3000), -1000, 3000),
        (ramp("float32", 0, 1), 0, 1),
        (ramp("float16", 0, 0.1), 0, 1),
        (ramp("float64", -0.4, 1.4), 0, 1),
        (ramp("float32", 0, 200), 0, 255),
        (ramp("float32", 0, 300), 0, 1023),
        (ramp("float32", 0, 1.8), 0, 1.8),
        (ramp("float32", 0, 1e6), 0, 1e6),
        (ramp("float32", 1000, 1100), 0, 4095),
        (ramp("float32", -80, -20), -80, -20),
        (np.full((20, 20), 5.0), 0, 5),
        (np.random.default_rng(0).poisson(2.0, (50, 50)).astype(float), 0, 8),
    ],
    ids=lambda value: f"{value.dtype}-{value.min():g}-{value.max():g}" if hasattr(value, "dtype") else None,
)
def test_the_range_of_numbers(image, black, white):
    intensity = IntensityRange.of(image)
    assert intensity.black == pytest.approx(black, abs=0.005 * (white - black))
    assert intensity.white == pytest.approx(white, abs=0.005 * (white - black))


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.6])
def test_noise_around_the_unit_range_is_no_range_of_its_own(clean, sigma):
    strong = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
    assert IntensityRange.of(strong) == UNIT


def test_noise_above_the_largest_number_of_a_sensor_is_no_other_depth():
    white = np.tile(ramp("float64", 0, 4095), (4, 2))
    noisy = np.clip(np.rint(white + np.random.default_rng(0).normal(0, 160, white.shape)), 0, None)
    assert noisy.max() > 4400
    assert IntensityRange.of(noisy.astype(np.uint16)).white == 4095


def test_an_image_of_a_deeper_sensor_is_not_taken_for_noise():
    assert IntensityRange.of(ramp("uint16", 0, 5000)).white == 16_383


@pytest.mark.parametrize("most", [600, 900])
def test_noise_alone_does_not_make_a_sensor_shallower(most):
    noise = np.random.default_rng(0).integers(0, most, (64, 64)).astype(np.uint16)
    assert IntensityRange.of(noise).white == 1023


@pytest.mark.parametrize("dtype", ["float64", "uint16", "int64"])
def test_a_hot_pixel_changes_no_range(clean, dtype):
    white = 1.0 if dtype == "float64" else 4095.0
    image = (white * clean).astype(dtype)
    before = IntensityRange.of(image)
    image[7, 7] = 16 * white
    assert IntensityRange.of(image) == before


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint64", "float32", "float64"])
def test_scaling_and_back_is_the_same(dtype):
    image = ramp(dtype, 0, 100)
    intensity = IntensityRange.of(image)
    back = intensity.from_unit(intensity.to_unit(image), image.dtype)
    assert back.dtype == image.dtype
    np.testing.assert_allclose(back, image, rtol=1e-6, atol=1e-5)


def test_alpha_is_no_intensity():
    image = np.dstack([ramp("float32", 0, 0.5), np.full((50, 100), 1.0, np.float32)])
    assert without_alpha(image).shape == (50, 100)
    assert without_alpha(image, n_channels=2) is image


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (np.array([3, 7], dtype=np.uint8), 255),
        (np.array([3, 7], dtype=np.int8), 255),
        (np.array([3, 4000, 4000], dtype=np.uint16), 4095),
        (np.array([-3, 7], dtype=np.int64), 10),
        (np.array([-3, 7], dtype=np.int32), 10),
        (np.array([-0.5, 0.25]), 0.75),
        (np.array([-100, 127], dtype=np.int64).astype(np.float16), 227),
        (np.array([False, False]), 1),
        (np.array([2.0, 2.0]), 1),
    ],
)
def test_the_data_range_is_that_of_small_integer_types_and_else_that_of_the_values(data, expected):
    assert IntensityRange.of_clean(data).span == expected


def test_the_data_range_of_wide_integers_does_not_overflow():
    assert (
        IntensityRange.of_clean(np.array([np.iinfo(np.int32).min, np.iinfo(np.int32).max])).span == 2**32 - 1
    )


# The same result everywhere ---------------------------------------------------------------------------


def everywhere(image, path, level, model="gray"):
    """Return the results of library, command line and app at a level of 255."""
    write_image(path, image)
    span = IntensityRange.of(without_alpha(image)).span
    library = denoise_image(image, sigma=level / 255 * span, model=model)
    target = path.with_stem("denoised")
    assert (
        main(["denoise", str(path), "-o", str(target), "--sigma", str(level), "--model", model, "--quiet"])
        == 0
    )
    request = DenoisingRequest(model=model, sigma=float(level))
    denoise_to_folder(path, request, path.parent, lambda *_, **__: None, model=None, max_pixels=10**6)
    return library, read_image(target), np.load(path.parent / "after.npy")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unit", "hot pixel", "12 bits", "12 bits, not clipped", "counts", "8 bits"])
def test_library_command_line_and_app_agree(clean, noisy, tmp_path, kind):
    white, name = 4095.0, "noisy.tif"
    if kind in ("unit", "hot pixel"):
        white, image = 1.0, noisy.astype(np.float32)
        if kind == "hot pixel":
            image[5, 5] = 2.0
    elif kind == "counts":
        image = (white * noisy).astype(np.float32)
    elif kind == "8 bits":
        white, image, name = 255.0, np.rint(255 * noisy).clip(0, 255).astype(np.uint8), "noisy.png"
    else:
        most = 65_535 if "not" in kind else 4095
        image, name = np.rint(white * noisy).clip(0, most).astype(np.uint16), "noisy.png"
    truth = white * clean
    if kind == "hot pixel":
        truth[5, 5] = 2.0
    scores = [decibels(truth, answer, white) for answer in everywhere(image, tmp_path / name, 10)]
    assert scores[0] > decibels(truth, image, white) + 5
    assert scores == pytest.approx([scores[0]] * 3, abs=0.1)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "uint32", "float32", "float64"])
def test_images_of_any_unit_are_scaled_to_that_of_a_pretrained_model(clean, noisy, dtype):
    image = np.rint(4095 * noisy).clip(0).astype(dtype)
    model = load_pretrained("gray")
    answers = [
        denoise_image(image),
        denoise_image(image, model=model),
        model.predict([image])[0],
        model.predict(image[None])[0],
    ]
    scores = [decibels(4095 * clean, answer, 4095) for answer in answers]
    assert scores[0] > decibels(4095 * clean, image, 4095) + 5
    assert scores == pytest.approx([scores[0]] * 4, abs=0.1)


@pytest.fixture(scope="module", params=[255, 65_535, 1], ids=["uint8", "uint16", "unit"])
def own(request):
    """Return a small model trained on 8 bits, 16 bits or floats with noise of 10 of 255."""
    white = request.param
    images = [image[:96, :96] for image in load_images("gray").train[:6]]
    dtype = {255: np.uint8, 65_535: np.uint16, 1: np.float32}[white]
    training = [np.rint(white * x).astype(dtype) if white > 1 else x for x in images]
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    model = ImageDenoiser(
        small, noise=GaussianNoiser((0, 2 * TEN * white)), patch_size=32, max_epochs=12, random_state=0
    )
    return model.fit(training)


def test_images_of_any_unit_are_scaled_to_that_of_a_user_model(clean, noisy, own):
    scores = []
    for white, dtype in [
        (255, np.uint8),
        (4095, np.uint16),
        (65_535, np.uint16),
        (1, float),
        (4095, np.int32),
    ]:
        image = noisy if white == 1 else np.rint(white * noisy).clip(0, white).astype(dtype)
        scores += [decibels(white * clean, own.predict([image])[0], white)]
        scores += [decibels(white * clean, denoise_image(image, model=own), white)]
    assert min(scores) > decibels(clean, noisy) + 0.7
    assert max(scores) - min(scores) < 0.3


def test_a_dark_image_of_the_sensor_of_the_training_keeps_its_unit(clean):
    images = [np.rint(60_000 * image[:64, :64]).astype(np.uint16) for image in load_images("gray").train[:4]]
    noise = GaussianNoiser(4000.0)
    model = ImageDenoiser(
        FoldedUNetNetwork((8, 8), blocks=(1, 1)), noise=noise, patch_size=32, max_epochs=4, random_state=0
    ).fit(images)
    dark = 2000 + 1000 * clean
    noisy = np.rint(dark + np.random.default_rng(0).normal(0, 4000, dark.shape)).clip(0).astype(np.uint16)
    bright = np.rint(60_000 * clean).astype(np.uint16)
    both = model.predict(np.stack([noisy, bright]))
    np.testing.assert_allclose(both[0], model.predict([noisy])[0], rtol=1e-5)
    assert np.std(both[0] - dark) < np.std(noisy - dark)


def test_a_fit_without_known_black_and_white_warns_of_another_unit(clean):
    counts = [900 * image[:64, :64] - 300 for image in load_images("gray").train[:3]]
    model = ImageDenoiser(
        FoldedUNetNetwork((8, 8), blocks=(1, 1)), patch_size=32, max_epochs=1, random_state=0
    ).fit(counts)
    assert model.intensity_range_ is None
    model.predict([900 * clean - 300])
    with pytest.warns(
        UserWarning, match=r"X seems to lie between 0 and 1, and the fit was to images between"
    ):
        model.predict([clean])


# sigma, gray and colour --------------------------------------------------------------------------------


def test_a_share_of_the_range_as_the_sigma_of_integers_gets_a_warning(noisy):
    image = np.rint(255 * noisy).clip(0, 255).astype(np.uint8)
    words = r"sigma is 0.1, less than one grey level of {}, whose white is 255 .* pass sigma=25.5"
    with pytest.warns(UserWarning, match=words.format("image")):
        denoise_image(image, sigma=0.1)
    with pytest.warns(UserWarning, match=words.format("X")):
        load_pretrained("gray").predict([image], sigma=0.1)
    denoise_image(
        np.rint(255 * np.full_like(noisy, 0.5)).astype(np.uint8), sigma=0.4
    )  # there is none to speak of


def test_a_model_of_colours_takes_gray_images(clean, noisy):
    gray = decibels(clean, denoise_image(noisy, sigma=TEN))
    for answer in (
        denoise_image(noisy, sigma=TEN, model="rgb"),
        denoise_image(noisy, sigma=TEN, model=load_pretrained("rgb")),
        denoise_image(noisy[..., None], model="rgb")[..., 0],
    ):
        assert answer.shape == noisy.shape
        assert decibels(clean, answer) == pytest.approx(gray, abs=0.7)
    image = np.rint(255 * np.dstack([noisy, np.ones_like(noisy)])).clip(0, 255).astype(np.uint8)
    answer = denoise_image(image, model="rgb")
    assert answer.dtype == np.uint8
    assert (answer[..., 1] == 255).all()


# Scores, scalers and streams ---------------------------------------------------------------------------


def test_scores_of_16_bit_integers_refer_to_their_bit_depth(clean):
    image = np.rint(4095 * clean).astype(np.uint16)[None]

    class Nothing:
        def predict(self, X):
            return X

    score = make_denoising_scorer(GaussianNoiser(TEN * 4095, random_state=0))(Nothing(), image)
    assert score == pytest.approx(-20 * np.log10(TEN), abs=0.1)


def test_the_pixel_scaler_uses_the_bit_depth_of_integers(clean):
    image = np.rint(4095 * clean).astype(np.uint16)[None]
    scaler = PixelScaler().fit(image)
    assert scaler.range_ == (0, 4095)
    np.testing.assert_array_equal(scaler.inverse_transform(scaler.transform(image)), image)


def test_patches_of_16_bit_images_use_all_of_the_unit_range(clean):
    import torch

    images = [np.rint(4095 * clean).astype(np.uint16), np.rint(400 * clean).astype(np.uint16)]
    patches = RandomPatches(images, 64, patches_per_image=8)
    (block, _), *_ = patches.draw(torch.Generator().manual_seed(0))
    assert 0.5 < float(block.max()) <= 1.0


def test_a_fit_to_16_bit_files_and_one_to_an_array_agree(clean, noisy, tmp_path):
    from sk_denoise.datasets import ImageFolder

    for place, image in enumerate(load_images("gray").train[:3]):
        write_image(tmp_path / f"{place}.png", np.rint(4095 * image[:96, :96]).astype(np.uint16))
    model = ImageDenoiser(
        FoldedUNetNetwork((8, 8), blocks=(1, 1)),
        noise=GaussianNoiser(TEN),
        patch_size=32,
        max_epochs=8,
        random_state=0,
    ).fit(ImageFolder(tmp_path, color="gray"))
    assert model.intensity_range_ == UNIT
    image = np.rint(4095 * noisy).clip(0, 4095).astype(np.uint16)
    scores = [
        decibels(4095 * clean, model.predict([image])[0], 4095),
        decibels(clean, model.predict([noisy])[0]),
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.2)
    assert scores[0] > decibels(clean, noisy)
