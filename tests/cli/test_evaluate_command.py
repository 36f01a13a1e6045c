"""``sk-denoise evaluate``: measures, output and refused input."""

from __future__ import annotations

import csv
import io
import json
from functools import partial

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sk_denoise import FoldedUNetNetwork, GaussianNoiser, ImageDenoiser, NoiserChain, PoissonNoiser
from sk_denoise.cli import _evaluate_command, _output
from sk_denoise.cli._console import CommandFailure
from sk_denoise.cli._output import ImageProgress
from sk_denoise.datasets import load_images
from sk_denoise.io import read_image, write_image
from sk_denoise.metrics import psnr, ssim
from sk_denoise.persistence import save
from sk_denoise.restoration import denoise_image


@pytest.fixture
def evaluate(expect):
    return partial(expect, "evaluate")


@pytest.fixture
def rows_of(evaluate):
    return lambda *arguments: json.loads(evaluate(*arguments, "--format", "json").out)["results"]


def read_unit(path):
    return read_image(path).astype(np.float32) / np.float32(255)


def measures(clean, noisy, denoised, data_range=1):
    return {
        "psnr_noisy": psnr(clean[None], noisy[None], data_range=data_range),
        "psnr": psnr(clean[None], denoised[None], data_range=data_range),
        "ssim_noisy": ssim(clean[None], noisy[None], data_range=data_range),
        "ssim": ssim(clean[None], denoised[None], data_range=data_range),
    }


# Measures --------------------------------------------------------------------------------------------


def test_each_image_and_the_mean_equal_the_measures_of_the_library(folder, rows_of):
    rows = rows_of("gray", folder, "--noise", "poisson:30+gaussian:0.05", "--seed", "4", "--each")
    camera = NoiserChain([PoissonNoiser(30.0, white=1.0), GaussianNoiser(0.05)], random_state=4)
    expected = []
    for name in "abc":
        clean = read_unit(folder / f"{name}.png")
        noisy = np.asarray(camera.fit_transform(clean[None]))[0]
        expected.append(measures(clean, noisy, denoise_image(noisy, model="gray")))
    for row, name, numbers in zip(rows, "abc", expected, strict=False):
        assert row == {"image": f"{name}.png", "noise": "poisson:30+gaussian:0.05", **numbers}
    assert rows[3]["image"] == "mean of 3"
    assert rows[3]["psnr"] == pytest.approx(np.mean([numbers["psnr"] for numbers in expected]))
    assert rows[3]["psnr"] > rows[3]["psnr_noisy"] + 3


def test_several_noises_have_a_row_each_and_are_repeatable(folder, rows_of):
    arguments = ["auto", folder, "--noise", "gaussian:0.05", "--noise", "gaussian:0.2", "--limit", "1"]
    weak, strong = rows_of(*arguments)
    assert weak["psnr_noisy"] > strong["psnr_noisy"] + 10
    assert [weak, strong] == rows_of(*arguments)
    assert weak["psnr_noisy"] != rows_of(*arguments, "--seed", "1")[0]["psnr_noisy"]


def test_sigma_is_in_grey_levels(folder, rows_of):
    (row,) = rows_of("gray", folder, "--noise", "gaussian:0.1", "--sigma", "51", "--limit", "1")
    clean = read_unit(folder / "a.png")
    noisy = np.asarray(GaussianNoiser(0.1, random_state=0).fit_transform(clean[None]))[0]
    assert row["psnr"] == measures(clean, noisy, denoise_image(noisy, model="gray", sigma=0.2))["psnr"]


def test_stored_images_are_rounded_and_clipped(folder, rows_of):
    (row,) = rows_of("gray", folder, "--noise", "gaussian:0.2", "--stored", "--limit", "1")
    clean = read_image(folder / "a.png")
    drawn = np.asarray(GaussianNoiser(0.2, random_state=0).fit_transform(read_unit(folder / "a.png")[None]))[
        0
    ]
    noisy = np.clip(np.rint(255 * drawn), 0, 255).astype("uint8")
    expected = measures(clean, noisy, denoise_image(noisy, model="gray"), data_range=255)
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize("stored", [False, True])
def test_pairs_are_measured_as_they_are(folder, noisy_folder, stored, rows_of):
    options = ["--stored"] if stored else []
    (row,) = rows_of("gray", folder, "--noisy", noisy_folder, "--limit", "1", *options)
    read, white = (read_image, 255) if stored else (read_unit, 1)
    clean, noisy = read(folder / "a.png"), read(noisy_folder / "a.png")
    expected = measures(clean, noisy, denoise_image(noisy, model="gray"), white)
    assert row == {"image": "mean of 1", "noise": "as given", **expected}


