"""compare_restorers: methods, images, numbers, and errors."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer

from sk_denoise import (
    BicubicEnlarger,
    DenoisingAutoencoder,
    GaussianNoiser,
    MaskingNoiser,
    MedianDenoiser,
    NonLocalMeansDenoiser,
    PixelNoiser,
    PoissonNoiser,
    SwapNoiser,
    WienerDenoiser,
    compare_restorers,
    make_denoising_scorer,
)
from sk_denoise.datasets import load_images
from sk_denoise.metrics import mse, psnr, ssim
from sk_denoise.restoration import denoise_image

NOISE = GaussianNoiser(0.1, random_state=0)
SIZES = [(40, 48), (52, 30), (40, 48)]


@pytest.fixture(scope="module")
def stack():
    return np.stack([photo[100:140, 100:148] for photo in load_images("gray").test[:3]])


@pytest.fixture(scope="module")
def colours():
    return [
        photo[100 : 100 + height, 100 : 100 + width]
        for photo, (height, width) in zip(load_images().test, SIZES, strict=True)
    ]


class Recorder(BaseEstimator):
    """Denoiser that returns its input and keeps it."""

    def predict(self, X):
        self.input_ = X
        return X


def blur(image):
    return gaussian_filter(image, (1, 1, 0)[: image.ndim])


def repeat(image):
    return image.repeat(2, axis=0).repeat(2, axis=1)


def value(table, metric, method, noise):
    return table.set_index(["method", "noise"]).loc[(method, noise), metric]


# The table ------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_noise_and_method_in_the_order_given(stack):
    noises = {"strong": GaussianNoiser(0.3), "a bit": GaussianNoiser(0.1)}
    table = compare_restorers({"median": MedianDenoiser().fit(stack), "blur": blur}, stack, noises)
    assert table.columns.to_list() == ["method", "noise", "psnr", "ssim", "seconds"]
    assert list(zip(table["noise"], table["method"], strict=True)) == [
        (noise, method) for noise in noises for method in ("noisy", "median", "blur")
    ]
    wide = table.pivot(index="method", columns="noise", values="psnr")
    assert wide.index.to_list() == ["noisy", "median", "blur"]
    assert wide.columns.to_list() == ["strong", "a bit"]
    assert (table.loc[table["method"] != "noisy", "seconds"] > 0).all()
    assert (table.loc[table["method"] == "noisy", "seconds"] == 0).all()


def test_the_numbers_are_those_of_the_metrics_by_hand(stack):
    noisy = (stack + np.random.default_rng(0).normal(0, 0.1, stack.shape)).astype(np.float32)
    median = MedianDenoiser().fit(stack)
    table = compare_restorers(
        {"median": median, "blur": blur},
        stack,
        {"given": noisy},
        metrics=("psnr", "ssim", "mse"),
        data_range=1,
    )
    outputs = {"noisy": noisy, "median": median.predict(noisy), "blur": np.stack([blur(x) for x in noisy])}
    for method, output in outputs.items():
        assert value(table, "psnr", method, "given") == psnr(stack, output, data_range=1)
        assert value(table, "ssim", method, "given") == ssim(stack, output, data_range=1)
        assert value(table, "mse", method, "given") == mse(stack, output)


def test_images_of_different_sizes_count_alike_and_share_a_range(colours):
    noisy = [x + np.float32(0.1) * np.random.default_rng(0).normal(size=x.shape) for x in colours]
    recorder = Recorder()
    table = compare_restorers({"recorder": recorder, "blur": blur}, colours, noisy)
    assert [x.shape for x in recorder.input_] == [(*size, 3) for size in SIZES]
    data_range = max(x.max() for x in colours) - min(x.min() for x in colours)
    pairs = list(zip(colours, noisy, strict=True))
    for metric in (psnr, ssim):
        each = [metric(t[None], blur(x)[None], data_range=data_range) for t, x in pairs]
        assert value(table, metric.__name__, "blur", "given") == pytest.approx(np.mean(each))


def test_the_numbers_are_those_of_the_scorer_of_searches(digits):
    wiener = WienerDenoiser().fit(digits.train)
    noise = GaussianNoiser(0.25, random_state=3)
    table = compare_restorers([wiener], digits.test, noise, data_range=1)
    assert table.columns.to_list() == ["method", "noise", "psnr", "seconds"]  # rows are no images
    expected = make_denoising_scorer(noise, data_range=1)(wiener, digits.test)
    assert value(table, "psnr", "wienerdenoiser", "gaussiannoiser") == pytest.approx(expected)


# The same images for all methods --------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", ["one", "several"])
def test_every_method_receives_the_same_noise_in_its_own_copy(stack, colours, sizes):
    clean = stack if sizes == "one" else colours
    before = [x.copy() for x in clean]
    first, last = Recorder(), Recorder()

    def overwrite(image):
        image[...] = 0
        return image

    class OverwritingEstimator(Recorder):
        def predict(self, X):
            return [overwrite(x) for x in X]

    methods = {
        "first": first,
        "overwrite": overwrite,
        "other overwrite": OverwritingEstimator(),
        "last": last,
    }
    table = compare_restorers(methods, clean, {"given": [x + 0.1 for x in clean], "drawn": NOISE})
    for one, other in zip(first.input_, last.input_, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(clean, before, strict=True):
        np.testing.assert_array_equal(one, other)
    for noise in ("given", "drawn"):
        assert value(table, "psnr", "first", noise) == value(table, "psnr", "noisy", noise)
        assert value(table, "psnr", "last", noise) == value(table, "psnr", "noisy", noise)


@pytest.mark.parametrize("noise", [NOISE, GaussianNoiser(0.1), PixelNoiser(0.2, apply="always")])
def test_numbers_are_the_same_the_next_time(stack, colours, noise):
    for clean in (stack, colours):
        one, other = (compare_restorers([blur], clean, noise).drop(columns="seconds") for _ in range(2))
        pd.testing.assert_frame_equal(one, other)


def test_images_of_different_sizes_have_different_noise_with_statistics_of_all_pixels(colours):
    same = [colours[0], colours[1], colours[0]]
    recorder = Recorder()
    relative = GaussianNoiser(0.5, scale="std")
    compare_restorers([recorder], same, relative)
    noise = [noisy - clean for noisy, clean in zip(recorder.input_, same, strict=True)]
    assert not np.array_equal(noise[0], noise[2])
    expected = 0.5 * np.concatenate([x.reshape(-1, 3) for x in same]).std(axis=0)
    for drawn in noise:
        np.testing.assert_allclose(drawn.std(axis=(0, 1)), expected, rtol=0.05)
    compare_restorers([recorder], colours, MaskingNoiser(0.3, fill="mean"))
    assert len(np.unique(recorder.input_[1] - colours[1])) > 100
    with pytest.raises(ValueError, match="takes values from other samples"):
        compare_restorers([recorder], colours, SwapNoiser())


# Methods --------------------------------------------------------------------------------------------------


def test_methods_in_a_list_are_named_by_function_or_class(stack):
    filters = [MedianDenoiser(size).fit(stack) for size in (3, 5)]
    table = compare_restorers([*filters, blur, partial(gaussian_filter, sigma=1), "gray"], stack, [NOISE])
    assert table["method"].to_list() == [
        "noisy",
        "mediandenoiser-1",
        "mediandenoiser-2",
        "blur",
        "gaussian_filter",
        "gray",
    ]
    table = compare_restorers(blur, stack, [NOISE, NOISE])
    assert list(table["noise"].unique()) == ["gaussiannoiser-1", "gaussiannoiser-2"]


def test_a_name_is_that_of_a_pretrained_model(stack):
    methods = {"by name": "gray", "by hand": denoise_image, "with sigma": partial(denoise_image, sigma=0.1)}
    table = compare_restorers(methods, stack, {"noise": NOISE}, metrics="psnr", data_range=1)
    decibels = dict(zip(table["method"], table["psnr"], strict=True))
    assert decibels["by name"] == decibels["by hand"]
    assert decibels["with sigma"] > decibels["noisy"] + 3


def test_a_method_may_differ_from_noise_to_noise(stack):
    noises = {"weak": GaussianNoiser(0.05), "strong": GaussianNoiser(0.3)}
    by_noise = {"weak": partial(denoise_image, sigma=0.05), "strong": MedianDenoiser(5).fit(stack)}
    table = compare_restorers(
        {"both": by_noise, "median": by_noise["strong"], "net": by_noise["weak"]}, stack, noises
    )
    wide = table.pivot(index="noise", columns="method", values="psnr")
    assert wide.loc["weak", "both"] == wide.loc["weak", "net"]
    assert wide.loc["strong", "both"] == wide.loc["strong", "median"]
    with pytest.raises(ValueError, match="Method 'both' is a dict without 'strong'"):
        compare_restorers({"both": {"weak": blur}}, stack, noises)


def test_pipelines_predict_in_the_unit_of_the_images(digits):
    plain = WienerDenoiser().fit(digits.train)
    steps = [MinMaxScaler((0, 100)), "passthrough", GaussianNoiser(25.0), WienerDenoiser()]
    methods = {"plain": plain, "scaled": make_pipeline(*steps).fit(digits.train)}
    table = compare_restorers(methods, digits.test, {"noise": GaussianNoiser(0.25)}, data_range=1)
    noisy, plain, scaled = table["psnr"]
    assert scaled == pytest.approx(plain, abs=1)
    assert scaled > noisy + 2
    projected = make_pipeline(PCA(20, random_state=0), WienerDenoiser()).fit(digits.train)
    table = compare_restorers([projected], digits.test, GaussianNoiser(0.25), data_range=1)
    assert table["psnr"][1] > table["psnr"][0] + 2


def test_a_denoiser_inside_a_pipeline_keeps_the_unit(stack):
    twice = make_pipeline(MedianDenoiser(), NonLocalMeansDenoiser()).fit(stack)
    table = compare_restorers([twice], stack, NOISE, metrics="psnr")
    assert table["psnr"][1] > table["psnr"][0]


def test_a_step_without_inverse_transform_is_named(digits):
    pipe = Pipeline([("norm", Normalizer()), ("wiener", WienerDenoiser())]).fit(digits.train)
    with pytest.raises(ValueError, match="The step 'norm' of the pipeline changes the data") as caught:
        compare_restorers({"pipe": pipe}, digits.test, {"noise": NOISE})
    assert caught.value.__notes__ == ["Method 'pipe' under noise 'noise', in compare_restorers."]


# Images ---------------------------------------------------------------------------------------------------


def test_flat_rows_may_be_images(digits):
    rows, shape = digits.test[:50], (8, 8)
    recorder, shapes = Recorder(), []

    def record_shape(image):
        shapes.append(image.shape)
        return image

    table = compare_restorers([recorder, record_shape], rows, NOISE, image_shape=shape)
    assert recorder.input_.shape == (50, 64)
    assert set(shapes) == {shape}
    assert table["psnr"].nunique() == table["ssim"].nunique() == 1
    stacks = compare_restorers([record_shape], rows.reshape(-1, 8, 8), NOISE)
    assert stacks["ssim"][0] == pytest.approx(table["ssim"][0])


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_keep_their_names_on_the_way_to_estimators(digits, frame):
    columns = [f"pixel{i}" for i in range(64)]
    train, test = (frame(dict(zip(columns, x.T, strict=True))) for x in (digits.train, digits.test))
    wiener = WienerDenoiser().fit(train)
    recorder = Recorder()
    table = compare_restorers([wiener, recorder, np.copy], test, NOISE, data_range=1)
    assert isinstance(recorder.input_, frame)
    arrays = compare_restorers([WienerDenoiser().fit(digits.train)], digits.test, NOISE, data_range=1)
    np.testing.assert_allclose(table["psnr"][:2], arrays["psnr"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integer_images_stay_integers_and_are_clipped(stack, dtype):
    white = np.iinfo(dtype).max
    clean = (stack * white).round().astype(dtype)
    recorder = Recorder()
    methods = {"recorder": recorder, "gray": "gray", "median": MedianDenoiser().fit(clean)}
    table = compare_restorers(methods, clean, {"noise": GaussianNoiser(0.2 * white)})
    assert recorder.input_.dtype == dtype
    assert {recorder.input_.min(), recorder.input_.max()} == {0, white}
    assert value(table, "psnr", "noisy", "noise") == psnr(clean, recorder.input_, data_range=white)
    assert value(table, "psnr", "gray", "noise") > value(table, "psnr", "median", "noise") + 2


def test_wider_integers_become_floats(digits):
    rows = (16 * digits.test[:50]).astype(np.int64)
    recorder = Recorder()
    compare_restorers([recorder], rows, GaussianNoiser(1.0))
    assert recorder.input_.dtype == np.float32
    assert recorder.input_.min() < 0


def test_noise_on_floats_is_not_clipped_unless_the_noiser_does(stack):
    recorder = Recorder()
    compare_restorers([recorder], stack, GaussianNoiser(0.5))
    assert recorder.input_.min() < 0
    compare_restorers([recorder], stack, GaussianNoiser(0.5, clip=(0, 1)))
    assert recorder.input_.min() == 0


# Errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [MedianDenoiser(), make_pipeline(MedianDenoiser()), DenoisingAutoencoder()],
    ids=lambda method: type(method).__name__,
)
def test_nothing_is_trained(stack, method):
    received = []
    with pytest.raises(NotFittedError, match="Method 'new' is not fitted, and a comparison trains nothing"):
        compare_restorers({"recorder": received.append, "new": {"noise": method}}, stack, {"noise": NOISE})
    assert received == []


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda x: x[1:], r"gave float32 of shape \(39, 48\) for image 0, which has the shape \(40, 48\)"),
        (lambda x: x * np.nan, "gave NaN or infinity for image 0"),
        (lambda x: None, "gave object of shape"),
        (lambda x: x.astype(complex), "gave complex"),
    ],
)
def test_an_invalid_output_is_refused_with_the_name_of_its_method(stack, method, message):
    with pytest.raises(ValueError, match=rf"Method 'odd' under noise 'some' {message}"):
        compare_restorers({"odd": method}, stack, {"some": NOISE})


def test_an_estimator_with_too_few_outputs_is_refused(stack):
    class Lazy(Recorder):
        def predict(self, X):
            return X[:2]

    with pytest.raises(ValueError, match="Method 'lazy' under noise 'some' gave 2 outputs for 3 images"):
        compare_restorers({"lazy": Lazy()}, stack, {"some": NOISE})


def test_an_output_in_another_unit_than_integers_is_refused(stack):
    from skimage.restoration import denoise_tv_chambolle

    clean = (stack * 255).astype(np.uint8)
    with pytest.raises(ValueError, match=r"'denoise_tv_chambolle'.*gave values in \[0, 1\] for uint8"):
        compare_restorers([denoise_tv_chambolle], clean, GaussianNoiser(20.0))


def test_an_error_of_a_method_stays_and_gets_a_note(stack):
    def fail(image):
        raise ZeroDivisionError("test")

    with pytest.raises(ZeroDivisionError, match="test") as caught:
        compare_restorers({"fails": fail}, stack, {"some": NOISE})
    assert caught.value.__notes__ == ["Method 'fails' under noise 'some', in compare_restorers."]


def test_invalid_methods_are_refused(stack):
    with pytest.raises(TypeError, match=r"Method 'x' must be a fitted estimator.*got 3"):
        compare_restorers({"x": 3}, stack, NOISE)
    with pytest.raises(TypeError, match=r"Did you mean MedianDenoiser\(\), fitted\?"):
        compare_restorers({"x": MedianDenoiser}, stack, NOISE)
    with pytest.raises(ValueError, match=r"Unknown model 'grey'. Did you mean 'gray'"):
        compare_restorers({"x": "grey"}, stack, NOISE)
    with pytest.raises(ValueError, match="cannot be called 'noisy'"):
        compare_restorers({"noisy": blur}, stack, NOISE)
    with pytest.raises(ValueError, match="methods is empty"):
        compare_restorers({}, stack, NOISE)
    always = make_pipeline(GaussianNoiser(0.1, apply="always"), MedianDenoiser()).fit(stack)
    with pytest.raises(ValueError, match='Give that one apply="fit"'):
        compare_restorers([always], stack, NOISE)


def test_invalid_noises_are_refused(stack):
    with pytest.raises(TypeError, match=r"Expected a noiser.*Did you mean GaussianNoiser\(\)"):
        compare_restorers([blur], stack, GaussianNoiser)
    with pytest.raises(TypeError, match=r"Expected a noiser.*got 0.1"):
        compare_restorers([blur], stack, {"weak": 0.1})
    with pytest.raises(ValueError, match="noises is empty"):
        compare_restorers([blur], stack, {})
    with pytest.raises(ValueError, match=r"Noise 'x' must be .* each of the 3 images.*got 2, the first"):
        compare_restorers([blur], stack, {"x": stack[:2]})
    with pytest.raises(ValueError, match="Noise 'x' holds uint8 and images float32: give both in one unit"):
        compare_restorers([blur], stack, {"x": (255 * stack).astype(np.uint8)})
    with pytest.raises(ValueError, match=r"noises\['x'\] contains NaN"):
        compare_restorers([blur], stack, {"x": stack * np.nan})


def test_invalid_images_are_refused(stack, colours):
    with pytest.raises(ValueError, match=r"images has shape \(40,\), expected"):
        compare_restorers([blur], stack[0, :, 0], NOISE)
    with pytest.raises(ValueError, match=r"of one type and number of channels; got float32 of shape"):
        compare_restorers([blur], [stack[0], colours[1]], NOISE)
    with pytest.raises(ValueError, match=r"of one type .* uint8 of shape \(52, 30, 3\)"):
        compare_restorers([blur], [colours[0], (255 * colours[1]).astype(np.uint8)], NOISE)
    with pytest.raises(ValueError, match=r"images\[1\] contains NaN"):
        compare_restorers([blur], [colours[0], colours[1] * np.nan], NOISE)
    with pytest.raises(ValueError, match=r"image_shape=\(8, 8\) does not fit samples of shape \(40, 48\)"):
        compare_restorers([blur], stack, NOISE, image_shape=(8, 8))
    with pytest.raises(ValueError, match="0 sample"):
        compare_restorers([blur], stack[:0], NOISE)


def test_metrics_are_chosen_by_name_and_before_anything_is_denoised(stack):
    table = compare_restorers([blur], stack, NOISE, metrics="nmse")
    assert table.columns.to_list() == ["method", "noise", "nmse", "seconds"]
    with pytest.raises(ValueError, match=r"Unknown metric 'psrn'. Did you mean 'psnr'"):
        compare_restorers([blur], stack, NOISE, metrics=["psrn"])
    with pytest.raises(ValueError, match="data_range must be a finite number above 0"):
        compare_restorers([blur], stack, NOISE, data_range=0)
    tiny = compare_restorers([np.copy], stack[:, :2, :2], NOISE)
    assert "ssim" not in tiny


def test_poisson_noise_has_one_white_for_all_images(colours):
    dark = [colours[0], colours[1] / 10]
    recorder = Recorder()
    compare_restorers([recorder], dark, PoissonNoiser(30))
    steps = [np.diff(np.unique(x.astype(np.float64))).min() for x in recorder.input_]
    np.testing.assert_allclose(steps, max(x.max() for x in dark) / 30, rtol=1e-3)


# Noise that reduces images ---------------------------------------------------------------------------------


class BlockMean(GaussianNoiser):
    """Noise that averages blocks of 2 x 2 pixels."""

    size_factor = 2

    def corrupt(self, x, generator):
        small = super().corrupt(x, generator)
        return (small[:, ::2, ::2] + small[:, 1::2, ::2] + small[:, ::2, 1::2] + small[:, 1::2, 1::2]) / 4


def test_images_that_noise_reduces_are_compared_in_the_size_of_the_clean_ones(stack, colours):
    for images in (stack, colours):
        enlarger = BicubicEnlarger(2).fit(images)
        noises = {"small": BlockMean(0.01), "same": NOISE}
        methods = {
            "bicubic": {"small": enlarger, "same": np.copy},
            "nearest": {"small": repeat, "same": blur},
        }
        table = compare_restorers(methods, images, noises, data_range=1)
        assert table.columns.to_list() == ["method", "noise", "psnr", "luminance_psnr", "ssim", "seconds"]
        assert table.loc[table.method == "noisy", "psnr"].isna().to_list() == [True, False]
        values = table.set_index(["noise", "method"]).loc["small"]
        assert values.loc["bicubic", "psnr"] > values.loc["nearest", "psnr"]
        # Without the border, and in luminance of 219 levels for colours
        assert values.loc["bicubic", "luminance_psnr"] != values.loc["bicubic", "psnr"]


def test_the_luminance_psnr_leaves_out_a_border_of_the_factor(stack):
    small = stack.reshape(3, 20, 2, 24, 2).mean(axis=(2, 4))
    restored = BicubicEnlarger(2).fit(small).predict(small)
    table = compare_restorers({"bicubic": lambda x: restored[0]}, stack[:1], small[:1], data_range=1)
    expected = psnr(stack[:1, 2:-2, 2:-2], restored[:1, 2:-2, 2:-2], data_range=1)
    assert table["luminance_psnr"][1] == pytest.approx(expected)
    assert table["ssim"][1] == pytest.approx(ssim(stack[:1], restored[:1], data_range=1))


def test_an_output_of_the_reduced_size_is_refused(stack):
    with pytest.raises(ValueError, match=r"\(20, 24\): expected numbers of the clean shape \(40, 48\)"):
        compare_restorers([blur], stack, BlockMean(0.01))
    with pytest.raises(ValueError, match="of their size or a whole fraction of it"):
        compare_restorers([blur], stack, {"odd": stack[:, :20, :20]})


def test_a_search_scores_enlargers_on_images_that_its_noise_reduces(stack):
    scorer = make_denoising_scorer(BlockMean(0.01), "luminance_psnr", data_range=1)
    score = scorer(BicubicEnlarger(2).fit(stack), stack)
    table = compare_restorers([BicubicEnlarger(2).fit(stack)], stack, BlockMean(0.01), data_range=1)
    assert score == pytest.approx(table["luminance_psnr"][1], abs=0.01)


# Dependencies ---------------------------------------------------------------------------------------------


def test_without_pandas_the_error_names_the_extra(stack, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'compare_restorers needs pandas.*"sk-denoise\[compare\]"'):
        compare_restorers([blur], stack, NOISE)


@pytest.mark.slow
def test_importing_it_needs_no_pandas():
    code = "import sys; sys.modules['pandas'] = None; from sk_denoise import compare_restorers"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_image_denoiser_takes_images_of_different_sizes(colours):
    from sk_denoise.restoration import load_pretrained

    methods = {"estimator": load_pretrained("rgb"), "name": "auto"}
    table = compare_restorers(methods, colours, GaussianNoiser(0.1), data_range=1)
    one, other = table.set_index("method").loc[["estimator", "name"], "psnr"]
    assert one == pytest.approx(other, abs=0.05)  # the one in single precision, the other perhaps in half
    assert one > table["psnr"][0] + 3
