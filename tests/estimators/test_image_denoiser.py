"""ImageDenoiser: training data, predictions, noise levels, tiles, and refusals."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from torch import nn

from sk_denoise import (
    Augmenter,
    CleanTargetWarning,
    DenseNetwork,
    DnCNNNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    NonLocalMeansDenoiser,
    RIDNetNetwork,
    SaltAndPepperNoiser,
    TrainingDivergedError,
    UNetNetwork,
    make_denoising_scorer,
)
from sk_denoise.datasets import ImageFolder, RandomPatches, load_images
from sk_denoise.estimators import IMAGE_NETWORKS
from sk_denoise.io import write_image
from sk_denoise.metrics import psnr
from sk_denoise.restoration import denoise_image, load_pretrained

SMALL = FoldedUNetNetwork((16, 24), blocks=(1, 1))
TINY = {
    "folded_unet": FoldedUNetNetwork((4, 6), blocks=(1, 1)),
    "unet": UNetNetwork((4, 6, 8)),
    "dncnn": DnCNNNetwork(4, width=4),
    "ridnet": RIDNetNetwork(width=4, blocks=1, reduction=2),
}
NOISE = GaussianNoiser(0.1)


@pytest.fixture(scope="module")
def photos():
    return [photo[:90, :110] for photo in load_images("gray").train]


@pytest.fixture(scope="module")
def truth():
    return load_images("gray").test[0][100:180, 100:205]


def noisy(clean, sigma=0.1, seed=0):
    return clean + np.random.default_rng(seed).normal(0, sigma, clean.shape).astype(clean.dtype)


def decibels(clean, other):
    return psnr(clean[None], np.asarray(other)[None], data_range=1)


def quick(network="folded_unet", **parameters):
    defaults = {
        "noise": NOISE,
        "patch_size": 16,
        "patches_per_image": 2,
        "max_epochs": 1,
        "random_state": 0,
    }
    return ImageDenoiser(TINY.get(network, network), **{**defaults, **parameters})


def weights(denoiser):
    return torch.cat([w.flatten() for w in denoiser.net_.module_.parameters()])


@pytest.mark.parametrize("sigma", ["blind", "map"])
@pytest.mark.slow
def test_a_fit_learns_to_denoise_photos(photos, truth, sigma):
    denoiser = ImageDenoiser(SMALL, noise=NOISE, sigma=sigma, patch_size=32, max_epochs=30, random_state=0)
    denoiser.fit(photos)
    assert decibels(truth, denoiser.predict([noisy(truth)])[0]) > decibels(truth, noisy(truth)) + 4.5


# Sources of images -------------------------------------------------------------------------------------


class Images(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return torch.from_numpy(self.images[index])


@pytest.fixture
def folder(tmp_path, photos):
    for number, photo in enumerate(photos[:4]):
        write_image(tmp_path / f"{number}.png", (255 * photo).astype(np.uint8))
    return ImageFolder(tmp_path, color="gray")


def test_stacks_lists_and_streams_give_the_same_fit(photos):
    images = photos[:4]
    given = [
        np.stack(images),
        images,
        tuple(images),
        Images(images),
        RandomPatches(images, 16, patches_per_image=2),
        lambda: iter(images),
    ]
    fitted = []
    for X in given[:-1]:
        denoiser = quick().fit(X)
        assert denoiser.target_source_ == "X"
        assert denoiser.patch_shape_ == (16, 16)
        fitted.append(denoiser.predict([photos[5]])[0])
    for prediction in fitted[1:]:
        np.testing.assert_allclose(prediction, fitted[0], atol=0.05)
    with pytest.raises(ValueError, match="images_per_epoch"):
        quick().fit(given[-1])


def test_images_of_different_sizes_train_a_network_and_are_denoised(photos):
    images = [photo[: 40 + 7 * n, : 90 - 5 * n] for n, photo in enumerate(photos[:5])]
    denoiser = quick().fit(images)
    predictions = denoiser.predict(images)
    assert isinstance(predictions, list)
    assert [prediction.shape for prediction in predictions] == [image.shape for image in images]
    np.testing.assert_allclose(predictions[2], denoiser.predict(images[2][None])[0], atol=1e-6)
    np.testing.assert_array_equal(denoiser.transform(images)[0], predictions[0])
    clean = [image.clip(0.2, 0.8) for image in images]
    by_hand = [denoiser.score(x[None], t[None]) for x, t in zip(images, clean, strict=True)]
    assert denoiser.score(images, clean) == pytest.approx(np.mean(by_hand))


def test_files_have_the_range_0_to_1(folder, photos):
    denoiser = quick().fit(folder)
    assert denoiser.data_range_ == 1
    eight_bits = (255 * photos[0]).astype(np.uint8)
    fractions = eight_bits / np.float32(255)
    prediction = denoiser.predict(eight_bits[None])
    assert prediction.dtype == np.float32
    np.testing.assert_allclose(prediction / 255, denoiser.predict(fractions[None]), atol=1e-5)
    np.testing.assert_allclose(denoiser.score(eight_bits[None]), denoiser.score(fractions[None]), atol=1e-3)
    with pytest.raises(ValueError, match="White is 1 in the first fit, and 255 in X"):
        denoiser.set_params(warm_start=True).fit([eight_bits])
    for X_val in ([eight_bits], eight_bits[None]):
        with pytest.raises(ValueError, match="White is 1 in X, and 255 in X_val"):
            quick().fit(folder, X_val=X_val)
    for X_val in ([fractions], fractions[None], folder):
        assert len(quick().fit(folder, X_val=X_val).validation_scores_) == 1
    assert len(quick().fit(photos[:3], X_val=folder).validation_scores_) == 1


def test_integers_keep_their_unit(photos):
    images = [(255 * photo).astype(np.uint8) for photo in photos[:4]]
    denoiser = quick(noise=GaussianNoiser(25)).fit(images)
    assert denoiser.data_range_ == 255
    fractions = quick(noise=GaussianNoiser(25 / 255)).fit([p / np.float32(255) for p in images])
    one = denoiser.predict(images)[0] / 255
    np.testing.assert_allclose(one, fractions.predict([images[0] / np.float32(255)])[0], atol=0.05)


def test_pairs_are_used_as_given(photos):
    clean = np.stack(photos[:4])
    X = noisy(clean)
    by_name, by_y = quick(noise="auto").fit(X, X_clean=clean), quick(noise="auto").fit(X, clean)
    assert (by_name.target_source_, by_y.target_source_) == ("X_clean", "y")
    assert by_name.noiser_ is None
    assert torch.equal(weights(by_name), weights(by_y))
    lists = quick(noise="auto").fit(list(X), X_clean=list(clean))
    assert lists.target_source_ == "X_clean"
    assert torch.equal(weights(lists), weights(by_name))
    assert quick(noise="auto").fit(list(X), list(clean)).noiser_ is None
    assert quick(noise="auto").fit(list(zip(X, clean, strict=True))).noiser_ is None
    labels = quick(noise="auto").fit(list(clean), [0, 1, 0, 1])
    assert labels.target_source_ == "X"


def test_the_noiser_of_a_pipeline_is_the_noise_of_the_fit(photos):
    clean = np.stack(photos[:4])
    pipe = Pipeline([("noise", NOISE), ("denoiser", quick(noise="auto"))]).fit(clean)
    assert pipe[-1].target_source_ == "noiser"
    assert torch.equal(weights(pipe[-1]), weights(quick().fit(clean)))
    assert pipe.predict(clean).shape == clean.shape


def test_flat_rows_with_an_image_shape_are_images(photos):
    clean = np.stack(photos[:4])
    rows = clean.reshape(len(clean), -1)
    flat = quick(image_shape=(90, 110)).fit(rows)
    assert flat.image_shape_ == (90, 110)
    np.testing.assert_allclose(flat.predict(rows), quick().fit(clean).predict(clean).reshape(rows.shape))
    with pytest.raises(ValueError, match="9900 features"):
        flat.predict(rows[:, 1:])


def test_rows_are_signals():
    rows = np.sin(np.linspace(0, 9, 150) + np.arange(12)[:, None])
    denoiser = quick("dncnn", noise=GaussianNoiser(0.3), max_epochs=3).fit(rows)
    assert denoiser.patch_shape_ == (1, 16)
    assert denoiser.predict(rows).shape == rows.shape


def test_colours_and_many_channels(photos):
    for channels in (1, 3, 5):
        stack = np.random.default_rng(0).random((3, 24, 20, channels), np.float32)
        denoiser = quick().fit(stack)
        assert denoiser.predict(stack[:, :13, :9]).shape == (3, 13, 9, channels)
        with pytest.raises(ValueError, match=f"images of {channels} channels, X holds images without"):
            denoiser.predict(stack[..., 0])
    with pytest.raises(ValueError, match=r"X\[1\] has shape .* same channels"):
        quick().fit([stack[0], stack[1, ..., :2]])


def test_one_image_is_enough(photos):
    quick().fit([photos[0]])
    quick().fit(photos[0][None])


# Validation, continuation ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, np.stack])
def test_images_are_held_out_for_early_stopping(photos, kind):
    denoiser = quick(early_stopping=True, max_epochs=3).fit(kind(photos[:6]))
    assert len(denoiser.validation_scores_) == 3
    given = quick(max_epochs=2).fit(kind(photos[:4]), X_val=kind(photos[4:6]))
    assert len(given.validation_scores_) == 2
    clean = kind(photos[:4])
    X, V = ([noisy(photo, seed=s) for photo in photos[:4]] for s in (1, 2))
    pairs = quick(noise="auto", max_epochs=2).fit(kind(X), X_clean=clean, X_val=kind(V), X_clean_val=clean)
    assert len(pairs.validation_scores_) == 2
    with pytest.raises(ValueError, match="X_val needs one too: pass X_clean_val"):
        quick(noise="auto").fit(list(X), X_clean=list(clean), X_val=kind(V))


def test_a_warm_start_continues_the_fit(photos):
    denoiser = quick(warm_start=True).fit(photos[:3])
    before = weights(denoiser)
    denoiser.set_params(max_epochs=2).fit([photo[:40, :70] for photo in photos[3:6]])
    assert denoiser.n_iter_ == 2
    assert not torch.equal(weights(denoiser), before)
    denoiser.partial_fit(np.stack(photos[:2])).partial_fit([photos[4][:12, :12]])
    assert denoiser.n_iter_ == 4
    with pytest.raises(ValueError, match="sigma changed since the first fit"):
        denoiser.set_params(sigma="map").fit(photos[:3])


def test_pretrained_weights_can_be_trained_further(photos):
    denoiser = load_pretrained("gray").set_params(
        warm_start=True, noise=SaltAndPepperNoiser(0.1, limits=(0, 1)), max_epochs=1, patch_size=32
    )
    before = weights(denoiser).clone()
    assert denoiser.n_iter_ == 0
    assert denoiser.fit(photos[:3]).n_iter_ == 1
    assert not torch.equal(weights(denoiser), before)
    assert torch.equal(weights(load_pretrained("gray")), before)


@pytest.mark.slow
def test_the_seed_of_pretrained_weights_determines_a_continued_fit(photos):
    def fitted_with_seed(seed):
        denoiser = load_pretrained("gray", random_state=seed)
        return weights(denoiser.set_params(warm_start=True, max_epochs=1, patch_size=16).fit(photos[:1]))

    assert torch.equal(fitted_with_seed(3), fitted_with_seed(3))
    assert not torch.equal(fitted_with_seed(3), fitted_with_seed(4))


# In scikit-learn ---------------------------------------------------------------------------------------


def test_one_search_compares_networks_noise_and_filters(photos):
    stack = np.stack([photo[:40, :40] for photo in photos[:6]])
    search = GridSearchCV(
        Pipeline([("denoiser", quick())]),
        [
            {"denoiser__noise__noise_factor": [0.05, 0.1], "denoiser__network__widths": [(4, 4), (4, 6)]},
            {"denoiser": [NonLocalMeansDenoiser()]},
        ],
        scoring=make_denoising_scorer(GaussianNoiser(0.1), data_range=1),
        cv=2,
    ).fit(stack)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_ == {"denoiser": search.best_params_.get("denoiser")}


def test_lists_can_be_searched_too(photos):
    images = [photo[: 40 + n, : 50 - n] for n, photo in enumerate(photos[:4])]
    for scoring in (None, make_denoising_scorer(NOISE, data_range=1), make_denoising_scorer(NOISE, "ssim")):
        search = GridSearchCV(quick(), {"patch_size": [8, 16]}, cv=2, scoring=scoring).fit(images)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_scorer_adds_the_same_noise_to_lists_each_time(photos):
    images = [photo[: 40 + n, : 50 - n] for n, photo in enumerate(photos[:3])]
    scorer, denoiser = make_denoising_scorer(NOISE, data_range=1), load_pretrained("gray")
    score = scorer(denoiser, images)
    assert score == scorer(denoiser, images)
    noise = [np.random.default_rng(n).normal(0, 0.1, x.shape) for n, x in enumerate(images)]
    predictions = denoiser.predict([(x + e).astype(np.float32) for x, e in zip(images, noise, strict=True)])
    alike = np.mean([decibels(x, prediction) for x, prediction in zip(images, predictions, strict=True)])
    assert score == pytest.approx(alike, abs=1)


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
@pytest.mark.parametrize("sigma", ["blind", "map"])
def test_every_network_is_fitted_copied_and_pickled(photos, name, sigma):
    denoiser = quick(name, sigma=sigma).fit(photos[:3])
    prediction = denoiser.predict([photos[4]])[0]
    assert prediction.dtype == np.float32
    assert prediction.shape == photos[4].shape
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(denoiser)).predict([photos[4]])[0], prediction)
    np.testing.assert_array_equal(clone(denoiser).fit(photos[:3]).predict([photos[4]])[0], prediction)
    double = denoiser.predict([photos[4].astype(np.float64)])[0]
    assert double.dtype == np.float64
    np.testing.assert_allclose(double, prediction, atol=1e-4)


@pytest.mark.slow
def test_names_and_default_specs_are_the_same_networks():
    assert ImageDenoiser().summary((32, 32)) == ImageDenoiser(FoldedUNetNetwork()).summary((32, 32))
    for name, spec in IMAGE_NETWORKS.items():
        assert ImageDenoiser(name).summary((32, 32)) == ImageDenoiser(spec()).summary((32, 32))


@pytest.mark.parametrize("loss", ["mae", "kl", "bce", {"mae": 0.5, "ssim": 0.5}])
def test_losses_and_augmentation(photos, loss):
    denoiser = quick(loss=loss, augment=Augmenter(flip="both"), max_epochs=2).fit(photos[:4])
    prediction = denoiser.predict([noisy(photos[0])])[0]
    assert np.isfinite(denoiser.loss_curve_).all()
    if loss in ("kl", "bce"):
        assert prediction.min() >= 0
        assert prediction.max() <= 1


@pytest.mark.slow
def test_a_fit_with_a_bounded_loss_denoises(photos, truth):
    denoiser = ImageDenoiser(SMALL, noise=NOISE, loss="kl", patch_size=32, max_epochs=20, random_state=0)
    denoiser.fit([(255 * photo).astype(np.uint8) / np.float32(255) for photo in photos])
    assert decibels(truth, denoiser.predict([noisy(truth)])[0]) > decibels(truth, noisy(truth)) + 3


# The level of the noise --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pretrained():
    return load_pretrained("gray")


@pytest.mark.parametrize("network", ["folded_unet", "dncnn"])
@pytest.mark.parametrize("n_patches", [4, 32])
def test_a_fit_of_a_few_steps_does_not_degrade_images(network, n_patches, truth):
    """At the full learning rate, a single step took 20 dB away."""
    denoiser = ImageDenoiser(
        network,
        noise=GaussianNoiser(0.1),
        patches_per_image=n_patches,
        patch_size=32,
        max_epochs=1,
        random_state=0,
    ).fit([load_images("gray").train[0]])
    x = noisy(truth)
    assert decibels(truth, denoiser.predict([x])[0]) > decibels(truth, x) - 0.5


def test_the_level_is_given_or_estimated(pretrained, truth):
    x = noisy(truth)
    known = pretrained.predict([x], sigma=0.1)[0]
    np.testing.assert_array_equal(pretrained.predict([x], sigma=[0.1])[0], known)
    np.testing.assert_array_equal(pretrained.predict(x[None], sigma=np.array([0.1]))[0], known)
    np.testing.assert_allclose(pretrained.predict([x], sigma=[np.full(x.shape, 0.1)])[0], known, atol=1e-6)
    np.testing.assert_allclose(
        pretrained.predict(x[None], sigma=np.full((1, *x.shape), 0.1))[0], known, atol=1e-6
    )
    estimated = pretrained.predict([x])[0]
    assert not np.array_equal(estimated, known)
    assert decibels(truth, estimated) > decibels(truth, known) - 0.5


def test_each_image_of_a_stack_has_its_level(pretrained, truth):
    x = np.stack([noisy(truth, 0.05), noisy(truth, 0.2)])
    both = pretrained.predict(x, sigma=[0.05, 0.2])
    for image, sigma, prediction in zip(x, (0.05, 0.2), both, strict=True):
        np.testing.assert_allclose(pretrained.predict([image], sigma=sigma)[0], prediction, atol=1e-5)
    estimated = pretrained.predict(x)
    assert decibels(truth, estimated[0]) > decibels(truth, x[0]) + 1
    assert decibels(truth, estimated[1]) > decibels(truth, x[1]) + 5


@pytest.mark.slow
def test_a_map_is_heeded_place_by_place(pretrained):
    truth = load_images("gray").test[0][:300, :200]
    sigma = np.where(np.arange(300)[:, None] < 150, 0.02, 0.2) * np.ones(200)
    x = truth + np.random.default_rng(0).normal(0, 1, truth.shape).astype(np.float32) * sigma.astype(
        np.float32
    )
    by_map = pretrained.predict([x], sigma=[sigma])[0]
    assert decibels(truth, by_map) > max(
        decibels(truth, pretrained.predict([x], sigma=s)[0]) for s in (0.02, 0.1, 0.2)
    )
    options = {"sigma": sigma, "model": pretrained, "precision": "float32"}
    np.testing.assert_allclose(denoise_image(x, **options), by_map, atol=1e-6)
    tiled = denoise_image(x, **options, tile_size=64)
    assert np.abs(tiled - by_map).max() < 1e-5


def test_levels_of_the_training_are_accepted(photos):
    denoiser = quick(sigma="map", noise=GaussianNoiser((0.05, 0.15)), patch_size=40).fit(photos[:6])
    low, high = denoiser.noise_levels_
    assert 0.04 < low < high < 0.16
    with pytest.raises(
        ValueError, match=r"sigma reaches 0\.5, and the network was trained on noise up to 0\.1"
    ):
        denoiser.predict([photos[0]], sigma=0.5)
    with pytest.warns(UserWarning, match=r"estimated at 0\.(39|4)"):
        denoiser.predict([noisy(photos[0], 0.4)])


@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        (-0.1, "finite and at least 0"),
        (np.inf, "finite and at least 0"),
        ("much", "finite and at least 0"),
        ([0.1, 0.1], "2 levels for 1 images"),
        ([np.zeros((3, 3))], r"Got shape \(3, 3\)"),
    ],
)
def test_levels_that_cannot_be_used_are_refused(pretrained, truth, sigma, message):
    with pytest.raises(ValueError, match=message):
        pretrained.predict([truth], sigma=sigma)


def test_a_blind_network_refuses_sigma(photos):
    denoiser = quick().fit(photos[:3])
    with pytest.raises(ValueError, match="is blind\\."):
        denoiser.predict(photos[:1], sigma=0.1)
    with pytest.raises(ValueError, match='sigma="blind"'):
        denoise_image(photos[0], sigma=0.1, model=denoiser)


# Tiles, and images of any type -------------------------------------------------------------------------


def randomize(denoiser):
    """Randomize the weights, since networks start close to the identity."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for w in denoiser.net_.module_.parameters():
            w.add_(0.1 * torch.randn(w.shape, generator=generator))
    return denoiser


