"""Exported graphs predict as the estimators do, for samples of any number and images of any size."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import onnxscript  # noqa: F401 - the first export imports it, for a second
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

import sk_denoise
from sk_denoise import (
    Centerer,
    ConvNetwork,
    DenoisingAutoencoder,
    DenseNetwork,
    DilatedNetwork,
    DnCNNNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    PixelScaler,
    PoolingNetwork,
    RIDNetNetwork,
    SignalDenoiser,
    SignalUNetNetwork,
    UNetNetwork,
    WienerDenoiser,
)
from sk_denoise.estimators import IMAGE_NETWORKS, NETWORKS
from sk_denoise.persistence import export_onnx

ROWS = 3 + 20 * np.random.default_rng(0).random((40, 6))
IMAGES = (np.linspace(0, 1, 12) * np.random.default_rng(1).random((8, 12, 1))).astype(np.float32)
COLORS = np.random.default_rng(2).integers(0, 256, (6, 12, 11, 3), dtype=np.uint8)
STANDARD = StandardScaler().fit(ROWS)
FAST = {"max_epochs": 1, "random_state": 0}
TOLERANCE = 1e-4  # of the range of the data

SMALL = {
    "dense": DenseNetwork((8,)),
    "conv": ConvNetwork((4, 4)),
    "pooling": PoolingNetwork((4,)),
    "folded_unet": FoldedUNetNetwork((4, 4), blocks=(1, 1)),
    "unet": UNetNetwork((4, 4, 4)),
    "dncnn": DnCNNNetwork(3, width=4),
    "ridnet": RIDNetNetwork(4, blocks=1, reduction=2),
}


def exported(estimator, folder):
    export_onnx(estimator, folder / "model.onnx")
    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def run(session, **inputs):
    return session.run(None, {name: values.astype(np.float32) for name, values in inputs.items()})[0]


def assert_near(output, expected, estimator):
    assert output.shape == expected.shape
    assert output.dtype == np.float32
    assert np.abs(output - expected).max() < TOLERANCE * estimator.data_range_


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_an_autoencoder_predicts_the_same_for_any_number_of_samples(name, tmp_path):
    X = ROWS if name == "dense" else COLORS
    dae = DenoisingAutoencoder(SMALL.get(name, name), 4, **FAST).fit(X)
    session = exported(dae, tmp_path)
    for n in (1, 2, 5):
        samples = (X[:n] + np.random.default_rng(n).normal(0, 3 * X.std(), X[:n].shape)).astype(np.float32)
        with warnings.catch_warnings():
            # Values are cut outside of the range of the training, in the graph too.
            warnings.filterwarnings("ignore", message=".*range of the training")
            expected = dae.predict(samples)
        assert_near(run(session, X=samples), expected, dae)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:A few wild values")
def test_wild_values_pass_the_exported_network(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6)).astype(np.float32)
    X[rng.random(X.shape) < 0.01] *= 10_000
    dae = DenoisingAutoencoder(DenseNetwork((8,)), 4, **FAST).fit(X)
    expected = dae.predict(X)
    # Wild values are kept, and do not hide the others.
    is_wild = np.abs(X) > 100
    assert np.abs(expected - X)[is_wild].max() < 30
    np.testing.assert_allclose(run(exported(dae, tmp_path), X=X), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_gaps_are_filled_in_the_graph(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 2)) @ rng.normal(size=(2, 8))
    gaps = np.where(rng.random(X.shape) < 0.3, np.nan, X).astype(np.float32)
    gaps[0] = np.nan
    settings = {"missing": "mask", "noise": 0.3, "max_epochs": 2, "random_state": 0}
    dae = DenoisingAutoencoder(DenseNetwork((8,)), 4, **settings).fit(gaps[1:])
    session = exported(dae, tmp_path)
    for samples in (gaps, gaps[:1], X[:5].astype(np.float32)):
        assert_near(run(session, X=samples), dae.predict(samples), dae)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*range of the training")
@pytest.mark.parametrize("blend", [None, "auto"])
def test_maps_to_quantiles_are_exported(blend, tmp_path):
    rng = np.random.default_rng(0)
    X = np.exp(rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) / 2) * [1e-6, 1e6, 1, 1, 1, 1]
    X[:, 5] = rng.random(300) < 0.2
    noisy = X * np.exp(rng.normal(0, 0.4, X.shape))
    settings = {"scaling": "quantile", "blend": blend, "max_epochs": 2, "random_state": 0}
    dae = DenoisingAutoencoder(DenseNetwork((8,)), 4, **settings).fit(noisy, X_clean=X)
    noisy[0] *= 10
    noisy[1] -= 3 * X.std(axis=0)
    session, scale = exported(dae, tmp_path), X.std(axis=0)
    for n in (1, 2, 50):
        samples = noisy[:n].astype(np.float32)
        errors = (run(session, X=samples) - dae.predict(samples)) / scale
        assert np.abs(errors).max() < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("output", ["latent", "activations"])
def test_the_output_of_transform_is_exported(output, tmp_path):
    shares = ROWS / 30
    dae = DenoisingAutoencoder(DenseNetwork((8,)), 4, output=output, loss="bce", **FAST).fit(shares)
    session = exported(dae, tmp_path)
    expected = dae.transform(shares.astype(np.float32))
    np.testing.assert_allclose(run(session, X=shares), expected, rtol=1e-4, atol=1e-5)
    assert [node.name for node in session.get_outputs()] == [output]


@pytest.mark.slow
@pytest.mark.parametrize("network", [ConvNetwork((4,)), PoolingNetwork((4,))])
def test_signals_have_latents_too(network, tmp_path):
    dae = DenoisingAutoencoder(network, 2, output="latent", **FAST).fit(ROWS)
    expected = dae.transform(ROWS.astype(np.float32))
    np.testing.assert_allclose(run(exported(dae, tmp_path), X=ROWS), expected, rtol=1e-4, atol=1e-4)


SIZES = [(1, 1), (2, 3), (3, 2), (7, 1), (12, 12), (17, 33), (5, 40)]


# both kinds of all networks would take a minute more, and differ in one channel of the input
KINDS = {"folded_unet": ("blind", "map"), "unet": ("blind",), "dncnn": ("map",), "ridnet": ("blind",)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sigma"), [(name, sigma) for name in IMAGE_NETWORKS for sigma in KINDS.get(name, ("map",))]
)
def test_images_of_any_size_are_denoised_the_same(name, sigma, tmp_path):
    denoiser = ImageDenoiser(
        SMALL.get(name, name), noise=GaussianNoiser(0.6), sigma=sigma, patch_size=8, **FAST
    ).fit(IMAGES)
    session, rng = exported(denoiser, tmp_path), np.random.default_rng(0)
    for n, size in enumerate(SIZES, start=1):
        X = rng.random((n, *size)).astype(np.float32)
        if sigma == "blind":
            assert_near(run(session, X=X), denoiser.predict(X), denoiser)
        else:
            levels = rng.uniform(0, denoiser.noise_levels_[1], n)
            assert_near(run(session, X=X, sigma=levels), denoiser.predict(X, sigma=levels), denoiser)


@pytest.mark.slow
def test_graphs_have_the_unit_of_the_user(tmp_path):
    denoiser = ImageDenoiser(
        SMALL["folded_unet"], noise=GaussianNoiser(90), sigma="map", loss="kl", patch_size=8, **FAST
    ).fit(COLORS)
    session, level = exported(denoiser, tmp_path), np.array([20.0, 60.0])
    assert_near(run(session, X=COLORS[:2], sigma=level), denoiser.predict(COLORS[:2], sigma=level), denoiser)
    metadata = session.get_modelmeta().custom_metadata_map
    assert (metadata["black"], metadata["white"]) == ("0.0", "255.0")
    assert metadata["sk_denoise"] == sk_denoise.__version__
    assert metadata["estimator"] == "ImageDenoiser"


@pytest.mark.slow
def test_flat_images_and_signals_keep_their_length(tmp_path):
    images = {"image_shape": (2, 3), "noise": GaussianNoiser(3.0), **FAST}
    for denoiser in (ImageDenoiser(SMALL["unet"], **images), ImageDenoiser(SMALL["dncnn"], **FAST)):
        denoiser.fit(ROWS)
        X = ROWS[:3].astype(np.float32)
        assert_near(run(exported(denoiser, tmp_path), X=X), denoiser.predict(X), denoiser)


@pytest.mark.slow
@pytest.mark.parametrize("network", [SignalUNetNetwork((4, 8, 8)), DilatedNetwork(4, dilations=(1, 2))])
def test_signals_of_any_length_and_channels_are_denoised_the_same(network, tmp_path):
    rows = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    two = np.stack([rows, 100 * rows + 5], axis=1)
    for X, shape in ((rows, ["n", "length"]), (two, ["n", 2, "length"])):
        denoiser = SignalDenoiser(network, max_epochs=1, random_state=0).fit(X)
        export_onnx(denoiser, tmp_path / "signals.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "signals.onnx")
        assert session.get_inputs()[0].shape == shape
        for length in (64, 33, 3):
            x = X[:3, ..., :length]
            np.testing.assert_allclose(
                session.run(None, {"X": x})[0], denoiser.predict(x), rtol=1e-4, atol=1e-4
            )


@pytest.mark.slow
def test_signals_behind_a_scaler_of_columns_keep_their_length(tmp_path):
    rows = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    network = SignalUNetNetwork((4, 8))
    pipe = make_pipeline(StandardScaler(), SignalDenoiser(network, max_epochs=1, random_state=0)).fit(rows)
    export_onnx(pipe, tmp_path / "signals.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "signals.onnx")
    assert session.get_inputs()[0].shape == ["n", 64]
    np.testing.assert_allclose(session.run(None, {"X": rows})[0], pipe.predict(rows), rtol=1e-4, atol=1e-4)


def test_axes_that_are_open_have_names_and_the_model_is_valid(tmp_path):
    denoiser = ImageDenoiser(SMALL["dncnn"], patch_size=8, **FAST).fit(COLORS)
    session = exported(denoiser, tmp_path)
    assert session.get_inputs()[0].shape == session.get_outputs()[0].shape == ["n", "height", "width", 3]
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)


class Mine(torch.nn.Module):
    def __init__(self, input_shape, latent_dim):
        super().__init__()
        self.layer = torch.nn.Linear(*input_shape, *input_shape)

    def forward(self, x):
        return self.layer(x) * 2


class Stubborn(Mine):
    def forward(self, x):
        return self.layer(x) if float(x.detach().sum()) > 0 else -self.layer(x)


@pytest.mark.slow
def test_a_network_of_the_user_is_exported_where_torch_can(tmp_path):
    dae = DenoisingAutoencoder(Mine, **FAST).fit(ROWS)
    assert_near(run(exported(dae, tmp_path), X=ROWS), dae.predict(ROWS.astype(np.float32)), dae)
    dae = DenoisingAutoencoder(Stubborn, **FAST).fit(ROWS)
    with pytest.raises(ValueError, match=r"Stubborn cannot be exported to ONNX"):
        export_onnx(dae, tmp_path / "no.onnx")
    assert not (tmp_path / "no.onnx").exists()


def test_estimators_without_an_export_are_refused_at_once(tmp_path):
    with pytest.raises(TypeError, match="WienerDenoiser, which has no network"):
        export_onnx(WienerDenoiser(), tmp_path / "no.onnx")
    with pytest.raises(NotFittedError):
        export_onnx(ImageDenoiser(), tmp_path / "no.onnx")
    with pytest.raises(IsADirectoryError):
        export_onnx(DenoisingAutoencoder(DenseNetwork(()), 2, **FAST).fit(ROWS), tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.pkl", r"pickled files do, in .pkl, and export_onnx writes an ONNX graph. Call it 'm.onnx'"),
        ("m.safetensors", r"files of save do, .*Call it 'm.onnx', or save .*persistence.save"),
        ("m.pt", "files of torch do"),
    ],
)
def test_a_suffix_of_another_format_is_refused(name, message, tmp_path):
    dae = DenoisingAutoencoder(DenseNetwork(()), 2, **FAST).fit(ROWS)
    with pytest.raises(ValueError, match=f"{name} ends as {message}"):
        export_onnx(dae, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


# Pipelines ----------------------------------------------------------------------------------------------


def autoencoder(**parameters):
    return DenoisingAutoencoder(DenseNetwork((8,)), 4, **parameters, **FAST)


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps",
    [
        [StandardScaler(), GaussianNoiser(0.1)],
        [StandardScaler(with_mean=False)],
        [MinMaxScaler((-1, 2), clip=True), StandardScaler()],
        [MaxAbsScaler(), "passthrough", RobustScaler()],
        [make_pipeline(RobustScaler(), FrozenEstimator(STANDARD))],
        [PixelScaler((3, 23)), Centerer()],
    ],
    ids=lambda steps: " ".join(type(step).__name__ for step in steps),
)
def test_steps_before_a_denoiser_are_in_its_graph(steps, tmp_path):
    pipe = make_pipeline(*steps, autoencoder()).fit(ROWS)
    session, X = exported(pipe, tmp_path), (1.2 * ROWS[:5]).astype(np.float32)
    expected = pipe.predict(X.astype(float))
    np.testing.assert_allclose(run(session, X=X), expected, rtol=0, atol=1e-5 * np.ptp(expected))
    assert session.get_modelmeta().custom_metadata_map["steps"].split(", ")[0] in repr(steps)


@pytest.mark.slow
def test_scalers_of_data_far_from_zero_lose_nothing_in_single_precision(tmp_path):
    X = (ROWS / 100 + 1000).astype(np.float32)  # steps of which are 6e-5
    pipe = make_pipeline(StandardScaler(), autoencoder()).fit(X)
    expected = pipe.predict(X.astype(float))
    assert np.abs(run(exported(pipe, tmp_path), X=X) - expected).max() < 1e-5 * np.ptp(expected)


@pytest.mark.slow
def test_a_frozen_denoiser_of_images_behind_scalers_takes_any_size_and_a_level(tmp_path):
    scalers = make_pipeline(PixelScaler(), Centerer()).fit(COLORS)
    denoiser = ImageDenoiser(SMALL["dncnn"], noise=GaussianNoiser(0.3), sigma="map", patch_size=8, **FAST)
    denoiser.fit(scalers.transform(COLORS))
    pipe = make_pipeline(scalers, FrozenEstimator(denoiser))
    session, levels = exported(pipe, tmp_path), np.array([0.1, 0.2])
    expected = denoiser.predict(scalers.transform(COLORS[:2])[:, :9, :7], sigma=levels)
    output = run(session, X=COLORS[:2, :9, :7], sigma=levels)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("pipe", "message"),
    [
        (make_pipeline(SimpleImputer(), autoencoder()), r"pipeline\['simpleimputer'\] is a SimpleImputer"),
        (make_pipeline(make_pipeline(PCA(2)), autoencoder()), r"pipeline\['pipeline'\]\['pca'\] is a PCA"),
        (make_pipeline(GaussianNoiser(apply="always"), autoencoder()), "GaussianNoiser with apply='always'"),
        (
            make_pipeline(StandardScaler(), autoencoder(), PCA(2)),
            r"end with a denoiser, and pipeline\['pca'\] is a PCA. .*\['denoisingautoencoder'\]",
        ),
        (make_pipeline(StandardScaler(), WienerDenoiser()), "WienerDenoiser, which has no network"),
        (make_pipeline("passthrough"), "got Pipeline, which has no network"),
    ],
)
def test_a_step_that_no_graph_holds_is_refused_by_name(pipe, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        export_onnx(pipe, tmp_path / "no.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_was_not_fitted_is_named(tmp_path):
    with pytest.raises(NotFittedError, match="StandardScaler"):
        export_onnx(make_pipeline(StandardScaler(), autoencoder()), tmp_path / "no.onnx")


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_a_missing_extra_is_named(missing, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf'export_onnx needs {missing}.*pip install "sk-denoise\[onnx\]"'):
        export_onnx(DenoisingAutoencoder(), tmp_path / "no.onnx")