def test_16_bits_are_scaled_by_their_range(folder, tmp_path, rows_of):
    for name in "abc":
        write_image(tmp_path / f"{name}.png", read_image(folder / f"{name}.png").astype("uint16") * 257)
    arguments = ["--noise", "gaussian:0.1", "--limit", "1"]
    (fine,), (coarse,) = rows_of("gray", tmp_path, *arguments), rows_of("gray", folder, *arguments)
    assert fine["psnr"] == pytest.approx(coarse["psnr"], abs=1e-3)


def test_counts_in_floats_are_scaled_by_their_range_with_a_message(
    folder, noisy_folder, tmp_path, rows_of, evaluate
):
    for side, files in (("clean", folder), ("noisy", noisy_folder)):
        for unit in (1, 4095):
            (tmp_path / f"{side}{unit}").mkdir()
            image = (
                (read_unit(files / "a.png") - 0.25).clip(0) * unit / 0.75
            )  # black and nearly white are there
            image[0, :2] = 0, unit
            write_image(tmp_path / f"{side}{unit}/a.tif", image)
    for noise in (["--noise", "gaussian:0.1"], ["--noisy", "{}"]):
        counts, expected = (
            rows_of("gray", tmp_path / f"clean{unit}", noise[0], noise[1].format(tmp_path / f"noisy{unit}"))
            for unit in (4095, 1)
        )
        for name in _evaluate_command.MEASURES:
            rough = 0.2 if noise[0] == "--noise" else 1e-3  # noise is drawn for the image
            assert counts[0][name] == pytest.approx(expected[0][name], rel=rough)
    messages = evaluate("gray", tmp_path / "clean4095", "--noise", "gaussian:0.1").err
    assert "a.tif: 0 is taken as black and 4095 as white" in messages


def test_a_model_trained_on_counts_gets_the_values_of_files(folder, tmp_path, rows_of):
    counts = [255 * read_unit(folder / f"{name}.png") for name in "abc"]
    small = FoldedUNetNetwork((8, 12), blocks=(1, 1))
    denoiser = ImageDenoiser(
        small, noise=GaussianNoiser(25.5), patch_size=16, max_epochs=30, learning_rate=0.01, random_state=0
    ).fit(counts)
    assert denoiser.intensity_range_ is None
    save(denoiser, tmp_path / "counts")
    (row,) = rows_of(tmp_path / "counts", folder, "--noise", "gaussian:0.1")
    assert row["psnr"] > row["psnr_noisy"] + 1


def test_a_model_file_gets_images_of_its_color(folder, tmp_path, evaluate):
    photos = [read_unit(path) for path in sorted(folder.iterdir())]
    colors = [np.stack([photo] * 3, axis=-1) for photo in photos]
    small = FoldedUNetNetwork((8, 12), blocks=(1, 1))
    for color, images in (("gray", photos), ("rgb", colors)):
        denoiser = ImageDenoiser(small, patch_size=16, max_epochs=1, random_state=0).fit(images)
        save(denoiser, tmp_path / color)
        results = json.loads(
            evaluate(
                tmp_path / color, folder, "--noise", "gaussian:0.1", "--limit", "1", "--format", "json"
            ).out
        )
        assert results["color"] == color
        assert results["results"][0]["psnr"] > 10
    refused = evaluate(tmp_path / "rgb", folder, "--noise", "gaussian", "--color", "gray", code=2)
    assert "--color is gray, and the model takes rgb images; leave it out" in refused.err


# Reading images -------------------------------------------------------------------------------------


