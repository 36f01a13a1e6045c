"""``sk-denoise denoise``."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from sk_denoise import DnCNNNetwork, GaussianNoiser, ImageDenoiser, WienerDenoiser
from sk_denoise.cli import main
from sk_denoise.io import read_image, write_image, write_stack
from sk_denoise.persistence import load, save
from sk_denoise.restoration import denoise_image, estimate_noise, estimate_sigma


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Save small models of every kind to a folder."""
    folder = tmp_path_factory.mktemp("models")
    images = np.random.default_rng(0).random((4, 16, 16))
    settings = {"noise": GaussianNoiser(0.1), "max_epochs": 1, "patch_size": 16, "random_state": 0}
    small = DnCNNNetwork(2, width=4)
    save(ImageDenoiser(small, sigma="map", **settings).fit(images), folder / "map")
    save(ImageDenoiser(small, sigma="blind", **settings).fit(images), folder / "blind")
    settings["noise"] = GaussianNoiser(20)
    save(ImageDenoiser(small, sigma="map", **settings).fit(300 * images), folder / "counts")
    save(ImageDenoiser(small), folder / "unfitted")
    save(WienerDenoiser(), folder / "filter")
    (folder / "damaged").write_bytes((folder / "map").read_bytes()[:-10])
    return folder


# One image ---------------------------------------------------------------------------------------------


def test_an_image_is_denoised_as_by_the_library(make, run):
    make.png(Path("a.png"))
    code, out, err = run("denoise", "a.png", "-o", "b.png")
    assert (code, out) == (0, "1 written, 0 failed\n")
    image = read_image("a.png")
    assert (read_image("b.png") == denoise_image(image)).all()
    assert err == f"[1/1] a.png -> b.png, {estimate_noise(image)}\n"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_sigma_is_in_grey_levels_of_255_for_every_depth(dtype, make, run):
    white = np.iinfo(dtype).max if dtype.startswith("u") else 1
    write_image("a.tif", (make.noisy() / 255 * white).astype(dtype))
    code, _, err = run("denoise", "a.tif", "-o", "b.tif", "--sigma", "12.75")
    assert (code, err) == (0, "[1/1] a.tif -> b.tif\n")
    assert read_image("b.tif").dtype == dtype
    assert (read_image("b.tif") == denoise_image(read_image("a.tif"), sigma=0.05 * white)).all()
    _, _, err = run("denoise", "a.tif", "-o", "c.tif")
    assert "white noise: about " in err
    assert 9 < float(re.search(r"([\d.]+) of 255", err)[1]) < 11


@pytest.mark.parametrize("noise", ["auto", "white", "counts", "camera"])
def test_kind_strength_and_outliers_reach_the_library(noise, make, run):
    side = 160
    light = np.linspace(5, 200, side)[:, None] * np.ones(side)
    image = np.random.default_rng(0).poisson(light).astype(np.uint8)
    image[10, 10] = 255
    write_image("a.png", image)
    options = ["--noise", noise, "--strength", "50", "--outliers", "replace"]
    code, _, err = run("denoise", "a.png", "-o", "b.png", *options)
    assert code == 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        expected = denoise_image(image, noise=noise, strength=0.5, outliers="replace")
    assert (read_image("b.png") == expected).all()
    model = estimate_noise(image, kind=noise, outliers="replace")
    assert err.splitlines()[-1] == f"[1/1] a.png -> b.png, {model}"
    assert err.count("\n") == 1 + len(caught)
    assert noise in ("auto", model.kind)


def test_the_noise_is_estimated_once(make, run, monkeypatch):
    make.png(Path("a.png"))
    calls = []
    real = estimate_noise
    monkeypatch.setattr(
        "sk_denoise.restoration.estimate_noise", lambda *x, **options: calls.append(x) or real(*x, **options)
    )

    def refuse(*args):
        raise AssertionError("estimated again")

    monkeypatch.setattr("sk_denoise.restoration._removal.estimate_kind", refuse)
    assert run("denoise", "a.png", "-o", "b.png").code == 0
    assert len(calls) == 1


