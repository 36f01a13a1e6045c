"""Dask arrays stay lazy, arrays of xarray keep their labels, and nothing is computed whole in silence."""

from __future__ import annotations

import subprocess
import sys
import warnings

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from sklearn.pipeline import make_pipeline

import sk_denoise
from sk_denoise import (
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DnCNNNetwork,
    GaussianNoiser,
    ImageDenoiser,
    MedianDenoiser,
    PixelScaler,
    SignalDenoiser,
    SignalUNetNetwork,
    WienerDenoiser,
    metrics,
)
from sk_denoise.datasets import load_images
from sk_denoise.io import write_image
from sk_denoise.restoration import NoiseModel, denoise_image, estimate_noise, estimate_sigma

ROWS = np.random.default_rng(0).random((40, 64)).astype(np.float32)
# All public estimators with samples in and out; BM3D needs a package that tests do not have.
LAZY_METHODS = {
    name: methods
    for name in sorted(sk_denoise.__all__)
    if name not in ("BM3DDenoiser", "DenoisingImputer", "TableEncoder")
    and not hasattr(getattr(sk_denoise, name), "corrupt")
    and hasattr(getattr(sk_denoise, name), "fit")
    and (
        methods := [
            m for m in ("predict", "transform", "inverse_transform") if hasattr(getattr(sk_denoise, name), m)
        ]
    )
}
# Iterations of total variation stop together, for all samples of a call.
TOLERANCE = {"TotalVariationDenoiser": 1e-3}


class Source:
    """A lazy array of dask that counts the chunks that are read."""

    def __init__(self, values: np.ndarray, chunks: object) -> None:
        self.n_read = 0
        self.array = da.from_array(values, chunks=chunks).map_blocks(
            self.read, dtype=values.dtype, meta=np.empty((0,) * values.ndim, values.dtype)
        )

    def read(self, block: np.ndarray) -> np.ndarray:
        self.n_read += 1
        return block


@pytest.fixture
def rows() -> Source:
    return Source(ROWS, (15, -1))


@pytest.fixture(scope="module")
def autoencoder() -> DenoisingAutoencoder:
    return DenoisingAutoencoder(latent_dim=4, max_epochs=1, random_state=0).fit(ROWS)


@pytest.fixture(scope="module")
def noisy_photo() -> np.ndarray:
    clean = np.tile(load_images("gray").test[0][:256, :256], (1, 6))[:, :1300]
    return (clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)).astype(np.float32)


def test_import_of_the_package_loads_neither_dask_nor_xarray():
    code = "import sk_denoise, sk_denoise.restoration, sys; print({'dask', 'xarray'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "set()"


# Estimators -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAZY_METHODS)
def test_samples_stay_lazy_and_equal_those_in_memory(name, make_estimator):
    X = ROWS.reshape(40, 8, 8) if name == "ImageDenoiser" else ROWS
    with warnings.catch_warnings():
        # Random numbers look like noise to some fits.
        warnings.simplefilter("ignore")
        fitted = make_estimator(name)
        # This one learns from noisy rows alone.
        fitted.fit(X) if name == "WienerMixtureDenoiser" else fitted.fit(X, X)
        for method in LAZY_METHODS[name]:
            if not hasattr(fitted, method):
                continue
            source = Source(X, (15, *(-1,) * (X.ndim - 1)))
            lazy = getattr(fitted, method)(source.array)
            expected = getattr(fitted, method)(X)
            assert source.n_read == 0
            assert lazy.chunks[0] == (15, 15, 10)
            assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
            computed = lazy.compute()
            assert source.n_read == 3
            assert computed.dtype == lazy.dtype
            np.testing.assert_allclose(computed, expected, rtol=1e-4, atol=TOLERANCE.get(name, 1e-5))


def test_a_later_fit_leaves_a_lazy_prediction_as_it_was(rows):
    denoiser = WienerDenoiser(sigma=0.3).fit(ROWS)
    expected, lazy = denoiser.predict(ROWS), denoiser.predict(rows.array)
    denoiser.fit(ROWS[::-1] * 5)
    np.testing.assert_allclose(lazy.compute(), expected, rtol=1e-5)


def test_latent_vectors_and_standard_deviations_are_lazy_too(rows):
    member = DenoisingAutoencoder(latent_dim=4, max_epochs=1, random_state=0, output="latent").fit(ROWS)
    latents = member.transform(rows.array)
    assert latents.shape == (40, 4)
    np.testing.assert_allclose(latents.compute(), member.transform(ROWS), rtol=1e-3, atol=1e-5)
    ensemble = DenoisingEnsemble(member.set_params(output="reconstruction"), 2, random_state=0).fit(ROWS)
    lazy = ensemble.predict(rows.array, return_std=True)
    expected = ensemble.predict(ROWS, return_std=True)
    for part, whole in zip(dask.compute(*lazy), expected, strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "int8", "uint16", "int32", "bool"])
