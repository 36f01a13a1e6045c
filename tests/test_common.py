"""Common checks of scikit-learn for every public estimator.

That of array API support is skipped unless SCIPY_ARRAY_API is set before scipy is imported: see conftest.py.
"""

from __future__ import annotations

from importlib.util import find_spec
from unittest import SkipTest

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import sk_denoise
from sk_denoise import (
    BandPassDenoiser,
    BicubicEnlarger,
    BilateralDenoiser,
    BM3DDenoiser,
    Centerer,
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenoisingImputer,
    DilatedNetwork,
    DnCNNNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    HumNoiser,
    ImageDenoiser,
    MedianDenoiser,
    NoiserChain,
    NoiserChoice,
    NonLocalMeansDenoiser,
    PixelScaler,
    PosteriorMeanDenoiser,
    RecordedNoiser,
    RegionNoiser,
    RichardsonLucyDeconvolver,
    SavitzkyGolayDenoiser,
    SignalDenoiser,
    SignalUNetNetwork,
    SwapNoiser,
    TableEncoder,
    TotalVariationDenoiser,
    VarianceStabilizer,
    WaveletDenoiser,
    WienerDeconvolver,
    WienerDenoiser,
    WienerMixtureDenoiser,
    noise,
)
from sk_denoise._registry import NOISES

IN_TRAINING_ONLY = "corrupts in fit_transform only, so that a deployed pipeline does not corrupt its input"
NOISE_OF_THE_WHOLE = "the noise belongs to the array as a whole, so a row in another array meets other noise"
WEIGHTS_IN_THE_LOSS = (
    "one of weight 2 meets one draw of noise that counts twice, two samples meet two draws in other batches: "
    "alike on average, not in numbers"
)

MADE_OF_OTHERS = {
    "region": RegionNoiser(GaussianNoiser()),
    "choice": NoiserChoice([GaussianNoiser(), SwapNoiser()]),
    "chain": NoiserChain([SwapNoiser(), GaussianNoiser()]),
    "hum": HumNoiser(500),
    "recorded": RecordedNoiser(np.random.default_rng(0).normal(size=(3, 200))),
}
SIGNALS_OF_ANY_LENGTH = "signals may have another length than those of the fit"
# The checks pass tables.
NOISERS = [
    MADE_OF_OTHERS.get(name) or kind() for name, kind in noise.NOISERS.items() if not NOISES[name].images_only
]
ALWAYS = GaussianNoiser(apply="always")
OTHERS = [
    PixelScaler(),
    PixelScaler((0, 1), clip=False),
    Centerer(),
    Centerer("global"),
    TableEncoder(),
    VarianceStabilizer(gain=1.0),
    VarianceStabilizer(gain=0.0, read_noise=2.0, offset=-3.0),
    BilateralDenoiser(),
    *([BM3DDenoiser()] if find_spec("bm3d") else []),
    MedianDenoiser(),
    # The checks pass rows of one to ten entries.
    SavitzkyGolayDenoiser(1, 0),
    BandPassDenoiser(high=0.2),
    NonLocalMeansDenoiser(),
    TotalVariationDenoiser(),
    WaveletDenoiser(),
    WienerDeconvolver(),
    RichardsonLucyDeconvolver(),
    BicubicEnlarger(),
    PosteriorMeanDenoiser(),
    WienerDenoiser(),
    DenoisingImputer(),
    DenoisingImputer(noise=0.3, add_indicator=True),
    WienerMixtureDenoiser(noise=0.5),
    WienerMixtureDenoiser(noise=0.5, n_components=3, n_init=2, shrinkage=5),
    WienerMixtureDenoiser(noise=0.5, n_components=2, window="auto"),
]
# fewer epochs, as scikit-learn gives iterative estimators that it checks: some checks fit dozens of times
NETWORKS = [
    DenoisingAutoencoder(max_epochs=5),
    DenoisingEnsemble(DenoisingAutoencoder(max_epochs=3), n_estimators=2),
    ImageDenoiser(DnCNNNetwork(3, width=8), sigma="map", max_epochs=5),
    SignalDenoiser(SignalUNetNetwork((8, 8), kernel_size=3), max_epochs=5),
]
# The same classes with other parameters.
VARIANTS = [
    DenoisingAutoencoder(),
    DenoisingAutoencoder(noise="swap", max_epochs=10),
    DenoisingAutoencoder(output="latent", max_epochs=10),
    DenoisingAutoencoder(output="activations", max_epochs=10),
    DenoisingAutoencoder(network="conv", max_epochs=10),
    DenoisingAutoencoder(objective="recorrupt", noise=0.5, max_epochs=5),
    DenoisingAutoencoder(objective="blind", max_epochs=5),
    DenoisingAutoencoder(missing="mask", max_epochs=2),
    DenoisingEnsemble(DenoisingAutoencoder(objective="recorrupt", noise=0.5, max_epochs=3), n_estimators=2),
    ImageDenoiser(FoldedUNetNetwork((8, 8), blocks=(1, 1)), max_epochs=10),
    ImageDenoiser(DnCNNNetwork(2, width=8), objective="recorrupt", noise=0.5, sigma="map", max_epochs=5),
    ImageDenoiser(FoldedUNetNetwork((8, 8), blocks=(1, 1)), objective="neighbours", max_epochs=5),
    ImageDenoiser(FoldedUNetNetwork((8, 8), blocks=(1, 1)), objective="blind", max_epochs=5),
    SignalDenoiser(DilatedNetwork(8, dilations=(1, 2)), objective="recorrupt", noise=0.5, max_epochs=5),
    SignalDenoiser(DilatedNetwork(8, dilations=(1, 2)), objective="neighbours", max_epochs=5),
    SignalDenoiser(DilatedNetwork(8, dilations=(1, 2)), objective="blind", max_epochs=5),
]
ESTIMATORS = [*NOISERS, ALWAYS, *OTHERS, *NETWORKS, *VARIANTS]