def test_an_image_without_noise_is_said_to_be_unchanged(make, run):
    drawing = np.full((64, 64), 255, np.uint8)
    drawing[10:40, 20:50] = 60
    write_image("a.png", drawing)
    assert run("denoise", "a.png", "-o", "b.png").err == (
        "[1/1] a.png -> b.png, no visible noise: unchanged\n"
    )
    assert (read_image("b.png") == drawing).all()
    drawing[50, 50] = 0
    write_image("a.png", drawing)
    err = run("denoise", "a.png", "-o", "b.png", "--overwrite", "--outliers", "replace").err
    assert "stripes or outliers are removed" in err
    assert read_image("b.png")[50, 50] == 255


@pytest.mark.parametrize("white", [255, 65535, 1])
def test_noise_that_is_not_white_is_noted_in_words_of_the_command_line(white, make, run):
    coarse = np.random.default_rng(0).normal(128, 20, (48, 48)).repeat(2, 0).repeat(2, 1)
    dtype = {255: np.uint8, 65535: np.uint16, 1: np.float32}[white]
    write_image("a.tif", (coarse.clip(0, 255) / 255 * white).astype(dtype))
    note, _ = run("denoise", "a.tif", "-o", "b.tif", "--noise", "white").err.splitlines()
    advice = re.fullmatch(
        r"a\.tif: The noise does not look white: .* Try --noise auto, or --sigma (\d+)\.", note
    )
    # Squares of 2 x 2 equal pixels have the level 40 at two pixels.
    assert 40 < int(advice[1]) < 90
    options = ["--noise", "auto", "--overwrite"]
    assert "Try" not in run("denoise", "a.tif", "-o", "b.tif", *options).err
    assert "camera" in run("denoise", "a.tif", "-o", "b.tif", *options).err


