"""Fits of an autoencoder to patches of images: folders, lists, generators."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from sk_denoise import (
    DenoisingAutoencoder,
    GaussianNoiser,
    PoolingNetwork,
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
