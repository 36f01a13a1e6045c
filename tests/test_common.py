"""scikit-learn's own checks of every public estimator.

They run in a process of their own, because the check of array API support is skipped unless
SCIPY_ARRAY_API is set before scipy is imported, and on one thread, which is what such small data deserve.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from sklearn.base import BaseEstimator

import sk_denoise

# estimator: the checks that it is excused from, with the reason
IN_TRAINING_ONLY = "corrupts in fit_transform only, so that a deployed pipeline does not corrupt its input"
NOISE_OF_THE_WHOLE = "the noise belongs to the array as a whole, so a row in another array meets other noise"
WEIGHTS_IN_THE_LOSS = {
    "check_sample_weight_equivalence_on_dense_data": "one of weight 2 meets one draw of noise that counts "
    "twice, two samples meet two draws in other batches: alike on average, not in numbers",
}
NOISERS = (
    "GaussianNoiser()",
    "UniformNoiser()",
    "SpeckleNoiser()",
    "PoissonNoiser()",
    "SaltAndPepperNoiser()",
    "MaskingNoiser()",
    "SwapNoiser()",
    "PixelNoiser()",
    "RegionNoiser(sk_denoise.GaussianNoiser())",
    "NoiserChoice([sk_denoise.GaussianNoiser(), sk_denoise.SwapNoiser()])",
    "NoiserChain([sk_denoise.SwapNoiser(), sk_denoise.GaussianNoiser()])",
)
ESTIMATORS: dict[str, dict[str, str]] = {
    **{
        noiser: {
            "check_transformer_general": IN_TRAINING_ONLY,
            "check_transformer_data_not_an_array": IN_TRAINING_ONLY,
        }
        for noiser in NOISERS
    },
    'GaussianNoiser(apply="always")': {
        "check_methods_sample_order_invariance": NOISE_OF_THE_WHOLE,
        "check_methods_subset_invariance": NOISE_OF_THE_WHOLE,
    },
    "PixelScaler()": {},
    "PixelScaler((0, 1), clip=False)": {},
    "Centerer()": {},
    'Centerer("global")': {},
    "BilateralDenoiser()": {},
    "BM3DDenoiser()": {},
    "MedianDenoiser()": {},
    "NonLocalMeansDenoiser()": {},
    "TotalVariationDenoiser()": {},
    "WaveletDenoiser()": {},
    "WienerDenoiser()": {},
    "DenoisingAutoencoder()": WEIGHTS_IN_THE_LOSS,
    # fewer epochs, as scikit-learn gives iterative estimators that it checks: some checks fit dozens of times
    'DenoisingAutoencoder(noise="swap", max_epochs=10)': WEIGHTS_IN_THE_LOSS,
    'DenoisingAutoencoder(output="latent", max_epochs=10)': WEIGHTS_IN_THE_LOSS,
    'DenoisingAutoencoder(output="activations", max_epochs=10)': WEIGHTS_IN_THE_LOSS,
    'DenoisingAutoencoder(network="conv", max_epochs=10)': WEIGHTS_IN_THE_LOSS,
    "DenoisingEnsemble(sk_denoise.DenoisingAutoencoder(max_epochs=5), n_estimators=2)": WEIGHTS_IN_THE_LOSS,
    "ImageDenoiser(sk_denoise.FoldedUNetNetwork((8, 8), blocks=(1, 1)), max_epochs=10)": WEIGHTS_IN_THE_LOSS,
    'ImageDenoiser(sk_denoise.DnCNNNetwork(3, width=8), sigma="map", max_epochs=10)': WEIGHTS_IN_THE_LOSS,
}

RUN_CHECKS = """
import json, sys
import sk_denoise
from sklearn.utils.estimator_checks import check_estimator

estimator = eval("sk_denoise." + sys.argv[1])
results = check_estimator(estimator, on_fail=None, on_skip=None)
print(json.dumps([(r["check_name"], r["status"], repr(r["exception"])) for r in results]))
"""


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_estimator_passes_all_checks_of_scikit_learn_but_those_it_is_excused_from(estimator):
    run = subprocess.run(
        [sys.executable, "-c", RUN_CHECKS, estimator],
        env={**os.environ, "SCIPY_ARRAY_API": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout.splitlines()[-1])
    passed = {name for name, status, _ in results if status == "passed"}
    others = {name: f"{status}: {error}" for name, status, error in results if status != "passed"}
    assert len(passed) > 40
    assert {name: text for name, text in others.items() if not text.startswith("failed")} == {}
    assert others.keys() == ESTIMATORS[estimator].keys(), others


def test_every_public_estimator_is_checked():
    public = {name: getattr(sk_denoise, name) for name in sk_denoise.__all__}
    estimators = {
        name
        for name, kind in public.items()
        if isinstance(kind, type) and issubclass(kind, BaseEstimator) and hasattr(kind, "fit")
    }
    assert estimators == {call.partition("(")[0] for call in ESTIMATORS}
