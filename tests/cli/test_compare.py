"""``sk-denoise compare``: the table of compare_denoisers, on the pictures of a folder."""

from __future__ import annotations

import importlib.util
import json
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
from click.testing import CliRunner

from sk_denoise import (
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    MedianDenoiser,
    PoissonNoiser,
    TotalVariationDenoiser,
    compare_denoisers,
)
from sk_denoise.cli import _compare
from sk_denoise.cli._compare import compare
from sk_denoise.cli._filters import FILTERS, filter_called
from sk_denoise.datasets import load_pictures
from sk_denoise.io import read_image, save, write_image
from sk_denoise.restoration import denoise_image

plt.switch_backend("Agg")

SIZES = {"a": (40, 48), "b": (32, 36), "c": (24, 40)}
QUICK = ["median", "--noise", "gaussian:0.1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make a folder of three photographs of different sizes."""
    place = tmp_path_factory.mktemp("photos")
    for (name, (height, width)), photo in zip(SIZES.items(), load_pictures("gray").test, strict=False):
        part = photo[60 : 60 + height, 60 : 60 + width]
        write_image(place / f"{name}.png", (255 * part).round().astype("uint8"))
    return place


def run(*arguments, code=0):
    result = CliRunner().invoke(compare, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def rows_of(*arguments):
    return json.loads(run(*arguments, "--format", "json").stdout)["results"]


def without(package, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))


def by_itself(filtered, picture):
    return filtered.fit(picture[None]).predict(picture[None])[0]


def test_the_table_is_that_of_the_library(folder, tmp_path):
    pictures = [read_image(path).astype(np.float32) / np.float32(255) for path in sorted(folder.iterdir())]
    small = FoldedUNetNetwork((8, 12), blocks=(1, 1))
    denoiser = ImageDenoiser(small, patch_size=16, max_epochs=1, random_state=0).fit(pictures)
    own = tmp_path / "own.safetensors"
    save(denoiser, own)
    rows = rows_of(
        "gray",
        own,
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
        str(own): partial(denoise_image, model=denoiser),
        "median": partial(by_itself, MedianDenoiser()),
        "total_variation": partial(by_itself, TotalVariationDenoiser()),
    }
    noises = {
        "gaussian:0.1": GaussianNoiser(0.1, random_state=5),
        "poisson:30": PoissonNoiser(30.0, white=1.0, random_state=5),
    }
    expected = compare_denoisers(methods, pictures, noises, data_range=1)
    for column in ("method", "noise", "psnr", "ssim"):
        assert [row[column] for row in rows] == expected[column].to_list()
    assert all(row["seconds"] > 0 for row in rows if row["method"] != "noisy")


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_filter_takes_pictures_of_any_size_and_denoises_them(name, channels):
    clean = load_pictures("rgb").test[1][150:190, 200:251].squeeze()
    clean = clean if channels == 3 else clean.mean(axis=2)
    noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape).astype(np.float32)
    before = noisy.copy()
    answer = filter_called(name)(noisy)
    assert answer.shape == noisy.shape
    assert np.mean((answer - clean) ** 2) < 0.8 * np.mean((noisy - clean) ** 2)
    np.testing.assert_array_equal(noisy, before)


def test_what_whoever_uses_a_filter_should_know_is_said(folder):
    told = run("wiener", "--on", folder, "--noise", "gaussian:0.1", "--limit", "1").stderr
    assert "wiener learns from 8 x 8 patches of scikit-image's photos" in told
    assert "NON-COMMERCIAL" in FILTERS["bm3d"].remark


def test_a_table_says_what_was_measured_and_how_much_memory_it_takes(folder):
    result = run(*QUICK, "--on", folder)
    assert "3 pictures, about" in result.stderr
    assert "MB of memory" in result.stderr
    assert "PSNR" in result.stdout
    assert "measured: mean over pictures" in result.stdout
    assert "\x1b" not in result.output


def test_too_much_is_refused_before_it_is_read(folder, monkeypatch):
    sizes = [(4000, 6000)] * 100
    monkeypatch.setattr("sk_denoise.io.image_size", lambda path: sizes.pop())
    monkeypatch.setattr("sk_denoise.io.read_image", lambda *_, **__: pytest.fail("it was read"))
    told = " ".join(run(*QUICK, "--on", folder, "--color", "rgb", "--memory", "1", code=2).stderr.split())
    assert "3 pictures would take about 3.46 GB of memory" in told
    assert "--limit, or parts of them with --crop" in told


