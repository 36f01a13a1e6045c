"""Data and helpers that several tests share, and the seconds that each test takes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

# scikit-learn dispatches to other array libraries only where scipy heard of it before it was first imported
os.environ["SCIPY_ARRAY_API"] = "1"

try:
    import resource
except ModuleNotFoundError:  # on Windows
    resource = None

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import sk_denoise
from sk_denoise.training import _batches


@dataclass(frozen=True)
class Digits:
    """8 x 8 digits in [0, 1], flat: 1297 to train on and 500 to test on, the split of one seed."""

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    seed: int

    @classmethod
    def split(cls, seed: int) -> Digits:
        X, y = load_digits(return_X_y=True)
        parts = train_test_split(X / 16, y, test_size=500, stratify=y, random_state=seed)
        return cls(*parts, seed)

    def noisy_test(self, sigma: float) -> NDArray[np.float64]:
        """Return the test digits under the seed's noise."""
        return self.test + np.random.default_rng(self.seed + 1).normal(0, sigma, self.test.shape)

    def decibels(self, prediction: NDArray[np.float64]) -> float:
        """Return the PSNR of the mean MSE of denoised test digits, data range 1."""
        return float(-10 * np.log10(np.mean((self.test - prediction) ** 2)))


# Estimators that need parameters, or small ones, for tests of all: 8 x 8 images, or such rows.
EXAMPLES: dict[str, Callable[[], BaseEstimator]] = {
    "BandPassDenoiser": lambda: sk_denoise.BandPassDenoiser(high=0.2),
    "CameraNoiser": lambda: sk_denoise.CameraNoiser(image_shape=(8, 8)),
    "DenoisingEnsemble": lambda: sk_denoise.DenoisingEnsemble(
        sk_denoise.DenoisingAutoencoder(max_epochs=1, random_state=0, latent_dim=8), 2, random_state=0
    ),
    "HumNoiser": lambda: sk_denoise.HumNoiser(500),
    "ImageDenoiser": lambda: sk_denoise.ImageDenoiser(
        sk_denoise.FoldedUNetNetwork((8, 8), blocks=(1, 1)), max_epochs=1, random_state=0
    ),
    "JPEGNoiser": lambda: sk_denoise.JPEGNoiser(image_shape=(8, 8)),
    "NoiserChain": lambda: sk_denoise.NoiserChain([sk_denoise.GaussianNoiser(random_state=0)]),
    "NoiserChoice": lambda: sk_denoise.NoiserChoice([sk_denoise.GaussianNoiser(random_state=0)]),
    "RecordedNoiser": lambda: sk_denoise.RecordedNoiser(
        np.random.default_rng(0).normal(size=(2, 64)), kind="signals"
    ),
    "RegionNoiser": lambda: sk_denoise.RegionNoiser(sk_denoise.GaussianNoiser()),
    "SavitzkyGolayDenoiser": lambda: sk_denoise.SavitzkyGolayDenoiser(5),
    "SignalDenoiser": lambda: sk_denoise.SignalDenoiser(
        sk_denoise.SignalUNetNetwork((8, 8)), max_epochs=1, random_state=0
    ),
    "StripeNoiser": lambda: sk_denoise.StripeNoiser(image_shape=(8, 8)),
    "VarianceStabilizer": lambda: sk_denoise.VarianceStabilizer(gain=1.0),
    "WienerMixtureDenoiser": lambda: sk_denoise.WienerMixtureDenoiser(noise=0.25),
}


@pytest.fixture(scope="session")
def make_estimator() -> Callable[[str], BaseEstimator]:
    """Return a function that makes a public estimator or spec by its name."""
    return lambda name: EXAMPLES.get(name, getattr(sk_denoise, name))()


@pytest.fixture(scope="session")
def digits() -> Digits:
    return Digits.split(seed=0)


@pytest.fixture(scope="session")
def document_files(tmp_path_factory) -> Path:
    """Lay out images and a model under the names that the documents use."""
    import tifffile
    from PIL import Image

    from sk_denoise import DnCNNNetwork, GaussianNoiser, ImageDenoiser
    from sk_denoise.datasets import load_images
    from sk_denoise.persistence import save

    folder = tmp_path_factory.mktemp("document_files")
    for name in ("photos/trip", "clean", "test", "scans", "long", "short"):
        (folder / name).mkdir(parents=True)
    photos = load_images()
    clean = photos.test[0][64:160, 64:160]
    noise = np.random.default_rng(0).normal(0, 10, clean.shape)
    noisy = Image.fromarray((255 * clean + noise).round().clip(0, 255).astype(np.uint8))
    noisy.save(folder / "noisy.png")
    noisy.save(folder / "photos" / "a.jpg", quality=95)
    noisy.convert("L").save(folder / "photos" / "trip" / "b.png")
    for name, photo in zip(("cat", "coffee"), photos.test[1:], strict=True):
        part = photo[100:228, 100:228]
        Image.fromarray((255 * part).round().astype(np.uint8)).save(folder / "test" / f"{name}.png")
    Image.fromarray((255 * clean).round().astype(np.uint8)).save(folder / "clean" / "a.png")
    noisy.save(folder / "scans" / "1.png")
    (folder / "scans" / "2.png").write_bytes((folder / "noisy.png").read_bytes()[:5000])

    frames = [(4095 * photo[:96, :96]).astype(np.uint16) for photo in load_images("gray").test[:3]]
    tifffile.imwrite(folder / "stack.tif", np.stack(frames), photometric="minisblack")
    write_scan(folder / "scan.dcm")
    write_large_images(folder, frames)
    for number, frame in enumerate(frames):
        few_photons = np.random.default_rng(number).poisson(frame / 40) * 40
        Image.fromarray(frame).save(folder / "long" / f"{number}.png")
        Image.fromarray(few_photons.astype(np.uint16)).save(folder / "short" / f"{number}.png")

    write_recordings(folder)
    model = ImageDenoiser(
        DnCNNNetwork(2, width=4), noise=GaussianNoiser(0.1), sigma="map", max_epochs=1, random_state=0
    )
    save(model.fit(photos.train[:2]), folder / "mine.safetensors")
    return folder


