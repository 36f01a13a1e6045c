"""Measure the effect of each default parameter, changed one at a time.

    python benchmarks/defaults.py [digits] [images] [unknown] [tables] [mnist] [start]

"mnist" and "start" read mnist.npz from the folder that the environment variable SK_DENOISE_DATA names.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
from digits import decibels, noisy, split
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sk_denoise import ConvNetwork, DenoisingAutoencoder, DenseNetwork, GaussianNoiser, PoolingNetwork
from sk_denoise.datasets import load_handwritten
from sk_denoise.estimators import _preparation
from sk_denoise.metrics import psnr
from sk_denoise.networks import _base
from sk_denoise.training import _optimizers

VARIANTS = {
    "defaults": {},
    "hidden 256": {"network": DenseNetwork((256,))},
    "hidden 1024": {"network": DenseNetwork((1024,))},
    "hidden 512, 256": {"network": DenseNetwork((512, 256))},
    "latent 32": {"latent_dim": 32},
    "latent 256": {"latent_dim": 256},
    "ReLU": {"network": DenseNetwork(activation="relu")},
    "ReLU on the latent vector": {"network": DenseNetwork(latent_activation="relu")},
    "no weight decay": {"weight_decay": 0.0},
    "Adam": {"optimizer": "adam"},
    "constant learning rate 0.001": {"learning_rate_schedule": "constant", "learning_rate": 0.001},
    "constant learning rate 0.002": {"learning_rate_schedule": "constant"},
    "cosine from the start": {"learning_rate_schedule": "cosine"},
    "batches of 128": {"batch_size": 128, "max_epochs": 120},
    "300 epochs": {"max_epochs": 300},
}
NETWORKS = {
    "dense": DenseNetwork(),
    "conv": ConvNetwork(),
    "conv, no hidden layer": ConvNetwork(hidden_layer_sizes=()),
    "conv, hidden 512": ConvNetwork(hidden_layer_sizes=(512,)),
    "conv, kernels of 5": ConvNetwork(kernel_size=5),
    "pooling": PoolingNetwork(),
    "pooling, 64 channels": PoolingNetwork((64,)),
}
# Each feature is weighted by its standard deviation alone.
UNWEIGHTED = patch.object(_preparation, "NOISE_RATIOS", (1.0, 1.0))
LARGE_LAST_LAYER = patch.object(_base, "LAST_GAIN", 1.0)
NO_WARM_UP = patch.object(_optimizers, "WARM_UP", (0.0, 0))


def digits() -> None:
    """Measure PSNR on split 0 of the digits at sigma .25 and .5, and seconds of a fit."""
    for name, settings in VARIANTS.items():
        row(name, settings)
    with UNWEIGHTED:
        row("features not weighted by noise", {})


def images() -> None:
    """Measure the same for networks, on the digits as images."""
    for name, network in NETWORKS.items():
        row(name, {"network": network, "image_shape": (8, 8)})


def row(name: str, settings: dict) -> None:
    """Print one line of the table."""
    train, test, _, _ = split(0)
    results = []
    start = time.perf_counter()
    for sigma in (0.25, 0.5):
        dae = DenoisingAutoencoder(noise=GaussianNoiser(sigma), random_state=0, **settings).fit(train)
        results.append(decibels(np.mean((dae.predict(noisy(test, sigma, 0)) - test) ** 2)))
    seconds = (time.perf_counter() - start) / 2
    print(f"{name:<34}{results[0]:>8.2f}{results[1]:>8.2f}{seconds:>8.1f} s", flush=True)


def unknown() -> None:
    """Measure PSNR with noise="auto" at unknown noise levels, for rows and images."""
    train, test, _, _ = split(0)
    print(f"{'sigma':<34}" + "".join(f"{sigma:>8}" for sigma in (0, 0.125, 0.25, 0.5)))
    for name, settings in {"rows": {}, "images": {"image_shape": (8, 8)}}.items():
        dae = DenoisingAutoencoder(random_state=0, **settings).fit(train)
        results = [
            decibels(np.mean((dae.predict(noisy(test, sigma, 0)) - test) ** 2))
            for sigma in (0, 0.125, 0.25, 0.5)
        ]
        print(f"{name:<34}" + "".join(f"{result:>8.2f}" for result in results), flush=True)


def tables() -> None:
    """Measure the share of the error that remains; 1 is no gain, means of 3 splits.

    The noise level is half a standard deviation of each feature.
    """
    sets = {"wine": load_wine, "diabetes": load_diabetes, "breast cancer": load_breast_cancer}
    print(f"{'':<20}{'ridge':>8}{'defaults':>10}{'no weight decay':>17}")
    for name, load in sets.items():
        shares = np.zeros((3, 3))
        for seed in range(3):
            X = StandardScaler().fit_transform(load().data)
            train, test = train_test_split(X, random_state=seed)
            rng = np.random.default_rng(seed)
            copies = np.repeat(train, 20, axis=0)
            X_test = test + rng.normal(0, 0.5, test.shape)
            noiser = GaussianNoiser(0.5, scale="std")
            models = [
                Ridge().fit(copies + rng.normal(0, 0.5, copies.shape), copies),
                DenoisingAutoencoder(noise=noiser, random_state=seed).fit(train),
                DenoisingAutoencoder(noise=noiser, weight_decay=0.0, random_state=seed).fit(train),
            ]
            before = np.mean((X_test - test) ** 2)
            shares[seed] = [np.mean((model.predict(X_test) - test) ** 2) / before for model in models]
        ridge, default, free = shares.mean(axis=0)
        print(f"{name:<20}{ridge:>8.2f}{default:>10.2f}{free:>17.2f}", flush=True)


def mnist() -> None:
    """Measure PSNR on MNIST at sigma .25, with 60,000 training digits."""
    if (data := load_mnist()) is None:
        return
    train, test = data
    X = test + np.random.default_rng(1).normal(0, 0.25, test.shape).astype(np.float32)
    for name, context in (("defaults", None), ("features not weighted by noise", UNWEIGHTED)):
        dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25), random_state=0)
        start = time.perf_counter()
        if context is None:
            dae.fit(train)
        else:
            with context:
                dae.fit(train)
        seconds = time.perf_counter() - start
        print(
            f"{name:<34}{decibels(np.mean((dae.predict(X) - test) ** 2)):>8.2f}{seconds:>8.1f} s", flush=True
        )


def start() -> None:
    """Measure PSNR on MNIST after two epochs, by the start of the training."""
    if (data := load_mnist()) is None:
        return
    train, test = data
    X = np.clip(test + np.random.default_rng(1).normal(0, 0.2, test.shape), 0, 1).astype(np.float32)
    starts = {
        "small last layer, warm-up": (),
        "small last layer": (NO_WARM_UP,),
        "warm-up": (LARGE_LAST_LAYER,),
        "neither": (LARGE_LAST_LAYER, NO_WARM_UP),
    }
    print(f"{'output':<34}{'linear':>8}{'sigmoid':>8}")
    for name, changes in starts.items():
        results = []
        for output in ("identity", "sigmoid"):
            relu = {"activation": "relu", "latent_activation": "relu", "output_activation": output}
            dae = DenoisingAutoencoder(
                DenseNetwork((500, 300), **relu),
                latent_dim=100,
                noise=GaussianNoiser(0.2, clip=(0, 1)),
                optimizer="adam",
                batch_size=200,
                max_epochs=2,
                image_shape=(28, 28),
                random_state=0,
            )
            with ExitStack() as stack:
                for change in changes:
                    stack.enter_context(change)
                dae.fit(train)
            results.append(psnr(test, dae.predict(X), data_range=1))
        print(f"{name:<34}" + "".join(f"{result:>8.2f}" for result in results), flush=True)


def load_mnist():
    """Return flat training and test digits, or None without MNIST."""
    data = load_handwritten()
    if data.name == "MNIST":
        return tuple(images.reshape(len(images), -1) for images in (data.train, data.test))
    print("skipped: set SK_DENOISE_DATA to the folder that holds mnist.npz")
    return None


PARTS = {part.__name__: part for part in (digits, images, unknown, tables, mnist, start)}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        print(f"\n{part}: {PARTS[part].__doc__.splitlines()[0]}")
        PARTS[part]()
