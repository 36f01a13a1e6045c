"""Estimators of all kinds go to a file and come back as they were."""

from __future__ import annotations

import copy
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors
import skops.io
import torch
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)

import sk_denoise
from sk_denoise import (
    Augmenter,
    BlindSpotObjective,
    Centerer,
    ConvNetwork,
    CopiedMaskNoiser,
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenseNetwork,
    DilatedNetwork,
    DnCNNNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    GrainNoiser,
    ImageDenoiser,
    JPEGNoiser,
    NeighboursObjective,
    NoiserChain,
    NoiserChoice,
    PixelScaler,
    PoolingNetwork,
    RecordedNoiser,
    RecorruptObjective,
    RegionNoiser,
    RIDNetNetwork,
    SignalDenoiser,
    SignalUNetNetwork,
    SpeckleNoiser,
    SwapNoiser,
    TableEncoder,
    UNetNetwork,
    VarianceStabilizer,
    _registry,
    estimators,
)
from sk_denoise._registry import load_entry
from sk_denoise.persistence import load, save
from sk_denoise.restoration import NoiseModel, load_pretrained
from sk_denoise.training import OPTIMIZERS

ROWS = np.random.default_rng(0).random((40, 6))
IMAGES = (np.linspace(0, 1, 12) * np.random.default_rng(1).random((10, 12, 1))).astype(np.float32)
COLORS = np.random.default_rng(2).integers(0, 256, (6, 12, 11, 3), dtype=np.uint8)
RECORDS = 100 * np.random.default_rng(3).random((30, 20))

SKEWED = np.exp(np.random.default_rng(6).normal(size=(60, 6)))
WITH_GAPS = np.where(ROWS < 0.05, np.nan, ROWS)

IMAGE_NETWORKS = {
    **{name: kind() for name, kind in estimators.IMAGE_NETWORKS.items()},
    "folded_unet": FoldedUNetNetwork((4, 4), blocks=(1, 1)),
    "unet": UNetNetwork((4, 4, 4)),
    "unet, batch": UNetNetwork((4, 4), normalization="batch", residual=False),
    "dncnn": DnCNNNetwork(3, width=4),
    "ridnet": RIDNetNetwork(4, blocks=1, reduction=2),
}
FAST = {"max_epochs": 2, "random_state": 0}


@dataclass(frozen=True)
class Case:
    """An unfitted estimator, and training data for it."""

    estimator: Any
    X: Any


def image_denoiser(network, **parameters):
    return ImageDenoiser(network, noise=GaussianNoiser(0.6), patch_size=8, **FAST, **parameters)