def write_large_images(folder: Path, frames: list[NDArray[np.uint16]]) -> None:
    """Write an OME-Zarr image of two channels and two levels, and a TIFF of tiles."""
    import tifffile
    import zarr

    noise = np.random.default_rng(0).normal(0, 60, (2, 96, 96))
    noisy = (np.stack(frames[:2]) + noise).round().clip(0, 4095).astype(np.uint16)
    group = zarr.open_group(folder / "big.zarr", mode="w")
    datasets = []
    for level, array in enumerate((noisy, noisy[:, ::2, ::2])):
        group.create_array(str(level), data=array, chunks=(1, 32, 32))
        transform = [{"type": "scale", "scale": [1.0, 2.0**level, 2.0**level]}]
        datasets.append({"path": str(level), "coordinateTransformations": transform})
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    tifffile.imwrite(folder / "slide.tif", noisy[0], tile=(32, 32), bigtiff=True)


def write_recordings(folder: Path) -> None:
    """Write signals of two channels: a noisy one, and a folder of clean ones."""
    from sk_denoise.io import Recording, write_signal

    rng = np.random.default_rng(0)
    (folder / "recordings").mkdir()
    for number in range(13):
        beats = np.sin(2 * np.pi * (np.arange(1000) / rng.uniform(150, 250) + rng.uniform()))
        values = np.stack([beats**15, 0.5 * beats**7])
        path = folder / "recordings" / f"{number:02}.csv"
        if number == 12:
            path, values = folder / "ecg.csv", values + rng.normal(0, 0.1, values.shape)
        recording = Recording(values.round(4), 250.0, channel_names=["I", "II"], units=["mV", "mV"])
        write_signal(path, recording)


def write_scan(path: Path) -> None:
    """Write a DICOM file: a CT scan of 12 bits, in Hounsfield units below 0."""
    import pydicom

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    scan = pydicom.dataset.FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    scan.SOPClassUID, scan.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    scan.Rows, scan.Columns, scan.SamplesPerPixel = 64, 48, 1
    scan.PhotometricInterpretation, scan.PixelRepresentation = "MONOCHROME2", 0
    scan.BitsAllocated, scan.BitsStored, scan.HighBit = 16, 12, 11
    scan.RescaleSlope, scan.RescaleIntercept = 1, -1024
    scan.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    scan.PixelData = np.random.default_rng(0).normal(1000, 30, (64, 48)).round().astype(np.uint16).tobytes()
    scan.save_as(path, enforce_file_format=True)


@pytest.fixture
def in_document_files(document_files, tmp_path, monkeypatch) -> None:
    """Change to a copy of the files of the documents."""
    shutil.copytree(document_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def batches_drawn_alone(monkeypatch) -> None:
    """Draw every batch by itself, so that a noiser sees where a run is."""
    monkeypatch.setattr(_batches, "ENTRIES_AT_ONCE", 1)


SLOW_DOCTESTS = {"export_onnx"}  # a docstring cannot be marked


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.DoctestItem) and item.name.rpartition(".")[2] in SLOW_DOCTESTS:
            item.add_marker(pytest.mark.slow)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Measured())
    # The first optimizer of a process loads this, for over a second, which counts to no test of a whole run.
    if hasattr(config, "workerinput"):
        import torch._dynamo  # noqa: F401


class Measured:
    """Hooks for all tests, docstrings too: those of this file itself are asked for tests beside it alone."""

    def note(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note the seconds of the processor in a hook, and the memory; .ci/durations.py reads both."""
        before = sum(os.times()[:4])  # of this process, and of those that it started and that ended
        try:
            return (yield)
        finally:
            noted = dict(item.user_properties)
            noted["seconds"] = max(noted.get("seconds", 0), round(sum(os.times()[:4]) - before, 2))
            if resource is not None:
                noted["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000  # most so far
            if item.get_closest_marker("slow"):
                noted["slow"] = True
            item.user_properties[:] = noted.items()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self.note(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self.note(item))

    def pytest_runtest_teardown(self) -> None:
        # A pool of processes stays for the next search, half a gigabyte each. When it ends, minutes later,
        # its seconds would count to a test that has nothing to do with it.
        pools = sys.modules.get("joblib.externals.loky.reusable_executor")
        if pools is not None and pools._executor is not None:
            pools._executor.shutdown(wait=True, kill_workers=True)
