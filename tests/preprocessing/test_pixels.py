"""Common tests of both transformers, then tests of each."""

from __future__ import annotations

import pickle
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from sk_denoise.preprocessing import Centerer, PixelScaler

TRANSFORMERS = {
    "scaler": PixelScaler(),
    "scaler, range": PixelScaler((-3.0, 250.5), clip=False),
    "centerer": Centerer(),
    "centerer, global": Centerer("global"),
}
SHORT_INTEGERS = [np.uint8, np.int8, np.uint16, np.int16, ">u2"]

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 3, size=(30, 6))
STACK = RNG.integers(0, 256, size=(20, 5, 4, 3), dtype=np.uint8)


@pytest.fixture(params=TRANSFORMERS.values(), ids=TRANSFORMERS)
def transformer(request):
    return clone(request.param)


def every_value(dtype) -> np.ndarray:
    """Return images that hold each value of a type of integers once."""
    info = np.iinfo(dtype)
    return np.arange(info.min, info.max + 1).astype(dtype).reshape(4, 8, 2, -1)


def there_and_back(transformer, data: np.ndarray) -> np.ndarray:
    return transformer.inverse_transform(transformer.fit_transform(data))


# Both ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", SHORT_INTEGERS)
@pytest.mark.parametrize(
    "transformer",
    [
        PixelScaler(),
        PixelScaler((-70_000, 70_000.5)),
        PixelScaler((0, 3), clip=False),
        Centerer(),
        Centerer("global"),
        make_pipeline(Centerer(), PixelScaler()),
        make_pipeline(PixelScaler(), Centerer()),
        make_pipeline(PixelScaler(), Centerer("global")),
    ],
    ids=str,
)
def test_every_8_and_16_bit_integer_comes_back(transformer, dtype):
    data = every_value(dtype)
    transformer = clone(transformer)
    back = there_and_back(transformer, data)
    assert back.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(back, data)
    double = transformer.transform(data).astype(np.float64)
    np.testing.assert_array_equal(transformer.inverse_transform(double), data)


@pytest.mark.parametrize("dtype", SHORT_INTEGERS)
@pytest.mark.parametrize("share", [0.5, 0.01, 0])
@pytest.mark.parametrize("per", ["channel", "global"])
@pytest.mark.parametrize("centerer_first", [True, False])
def test_integers_beyond_those_of_fit_come_back(dtype, share, per, centerer_first):
    data = every_value(dtype)
    middle = np.array(share * data.astype(float) + 3, dtype)
    steps = [Centerer(per), PixelScaler()]
    pipeline = make_pipeline(*(steps if centerer_first else steps[::-1])).fit(middle)
    np.testing.assert_array_equal(pipeline.inverse_transform(pipeline.transform(data)), data)


def test_16_bits_beyond_the_middle_of_their_range_come_back():
    data = np.arange(2**16, dtype=np.uint16).reshape(-1, 1)
    pipeline = make_pipeline(Centerer(), PixelScaler()).fit(data[30_000:36_000])
    np.testing.assert_array_equal(pipeline.inverse_transform(pipeline.transform(data)), data)


