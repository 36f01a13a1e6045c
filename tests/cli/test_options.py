"""The syntax of ``--noise``."""

from __future__ import annotations

import subprocess
import sys

import click
import numpy as np
import pytest

from sk_denoise import GaussianNoiser, NoiserChain, PoissonNoiser, RegionNoiser
from sk_denoise.cli._options import NOISE_AMOUNTS, NoiseType, format_noiser, noise_help
from sk_denoise.noise import NOISERS


def parse(text):
    return NoiseType(in_training=True).convert(text, None, None)


@pytest.mark.parametrize("name", NOISE_AMOUNTS)
def test_every_noise_takes_an_amount_a_range_or_none(name):
    parameter, default = NOISE_AMOUNTS[name].parameter, NOISERS[name]()
    assert getattr(parse(f"{name}:0.5").build_noiser(), parameter) == 0.5
    assert getattr(parse(f"{name}:0.25-.5").build_noiser(), parameter) == (0.25, 0.5)
    assert getattr(parse(name).build_noiser(), parameter) == getattr(default, parameter)


# A blur leaves a constant image as it is, and "swap" needs several.
@pytest.mark.parametrize("name", sorted(set(NOISE_AMOUNTS) - {"swap", "blur"}))
def test_every_noise_changes_an_image_of_one_gray(name):
    image = np.full((1, 16, 16), 0.5, np.float32)
    noisy = np.asarray(parse(f"{name}:0.5").build_noiser(0).fit_transform(image))
    assert (noisy != image).any()


def test_black_and_white_are_0_and_1_for_dark_images_too():
    dark = np.full((1, 32, 32), 0.2, np.float32)
    assert set(np.unique(parse("salt_and_pepper:0.9").build_noiser(0).fit_transform(dark))) == {
        np.float32(0),
        np.float32(0.2),
        np.float32(1),
    }
    assert float(parse("poisson:30").build_noiser().fit(dark).white_) == 1


def test_noises_are_joined_in_order():
    chain = parse("poisson:30 + gaussian:2e-2").build_noiser(7)
    assert isinstance(chain, NoiserChain)
    assert [type(noiser) for noiser in chain.noisers] == [PoissonNoiser, GaussianNoiser]
    assert (chain.noisers[0].peak, chain.noisers[1].noise_factor, chain.random_state) == (30, 0.02, 7)


def test_names_may_have_dashes_for_underscores():
    assert parse("salt-and-pepper:0.1").parts == (("salt_and_pepper", 0.1),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gausian:0.1", r"no noise 'gausian'\. Did you mean 'gaussian'\? Known: gaussian, uniform"),
        ("chain", "'chain' combines other noises"),
        ("hum", "'hum' needs a sampling rate: use HumNoiser in Python"),
        ("downscale", "'downscale' changes the size of images: use DownscaleNoiser in Python"),
        ("baseline_wander", "'baseline_wander' is no noise of images: use BaselineWanderNoiser in Python"),
        ("gaussian:", "'gaussian:' is not a noise: expected NAME, NAME:AMOUNT"),
        ("gaussian:-0.1", "is not a noise"),
        ("gaussian:a", "is not a noise"),
        ("gaussian:0.1-0.2-0.3", "is not a noise"),
        ("gaussian+", "is not a noise"),
        ("", "is not a noise"),
        ("gaussian:0.2-0.1", "LOW-HIGH needs LOW below HIGH, 0.1-0.2"),
        ("gaussian:25", "at most 1 .*; grey levels of 255 would be gaussian:0.098"),
        ("masking:2", "at most 1"),
        ("poisson:0", "above 0"),
    ],
)
def test_mistakes_are_refused_with_a_remedy(text, message):
    with pytest.raises(click.BadParameter, match=message):
        parse(text)


def test_noise_that_mixes_samples_is_for_training_only():
    with pytest.raises(click.BadParameter, match="swap takes values from other patches"):
        NoiseType().convert("gaussian+swap:0.1", None, None)


@pytest.mark.parametrize("text", ["gaussian:0.1", "gaussian:0.02-0.2", "poisson:30+salt_and_pepper:0.1"])
def test_a_noiser_is_formatted_in_the_same_syntax(text):
    assert format_noiser(parse(text).build_noiser()) == text


def test_a_noiser_without_a_syntax_is_formatted_by_its_repr():
    assert (
        format_noiser(RegionNoiser(GaussianNoiser(0.2)))
        == "RegionNoiser(noiser=GaussianNoiser(noise_factor=0.2))"
    )


def test_help_has_the_meaning_of_each_amount():
    text = noise_help()
    assert all(name in text and amount.description in text for name, amount in NOISE_AMOUNTS.items())
    assert max(map(len, text.splitlines())) <= 78


def test_help_does_not_wait_for_torch():
    code = (
        "import sys\n"
        "from sk_denoise.cli import _compare_command, _evaluate_command, _train_command\n"
        "for module, name in ((_train_command, 'train'), (_evaluate_command, 'evaluate'), "
        "(_compare_command, 'compare')):\n"
        "    getattr(module, f'{name}_command').main(['--help'], standalone_mode=False)\n"
        "assert not {'torch', 'sklearn', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == 3