def test_a_stack_has_one_line_with_the_noise_of_each_channel(make, run):
    planes = np.stack([[make.noisy(seed=z), make.noisy(sigma=3, seed=z) // 2] for z in range(3)])
    write_stack("a.tif", planes, axes="ZCYX")
    (line,) = run("denoise", "a.tif", "-o", "b.tif").err.splitlines()
    start, first, second = re.split("channel [12], ", line)
    assert start == "[1/1] a.tif -> b.tif, 6 planes (ZCYX), "
    assert first.startswith("white noise: about 10")
    assert re.match("white noise: about [12]", second)


def test_series_of_a_file_have_models_of_their_own(make, run):
    with tifffile.TiffWriter("a.tif") as writer:
        for sigma, side in ((10, 32), (3, 40)):
            planes = np.stack([make.noisy(sigma=sigma, seed=z, side=side) for z in range(2)])
            writer.write(planes.astype(np.uint16) if side == 40 else planes, photometric="minisblack")
    (line,) = run("denoise", "a.tif", "-o", "b.tif").err.splitlines()[-1:]
    assert re.match(
        r"\[1/1\] a.tif -> b.tif, 2 series, model 1, white noise: .*; model 2, white noise: ", line
    )
    (line,) = run("denoise", "a.tif", "-o", "c.tif", "--model", "camera").err.splitlines()[-1:]
    assert line == "[1/1] a.tif -> c.tif, 2 series, removed without a noise level"


def test_a_blind_model_says_how_much_it_removed(make, run):
    make.photo(Path("a.jpg"))
    (line,) = run("denoise", "a.jpg", "-o", "b.png", "--model", "camera").err.splitlines()
    change = read_image("a.jpg").astype(float) - read_image("b.png").astype(float)
    assert line == f"[1/1] a.jpg -> b.png, about {np.sqrt(np.mean(change**2)):.1f} of 255 removed"


def test_options_reach_the_library(make, run):
    make.photo(Path("a.jpg"))
    options = ["--model", "gray", "--ensemble", "--quality", "60", "--sigma", "8", "--device", "cpu"]
    assert run("denoise", "a.jpg", "-o", "b.jpg", *options)[0] == 0
    expected = denoise_image(read_image("a.jpg"), model="gray", ensemble=True, sigma=8)
    write_image("c.jpg", expected, like="a.jpg", quality=60)
    assert Path("b.jpg").read_bytes() == Path("c.jpg").read_bytes()


def test_another_format_is_written_as_by_the_library(make, run):
    make.photo(Path("a.jpg"))
    assert run("denoise", "a.jpg", "-o", "new/b.png", "--sigma", "10")[0] == 0
    with Image.open("new/b.png") as image:
        assert image.format == "PNG"
        assert image.info["icc_profile"] == make.profile
        assert image.getexif()[271] == "Maker"
    assert (read_image("new/b.png") == denoise_image(read_image("a.jpg"), sigma=10)).all()


def test_a_format_that_cannot_hold_the_image_is_named_before_the_work(make, run, monkeypatch):
    write_image("a.png", make.noisy().astype(np.uint16) * 257)

    def refuse(*args, **kwargs):
        raise AssertionError("the image was denoised")

    monkeypatch.setattr("sk_denoise.restoration.denoise_image", refuse)
    code, out, err = run("denoise", "a.png", "-o", "b.jpg")
    assert (code, out) == (1, "0 written, 1 failed\n")
    assert "a.png: b.jpg: JPEG holds uint8, got uint16; write PNG or TIFF" in err
    assert not Path("b.jpg").exists()


def test_a_too_large_image_is_refused_with_the_name_of_the_option(make, run):
    make.png(Path("a.png"))
    code, _, err = run("denoise", "a.png", "-o", "b.png", "--max-pixels", make.side**2 - 1)
    assert code == 1
    assert "a.png: it has 32 x 32 pixels, more than --max-pixels 1023" in err
    assert run("denoise", "a.png", "-o", "b.png", "--max-pixels", make.side**2)[0] == 0


def test_quiet_prints_failures_only(make, run):
    make.png(Path("in/a.png"))
    assert run("denoise", "in", "-o", "out", "-q") == (0, "", "")
    Path("in/b.png").touch()
    code, out, err = run("denoise", "in", "-o", "out", "--quiet", "--skip-existing")
    assert (code, out) == (1, "")
    assert err == "Not denoised:\n  in/b.png: the file is empty; copy it again from where it came\n"


def test_a_warning_of_the_library_is_a_line_with_the_file_name(make, run, models):
    make.png(Path("a.png"), sigma=80)
    model = models / "map"
    code, _, err = run("denoise", "a.png", "-o", "b.png", "-q", "--model", model)
    assert code == 0
    assert err.startswith("a.png: The noise of image is estimated at ")
    assert err.count("\n") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (read_image("b.png") == denoise_image(read_image("a.png"), model=load(model))).all()


# Models --------------------------------------------------------------------------------------------------


def test_a_model_is_loaded_from_a_file(make, run, models):
    make.png(Path("a.png"))
    for name in ("map", "blind", "counts"):
        code, _, err = run("denoise", "a.png", "-o", f"{name}.png", "--model", models / name)
        assert code == 0
        assert ("white noise: about " in err) == (name != "blind")
        assert ("removed" in err) == (name == "blind")
        expected = denoise_image(read_image("a.png"), model=load(models / name))
        assert (read_image(f"{name}.png") == expected).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model", "grey"],
            "there is no model or file 'grey'. Did you mean 'gray'? Known: auto, gray, rgb,",
        ),
        (
            ["--model", "{models}/filter"],
            "filter holds a WienerDenoiser, where a fitted ImageDenoiser was expected",
        ),
        (["--model", "{models}/unfitted"], "unfitted holds an ImageDenoiser that is not fitted"),
        (["--model", "{models}/damaged"], "damaged cannot be loaded: "),
        (["--model", "a.png"], "a.png cannot be loaded: "),
        (["--model", "{models}/blind", "--sigma", "5"], "was trained without the noise level (blind)"),
        (
            ["--model", "{models}/map", "--sigma", "50"],
            "--sigma 50 is more than the strongest noise in the training",
        ),
        (["--model", "camera", "--sigma", "10"], "camera was trained without the noise level (blind)"),
        (
            ["--model", "camera", "--noise", "white"],
            "the model camera removes the noise of cameras; leave --n",
        ),
        (
            ["--model", "{models}/map", "--noise", "counts"],
            "--noise counts is for pretrained models; {models}/map removes the noise of its training",
        ),
        (
            ["--sigma", "10", "--noise", "camera"],
            "--sigma is the level of white noise and contradicts --noise camera; give one of them",
        ),
        (["--noise", "pink"], "'pink' is not one of 'auto', 'white', 'counts', 'camera'"),
        (["--strength", "101"], "--strength"),
        (["--outliers", "drop"], "'drop' is not one of 'keep', 'replace'"),
        (["--sigma", "256"], "--sigma 256 is more than the 255 grey levels from black to white"),
        (["--sigma", "-1"], "expected a number of grey levels, 0 or more, got '-1'"),
        (["--sigma", "nan"], "expected a number of grey levels"),
        (["--sigma", "much"], "expected a number of grey levels"),
        (["--device", "nowhere"], "device='nowhere' cannot be used here"),
        (["--device", "meta"], "device='meta' cannot be used here"),
        (["--quality", "0"], "--quality"),
        (["--max-pixels", "0"], "--max-pixels"),
        (["--overwrite", "--skip-existing"], "--overwrite and --skip-existing contradict each other"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_done(options, message, make, run, models):
    make.png(Path("a.png"))
    options = [option.format(models=models) for option in options]
    code, out, err = run("denoise", "a.png", "-o", "out", *options)
    assert (code, out) == (2, "")
    assert message.format(models=models) in err
    assert err.count("\n") == 1 or "Try 'sk-denoise denoise --help'" in err
    assert os.listdir() == ["a.png"]  # noqa: PTH208


# Floats beyond [0, 1] ------------------------------------------------------------------------------------


def test_counts_in_floats_are_denoised_as_the_same_image_in_0_to_1_with_a_message(make, run):
    unit = (make.noisy() / 255).astype(np.float32)
    unit[0, :2] = 0, 1
    write_image("counts.tif", 4095 * unit)
    write_image("unit.tif", unit)
    code, _, err = run("denoise", "counts.tif", "-o", "out")
    assert code == 0
    line, result = err.splitlines()
    assert line == "counts.tif: 0 is taken as black and 4095 as white"
    assert result.endswith(f"({255 * estimate_noise(unit).sigma:.1f} of 255)")
    for options in ([], ["--sigma", "10"]):
        run("denoise", "counts.tif", "unit.tif", "-o", "out", "--overwrite", *options)
        counts, expected = read_image("out/counts.tif"), read_image("out/unit.tif")
        assert counts.dtype == np.float32
        assert np.sqrt(np.mean((counts / 4095 - expected) ** 2)) < 0.01
        assert np.abs(expected - unit).mean() > 0.01


def test_floats_that_noise_moves_beyond_0_and_1_are_not_rescaled(make, run):
    noisy = (make.noisy() / 255 + 0.3).astype(np.float32)
    write_image("a.tif", noisy)
    assert "taken as" not in run("denoise", "a.tif", "-o", "b.tif").err
    assert (read_image("b.tif") == denoise_image(noisy)).all()


def test_alpha_of_counts_is_kept(make, run):
    counts = make.noisy(4).astype(np.float32) * 16
    counts[..., 3] = 0.5
    write_image("a.tif", counts)
    assert run("denoise", "a.tif", "-o", "b.tif").code == 0
    assert (read_image("b.tif")[..., 3] == 0.5).all()


def test_a_model_trained_on_counts_gets_counts(make, run, models):
    counts = make.noisy().astype(np.float32)
    write_image("a.tif", counts)
    assert run("denoise", "a.tif", "-o", "b.tif", "--model", models / "counts").code == 0
    assert (read_image("b.tif") == denoise_image(counts, model=load(models / "counts"))).all()


# Folders -------------------------------------------------------------------------------------------------


def mixed_folder(make, folder):
    """Write 95 images of every kind and 5 broken files, and return the broken names."""
    for name in ("bmp", "webp"):
        (folder / name).mkdir(parents=True)
    for i in range(10):
        make.photo(folder / f"photos/{i}.jpg", seed=i)
        make.png(folder / f"gray/{i}.png", seed=i)
        depths = make.noisy(3, seed=i).astype(np.uint16) * 257
        write_image(folder / f"gray/deep{i}.png", depths)
        write_image(folder / f"gray/deep{i}.tif", depths[..., 0])
        write_image(folder / f"gray/float{i}.tiff", (make.noisy(3, seed=i) / 255).astype(np.float32))
        write_image(folder / f"bmp/{i}.BMP", make.noisy(3, seed=i))
        write_image(folder / f"webp/{i}.webp", make.noisy(4, seed=i))
        write_image(folder / f"alpha{i}.png", make.noisy(4, seed=i))
        write_image(folder / f"alpha gray{i}.png", make.noisy(2, seed=i))
    for i in range(5):
        write_image(folder / f"bmp/gray{i}.bmp", make.noisy(seed=i))
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no image")
    (folder / "cut.png").write_bytes((folder / "alpha0.png").read_bytes()[:300])
    frames = [Image.fromarray(make.noisy(3, seed=seed)) for seed in range(2)]
    frames[0].save(folder / "pages.webp", save_all=True, append_images=frames[1:])
    tifffile.imwrite(folder / "nan.tif", np.full((8, 8), np.nan, np.float32))
    return ["cut.png", "empty.png", "nan.tif", "pages.webp", "text.jpg"]


def metadata(path):
    """Return format, mode, size, depth, EXIF data, profile and resolution."""
    array = read_image(path)
    values = [path.suffix, array.shape, array.dtype]
    if path.suffix not in (".tif", ".tiff"):
        with Image.open(path) as image:
            info = image.info
            values += [
                image.format,
                image.mode,
                dict(image.getexif()),
                info.get("icc_profile"),
                info.get("dpi"),
            ]
    return values


@pytest.mark.skipif(os.name == "nt", reason="makes links and a pipe")
def test_what_is_no_image_file_is_named_and_the_others_are_denoised(make, run):
    make.png(Path("in/a.png"))
    for link, behind in {"loop.png": "loop.png", "one.png": "two.png", "two.png": "one.png"}.items():
        Path("in", link).symlink_to(behind)
    Path("in/gone.png").symlink_to("nowhere.png")
    Path("in/zero.png").symlink_to("/dev/zero")
    Path("in/loop").symlink_to("loop")
    Path("in/folder.png").mkdir()
    os.mkfifo("in/pipe.png")
    names = sorted(Path("in").iterdir())
    code, out, err = run("denoise", *names, "-o", "out")
    assert code == 1
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]
    failures = err[err.index("Not denoised:") :]
    assert all(f"  {name}: " in failures for name in names if name.name != "a.png")
    assert "in/loop.png: is a link to loop.png, where no file is" in failures
    assert "1 written, 8 failed" in out + err
    # An output file for a link that leads nowhere
    assert run("denoise", "in/loop.png", "-o", "b.png").code == 1


@pytest.mark.slow
def test_95_of_100_images_are_written_and_5_are_reported(make, run, folder):
    broken = mixed_folder(make, folder / "in")
    code, out, err = run("denoise", "in", "-o", "out")
    assert (code, out) == (1, "95 written, 5 failed\n")
    lines = err.strip().split("\n")
    assert [line.split(":")[0] for line in lines[-5:]] == [f"  in/{name}" for name in broken]
    assert all(len(line.split(": ", 1)[1]) > 20 for line in lines[-5:])
    assert lines[-6] == "Not denoised:"
    assert len(lines) == 106
    assert "\x1b" not in err + out

    written = {p.relative_to("out") for p in Path("out").rglob("*") if p.is_file()}
    given = {p.relative_to("in") for p in Path("in").rglob("*") if p.is_file()}
    assert given - written == set(map(Path, broken))
    assert written < given
    for path in written:
        assert metadata("in" / path) == metadata("out" / path), path
        before, after = (read_image(side / path) for side in (Path("in"), Path("out")))
        if before.ndim == 3 and before.shape[2] in (2, 4):
            assert (before[..., -1] == after[..., -1]).all()
        white = np.iinfo(after.dtype).max if after.dtype.kind == "u" else 1.0
        lossless = path.suffix.lower() in (".png", ".tif", ".tiff", ".bmp")
        assert np.abs(after - denoise_image(before).astype(float)).mean() <= (0 if lossless else 0.02 * white)


def test_a_second_run_is_refused_or_keeps_or_replaces_outputs(make, run):
    for name in ("a", "b", "c"):
        make.png(Path(f"in/{name}.png"))
    assert run("denoise", "in", "-o", "out")[0] == 0
    Path("out/b.png").unlink()
    Path("out/a.png").write_bytes(b"mine")

    code, out, err = run("denoise", "in", "-o", "out")
    assert (code, out) == (2, "")
    assert "2 of 3 outputs exist already: out/a.png, out/c.png; --overwrite" in err
    assert not Path("out/b.png").exists()

    assert run("denoise", "in", "-o", "out", "--skip-existing")[:2] == (0, "1 written, 0 failed, 2 kept\n")
    assert Path("out/a.png").read_bytes() == b"mine"
    assert run("denoise", "in", "-o", "out", "--skip-existing")[:2] == (0, "0 written, 0 failed, 3 kept\n")
    assert run("denoise", "in", "-o", "out", "--overwrite")[:2] == (0, "3 written, 0 failed\n")
    assert read_image("out/a.png").shape == (make.side, make.side)


def test_images_are_replaced_only_with_overwrite(make, run):
    make.photo(Path("in/a.jpg"))
    before = Path("in/a.jpg").read_bytes()
    code, _, err = run("denoise", "in", "-o", "in")
    assert code == 2
    assert "1 of 1 outputs are inputs too: in/a.jpg" in err
    assert Path("in/a.jpg").read_bytes() == before
    assert run("denoise", "in", "-o", "in", "--overwrite")[0] == 0
    assert estimate_sigma(read_image("in/a.jpg")) < 5
    with Image.open("in/a.jpg") as image:
        assert image.getexif()[271] == "Maker"


NAMES = [
    "with space",
    "[red]markup[bold]",
    "new\nline",
    "-o",
    "--help",
    "tab\tbell\x07",
    "\x1b[31mred",
    "ünï",
    "{0}",
]


def test_odd_file_names_are_possible(make, run):
    bytes_name = os.fsdecode(b"caf\xe9.png")
    names = [f"{name}.png" for name in NAMES]
    try:
        make.png(Path(bytes_name))
        names.append(bytes_name)
    except OSError:  # some disks allow UTF-8 names only
        pass
    for name in names:
        make.png(Path(name))
    Path("\x1b[2Jbroken\n.png").touch()
    code, out, err = run("denoise", "-o", "out", "--", *names, "\x1b[2Jbroken\n.png")
    assert (code, out) == (1, f"{len(names)} written, 1 failed\n")
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(names)
    assert "\x1b" not in err
    assert "\x07" not in err
    assert len(err.strip().split("\n")) == len(names) + 3
    assert "[red]markup[bold].png -> out/[red]markup[bold].png" in err
    assert r"  \x1b[2Jbroken\n.png: the file is empty" in err


def test_odd_file_names_are_printed_in_any_encoding(make, monkeypatch):
    make.png(Path("ünï.png"))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["denoise", "ünï.png", "-o", "out"]) == 0
    assert stream.buffer.getvalue().startswith(rb"[1/1] \xfcn\xef.png -> ")


def test_a_reader_that_goes_away_stops_no_work(make, monkeypatch):
    make.png(Path("a.png"))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        monkeypatch.setattr(sys, "stderr", pipe)
        assert main(["denoise", "a.png", "-o", "b.png"]) == 0
    assert Path("b.png").exists()


@pytest.mark.parametrize("output", ["taken", "taken/below", "/proc/below"])
def test_a_folder_that_cannot_be_written_is_an_error_before_the_work(output, make, run):
    make.png(Path("in/a.png"))
    Path("taken").write_text("a file")
    code, out, err = run("denoise", "in", "-o", output)
    assert (code, out) == (2 if output == "taken" else 1, "")
    assert err.startswith(("sk-denoise: taken is a file", f"sk-denoise: cannot write to {output}: "))
    assert err.count("\n") == 1


def test_an_image_that_cannot_be_written_does_not_stop_the_others(make, run):
    for name in ("in/a/1.png", "in/b.png"):
        make.png(Path(name))
    Path("out").mkdir()
    Path("out/a").write_text("a file where a folder should be")
    code, out, err = run("denoise", "in", "-o", "out")
    assert (code, out) == (1, "1 written, 1 failed\n")
    assert "  in/a/1.png: " in err
    assert Path("out/b.png").exists()


def test_a_full_disk_ends_the_work(make, run, monkeypatch):
    for name in "abcd":
        make.png(Path(f"in/{name}.png"))
    written = []

    def until_full(path, *args, **kwargs):
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/.0123.tmp")
        written.append(path)

    monkeypatch.setattr("sk_denoise.io.write_image", until_full)
    code, out, err = run("denoise", "in", "-o", "out")
    assert (code, out) == (1, "1 written, 1 failed, 2 not tried\n")
    assert err.endswith("Not denoised:\n  in/b.png: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_an_incomplete_file_is_removed(make, run):
    import resource

    write_image("a.bmp", make.noisy())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path("a.bmp").stat().st_size - 1, limits[1]))
    try:
        code, out, err = run("denoise", "a.bmp", "-o", "out/a.bmp")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (code, out) == (1, "0 written, 1 failed\n")
    assert "  a.bmp: File too large\n" in err
    assert list(Path("out").iterdir()) == []


