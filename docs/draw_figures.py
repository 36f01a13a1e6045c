"""Draw the figures of README and of the site's pages into docs/images.

python docs/draw_figures.py [NAME ...]

The photos come with scikit-image, the digits with scikit-learn. No pretrained network
has learned from them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from sklearn.datasets import load_digits

from sk_denoise import (
    CameraNoiser,
    DenoisingAutoencoder,
    GaussianNoiser,
    GrainNoiser,
    JPEGNoiser,
    MedianDenoiser,
    NonLocalMeansDenoiser,
    PoissonNoiser,
    RegionNoiser,
    SaltAndPepperNoiser,
    SignalDenoiser,
    SignalUNetNetwork,
    StripeNoiser,
)
from sk_denoise.metrics import psnr
from sk_denoise.plots import (
    ComparisonDisplay,
    DenoisingDisplay,
    LatentDisplay,
    LossCurveDisplay,
    NoiseRobustnessDisplay,
)
from sk_denoise.restoration import denoise_image

FOLDER = Path(__file__).parent / "images"
GAP, CAPTION, DPI = (
    8,
    26,
    100,
)  # pixels between panels, pixels above a row, pixels per inch


def grid_of_images(rows, **show):
    """Return a figure of rows of (caption, image), drawn pixel by pixel."""
    side = rows[0][0][1].shape[0]
    width = len(rows[0]) * side + (len(rows[0]) - 1) * GAP
    height = len(rows) * (side + CAPTION)
    figure = plt.figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    for i, row in enumerate(rows):
        for j, (caption, image) in enumerate(row):
            bottom = height - (i + 1) * (side + CAPTION)
            place = (
                j * (side + GAP) / width,
                bottom / height,
                side / width,
                side / height,
            )
            axes = figure.add_axes(place, frameon=False)
            axes.imshow(image, interpolation="none", **show)
            axes.set_title(caption, fontsize=10, pad=4)
            axes.set_axis_off()
    return figure


def decibels(clean, image, data_range):
    """Return the PSNR of one image as text."""
    return f"{psnr(clean[None], image[None], data_range=data_range):.1f} dB"


def before_after():
    """Draw two photos with noise of 30 grey levels, denoised, and as they are."""
    rng = np.random.default_rng(0)
    rows = []
    for photo in (data.chelsea()[:300, 80:380], data.coffee()[60:360, 130:430]):
        noisy = (
            (photo + rng.normal(0, 30, photo.shape))
            .round()
            .clip(0, 255)
            .astype(np.uint8)
        )
        denoised = denoise_image(noisy)
        rows.append(
            [
                (f"noisy, {decibels(photo, noisy, 255)}", noisy),
                (f"denoised, {decibels(photo, denoised, 255)}", denoised),
                ("original", photo),
            ]
        )
    return grid_of_images(rows)


def microscope():
    """Draw stained tissue as a 12-bit camera would count it with few photons."""
    tissue = data.immunohistochemistry()[100:400, 100:400].mean(axis=2) / 255
    clean = (4095 * tissue).astype(np.uint16)
    counts = np.random.default_rng(0).poisson(clean / 60) * 60
    noisy = counts.clip(0, 4095).astype(np.uint16)
    denoised = denoise_image(noisy)
    row = [
        (f"noisy, {decibels(clean, noisy, 4095)}", noisy),
        (f"denoised, {decibels(clean, denoised, 4095)}", denoised),
        ("original", clean),
    ]
    return grid_of_images([row], cmap="gray", vmin=0, vmax=4095)


def noises():
    """Draw a photo under four kinds of noise."""
    photo = data.chelsea()[40:240, 120:320] / 255
    kinds = {
        "Gaussian": GaussianNoiser(0.1, random_state=0),
        "Poisson": PoissonNoiser(30, white=1.0, random_state=0),
        "salt and pepper": SaltAndPepperNoiser(0.1, limits=(0.0, 1.0), random_state=0),
        "on a part": RegionNoiser(
            SaltAndPepperNoiser(0.4, limits=(0.0, 1.0)), size=(0.4, 0.6), random_state=1
        ),
    }
    row = [
        (name, np.asarray(noiser.fit_transform(photo[None])[0]).clip(0, 1))
        for name, noiser in kinds.items()
    ]
    return grid_of_images([row])


def devices():
    """Draw a photo with the noise of four devices."""
    photo = data.chelsea()[80:180, 150:250] / 255
    kinds = {
        "JPEG": JPEGNoiser(10, random_state=0),
        "grain": GrainNoiser(0.08, color_correlation=0.8, random_state=0),
        "stripes": StripeNoiser(0.06, random_state=0),
        "camera": CameraNoiser(0.02, smoothing=0.8, random_state=0),
    }
    row = [
        (name, np.asarray(noiser.fit_transform(photo[None])[0]).clip(0, 1))
        for name, noiser in kinds.items()
    ]
    # Pixels of twice the side, so that neighbours can be told apart.
    return grid_of_images(
        [[(name, image.repeat(2, 0).repeat(2, 1)) for name, image in row]]
    )


def digits(**parameters):
    """Return an autoencoder for digits, the test digits and their labels."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    noise = GaussianNoiser(parameters.pop("sigma", 0.25), random_state=0)
    dae = DenoisingAutoencoder(noise=noise, max_epochs=20, random_state=0, **parameters)
    return dae.fit(X[:1297], X_val=X[1297:]), X[1297:], y[1297:]