@pytest.mark.parametrize("name", ["folded_unet", "unet", "dncnn"])
@pytest.mark.parametrize("sigma", ["blind", "map"])
def test_tiles_agree_with_the_whole_for_every_network_without_attention(photos, name, sigma):
    denoiser = randomize(quick(name, sigma=sigma).fit(photos[:3]))
    image = load_images("gray").test[0][:143, :131]
    whole, tiled = (
        denoise_image(image, model=denoiser, tile_size=size, precision="float32") for size in (None, 32)
    )
    assert np.abs(whole - image).max() > 0.01
    assert np.abs(whole - tiled).max() < 1e-5


def test_tiles_of_a_network_with_attention_warn(photos):
    denoiser = randomize(quick("ridnet").fit(photos[:3]))
    with pytest.warns(UserWarning, match="RIDNet looks at the whole image, .* tiles of 32"):
        tiled = denoise_image(photos[0], model=denoiser, tile_size=32, precision="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = denoise_image(photos[0], model=denoiser, tile_size=None, precision="float32")
    assert 0 < np.abs(tiled - whole).max() < 0.5


class Plain(nn.Module):
    def __init__(self, channels, noise_map):
        super().__init__()
        self.layer = nn.Conv2d(channels + noise_map, channels, 3, padding=1)

    def forward(self, x):
        return self.layer(x)


def test_a_network_of_the_user(photos):
    denoiser = quick(Plain, sigma="map").fit(photos[:3])
    assert denoiser.predict([photos[0]])[0].shape == photos[0].shape
    denoise_image(photos[0], model=denoiser)
    with pytest.raises(ValueError, match="has no receptive_radius"):
        denoise_image(photos[0], model=denoiser, tile_size=32)
    Plain.receptive_radius = Plain.stride = 1
    try:
        whole, tiled = (denoise_image(photos[0], model=denoiser, tile_size=s) for s in (None, 32))
    finally:
        del Plain.receptive_radius, Plain.stride
    np.testing.assert_allclose(whole, tiled, atol=1e-5)


def test_denoise_image_takes_an_estimator_with_its_unit(photos):
    eight_bit = [(255 * photo).astype(np.uint8) for photo in photos[:3]]
    of_bytes = quick(noise=GaussianNoiser(25)).fit(eight_bit)
    restored = denoise_image(eight_bit[0], model=of_bytes, precision="float32")
    assert restored.dtype == np.uint8
    np.testing.assert_allclose(restored, of_bytes.predict(eight_bit[:1])[0].clip(0, 255), atol=0.51)
    sixteen_bit = eight_bit[0].astype(np.uint16) * 257
    for other, unit in ((sixteen_bit, 257), (eight_bit[0] / 255, 1 / 255)):
        prediction = denoise_image(other, model=of_bytes, precision="float32")
        np.testing.assert_allclose((prediction / unit).clip(0, 255), restored, atol=0.51)
    counts = quick(noise=GaussianNoiser(100.0)).fit([4000 * photo for photo in photos[:3]])
    x = 4000 * photos[0]
    np.testing.assert_allclose(
        denoise_image(x, model=counts, precision="float32"), counts.predict([x])[0], rtol=1e-5
    )
    numbers = denoise_image(x.astype(np.uint16), model=counts, precision="float32")
    np.testing.assert_allclose(numbers, counts.predict([np.floor(x)])[0].clip(0), atol=0.51)


def test_colour_and_alpha_with_an_estimator(photos):
    colours = np.random.default_rng(0).random((4, 30, 40, 4), np.float32)
    of_three, of_four = quick().fit(colours[..., :3]), quick().fit(colours)
    restored = denoise_image(colours[0], model=of_three)
    np.testing.assert_array_equal(restored[..., 3], colours[0, ..., 3])
    assert not np.array_equal(denoise_image(colours[0], model=of_four)[..., 3], colours[0, ..., 3])
    assert denoise_image(photos[0], model=of_three).shape == photos[0].shape
    with pytest.raises(ValueError, match="takes images of 4 channels, this one has 1"):
        denoise_image(photos[0], model=of_four)


# Bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"network": "u-net"}, "Unknown network 'u-net'. Did you mean 'unet'"),
        (
            {"network": DenseNetwork()},
            "is a network for DenoisingAutoencoder. ImageDenoiser takes 'folded_unet'",
        ),
        ({"network": FoldedUNetNetwork((4,))}, "two or three widths"),
        ({"network": DnCNNNetwork(1)}, "'depth' parameter of DnCNNNetwork"),
        ({"network": RIDNetNetwork(width=6, reduction=4)}, "reduction must divide"),
        ({"network": UNetNetwork(normalization="layer")}, "'normalization' parameter of UNetNetwork"),
        ({"network": nn.Conv2d(1, 1, 1)}, "built already"),
        ({"network": lambda channels, noise_map: nn.Conv2d(1, 2, 1)}, r"to one of .* shape, it gave \(2, 2"),
        ({"sigma": 0.1}, "'sigma' parameter of ImageDenoiser"),
        ({"patch_size": (8, 8, 8)}, "patch_size must be an integer of at least 1, or two"),
        ({"patch_size": 0}, "patch_size"),
        ({"patches_per_image": 0}, "patches_per_image"),
        ({"loss": "psnr"}, "Unknown loss"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(photos, parameters, message):
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(photos[:3])


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        ([], {}, "X holds no images: it is empty"),
        ([np.zeros((4, 4)), np.full((4, 4), np.nan)], {}, r"X\[1\] contains NaN"),
        ([np.zeros((4, 4)), np.zeros((4, 4), np.uint8)], {}, r"X\[1\] holds uint8, X\[0\] holds float64"),
        ([np.zeros((4, 4)), np.zeros((0, 4))], {}, r"X\[1\] must be an image"),
        ([np.ones((4, 4))], {"X_clean": [np.ones((4, 5))]}, r"X_clean\[0\] has shape \(4, 5\), X\[0\] has"),
        ([np.ones((4, 4))], {"X_clean": []}, "X_clean holds no images"),
        ([np.ones((4, 4))], {"X_clean_val": [np.ones((4, 4))]}, "X_val, which is missing"),
        (Images([np.ones((9, 9))]), {"X_clean": [np.ones((9, 9))]}, "X_clean goes with stacks and lists"),
        (np.zeros((2, 3, 4, 5, 6)), {}, "neither rows .* nor images"),
    ],
)
def test_images_that_cannot_be_used_are_refused(X, options, message):
    with pytest.raises(ValueError, match=message):
        quick().fit(X, **options)


