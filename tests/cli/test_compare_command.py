"""``sk-denoise compare``."""

from __future__ import annotations

import json
import sys
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_denoise import (
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    MedianDenoiser,
    PoissonNoiser,
    TotalVariationDenoiser,
    compare_restorers,
)
from sk_denoise.cli import _compare_command
from sk_denoise.cli._methods import FILTERS, build_filter, filter_help
from sk_denoise.datasets import load_images
from sk_denoise.io import read_image, write_image
from sk_denoise.persistence import save
from sk_denoise.restoration import denoise_image

plt.switch_backend("Agg")

QUICK = ["median", "--noise", "gaussian:0.1"]


@pytest.fixture
def compare(expect):
    return partial(expect, "compare")


@pytest.fixture
def rows_of(compare):
    return lambda *arguments: json.loads(compare(*arguments, "--format", "json").out)["results"]


def fit_and_predict(denoiser, image):
    return denoiser.fit(image[None]).predict(image[None])[0]


def test_the_table_is_that_of_the_library(folder, tmp_path, rows_of):
    images = [read_image(path).astype(np.float32) / np.float32(255) for path in sorted(folder.iterdir())]
    small = FoldedUNetNetwork((8, 12), blocks=(1, 1))
    denoiser = ImageDenoiser(small, patch_size=16, max_epochs=1, random_state=0).fit(images)
    model_file = tmp_path / "model.safetensors"
    save(denoiser, model_file)
    rows = rows_of(
        "gray",
        model_file,
        "median",
        "total-variation",
        "--on",
        folder,
        "--noise",
        "gaussian:0.1",
        "--noise",
        "poisson:30",
        "--seed",
        "5",
    )
    methods = {
        "gray": "gray",
        str(model_file): partial(denoise_image, model=denoiser),
        "median": partial(fit_and_predict, MedianDenoiser()),
        "total_variation": partial(fit_and_predict, TotalVariationDenoiser()),
    }
    noises = {
        "gaussian:0.1": GaussianNoiser(0.1, random_state=5),
        "poisson:30": PoissonNoiser(30.0, white=1.0, random_state=5),
    }
    expected = compare_restorers(methods, images, noises, data_range=1)
    for column in ("method", "noise", "psnr", "ssim"):
        assert [row[column] for row in rows] == expected[column].to_list()
    assert all(row["seconds"] > 0 for row in rows if row["method"] != "noisy")


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_filter_takes_images_of_any_size_and_denoises_them(name, channels):
    if name == "bm3d":
        pytest.importorskip("bm3d")
    clean = load_images("rgb").test[1][150:190, 200:251].squeeze()
    clean = clean if channels == 3 else clean.mean(axis=2)
    noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape).astype(np.float32)
    before = noisy.copy()
    denoised = build_filter(name)(noisy)
    assert denoised.shape == noisy.shape
    assert np.mean((denoised - clean) ** 2) < 0.8 * np.mean((noisy - clean) ** 2)
    np.testing.assert_array_equal(noisy, before)


def test_help_lists_the_filters():
    lines = filter_help().splitlines()
    assert all(
        any(name in line and chosen.description in line for line in lines) for name, chosen in FILTERS.items()
    )
    assert max(map(len, lines)) <= 78


def test_remarks_on_filters_are_printed(folder, compare):
    messages = compare("wiener", "--on", folder, "--noise", "gaussian:0.1", "--limit", "1").err
    assert "wiener is fitted to 8 x 8 patches of scikit-image's photos" in messages
    assert "NON-COMMERCIAL" in FILTERS["bm3d"].notice


def test_a_table_describes_the_measurement_and_the_memory(folder, compare):
    result = compare(*QUICK, "--on", folder)
    assert "3 images, about" in result.err
    assert "MB of memory" in result.err
    assert "PSNR" in result.out
    assert "measured: mean over images" in result.out
    assert "\x1b" not in result.out + result.err


def test_too_many_images_are_refused_before_they_are_read(folder, monkeypatch, compare):
    sizes = [(4000, 6000)] * 100
    monkeypatch.setattr("sk_denoise.io.image_size", lambda path: sizes.pop())
    monkeypatch.setattr(
        _compare_command, "read_image_within_limit", lambda *_, **__: pytest.fail("it was read")
    )
    messages = " ".join(
        compare(*QUICK, "--on", folder, "--color", "rgb", "--memory", "1", code=2).err.split()
    )
    assert "3 images would take about 3.46 GB of memory" in messages
    assert "--limit, or parts of them with --crop" in messages


def test_limit_and_crop_use_the_centers_of_the_first_images(folder, rows_of):
    limited = rows_of(*QUICK, "--on", folder, "--limit", "2", "--crop", "20")
    images = [read_image(folder / f"{name}.png").astype(np.float32) / np.float32(255) for name in "ab"]
    parts = [images[0][10:30, 14:34], images[1][6:26, 8:28]]
    noisy = compare_restorers(
        {"m": MedianDenoiser().fit(np.stack(parts))},
        np.stack(parts),
        GaussianNoiser(0.1, random_state=0),
        data_range=1,
    )
    assert [row["psnr"] for row in limited] == pytest.approx(noisy["psnr"].to_list())