def test_parts_in_the_middle_of_the_first_pictures(folder):
    limited = rows_of(*QUICK, "--on", folder, "--limit", "2", "--crop", "20")
    pictures = [read_image(folder / f"{name}.png").astype(np.float32) / np.float32(255) for name in "ab"]
    parts = [pictures[0][10:30, 14:34], pictures[1][6:26, 8:28]]
    noisy = compare_denoisers(
        {"m": MedianDenoiser().fit(np.stack(parts))},
        np.stack(parts),
        GaussianNoiser(0.1, random_state=0),
        data_range=1,
    )
    assert [row["psnr"] for row in limited] == pytest.approx(noisy["psnr"].to_list())


def test_colors_are_compared_where_that_is_asked_for(folder):
    (gray, _), (rgb, _) = (
        rows_of(*QUICK, "--on", folder, "--limit", "1", "--color", c) for c in ("gray", "rgb")
    )
    assert gray["psnr"] != rgb["psnr"]
    assert gray["psnr"] == pytest.approx(rgb["psnr"], abs=0.5)


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_it_draws_a_picture(folder, tmp_path, suffix, start):
    picture = tmp_path / f"picture{suffix}"
    rows = rows_of(*QUICK, "--on", folder, "--limit", "1", "--picture", picture)
    assert picture.read_bytes().startswith(start)
    assert rows[1]["psnr"] == rows_of(*QUICK, "--on", folder, "--limit", "1")[1]["psnr"]
    plt.close("all")


def test_broken_pictures_are_left_out_with_a_line(folder, tmp_path):
    (tmp_path / "a.png").write_bytes((folder / "a.png").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "broken.png" in run(*QUICK, "--on", tmp_path).stderr.splitlines()[0]
    (tmp_path / "a.png").unlink()
    assert "None of the pictures" in run(*QUICK, "--on", tmp_path, code=1).stderr


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("pandas", QUICK, "compare"),
        ("matplotlib", [*QUICK, "--picture", "x.png"], "plots"),
        ("bm3d", ["bm3d", "--noise", "gaussian"], "bm3d"),
        ("pywt", ["wavelet", "--noise", "gaussian"], "wavelets"),
    ],
)
def test_what_is_not_installed_is_said_with_how_to_install_it(folder, package, arguments, extra, monkeypatch):
    without(package, monkeypatch)
    monkeypatch.setattr(_compare, "_pictures", lambda *_: pytest.fail("it read pictures"))
    told = run(*arguments, "--on", folder, code=1).stderr
    assert f"needs {'the package ' if extra in ('bm3d', 'wavelets') else ''}{package}" in told
    assert f'pip install -e ".[{extra}]"' in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("mdian --noise gaussian", "'mdian' is neither a file nor a name. Did you mean 'median'?"),
        ("median median --noise gaussian", "median is given twice"),
        ("median --noise gaussian --noise gaussian", "The same --noise is given twice"),
        ("median", "Missing option '--noise'"),
        ("--noise gaussian", "Missing argument"),
        ("median --noise gaussian --picture x.jpg", "must end in .png, .pdf, .svg"),
        ("median --noise gaussian --picture none/x.png", "there is no folder"),
        ("median --noise gaussian -o none/x.csv", "there is no folder"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_reason(folder, arguments, message):
    told = run(*arguments.split(), "--on", folder, code=2).stderr
    assert message in " ".join(told.split())


def test_an_error_names_the_method(folder, monkeypatch):
    def fail(self, X):
        raise ValueError("no good")

    monkeypatch.setattr(MedianDenoiser, "predict", fail)
    told = run(*QUICK, "--on", folder, code=1).stderr
    assert (
        told.splitlines()[-1]
        == "Error: no good (Method 'median' under noise 'gaussian:0.1', in compare_denoisers)"
    )


def test_an_interruption_ends_with_130(folder, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_compare, "_table", interrupt)
    assert "Interrupted" in run(*QUICK, "--on", folder, code=130).stderr