# Images larger than memory ------------------------------------------------------------------------------


def write_zarr(path, side=48):
    zarr = pytest.importorskip("zarr")
    noisy = np.random.default_rng(0).normal(1000, 50, (side, side)).astype("uint16")
    zarr.create_array(path, data=noisy, chunks=(16, 16))
    return noisy


def test_a_folder_that_ends_in_zarr_is_an_image(run):
    noisy = write_zarr("a.zarr")
    code, out, err = run("denoise", "a.zarr", "-o", "b.zarr", "--model", "gray")
    assert (code, out) == (0, "1 written, 0 failed\n")
    assert re.fullmatch(r"\[1/1\] a.zarr -> b.zarr, 1 block, white noise: about [\d.]+ of \d+ .*\n", err)
    zarr = pytest.importorskip("zarr")
    assert zarr.open_array("b.zarr", mode="r")[:].std() < noisy.std() / 3
    code, out, err = run("denoise", "a.zarr", "-o", "b.zarr", "--model", "gray")
    assert (code, out) == (0, "0 written, 0 failed, 1 complete before\n")


def test_a_level_of_noise_is_that_of_255_grey_levels(run):
    write_zarr("a.zarr")
    assert run("denoise", "a.zarr", "-o", "b.zarr", "--model", "gray", "--sigma", "10").code == 0
    zarr = pytest.importorskip("zarr")
    options = zarr.open_array("b.zarr", mode="r").attrs["sk_denoise"]["settings"]["options"]
    assert options["sigma"] == [pytest.approx(10 * 1023 / 255)]