def test_images_are_compared_in_color_on_request(folder, rows_of):
    (gray, _), (rgb, _) = (
        rows_of(*QUICK, "--on", folder, "--limit", "1", "--color", c) for c in ("gray", "rgb")
    )
    assert gray["psnr"] != rgb["psnr"]
    assert gray["psnr"] == pytest.approx(rgb["psnr"], abs=0.5)


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_the_figure_is_drawn(folder, tmp_path, suffix, start, rows_of):
    image = tmp_path / f"image{suffix}"
    rows = rows_of(*QUICK, "--on", folder, "--limit", "1", "--figure", image)
    assert image.read_bytes().startswith(start)
    assert rows[1]["psnr"] == rows_of(*QUICK, "--on", folder, "--limit", "1")[1]["psnr"]
    plt.close("all")


def test_broken_images_are_left_out_with_a_message(folder, tmp_path, compare):
    (tmp_path / "a.png").write_bytes((folder / "a.png").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "broken.png" in compare(*QUICK, "--on", tmp_path).err.splitlines()[0]
    (tmp_path / "a.png").unlink()
    assert "none of the images" in compare(*QUICK, "--on", tmp_path, code=1).err


def test_images_too_small_for_a_metric_or_a_filter_are_left_out_with_a_message(folder, tmp_path, compare):
    (tmp_path / "a.png").write_bytes((folder / "a.png").read_bytes())
    for side in (1, 2, 5):
        write_image(tmp_path / f"{side}.png", np.zeros((side, 30), np.uint8))
    messages = compare(*QUICK, "--on", tmp_path).err
    assert "1.png: left out, it is smaller than the 3 x 3 pixels that SSIM needs" in messages
    assert "2.png: left out" in messages
    assert "5.png" not in messages
    messages = compare(*QUICK, "wiener", "--on", tmp_path).err
    assert "5.png: left out, it is smaller than the 8 x 8 pixels that wiener needs" in messages


@pytest.mark.parametrize("name", FILTERS)
def test_filters_take_images_of_their_smallest_size(name):
    if name == "bm3d":
        pytest.importorskip("bm3d")
    side = max(3, FILTERS[name].min_side)
    noisy = np.random.default_rng(0).normal(0.5, 0.1, (side, side)).astype(np.float32)
    assert build_filter(name)(noisy).shape == noisy.shape


@pytest.mark.parametrize("name", ["evaluate", "compare"])
def test_images_that_are_too_large_are_left_out_with_the_message_of_denoise(name, folder, run):
    arguments = {"evaluate": ["gray", folder], "compare": ["median", "--on", folder]}[name]
    messages = run(name, *arguments, "--noise", "gaussian:0.1", "--max-pixels", "1500").err
    assert "a.png: left out, it has 48 x 40 pixels, more than --max-pixels 1500" in messages


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("pandas", QUICK, "compare"),
        ("matplotlib", [*QUICK, "--figure", "x.png"], "plots"),
        ("bm3d", ["bm3d", "--noise", "gaussian"], "bm3d"),
        ("pywt", ["wavelet", "--noise", "gaussian"], "wavelets"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    folder, package, arguments, extra, monkeypatch, compare
):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(_compare_command, "_read_images", lambda *_: pytest.fail("it read images"))
    messages = compare(*arguments, "--on", folder, code=1).err
    assert f"needs {'PyWavelets' if package == 'pywt' else package}, which is not installed" in messages
    assert f'pip install "sk-denoise[{extra}]"' in messages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "mdian --noise gaussian",
            "there is no model or file 'mdian'. Did you mean 'median'? Known: auto, gray",
        ),
        ("median median --noise gaussian", "median is given twice"),
        ("median --noise gaussian --noise gaussian", "--noise gaussian is given twice"),
        ("median", "Missing option '--noise'"),
        ("--noise gaussian", "Missing argument"),
        ("median --noise gaussian --figure x.jpg", "must end in .png, .pdf, .svg"),
        ("median --noise gaussian --figure {folder}", "must end in"),
        ("median --noise gaussian -o {folder}", "is a folder; give the path of a file"),
        ("median --noise gaussian --figure {folder}/a.png", "a.png exists already; --overwrite replaces it"),
        ("rgb --noise gaussian --color gray", "--color is gray, and the model takes rgb"),
        ("median --noise gaussian --device nowhere", "device='nowhere' cannot be used here"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_reason(folder, arguments, message, compare):
    messages = compare(*arguments.format(folder=folder).split(), "--on", folder, code=2).err
    assert message in " ".join(messages.split())


def test_an_error_names_the_method(folder, monkeypatch, compare):
    def fail(self, X):
        raise ValueError("no good")

    monkeypatch.setattr(MedianDenoiser, "predict", fail)
    messages = compare(*QUICK, "--on", folder, code=1).err
    assert messages.splitlines()[-1] == (
        "sk-denoise: no good (Method 'median' under noise 'gaussian:0.1', in compare_restorers)"
    )


def test_an_interruption_ends_with_130(folder, monkeypatch, compare):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_compare_command, "_compare", interrupt)
    assert "Interrupted" in compare(*QUICK, "--on", folder, code=130).err