def test_types_are_known_before_the_computation(dtype):
    X = (100 * ROWS).astype(dtype)
    lazy = MedianDenoiser().fit(100 * ROWS).predict(Source(X, (15, -1)).array)
    expected = "float64" if dtype in ("float64", "int32") else "float32"
    assert lazy.dtype == lazy.compute().dtype == expected


def test_chunks_of_unknown_size_and_empty_ones_pass(autoencoder, rows):
    bright = rows.array[rows.array[:, 0] > 0.5]
    assert np.isnan(autoencoder.predict(bright).shape[0])
    expected = autoencoder.predict(ROWS[ROWS[:, 0] > 0.5])
    np.testing.assert_allclose(autoencoder.predict(bright).compute(), expected, rtol=1e-4, atol=1e-5)
    with_empty = da.concatenate([rows.array[:0], rows.array])
    assert autoencoder.predict(with_empty).compute().shape == ROWS.shape
    assert autoencoder.predict(rows.array[:0]).compute().shape == (0, 64)


def test_narrow_chunks_are_joined_without_reading_them(autoencoder):
    source = Source(ROWS, (20, 10))
    lazy = autoencoder.predict(source.array)
    assert source.n_read == 0
    np.testing.assert_allclose(lazy.compute(), autoencoder.predict(ROWS), rtol=1e-4, atol=1e-5)


def test_samples_of_another_shape_are_refused_before_the_computation(autoencoder, rows):
    with pytest.raises(ValueError, match="10 features"):
        autoencoder.predict(rows.array[:, :10])
    assert rows.n_read == 0


def test_signals_in_several_chunks_are_refused():
    denoiser = SignalDenoiser(SignalUNetNetwork((4, 4)), max_epochs=1, random_state=0).fit(ROWS)
    with pytest.raises(ValueError, match="signals in several chunks"):
        denoiser.predict(Source(ROWS, (40, 10)).array)


def test_masked_chunks_are_refused(autoencoder, rows):
    with pytest.raises(ValueError, match="masked arrays"):
        autoencoder.predict(da.ma.masked_greater(rows.array, 0.5))
    hidden = rows.array.map_blocks(
        lambda block: np.ma.masked_greater(block, 0.5), dtype="f4", meta=np.empty((0, 0), "f4")
    )
    with pytest.raises(ValueError, match="hides"):
        autoencoder.predict(hidden).compute()


def test_frames_as_output_are_refused(rows):
    denoiser = MedianDenoiser().fit(ROWS).set_output(transform="pandas")
    with pytest.raises(TypeError, match="set_output"):
        denoiser.transform(rows.array)
    assert rows.n_read == 0


@pytest.mark.slow
@pytest.mark.parametrize("sigma", ["blind", "map"])
def test_images_beyond_memory_are_predicted_in_blocks(sigma):
    photos = [photo[:64, :64] for photo in load_images("gray").train[:2]]
    denoiser = ImageDenoiser(
        DnCNNNetwork(2, width=4), noise=GaussianNoiser(0.1), sigma=sigma, max_epochs=1, random_state=0
    ).fit(photos)
    tile, n_read = np.random.default_rng(0).random((1, 1000, 1000)).astype(np.float32), []

    def read(block_info: object = None) -> np.ndarray:
        n_read.append(1)
        return tile

    X = da.map_blocks(
        read, chunks=((1,), (1000,) * 9, (1000,) * 9), dtype="f4", meta=np.empty((0,) * 3, "f4")
    )
    options = {"sigma": 0.1} if sigma == "map" else {}
    lazy = denoiser.predict(X, **options)
    assert not n_read
    assert lazy.chunks == X.chunks
    part = lazy[0, 1900:2100, 1950:2050].compute()
    # Windows and the chunks around, of 81.
    assert len(n_read) < 40
    alone = denoiser.predict(X[:, 1800:2200, 1850:2150].compute(), **options)
    np.testing.assert_array_equal(part, alone[0, 100:-100, 100:-100])


# Doors that need all numbers --------------------------------------------------------------------------