def test_a_single_image_without_its_first_axis_is_detected(photos):
    with pytest.warns(UserWarning, match=r"taken for 90 signals.* Pass one image as X\[None\]"):
        quick().fit(photos[0])
    denoiser = quick().fit(photos[:2])
    with pytest.raises(ValueError, match=r"fitted on images without .* one image as X\[None\]"):
        denoiser.predict(photos[0][:20])


def test_invalid_folders_are_refused(tmp_path, folder, photos):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        quick().fit(str(tmp_path / "nowhere"))
    with pytest.raises(NotADirectoryError, match="is a file, a folder was expected"):
        quick().fit(tmp_path / "0.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no image"):
        quick().fit(tmp_path / "empty")
    with pytest.raises(TypeError, match=r"X is a list of paths. Pass a folder of files, ImageFolder"):
        quick().fit(["one.png", "two.png"])
    with pytest.raises(TypeError, match="predict takes arrays, got ImageFolder"):
        quick().fit(photos[:2]).predict(folder)


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_path_is_a_folder(tmp_path, folder, as_path):
    expected = quick().fit(folder, X_val=folder)
    denoiser = quick().fit(as_path(tmp_path), X_val=as_path(tmp_path))
    assert denoiser.patch_shape_ == (16, 16)  # gray, like the files
    assert denoiser.validation_scores_ == expected.validation_scores_
    assert denoiser.partial_fit(as_path(tmp_path)).n_iter_ == expected.n_iter_ + 1