# Denoisers that cannot do without
WITH_PARAMETERS = (
    "BandPassDenoiser",
    "ImageDenoiser",
    "SavitzkyGolayDenoiser",
    "SignalDenoiser",
    "WienerMixtureDenoiser",
)
CASES: dict[str, Case] = {
    "dense": Case(DenoisingAutoencoder(DenseNetwork((8,)), 4, **FAST), ROWS),
    "dense, float32 images": Case(DenoisingAutoencoder(DenseNetwork((8,)), 4, **FAST), IMAGES),
    "dense, gaps": Case(
        DenoisingAutoencoder(
            DenseNetwork((8,)), 4, noise=CopiedMaskNoiser(fill=np.nan), missing="mask", **FAST
        ),
        WITH_GAPS,
    ),
    "dense, quantiles": Case(
        DenoisingAutoencoder(DenseNetwork((8,)), 4, scaling="quantile", noise=SpeckleNoiser(0.4), **FAST),
        SKEWED,
    ),
    "dense, sigmoid": Case(DenoisingAutoencoder(DenseNetwork(()), 4, loss="bce", **FAST), ROWS),
    "dense, stopped early": Case(
        DenoisingAutoencoder(DenseNetwork((8,)), 4, early_stopping=True, emphasis=(1.0, 0.5), **FAST), ROWS
    ),
    "dense, RandomState": Case(
        DenoisingAutoencoder(DenseNetwork((8,)), 4, max_epochs=2, random_state=np.random.RandomState(3)), ROWS
    ),
    "signal_unet, channels": Case(
        SignalDenoiser(
            SignalUNetNetwork((4, 4), kernel_size=3), window_length=8, sampling_rate=250.0, **FAST
        ),
        np.stack([ROWS, 100 * ROWS], axis=1).repeat(3, axis=2),
    ),
    "dilated": Case(
        SignalDenoiser(DilatedNetwork(4, dilations=(1, 2)), objective="recorrupt", noise=0.2, **FAST), RECORDS
    ),
    "conv, signals": Case(DenoisingAutoencoder(ConvNetwork((4,)), 4, **FAST), ROWS),
    "conv, images": Case(DenoisingAutoencoder(ConvNetwork((4, 4)), 4, loss="ssim", **FAST), COLORS),
    "pooling": Case(
        DenoisingAutoencoder(PoolingNetwork((4,)), 2, loss={"mse": 1.0, "ms_ssim": 0.5}, **FAST), IMAGES
    ),
    "pooling, flat images": Case(
        DenoisingAutoencoder(PoolingNetwork((4,)), 2, image_shape=(2, 3), **FAST), ROWS
    ),
    **{
        f"{name}, {sigma}": Case(image_denoiser(network, sigma=sigma), IMAGES)
        for name, network in IMAGE_NETWORKS.items()
        for sigma in ("blind", "map")
    },
    "image denoiser, softly clipped": Case(image_denoiser(UNetNetwork((4,)), loss="kl"), IMAGES),
    "image denoiser, signals": Case(image_denoiser(DnCNNNetwork(2, width=4)), ROWS),
    "image denoiser, 8 bits": Case(
        ImageDenoiser(DnCNNNetwork(2, width=4), noise=GaussianNoiser(90), sigma="map", patch_size=8, **FAST),
        COLORS,
    ),
    "dense, recorrupted": Case(
        DenoisingAutoencoder(DenseNetwork((8,)), 4, objective=RecorruptObjective(0.4), noise=0.3, **FAST),
        ROWS,
    ),
    "dense, noise model": Case(
        DenoisingAutoencoder(
            DenseNetwork((8,)), 4, objective="recorrupt", noise=NoiseModel("counts", 0.1, gain=0.02), **FAST
        ),
        ROWS,
    ),
    "dense, grain": Case(
        DenoisingAutoencoder(DenseNetwork((8,)), 4, objective="recorrupt", noise=GrainNoiser(0.2), **FAST),
        IMAGES,
    ),
    "dense, hidden columns": Case(
        DenoisingAutoencoder(DenseNetwork((8,)), 4, objective=BlindSpotObjective(0.5), **FAST), ROWS
    ),
    "image denoiser, neighbours": Case(
        ImageDenoiser(DnCNNNetwork(2, width=4), objective=NeighboursObjective(1.0), patch_size=8, **FAST),
        IMAGES,
    ),
    "image denoiser, recorrupted": Case(
        ImageDenoiser(
            DnCNNNetwork(2, width=4), objective="recorrupt", noise=20, sigma="map", patch_size=8, **FAST
        ),
        COLORS,
    ),
    "ensemble": Case(
        DenoisingEnsemble(DenoisingAutoencoder(DenseNetwork((4,)), 2, **FAST), 2, random_state=0), ROWS
    ),
    "ensemble of image denoisers": Case(
        DenoisingEnsemble(image_denoiser(DnCNNNetwork(2, width=4)), 2, random_state=0), IMAGES
    ),
    **{
        name: Case(getattr(sk_denoise, name)(), ROWS)
        for name in sk_denoise.__all__
        if name.endswith("Denoiser") and name not in WITH_PARAMETERS
    },
    "BandPassDenoiser": Case(sk_denoise.BandPassDenoiser(0.1, 0.3), ROWS),
    "SavitzkyGolayDenoiser": Case(sk_denoise.SavitzkyGolayDenoiser(5), ROWS),
    **{
        f"{entry.name}, {kind}": Case(load_entry(entry)(), X)
        for entry in _registry.RESTORERS.values()
        for kind, X in (("rows", ROWS), ("images", COLORS))
    },
    "WienerDeconvolver, kernel": Case(sk_denoise.WienerDeconvolver(np.eye(3), balance=0.1), IMAGES),
    "SavitzkyGolayDenoiser, channels": Case(sk_denoise.SavitzkyGolayDenoiser(3), IMAGES),
    "WienerMixtureDenoiser": Case(sk_denoise.WienerMixtureDenoiser(0.2, random_state=0), ROWS),
    "WienerMixtureDenoiser, covariance": Case(
        sk_denoise.WienerMixtureDenoiser(0.02 + 0.02 * np.eye(6), random_state=0), ROWS
    ),
    "WienerMixtureDenoiser, windows": Case(
        sk_denoise.WienerMixtureDenoiser(0.2, window=3, n_components=2, random_state=0), ROWS
    ),
    "WienerMixtureDenoiser, counts": Case(
        sk_denoise.WienerMixtureDenoiser(NoiseModel("counts", 9.0, gain=1.0), random_state=0), COLORS
    ),
    "WienerMixtureDenoiser, images": Case(sk_denoise.WienerMixtureDenoiser(0.1, random_state=0), IMAGES),
    "imputer": Case(sk_denoise.DenoisingImputer(random_state=0), WITH_GAPS),
    "imputer, frame": Case(
        sk_denoise.DenoisingImputer(add_indicator=True, random_state=0),
        pd.DataFrame(WITH_GAPS).add_prefix("x").assign(word=np.where(ROWS[:, 0] < 0.5, "low", "high")),
    ),
    "PosteriorMeanDenoiser, images": Case(sk_denoise.PosteriorMeanDenoiser(sigma=0.1), IMAGES),
    "WienerDenoiser, images": Case(sk_denoise.WienerDenoiser(sigma=0.1), IMAGES),
    **{
        entry.name: Case(load_entry(entry)(), COLORS / 255 if entry.images_only else ROWS)
        for entry in _registry.NOISES.values()
        if not entry.made_of and not entry.changes_size
    },
    "BlurNoiser, kernels": Case(sk_denoise.BlurNoiser([np.ones((3, 1)), np.ones(5)]), COLORS),
    "DownscaleNoiser": Case(sk_denoise.DownscaleNoiser(3, kernel="area"), COLORS[:, :, :9]),
    "NoiserChain, smaller images": Case(
        NoiserChain([sk_denoise.DownscaleNoiser(), GaussianNoiser(0.5, scale="std")]), COLORS[:, :, :10]
    ),
    "JPEGNoiser, flat images": Case(JPEGNoiser(chroma="4:4:4", image_shape=(2, 3)), ROWS),
    "GrainNoiser, kernel": Case(GrainNoiser(0.2, np.eye(3), scale="std"), COLORS),
    "HumNoiser": Case(sk_denoise.HumNoiser(360, (0.1, 0.3), scale="std"), COLORS[..., 0]),
    "BaselineWanderNoiser, channels": Case(sk_denoise.BaselineWanderNoiser(0.2, scale="std"), COLORS[..., 0]),
    "RecordedNoiser": Case(RecordedNoiser(RECORDS, (-5, 5), power="data"), ROWS),
    "RecordedNoiser, signals of several channels": Case(
        RecordedNoiser([RECORDS[: COLORS.shape[1]]], 5, kind="signals"), COLORS[..., 0]
    ),
    "RecordedNoiser, images": Case(
        RecordedNoiser([RECORDS.astype(np.uint16), RECORDS[:15, :12]], None, clip=(0, 255)), COLORS
    ),
    "GaussianNoiser, by feature": Case(GaussianNoiser((0.1, 0.4), scale="std", random_state=3), ROWS),
    "RegionNoiser": Case(RegionNoiser(SwapNoiser(0.5), image_shape=(2, 3)), ROWS),
    "NoiserChoice": Case(NoiserChoice([GaussianNoiser(), SwapNoiser()], [0.3, 0.7]), ROWS),
    "NoiserChain": Case(NoiserChain([GaussianNoiser(scale="std"), RegionNoiser(SwapNoiser())]), ROWS),
    "PixelScaler": Case(PixelScaler(), COLORS),
    "Centerer": Case(Centerer(), COLORS),
    "TableEncoder": Case(TableEncoder(unknown="zeros"), ROWS),
    "VarianceStabilizer": Case(VarianceStabilizer(gain=1.0, read_noise=2.0), ROWS),
    "VarianceStabilizer, by channel": Case(VarianceStabilizer((1.0, 0.0, 0.5), 0.1, [0, 1, 2]), COLORS),
    "Pipeline": Case(
        make_pipeline(
            PixelScaler((0, 255)), GaussianNoiser(), DenoisingAutoencoder(DenseNetwork(()), 2, **FAST)
        ),
        COLORS.reshape(len(COLORS), -1),
    ),
    "FrozenEstimator": Case(FrozenEstimator(DenoisingAutoencoder(DenseNetwork(()), 2, **FAST)), ROWS),
    "StandardScaler": Case(StandardScaler(), ROWS),
    "StandardScaler, mean alone": Case(StandardScaler(with_std=False), ROWS),
    "StandardScaler, of nothing": Case(StandardScaler(with_mean=False, with_std=False), ROWS),
    "StandardScaler, gaps": Case(StandardScaler(), WITH_GAPS),
    "MinMaxScaler": Case(MinMaxScaler((-1, 1), clip=True), ROWS.astype(np.float32)),
    "MaxAbsScaler": Case(MaxAbsScaler(), ROWS),
    "RobustScaler": Case(RobustScaler(unit_variance=True, quantile_range=(5, 95.0)), ROWS),
    "RobustScaler, spread alone": Case(RobustScaler(with_centering=False), ROWS),
    "SimpleImputer": Case(SimpleImputer(strategy="median"), WITH_GAPS),
    "Pipeline of scikit-learn's": Case(
        Pipeline(
            [
                ("fill", SimpleImputer()),
                ("scale", make_pipeline(RobustScaler(), "passthrough", MinMaxScaler())),
                ("noise", GaussianNoiser()),
                ("dae", DenoisingAutoencoder(DenseNetwork(()), 2, **FAST)),
                ("rescale", MaxAbsScaler()),
            ]
        ),
        WITH_GAPS,
    ),
}


