"""Training data: patches of images, augmentation, losses for images, emphasis."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sk_denoise import (
    DenoisingAutoencoder,
    GaussianNoiser,
    MaskingNoiser,
    PoolingNetwork,
    SaltAndPepperNoiser,
    make_denoising_scorer,
)
from sk_denoise.datasets import ImageFolder, RandomPatches, extract_patches, load_images
from sk_denoise.io import write_image
from sk_denoise.metrics import psnr
from sk_denoise.preprocessing import Augmenter

RNG = np.random.default_rng(0)


def small(**parameters) -> DenoisingAutoencoder:
    common = {
        "network": "pooling",
        "latent_dim": 8,
        "max_epochs": 2,
        "noise": GaussianNoiser(0.1),
        "random_state": 0,
    }
    return DenoisingAutoencoder(**{**common, **parameters})


@pytest.fixture(scope="module")
def photos():
    """Return small colour photographs for training and test, as 8-bit integers."""
    both = load_images()
    return tuple(
        [(255 * image[::4, ::4]).astype(np.uint8) for image in part] for part in (both.train, both.test)
    )


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(photos[0]):
        write_image(folder / f"{number}.png", photo)
    return folder


@pytest.mark.slow
def test_a_fit_to_patches_of_a_folder_denoises(photos, folder):
    noise = GaussianNoiser(0.3)
    dae = small(network=PoolingNetwork((8, 16)), latent_dim=16, max_epochs=15, batch_size=16, noise=noise)
    dae.fit_patches(RandomPatches(ImageFolder(folder), 16, patches_per_image=64))
    assert dae.image_shape_ == (16, 16, 3)
    assert dae.target_source_ == "X"
    test = extract_patches(photos[1], 16) / np.float32(255)
    noisy = test + 0.3 * RNG.normal(size=test.shape).astype(np.float32)
    assert psnr(test, dae.predict(noisy), data_range=1) > psnr(test, noisy, data_range=1) + 3


def test_patches_from_a_folder_and_from_memory_are_the_same(photos, folder):
    streamed, held = (
        small().fit_patches(RandomPatches(images, 16, patches_per_image=4))
        for images in (ImageFolder(folder, cache_bytes=0), photos[0])
    )
    assert streamed.loss_curve_ == held.loss_curve_
    again = small().fit_patches(RandomPatches(ImageFolder(folder), 16, patches_per_image=4))
    assert again.loss_curve_ == held.loss_curve_


def test_patches_of_pairs_are_used_as_pairs(photos):
    pairs = [(255 - photo, photo) for photo in photos[0]]
    dae = small(network="dense", noise="auto", max_epochs=30).fit_patches(RandomPatches(pairs, 8))
    assert dae.target_source_ == "X_clean"
    test = extract_patches(photos[1], 8) / np.float32(255)
    assert np.abs(dae.predict(1 - test) - test).mean() < 0.1
    with pytest.raises(ValueError, match="noise given twice"):
        small().fit_patches(RandomPatches(pairs, 8))


def test_early_stopping_holds_out_whole_images(photos):
    dae = small(early_stopping=True, max_epochs=3, validation_fraction=0.3)
    dae.fit_patches(RandomPatches(photos[0], 16))
    assert len(dae.validation_scores_) == 3
    given = small(max_epochs=3).fit_patches(
        RandomPatches(photos[0], 16), validation=RandomPatches(photos[1], 16)
    )
    assert len(given.validation_scores_) == 3


def test_a_generator_of_images_is_a_stream(photos):
    def endless():
        while True:
            yield from photos[0]

    patches = RandomPatches(endless(), 16, patches_per_image=8, images_per_epoch=4)
    dae = small(max_epochs=4, augment=Augmenter(flip="both")).fit_patches(patches)
    assert len(dae.loss_curve_) == 4


def test_a_warm_start_continues_with_patches(photos):
    dae = small(warm_start=True).fit_patches(RandomPatches(photos[0], 16))
    assert dae.set_params(max_epochs=4).fit_patches(RandomPatches(photos[1], 16)).n_iter_ == 4
    dae.partial_fit(extract_patches(photos[1], 16) / np.float32(255))
    assert dae.n_iter_ == 5


def test_a_fitted_estimator_keeps_no_streamed_data(photos):
    size = [len(pickle.dumps(small().fit_patches(RandomPatches(photos[0][:n], 16)))) for n in (1, 5)]
    assert size[1] == pytest.approx(size[0], abs=1000)


def test_streams_in_fit_and_arrays_in_fit_patches_are_refused(folder, photos):
    for stream in (ImageFolder(folder), RandomPatches(photos[0], 16)):
        with pytest.raises(TypeError, match=r"fit takes arrays, got \w+\. .* fit_patches\(RandomPatches"):
            small().fit(stream)
    for data in (ImageFolder(folder), photos[0], str(folder)):
        with pytest.raises(TypeError, match=r"fit_patches takes .*RandomPatches, got \w+\. Say how"):
            small().fit_patches(data)


def test_a_fit_to_pairs_needs_pairs_for_validation(photos):
    pairs = [(255 - photo, photo) for photo in photos[0]]
    with pytest.raises(
        ValueError, match="The clean side of the training data is X_clean, so X_val needs one"
    ):
        small(noise="auto").fit_patches(RandomPatches(pairs, 16), validation=RandomPatches(photos[1], 16))
    both = [(photo, photo) for photo in photos[1]]
    dae = small(max_epochs=1).fit_patches(RandomPatches(photos[0], 16), validation=RandomPatches(both, 16))
    assert len(dae.validation_scores_) == 1


def test_training_and_validation_patches_must_have_one_unit(photos):
    with pytest.raises(ValueError, match="normalize=True, those to validate on normalize=False"):
        small().fit_patches(
            RandomPatches(photos[0], 16), validation=RandomPatches(photos[1], 16, normalize=False)
        )


def test_a_fit_to_patches_in_the_unit_interval_refuses_bytes(photos):
    dae = small(max_epochs=1).fit_patches(RandomPatches(photos[0], 16))
    patches = extract_patches(photos[1], 16)
    for function in (dae.predict, dae.transform, dae.score, dae.partial_fit):
        with pytest.raises(
            ValueError, match=r"learned from numbers in \[0, 1\], and X holds uint8 .* X / 255"
        ):
            function(patches)
    assert dae.predict(patches / 255).max() < 2
    raw = small(max_epochs=1, noise=GaussianNoiser(25)).fit_patches(
        RandomPatches(photos[0], 16, normalize=False)
    )
    assert raw.predict(patches).max() > 100


@pytest.fixture(scope="module")
def images():
    """Return smooth gray images in [0, 1]."""
    return np.clip(RNG.normal(size=(64, 8, 8)).cumsum(1).cumsum(2) / 20 + 0.5, 0, 1).astype(np.float32)


# Augmentation ------------------------------------------------------------------------------------------


class Recorder:
    """An augmentation that records the shapes of its input, and flips images vertically."""

    def __init__(self):
        self.shapes = []

    def augment(self, x, generator, *others):
        self.shapes.append([tuple(side.shape) for side in (x, *others)])
        moved = tuple(side.flip(2) for side in (x, *others))
        return moved if others else moved[0]


@pytest.mark.parametrize("layout", ["gray", "colour", "flat gray", "flat colour"])
@pytest.mark.parametrize("paired", [False, True])
def test_augmentation_gets_both_sides_in_the_layout_of_networks(layout, paired):
    shape = (8, 6, 3) if "colour" in layout else (8, 6)
    X = RNG.uniform(size=(20, *shape)).astype(np.float32)
    rows = X.reshape(20, -1) if "flat" in layout else X
    augment = Recorder()
    dae = small(network="dense", augment=augment, image_shape=shape, batch_size=20, max_epochs=1)
    dae.set_params(noise="auto").fit(rows, X_clean=rows + 1 if paired else None)
    channels = 3 if "colour" in layout else 1
    assert augment.shapes == [[(20, channels, 8, 6)] * (2 if paired else 1)]


def test_flipped_images_are_learned_flipped(images):
    ramp = np.linspace(0, 1, 8, dtype=np.float32)[:, None] + 0.1 * RNG.normal(size=(200, 8, 8)).astype(
        np.float32
    )
    dae = small(network="dense", augment=Recorder(), noise=GaussianNoiser(0.5), max_epochs=20).fit(ramp)
    guess = dae.predict(np.full((1, 8, 8), 0.5))[0].mean(axis=1)
    assert guess[0] > guess[-1] + 0.1


def test_both_sides_of_a_pair_get_the_same_transform():
    clean = RNG.uniform(size=(64, 6, 6))
    noisy = 2 * clean - 1
    are_equal = []

    class Checked(Augmenter):
        def augment(self, x, generator, *others):
            moved = super().augment(x, generator, *others)
            are_equal.append(torch.allclose(moved[0], 2 * moved[1] - 1))
            return moved

    augment = Checked(shift=2, flip="both", quarter_turns=True, fill="edge")
    small(network="dense", noise="auto", augment=augment).fit(noisy, X_clean=clean)
    assert len(are_equal) > 0
    assert all(are_equal)


def test_augmentation_does_not_touch_the_data_nor_validation(images):
    before = images.copy()
    augment = Recorder()
    small(augment=augment, early_stopping=True, batch_size=57, max_epochs=2).fit(images)
    np.testing.assert_array_equal(images, before)
    assert [shapes[0][0] for shapes in augment.shapes] == [57, 57]


def test_augmentation_is_searched(images):
    search = GridSearchCV(
        small(augment=Augmenter(), max_epochs=1),
        {"augment__shift": [0.0, 0.25], "augment__flip": ["both"]},
        scoring=make_denoising_scorer(GaussianNoiser(0.1, random_state=0)),
        cv=2,
    ).fit(images)
    assert len(set(search.cv_results_["mean_test_score"])) == 2


def test_a_fit_with_augmentation_is_reproducible(images):
    dae = small(augment=Augmenter(shift=0.2, zoom=(0.8, 1.2), rotation=10))
    one, other = (clone(dae).fit(images).predict(images) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    without = clone(dae).set_params(augment=None).fit(images).predict(images)
    assert not np.array_equal(one, without)


@pytest.mark.parametrize(
    ("augment", "error", "message"),
    [
        (Augmenter, TypeError, r"augment must be an Augmenter\(...\) or None"),
        ("flip", TypeError, r"augment must be an Augmenter\(...\) or None, got 'flip'"),
        (Augmenter(zoom=(2, 1)), ValueError, "zoom must be"),
        (Augmenter(shift=9), ValueError, "shift=9 pixels can move all of an image"),
    ],
)
def test_invalid_augmentations_are_refused(images, augment, error, message):
    with pytest.raises(error, match=message):
        small(augment=augment).fit(images)


def test_rows_are_not_augmented(images):
    with pytest.raises(ValueError, match=r"augment is for images, got rows of 64 features: pass stacks"):
        small(network="dense", augment=Augmenter()).fit(images.reshape(64, -1))


def test_an_augmentation_that_changes_the_shape_is_refused(images):
    class Cropping:
        def augment(self, x, generator, *others):
            return x[..., 1:]

    with pytest.raises(
        ValueError, match=r"a tensor of the shape .*\(64, 1, 8, 8\)\. .* Tensor of shape \(64, 1, 8, 7\)"
    ):
        small(augment=Cropping()).fit(images)


@pytest.mark.parametrize("result", [None, np.zeros((64, 1, 8, 8)), torch.zeros(64, 1, 8, 8)])
def test_an_augmentation_with_an_invalid_result_is_refused(images, result):
    class Careless:
        def augment(self, x, generator, *others):
            return result

    with pytest.raises(ValueError, match="augment must return a tuple of 2 tensors"):
        small(noise="auto", augment=Careless()).fit(images, X_clean=images + 1)


# Losses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["ssim", "ms_ssim", {"mae": 0.2, "ssim": 0.8}])
def test_image_losses_need_images(images, loss):
    small(loss=loss).fit(images)
    with pytest.raises(ValueError, match=r"compares images, got rows of 64 features: pass stacks"):
        small(network="dense", loss=loss).fit(images.reshape(64, -1))


@pytest.mark.parametrize("loss", ["ssim", {"mse": 1.0, "ssim": 0.5}])
def test_an_image_loss_does_not_depend_on_the_unit(images, loss):
    one = small(loss=loss, noise=GaussianNoiser(0.1)).fit(images)
    other = small(loss=loss, noise=GaussianNoiser(25.5)).fit(255 * images)
    np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-3)


def test_a_function_of_output_and_target_is_a_loss(images):
    def fourth_power(output, target):
        return (output - target).pow(4).mean()

    dae = small(loss=fourth_power, max_epochs=5).fit(images)
    assert dae.loss_curve_[-1] < dae.loss_curve_[0]
    assert not np.allclose(dae.predict(images), small(max_epochs=5).fit(images).predict(images))


def test_a_mix_with_a_loss_on_the_unit_interval_bounds_the_output(images):
    dae = small(loss={"kl": 1.0, "mse": 1.0}).fit(images)
    with pytest.warns(UserWarning, match="another unit"):
        denoised = dae.predict(100 * images - 50)
    assert denoised.min() >= 0
    assert denoised.max() <= 1
    with pytest.raises(ValueError, match=r"loss=\{'kl': 1.0\} needs clean data in \[0, 1\]"):
        small(loss={"kl": 1.0}, noise=GaussianNoiser(25.5)).fit(255 * images)


def test_validation_data_and_fill_must_lie_in_the_unit_interval(images):
    for loss in ("bce", "kl"):
        with pytest.raises(ValueError, match=r"needs clean data in \[0, 1\], got values from 0 to 2"):
            small(loss=loss).fit(images, X_val=2 * images / images.max())
        with pytest.raises(ValueError, match=r"augment fills with 5.0, .* needs data in \[0, 1\]"):
            small(loss=loss, augment=Augmenter(shift=2, fill=5.0)).fit(images)


def test_a_local_function_as_loss_works_in_partial_fit_and_warm_start(images):
    dae = small(loss=lambda output, target: (output - target).abs().mean(), warm_start=True)
    weights = dae.partial_fit(images).net_.module_.state_dict()
    assert dae.partial_fit(images).n_iter_ == 2
    assert dae.set_params(max_epochs=4).fit(images).n_iter_ == 4
    assert dae.net_.module_.state_dict().keys() == weights.keys()


def test_a_warm_start_accepts_another_loss_and_optimizer(images):
    dae = small(loss="ssim", warm_start=True).fit(images)
    state = dae.net_.optimizer_
    dae.set_params(loss="mse", emphasis=(1.0, 0.3), max_epochs=4).fit(images)
    assert dae.net_.criterion_.function is torch.nn.functional.mse_loss
    assert type(dae.net_.optimizer_) is type(state)
    dae.set_params(optimizer="sgd", learning_rate=1e-4, max_epochs=6).fit(images)
    assert isinstance(dae.net_.optimizer_, torch.optim.SGD)
    assert dae.n_iter_ == 6


@pytest.mark.parametrize(
    ("parameters", "changed"),
    [({"latent_dim": 4}, "latent_dim"), ({"network": "conv"}, "network"), ({"loss": "kl"}, "a loss on")],
)
def test_a_warm_start_refuses_another_network_or_output(images, parameters, changed):
    dae = small(warm_start=True).fit(images)
    before = dae.predict(images)
    with pytest.raises(ValueError, match=f"{changed}.* changed since the first fit"):
        dae.set_params(**parameters).fit(images)
    np.testing.assert_array_equal(dae.predict(images), before)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        ("msee", ValueError, "Unknown loss 'msee'. Did you mean 'mse'"),
        ({"mse": -1}, ValueError, "finite numbers above 0, got -1 for 'mse'"),
        ({}, ValueError, "needs at least one"),
        (torch.nn.MSELoss, TypeError, r"Did you mean MSELoss\(\)"),
        (3, TypeError, "loss must be one of"),
    ],
)
def test_invalid_losses_are_refused(images, loss, error, message):
    with pytest.raises(error, match=message):
        small(loss=loss).fit(images)


def test_a_fit_with_any_loss_survives_pickling(images):
    for loss in ("ms_ssim", {"mae": 1.0, "ssim": 1.0}, torch.nn.SmoothL1Loss()):
        dae = small(loss=loss, max_epochs=1).fit(images)
        again = pickle.loads(pickle.dumps(dae))
        np.testing.assert_array_equal(again.predict(images), dae.predict(images))
        again.partial_fit(images)


# Emphasis ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_emphasis_on_corrupted_entries_restores_them_better():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 12))
    noiser = MaskingNoiser(0.25, fill=9.0, random_state=1)
    noisy = np.asarray(noiser.fit_transform(X))
    lost = noisy == 9
    errors = {}
    for emphasis in (None, (1.0, 0.0), (0.0, 1.0)):
        dae = DenoisingAutoencoder(
            noise=MaskingNoiser(0.25, fill=9.0), emphasis=emphasis, max_epochs=20, random_state=0
        )
        squared = (dae.fit(X).predict(noisy) - X) ** 2
        errors[emphasis] = squared[lost].mean(), squared[~lost].mean()
    assert errors[1.0, 0.0][0] < errors[0.0, 1.0][0] / 3
    assert errors[0.0, 1.0][1] < errors[1.0, 0.0][1] / 3
    assert errors[0.0, 1.0][0] > errors[None][0]


def test_equal_emphasis_changes_nothing(images):
    noise = SaltAndPepperNoiser(0.2)
    plain = small(noise=noise).fit(images)
    equal = small(noise=noise, emphasis=(1.0, 1.0)).fit(images)
    np.testing.assert_allclose(equal.loss_curve_, plain.loss_curve_, rtol=1e-4)
    half = small(noise=noise, emphasis=(0.5, 0.5), early_stopping=True, max_epochs=1).fit(images)
    whole = small(noise=noise, early_stopping=True, max_epochs=1).fit(images)
    ratio = half.net_.history[0]["valid_loss"] / whole.net_.history[0]["valid_loss"]
    assert ratio == pytest.approx(0.5, rel=0.05)


def test_emphasis_finds_the_corrupted_entries_of_given_pairs(images):
    noisy = images.copy()
    noisy[:, :, :4] += 0.5
    only_right = small(network="dense", noise="auto", emphasis=(0.0, 1.0), max_epochs=1, batch_size=64)
    only_right.fit(noisy, X_clean=images)
    assert (
        only_right.loss_curve_[0]
        < small(network="dense", noise="auto", max_epochs=1, batch_size=64)
        .fit(noisy, X_clean=images)
        .loss_curve_[0]
    )


@pytest.mark.parametrize(("noise", "emphasis"), [(GaussianNoiser(0.1), (0, 1)), (None, (1, 0))])
def test_emphasis_without_any_weighted_entry_is_refused(images, noise, emphasis):
    with pytest.raises(ValueError, match=r"counts no entry: the noise leaves (all|none) of them"):
        small(noise=noise, emphasis=emphasis).fit(images)


@pytest.mark.parametrize("emphasis", [(1,), (0, 0), (-1, 1), (np.inf, 1), ("a", 1), (1, 1, 1)])
def test_emphasis_is_checked(images, emphasis):
    with pytest.raises(ValueError, match="emphasis must be a pair"):
        small(emphasis=emphasis).fit(images)


@pytest.mark.parametrize("loss", ["ssim", {"mse": 1.0, "ssim": 1.0}, torch.nn.MSELoss()])
def test_emphasis_needs_a_loss_that_is_a_mean_over_entries(images, loss):
    with pytest.raises(ValueError, match="emphasis needs a loss that is a mean over entries"):
        small(emphasis=(1.0, 0.5), loss=loss).fit(images)