def test_a_path_has_the_colours_of_its_files(tmp_path, folder, photos):
    colours = tmp_path / "colours"
    colours.mkdir()
    write_image(colours / "one.png", np.repeat((255 * photos[0]).astype(np.uint8)[..., None], 3, axis=2))
    assert quick().fit(colours, X_val=tmp_path).patch_shape_ == (16, 16, 3)
    assert quick().fit(folder, X_val=colours).partial_fit(colours).patch_shape_ == (16, 16)


def test_a_clean_side_is_never_ignored_silently(photos):
    clean = np.stack(photos[:4])
    X = noisy(clean)
    for y in (clean, list(clean), torch.from_numpy(clean)):
        assert quick(noise="auto").fit(list(X), y).target_source_ == "y"
    with_black = [*clean[:3], np.zeros_like(clean[3])]
    assert quick(noise="auto").fit(list(X), with_black).target_source_ == "y"
    with pytest.raises(ValueError, match="4 in X, 3 in y"):
        quick(noise="auto").fit(list(X), list(clean[:3]))
    with pytest.warns(CleanTargetWarning, match="as masks do"):
        assert quick().fit(list(X), list(np.round(clean))).target_source_ == "X"
    with pytest.raises(ValueError, match="y goes with stacks and lists"):
        quick().fit(RandomPatches(X, 16), clean)
    assert quick(noise="auto").fit([[x, t] for x, t in zip(X, clean, strict=True)]).patch_shape_ == (16, 16)
    corrupted = NOISE.fit_transform(clean)
    with pytest.raises(ValueError, match=r"X\[0\] came out of GaussianNoiser"):
        quick().fit(list(corrupted))
    with pytest.raises(ValueError, match="images that came out of GaussianNoiser"):
        quick().fit(RandomPatches(corrupted, 16))