def excused(estimator):
    """Return the checks that an estimator is excused from, with the reason."""
    if estimator is ALWAYS:
        return {
            "check_methods_sample_order_invariance": NOISE_OF_THE_WHOLE,
            "check_methods_subset_invariance": NOISE_OF_THE_WHOLE,
        }
    if estimator in NOISERS:
        return {
            "check_transformer_general": IN_TRAINING_ONLY,
            "check_transformer_data_not_an_array": IN_TRAINING_ONLY,
        }
    checks_of_length = ("check_n_features_in_after_fitting", "check_transformer_general")
    of_any_length = dict.fromkeys(checks_of_length, SIGNALS_OF_ANY_LENGTH)
    if getattr(estimator, "kind", None) == "signals":
        return of_any_length
    if estimator in NETWORKS or estimator in VARIANTS:
        return {
            "check_sample_weight_equivalence_on_dense_data": WEIGHTS_IN_THE_LOSS,
            **(of_any_length if isinstance(estimator, SignalDenoiser) else {}),
        }
    return {}


def run(estimator, check):
    try:
        check(estimator)
    except SkipTest as skipped:
        # a check that an estimator is excused from has to fail: strict xfail reports one that ends here
        if check.func.__name__ not in excused(estimator):
            pytest.fail(f"skipped: {skipped}")


@pytest.mark.filterwarnings("ignore:score.X. without truth is for data:UserWarning")
@pytest.mark.filterwarnings("ignore:Light is never negative:UserWarning")  # the checks' data are
@pytest.mark.filterwarnings("ignore:The noise of X is estimated:UserWarning")  # and are noise themselves
@parametrize_with_checks([*NOISERS, ALWAYS, *OTHERS, *NETWORKS], expected_failed_checks=excused)
def test_an_estimator_passes_a_check_of_scikit_learn(estimator, check):
    run(estimator, check)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:score.X. without truth is for data:UserWarning")
@pytest.mark.filterwarnings("ignore:The noise of X is estimated:UserWarning")
@parametrize_with_checks(VARIANTS, expected_failed_checks=excused)
def test_a_network_with_other_parameters_passes_a_check_of_scikit_learn(estimator, check):
    run(estimator, check)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_there_are_many_checks_and_those_that_an_estimator_is_excused_from_are_among_them(estimator):
    names = {check.func.__name__ for _, check in estimator_checks_generator(estimator)}
    assert len(names - excused(estimator).keys()) > 40
    assert names >= excused(estimator).keys()


def test_every_public_estimator_is_checked():
    public = {name: getattr(sk_denoise, name) for name in sk_denoise.__all__}
    estimators = {
        name
        for name, kind in public.items()
        if isinstance(kind, type) and issubclass(kind, BaseEstimator) and hasattr(kind, "fit")
    }
    for_images = {entry.name for entry in NOISES.values() if entry.images_only}
    if not find_spec("bm3d"):
        estimators -= {"BM3DDenoiser"}
    assert estimators == {type(estimator).__name__ for estimator in ESTIMATORS} | for_images
