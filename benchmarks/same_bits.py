"""Compare the bits of seeded fits between two checkouts, for changes that must not change any result.

    python benchmarks/same_bits.py OLD NEW

OLD and NEW are folders that hold the package. Each runs in a process of its own with one thread, and the
digests of predictions, losses and scores are compared. Cases cover every network, noise and loss by name,
pairs, patches, weights, early stopping, continued fits, ensembles, filters and pretrained weights. Names that
only one checkout has are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Case = Callable[[], Any]


def digest(*arrays: Any) -> str:
    """Return a short digest of the bytes of arrays."""
    whole = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        whole.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return whole.hexdigest()[:16]


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Return clean digits in [0, 1] and noisy ones."""
    from sklearn.datasets import load_digits

    X = load_digits().data[:300] / 16
    return X, X + np.random.default_rng(0).normal(0, 0.2, X.shape)


def images() -> tuple[np.ndarray, np.ndarray]:
    """Return a stack of clean gray images of 48 pixels and noisy ones."""
    from skimage.data import camera

    whole = camera().astype(np.float32) / 255
    clean = np.stack([whole[i : i + 48, i + 100 : i + 148] for i in range(0, 400, 50)])
    return clean, clean + np.random.default_rng(1).normal(0, 0.1, clean.shape).astype(np.float32)


def of_rows(fit: dict[str, Any] | None = None, *, shape: Any = None, **parameters: Any) -> Case:
    """Return a fit of DenoisingAutoencoder to digits."""

    def case() -> str:
        from sk_denoise import DenoisingAutoencoder

        X, noisy = rows()
        dae = DenoisingAutoencoder(random_state=0, max_epochs=3, image_shape=shape, **parameters)
        dae.fit(X[:200], **(fit or {}))
        return digest(dae.predict(noisy[200:]), dae.loss_curve_, dae.score(X[200:]), dae.data_range_)

    return case


def of_images(*, pairs: bool = False, **parameters: Any) -> Case:
    """Return a fit of ImageDenoiser to images."""

    def case() -> str:
        from sk_denoise import ImageDenoiser

        clean, noisy = images()
        denoiser = ImageDenoiser(
            random_state=0, **{"max_epochs": 2, "patch_size": 24, "batch_size": 8} | parameters
        )
        denoiser.fit(*((noisy[:6], clean[:6]) if pairs else (clean[:6],)))
        return digest(denoiser.predict(noisy[6:]), denoiser.loss_curve_, denoiser.score(clean[6:]))

    return case


def continued() -> str:
    """Fit, go on from the fit, and learn from one more batch."""
    from sk_denoise import DenoisingAutoencoder

    X, noisy = rows()
    dae = DenoisingAutoencoder(random_state=0, max_epochs=2, warm_start=True).fit(X[:100])
    dae.set_params(max_epochs=4).fit(X[:100])
    dae.partial_fit(X[100:200])
    return digest(dae.predict(noisy[200:]), dae.loss_curve_)


def early_stopping() -> str:
    """Stop early on held-out rows."""
    from sk_denoise import DenoisingAutoencoder

    X, noisy = rows()
    dae = DenoisingAutoencoder(
        random_state=0, max_epochs=30, early_stopping=True, n_iter_no_change=2, tol=0.01
    )
    dae.fit(X[:200])
    return digest(dae.predict(noisy[200:]), dae.loss_curve_, dae.validation_scores_)


def patches() -> str:
    """Learn from patches of images, by both estimators."""
    from sk_denoise import DenoisingAutoencoder, ImageDenoiser
    from sk_denoise.datasets import RandomPatches

    clean, noisy = images()
    dae = DenoisingAutoencoder(random_state=0, max_epochs=2)
    dae.fit_patches(RandomPatches(clean, 16), validation=RandomPatches(clean[:2], 16))
    denoiser = ImageDenoiser(random_state=0, max_epochs=2, patch_size=16, early_stopping=True)
    denoiser.fit(RandomPatches([*map(tuple, zip(noisy, clean, strict=True))], 16))
    ragged = ImageDenoiser(random_state=0, max_epochs=1, patch_size=16)
    ragged.fit([noisy[0], noisy[1][:40]], [clean[0], clean[1][:40]], sample_weight=[1.0, 2.0])
    return digest(
        dae.predict(noisy[:, :16, :16]),
        dae.validation_scores_,
        denoiser.predict(noisy),
        ragged.predict([noisy[2]])[0],
    )


def ensemble() -> str:
    """Fit an ensemble, and take its mean and standard deviation."""
    from sk_denoise import DenoisingAutoencoder, DenoisingEnsemble

    X, noisy = rows()
    ensemble = DenoisingEnsemble(DenoisingAutoencoder(max_epochs=2), n_estimators=2, random_state=0).fit(
        X[:200]
    )
    return digest(*ensemble.predict(noisy[200:], return_std=True))