REFUSING = {
    "fit": lambda e, X: DenoisingAutoencoder().fit(X),
    "fit of a noiser": lambda e, X: GaussianNoiser().fit(X),
    "transform of a noiser": lambda e, X: GaussianNoiser(apply="always").fit(ROWS).transform(X),
    "partial_fit": lambda e, X: DenoisingAutoencoder().partial_fit(X),
    "clean side": lambda e, X: DenoisingAutoencoder().fit(ROWS, X_clean=X),
    "y": lambda e, X: MedianDenoiser().fit(ROWS, X),
    "list": lambda e, X: ImageDenoiser().fit([X, X]),
    "score": lambda e, X: e.score(X),
    "score with y": lambda e, X: e.score(ROWS, X),
    "psnr": lambda e, X: metrics.psnr(ROWS, X, data_range=1.0),
    "ssim": lambda e, X: metrics.ssim(X, ROWS, data_range=1.0),
    "quality": lambda e, X: sk_denoise.estimate_quality(e, X, noise=0.1),
    "scorer": lambda e, X: sk_denoise.make_denoising_scorer(GaussianNoiser(0.1))(e, X),
    "scorer without truth": lambda e, X: sk_denoise.make_self_supervised_scorer("blind")(e, X),
    "estimate_noise": lambda e, X: estimate_noise(X),
    "estimate_sigma": lambda e, X: estimate_sigma(X),
    "sigma": lambda e, X: denoise_image(ROWS, sigma=X),
    "mask": lambda e, X: denoise_image(ROWS, mask=X > 0),
    "file": lambda e, X: write_image("never.tif", X),
}


@pytest.mark.parametrize("door", REFUSING)
def test_lazy_arrays_are_never_computed_whole_in_silence(door, autoencoder, rows):
    with pytest.raises(ValueError, match=r"lazy array of dask, of [0-9.]+ MB in memory.*\.compute\(\)"):
        REFUSING[door](autoencoder, rows.array)
    assert rows.n_read == 0


def test_lazy_arrays_of_xarray_are_refused_too(autoencoder, rows):
    with pytest.raises(ValueError, match="lazy array of dask"):
        autoencoder.fit(xr.DataArray(rows.array))
    assert rows.n_read == 0


def test_large_arrays_are_refused_with_their_size():
    with pytest.raises(ValueError, match="80 GB"):
        DenoisingAutoencoder().fit(da.zeros((10**8, 100)))


def test_frames_of_dask_and_datasets_are_refused(autoencoder):
    frames = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    frame = frames.from_pandas(pandas.DataFrame(ROWS), npartitions=2)
    for door in (autoencoder.predict, autoencoder.fit, denoise_image):
        with pytest.raises(TypeError, match="to_dask_array"):
            door(frame)
        with pytest.raises(TypeError, match="name of the variable"):
            door(xr.Dataset({"data": ("n", [1.0])}))


# Labels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_lazy", [False, True])
def test_predictions_keep_names_coordinates_and_attributes(autoencoder, is_lazy):
    coords = {"n": np.arange(40), "time": ("time", np.arange(64) / 4, {"units": "s"})}
    X = xr.DataArray(ROWS, coords, ("n", "time"), "voltage", {"units": "mV"})
    X.encoding = {"dtype": "int16", "scale_factor": 0.1}
    given = X.chunk({"n": 15}) if is_lazy else X
    denoised = autoencoder.predict(given)
    assert (denoised.chunks is not None) is is_lazy
    expected = X.copy(data=autoencoder.predict(ROWS))
    xr.testing.assert_allclose(denoised.compute(), expected, atol=1e-5)
    assert (denoised.name, denoised.attrs, denoised.time.attrs) == ("voltage", X.attrs, {"units": "s"})
    # It would round what is written to a file.
    assert not denoised.encoding


def test_latent_vectors_keep_the_labels_of_the_samples():
    encoder = DenoisingAutoencoder(latent_dim=4, max_epochs=1, random_state=0, output="latent").fit(ROWS)
    latents = encoder.transform(xr.DataArray(ROWS, {"n": np.arange(40)}, ("n", "time")))
    assert latents.dims == ("n", "output_1")
    assert "n" in latents.coords


def test_pipelines_of_the_library_stay_lazy(rows):
    pipeline = make_pipeline(PixelScaler(), DenoisingAutoencoder(latent_dim=4, max_epochs=1, random_state=0))
    pipeline.fit(xr.DataArray(ROWS))
    lazy = pipeline.predict(xr.DataArray(rows.array, dims=("n", "t")))
    assert rows.n_read == 0
    np.testing.assert_allclose(lazy.values, pipeline.predict(ROWS), rtol=1e-4, atol=1e-5)


# Images -----------------------------------------------------------------------------------------------


