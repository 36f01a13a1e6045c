"""Signals in ``sk-denoise denoise``, ``train`` and ``evaluate``."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from sk_denoise import GaussianNoiser, ImageDenoiser, SignalDenoiser, SignalUNetNetwork, WaveletDenoiser
from sk_denoise.io import Recording, read_signal, write_signal
from sk_denoise.persistence import load, save

RNG = np.random.default_rng(0)
SMALL = ["--network-option", "widths=4,8", "--epochs", "2", "--seed", "0", "--patch-size", "64"]


def waves(length, n_channels=2):
    shift = RNG.uniform(0, 6, (n_channels, 1))
    return np.sin(np.arange(length) / 6 + shift).squeeze()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Write clean and noisy signals of two channels, and go there."""
    monkeypatch.chdir(tmp_path)
    for name in ("clean", "noisy", "bank"):
        Path(name).mkdir()
    for i in range(4):
        clean = Recording(waves(200 + 50 * i).round(3), 250.0, ("I", "II"), ("mV", "mV"))
        write_signal(f"clean/{i}.csv", clean)
        noisy = clean.values + RNG.normal(0, 0.3, clean.values.shape).round(3)
        write_signal(f"noisy/{i}.csv", clean.replace_values(noisy))
    write_signal("bank/hum.npy", Recording(RNG.normal(size=900)))
    return tmp_path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Save models of one channel and of two channels, and one of images."""
    place = tmp_path_factory.mktemp("models")
    settings = {"noise": GaussianNoiser(0.3), "max_epochs": 2, "random_state": 0}
    network = SignalUNetNetwork((4, 8))
    for n_channels in (1, 2):
        signals = [waves(300, n_channels) for _ in range(4)]
        save(SignalDenoiser(network, **settings).fit(signals), place / f"{n_channels}.skd")
    save(SignalDenoiser(network), place / "unfitted.skd")
    save(ImageDenoiser(), place / "image.skd")
    return place


# Denoising -----------------------------------------------------------------------------------------------


def test_a_filter_denoises_each_channel_as_in_the_library(expect):
    out = expect("denoise", "noisy/0.csv", "-o", "new/out.csv")
    assert out.out == "1 written, 0 failed\n"
    assert "2 channels of 200 samples, 250 Hz; about 0." in out.err
    assert out.err.endswith(" mV removed\n")
    before, after, clean = (read_signal(path) for path in ("noisy/0.csv", "new/out.csv", "clean/0.csv"))
    expected = np.stack([WaveletDenoiser().fit(x[None]).predict(x[None])[0] for x in before.values])
    assert np.allclose(after.values, expected, atol=1e-4)
    assert (after.sampling_rate, after.channel_names) == (250, ("I", "II"))
    assert np.std(after.values - clean.values) < 0.6 * np.std(before.values - clean.values)


def test_columns_strength_and_options_of_a_filter(expect):
    options = ["--method", "median", "--method-option", "size=5", "--columns", "II", "--strength", "50"]
    expect("denoise", "noisy/0.csv", "-o", "out.csv", *options)
    before, after = read_signal("noisy/0.csv").values, read_signal("out.csv").values
    assert (before[0] == after[0]).all()
    assert 0 < np.abs(before[1] - after[1]).max() < 1
    expect("denoise", "noisy/0.csv", "-o", "b.csv", "--method", "band_pass", "--method-option", "low=2.5")
    assert abs(read_signal("b.csv").values.mean()) < 0.05


def test_folders_keep_places_and_formats(expect):
    write_signal("noisy/a.wav", Recording((1000 * waves(500)).astype(np.int16), 8000.0))
    result = expect("denoise", "noisy", "-o", "out", "--method", "savitzky_golay")
    assert result.out == "5 written, 0 failed\n"
    assert {path.name for path in Path("out").iterdir()} == {"0.csv", "1.csv", "2.csv", "3.csv", "a.wav"}
    assert read_signal("out/a.wav").values.dtype == np.int16
    assert expect("denoise", "noisy", "-o", "out", "--skip-existing").out == "0 written, 0 failed, 5 kept\n"
    expect("denoise", "noisy/0.csv", "-o", "a.npy", "--method", "median")
    assert np.load("a.npy").shape == (2, 200)


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_model_denoises_its_channels_or_each_by_itself(n_channels, models, expect):
    path = models / f"{n_channels}.skd"
    expect("denoise", "noisy/1.csv", "-o", "out.csv", "--model", path)
    values, denoiser = read_signal("noisy/1.csv").values, load(path)
    expected = denoiser.predict([values])[0] if n_channels == 2 else denoiser.predict(list(values))
    assert np.allclose(read_signal("out.csv").values, expected, atol=1e-4)


def test_impossible_requests_are_refused_before_any_work(models, run, make, tmp_path):
    make.png(Path("photo.png"))
    noisy = ["denoise", "noisy/0.csv", "-o", "out.csv"]
    for arguments, message in (
        (["denoise", "noisy/0.csv", "-o", "noisy/0.csv"], "--overwrite to replace the files"),
        (["denoise", "noisy/0.csv", "-o", "out.mp3"], "signals must end in .bdf, .csv"),
        (["denoise", "noisy/0.csv", "photo.png", "-o", "out"], "there are images (photo.png) and signals"),
        ([*noisy, "--ensemble"], "--ensemble is for images"),
        ([*noisy, "--model", "gray"], "gray is for images; give a model file or --method"),
        ([*noisy, "--model", models / "image.skd"], "holds a ImageDenoiser"),
        ([*noisy, "--model", models / "unfitted.skd"], "is not fitted"),
        ([*noisy, "--model", models / "1.skd", "--method", "median"], "contradict each other"),
        ([*noisy, "--method", "median", "--method-option", "side=3"], "median has no side. Known: size"),
        (["denoise", "photo.png", "-o", "out.png", "--columns", "I"], "--columns is for signals"),
        (["denoise", "photo.png", "-o", "out.png", "--model", models / "1.skd"], "denoises signals"),
        (["evaluate", "gray", "clean", "--noise", "gaussian"], "the pretrained model gray is for images"),
        (["evaluate", models / "1.skd", "clean"], "give either --noise"),
        (["train", "clean", "-o", "m.skd", "--resume"], "--resume is for images"),
        (["train", "clean", "-o", "m.skd", "--snr", "5"], "--snr goes with --bank"),
        (["train", "clean", "-o", "m.skd", "--noise", "gaussian", "--noisy", "noisy"], "contradict"),
        (
            ["train", "clean", "-o", "m.skd", "--objective", "blind", "--noisy", "noisy"],
            "noisy signals alone",
        ),
        (["train", "clean", "-o", "m.skd", "--network", "dncnn"], "dncnn is for images"),
        (["train", "clean", "-o", "m.skd", "--sigma-map"], "--sigma-map is for images"),
        (["train", "clean", "-o", "clean/0.csv", "--overwrite"], "has the name of a signal"),
    ):
        result = run(*arguments)
        assert result.code == 2, (arguments, result)
        assert message in result.err, (arguments, result)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank", "clean", "noisy", "photo.png"]


def test_broken_files_are_named_and_others_written(expect):
    Path("noisy/0.csv").write_text("a,b\n1,2\n3,\n")
    Path("noisy/1.csv").write_text("")
    result = expect("denoise", "noisy", "-o", "out", "--method", "median", code=1)
    assert result.out == "2 written, 2 failed\n"
    assert "line 3 has a gap in column 2" in result.err
    assert "the file is empty" in result.err


def test_texts_beside_images_are_notes(make, expect):
    make.png(Path("photos/a.png"))
    Path("photos/notes.txt").write_text("1\n2\n3\n")
    assert expect("denoise", "photos", "-o", "out").out == "1 written, 0 failed\n"


# Training and evaluation ---------------------------------------------------------------------------------


def test_training_equals_that_of_the_library(expect):
    result = expect("train", "clean", "-o", "m.skd", "--noise", "gaussian:0.3", *SMALL)
    assert "epoch 2/2, loss 0." in result.err
    assert "training SNR" in result.err
    assert result.out.startswith("Trained on 4 signals of 2 channels, with noise gaussian:0.3.\n")
    signals = [read_signal(f"clean/{i}.csv").values for i in range(4)]
    expected = SignalDenoiser(
        SignalUNetNetwork((4, 8)),
        noise=GaussianNoiser(0.3, scale="std"),
        max_epochs=2,
        window_length=64,
        random_state=0,
    ).fit(signals)
    assert np.array_equal(load("m.skd").predict(signals)[0], expected.predict(signals)[0])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["noisy", "--objective", "neighbours", "--separate"], "8 noisy signals of 1 channel"),
        (["clean", "--noisy", "noisy"], "4 signal pairs of 2 channels"),
        (["clean/0.csv", "clean/1.csv", "--bank", "bank", "--snr", "0-10"], "2 signals of 2 channels"),
        (["clean", "--columns", "II", "--network", "signal_unet"], "4 signals of 1 channel"),
    ],
)
def test_ways_to_train(options, text, expect):
    result = expect("train", *options, "-o", "m.skd", *SMALL[:2], "--epochs", "1", "--seed", "0")
    assert f"Trained on {text}" in result.out
    assert ("evaluate m.skd" in result.out) == ("--objective" not in options)


def test_files_that_do_not_belong_together_are_refused(run):
    write_signal("clean/4.csv", Recording(waves(100), 360.0))
    result = run("train", "clean", "-o", "m.skd", *SMALL)
    assert result.code == 2
    assert "differ in their sampling rate (250: clean/0.csv" in result.err
    assert "360: clean/4.csv); resample them" in result.err
    write_signal("clean/4.csv", Recording(waves(100, 1), 250.0))
    assert "number of channels" in run("train", "clean", "-o", "m.skd", *SMALL).err
    write_signal("clean/4.csv", Recording(waves(100), 250.0, ("I", "II"), ("uV", "uV")))
    assert "unit (mV, mV: clean/0.csv" in run("train", "clean", "-o", "m.skd", *SMALL).err


def test_evaluation_measures_noise_and_pairs(models, expect):
    model = models / "2.skd"
    expect("evaluate", model, "clean", "--noise", "gaussian:0.3", "--each", "-o", "a.csv", "-q")
    with Path("a.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["signal"] for row in rows] == ["0.csv", "1.csv", "2.csv", "3.csv", "mean of 4"]
    # The noise has 0.3 of the deviation of a wave, 0.7, and the range of the waves is 2.
    assert abs(float(rows[-1]["psnr_noisy"]) - 20 * np.log10(2 / (0.3 * 0.707))) < 0.6
    gains = [float(row["psnr"]) - float(row["psnr_noisy"]) for row in rows]
    assert np.allclose(gains, [float(row["snr_gain"]) for row in rows], atol=0.2)
    assert 0.5 < float(rows[-1]["cosine"]) < 1
    result = expect("evaluate", model, "clean", "--noisy", "noisy")
    assert "mean of 4   as given" in result.out


def test_files_of_another_sampling_rate_than_the_model_are_refused(expect, run):
    expect("train", "clean", "-o", "m.skd", "--noise", "gaussian:0.3", *SMALL, "--epochs", "1")
    assert load("m.skd").sampling_rate == 250
    slow = Recording(waves(200), 125.0, ("I", "II"), ("mV", "mV"))
    write_signal("noisy/4.csv", slow)
    denoise = ["denoise", "noisy/4.csv", "-o", "out.csv", "--model", "m.skd"]
    refused = expect(*denoise, code=1).err
    assert "it has 125 Hz, and the model is for 250 Hz; resample it, by scipy.signal.resample_poly" in refused
    assert not Path("out.csv").exists()
    expect(*denoise, "--sampling-rate", "250")
    write_signal("clean/4.csv", slow)
    result = expect("evaluate", "m.skd", "clean", "--noise", "gaussian:0.3")
    assert "left out, it has 125 Hz" in result.err
    assert "mean of 4" in result.out
    Path("other").mkdir()
    write_signal("other/0.csv", slow)
    result = run("train", "clean/0.csv", "-o", "n.skd", "--validation", "other", *SMALL)
    assert "250 Hz, and those of --validation 125 Hz" in result.err