def test_known_units_are_not_mixed(photos):
    fractions = np.stack(photos[:3])
    eight_bit = np.rint(255 * fractions).astype(np.uint8)
    mixed = [
        lambda: quick(noise="auto").fit(fractions, X_val=eight_bit),
        lambda: quick(noise="auto").fit(eight_bit, X_clean=fractions),
        lambda: quick(noise="auto").fit(list(fractions), X_clean=list(eight_bit)),
        lambda: quick(noise="auto").partial_fit(fractions).partial_fit(eight_bit),
        lambda: quick(noise="auto").partial_fit(eight_bit).partial_fit(RandomPatches(eight_bit, 16)),
        lambda: quick(noise="auto").partial_fit(RandomPatches(eight_bit, 16)).partial_fit(list(eight_bit)),
    ]
    for call in mixed:
        with pytest.raises(ValueError, match=r"White is .* give both in one unit"):
            call()


@pytest.mark.slow
def test_integers_with_a_known_white_are_scaled(photos):
    fractions = np.stack(photos[:3])
    eight_bit = np.rint(255 * fractions).astype(np.uint8)
    sixteen_bit = eight_bit.astype(np.uint16) * 257
    for denoiser in (quick().fit(fractions), quick(noise=GaussianNoiser(25)).fit(eight_bit)):
        assert denoiser.intensity_range_.white in (1, 255)
        one = denoiser.predict(eight_bit)
        np.testing.assert_allclose(denoiser.predict(sixteen_bit) / 257, one, atol=0.01)
        assert denoiser.score(eight_bit, eight_bit[::-1]) == pytest.approx(
            denoiser.score(sixteen_bit, sixteen_bit[::-1]), abs=1e-3
        )
    pretrained = load_pretrained("gray")
    x = np.rint(255 * noisy(fractions, 20 / 255).clip(0, 1)).astype(np.uint8)
    assert pretrained.score(x, eight_bit) == pytest.approx(
        pretrained.score(x / 255, eight_bit / 255), abs=0.01
    )
    assert pretrained.score(list(x), list(eight_bit)) == pytest.approx(
        pretrained.score(x, eight_bit), abs=1e-3
    )
    scores = [
        make_denoising_scorer(GaussianNoiser(20 * unit), data_range=255 * unit)(pretrained, X)
        for X, unit in ((eight_bit, 1), (eight_bit / np.float32(255), 1 / 255), (sixteen_bit, 257))
    ]
    assert scores == pytest.approx(scores[:1] * 3, abs=0.05)
    streamed, wide = quick().fit(RandomPatches(eight_bit, 16)), sixteen_bit.astype(np.int64)
    np.testing.assert_allclose(streamed.predict(wide), streamed.predict(sixteen_bit), rtol=1e-5)
    signed = (sixteen_bit.astype(np.int32) - 32768).astype(np.int16)
    learned = quick().fit(RandomPatches(signed, 16))
    np.testing.assert_allclose(
        learned.predict(signed) / 32767, learned.predict(signed / np.float32(32767)), atol=1e-4
    )


