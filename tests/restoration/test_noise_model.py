"""Estimation of the kind and the level of noise, on images of many kinds."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data, draw

from sk_denoise import GaussianNoiser, GrainNoiser, PoissonNoiser
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.restoration import NoiseModel, denoise_image, estimate_noise, estimate_sigma


def rng():
    return np.random.default_rng(0)


def as_bytes(x):
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


def add_white(clean, sigma):
    return clean + rng().normal(0, sigma, clean.shape)


def compress(x, quality):
    stream = io.BytesIO()
    Image.fromarray(as_bytes(x)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


PHOTOS = {"camera": data.camera(), "coffee": data.coffee(), "moon": data.moon()}


def drawing():
    canvas = np.full((256, 256, 3), 255, np.uint8)
    canvas[40:90, 30:200] = 200, 30, 60
    canvas[draw.disk((170, 150), 50)] = 20, 90, 200
    return canvas


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("sigma", [5, 15, 40])
def test_white_noise_is_found_with_its_level(name, sigma):
    model = estimate_noise(add_white(PHOTOS[name], sigma))
    assert model.kind == "white"
    assert model.sigma == pytest.approx(sigma, rel=0.15)
    assert model.trust > 0.7


@pytest.mark.parametrize(("gain", "read_noise"), [(1, 0), (4, 10), (0.25, 1)])
def test_counts_are_found_with_their_gain(gain, read_noise):
    clean = data.camera() * gain * 0.5
    counts = gain * rng().poisson(clean / gain) + rng().normal(0, read_noise, clean.shape)
    model = estimate_noise(counts)
    assert model.kind == "counts"
    assert model.gain == pytest.approx(gain, rel=0.15)
    true_level = np.sqrt(gain * clean + read_noise**2 + 1e-9)
    assert np.median(model.level_map(counts) / true_level) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("quality", [60, 75])
def test_compressed_noise_is_not_taken_for_white(quality):
    model = estimate_noise(compress(add_white(data.coffee(), 15), quality))
    assert model.kind == "camera"
    assert 3 < model.sigma < 15


def test_correlated_noise_is_found_with_its_length():
    clean = data.coffee()[:256, :256] / 255
    noisy = GrainNoiser(0.05, kernel=1.2, random_state=0).fit_transform(clean[None])[0]
    model = estimate_noise(noisy)
    assert model.kind == "camera"
    assert model.sigma == pytest.approx(0.05, rel=0.35)
    assert 1 < model.correlation_length < 4
    assert model.levels[2] > 1.5 * model.levels[0]


@pytest.mark.parametrize("clean", [drawing(), np.full((64, 64), 7.0), np.eye(8), np.zeros((1, 9))])
def test_images_without_noise_have_none(clean):
    assert estimate_noise(clean).kind == "none"


@pytest.mark.parametrize("value", [0, 1, 16, 64, 100, 128, 160, 200, 254, 255])
@pytest.mark.parametrize("width", [16, 100, 300])
def test_a_plain_frame_does_not_hide_the_noise(value, width):
    inside = as_bytes(add_white(data.camera()[100:300, 100:300], 12))
    frame = np.pad(inside, width, constant_values=value)
    assert estimate_sigma(frame) == pytest.approx(estimate_sigma(inside), rel=0.15)
    assert estimate_noise(frame).sigma == pytest.approx(12, rel=0.15)


def test_captions_and_padding_of_floats_do_not_hide_the_noise():
    inside = add_white(data.camera()[100:300, 100:300] / 255, 0.1)
    canvas = np.zeros((400, 400))
    canvas[100:300, 100:300] = inside
    assert estimate_noise(canvas).sigma == pytest.approx(0.1, rel=0.15)
    page = Image.new("L", (512, 120), 255)
    from PIL import ImageDraw

    ImageDraw.Draw(page).text((10, 10), "A caption below the image, of several words\n" * 6, fill=0)
    captioned = np.vstack([as_bytes(add_white(data.camera(), 10)), np.asarray(page)])
    assert estimate_noise(captioned).sigma == pytest.approx(10, rel=0.15)


def test_hidden_pixels_do_not_count():
    photo = as_bytes(add_white(data.coffee()[:200, :200], 10))
    alpha = np.zeros((200, 200), np.uint8)
    alpha[50:150, 30:190] = 255
    hidden = photo.copy()
    hidden[alpha == 0] = 123
    model = estimate_noise(np.dstack([hidden, alpha]))
    assert model.sigma == pytest.approx(10, rel=0.15)
    gray = photo[..., 1].astype(float)
    gray[alpha == 0] = np.nan
    assert estimate_noise(gray).sigma == pytest.approx(10, rel=0.15)
    wild = np.where(alpha == 255, photo[..., 1], rng().integers(0, 255, alpha.shape))
    assert estimate_noise(wild, mask=alpha == 255).sigma == pytest.approx(10, rel=0.15)


def test_images_of_one_source_have_one_model():
    planes = [rng().poisson(part * 0.3).astype(np.uint16) for part in np.split(data.camera(), 4)]
    model = estimate_noise(planes)
    assert (model.kind, model.gain) == ("counts", pytest.approx(1, rel=0.15))
    with pytest.raises(ValueError, match="The list of images is empty"):
        estimate_noise([])
    with pytest.raises(ValueError, match="have the same number of channels"):
        estimate_noise([planes[0], np.arange(243).reshape(9, 9, 3)])
    with pytest.raises(ValueError, match=r"mask must be True or False for each pixel, of shape \(128, 512\)"):
        estimate_noise(planes[0], mask=np.ones((3, 3)))


@pytest.mark.parametrize("factor", [1e-20, 1e20, 1e200])
def test_models_scale_with_the_image(factor):
    noisy = add_white(data.camera()[:128, :128].astype(float), 20)
    assert estimate_noise(factor * noisy).sigma == pytest.approx(factor * estimate_noise(noisy).sigma)


def test_models_describe_themselves_in_words():
    assert str(NoiseModel("none", 0.0)) == "no visible noise"
    assert str(NoiseModel("white", 0.04)) == "white noise: about 0.04 (10.2 of 255)"
    assert "gain 2, read noise 3, offset 100" in str(
        NoiseModel("counts", 9.0, gain=2, read_noise=3, offset=100)
    )
    camera = NoiseModel("camera", 0.02, correlation_length=1.5)
    assert "correlated over 1.5 pixels" in str(camera)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pink", 1.0), "kind must be one of none, white, counts, camera, got 'pink'"),
        (("white", -1.0), "sigma must be finite and at least 0, got -1.0"),
        (("white", np.inf), "sigma must be finite"),
        (("counts", 1.0), "counts need a gain above 0"),
    ],
)
def test_impossible_models_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NoiseModel(*arguments)


@pytest.mark.parametrize(
    ("noiser", "worst"),
    [(GaussianNoiser(0.1), 0.3), (PoissonNoiser(20), 0.35), (GrainNoiser(0.08, kernel=1.0), 0.7)],
)
def test_a_noiser_stands_for_its_noise(noiser, worst):
    clean = data.camera()[100:292, 100:292] / 255
    noisy = noiser.set_params(random_state=0).fit_transform(clean[None])[0]
    denoised = denoise_image(noisy, noise=noiser)
    assert np.mean((denoised - clean) ** 2) < worst * np.mean((noisy - clean) ** 2)


def test_a_wrong_kind_warns():
    compressed = compress(add_white(data.coffee(), 25), 60)
    with pytest.warns(NoiseMismatchWarning, match=r"does not look white.* Pass noise=\"auto\""):
        estimate_noise(compressed, kind="white")
    with pytest.warns(NoiseMismatchWarning, match="does not grow with the brightness"):
        estimate_noise(add_white(data.camera().astype(float), 5), kind="counts")


def test_flat_counts_have_the_gain_of_their_mean():
    counts = rng().poisson(np.full((128, 128), 40.0)) * 3
    assert estimate_noise(counts, kind="counts").gain == pytest.approx(3, rel=0.1)