@pytest.mark.parametrize("mean", [0.1, 127.49, 254.99999, 32767.5, 65534.7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_integer_comes_back_for_any_mean(dtype, mean):
    data = every_value(dtype)
    centerer = Centerer("global").fit(data)
    centerer.mean_ = np.array(mean)
    np.testing.assert_array_equal(centerer.inverse_transform(centerer.transform(data)), data)


def test_booleans_come_back(transformer):
    data = RNG.uniform(size=(10, 3, 3)) > 0.3
    back = there_and_back(transformer, data)
    assert back.dtype == bool
    np.testing.assert_array_equal(back, data)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
def test_wide_integers_come_back_up_to_50_bits(dtype):
    largest = min(np.iinfo(dtype).max, 2**50)
    smallest = max(np.iinfo(dtype).min, -(2**50))
    data = np.array([[smallest, 0, 12_345_677], [2**31 - 1, largest - 1, largest]], dtype=dtype)
    for transformer in (PixelScaler(), Centerer("global")):
        assert transformer.fit_transform(data).dtype == np.float64
        np.testing.assert_array_equal(there_and_back(transformer, data), data)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_the_widest_integers_stay_inside_their_type(dtype):
    info = np.iinfo(dtype)
    data = np.array([[info.min, 0, info.max]], dtype=dtype)
    back = there_and_back(PixelScaler(clip=False), data)
    np.testing.assert_allclose(back.astype(float), data.astype(float), rtol=1e-15)


@pytest.mark.parametrize(
    ("came", "transformed", "back"),
    [
        (np.float64, np.float64, np.float64),
        (np.float32, np.float32, np.float32),
        (np.float16, np.float32, np.float32),
        (np.uint8, np.float32, np.uint8),
        (np.int16, np.float32, np.int16),
        (np.int32, np.float64, np.int32),
        (np.longdouble, np.float64, np.float64),
    ],
)
def test_types_of_outputs(transformer, came, transformed, back):
    data = (X * 10).astype(came)
    out = transformer.fit_transform(data)
    assert out.dtype == transformed
    assert transformer.inverse_transform(out).dtype == back
    assert transformer.dtype_ == back


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_come_back_to_rounding(transformer, dtype):
    data = X.astype(dtype)
    np.testing.assert_allclose(
        there_and_back(transformer, data), data, rtol=0, atol=300 * np.finfo(dtype).eps
    )


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [PixelScaler, Centerer])
def test_constant_data_become_zero_and_come_back(kind, dtype, value):
    data = np.full((7, 3), value, dtype=dtype)
    transformer = kind()
    assert np.abs(transformer.fit_transform(data)).max() <= abs(value) * 1e-15
    np.testing.assert_allclose(there_and_back(transformer, data), data, rtol=1e-15)


@pytest.mark.parametrize("shape", [(12, 6), (12, 5, 4), (12, 5, 4, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_and_stacks_come_back_and_nothing_is_written_to(transformer, shape, order):
    data = np.asarray(RNG.integers(0, 200, size=shape, dtype=np.uint8), order=order)
    before = data.copy()
    out = transformer.fit_transform(data)
    kept = out.copy()
    np.testing.assert_array_equal(transformer.inverse_transform(out), before)
    np.testing.assert_array_equal(data, before)
    np.testing.assert_array_equal(out, kept)
    np.testing.assert_array_equal(out, transformer.fit_transform(np.ascontiguousarray(data)))


def test_overshoots_are_clipped_to_the_type(transformer):
    transformer.fit(STACK)
    low, high = (np.full((1, 5, 4, 3), value, dtype=np.float32) for value in (-1e6, 1e6))
    assert (transformer.inverse_transform(low) == 0).all()
    assert (transformer.inverse_transform(high) >= 250).all()


def test_frames_keep_names_and_index(transformer):
    frame = pd.DataFrame(X, columns=list("abcdef"), index=range(100, 130))
    out = clone(transformer).set_output(transform="pandas").fit(frame).transform(frame)
    assert list(out.columns) == list(frame.columns)
    assert list(out.index) == list(frame.index)
    assert list(transformer.fit(frame).feature_names_in_) == list("abcdef")
    assert list(transformer.get_feature_names_out()) == list("abcdef")
    np.testing.assert_array_equal(transformer.transform(frame), out)
    np.testing.assert_allclose(transformer.inverse_transform(out), X, atol=1e-12)
    assert isinstance(
        clone(transformer).set_output(transform="polars").fit_transform(pl.DataFrame(X)), pl.DataFrame
    )


def test_the_inverse_needs_no_feature_names(transformer):
    frame = pd.DataFrame(X, columns=list("abcdef"))
    out = np.asarray(transformer.fit_transform(frame))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transformer.inverse_transform(out)


def test_a_fitted_one_can_be_saved_and_cloned(transformer):
    out = transformer.fit_transform(STACK)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(transformer)).transform(STACK), out)
    assert not hasattr(clone(transformer), "dtype_")


def test_before_fit_it_raises_not_fitted_error(transformer):
    for method in (transformer.transform, transformer.inverse_transform):
        with pytest.raises(NotFittedError):
            method(X)


@pytest.mark.parametrize("method", ["fit", "transform", "inverse_transform"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error(transformer, method, value):
    bad = X.copy()
    bad[2, 3] = value
    transformer.fit(X)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        getattr(transformer, method)(bad)


@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
@pytest.mark.parametrize("shape", [(20, 5, 4), (20, 4, 5, 3), (20, 60), (5, 4, 3)])
def test_samples_of_another_shape_are_an_error(transformer, method, shape):
    transformer.fit(STACK)
    with pytest.raises(ValueError, match=r"shape|Reshape|dimension"):
        getattr(transformer, method)(np.zeros(shape))


def test_the_error_of_the_inverse_has_the_shape(transformer):
    transformer.fit(STACK)
    with pytest.raises(ValueError, match=r"samples of shape \(60,\).*Reshape X to \(n_samples, 5, 4, 3\)"):
        transformer.inverse_transform(np.zeros((20, 60)))


# PixelScaler ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", SHORT_INTEGERS)
def test_the_range_of_short_integers_is_that_of_their_bits(dtype):
    info, is_byte = np.iinfo(dtype), np.dtype(dtype).itemsize == 1
    low, high = (info.min, info.max) if is_byte else (0, 4095)
    scaler = PixelScaler().fit(np.array([[3, 5]] if is_byte else [[3, 2000, 2000]], dtype=dtype))
    assert scaler.range_ == (low, high)
    ends = np.array([[low, high]] if is_byte else [[low, high, high]], dtype=dtype)
    np.testing.assert_array_equal(scaler.transform(ends)[:, :2], [[0, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_other_ranges_are_those_of_the_training_data(dtype):
    data = np.array([[-2, 1], [6, 2]], dtype=dtype)
    scaler = PixelScaler().fit(data)
    assert scaler.range_ == (-2, 6)
    np.testing.assert_array_equal(scaler.transform(data), [[0, 0.375], [1, 0.5]])


def test_a_range_can_be_declared():
    scaler = PixelScaler((0, 4095)).fit(np.array([[5, 7]], dtype=np.uint16))
    assert scaler.range_ == (0, 4095)
    np.testing.assert_array_equal(scaler.transform(np.array([[0, 4095]], dtype=np.uint16)), [[0, 1]])


def test_values_outside_the_range_are_kept_by_transform():
    scaler = PixelScaler().fit(np.array([[0.0, 2.0]]))
    np.testing.assert_array_equal(scaler.transform([[-2.0, 6.0]]), [[-1, 3]])


@pytest.mark.parametrize(("clip", "expected"), [(True, [[0, 2]]), (False, [[-2, 6]])])
def test_clip_makes_the_inverse_clip_to_the_range(clip, expected):
    for dtype in (np.float64, np.int8):
        scaler = PixelScaler((0, 2), clip=clip).fit(np.array([[0, 2]], dtype=dtype))
        np.testing.assert_array_equal(scaler.inverse_transform([[-1.0, 3.0]]), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_the_inverse_does_not_clip_to_a_range_that_was_learned(dtype):
    scaler = PixelScaler().fit(np.array([[-2, 6]], dtype=dtype))
    beyond = np.array([[-10, 70]], dtype=dtype)
    np.testing.assert_array_equal(scaler.inverse_transform(scaler.transform(beyond)), beyond)


def test_the_inverse_rounds_to_the_nearest_integer():
    scaler = PixelScaler().fit(np.array([[0]], dtype=np.uint8))
    values = np.array([[10.4], [10.6], [10.0], [9.51]]) / 255
    np.testing.assert_array_equal(scaler.inverse_transform(values), [[10], [11], [10], [10]])


def test_pixels_unlike_a_constant_become_their_distance_from_it():
    scaler = PixelScaler().fit(np.full((3, 2), 5.0))
    np.testing.assert_array_equal(scaler.transform([[5.0, 7.0]]), [[0, 2]])
    np.testing.assert_array_equal(scaler.inverse_transform([[0.0, 2.0]]), [[5, 7]])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"input_range": "type"}, "'input_range'.*'auto'.*Got 'type'"),
        ({"input_range": 255}, "'input_range'.*Got 255"),
        ({"input_range": (1, 0)}, r"pair \(low, high\) of finite numbers with low < high.*got \(1, 0\)"),
        ({"input_range": (0, 0)}, "low < high"),
        ({"input_range": (0, np.inf)}, "finite"),
        ({"input_range": (np.nan, 1)}, "finite"),
        ({"input_range": ("a", "b")}, "finite numbers"),
        ({"input_range": (0, 1, 2)}, "pair"),
        ({"clip": "yes"}, "'clip'.*bool.*Got 'yes'"),
    ],
)
def test_a_bad_parameter_of_the_scaler_is_a_clear_error(parameters, message):
    with pytest.raises(ValueError, match=message):
        PixelScaler(**parameters).fit(X)


# Centerer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "image_shape", "axes"),
    [
        (X, None, (0,)),
        (STACK, None, (0, 1, 2)),
        (STACK, (5, 4, 3), (0, 1, 2)),
    ],
    ids=["rows", "images", "declared images"],
)
def test_each_channel_has_its_mean(data, image_shape, axes):
    centerer = Centerer(image_shape=image_shape)
    out = centerer.fit_transform(data)
    np.testing.assert_allclose(centerer.mean_, data.mean(axes), rtol=1e-13)
    np.testing.assert_allclose(out, data - data.mean(axes), atol=1e-4)


def test_flat_rows_of_declared_images_are_centered_as_the_images_are():
    flat = STACK.reshape(len(STACK), -1)
    as_images, as_rows = Centerer(), Centerer(image_shape=[5, 4, 3])
    out = as_rows.fit_transform(flat)
    np.testing.assert_array_equal(out.reshape(STACK.shape), as_images.fit_transform(STACK))
    np.testing.assert_array_equal(as_rows.mean_, as_images.mean_)
    np.testing.assert_array_equal(as_rows.inverse_transform(out), flat)


@pytest.mark.parametrize(("data", "shape"), [(STACK[..., 0], None), (STACK[..., 0].reshape(20, -1), (5, 4))])
def test_images_without_an_axis_of_channels_have_one(data, shape):
    centerer = Centerer(image_shape=shape).fit(data)
    assert centerer.mean_.shape == (1,)
    assert centerer.mean_[0] == pytest.approx(data.mean())


@pytest.mark.parametrize("data", [X, STACK, STACK[..., 0]], ids=["rows", "colored", "gray"])
def test_a_global_mean_is_one_for_all(data):
    centerer = Centerer("global")
    out = centerer.fit_transform(data)
    assert centerer.mean_.shape == ()
    assert centerer.mean_ == pytest.approx(data.mean())
    np.testing.assert_allclose(out, data - data.mean(), atol=1e-4)


def test_means_are_exact_far_from_zero():
    data = (1e6 + RNG.integers(0, 3, size=(5000, 2))).astype(np.float32)
    np.testing.assert_allclose(Centerer().fit(data).mean_, data.astype(np.float64).mean(0), rtol=1e-15)


def test_the_data_are_not_copied_to_take_their_mean():
    data = np.zeros((2000, 16, 16, 3), dtype=np.uint8)
    centerer = Centerer()
    tracemalloc.start()
    centerer.fit(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < data.nbytes / 2


@pytest.mark.parametrize(
    ("parameters", "data", "message"),
    [
        ({"per": "pixel"}, X, "'per'.*'channel'.*Got 'pixel'"),
        ({"image_shape": 6}, X, "'image_shape'.*Got 6"),
        ({"image_shape": (2, 2)}, X, r"image_shape=\(2, 2\) has 4 pixels, but X has 6 features"),
        ({"image_shape": (6,)}, X, r"\(height, width\) or \(height, width, channels\).*got \(6,\)"),
        ({"image_shape": (2, -3)}, X, "at least 1"),
        ({"image_shape": (2.0, 3)}, X, "integers"),
        (
            {"image_shape": (4, 5, 3)},
            STACK,
            r"image_shape=\(4, 5, 3\), but X holds images of shape \(5, 4, 3\)",
        ),
        ({}, STACK[..., None], "neither rows"),
    ],
)
def test_a_bad_parameter_of_the_centerer_is_a_clear_error(parameters, data, message):
    with pytest.raises(ValueError, match=message):
        Centerer(**parameters).fit(data)