def test_jobs_denoise_a_tiff_of_tiles(make, run):
    tifffile.imwrite("a.tif", make.noisy(side=64), tile=(16, 16))
    code, out, _ = run("denoise", "a.tif", "-o", "b.tif", "--jobs", "1")
    assert (code, out) == (0, "1 written, 0 failed\n")
    with tifffile.TiffFile("b.tif") as tif:
        assert tif.is_bigtiff
        assert tif.pages[0].tile == (16, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("missing.zarr -o b.zarr", "no file or folder 'missing.zarr'"),
        ("a.zarr c.zarr -o b.zarr", "denoised alone"),
        ("a.zarr -o a.zarr", "is the source"),
        ("a.zarr -o taken.zarr", "left as it is"),
        ("a.zarr -o b.zarr --skip-existing", "--skip-existing is for image files"),
        ("a.zarr -o b.zarr --jobs 0", "--jobs must be"),
        ("a.png -o b.png --jobs 2", "a.png is neither"),
        ("a.png -o b.png --no-resume", "a.png is neither"),
    ],
)
def test_wrong_usage_of_large_images_is_refused(arguments, message, make, run):
    write_zarr("a.zarr")
    write_zarr("taken.zarr")
    make.png(Path("a.png"))
    code, out, err = run("denoise", *arguments.split())
    assert (code, out) == (2, "")
    assert message in err
    assert not Path("b.zarr").exists()


def test_another_noise_is_denoised_anew_only_on_request(run):
    write_zarr("a.zarr")
    assert run("denoise", "a.zarr", "-o", "b.zarr", "--model", "gray").code == 0
    code, out, err = run("denoise", "a.zarr", "-o", "b.zarr", "--model", "gray", "--strength", "50")
    assert code == 2
    assert "strength was 1.0 and is 0.5. Give --overwrite to start again" in err
    code, out, err = run("denoise", "a.zarr", "-o", "b.zarr", "--model", "gray", "--no-resume", "--overwrite")
    assert (code, out) == (0, "1 written, 0 failed\n")


def test_a_damaged_chunk_of_a_zarr_fails_with_its_place(run):
    zarr = pytest.importorskip("zarr")
    zarr.create_array("a.zarr", data=np.random.default_rng(0).random((8, 900)), chunks=(8, 450))
    Path("a.zarr/c/0/1").write_bytes(b"damaged")
    code, out, err = run("denoise", "a.zarr", "-o", "b.zarr", "--model", "gray", "--sigma", "5")
    assert (code, out) == (2, "") or code == 1
    assert "rows 0 to 7" in err