def filters() -> str:
    """Denoise by every filter that learns nothing, and by the Wiener filter."""
    import sk_denoise

    clean, noisy = images()
    kinds = (
        "BilateralDenoiser",
        "MedianDenoiser",
        "NonLocalMeansDenoiser",
        "TotalVariationDenoiser",
        "WienerDenoiser",
    )
    return digest(*(getattr(sk_denoise, kind)().fit(clean).predict(noisy) for kind in kinds))


def pretrained() -> str:
    """Denoise by the pretrained weights, blind and with a noise level, of floats and of integers."""
    from sk_denoise.restoration import denoise_image

    _, noisy = images()
    counts = (noisy[0].clip(0, 1) * 255).astype(np.uint8)
    colors = np.stack([noisy[0], noisy[1], noisy[2]], axis=-1)
    return digest(denoise_image(noisy[0]), denoise_image(counts, sigma=25), denoise_image(colors, sigma=0.1))


def half_error(output: Any, target: Any) -> Any:
    """Return a loss of the user's."""
    return 0.5 * (output - target).abs().mean()


def cases() -> dict[str, Case]:
    """Return all cases by name."""
    import sk_denoise as package
    from sk_denoise import _registry

    found: dict[str, Case] = {}
    by_estimator = _registry.networks_of
    for name in by_estimator("DenoisingAutoencoder"):
        found[f"network {name}, rows"] = of_rows(network=name, latent_dim=8, shape=(8, 8))
    for name in by_estimator("ImageDenoiser"):
        found[f"network {name}, images"] = of_images(network=name, max_epochs=1)
        found[f"network {name}, map"] = of_images(network=name, max_epochs=1, sigma="map")
    for name, loss in _registry.LOSSES.items():
        large = loss.__dict__.get("images_only", loss.__dict__.get("pictures_only", False))
        found[f"loss {name}"] = of_images(loss=name) if large else of_rows(loss=name)
    composed = {
        "choice": lambda: package.NoiserChoice([package.GaussianNoiser(0.1), package.MaskingNoiser(0.2)]),
        "chain": lambda: package.NoiserChain([package.GaussianNoiser(0.1), package.MaskingNoiser(0.2)]),
        "region": lambda: package.RegionNoiser(package.GaussianNoiser(0.1)),
        "recorded": lambda: package.RecordedNoiser(np.sin(np.arange(200.0))),
    }
    for name, entry in _registry.NOISES.items():
        # A target of another size is for images of any size; versions before it lack the flag.
        if getattr(entry, "changes_size", False):
            continue
        noise = composed[name]() if name in composed else name
        found[f"noise {name}"] = of_rows(noise=noise, shape=(8, 8))
    found |= {
        "mixed losses": of_rows(loss={"mae": 0.3, "mse": 0.7}),
        "own loss": of_rows(loss=half_error),
        "emphasis": of_rows(noise="masking", emphasis=(1, 0.2)),
        "weights": of_rows({"sample_weight": np.linspace(0, 2, 200)}),
        "augmented": of_rows(augment=package.Augmenter(shift=1), shape=(8, 8)),
        "averaged": of_rows(weight_averaging=0.9, gradient_clipping=1.0),
        "pairs": of_images(pairs=True),
        "continued": continued,
        "early stopping": early_stopping,
        "patches": patches,
        "ensemble": ensemble,
        "filters": filters,
        "pretrained": pretrained,
    }
    return found


def measure() -> None:
    """Print the digests of all cases as JSON."""
    warnings.simplefilter("ignore")
    results = {}
    for name, case in cases().items():
        try:
            results[name] = case()
        except Exception as error:  # a case that fails must fail alike in both checkouts
            results[name] = f"{type(error).__name__}: {error}"
        print(f"{name}: {results[name]}", file=sys.stderr, flush=True)
    print(json.dumps(results))


def results_of(folder: Path) -> dict[str, str]:
    """Return the digests of a checkout."""
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, Path(__file__).resolve(), "--measure"],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    results: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return results


def main() -> int:
    """Compare two checkouts, case by case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="OLD NEW")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure()
        return 0
    if len(options.folders) != 2:
        parser.error("give two folders that hold the package")
    old, new = map(results_of, options.folders)
    both = [name for name in old if name in new]
    other = [name for name in both if old[name] != new[name]]
    failed = [name for name in both if ": " in old[name]]
    for name in both:
        print(f"{name:32} {old[name]:18} {'same' if name not in other else new[name]}")
    print(
        f"{len(both)} cases, {len(both) - len(other)} the same, {len(failed)} failed; "
        f"only in one: {set(old) ^ set(new)}"
    )
    return 1 if other or failed else 0


if __name__ == "__main__":
    sys.exit(main())
