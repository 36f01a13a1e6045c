"""Parameters, fitted state and errors of each kind of noiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from sk_denoise import (
    DenoisingAutoencoder,
    GaussianNoiser,
    MaskingNoiser,
    NoiserChain,
    NoiserChoice,
    PixelNoiser,
    PoissonNoiser,
    RegionNoiser,
    SaltAndPepperNoiser,
    SpeckleNoiser,
    SwapNoiser,
    UniformNoiser,
    make_denoising_scorer,
)
from sk_denoise._registry import NOISES
from sk_denoise.exceptions import WeakNoiseWarning
from sk_denoise.noise import NOISERS, add_gaussian, replace_pixels, resolve_noiser

RNG = np.random.default_rng(0)
TABLE = RNG.uniform([0, 10, -5], [1, 1000, -4], size=(500, 3))
IMAGES = RNG.uniform(0.2, 0.8, size=(200, 8, 6, 3))


def corrupted(noiser, X):
    return np.asarray(clone(noiser).set_params(random_state=0).fit_transform(X))


# Names --------------------------------------------------------------------------------------------------


SAME_SIZE = {name: noise for name, noise in NOISES.items() if not noise.changes_size}


@pytest.mark.parametrize("name", [name for name, noise in SAME_SIZE.items() if not noise.made_of])
def test_a_noise_may_be_named(name):
    assert type(resolve_noiser(name)) is NOISERS[name]
    dae = DenoisingAutoencoder(noise=name, max_epochs=1, batch_size=100, random_state=0)
    # The samples of a signal share a unit.
    table = TABLE[:, ::2] if name == "baseline_wander" else abs(TABLE)
    dae.fit(IMAGES if NOISES[name].images_only else table)
    assert type(dae.noiser_) is NOISERS[name]


@pytest.mark.parametrize("name", [name for name, noise in NOISES.items() if noise.made_of])
def test_the_name_of_noise_that_needs_a_part_without_default_is_refused_with_a_remedy(name):
    part = {"recorded": "recordings", "hum": "a sampling rate"}.get(name, "other noise")
    with pytest.raises(ValueError, match=rf"noise='{name}' needs {part}.* pass {NOISERS[name].__name__}"):
        DenoisingAutoencoder(noise=name).fit(TABLE)


@pytest.mark.parametrize("name", [name for name, noise in SAME_SIZE.items() if noise.images_only])
def test_noise_of_images_refuses_tables_and_says_so_in_its_tags(name):
    noiser = resolve_noiser(name)
    assert not get_tags(noiser).input_tags.two_d_array
    assert get_tags(noiser).input_tags.three_d_array
    with pytest.raises(ValueError, match=r"is for images, got rows of shape \(500, 3\).*image_shape"):
        noiser.fit(TABLE)
    assert get_tags(noiser.set_params(image_shape=(1, 3))).input_tags.two_d_array
    noiser.fit(TABLE)


# Numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.25, 1, np.float32(0.25), (0.1, 0.3), [0.1, 0.2, 0.3]], ids=str)
def test_a_number_is_the_strength_of_gaussian_noise(strength):
    settings = {"max_epochs": 1, "batch_size": 100, "random_state": 0}
    by_number = DenoisingAutoencoder(noise=strength, **settings).fit(TABLE)
    by_noiser = DenoisingAutoencoder(noise=GaussianNoiser(strength), **settings).fit(TABLE)
    assert type(by_number.noiser_) is GaussianNoiser
    np.testing.assert_array_equal(by_number.predict(TABLE), by_noiser.predict(TABLE))
    assert by_number.get_params()["noise"] is strength


@pytest.mark.parametrize("strength", [-0.1, True, float("nan"), (0.3, 0.1), (0.1, True)], ids=str)
def test_a_number_that_is_no_strength_is_refused(strength):
    with pytest.raises(ValueError, match="noise_factor"):
        DenoisingAutoencoder(noise=strength).fit(TABLE)


def test_a_number_and_a_noiser_before_it_are_noise_given_twice():
    with pytest.raises(ValueError, match="noise given twice"):
        DenoisingAutoencoder(noise=0.25).fit(GaussianNoiser(0.25).fit_transform(TABLE))


# Units --------------------------------------------------------------------------------------------------

EIGHT_BITS = (255 * IMAGES).astype(np.uint8)


@pytest.mark.parametrize(
    "images",
    [EIGHT_BITS, EIGHT_BITS.astype(float), EIGHT_BITS // 8 + 100],
    ids=["integers", "floats", "low contrast"],
)
@pytest.mark.parametrize("noiser", [GaussianNoiser(0.25), UniformNoiser((0.0, 0.2))], ids=repr)
def test_noise_of_less_than_a_grey_level_warns_and_names_the_unit(noiser, images):
    with pytest.warns(WeakNoiseWarning, match=r"in the unit of the data.*a tenth of that is noise_factor="):
        noiser.fit(images)


def test_noise_that_hides_the_data_warns():
    with pytest.warns(UserWarning, match="hides the data completely.*in the unit of the data"):
        GaussianNoiser(25).fit(IMAGES)


@pytest.mark.parametrize(
    ("noiser", "message"),
    [
        (GaussianNoiser(20, clip=(0, 1)), r"clip=\(0, 1\) covers little of the clean data"),
        (SpeckleNoiser(0.2, clip=(0, 1)), r"clip=\(0, 1\) covers little"),
        (SaltAndPepperNoiser(limits=(0, 1)), r"limits=\(0, 1\) covers little"),
        (PixelNoiser(limits=(0, 1)), r"limits=\(0, 1\) covers little"),
        (PoissonNoiser(white=1), r"white=1 stands for 30.0 photons, and the data reach 2"),
    ],
    ids=repr,
)
def test_limits_in_another_unit_than_the_data_warn(noiser, message):
    with pytest.warns(UserWarning, match=message):
        noiser.fit(EIGHT_BITS)


def test_limits_far_beyond_the_data_warn():
    with pytest.warns(UserWarning, match=r"limits=\(0, 255\) reaches far beyond the clean data"):
        SaltAndPepperNoiser(limits=(0, 255)).fit(IMAGES)


@pytest.mark.parametrize(
    "noiser",
    [
        GaussianNoiser(20, clip=(0, 255)),
        GaussianNoiser(2),
        SaltAndPepperNoiser(limits=(0, 255)),
        PixelNoiser(limits=(0, 200)),
        PoissonNoiser(white=255),
        GaussianNoiser(0.5, scale="std"),
    ],
    ids=repr,
)
def test_parameters_in_the_unit_of_the_data_do_not_warn(noiser):
    noiser.fit(EIGHT_BITS)


def test_ratings_in_whole_numbers_are_no_grey_levels():
    GaussianNoiser(0.25).fit(np.random.default_rng(0).integers(1, 6, (100, 8)))


def test_the_error_for_an_unknown_name_has_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown noise 'poison'\. Did you mean 'poisson'"):
        DenoisingAutoencoder(noise="poison").fit(TABLE)


# Parameters ---------------------------------------------------------------------------------------------

WRONG = [
    (UniformNoiser(-1), "noise_factor must be a finite number of at least 0"),
    (UniformNoiser(0.1, clip=(1, 0)), "clip must be a pair"),
    (UniformNoiser(0.1, mean=np.inf), "mean must be finite"),
    (SpeckleNoiser((0.5, 0.1)), r"noise_factor=\(low, high\) needs low <= high"),
    (SpeckleNoiser(0.1, clip=(0, 0)), "clip must be a pair"),
    (
        PoissonNoiser(0),
        r"peak must be a finite number above 0 or a pair \(low, high\) of such numbers, got 0",
    ),
    (PoissonNoiser((0, 10)), "peak must be a finite number above 0"),
    (PoissonNoiser(white=0), 'white must be a finite number above 0 or "auto", got 0'),
    (PoissonNoiser(white="brightest"), "'white' parameter of PoissonNoiser"),
    (SaltAndPepperNoiser(1.1), "amount must be a number of at least 0 and at most 1 or a pair"),
    (SaltAndPepperNoiser(0.1, -0.1), "salt_ratio must be a number of at least 0 and at most 1"),
    (
        SaltAndPepperNoiser(limits=(1, 0)),
        r"limits must be a pair \(low, high\) with low < high, got \(1, 0\)",
    ),
    (SaltAndPepperNoiser(limits=(0, np.inf)), "limits must hold finite numbers"),
    (NoiserChoice([GaussianNoiser()], [[1.0]]), "probabilities must hold 1 numbers"),
    (SaltAndPepperNoiser(limits="all"), "'limits' parameter of SaltAndPepperNoiser"),
    (MaskingNoiser((0.5, 1.5)), "fraction must be a number of at least 0 and at most 1"),
    (MaskingNoiser(fill=np.nan), 'fill must be a finite number or "mean", got nan'),
    (MaskingNoiser(fill="median"), "'fill' parameter of MaskingNoiser"),
    (SwapNoiser("some"), "'fraction' parameter of SwapNoiser"),
    (PixelNoiser(2), "fraction must be a number of at least 0 and at most 1"),
    (PixelNoiser(value="red"), "'value' parameter of PixelNoiser"),
    (PixelNoiser(image_shape=3), "'image_shape' parameter of PixelNoiser"),
    (PixelNoiser(image_shape=(3,)), r"image_shape must be \(height, width\) or .* got \(3,\)"),
    (PixelNoiser(image_shape=(2, 2)), r"image_shape=\(2, 2\) does not fit samples of shape \(3,\)"),
    (RegionNoiser(GaussianNoiser(), 0), "size must be a number above 0 and at most 1"),
    (RegionNoiser(GaussianNoiser(), (0.1, 2)), "size must be a number above 0 and at most 1"),
    (RegionNoiser(GaussianNoiser(-1)), "noise_factor must be a finite number of at least 0"),
    (NoiserChoice([]), r"noisers must be a list of at least one noiser, as in NoiserChoice\("),
    (NoiserChain(None), r"noisers must be a list of at least one noiser, as in NoiserChain\("),
    (NoiserChoice([GaussianNoiser()], [0.5]), "probabilities must hold 1 numbers .* that sum to 1"),
    (NoiserChoice([GaussianNoiser()] * 2, [1.5, -0.5]), "probabilities must hold 2 numbers of at least 0"),
    (NoiserChoice([GaussianNoiser()] * 2, [1.0]), "one for each noiser"),
]


@pytest.mark.parametrize(("noiser", "message"), WRONG, ids=lambda value: repr(value)[:40])
def test_parameters_are_checked_in_fit_with_a_message_that_names_them(noiser, message):
    with pytest.raises(ValueError, match=message):
        noiser.fit(TABLE)


@pytest.mark.parametrize(
    ("noiser", "message"),
    [
        (RegionNoiser(0.5), "Expected a noiser such as GaussianNoiser"),
        (RegionNoiser(GaussianNoiser), r"Did you mean GaussianNoiser\(\)\?"),
        (NoiserChain([GaussianNoiser(), "poisson"]), "Expected a noiser such as .* got 'poisson'"),
        (NoiserChoice([GaussianNoiser(), GaussianNoiser]), r"Did you mean GaussianNoiser\(\)\?"),
    ],
)
def test_an_object_that_is_no_noiser_is_refused(noiser, message):
    with pytest.raises(TypeError, match=message):
        noiser.fit(TABLE)


def test_two_noisers_in_a_row_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"Use one NoiserChain\(\[...\]\)"):
        PoissonNoiser().fit_transform(GaussianNoiser().fit_transform(IMAGES))


# What is learned from the data --------------------------------------------------------------------------


@pytest.mark.parametrize("noiser", [SaltAndPepperNoiser(1.0), PixelNoiser(1.0, "black and white")])
def test_black_and_white_are_the_ends_of_each_column_and_of_all_pixels(noiser):
    rows = corrupted(noiser, TABLE)
    np.testing.assert_array_equal(np.unique(rows, axis=0).min(axis=0), TABLE.min(axis=0))
    np.testing.assert_array_equal(rows.max(axis=0), TABLE.max(axis=0))
    assert all(len(np.unique(column)) == 2 for column in rows.T)
    assert set(np.unique(corrupted(noiser, IMAGES))) == {IMAGES.min(), IMAGES.max()}
    assert set(np.unique(corrupted(clone(noiser).set_params(limits=(-1, 2)), IMAGES))) == {-1, 2}


def test_bytes_stay_in_their_unit():
    photos = RNG.integers(0, 256, size=(50, 16, 16, 3), dtype=np.uint8)
    noisy = corrupted(SaltAndPepperNoiser(1.0), photos)
    assert noisy.dtype == np.float32
    assert set(np.unique(noisy)) == {0, 255}
    grains = corrupted(PoissonNoiser(100), photos) * 100 / 255
    np.testing.assert_allclose(grains, grains.round(), atol=1e-3)


def test_white_is_the_largest_value_of_a_column_or_of_all_pixels():
    rows = np.abs(TABLE)
    np.testing.assert_array_equal(PoissonNoiser().fit(rows).white_, rows.max(axis=0))
    assert PoissonNoiser().fit(IMAGES).white_ == IMAGES.max()
    assert PoissonNoiser(white=2.0).fit(IMAGES).white_ == 2


def test_a_column_of_darkness_stays_dark():
    rows = np.abs(TABLE) * [1, 0, 1]
    assert (corrupted(PoissonNoiser(), rows)[:, 1] == 0).all()


def test_negative_light_warns_and_counts_as_zero():
    with pytest.warns(UserWarning, match=r"Light is never negative, but the data go down to -(5|4\.99)"):
        noisy = PoissonNoiser(random_state=0).fit_transform(TABLE)
    assert (np.asarray(noisy)[:, 2] == 0).all()


def test_masked_values_become_the_mean_of_their_column_or_pixel():
    np.testing.assert_allclose(corrupted(MaskingNoiser(1.0, "mean"), TABLE), [TABLE.mean(axis=0)] * 500)
    masked = corrupted(MaskingNoiser(1.0, "mean"), IMAGES)
    np.testing.assert_allclose(masked, np.broadcast_to(IMAGES.mean(axis=0), IMAGES.shape))


def test_uniform_noise_may_be_relative_to_the_spread():
    noise = corrupted(UniformNoiser(0.5, scale="std"), TABLE) - TABLE
    np.testing.assert_allclose(np.abs(noise).max(axis=0), 0.5 * TABLE.std(axis=0), rtol=0.05)


def test_a_sample_alone_has_no_donor():
    noiser = SwapNoiser(apply="always").fit(TABLE)
    with pytest.raises(ValueError, match="takes values from other samples, got n_samples = 1"):
        noiser.transform(TABLE[:1])
    with pytest.raises(ValueError, match="n_samples = 1"):
        noiser.fit_transform(TABLE[:1])


@pytest.mark.slow
def test_no_sample_is_left_alone_by_an_estimator_that_has_others():
    wide = RNG.uniform(size=(5, 2**20 - 1)).astype(np.float32)

    def tiny(input_shape, latent_dim):
        return torch.nn.Sequential(torch.nn.AvgPool1d(2**20 - 1), torch.nn.Linear(1, 2**20 - 1, bias=False))

    dae = DenoisingAutoencoder(tiny, noise=SwapNoiser(), max_epochs=1, batch_size=5, optimizer="sgd")
    assert dae.fit(wide).n_iter_ == 1


def test_numbers_of_numpy_are_strengths():
    x = torch.zeros(4, 3)
    generators = (torch.Generator().manual_seed(0) for _ in range(2))
    one, other = (
        add_gaussian(x, g, noise_factor=s) for g, s in zip(generators, (0.1, np.float64(0.1)), strict=True)
    )
    assert torch.equal(one, other)


def test_an_unknown_value_of_pixels_is_refused_by_the_function():
    with pytest.raises(ValueError, match=r"value must be .* got 'gray'"):
        replace_pixels(torch.zeros(2, 2), torch.Generator(), fraction=0.5, value="gray")


class Forgetful(GaussianNoiser):
    """A noiser with a fit that returns None."""

    def fit(self, X, y=None):
        super().fit(X)


def test_a_noiser_need_not_return_itself():
    dae = DenoisingAutoencoder(noise=Forgetful(0.5), max_epochs=1).fit(TABLE)
    assert isinstance(dae.noiser_, Forgetful)
    assert corrupted(NoiserChain([Forgetful(0.5)]), TABLE).shape == TABLE.shape


def test_a_change_deep_in_a_long_composition_is_noticed():
    noise = NoiserChain([GaussianNoiser(0.1) for _ in range(20)])
    dae = DenoisingAutoencoder(noise=noise, max_epochs=1, warm_start=True).fit(TABLE)
    noise.noisers[-1].noise_factor = 9.0
    assert dae.set_params(max_epochs=2).fit(TABLE).noiser_.noisers_[-1].noise_factor == 9


def test_a_scorer_minds_noise_that_acts_and_no_other():
    always = GaussianNoiser(0.1, apply="always")
    scorer = make_denoising_scorer(GaussianNoiser(0.1, random_state=0))
    inside = DenoisingAutoencoder(noise=NoiserChain([always]), max_epochs=1).fit(TABLE)
    assert np.isfinite(scorer(inside, TABLE))
    before = make_pipeline(RegionNoiser(always), DenoisingAutoencoder(max_epochs=1)).fit(TABLE)
    assert np.isfinite(scorer(before, TABLE))
    with pytest.raises(ValueError, match="would add more"):
        scorer(make_pipeline(NoiserChain([GaussianNoiser()], apply="always"), before[1]), TABLE)


# Images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noiser", [PixelNoiser(0.3), RegionNoiser(GaussianNoiser(0.5), 0.5)])
@pytest.mark.parametrize("shape", [(8, 6, 3), (8, 18)])
def test_flat_images_are_corrupted_as_images_are(noiser, shape):
    images = IMAGES.reshape(200, *shape)
    flat = clone(noiser).set_params(image_shape=shape, random_state=0)
    expected = clone(noiser).set_params(random_state=0).fit(images)
    rows = images.reshape(200, -1)
    noisy = flat.fit(rows).corrupt(torch.from_numpy(rows), torch.Generator().manual_seed(0))
    assert noisy.shape == rows.shape
    again = expected.corrupt(torch.from_numpy(images), torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(noisy, again.reshape(200, -1))


def test_a_stretch_of_a_row_is_a_region():
    noisy = corrupted(RegionNoiser(MaskingNoiser(1.0, fill=-1), 0.25), np.ones((300, 40)))
    hidden = noisy == -1
    assert (hidden.sum(axis=1) == 10).all()
    assert (np.abs(np.diff(hidden.astype(int), axis=1)).sum(axis=1) <= 2).all()
    assert len(np.unique(hidden.argmax(axis=1))) == 31


def test_a_region_has_at_least_one_pixel():
    noisy = corrupted(RegionNoiser(MaskingNoiser(1.0, fill=-1), 0.01), IMAGES)
    assert ((noisy == -1).sum(axis=(1, 2, 3)) == 3).all()


def test_an_estimator_passes_its_image_shape_to_its_noise():
    rows = IMAGES.reshape(200, -1)
    common = {"max_epochs": 1, "random_state": 0}
    for noiser in (PixelNoiser(0.3), RegionNoiser(GaussianNoiser(0.3)), SaltAndPepperNoiser(0.1)):
        flat = DenoisingAutoencoder(noise=noiser, image_shape=(8, 6, 3), **common).fit(rows)
        stack = DenoisingAutoencoder(noise=noiser, **common).fit(IMAGES)
        np.testing.assert_array_equal(flat.predict(rows), stack.predict(IMAGES).reshape(200, -1))
    assert flat.noiser_.limits_.shape == (2,)


# Composition --------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:clip=")  # which suits what the first noise gives, and no clean data
def test_a_chain_corrupts_by_one_noise_after_the_other():
    noiser = NoiserChain([MaskingNoiser(1.0, fill=5.0), GaussianNoiser(0.1, clip=(4.9, 5.1))])
    noisy = corrupted(noiser, IMAGES)
    assert noisy.min() == 4.9
    assert noisy.max() == 5.1


def test_a_choice_is_made_for_each_sample():
    noiser = NoiserChoice([MaskingNoiser(1.0, fill=-1), MaskingNoiser(1.0, fill=-2)], [0.75, 0.25])
    noisy = corrupted(noiser, np.ones((4000, 5)))
    assert (noisy == noisy[:, :1]).all()
    assert (noisy[:, 0] == -1).mean() == pytest.approx(0.75, abs=0.03)
    equal = corrupted(NoiserChoice(noiser.noisers), np.ones((4000, 5)))
    assert (equal == -1).mean() == pytest.approx(0.5, abs=0.03)


def test_a_choice_holds_swap_noise_also_where_it_falls_on_one_sample():
    noiser = NoiserChoice([GaussianNoiser(), SwapNoiser(1.0)], [0.5, 0.5], apply="always").fit(TABLE)
    for seed in range(20):
        assert noiser.set_params(random_state=seed).transform(TABLE[:2]).shape == (2, 3)


def test_noisers_of_one_class_have_different_names():
    noiser = NoiserChain([GaussianNoiser(0.1), GaussianNoiser(0.2), SwapNoiser()])
    noiser.set_params(**{"gaussiannoiser-2__noise_factor": 0.5, "swapnoiser__fraction": 0.3})
    assert repr(noiser.noisers) == repr([GaussianNoiser(0.1), GaussianNoiser(0.5), SwapNoiser(0.3)])
    noiser.set_params(swapnoiser=MaskingNoiser())
    assert isinstance(noiser.noisers[2], MaskingNoiser)
    with pytest.raises(ValueError, match="Invalid parameter 'poissonnoiser'"):
        noiser.set_params(poissonnoiser__peak=1)


def test_fitting_leaves_the_noisers_of_a_composition_unfitted():
    inner = GaussianNoiser(0.5, scale="std")
    noisers = [RegionNoiser(inner), NoiserChain([inner]), NoiserChoice([inner])]
    for noiser in noisers:
        noiser.fit(TABLE)
    assert not hasattr(inner, "scale_")
    np.testing.assert_allclose(noisers[1].noisers_[0].scale_, TABLE.std(axis=0))


def test_compositions_nest_and_are_searched():
    noise = NoiserChoice([RegionNoiser(GaussianNoiser(0.3)), NoiserChain([PoissonNoiser(), PixelNoiser()])])
    search = GridSearchCV(
        DenoisingAutoencoder(noise=noise, max_epochs=1, random_state=0),
        {
            "noise__regionnoiser__noiser__noise_factor": [0.1, 0.4],
            "noise__noiserchain__poissonnoiser__peak": [(5, 50)],
        },
        scoring=make_denoising_scorer(GaussianNoiser(0.2, random_state=0)),
        cv=2,
    ).fit(IMAGES)
    best = search.best_estimator_.noiser_
    assert best.noisers_[1].noisers_[0].peak == (5, 50)
    factors = [params["noise__regionnoiser__noiser__noise_factor"] for params in search.cv_results_["params"]]
    assert factors == [0.1, 0.4]
    assert len(set(search.cv_results_["mean_test_score"])) == 2