def test_lazy_images_equal_those_in_memory_bit_by_bit(noisy_photo):
    source, noise = Source(noisy_photo, (100, 300)), NoiseModel("white", 0.1)
    lazy = denoise_image(source.array, noise=noise)
    assert source.n_read == 0
    assert (lazy.shape, lazy.dtype, lazy.chunks) == (noisy_photo.shape, np.float32, source.array.chunks)
    expected = denoise_image(noisy_photo, noise=noise, precision="float32")
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), expected)
    # 15 chunks are read, two joined blocks denoised, and the result is cut into 15 chunks again.
    assert source.n_read == 15
    n_tasks = len(dict(lazy.__dask_graph__())) - len(dict(source.array.__dask_graph__()))
    assert n_tasks <= 3 * 15


@pytest.mark.slow
def test_noise_is_measured_once_on_a_few_windows():
    tile = np.random.default_rng(0).normal(0.5, 0.1, (1024, 1024)).astype(np.float32)
    places = []

    def read(block_info: dict) -> np.ndarray:
        places.append(block_info[None]["chunk-location"])
        return tile

    sides = ((1024,) * 40, (1024,) * 40)
    image = da.map_blocks(read, chunks=sides, dtype="f4", meta=np.empty((0, 0), "f4"))
    lazy = denoise_image(image, noise="white")
    assert not places
    denoised = lazy[:64, :64].compute()
    # 16 windows, and the chunks around the corner, of 1,600.
    assert len(places) <= 16 + 4
    assert denoised.std() < 0.3 * tile.std()


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "int8", ">u2", "int32"])
def test_images_of_all_types_equal_those_in_memory(dtype, noisy_photo):
    image = (100 * noisy_photo[:70, :90].clip(0, 1)).astype(dtype)
    lazy = denoise_image(Source(image, (69, 40)).array, sigma=10)
    expected = denoise_image(image, sigma=10, precision="float32")
    assert lazy.dtype == expected.dtype
    np.testing.assert_array_equal(lazy.compute(), expected)


@pytest.mark.parametrize("axes", ["ZYX", "CYX", "SYX", "YXC", "XZY"])
def test_stacks_equal_those_in_memory(axes, noisy_photo):
    stack = np.stack([noisy_photo[:70, :90], noisy_photo[70:140, :90], noisy_photo[140:210, :90]])
    stack = stack.transpose(["ZYX".find(a) if a in "ZYX" else 0 for a in axes])
    lazy = denoise_image(Source(stack, 50).array, axes=axes, sigma=0.1)
    expected = denoise_image(stack, axes=axes, sigma=0.1, precision="float32")
    np.testing.assert_array_equal(lazy.compute(), expected)


def test_gaps_that_cover_whole_blocks_stay_gaps(noisy_photo):
    image = noisy_photo.copy()
    image[:, :1100] = np.nan
    denoised = denoise_image(Source(image, (256, 1024)).array, noise="white").compute()
    np.testing.assert_array_equal(np.isnan(denoised), np.isnan(image))
    with pytest.raises(ValueError, match="NaN alone"):
        denoise_image(Source(np.full_like(image, np.nan), (256, 1024)).array, noise="white").compute()


def test_images_of_xarray_keep_their_labels_and_need_axes_where_names_contradict(noisy_photo):
    bands = np.stack([noisy_photo[:60, :80]] * 3)
    image = xr.DataArray(bands, {"y": np.arange(60)[::-1], "x": np.arange(80)}, ("band", "y", "x"))
    with pytest.raises(ValueError, match='axes="CYX"'):
        denoise_image(image)
    denoised = denoise_image(image.chunk({"y": 40}), axes="CYX", sigma=0.1)
    expected = denoise_image(bands, axes="CYX", sigma=0.1, precision="float32")
    xr.testing.assert_equal(denoised.compute(), image.copy(data=expected))
    assert denoise_image(image[0], sigma=0.1).dims == ("y", "x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": np.ones((40, 64), bool)}, "no mask"),
        ({"verbose": True}, "ProgressBar"),
        ({"callback": print}, "ProgressBar"),
        ({"tile_size": 32}, "rechunk"),
        ({"return_quality": True}, "needs the whole image"),
        ({"sigma": np.ones((40, 64))}, "map of shape"),
        ({"sigma": [0.1, 0.2]}, "one number"),
        ({"noise": "snow"}, "Unknown noise"),
        ({"model": "snow"}, "Unknown model"),
        ({"axes": "ZX"}, "must have Y"),
    ],
)
def test_options_that_need_the_whole_image_are_refused_at_once(rows, options, message):
    with pytest.raises(ValueError, match=message):
        denoise_image(rows.array, **options)
    assert rows.n_read == 0


def test_images_of_unknown_shape_and_other_types_are_refused(rows):
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        denoise_image(rows.array[rows.array[:, 0] > 0.5])
    with pytest.raises(ValueError, match="bool"):
        denoise_image(rows.array > 0.5)
    with pytest.raises(ValueError, match="axes="):
        denoise_image(da.zeros((30, 100, 100)))