@pytest.mark.slow
def test_lists_and_stacks_have_the_same_score(photos):
    stack = np.stack([photo[:64, :64] for photo in photos[:8]])
    pretrained = load_pretrained("gray")
    assert pretrained.score(list(stack)) == pretrained.score(stack)
    ragged = [*(photo[:64, :64] for photo in photos[:8]), photos[8][:64, :60]]
    assert pretrained.score(ragged) == pytest.approx(pretrained.score(stack), abs=6)  # several random levels


def test_levels_follow_the_noise_of_later_calls(photos):
    denoiser = quick(sigma="map", noise=GaussianNoiser((0, 0.1)), warm_start=True).fit(photos[:2])
    for seed in range(4):
        small_fit = clone(denoiser).set_params(random_state=seed).fit(photos[:1])
        small_fit.predict(photos[:1], sigma=0.1)
    denoiser.set_params(noise=GaussianNoiser((0, 0.5)), max_epochs=denoiser.n_iter_ + 1).fit(photos[:2])
    denoiser.predict(photos[:1], sigma=0.45)


def test_relative_noise_is_fitted_to_all_pixels(photos):
    denoiser = quick(noise=GaussianNoiser(0.5, scale="std")).fit(photos[:3])
    denoiser.partial_fit([photo[:10, :10] for photo in photos[:3]])