@cache
def fitted(name: str) -> Any:
    """Return a fitted estimator, which tests leave as it is."""
    if name == "BM3DDenoiser":
        pytest.importorskip("bm3d")
    case = CASES[name]
    if isinstance(case.estimator, FrozenEstimator):
        return FrozenEstimator(clone(case.estimator.estimator).fit(case.X))
    return clone(case.estimator).fit(case.X)


TRAINED = [
    name for name, case in CASES.items() if isinstance(case.estimator, DenoisingAutoencoder | ImageDenoiser)
]


def through_file(estimator, folder):
    save(estimator, folder / "estimator.safetensors")
    return load(folder / "estimator.safetensors")


# Properties that a fitted part computes on first use.
CACHED = ("gain", "stays_linear", "bias", "distance_scale")


def equal(one, other):
    """Return whether parameters or fitted state are the same, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        same = one.dtype == other.dtype and one.flags.f_contiguous == other.flags.f_contiguous
        return same and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, np.random.RandomState):
        return equal(one.get_state(), other.get_state())
    if hasattr(one, "module_"):  # a net
        names = ("history", "batch_size", "optimizer", "device")
        states = [
            {**net.module_.state_dict(), "optimizer": net.optimizer_.state_dict()} for net in (one, other)
        ]
        return equal(*states) and all(equal(getattr(one, name), getattr(other, name)) for name in names)
    if hasattr(one, "__dict__") and not isinstance(one, type):
        return equal(*({k: v for k, v in vars(x).items() if k not in CACHED} for x in (one, other)))
    return bool(one == other or (one != one and other != other))  # NaN marks missing values


# What comes back ----------------------------------------------------------------------------------------


def test_every_public_estimator_and_spec_is_among_the_cases():
    public = {name: getattr(sk_denoise, name) for name in sk_denoise.__all__}
    kinds = {
        name for name, kind in public.items() if isinstance(kind, type) and issubclass(kind, BaseEstimator)
    }
    seen = {type(part).__name__ for case in CASES.values() for part in case.estimator.get_params().values()}
    seen |= {type(case.estimator).__name__ for case in CASES.values()}
    assert kinds - seen == {"Augmenter", "SignalAugmenter"}  # which a test of its own has


@pytest.mark.parametrize("name", CASES)
def test_an_unfitted_estimator_comes_back_with_its_parameters(name, tmp_path):
    if name == "BM3DDenoiser":
        pytest.importorskip("bm3d")
    estimator = CASES[name].estimator
    loaded = through_file(estimator, tmp_path)
    assert type(loaded) is type(estimator)
    assert equal(loaded.get_params(deep=False), estimator.get_params(deep=False))
    if hasattr(loaded, "transform"):
        with pytest.raises(NotFittedError):
            loaded.transform(CASES[name].X)


@pytest.mark.filterwarnings("ignore:The noise of X is estimated")
@pytest.mark.filterwarnings("ignore:score.X. without truth is for data:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_fitted_estimator_comes_back_to_the_bit(name, tmp_path):
    estimator, X = fitted(name), CASES[name].X
    loaded = through_file(estimator, tmp_path)
    assert equal(vars(loaded), vars(estimator))
    # A score without truth needs independent noise.
    scores = () if name == "dense, grain" else ("score",)
    for method in ("predict", "transform", *scores):
        if hasattr(estimator, method):
            np.testing.assert_array_equal(getattr(loaded, method)(X), getattr(estimator, method)(X))
    if hasattr(estimator, "corrupt"):
        x = torch.from_numpy(X)
        draws = [e.corrupt(x, torch.Generator().manual_seed(0)) for e in (loaded, estimator)]
        assert torch.equal(*draws)


@pytest.mark.parametrize("name", TRAINED)
def test_a_loaded_estimator_goes_on_learning_to_the_same_bits(name, tmp_path):
    X = CASES[name].X
    estimator, loaded = copy.deepcopy(fitted(name)), through_file(fitted(name), tmp_path)
    for one in (estimator, loaded):
        one.partial_fit(X).set_params(warm_start=True, max_epochs=one.n_iter_ + 1).fit(X)
        for epoch in one.net_.history:
            epoch.pop("dur", None)  # seconds
    assert equal(loaded.net_, estimator.net_)
    assert loaded.loss_curve_ == estimator.loss_curve_


@pytest.mark.parametrize("optimizer", [*sorted(OPTIMIZERS), torch.optim.Rprop, torch.optim.Adafactor])
def test_every_optimizer_goes_on(optimizer, tmp_path):
    dae = DenoisingAutoencoder(DenseNetwork((8,)), 4, optimizer=optimizer, learning_rate=1e-3, **FAST).fit(
        ROWS
    )
    loaded = through_file(dae, tmp_path)
    assert loaded.optimizer == optimizer
    np.testing.assert_array_equal(loaded.partial_fit(ROWS).predict(ROWS), dae.partial_fit(ROWS).predict(ROWS))


def test_parameters_that_share_a_tuple_do_not_look_changed_after_loading(tmp_path):
    both = (4, 4)
    network = FoldedUNetNetwork(both, blocks=both)
    denoiser = ImageDenoiser(network, patch_size=8, **FAST).fit(IMAGES)
    assert len(through_file(denoiser, tmp_path).partial_fit(IMAGES).loss_curve_) == 3


def test_estimators_that_are_nested_too_deeply_are_named(tmp_path):
    noiser = GaussianNoiser()
    for _ in range(8):
        noiser = RegionNoiser(noiser)
    with pytest.raises(ValueError, match=r"RegionNoiser\.noiser.* is an estimator in 7 others"):
        save(noiser, tmp_path / "x")


def test_callbacks_of_scikit_learn_are_named(tmp_path):
    callback = pytest.importorskip("sklearn.callback")
    dae = DenoisingAutoencoder().set_callbacks(callback.ProgressBar())
    with pytest.raises(TypeError, match=r"ProgressBar\. estimator\.set_callbacks\(\) takes them off"):
        save(dae, tmp_path / "x")
    save(dae.set_callbacks(), tmp_path / "x")


def test_lbfgs_keeps_its_vectors_of_all_weights(tmp_path):
    dae = DenoisingAutoencoder(DenseNetwork((8,)), 4, optimizer=torch.optim.LBFGS, **FAST).fit(ROWS)
    save(dae, tmp_path / "x")
    kept, loaded = (one.net_.optimizer_.state_dict()["state"][0] for one in (dae, load(tmp_path / "x")))
    assert loaded.keys() == kept.keys()
    assert torch.equal(loaded["d"], kept["d"])
    assert all(map(torch.equal, loaded["old_dirs"], kept["old_dirs"]))


def test_a_changed_optimizer_survives(tmp_path):
    dae = copy.deepcopy(fitted("dense")).set_params(optimizer="sgd")
    loaded = through_file(dae, tmp_path)
    assert loaded.net_.optimizer is torch.optim.AdamW  # until the next fit
    np.testing.assert_array_equal(loaded.partial_fit(ROWS).predict(ROWS), dae.partial_fit(ROWS).predict(ROWS))


@pytest.mark.parametrize("model", ["gray", "rgb"])
def test_pretrained_networks_go_through_a_file(model, tmp_path):
    denoiser = load_pretrained(model)
    loaded = through_file(denoiser, tmp_path)
    image = np.random.default_rng(0).random((1, 21, 18) if model == "gray" else (1, 21, 18, 3))
    np.testing.assert_array_equal(loaded.predict(image, sigma=0.1), denoiser.predict(image, sigma=0.1))


def test_names_of_features_and_containers_survive(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(ROWS, columns=["a", "b", "\u00e9", "", "d\x00", "a longer name"])
    dae = DenoisingAutoencoder(DenseNetwork(()), 2, **FAST).fit(frame).set_output(transform="pandas")
    loaded = through_file(dae, tmp_path)
    pd.testing.assert_frame_equal(loaded.transform(frame), dae.transform(frame))
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame.rename(columns={"a": "other"}))


def test_metadata_requests_survive(tmp_path):
    with config_context(enable_metadata_routing=True):
        dae = DenoisingAutoencoder().set_fit_request(X_clean=True, X_val="X_other")
        loaded = through_file(dae, tmp_path)
        assert loaded.get_metadata_routing().fit.requests == dae.get_metadata_routing().fit.requests
    assert through_file(dae, tmp_path)._metadata_request.fit.requests["X_val"] == "X_other"


def test_unusual_values_of_parameters_survive(tmp_path):
    noiser = GaussianNoiser(np.float32(0.3), mean=np.float64(-0.0), random_state=np.int64(7))
    for estimator in (
        noiser,
        Augmenter(shift=0.5, flip=None, zoom=(0.5, 2.0), fill=-1.5),
        sk_denoise.SignalAugmenter(shift=3, offset=np.array([0.5, 1.0]), stretch=(0.8, 1.2), fill="edge"),
        NoiserChoice([noiser, SwapNoiser()], np.array([0.25, 0.75])),
        DenoisingAutoencoder(DenseNetwork(np.array([5, 3])), np.int32(4), device=torch.device("cpu")),
        DenoisingAutoencoder(optimizer=torch.optim.RMSprop, tol=0, image_shape=[2, 3]),
        GaussianNoiser(clip=(-np.inf, 1.0)),
    ):
        loaded = through_file(estimator, tmp_path)
        assert equal(loaded.get_params(), estimator.get_params())


def test_a_file_needs_no_pickle_and_is_read_by_safetensors(tmp_path):
    save(fitted("dense"), tmp_path / "dense.safetensors")
    with safetensors.safe_open(tmp_path / "dense.safetensors", "pt") as file:
        weight = file.get_tensor("net_.encoder.1.weight")
        metadata = file.metadata()
    assert torch.equal(weight, fitted("dense").net_.module_.state_dict()["encoder.1.weight"])
    assert metadata["sk_denoise"] == sk_denoise.__version__
    assert metadata["torch"] == torch.__version__


def test_the_same_estimator_makes_the_same_file(tmp_path):
    for name in ("one", "two"):
        save(fitted("unet, map"), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.slow
def test_another_process_loads_the_same(tmp_path):
    save(fitted("conv, images"), tmp_path / "conv.safetensors")
    np.save(tmp_path / "X.npy", COLORS)
    program = (
        "import sys, numpy as np; from sk_denoise.persistence import load; folder = sys.argv[1];"
        "X, loaded = np.load(folder + '/X.npy'), load(folder + '/conv.safetensors');"
        "np.save(folder + '/output.npy', loaded.predict(X))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "output.npy"), fitted("conv, images").predict(COLORS))


@pytest.mark.parametrize("device", ["meta", "cpu:7"])
def test_a_network_of_a_device_that_holds_nothing_loads_on_the_cpu(device, tmp_path):
    save(copy.deepcopy(fitted("dense")).set_params(device=device), tmp_path / "x")
    with pytest.warns(UserWarning, match="cannot be used here.*loaded on the CPU"):
        loaded = load(tmp_path / "x")
    np.testing.assert_array_equal(loaded.predict(ROWS), fitted("dense").predict(ROWS))


@pytest.mark.parametrize(("path", "error"), [(None, TypeError), (b"x", TypeError), ("", ValueError)])
def test_save_and_load_refuse_the_same_paths(path, error):
    for call in (lambda: save(GaussianNoiser(), path), lambda: load(path)):
        with pytest.raises(error, match=r"^path "):
            call()


def test_a_network_of_a_gpu_loads_on_a_cpu(tmp_path):
    device = f"cuda:{torch.cuda.device_count()}"  # one more than there are
    dae = copy.deepcopy(fitted("dense")).set_params(device=device)
    save(dae, tmp_path / "dense.safetensors")
    with pytest.warns(
        UserWarning, match=f"device='{device}' cannot be used here.*loaded on the CPU"
    ) as warned:
        loaded = load(tmp_path / "dense.safetensors")
    assert warned[0].filename == __file__
    assert loaded.device == device
    np.testing.assert_array_equal(loaded.predict(ROWS), fitted("dense").predict(ROWS))


# What is refused ----------------------------------------------------------------------------------------


class OwnNoiser(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def corrupt(self, x, generator):
        return x + 1


class OwnDenoiser(DenoisingAutoencoder):
    pass


class OwnOptimizer(torch.optim.SGD):
    pass


class OwnScaler(StandardScaler):
    pass


def own_network(input_shape, latent_dim):
    return torch.nn.Linear(*input_shape, *input_shape)


@pytest.mark.parametrize(
    ("estimator", "names"),
    [
        (DenoisingAutoencoder(own_network), "DenoisingAutoencoder.network .* function 'own_network'"),
        (ImageDenoiser(torch.nn.Identity), "ImageDenoiser.network .* class 'Identity'"),
        (DenoisingAutoencoder(loss=lambda x, y: (x - y).abs().max()), r"\.loss .* '<lambda>'"),
        (DenoisingAutoencoder(noise=OwnNoiser()), r"\.noise .* 'OwnNoiser'"),
        (NoiserChain([GaussianNoiser(), OwnNoiser()]), r"NoiserChain\.noisers\.1 .* 'OwnNoiser'"),
        (DenoisingAutoencoder(optimizer=OwnOptimizer), r"\.optimizer .* 'OwnOptimizer'"),
        (DenoisingAutoencoder(augment=object()), r"\.augment .* 'object'"),
        (OwnDenoiser(), "OwnDenoiser"),
        (OwnNoiser(), "OwnNoiser"),
        (make_pipeline(OwnScaler(), DenoisingAutoencoder()), r"steps\.0\.1 .* 'OwnScaler'"),
        (
            make_pipeline(DenoisingAutoencoder(), LogisticRegression()),
            r"steps\.1\.1 is a LogisticRegression of .*sk_denoise saves only .* StandardScaler, .*skops",
        ),
        (FrozenEstimator(FunctionTransformer(np.log1p)), "FunctionTransformer of scikit-learn"),
        (SimpleImputer(strategy=np.nanmax), r"SimpleImputer\.strategy .* function 'nanmax'"),
        (make_pipeline(DenoisingAutoencoder(), memory="cache"), "memory='cache'"),
        (3, "int"),
        (DenoisingAutoencoder, "class 'DenoisingAutoencoder'"),
    ],
)
def test_code_and_estimators_of_others_are_refused_before_a_file_is_written(estimator, names, tmp_path):
    with pytest.raises(TypeError, match=names):
        save(estimator, tmp_path / "no.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("transformer", "X", "message"),
    [
        (StandardScaler(with_mean="yes"), None, "with_mean"),
        (MinMaxScaler((1, 0)), None, r"feature_range of MinMaxScaler must be a pair .* and is \(1, 0\)"),
        (RobustScaler(quantile_range=(5, 105)), None, "quantile_range of RobustScaler must be"),
        (SimpleImputer(strategy="constant"), WITH_GAPS, "strategy of SimpleImputer must be one of 'mean'"),
        (SimpleImputer(add_indicator=True), WITH_GAPS, "add_indicator of SimpleImputer must be False"),
    ],
)
def test_parameters_of_scikit_learn_that_files_cannot_hold_are_named(transformer, X, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save(transformer if X is None else transformer.fit(X), tmp_path / "no.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_attribute_that_scikit_learn_does_not_leave_is_refused_by_name(tmp_path):
    scaler = StandardScaler().fit(ROWS)
    scaler.remark_ = "mine"
    with pytest.raises(TypeError, match=r"Scaler\.remark_ .*attributes of StandardScaler that files hold"):
        save(scaler, tmp_path / "no.safetensors")


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), MaxAbsScaler()])
def test_a_loaded_scaler_goes_on_learning(scaler, tmp_path):
    scaler.fit(ROWS)
    loaded = through_file(scaler, tmp_path)
    assert equal(vars(loaded.partial_fit(3 * ROWS)), vars(scaler.partial_fit(3 * ROWS)))


def test_names_outputs_and_requests_of_scikit_learns_steps_come_back(tmp_path):
    frame = pd.DataFrame(ROWS, columns=list("abcdef"))
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True).set_output(transform="pandas")
        loaded = through_file(scaler.fit(frame), tmp_path)
        assert loaded.get_metadata_routing().fit.requests == {"sample_weight": True}
    pd.testing.assert_frame_equal(loaded.transform(frame), scaler.transform(frame))


def test_attributes_that_are_not_of_a_fit_are_refused_by_name(tmp_path):
    dae = copy.deepcopy(fitted("dense"))
    dae.remark = "mine"
    with pytest.raises(TypeError, match=r"DenoisingAutoencoder\.remark .* neither a parameter nor"):
        save(dae, tmp_path / "no.safetensors")


@pytest.mark.parametrize(
    "changes", [{"network": "conv"}, {"latent_dim": 5}, {"network__activation": "relu"}, {"loss": "bce"}]
)
def test_parameters_that_no_longer_belong_to_the_weights_are_refused(changes, tmp_path):
    dae = copy.deepcopy(fitted("dense")).set_params(**changes)
    with pytest.raises(ValueError, match="changed since DenoisingAutoencoder was fitted"):
        save(dae, tmp_path / "no.safetensors")


def test_wrong_parameters_are_refused_when_saving_as_when_loading(tmp_path):
    with pytest.raises(ValueError, match="max_epochs"):
        save(DenoisingAutoencoder(max_epochs=-1), tmp_path / "no.safetensors")
    with pytest.raises(ValueError, match="size=100001; files hold at most"):
        save(sk_denoise.MedianDenoiser(100_001), tmp_path / "no.safetensors")


# With skops ----------------------------------------------------------------------------------------------


def test_pipelines_without_a_network_go_through_skops(tmp_path):
    pipe = make_pipeline(StandardScaler(), GaussianNoiser(0.2, scale="std"), sk_denoise.WienerDenoiser()).fit(
        ROWS
    )
    again = through_skops(pipe, tmp_path / "pipe.skops")
    np.testing.assert_array_equal(again.predict(ROWS), pipe.predict(ROWS))


def test_pipelines_with_a_network_go_through_both(tmp_path):
    dae = DenoisingAutoencoder(DenseNetwork((8,)), 4, **FAST)
    pipe = Pipeline([("scale", StandardScaler()), ("noise", GaussianNoiser(0.2)), ("dae", dae)]).fit(ROWS)
    rest = Pipeline([(name, "passthrough" if name == "dae" else step) for name, step in pipe.steps])
    again = through_skops(rest, tmp_path / "rest.skops").set_params(dae=through_file(dae, tmp_path))
    np.testing.assert_array_equal(again.predict(ROWS), pipe.predict(ROWS))


def through_skops(estimator, path):
    skops.io.dump(estimator, path)
    trusted = skops.io.get_untrusted_types(file=path)
    assert all(name.startswith("sk_denoise.") for name in trusted)
    return skops.io.load(path, trusted=trusted)


# Files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.pkl", "pickled files do, in .pkl, .*Call it 'm.safetensors', or write a pickle by joblib.dump"),
        ("M.JOBLIB", "pickled files do, in .joblib, .*Call it 'M.safetensors'"),
        ("m.pkl.gz", "compressed files and archives do, in .gz, .*Call it 'm.safetensors'"),
        ("m.onnx", "ONNX graphs do, .*Call it 'm.safetensors', or write a graph by .*export_onnx"),
        ("m.pt", "files of torch do"),
        ("m.h5", "files of Keras and HDF5 do"),
        ("m.npz", "arrays of numpy do"),
        ("m.skops", "files of skops do, .*skops.io.dump"),
        ("m.png", "images do"),
        ("m.json", "texts do"),
    ],
)
def test_a_suffix_of_another_format_is_refused_with_a_better_name(name, message, tmp_path):
    with pytest.raises(ValueError, match=f"{name} ends as {message}"):
        save(Augmenter(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model", "model.bin", "model.v1.2", "my.onnx.safetensors", "M.SafeTensors"])
def test_other_suffixes_are_free(name, tmp_path):
    save(Augmenter(shift=3), tmp_path / name)
    assert load(tmp_path / name).shift == 3


def test_a_file_keeps_its_permissions_and_a_new_one_has_the_usual_ones(tmp_path):
    usual, target = tmp_path / "usual", tmp_path / "target"
    usual.touch()
    save(Augmenter(), target)
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
    target.chmod(0o640)
    save(Augmenter(), target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    save(Augmenter(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert isinstance(load(tmp_path / "target"), Augmenter)


def test_a_place_where_nothing_can_be_written_is_named(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save(Augmenter(), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*missing"):
        save(Augmenter(), tmp_path / "missing" / "x.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.safetensors")


def test_no_permission_is_an_error_that_names_the_folder(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(PermissionError, match="new files are not allowed in the folder"):
        save(Augmenter(), tmp_path / "x.safetensors")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left on device")])
def test_a_failure_leaves_the_old_file_and_nothing_else(error, tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    save(Augmenter(shift=1), path)

    def fail(*_):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(error if isinstance(error, type) else OSError):
        save(Augmenter(shift=2), path)
    assert [place.name for place in tmp_path.iterdir()] == ["x.safetensors"]
    assert load(path).shift == 1
