"""Noise as it is written on the command line."""

from __future__ import annotations

import subprocess
import sys

import click
import numpy as np
import pytest

from sk_denoise import GaussianNoiser, NoiserChain, PoissonNoiser, RegionNoiser
from sk_denoise.cli._noise import KINDS, NoiseType, noise_help, words_of
from sk_denoise.noise import NOISERS


def read(text):
    return NoiseType(in_training=True).convert(text, None, None)


@pytest.mark.parametrize("name", KINDS)
def test_every_noise_takes_an_amount_a_range_or_none(name):
    parameter, default = KINDS[name].parameter, NOISERS[name]()
    assert getattr(read(f"{name}:0.5").noiser(), parameter) == 0.5
    assert getattr(read(f"{name}:0.25-.5").noiser(), parameter) == (0.25, 0.5)
    assert getattr(read(name).noiser(), parameter) == getattr(default, parameter)


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"swap"}))
def test_every_noise_changes_an_image_of_one_gray(name):
    image = np.full((1, 16, 16), 0.5, np.float32)
    noisy = np.asarray(read(f"{name}:0.5").noiser(0).fit_transform(image))
    assert (noisy != image).any()


def test_white_and_black_are_those_of_the_type_and_not_of_the_image():
    dark = np.full((1, 32, 32), 0.2, np.float32)
    assert set(np.unique(read("salt_and_pepper:0.9").noiser(0).fit_transform(dark))) == {
        np.float32(0),
        np.float32(0.2),
        np.float32(1),
    }
    assert float(read("poisson:30").noiser().fit(dark).white_) == 1


def test_noises_are_joined_in_order():
    chain = read("poisson:30 + gaussian:2e-2").noiser(7)
    assert isinstance(chain, NoiserChain)
    assert [type(noiser) for noiser in chain.noisers] == [PoissonNoiser, GaussianNoiser]
    assert (chain.noisers[0].peak, chain.noisers[1].noise_factor, chain.random_state) == (30, 0.02, 7)


def test_a_dash_will_do_for_an_underscore():
    assert read("salt-and-pepper:0.1").parts == (("salt_and_pepper", 0.1),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gausian:0.1", r"no noise 'gausian'\. Did you mean 'gaussian'\? Known: gaussian, uniform"),
        ("chain", "'chain' is made of other noise"),
        ("gaussian:", "'gaussian:' is no noise: expected NAME, NAME:AMOUNT"),
        ("gaussian:-0.1", "is no noise"),
        ("gaussian:a", "is no noise"),
        ("gaussian:0.1-0.2-0.3", "is no noise"),
        ("gaussian+", "is no noise"),
        ("", "is no noise"),
        ("gaussian:0.2-0.1", "LOW-HIGH needs LOW below HIGH, 0.1-0.2"),
        ("gaussian:25", "at most 1 .*; grey levels of 255 would be gaussian:0.098"),
        ("masking:2", "at most 1"),
        ("poisson:0", "above 0"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(text, message):
    with pytest.raises(click.BadParameter, match=message):
        read(text)


def test_noise_that_takes_from_other_patches_is_for_training_alone():
    with pytest.raises(click.BadParameter, match="swap takes values from other patches"):
        NoiseType().convert("gaussian+swap:0.1", None, None)


@pytest.mark.parametrize("text", ["gaussian:0.1", "gaussian:0.02-0.2", "poisson:30+salt_and_pepper:0.1"])
def test_a_noiser_is_told_in_the_same_words(text):
    assert words_of(read(text).noiser()) == text


def test_a_noiser_that_no_words_tell_is_shown_as_python_does():
    assert (
        words_of(RegionNoiser(GaussianNoiser(0.2))) == "RegionNoiser(noiser=GaussianNoiser(noise_factor=0.2))"
    )


def test_help_says_what_each_amount_means():
    text = noise_help()
    assert all(name in text and kind.meaning in text for name, kind in KINDS.items())
    assert max(map(len, text.splitlines())) <= 78


def test_help_does_not_wait_for_torch():
    code = (
        "import sys\n"
        "from sk_denoise.cli import _compare, _evaluate, _train\n"
        "for command in (_train.train, _evaluate.evaluate, _compare.compare):\n"
        "    command.main(['--help'], standalone_mode=False)\n"
        "assert not {'torch', 'sklearn', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == 3
