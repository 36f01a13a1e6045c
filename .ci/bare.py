"""Show that a plain install does its work, and names what it lacks; see `make test-bare`.

Runs where the wheel was installed without extras. Each line is a use of the library: what works, or the
message that a user meets.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

import sk_denoise
from sk_denoise import (
    BM3DDenoiser,
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DnCNNNetwork,
    GaussianNoiser,
    ImageDenoiser,
    MedianDenoiser,
    NonLocalMeansDenoiser,
    TotalVariationDenoiser,
    WaveletDenoiser,
    WienerDenoiser,
    compare_restorers,
    make_denoising_scorer,
    parallel_dask,
)
from sk_denoise.app import run
from sk_denoise.datasets import ImageFolder, RandomPatches, load_handwritten, load_images
from sk_denoise.exceptions import MissingExtraError
from sk_denoise.io import image_size, open_stack, read_image, read_stack, write_image, write_stack
from sk_denoise.metrics import mse, nmse, psnr, ssim
from sk_denoise.persistence import export_onnx, load, save
from sk_denoise.plots import DenoisingDisplay
from sk_denoise.restoration import denoise_file, denoise_image, denoise_zarr, estimate_sigma, load_pretrained

# Pillow and tifffile come with scikit-image.
ABSENT = (
    "bm3d click dask httpcore imagecodecs matplotlib onnx onnxscript pandas pydicom pywt rich skops "
    "streamlit zarr"
)

X = load_digits().data / 16
NOISY = X + np.random.default_rng(0).normal(0, 0.25, X.shape)
IMAGES = X[:40].reshape(-1, 8, 8)
PHOTO = (255 * load_images("gray").test[0][:64, :64]).round().astype(np.uint8)
TEMPORARY = tempfile.TemporaryDirectory()
FOLDER = Path(TEMPORARY.name)
DAE = DenoisingAutoencoder(noise=GaussianNoiser(0.25), random_state=0).fit(X[:1297])
SMALL = ImageDenoiser(DnCNNNetwork(2, width=4), max_epochs=1, patch_size=16, random_state=0)


# What works ----------------------------------------------------------------------------------------------


def denoise_new_rows() -> str:
    """Denoise rows that the estimator did not learn from."""
    before, after = psnr(X[1297:], NOISY[1297:], data_range=1), DAE.score(NOISY[1297:], X[1297:])
    assert after > before + 5
    return f"{before:.1f} dB become {after:.1f}"


def search() -> str:
    """Search over a pipeline with a noiser, scored on fixed noise."""
    dae = DenoisingAutoencoder(max_epochs=2, random_state=0)
    grid = GridSearchCV(
        Pipeline([("noise", GaussianNoiser(0.25)), ("dae", dae)]),
        {"dae__latent_dim": [8, 32]},
        scoring=make_denoising_scorer(GaussianNoiser(0.25, random_state=0), data_range=1),
        cv=2,
    ).fit(X[:500])
    return f"latent_dim={grid.best_params_['dae__latent_dim']}"


def images() -> str:
    """Learn from photographs, and denoise one."""
    photos = load_images("gray").train[:1]
    fitted = SMALL.fit(RandomPatches(photos, 16, patches_per_image=64))
    return f"{fitted.predict([photos[0][:40, :50]])[0].shape}"


def pretrained() -> str:
    """Denoise an image with pretrained weights."""
    noise = np.random.default_rng(0).normal(0, 15, PHOTO.shape)
    noisy = (PHOTO + noise).round().clip(0, 255).astype(np.uint8)
    denoised = denoise_image(noisy, sigma=15)
    before, after = (psnr(PHOTO[None], image[None], data_range=255) for image in (noisy, denoised))
    assert after > before + 2
    assert load_pretrained("gray").predict([noisy / 255])[0].shape == PHOTO.shape
    assert 10 < estimate_sigma(noisy) < 20
    return f"{before:.1f} dB become {after:.1f}"


def saved() -> str:
    """Save an estimator, and load it."""
    save(DAE, FOLDER / "dae.safetensors")
    assert np.array_equal(load(FOLDER / "dae.safetensors").predict(NOISY[:9]), DAE.predict(NOISY[:9]))
    return "the same predictions"


def metrics() -> str:
    """Compute the four metrics."""
    clean, noisy = IMAGES, NOISY[:40].reshape(-1, 8, 8)
    values = [mse(clean, noisy), nmse(clean, noisy)]
    values += [metric(clean, noisy, data_range=1) for metric in (psnr, ssim)]
    assert np.isfinite(values).all()
    return "mse, nmse, psnr, ssim"


def filters() -> str:
    """Run every filter that needs no package of its own."""
    for kind in (MedianDenoiser, NonLocalMeansDenoiser, TotalVariationDenoiser, WienerDenoiser):
        assert np.isfinite(kind().fit(IMAGES).predict(IMAGES)).all()
    return "median, non-local means, total variation, Wiener"


def ensemble() -> str:
    """Denoise by several seeds, with a standard deviation."""
    member = DenoisingAutoencoder(max_epochs=1)
    fitted = DenoisingEnsemble(member, n_estimators=2, random_state=0).fit(X[:300])
    return str([part.shape for part in fitted.predict(NOISY[:3], return_std=True)])


def data_sets() -> str:
    """Load digits and photographs."""
    return f"{len(load_handwritten().train)} digits, {len(load_images().train)} photos"


WORKS = (denoise_new_rows, search, images, pretrained, saved, metrics, filters, ensemble, data_sets)

# What is missing -----------------------------------------------------------------------------------------

LACKS: dict[str, tuple[str, Callable[[], object]]] = {
    "read_image": ("images", lambda: read_image(FOLDER / "a.png")),
    "write_image": ("images", lambda: write_image(FOLDER / "a.png", PHOTO)),
    "image_size": ("images", lambda: image_size(FOLDER / "a.png")),
    "open_stack": ("images", lambda: open_stack(FOLDER / "a.tif")),
    "read_stack": ("images", lambda: read_stack(FOLDER / "a.tif")),
    "write_stack": ("images", lambda: write_stack(FOLDER / "a.tif", PHOTO, axes="YXS")),
    "ImageFolder": ("images", lambda: ImageFolder(FOLDER)),
    "denoise_file": ("images", lambda: denoise_file(FOLDER / "a.png", FOLDER / "b.png")),
    "denoise_zarr": ("zarr", lambda: denoise_zarr(FOLDER / "a.zarr", FOLDER / "b.zarr")),
    "parallel_dask": ("dask", lambda: parallel_dask().__enter__()),
    "DenoisingDisplay.from_estimator": (
        "plots",
        lambda: DenoisingDisplay.from_estimator(DAE, X[1297:], noiser=GaussianNoiser(0.25)),
    ),
    "compare_restorers": ("compare", lambda: compare_restorers([DAE], X[1297:], GaussianNoiser(0.25))),
    "to_frame": ("compare", lambda: DAE.summary().to_frame()),
    "export_onnx": ("onnx", lambda: export_onnx(DAE, FOLDER / "a.onnx")),
    "WaveletDenoiser": ("wavelets", lambda: WaveletDenoiser().fit(IMAGES)),
    "BM3DDenoiser": ("bm3d", lambda: BM3DDenoiser().fit(IMAGES)),
    "The app": ("app", run),
}
COMMANDS = (
    [sys.executable, "-m", "sk_denoise"],
    [str(Path(sys.executable).with_name("sk-denoise")), "denoise", "a.png"],
)


def message_of(use: Callable[[], object]) -> str:
    """Return the message of the error that a use ends with, and "" where it does its work."""
    try:
        use()
    except MissingExtraError as error:
        return str(error)
    return ""


def main() -> int:
    """Try everything, and print how it went."""
    installed = [name for name in ABSENT.split() if find_spec(name)]
    assert not installed, f"this environment is not bare: it has {installed}"
    print(f"sk_denoise {sk_denoise.__version__} in {Path(sk_denoise.__file__).parent}\n")
    for use in WORKS:
        print(f"works   {use.__name__}: {use()}")
    for caller, (extra, use) in LACKS.items():
        message = message_of(use)
        assert message.startswith(f"{caller} needs "), (caller, message)
        assert f'pip install "sk-denoise[{extra}]"' in message, message
        print(f"lacks   {message}")
    for command in COMMANDS:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1), ended
        assert 'pip install "sk-denoise[cli]"' in ended.stderr, ended
        print(f"lacks   {ended.stderr.strip()}")
    print(f"\n{len(WORKS) + len(LACKS) + len(COMMANDS)} passed, 0 failed")
    return 0


if __name__ == "__main__":
    warnings.simplefilter("error")
    with TEMPORARY:
        sys.exit(main())
