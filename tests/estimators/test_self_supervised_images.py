"""ImageDenoiser on noisy images alone: quality, containers, shapes, wrong noise, pretrained weights."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from sk_denoise import (
    BlindSpotObjective,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    NeighboursObjective,
    PoissonNoiser,
    RecorruptObjective,
)
from sk_denoise.datasets import RandomPatches, load_images
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.io import write_image
from sk_denoise.restoration import NoiseModel, load_pretrained
from sk_denoise.training import TrainingPair

TINY = FoldedUNetNetwork((8, 12), blocks=(1, 1))
SIGMA = 0.1
OBJECTIVES = ["recorrupt", "neighbours", "blind"]


def photos(n=6, side=96):
    return np.stack([photo[:side, :side] for photo in load_images("gray").train[:n]]).astype(np.float32)


def noisy(images, level=SIGMA, seed=0):
    rng = np.random.default_rng(seed)
    return (images + rng.normal(0, level, images.shape)).astype(np.float32)


def denoiser(objective, **parameters):
    common = {"patch_size": 32, "batch_size": 4, "max_epochs": 1, "random_state": 0, "device": "cpu"}
    noise = SIGMA if objective == "recorrupt" else "auto"
    return ImageDenoiser(TINY, objective=objective, **{**common, "noise": noise, **parameters})


def decibels(clean, output):
    return -10 * np.log10(np.mean((np.asarray(output) - clean) ** 2))


# Quality -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["white", "counts"])
def test_noisy_images_alone_teach_nearly_as_much_as_clean_ones(noise):
    clean = np.stack([photo[:128, :128] for photo in load_images("gray").train])
    test = np.stack([photo[:128, :128] for photo in load_images("gray").test])

    def corrupted(images, seed):
        if noise == "white":
            return noisy(images, seed=seed)
        return (np.random.default_rng(seed).poisson(30 * images) / 30).astype(np.float32)

    model = SIGMA if noise == "white" else NoiseModel("counts", 0.12, gain=1 / 30)
    X, X_test = corrupted(clean, 0), corrupted(test, 1)
    shared = {"patch_size": 48, "batch_size": 16, "max_epochs": 50, "patches_per_image": 8}
    supervised = denoiser("supervised", **shared, noise="auto").fit(X, X_clean=clean)
    best = decibels(test, supervised.predict(X_test))
    gaps = {
        name: best - decibels(test, denoiser(name, **shared, noise=given).fit(X).predict(X_test))
        for name, given in (("recorrupt", model), ("neighbours", "auto"), ("blind", "auto"))
    }
    # Larger than on hundreds of photos, where they are .2, .2 and 1.8 dB.
    assert gaps["recorrupt"] < 0.7
    assert gaps["neighbours"] < 1.1
    assert gaps["blind"] < 3
    assert best > decibels(test, X_test) + 5


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective_removes_noise_in_a_few_steps(objective):
    clean = photos()
    model = denoiser(objective, max_epochs=6).fit(noisy(clean))
    assert model.target_source_ == "noisy"
    assert decibels(clean, model.predict(noisy(clean, seed=1))) > decibels(clean, noisy(clean)) + 2


def test_estimated_noise_is_that_of_the_images():
    clean = photos()
    model = denoiser("recorrupt", noise="auto").fit(noisy(clean))
    assert model.noise_model_.kind == "white"
    assert model.noise_model_.sigma == pytest.approx(SIGMA, rel=0.1)


# Containers and shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "container", ["sizes", "odd", "color", "folder", "patches", "flat", "tiny", "one image", "signals"]
)
def test_containers(objective, container, tmp_path):
    X, options = noisy(photos(4)), {}
    if container == "sizes":
        X = [X[0], X[1][:50, :71], X[2][:33], X[3]]
    elif container == "odd":
        X = X[:, :51, :77]
    elif container == "color":
        X = noisy(np.stack([photo[:64, :64] for photo in load_images("rgb").train[:4]]).astype(np.float32))
    elif container == "folder":
        for number, image in enumerate(X):
            write_image(tmp_path / f"{number}.png", (255 * image.clip(0, 1)).round().astype(np.uint8))
        X = tmp_path
    elif container == "patches":
        X = RandomPatches(list(X), 32, patches_per_image=4)
    elif container == "flat":
        X, options = X.reshape(4, -1), {"image_shape": (96, 96)}
    elif container == "tiny":
        X = X[:, :3, :5]
    elif container == "one image":
        X = X[:1]
    else:
        X = X[:, 0]
    model = denoiser(objective, **options).fit(X)
    if container in ("folder", "patches"):
        X = list(noisy(photos(4)))
    output = model.predict(X)
    for given, returned in zip(X, output, strict=True):
        assert given.shape == returned.shape
        assert np.isfinite(returned).all()


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_have_their_unit(objective, dtype):
    clean = photos()
    white = np.iinfo(dtype).max
    X = np.rint(white * noisy(clean).clip(0, 1)).astype(dtype)
    noise = SIGMA * white if objective == "recorrupt" else "auto"
    model = denoiser(objective, noise=noise, max_epochs=6).fit(X)
    output = model.predict(X)
    assert output.dtype == np.float32
    assert decibels(clean, output / white) > decibels(clean, X / white) + 1.5


@pytest.mark.slow
@pytest.mark.parametrize("white", [1.0, 30.0, 50.0])
def test_whole_counts_have_their_gain_exactly(white):
    X = np.random.default_rng(0).poisson(30 * photos()) * np.float32(white / 30)
    model = denoiser("recorrupt", noise="auto").fit(X)
    assert model.noise_model_.kind == "counts"
    assert model.noise_model_.gain == pytest.approx(white / 30, rel=1e-5)
    # Grey levels are whole too, and their step is far below the gain.
    X = np.rint(255 * np.random.default_rng(0).poisson(30 * photos()) / 30 / 2).astype(np.uint8)
    model = denoiser("recorrupt", noise="auto").fit(X)
    assert model.noise_model_.gain == pytest.approx(255 / 60, rel=0.3)


@pytest.mark.slow
def test_counts_of_photons_are_thinned():
    clean = photos()
    X = np.random.default_rng(0).poisson(200 * clean + 2).astype(np.uint16)
    model = denoiser("recorrupt", noise=NoiseModel("counts", 10.0, gain=1.0), max_epochs=6).fit(X)
    assert decibels(clean + 0.01, model.predict(X) / 200) > decibels(clean + 0.01, X / 200) + 1


@pytest.mark.parametrize("objective", ["neighbours", "blind"])
def test_rows_of_one_feature_are_refused_in_words(objective):
    with pytest.raises(ValueError, match="at least 2 entries"):
        denoiser(objective).fit(np.random.default_rng(0).normal(size=(30, 1)))


@pytest.mark.parametrize("shape", [(6, 1, 40), (6, 2, 2), (6, 1, 2)])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_narrow_images(objective, shape):
    X = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert denoiser(objective).fit(X).predict(X).shape == shape


@pytest.mark.slow
def test_patches_are_cut_twice_as_large_where_they_are_halved():
    seen = []

    class Recording(NeighboursObjective):
        def make_pair(self, samples):
            pair = super().make_pair(samples)
            seen.append((tuple(samples.values.shape[1:]), tuple(pair.input.shape[1:])))
            return pair

    denoiser(Recording()).fit(noisy(photos()))
    assert set(seen) == {((64, 64), (32, 32))}
    seen.clear()
    denoiser(Recording()).fit(noisy(photos(side=40)))
    assert set(seen) == {((40, 40), (20, 20))}
    same = denoiser("blind").fit(noisy(photos()))
    assert same.patch_shape_ == (32, 32)


def test_weights_of_images_keep_each_image_in_its_place():
    # In place of every second image there must not be the one before, whose weight is another one.
    repeats = []

    class Recording(RecorruptObjective):
        def make_pair(self, samples):
            pair = super().make_pair(samples)
            if samples.denoise is not None:
                added = pair.input - samples.values
                repeats.append(torch.allclose(added[::2], -added[1::2], atol=1e-6))
            return pair

    # Small images are trained on whole, with their weights in the loss.
    X = noisy(photos(8, 16))
    denoiser(Recording(), noise=SIGMA).fit(X, sample_weight=np.arange(1.0, 9))
    assert repeats
    assert not any(repeats)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_early_stopping_measures_on_the_same_pairs(objective):
    model = denoiser(objective, max_epochs=3, early_stopping=True, validation_fraction=0.3)
    model.fit(noisy(photos()))
    assert model.validation_scores_ is None
    assert all("valid_loss" in epoch for epoch in model.net_.history)


# Noise of a noiser -------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_carried_clean_sides_are_not_used(objective):
    carried = GaussianNoiser(SIGMA, random_state=0).fit_transform(photos())
    model = denoiser(objective, noise="auto").fit(carried)
    plain = denoiser(objective, noise=SIGMA if objective == "recorrupt" else "auto").fit(np.asarray(carried))
    assert model.target_source_ == "noisy"
    np.testing.assert_allclose(model.predict(photos()), plain.predict(photos()), atol=2e-3)


def test_noisers_name_the_noise_in_X():
    clean = photos()
    X = np.asarray(PoissonNoiser(30, white=1.0, random_state=0).fit_transform(clean))
    model = denoiser("recorrupt", noise=PoissonNoiser(30, white=1.0)).fit(X)
    assert model.noise_model_.kind == "counts"
    assert model.noise_model_.gain == pytest.approx(1 / 30, rel=0.1)


# Noise that is not independent -------------------------------------------------------------------------


def correlated(images, radius=0.7):
    noise = np.random.default_rng(0).normal(size=images.shape)
    noise = np.stack([gaussian_filter(plane, radius) for plane in noise])
    return (images + SIGMA * noise / noise.std()).astype(np.float32)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_correlated_noise_is_named(objective):
    with pytest.warns(NoiseMismatchWarning, match="correlated between neighbours.*X_second"):
        denoiser(objective).fit(correlated(photos()))


def test_correlated_noise_is_not_estimated():
    with pytest.raises(ValueError, match="correlated between neighbours"):
        denoiser("recorrupt", noise="auto").fit(correlated(photos()))


@pytest.mark.parametrize("level", [0.03, 0.1, 0.3])
def test_white_noise_causes_no_warning(level):
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoiseMismatchWarning)
        denoiser("neighbours").fit(noisy(photos(), level))


# Networks with a noise-level map, and pretrained weights -----------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_maps_hold_the_level_of_the_input(objective):
    model = denoiser(objective, sigma="map", noise=SIGMA).fit(noisy(photos()))
    chosen = {"recorrupt": SIGMA / np.sqrt(0.9)}.get(objective, SIGMA)
    assert model.noise_levels_ == pytest.approx((chosen, chosen), rel=1e-3)
    assert np.isfinite(model.predict(noisy(photos()), sigma=SIGMA)).all()


def stripes(n, seed):
    """Return images that are unlike photos: thin lines of one direction and two grey levels."""
    rng = np.random.default_rng(seed)
    place = np.arange(64)
    images = [
        0.3 + 0.4 * (np.sin(place[:, None] * rng.uniform(0.9, 1.3) + 0 * place + rng.uniform(0, 6)) > 0.4)
        for _ in range(n)
    ]
    return np.stack(images).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["auto", 0.15])
def test_pretrained_weights_learn_a_new_kind_from_noisy_images(noise):
    model = load_pretrained("gray", random_state=0)
    X, clean = noisy(stripes(12, 0), 0.15), stripes(4, 1)
    before = decibels(clean, model.predict(noisy(clean, 0.15, 2), sigma=0.15))
    model.set_params(objective="recorrupt", noise=noise, warm_start=True, max_epochs=8, batch_size=6)
    model.fit(list(X))
    assert model.target_source_ == "noisy"
    assert decibels(clean, model.predict(noisy(clean, 0.15, 2), sigma=0.15)) > before + 0.5


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["neighbours", "blind"])
def test_pretrained_weights_take_the_other_objectives(objective):
    model = load_pretrained("gray", random_state=0)
    model.set_params(objective=objective, noise="auto", warm_start=True, max_epochs=1, batch_size=2)
    model.fit(noisy(photos(2)))
    assert np.isfinite(model.predict(noisy(photos(2)))).all()


# Objects of users --------------------------------------------------------------------------------------


class EverySecondColumn:
    """Even columns from odd ones."""

    needs_noise = False
    kinds = ("images",)

    def make_pair(self, samples):
        values = samples.values[:, :, : samples.values.shape[2] // 2 * 2]
        return TrainingPair(values[:, :, ::2], values[:, :, 1::2])


@pytest.mark.slow
def test_objectives_of_users_train():
    clean = photos()
    model = denoiser(EverySecondColumn(), max_epochs=8).fit(noisy(clean))
    assert decibels(clean, model.predict(noisy(clean, seed=1))) > decibels(clean, noisy(clean)) + 1


def test_objectives_have_their_parameters():
    for objective in (RecorruptObjective(0.3), NeighboursObjective(0.5), BlindSpotObjective(0.05)):
        noise = SIGMA if objective.needs_noise else "auto"
        assert denoiser(objective, noise=noise).fit(noisy(photos(4))).target_source_ == "noisy"
