"""``sk-denoise models``."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sk_denoise import DenoisingAutoencoder, DnCNNNetwork, GaussianNoiser, ImageDenoiser, WienerDenoiser
from sk_denoise.persistence import save
from sk_denoise.restoration import MODELS

SMALL = DnCNNNetwork(2, width=4)


def test_the_table_has_the_values_of_each_model_card(run):
    code, out, err = run("models")
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    for name, model in MODELS.items():
        row = next(line for line in out.split("\n") if re.search(rf"\b{name}\b", line))
        cells = re.split(r"\s{2,}", row.strip())
        psnr = re.findall(r"([\d.]+) dB at \d+", model.card)
        # A blind model is not for white noise.
        assert len(psnr) == (0 if model.is_blind else 3)
        noise = "camera, JPEG" if model.is_blind else "white, counts"
        max_sigma = f"{255 * model.max_sigma:g} of 255"
        assert cells == [name, str(model.channels), noise, max_sigma, *(psnr or ["-"] * 3)]


@pytest.mark.parametrize("name", MODELS)
def test_a_name_prints_the_card(name, run):
    assert run("models", name) == (0, MODELS[name].card.rstrip() + "\n", "")


def test_an_unknown_name_gets_a_suggestion(run):
    code, out, err = run("models", "grey")
    assert (code, out) == (2, "")
    assert "there is no model or file 'grey'. Did you mean 'gray'? Known: gray, rgb, camera, or a file" in err


@pytest.mark.parametrize("sigma", ["map", "blind"])
def test_a_file_prints_the_training_and_the_network(sigma, run, tmp_path):
    images = np.random.default_rng(0).random((4, 16, 16))
    model = ImageDenoiser(
        SMALL, noise=GaussianNoiser(0.1), sigma=sigma, max_epochs=2, patch_size=8, random_state=0
    ).fit(images)
    save(model, tmp_path / "model")
    code, out, err = run("models", tmp_path / "model")
    assert (code, err) == (0, "")
    assert out.startswith("ImageDenoiser(")
    assert "Fitted to patches of 8 x 8, in 2 epochs." in out
    noise = f"to {255 * model.noise_levels_[1]:.3g}, in grey levels of 255" if sigma == "map" else "(blind)"
    assert noise in out
    assert repr(model.summary()) in out


def test_unfitted_estimators_and_filters_are_described(run, tmp_path):
    save(ImageDenoiser(SMALL), tmp_path / "unfitted")
    save(WienerDenoiser(sigma=0.1), tmp_path / "filter")
    save(DenoisingAutoencoder(max_epochs=1).fit(np.random.default_rng(0).random((64, 8))), tmp_path / "rows")
    assert run("models", tmp_path / "unfitted")[1].endswith("It is not fitted.\n")
    assert run("models", tmp_path / "filter")[:2] == (0, "WienerDenoiser(sigma=0.1)\n")
    assert "DenseAutoencoder, for one sample of shape (8,)" in run("models", tmp_path / "rows")[1]


def test_a_file_without_a_model_is_refused_with_its_name(run, tmp_path):
    (tmp_path / "text").write_text("no model")
    code, out, err = run("models", tmp_path / "text")
    assert (code, out) == (2, "")
    assert f"{tmp_path / 'text'} cannot be loaded: " in err
    assert err.count("\n") == 1
    assert run("models", tmp_path)[0] == 2
