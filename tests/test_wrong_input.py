"""Input that would silently give a wrong result is refused, or causes a warning."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from sk_denoise import (
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenoisingImputer,
    DenseNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    MedianDenoiser,
    NoiserChain,
    NonLocalMeansDenoiser,
    PixelNoiser,
    RecordedNoiser,
    RegionNoiser,
    TableEncoder,
    WienerDenoiser,
)
from sk_denoise.datasets import RandomPatches, join_patches, load_images
from sk_denoise.io import write_image, write_stack
from sk_denoise.metrics import make_denoising_scorer, make_imputation_scorer, mse, nmse, psnr, ssim
from sk_denoise.preprocessing import Centerer, PixelScaler, VarianceStabilizer
from sk_denoise.restoration import denoise_image

ROWS = np.random.default_rng(0).random((40, 6))
STACK = np.random.default_rng(1).random((10, 20, 20))
COLORS = load_images("rgb").test[0][:80, :96]
GRAY = load_images("gray").test[0][:80, :96]
CHANNELS_FIRST = np.random.default_rng(2).random((10, 3, 24, 20))


def autoencoder(**settings):
    return DenoisingAutoencoder(DenseNetwork((8,)), latent_dim=4, max_epochs=1, random_state=0, **settings)


def for_images(**settings):
    network = FoldedUNetNetwork((8, 8), blocks=(1, 1))
    return ImageDenoiser(network, max_epochs=1, patch_size=16, random_state=0, **settings)


LEARNERS = {
    "autoencoder": autoencoder(),
    "ensemble": DenoisingEnsemble(autoencoder(), n_estimators=2, random_state=0),
    "median": MedianDenoiser(),
    "wiener": WienerDenoiser(),
    "noiser": GaussianNoiser(0.1),
    "chain": NoiserChain([GaussianNoiser(0.1)]),
    "scaler": PixelScaler(),
    "centerer": Centerer(),
    "encoder": TableEncoder(),
    "stabilizer": VarianceStabilizer(gain=1.0),
}
READERS_OF_IMAGES = {
    "images": for_images(),
    "ensemble": DenoisingEnsemble(for_images(), n_estimators=2, random_state=0),
    "median": MedianDenoiser(),
    "means": NonLocalMeansDenoiser(),
    "wiener": WienerDenoiser(),
    "pixels": PixelNoiser(0.1),
    "region": RegionNoiser(GaussianNoiser(0.1)),
}
learners = pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
readers_of_images = pytest.mark.parametrize("reader", READERS_OF_IMAGES.values(), ids=READERS_OF_IMAGES)


# Another number of samples ------------------------------------------------------------------------------

ANOTHER_LENGTH = "inconsistent numbers of samples: {} in X, {} in y"


@learners
@pytest.mark.parametrize(
    "y", [np.arange(10), ROWS[:10], ["a"] * 10, pd.Series(range(10))], ids=lambda y: type(y).__name__
)
def test_a_y_of_another_length_is_refused(learner, y):
    with pytest.raises(ValueError, match=ANOTHER_LENGTH.format(40, 10)):
        learner.fit(ROWS, y)


@learners
@pytest.mark.parametrize("y", [np.arange(40), 3, "none"], ids=str)
def test_labels_of_the_same_length_and_objects_without_length_pass(learner, y):
    learner.fit(ROWS, y)


def test_a_y_of_another_length_is_refused_by_partial_fit_and_score_too():
    fitted = autoencoder().fit(ROWS)
    for use in (fitted.score, fitted.partial_fit, MedianDenoiser().fit(ROWS).score):
        with pytest.raises(ValueError, match=ANOTHER_LENGTH.format(40, 10)):
            use(ROWS, ROWS[:10])
    with pytest.raises(ValueError, match=ANOTHER_LENGTH.format(40, 10)):
        GaussianNoiser(0.1).fit_transform(ROWS, np.arange(10))
    with pytest.raises(ValueError, match=ANOTHER_LENGTH.format(40, 10)):
        make_denoising_scorer(GaussianNoiser(0.1))(fitted, ROWS, ROWS[:10])


def test_labels_of_another_number_of_images_are_refused():
    denoiser = for_images().fit(STACK)
    for X in (STACK, list(STACK)):
        for use in (denoiser.score, denoiser.partial_fit, denoiser.fit):
            with pytest.raises(ValueError, match=ANOTHER_LENGTH.format(10, 4)):
                use(X, np.arange(4))


def test_metrics_refuse_other_lengths():
    for metric in (mse, nmse):
        with pytest.raises(ValueError, match="must be the same"):
            metric(ROWS, ROWS[:10])


# Masked arrays and missing values -----------------------------------------------------------------------


def hidden(array):
    return np.ma.masked_array(array, mask=array > 0.9)


@learners
def test_masked_entries_are_refused(learner):
    with pytest.raises(ValueError, match=r"X is a masked array that hides 34 of 240 entries.*X\.filled"):
        learner.fit(hidden(ROWS))


@learners
def test_a_masked_array_without_masked_entries_passes(learner):
    learner.fit(np.ma.masked_array(ROWS))


def test_masked_entries_are_refused_after_the_fit():
    fitted, noiser = autoencoder().fit(ROWS), GaussianNoiser(0.1).fit(ROWS)
    for use in (fitted.predict, fitted.score, noiser.transform, MedianDenoiser().fit(ROWS).predict):
        with pytest.raises(ValueError, match="X is a masked array"):
            use(hidden(ROWS))


@pytest.mark.parametrize("name", ["y", "X_clean"])
def test_a_masked_clean_side_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is a masked array"):
        autoencoder().fit(ROWS, **{name: hidden(ROWS)})
    with pytest.raises(ValueError, match="y is a masked array"):
        autoencoder().fit(ROWS).score(ROWS, hidden(ROWS))


def test_masked_images_are_refused_in_stacks_lists_and_streams():
    denoiser = for_images().fit(STACK)
    for use in (denoiser.fit, denoiser.predict, lambda X: RandomPatches(X, 8)):
        for X in (hidden(STACK), list(hidden(STACK))):
            with pytest.raises(ValueError, match="is a masked array that hides"):
                use(X)
    with pytest.raises(ValueError, match="X_val is a masked array"):
        for_images().fit(list(STACK), X_val=hidden(STACK))


def test_metrics_refuse_masked_arrays():
    for one, other, name in ((hidden(ROWS), ROWS, "truth"), (ROWS, hidden(ROWS), "prediction")):
        with pytest.raises(ValueError, match=f"{name} is a masked array"):
            mse(one, other)
    scorer = make_denoising_scorer(GaussianNoiser(0.1))
    with pytest.raises(ValueError, match="X is a masked array"):
        scorer(MedianDenoiser().fit(ROWS), hidden(ROWS))


@pytest.mark.parametrize(
    "use",
    [
        lambda folder: autoencoder().fit(ROWS, sample_weight=hidden(ROWS[:, 0])),
        lambda folder: MedianDenoiser().fit(ROWS).score(ROWS, sample_weight=hidden(ROWS[:, 0])),
        lambda folder: mse(ROWS, ROWS, sample_weight=hidden(ROWS[:, 0])),
        lambda folder: make_imputation_scorer(0.1)(DenoisingImputer().fit(ROWS), hidden(ROWS)),
        lambda folder: RecordedNoiser(hidden(ROWS)).fit(ROWS),
        lambda folder: join_patches(hidden(STACK), (40, 40)),
        lambda folder: write_stack(folder / "stack.tif", hidden(STACK).astype("float32")),
        lambda folder: denoise_image(GRAY, sigma=hidden(GRAY / GRAY.max())),
        lambda folder: denoise_image(GRAY, sigma=0.1, mask=hidden(GRAY > 0)),
    ],
)
def test_masked_arguments_beside_the_samples_are_refused(use, tmp_path):
    with pytest.raises(ValueError, match="is a masked array that hides"):
        use(tmp_path)


def test_missing_values_of_pandas_are_refused():
    missing = pd.DataFrame(ROWS).astype("Float64")
    missing.iloc[3, 3] = pd.NA
    for learner in (autoencoder(), MedianDenoiser(), GaussianNoiser(0.1)):
        with pytest.raises(ValueError, match="X contains NaN"):
            learner.fit(missing)
    with pytest.raises(ValueError, match="y contains NaN"):
        autoencoder().fit(ROWS, missing)
    with pytest.raises(ValueError, match="truth contains NaN"):
        autoencoder().fit(ROWS).score(ROWS, missing)


# Channels first -----------------------------------------------------------------------------------------

FIRST = r"\(3, 24, 20\) of images in {} seems to be \(channels, height, width\).*moveaxis\({}, -3, -1\)"


@readers_of_images
def test_stacks_with_their_channels_first_are_refused(reader):
    with pytest.raises(ValueError, match=FIRST.format("X", "X")):
        reader.fit(CHANNELS_FIRST)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_autoencoder_refuses_them_too(channels):
    with pytest.raises(ValueError, match=rf"\({channels}, 24, 20\) of images in X"):
        autoencoder().fit(np.ones((10, channels, 24, 20)))


def test_images_that_are_declared_to_be_low_pass():
    for learner in (autoencoder(image_shape=(3, 24, 20)), MedianDenoiser(image_shape=(3, 24, 20))):
        assert learner.fit(CHANNELS_FIRST).predict(CHANNELS_FIRST).shape == CHANNELS_FIRST.shape
    low = np.random.default_rng(0).random((8, 1, 32, 12))  # signals of twelve channels
    assert MedianDenoiser(image_shape=(1, 32, 12)).fit(low).image_shape_ == (1, 32, 12)


@pytest.mark.parametrize("shape", [(10, 24, 20, 3), (10, 24, 20, 8), (10, 4, 4, 16), (10, 3, 24)], ids=str)
def test_other_stacks_pass(shape):
    X = np.random.default_rng(0).random(shape)
    assert MedianDenoiser().fit(X).predict(X).shape == shape


def test_lists_and_patches_with_their_channels_first_are_refused():
    with pytest.raises(ValueError, match=r"in X\[0\] seems to be \(channels, height, width\)"):
        for_images().fit(list(CHANNELS_FIRST))
    with pytest.raises(ValueError, match="in images seems to be"):
        RandomPatches(CHANNELS_FIRST, 8)


def test_similarity_and_prediction_refuse_channels_first():
    with pytest.raises(ValueError, match=FIRST.format("truth", "truth")):
        ssim(CHANNELS_FIRST, CHANNELS_FIRST, data_range=1)
    assert ssim(CHANNELS_FIRST, CHANNELS_FIRST, data_range=1, image_shape=(3, 24, 20)) == pytest.approx(1)
    for fitted in (for_images().fit(STACK), for_images().fit(np.moveaxis(CHANNELS_FIRST, 1, -1))):
        with pytest.raises(ValueError, match=FIRST.format("X", "X")):
            fitted.predict(CHANNELS_FIRST)


# One image in place of a stack --------------------------------------------------------------------------

SINGLE = (
    r"\(80, 96, 3\) of {} seems to be one image .* 80 images of 96 x 3 pixels. Pass one image as {}\[None\]"
)


@readers_of_images
def test_one_colour_image_is_no_stack(reader):
    with pytest.raises(ValueError, match=SINGLE.format("X", "X")):
        reader.fit(COLORS)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("name", ["images", "median", "means", "pixels", "region"])
def test_one_gray_image_is_noticed(name, noise):
    noisy = GRAY + np.random.default_rng(0).normal(0, noise, GRAY.shape)
    with pytest.warns(
        UserWarning, match="80 (signals|rows), but they follow each other as the rows of a single"
    ):
        # As y, they count as clean.
        READERS_OF_IMAGES[name].fit(noisy, noisy)


def test_an_autoencoder_warns_of_one_colour_image():
    with pytest.warns(UserWarning, match="80 images, but they follow each other"):
        autoencoder().fit(COLORS)


def test_one_image_after_the_fit_is_noticed():
    gray, colour = for_images().fit(STACK), for_images().fit(COLORS[None])
    for use in (gray.predict, gray.transform, gray.score):
        with pytest.raises(ValueError, match=SINGLE.format("X", "X")):
            use(COLORS)
    with pytest.raises(ValueError, match=r"X\[None\]"):
        colour.predict(COLORS)


def test_metrics_notice_one_image():
    for metric in (mse, nmse, lambda t, p: psnr(t, p, data_range=1)):
        for image in (COLORS, GRAY):
            with pytest.warns(UserWarning, match=r"truth of shape .* Pass one image as truth\[None\]"):
                metric(image, image)
            metric(image[None], image[None])
    with pytest.raises(ValueError, match=SINGLE.format("truth", "truth")):
        ssim(COLORS, COLORS, data_range=1)


def test_patches_of_one_image_are_refused():
    with pytest.raises(ValueError, match=SINGLE.format("images", "images")):
        RandomPatches(COLORS, 16)


def test_narrow_images_that_are_declared_pass():
    X = np.random.default_rng(0).random((20, 32, 3))
    assert MedianDenoiser(image_shape=(32, 3)).fit(X).predict(X).shape == X.shape


def walk(n, d, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=(n, d)), axis=0)


def test_tables_signals_and_windows_are_no_image():
    sines = np.sin(np.linspace(0, 20, 64) + np.random.default_rng(0).uniform(0, 6, (100, 1)))
    series = walk(4000, 1)[:, 0]
    overlapping = sliding_window_view(series, 64)[::40]
    for rows in (walk(200, 20), sines, overlapping, series.reshape(-1, 40), ROWS.repeat(4, axis=1)):
        MedianDenoiser().fit(rows)
        mse(rows, rows)
    sensors = np.random.default_rng(0).permutation(
        sliding_window_view(walk(400, 3), 64, axis=0).swapaxes(1, 2)
    )
    autoencoder().fit(sensors)


# Other layouts and units --------------------------------------------------------------------------------


def test_tensors_with_their_channels_last_are_refused():
    tensors = torch.from_numpy(np.moveaxis(CHANNELS_FIRST, 1, -1))
    for X in (tensors, list(tensors)):
        with pytest.raises(ValueError, match=r"seems to have its channels last.*movedim\(-1, -3\)"):
            for_images().fit(X)
    for_images().fit(tensors.movedim(-1, -3))


@pytest.mark.parametrize("learner", [autoencoder, MedianDenoiser, PixelNoiser])
def test_flat_images_with_their_channels_first_are_warned_of(learner):
    rows = CHANNELS_FIRST.reshape(10, -1)
    with pytest.warns(
        UserWarning, match=r"3 x 24 pixels of 20 channels.*X.reshape\(-1, 3, 24, 20\), 1, -1\)"
    ):
        learner(image_shape=(3, 24, 20)).fit(rows)
    learner(image_shape=(24, 20, 3)).fit(rows)


@pytest.mark.parametrize(
    "learner", [autoencoder(), for_images(), MedianDenoiser()], ids=lambda x: type(x).__name__
)
def test_transparency_that_hides_nothing_is_warned_of(learner):
    opaque = np.concatenate([np.moveaxis(CHANNELS_FIRST, 1, -1), np.ones((10, 24, 20, 1))], axis=-1)
    with pytest.warns(UserWarning, match=r"last of the 4 channels in X is 1 everywhere.*X\[..., :3\]"):
        learner.fit(opaque)
    learner.fit(opaque[..., :3])


def test_the_error_for_a_path_names_the_estimator_that_takes_folders(tmp_path):
    with pytest.raises(TypeError, match=r"fit_patches\(RandomPatches\('photos', patch_size=64\)\)"):
        autoencoder().fit("photos")
    with pytest.raises(TypeError, match="ImageDenoiser takes the path itself"):
        autoencoder().fit(tmp_path)


EIGHT_BITS = (255 * ROWS).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("learned", "given"),
    [(ROWS, 255 * ROWS), (ROWS, EIGHT_BITS.astype(int)), (EIGHT_BITS, ROWS), (255 * ROWS, ROWS)],
    ids=["floats", "integers", "floats after integers", "floats after larger ones"],
)
def test_another_unit_than_that_of_the_fit_is_noticed(learned, given):
    fitted = autoencoder().fit(learned)
    for use in (fitted.predict, fitted.transform, fitted.score):
        with pytest.warns(UserWarning, match="X seems to be in another unit"):
            use(given)
    with pytest.warns(UserWarning, match="X_val seems to be in another unit"):
        autoencoder().fit(learned, X_val=given)


def test_integers_of_files_are_refused_after_a_fit_to_shares():
    fitted = autoencoder().fit(ROWS)
    for use in (fitted.predict, fitted.transform, fitted.score, fitted.partial_fit):
        with pytest.raises(
            ValueError, match=r"learned from numbers in \[0, 1\], and X holds uint8 .* X / 255"
        ):
            use(EIGHT_BITS)


def test_strong_noise_single_samples_and_dark_ones_are_in_their_unit():
    fitted = autoencoder().fit(EIGHT_BITS)
    fitted.predict(EIGHT_BITS.astype(float))
    fitted.predict(np.zeros((1, 6)))
    fitted.predict(EIGHT_BITS[:1] // 8)
    fitted.predict(EIGHT_BITS + np.random.default_rng(0).normal(0, 500, ROWS.shape))


@pytest.mark.slow
def test_a_clean_side_in_another_order_is_refused():
    X = pd.DataFrame(ROWS).add_prefix("x")
    shuffled = X.sample(frac=1, random_state=0)
    noisy = X + np.random.default_rng(0).normal(0, 0.1, X.shape)
    for name in ("y", "X_clean"):
        with pytest.raises(ValueError, match=rf"{name} has the index of X in another order.*{name}\.loc"):
            autoencoder().fit(noisy, **{name: shuffled})
        autoencoder().fit(noisy, **{name: X})
        autoencoder().fit(noisy, **{name: X.reset_index(drop=True)})
        autoencoder().fit(noisy.sample(frac=1, random_state=0), **{name: shuffled})


def test_frames_with_labels_of_several_types_pass():
    labels = [*range(20), *"abcdefghijklmnopqrst"]
    X, reversed_ = pd.DataFrame(ROWS, index=labels), pd.DataFrame(ROWS + 0.1, index=labels[::-1])
    with pytest.raises(ValueError, match="in another order"):
        autoencoder().fit(X, reversed_)


def test_frames_with_some_labels_in_common_are_refused():
    X = pd.DataFrame(ROWS).add_prefix("x")
    noisy = X + np.random.default_rng(0).normal(0, 0.1, X.shape)
    shifted = X.set_axis(X.index + 1)
    noisy_shifted = noisy.set_axis(noisy.index + 2)
    with pytest.raises(ValueError, match=r"have 39 of 40 labels .*set_index"):
        autoencoder().fit(noisy_shifted, X_clean=shifted)
    # An index that counts from 0, and one of other labels, tell nothing.
    autoencoder().fit(noisy_shifted, X_clean=X)
    fitted = autoencoder().fit(noisy_shifted, X_clean=X.set_axis([f"clean {i}" for i in X.index]))
    with pytest.raises(ValueError, match="in another order"):
        fitted.score(noisy, X[::-1])


def test_masked_images_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="masked array that hides pixels"):
        write_image(tmp_path / "hidden.png", np.ma.masked_equal(EIGHT_BITS, EIGHT_BITS[0, 0]))
    assert not list(tmp_path.iterdir())