def test_a_level_for_each_place_of_images_of_different_sizes(pretrained, photos):
    images = [photos[0], photos[1][:20, :30]]
    maps = [np.full(image.shape, 0.1) for image in images]
    for prediction, known in zip(
        pretrained.predict(images, sigma=maps), pretrained.predict(images, sigma=0.1), strict=True
    ):
        np.testing.assert_allclose(prediction, known, atol=1e-6)


def test_tensors_have_channels_first():
    stack = torch.rand(4, 3, 24, 20)
    one, other = quick().fit(stack), quick().fit(list(stack))
    assert one.patch_shape_ == other.patch_shape_ == (16, 16, 3)
    assert one.predict(stack).shape == (4, 24, 20, 3)


def test_a_run_that_diverges_in_its_last_step_fails(photos):
    with pytest.raises(TrainingDivergedError):
        quick(optimizer="sgd", learning_rate=1e12).fit(photos[:3])


def test_bounded_losses_need_images_between_black_and_white(photos):
    denoiser = quick(loss="bce").fit(np.stack(photos[:3]))
    with pytest.raises(ValueError, match="needs clean images between black and white"):
        denoiser.partial_fit(3 * np.stack(photos[:3]) - 1)


def test_an_autoencoder_refuses_image_networks(photos):
    from sk_denoise import DenoisingAutoencoder

    with pytest.raises(ValueError, match="is a network for ImageDenoiser"):
        DenoisingAutoencoder(UNetNetwork()).fit(np.stack(photos[:3]))


def test_a_failed_fit_leaves_the_estimator_unchanged(photos):
    denoiser = quick().fit(photos[:3])
    before = denoiser.predict(photos[:1])[0]
    with pytest.raises(ValueError, match="NaN"):
        denoiser.fit([np.full((20, 20), np.nan)])
    np.testing.assert_array_equal(denoiser.predict(photos[:1])[0], before)