def test_images_are_read_one_by_one(folder, monkeypatch):
    reads = []
    read = _evaluate_command._read
    monkeypatch.setattr(
        _evaluate_command, "_read", lambda path, *args: reads.append(path) or read(path, *args)
    )
    evaluation = _evaluate_command.Evaluation({"model": "gray"}, None, (), 0, False)
    files = [(path, path) for path in sorted(folder.iterdir())]
    steps = _evaluate_command._measure_images(evaluation, files, "gray", 2**28, ImageProgress(3, quiet=True))
    next(steps)
    assert len(reads) == 2  # the two sides of the first image
    next(steps)
    assert len(reads) == 4


def test_broken_and_odd_images_are_left_out_with_a_message(folder, tmp_path, evaluate):
    (tmp_path / "a.png").write_bytes((folder / "a.png").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write_image(tmp_path / "tiny.png", np.zeros((2, 2), "uint8"))
    result = evaluate("gray", tmp_path, "--noise", "gaussian:0.1")
    assert "mean of 1" in result.out
    lines = result.err.splitlines()
    assert len(lines) == 2
    assert "broken.png" in lines[0]
    assert "tiny.png: left out, it is smaller than the 3 x 3 pixels" in lines[1]


def test_pairs_of_different_size_are_left_out(folder, noisy_folder, tmp_path, evaluate):
    for path in noisy_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_image(tmp_path / "a.png", np.zeros((9, 9), "uint8"))
    (tmp_path / "b.png").unlink()
    result = evaluate("gray", folder, "--noisy", tmp_path)
    assert "mean of 1" in result.out
    assert "b.png" in result.err
    assert "it is uint8 of 40 x 48, its noisy version uint8 of 9 x 9" in result.err


# Output -----------------------------------------------------------------------------------------------


def test_a_table_describes_the_measurement(folder, evaluate):
    text = evaluate("gray", folder, "--noise", "gaussian:0.1", "--limit", "1").out
    assert "PSNR noisy" in text
    assert "measured: mean over images; PSNR in dB and SSIM refer to the range of the type" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("suffix", [".csv", ".json", ".txt"])
def test_the_suffix_of_a_file_gives_its_format(folder, tmp_path, suffix, evaluate, rows_of):
    arguments = ["gray", folder, "--noise", "gaussian:0.1", "--limit", "1"]
    path = tmp_path / f"results{suffix}"
    path.write_text("old")
    refused = evaluate(*arguments, "-o", path, code=2).err
    assert refused == f"sk-denoise: {path} exists already; --overwrite replaces it\n"
    assert path.read_text() == "old"
    assert evaluate(*arguments, "-o", path, "--overwrite") == (0, "", "")
    text, (expected,) = path.read_text(), rows_of(*arguments)
    if suffix == ".csv":
        (row,) = csv.DictReader(io.StringIO(text))
        assert row == {name: str(value) for name, value in expected.items()}
    elif suffix == ".json":
        assert json.loads(text)["results"] == [expected]
    else:
        assert f"{expected['psnr']:.2f}" in text
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_that_cannot_be_replaced_leaves_no_other(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(CommandFailure, match=r"cannot write .*taken: "):
        _output.write_whole_file(tmp_path / "taken", b"text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


# Refused input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "give either --noise"),
        ("--noise gaussian:0.1 --noisy {folder}", "give either --noise"),
        ("--noise gaussian:25", "grey levels of 255 would be gaussian:0.098"),
        ("--noise gaussian:0.1 --sigma -1", "expected a number of grey levels, 0 or more, got '-1'"),
        ("--noise gaussian:0.1 --sigma 256", "--sigma 256 is more than the 255 grey levels"),
        ("--noise gaussian:0.1 --noise gaussian:0.1", "--noise gaussian:0.1 is given twice"),
        ("--noise gaussian:0.1 --device nowhere", "device='nowhere' cannot be used here"),
        ("--noisy nowhere", "there is no folder 'nowhere'"),
        ("--noise swap:0.1", "swap takes values from other patches"),
        ("--noise gaussian:0.1 -o {folder}", "is a folder"),
        ("--noise gaussian:0.1 -o results.png", "results.png has the name of an image"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_read(folder, options, message, monkeypatch, evaluate):
    monkeypatch.setattr(_evaluate_command, "_read", lambda *_: pytest.fail("it read an image"))
    messages = evaluate("gray", folder, *options.format(folder=folder).split(), code=2).err
    assert message in " ".join(messages.split())


def test_an_unknown_model_gets_a_suggestion(folder, evaluate):
    messages = evaluate("grey", folder, "--noise", "gaussian", code=2).err
    assert "there is no model or file 'grey'. Did you mean 'gray'?" in " ".join(messages.split())


def test_failures_end_with_1_and_a_reason(folder, tmp_path, evaluate):
    (tmp_path / "broken.png").write_bytes(b"")
    assert "none of the images" in evaluate("gray", tmp_path, "--noise", "gaussian", code=1).err
    (tmp_path / "model").write_bytes(b"none")
    assert "cannot be loaded" in evaluate(tmp_path / "model", folder, "--noise", "gaussian", code=2).err


def test_an_interruption_ends_with_130(folder, monkeypatch, evaluate):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_evaluate_command, "_read", interrupt)
    assert "Interrupted" in evaluate("gray", folder, "--noise", "gaussian", code=130).err


# Without clean images -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Create a folder of photos without black and white, and one with noise of 20 of 255."""
    place = tmp_path_factory.mktemp("pairs")
    for number, photo in enumerate(load_images("gray").test[:2]):
        clean = 255 * (0.15 + 0.7 * photo[:192, :192])
        noisy = clean + np.random.default_rng(number).normal(0, 20, clean.shape)
        for name, side in (("clean", clean), ("noisy", noisy)):
            (place / name).mkdir(exist_ok=True)
            write_image(place / name / f"{number}.png", side.round().clip(0, 255).astype(np.uint8))
    return place


@pytest.mark.slow
def test_the_psnr_is_expected_without_clean_images(pairs, rows_of):
    *_, truth = rows_of("gray", pairs / "clean", "--noisy", pairs / "noisy")
    options = ["--no-truth", "--noise", f"gaussian:{20 / 255}", "--each"]
    *each, mean = rows_of("gray", pairs / "noisy", *options)
    assert list(mean) == ["image", "noise", "psnr_noisy", "psnr", "psnr_low", "psnr_high"]
    assert [row["image"] for row in each] == ["0.png", "1.png"]
    assert mean["image"] == "mean of 2"
    assert abs(mean["psnr"] - truth["psnr"]) < 1.5
    assert mean["psnr_low"] < truth["psnr"] < mean["psnr_high"]
    assert abs(mean["psnr_noisy"] - truth["psnr_noisy"]) < 0.3
    for row in (*each, mean):
        assert row["psnr_low"] < row["psnr"] < row["psnr_high"]
    # Two images together say more than one.
    assert mean["psnr_high"] - mean["psnr_low"] < max(row["psnr_high"] - row["psnr_low"] for row in each)


@pytest.mark.slow
def test_the_noise_is_estimated_without_clean_images(pairs, rows_of):
    (row,) = rows_of("gray", pairs / "noisy", "--no-truth")
    assert row["noise"] == "estimated"
    assert abs(row["psnr_noisy"] - 22.1) < 0.7
    assert row["psnr"] > row["psnr_noisy"] + 5


def test_correlated_noise_is_refused_in_words(pairs, tmp_path, expect):
    for path in (pairs / "clean").iterdir():
        grain = gaussian_filter(np.random.default_rng(0).normal(0, 60, (192, 192)), 1.5)
        write_image(tmp_path / path.name, (read_image(path) + grain).clip(0, 255).astype(np.uint8))
    result = expect("evaluate", "gray", tmp_path, "--no-truth", code=1)
    assert "correlated" in result.err
    assert "none of the images" in result.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--noisy", "{clean}"], "--no-truth and --noisy contradict each other"),
        (["--stored"], "--no-truth and --stored contradict each other"),
        (
            ["--noise", "gaussian:0.1", "--noise", "gaussian:0.2"],
            "--noise is the noise that is in the images",
        ),
    ],
)
def test_options_that_need_clean_images_are_refused(options, message, pairs, expect):
    words = [option.format(clean=pairs / "clean") for option in options]
    assert message in expect("evaluate", "gray", pairs / "noisy", "--no-truth", *words, code=2).err


def test_an_evaluation_without_any_truth_names_the_option(pairs, expect):
    result = expect("evaluate", "gray", pairs / "noisy", code=2)
    assert "or --no-truth, if FOLDER holds noisy images" in result.err
