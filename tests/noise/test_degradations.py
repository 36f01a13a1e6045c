"""Degradations: blur, smaller images, and both in chains."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import sklearn
import torch
from scipy import ndimage, signal
from skimage import data
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import make_pipeline

from sk_denoise import (
    BlurNoiser,
    DenoisingAutoencoder,
    DownscaleNoiser,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    JPEGNoiser,
    MedianDenoiser,
    NoiserChain,
    NoiserChoice,
    PoissonNoiser,
    RegionNoiser,
    SignalDenoiser,
    SignalUNetNetwork,
    WienerMixtureDenoiser,
    make_denoising_scorer,
)
from sk_denoise.noise import BaseNoiser, blur_samples, carried_source, reduce_images
from sk_denoise.plots import DenoisingDisplay
from sk_denoise.restoration import denoise_image

RNG = np.random.default_rng(0)
PHOTO = data.chelsea()[20:148, 100:260]
LOPSIDED = np.array([[0.0, 1, 2], [3, 4, 5], [6, 7, 8]])
BLURS = [
    BlurNoiser(sigma=(0.5, 2.0)),
    BlurNoiser("motion", length=(1.0, 6.0)),
    BlurNoiser("defocus", radius=(0.8, 3.0)),
    BlurNoiser(LOPSIDED),
    BlurNoiser([np.ones((1, 5)), np.ones((3, 3)), np.eye(5)]),
]
NAMES = ["gaussian", "motion", "defocus", "kernel", "kernels"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noised(noiser, X, seed=0):
    return np.asarray(clone(noiser).set_params(random_state=seed).fit_transform(X))


def impulse(height, width):
    image = np.zeros((1, height, width))
    image[0, height // 2, width // 2] = 1
    return image


def kernel_of(**settings):
    """Return the kernel that a blur draws, from the image of a point."""
    return noised(BlurNoiser(**settings), impulse(31, 31))[0]


def moments_of(kernel):
    """Return the centre of a kernel from its middle, (down, right), and its covariance."""
    rows, columns = np.indices(kernel.shape) - (np.array(kernel.shape) // 2)[:, None, None]
    places = np.stack([rows.ravel(), columns.ravel()])
    centre = places @ kernel.ravel()
    return centre, np.cov(places, aweights=np.maximum(kernel.ravel(), 0), bias=True)


# Blur ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noiser", BLURS, ids=NAMES)
@pytest.mark.parametrize("shape", [(3, 9, 14), (3, 9, 14, 1), (2, 13, 8, 4)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_a_blur_is_pure_and_keeps_type_shape_and_constant_images(noiser, shape, dtype):
    x = torch.rand(shape, generator=generator(1)).to(dtype)
    before, state = x.clone(), torch.get_rng_state()
    noiser = clone(noiser).fit(x.double().numpy())
    blurred = noiser.corrupt(x, generator())
    assert blurred.dtype == dtype
    assert blurred.shape == x.shape
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(noiser.corrupt(x, generator()), blurred)
    assert blurred.double().std() < 0.9 * x.double().std()
    constant = torch.full_like(x, 0.3)
    assert torch.equal(noiser.corrupt(constant, generator()), constant)


@pytest.mark.parametrize("noiser", BLURS, ids=NAMES)
def test_images_of_either_precision_meet_the_same_blur(noiser):
    x = torch.rand(4, 12, 13, 3, generator=generator(1))
    noiser = clone(noiser).fit(x.numpy())
    double = noiser.corrupt(x.double(), generator())
    torch.testing.assert_close(noiser.corrupt(x, generator()).double(), double, rtol=1e-5, atol=1e-6)


def test_a_gaussian_blur_is_that_of_scipy_at_the_borders_too():
    blurred = noised(BlurNoiser(sigma=2.0), PHOTO[None, ..., 0] / 255.0)[0]
    expected = ndimage.gaussian_filter(PHOTO[..., 0] / 255.0, 2.0, mode="reflect", truncate=4)
    np.testing.assert_allclose(blurred, expected, atol=1e-12)
    # Its sum is that of the clean image.
    assert blurred.mean() == pytest.approx(PHOTO[..., 0].mean() / 255, abs=1e-12)


def test_a_gaussian_blur_may_be_wider_than_the_image():
    wide = noised(BlurNoiser(sigma=40.0), RNG.uniform(size=(2, 3, 5)))
    assert wide.std(axis=(1, 2)).max() < 0.01
    assert noised(BlurNoiser(sigma=3.0), np.full((2, 1, 1, 3), 0.7)).tolist() == [[[[0.7] * 3]]] * 2


@pytest.mark.parametrize("kernel", [LOPSIDED, RNG.uniform(size=(5, 3)), np.ones(7)], ids=np.shape)
def test_the_image_of_a_point_is_the_kernel_with_a_sum_of_one(kernel):
    image = noised(BlurNoiser(kernel), impulse(9, 9))[0]
    kernel = np.atleast_2d(kernel)
    top, left = (9 - kernel.shape[0]) // 2, (9 - kernel.shape[1]) // 2
    expected = np.zeros((9, 9))
    expected[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel / kernel.sum()
    np.testing.assert_allclose(image, expected, atol=1e-15)


def test_a_kernel_is_convolved_with_the_mirrored_image():
    image = RNG.uniform(size=(1, 6, 4))
    kernel = RNG.uniform(size=(5, 9))
    wide = np.pad(image[0], [(2, 2), (4, 4)], mode="symmetric")
    expected = signal.convolve2d(wide, kernel / kernel.sum(), mode="valid")
    np.testing.assert_allclose(noised(BlurNoiser(kernel), image)[0], expected, atol=1e-14)


@pytest.mark.parametrize(("angle", "down", "right"), [(0, 0, 1), (90, 1, 0), (45, -1, 1), (135, 1, 1)])
def test_a_motion_lies_along_its_angle_counter_clockwise_from_the_rows(angle, down, right):
    kernel = kernel_of(kernel="motion", length=12.0, angle=float(angle))
    centre, spread = moments_of(kernel)
    np.testing.assert_allclose(centre, 0, atol=1e-9)
    direction = np.array([down, right]) / np.hypot(down, right)
    # The variance of a uniform path, and of the pixels that share a point.
    assert direction @ spread @ direction == pytest.approx(12**2 / 12, abs=0.4)
    across = direction[::-1] * [1, -1]
    assert across @ spread @ across < 0.4
    assert kernel.sum() == pytest.approx(1)


def test_without_motion_and_with_the_smallest_disk_there_is_no_blur():
    image = RNG.uniform(size=(2, 7, 7))
    for noiser in (
        BlurNoiser(sigma=0.0),
        BlurNoiser("motion", length=0),
        BlurNoiser("defocus", radius=0.5),
    ):
        np.testing.assert_allclose(noised(noiser, image), image, atol=1e-15)


@pytest.mark.parametrize("radius", [1.5, 4.0, 8.3])
def test_a_disk_of_defocus_is_flat_inside_and_zero_outside(radius):
    kernel = kernel_of(kernel="defocus", radius=radius)
    distance = np.hypot(*(np.indices(kernel.shape) - 15))
    inside = kernel[distance <= radius - 0.5]
    np.testing.assert_allclose(inside, inside[0])
    np.testing.assert_allclose(kernel[distance >= radius + 0.5], 0, atol=1e-15)
    assert 1 / inside[0] == pytest.approx(np.pi * radius**2, rel=0.07)


def test_a_pair_draws_the_blur_of_each_sample():
    points = np.repeat(impulse(41, 41), 200, axis=0)
    widths = [moments_of(kernel)[1][0, 0] ** 0.5 for kernel in noised(BlurNoiser(sigma=(1.0, 3.0)), points)]
    assert 1 <= min(widths) < 1.1
    assert 2.9 < max(widths) <= 3
    lengths = noised(BlurNoiser("motion", length=(2.0, 10.0), angle=(-10, 10)), points)
    spreads = np.array([moments_of(kernel)[1] for kernel in lengths])
    assert spreads[:, 1, 1].max() > 3 * spreads[:, 1, 1].min()
    # Nearly horizontal motions have both signs of the slope.
    assert spreads[:, 0, 1].min() < 0 < spreads[:, 0, 1].max()
    kinds = {tuple(map(tuple, kernel.round(9))) for kernel in noised(BLURS[-1], points)}
    assert len(kinds) == 3


def test_a_high_level_below_the_structure_costs_no_more_than_its_rounding():
    x = 1e6 + torch.rand(2, 30, 30, generator=generator())
    exact = blur_samples(x.double(), generator(), sigma=2.0)
    assert (blur_samples(x, generator(), sigma=2.0).double() - exact).abs().max() < 0.07


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_integers_are_blurred_in_their_unit(dtype):
    images = PHOTO[None].astype(dtype)
    blurred = noised(BlurNoiser(sigma=1.0), images)
    assert blurred.dtype == np.float32
    np.testing.assert_allclose(blurred, noised(BlurNoiser(sigma=1.0), images.astype(float)), atol=1e-3)


def test_a_blur_never_leads_beyond_black_and_white_and_sharpening_may():
    image = np.zeros((1, 20, 20), np.float32)
    image[:, :, 10:] = 1
    for noiser in BLURS:
        blurred = noised(noiser, image)
        assert blurred.min() >= 0
        assert blurred.max() <= 1
    sharpened = noised(BlurNoiser([-0.25, 1.5, -0.25]), image)
    assert sharpened.max() == pytest.approx(1.25)


def test_a_large_kernel_on_a_side_of_one_pixel_acts_along_the_other():
    rows = RNG.uniform(size=(3, 1, 20, 2))
    blurred = noised(BlurNoiser("defocus", radius=4.0), rows)
    upright = noised(BlurNoiser("defocus", radius=4.0), rows.swapaxes(1, 2))
    np.testing.assert_allclose(blurred, upright.swapaxes(1, 2), atol=1e-14)


def test_spectra_are_blurred_along_their_length_in_every_layout():
    spectra = RNG.uniform(size=(5, 40))
    expected = ndimage.convolve1d(spectra, [0.5, 0.3, 0.2], mode="reflect")
    noiser = BlurNoiser([5, 3, 2])
    for shape in ((5, 40), (5, 1, 40, 1), (5, 40, 1, 1)):
        blurred = noised(noiser, spectra.reshape(shape)).reshape(5, 40)
        np.testing.assert_allclose(blurred, expected, atol=1e-14)
    np.testing.assert_allclose(
        noised(BlurNoiser(sigma=1.5), spectra), ndimage.gaussian_filter1d(spectra, 1.5, mode="reflect")
    )


def test_flat_images_are_blurred_as_images_are():
    images = RNG.uniform(size=(6, 8, 9, 3))
    for noiser in BLURS:
        flat = clone(noiser).set_params(image_shape=(8, 9, 3)).fit(images.reshape(6, -1))
        one = flat.corrupt(torch.from_numpy(images.reshape(6, -1)), generator())
        other = clone(noiser).fit(images).corrupt(torch.from_numpy(images), generator())
        assert torch.equal(one, other.reshape(6, -1))


def test_a_blur_within_a_training_in_low_precision_is_exact():
    x = torch.rand(2, 16, 16, generator=generator(1))
    expected = blur_samples(x, generator(), kernel="motion", length=(3.0, 9.0))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(blur_samples(x, generator(), kernel="motion", length=(3.0, 9.0)), expected)


def test_the_function_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="kernel must be 'gaussian', 'motion', 'defocus'"):
        blur_samples(torch.zeros(1, 5, 5), generator(), kernel="box")


# Smaller images -----------------------------------------------------------------------------------------


def cubic(distance):
    """Return the kernel of Keys with a = -0.5."""
    d = abs(distance)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def reduced_by_formula(line, factor, scale):
    """Return a reduced line, by the sum over its mirror images, as imresize of MATLAB."""
    n = len(line)
    places = np.arange(-3 * n, 4 * n)
    mirrored = places % (2 * n)
    values = line[np.minimum(mirrored, 2 * n - 1 - mirrored)]
    middles = factor * np.arange(n // factor) + (factor - 1) / 2
    weights = cubic((places - middles[:, None]) / scale)
    return (weights * values).sum(1) / weights.sum(1)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("antialias", [True, False])
def test_images_are_reduced_by_the_bicubic_formula(factor, antialias):
    images = RNG.uniform(size=(2, 12, 24, 3))
    small = noised(DownscaleNoiser(factor, antialias=antialias), images)
    scale = factor if antialias else 1
    rows = np.apply_along_axis(reduced_by_formula, 1, images, factor, scale)
    expected = np.apply_along_axis(reduced_by_formula, 2, rows, factor, scale)
    np.testing.assert_allclose(small, expected, atol=1e-12)
    assert small.shape == (2, 12 // factor, 24 // factor, 3)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_inside_is_that_of_torch_and_the_border_is_not(factor):
    x = torch.rand(2, 3, 24, 36, generator=generator(), dtype=torch.float64)
    sizes = (24 // factor, 36 // factor)
    other = torch.nn.functional.interpolate(x, sizes, mode="bicubic", antialias=True).movedim(1, 3)
    difference = (reduce_images(x.movedim(1, 3), factor=factor) - other).abs()
    # Two pixels at the border have weights beyond it, which torch leaves out.
    assert difference[:, 2:-2, 2:-2].max() < 1e-6
    assert difference.max() > 1e-3


def test_area_is_the_mean_of_blocks_and_bilinear_without_antialias_of_the_nearest_pixels():
    images = RNG.uniform(size=(2, 8, 12))
    blocks = images.reshape(2, 2, 4, 3, 4)
    np.testing.assert_allclose(noised(DownscaleNoiser(4, kernel="area"), images), blocks.mean((2, 4)))
    nearest = noised(DownscaleNoiser(4, antialias=False, kernel="bilinear"), images)
    np.testing.assert_allclose(nearest, blocks[:, :, 1:3, :, 1:3].mean((2, 4)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "area"])
def test_a_reduction_is_pure_and_keeps_type_and_constant_images(dtype, kernel):
    x = torch.full((2, 6, 9, 4), 0.3).to(dtype)
    before = x.clone()
    small = reduce_images(x, factor=3, kernel=kernel)
    assert (small.dtype, small.shape) == (dtype, (2, 2, 3, 4))
    torch.testing.assert_close(small, x[:, :2, :3])
    assert torch.equal(x, before)


def test_the_smallest_images_and_integers_are_reduced():
    assert noised(DownscaleNoiser(4), np.full((3, 4, 4), 7, np.uint8)).tolist() == [[[7.0]]] * 3
    small = noised(DownscaleNoiser(2), PHOTO[None])
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, noised(DownscaleNoiser(2), PHOTO[None] / 255.0) * 255, atol=1e-3)


def test_a_step_exceeds_black_and_white_by_less_than_a_tenth():
    step = np.zeros((1, 32, 32))
    step[:, :, 15:] = 1
    small = noised(DownscaleNoiser(2), step)
    assert 1 < small.max() < 1.1
    assert -0.1 < small.min() < 0


def test_smaller_images_pass_the_fitted_noiser_as_they_are():
    images = RNG.uniform(size=(4, 8, 12, 3))
    noiser = DownscaleNoiser(2)
    small = np.asarray(noiser.fit_transform(images))
    np.testing.assert_array_equal(noiser.transform(small), small)
    with pytest.raises(ValueError, match="fitted on images"):
        noiser.transform(small[..., :2])
    always = clone(noiser).set_params(apply="always").fit(images)
    np.testing.assert_array_equal(always.transform(images), small)


def test_tensors_come_back_as_tensors():
    images = torch.rand(4, 8, 12, generator=generator())
    with sklearn.config_context(array_api_dispatch=True):
        small = DownscaleNoiser(2, apply="always").fit(images).transform(images)
    assert isinstance(small, torch.Tensor)
    assert small.shape == (4, 4, 6)


# Chains -------------------------------------------------------------------------------------------------

CAMERA = NoiserChain(
    [
        BlurNoiser("defocus", radius=(0.5, 2.0)),
        DownscaleNoiser(2),
        PoissonNoiser((50, 200)),
        GaussianNoiser((0, 0.02), scale="std"),
        JPEGNoiser((60, 95)),
    ]
)


def test_a_chain_in_the_order_of_a_camera_reduces_images_and_carries_the_clean_ones():
    images = np.stack([PHOTO, PHOTO[::-1]]) / 255
    noisy = clone(CAMERA).set_params(random_state=0).fit_transform(images)
    assert noisy.shape == (2, 64, 80, 3)
    assert noisy.dtype == np.float64
    assert (CAMERA.size_factor, CAMERA.noisers[0].size_factor) == (2, 1)
    clean = noised(DownscaleNoiser(2), images)
    assert 0.01 < np.sqrt(np.mean((np.asarray(noisy) - clean) ** 2)) < 0.1
    # The levels of a file
    np.testing.assert_allclose(np.asarray(noisy) * 255, np.round(np.asarray(noisy) * 255), atol=1e-4)
    for one in (noisy, pickle.loads(pickle.dumps(noisy))):
        source = carried_source(one)
        np.testing.assert_array_equal(source.clean, images)
        assert source.describes(one)
        assert source.noiser.size_factor == 2
    np.testing.assert_array_equal(noised(CAMERA, images), noisy)


def test_noise_behind_a_reduction_is_fitted_to_the_reduced_images():
    images = RNG.uniform(size=(6, 8, 12))
    chain = NoiserChain([DownscaleNoiser(2), GaussianNoiser(scale="std")]).fit(images)
    np.testing.assert_allclose(chain.noisers_[1].scale_, noised(DownscaleNoiser(2), images).std(axis=0))
    # ImageDenoiser fits noise to single pixels.
    pixels = images.reshape(-1, 1, 1)
    assert chain.fit(pixels).corrupt(torch.from_numpy(images), generator()).shape == (6, 4, 6)


def test_two_reductions_multiply():
    chain = NoiserChain([DownscaleNoiser(2), NoiserChain([BlurNoiser(), DownscaleNoiser(4)])])
    assert chain.size_factor == 8
    assert noised(chain, np.zeros((1, 16, 24))).shape == (1, 2, 3)


def test_a_choice_has_the_factor_of_its_noisers():
    kernels = NoiserChoice([DownscaleNoiser(2), DownscaleNoiser(2, antialias=False)])
    assert kernels.size_factor == 2
    images = RNG.uniform(size=(40, 8, 8))
    small = noised(kernels, images)
    made = [noised(noiser, images) for noiser in kernels.noisers]
    chosen = [np.isclose(small, one).all(axis=(1, 2)) for one in made]
    assert (chosen[0] ^ chosen[1]).all()
    assert 5 < chosen[0].sum() < 35


def test_a_noiser_of_a_user_may_lack_the_factor_or_have_one():
    class Darker(BaseEstimator):
        def fit(self, X, y=None):
            self.n_features_in_ = 1
            return self

        def corrupt(self, x, generator):
            return x / 2

    class Binning(BaseNoiser):
        size_factor = 2

        def __init__(self, *, apply="fit", random_state=None):
            self.apply = apply
            self.random_state = random_state

        def corrupt(self, x, generator):
            return x[:, ::2, ::2]

    chain = NoiserChain([Binning(), Darker()])
    assert chain.size_factor == 2
    assert noised(chain, np.ones((2, 4, 6))).tolist() == [[[0.5] * 3] * 2] * 2


# Errors -------------------------------------------------------------------------------------------------

ROWS = RNG.uniform(size=(20, 12))
IMAGES = RNG.uniform(size=(20, 10, 12))
WRONG = [
    (BlurNoiser("box"), IMAGES, "kernel must be 'gaussian', 'motion', 'defocus', an array.*got 'box'"),
    (BlurNoiser(3), IMAGES, "'kernel' parameter of BlurNoiser"),
    (BlurNoiser([]), IMAGES, r"kernel must .*got shape \(0,\)"),
    (BlurNoiser(np.ones((2, 3))), IMAGES, r"kernel must have odd sides.*got shape \(2, 3\).*zeros"),
    (BlurNoiser([np.ones(3), np.ones(4)]), IMAGES, "kernel 1 of the list must have odd sides"),
    (BlurNoiser(np.ones((1, 1, 3, 3))), IMAGES, r"got shape \(1, 1, 3, 3\)"),
    (BlurNoiser(np.zeros((3, 3))), IMAGES, "kernel must have a sum above 0"),
    (BlurNoiser([-1, 2, -1]), IMAGES, "kernel must have a sum above 0.*no blur"),
    (BlurNoiser([1.0, np.nan, 1.0]), IMAGES, "kernel must hold finite numbers"),
    (BlurNoiser([["a"]]), IMAGES, "kernel must hold real numbers"),
    (BlurNoiser(sigma=-1), IMAGES, "sigma must be a number of at least 0 and at most 50"),
    (BlurNoiser(sigma=(2, 1)), IMAGES, r"sigma=\(low, high\) needs low <= high"),
    (BlurNoiser(length=np.nan), IMAGES, "length must be a number"),
    (BlurNoiser(radius=1000), IMAGES, "radius must be a number of at least 0 and at most 100"),
    (BlurNoiser(angle=(10, -10)), IMAGES, "angle must be a number of degrees or a pair"),
    (BlurNoiser(angle=np.inf), IMAGES, "angle must be a number of degrees or a pair"),
    (BlurNoiser(angle="left"), IMAGES, "'angle' parameter of BlurNoiser"),
    (BlurNoiser("motion"), ROWS, r"The kernel 'motion' is for images, got rows of shape \(20, 12\)"),
    (BlurNoiser(np.ones((3, 3))), ROWS, r"of 3 rows is for images, got rows"),
    (BlurNoiser(), np.where(IMAGES > 0.9, np.nan, IMAGES), "NaN"),
    (BlurNoiser("motion", length=30.0), IMAGES, "31 x 31 pixels is too large for samples of 10 x 12"),
    (BlurNoiser(np.ones(31)), ROWS, "1 x 31 pixels is too large for samples of 1 x 12"),
    (DownscaleNoiser(1), IMAGES, "factor must be 2, 3 or 4, got 1"),
    (DownscaleNoiser(5), IMAGES, "factor must be 2, 3 or 4, got 5.*NoiserChain"),
    (DownscaleNoiser(True), IMAGES, "factor"),
    (DownscaleNoiser(2.0), IMAGES, "'factor' parameter of DownscaleNoiser"),
    (DownscaleNoiser(kernel="nearest"), IMAGES, "'kernel' parameter of DownscaleNoiser"),
    (DownscaleNoiser(kernel="area", antialias=False), IMAGES, "needs antialias=True"),
    (DownscaleNoiser(), ROWS, r"DownscaleNoiser is for images, got rows of shape \(20, 12\).*reshape"),
    (DownscaleNoiser(3), IMAGES, r"Images of 10 x 12 pixels cannot be reduced by a factor of 3.*Crop them"),
    (DownscaleNoiser(), np.zeros((3, 3, 8, 8)), r"seems to be \(channels, height, width\)"),
    (NoiserChoice([DownscaleNoiser(2), BlurNoiser()]), IMAGES, r"need one size_factor.*got \[2, 1\]"),
    (
        RegionNoiser(DownscaleNoiser(2)),
        IMAGES,
        "reduces images to 1/2 of their sides, and Region",
    ),
]


@pytest.mark.parametrize(("noiser", "X", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_parameters_and_layouts_are_refused(noiser, X, message):
    with pytest.raises(ValueError, match=message):
        noiser.fit_transform(X)


def test_noise_that_reduces_images_is_refused_where_both_sides_have_one_size():
    images, reducing = RNG.uniform(size=(12, 16, 16)), NoiserChain([BlurNoiser(), DownscaleNoiser(2)])
    median = MedianDenoiser().fit(images)
    calls = {
        "DenoisingDisplay": lambda: DenoisingDisplay.from_estimator(median, images, noiser=reducing),
        "noise, the noise in samples,": lambda: WienerMixtureDenoiser(noise=reducing).fit(images),
        "the noise in an image": lambda: denoise_image(images[0], noise=reducing),
    }
    for caller, call in calls.items():
        with pytest.raises(ValueError, match=rf"reduces images to 1/2.*and ({caller}) needs"):
            call()
    # An estimator of images of one size refuses the noisy ones.
    with pytest.raises(ValueError, match=r"fitted on samples of shape \(16, 16\), X holds samples of"):
        make_denoising_scorer(reducing)(median, images)


def test_a_blur_is_refused_as_the_noise_that_is_in_samples():
    images = RNG.uniform(size=(12, 16, 16))
    with pytest.raises(ValueError, match=r"BlurNoiser\(\) adds nothing that the noise in an image could be"):
        denoise_image(images[0], noise=BlurNoiser())
    with pytest.raises(ValueError, match=r"BlurNoiser\(\) adds nothing.*ImageDenoiser"):
        DenoisingAutoencoder(objective="recorrupt", noise=BlurNoiser()).fit(images)


# Training -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noiser", [BLURS[1], NoiserChain([BLURS[0], GaussianNoiser(0.02), JPEGNoiser(80)])])
def test_an_image_denoiser_trains_on_blurred_patches(noiser):
    photos = [PHOTO[:40, :48] / 255, PHOTO[40:, :50] / 255]
    network = FoldedUNetNetwork((8, 8), blocks=(1, 1))
    denoiser = ImageDenoiser(network, noise=noiser, patch_size=16, max_epochs=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        denoiser.fit(photos)
    assert denoiser.predict(photos)[1].shape == photos[1].shape
    with pytest.raises(ValueError, match=r"too large for samples of 8 x 8 pixels.*patch_size"):
        clone(denoiser).set_params(noise=BlurNoiser("motion"), patch_size=8).set_params(
            noise__length=40.0
        ).fit(photos)


def peaks(n, seed):
    """Return synthetic spectra of narrow peaks, (n, 64)."""
    rng = np.random.default_rng(seed)
    places, heights = rng.uniform(5, 59, size=(n, 3, 1)), rng.uniform(0.3, 1, size=(n, 3, 1))
    return (heights * np.exp(-0.5 * ((np.arange(64) - places) / 1.0) ** 2)).sum(axis=1)


@pytest.mark.slow
def test_an_autoencoder_learns_to_deconvolve_spectra():
    clean, test = peaks(1000, 0), peaks(200, 1)
    noise = NoiserChain([BlurNoiser(sigma=2.0), GaussianNoiser(0.01)])
    dae = DenoisingAutoencoder("dense", latent_dim=24, noise=noise, max_epochs=20, random_state=0).fit(clean)
    blurred = noised(noise, test, seed=1)
    before, after = (np.mean((rows - test) ** 2) for rows in (blurred, dae.predict(blurred)))
    assert after < 0.5 * before
    pipeline = make_pipeline(noise, DenoisingAutoencoder("dense", max_epochs=1, random_state=0))
    assert pipeline.fit(clean)[-1].target_source_ == "noiser"


def test_a_signal_denoiser_takes_a_blur_along_time():
    signals = peaks(40, 0)
    denoiser = SignalDenoiser(
        SignalUNetNetwork((8, 8)), noise=BlurNoiser([1, 2, 3, 2, 1]), max_epochs=1, random_state=0
    )
    assert denoiser.fit(signals).predict(signals).shape == signals.shape


def test_reduced_images_that_lost_their_source_count_as_clean_with_a_warning_or_none():
    images = RNG.uniform(size=(30, 8, 8))
    small = DownscaleNoiser(2, random_state=0).fit_transform(images)
    with pytest.warns(UserWarning, match="lost its clean source"):
        DenoisingAutoencoder(max_epochs=1, random_state=0).fit(np.asarray(small))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Other data, of as many samples, are compared with the latest outputs.
        GaussianNoiser(0.1).fit(np.random.default_rng(5).uniform(size=(30, 8, 8)))
        GaussianNoiser(0.1).fit(images)