def digits_denoised():
    """Draw digits: clean, noisy, denoised, error."""
    dae, X, _ = digits()
    noiser = GaussianNoiser(0.25, random_state=0)
    return DenoisingDisplay.from_estimator(
        dae, X, noiser=noiser, image_shape=(8, 8)
    ).figure_


def signals():
    """Draw three noisy waves with steps and the same denoised."""
    rng = np.random.default_rng(0)

    def draw(n, length):
        time = np.arange(length) / 128
        frequency, phase = rng.uniform(2, 6, (n, 1)), rng.uniform(size=(n, 1))
        steps = (rng.uniform(size=(n, length)) < 0.02).cumsum(axis=1) % 2
        return np.sin(2 * np.pi * (frequency * time + phase)) + steps

    noise = GaussianNoiser(0.5, random_state=0)
    network = SignalUNetNetwork((16, 24, 32))
    denoiser = SignalDenoiser(network, noise=noise, max_epochs=50, random_state=0)
    denoiser.fit(draw(300, 128))
    return DenoisingDisplay.from_estimator(
        denoiser, draw(3, 300), noiser=noise, kind="signals", sampling_rate=128
    ).figure_


def robustness():
    """Draw PSNR against the noise level for three networks."""
    sigmas = (0.05, 0.25, 0.5)
    estimators = {f"trained at {sigma}": digits(sigma=sigma)[0] for sigma in sigmas}
    levels = [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    X = digits()[1]
    return NoiseRobustnessDisplay.from_estimators(
        estimators, X, sigmas=levels, data_range=1
    ).figure_


def loss_curves():
    """Draw the training of two latent sizes."""
    estimators = {f"latent {size}": digits(latent_dim=size)[0] for size in (16, 64)}
    return LossCurveDisplay.from_estimators(estimators, log_scale=True).figure_


def latents():
    """Draw a map of the latent vectors of digits."""
    dae, X, y = digits(latent_dim=16)
    return LatentDisplay.from_estimator(dae, X, y).figure_


def comparison():
    """Draw three methods on a photo."""
    photos = [data.camera()[60:220, 150:310] / 255]
    methods = {
        "median": MedianDenoiser().fit(photos),
        "non-local means": NonLocalMeansDenoiser().fit(photos),
        "pretrained": "gray",
    }
    noises = {"noise 0.1": GaussianNoiser(0.1, random_state=0)}
    return ComparisonDisplay.from_methods(methods, photos, noises, data_range=1).figure_


FIGURES = {
    "before_after.jpg": before_after,
    "microscope.jpg": microscope,
    "noises.jpg": noises,
    "devices.jpg": devices,
    "digits.png": digits_denoised,
    "signals.png": signals,
    "robustness.png": robustness,
    "loss_curves.png": loss_curves,
    "latents.png": latents,
    "comparison.jpg": comparison,
}


def main():
    """Write the figures that are named, or all."""
    plt.switch_backend("Agg")
    for name in sys.argv[1:] or FIGURES:
        options = (
            {"quality": 85, "optimize": True}
            if name.endswith(".jpg")
            else {"optimize": True}
        )
        FIGURES[name]().savefig(FOLDER / name, dpi=DPI, pil_kwargs=options)
        plt.close("all")


if __name__ == "__main__":
    main()
