"""Metrics of signals: values by hand, channels, lists, and signals without energy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sk_denoise import GaussianNoiser, MedianDenoiser, compare_restorers, make_denoising_scorer
from sk_denoise.metrics import cosine_similarity, mad, prd, psnr, snr, snr_gain, ssd

METRICS = {
    "ssd": ssd,
    "mad": mad,
    "prd": prd,
    "cosine_similarity": cosine_similarity,
    "snr": snr,
    "snr_gain": lambda t, p, **weights: snr_gain(t, np.asarray(t, dtype=float) + 1, p, **weights),
}
GREATER_IS_BETTER = ("cosine_similarity", "snr", "snr_gain")
RNG = np.random.default_rng(0)
CLEAN = np.sin(np.linspace(0, 9, 50) + RNG.uniform(0, 6, (8, 1)))
NOISY = CLEAN + RNG.normal(0, 0.3, CLEAN.shape)


@pytest.fixture(params=METRICS.values(), ids=METRICS)
def metric(request):
    return request.param


def test_values_are_those_by_hand():
    truth, prediction = [[1.0, 2.0, 3.0, 6.0]], [[1.0, 3.0, 3.0, 4.0]]
    assert ssd(truth, prediction) == 1 + 4
    assert mad(truth, prediction) == 2
    # The mean is 3, so that the energy around it is 4 + 1 + 0 + 9.
    assert prd(truth, prediction) == pytest.approx(100 * math.sqrt(5 / 14))
    assert prd(truth, prediction, remove_mean=False) == pytest.approx(100 * math.sqrt(5 / 50))
    assert cosine_similarity(truth, prediction) == pytest.approx(40 / math.sqrt(50 * 35))
    assert snr(truth, prediction) == pytest.approx(10)
    assert snr(truth, prediction, remove_mean=True) == pytest.approx(10 * math.log10(14 / 5))
    assert snr_gain(truth, [[6.0, 2.0, 3.0, 1.0]], prediction) == pytest.approx(10)


def test_the_gain_is_the_snr_of_the_output_minus_that_of_the_input():
    denoised = CLEAN + (NOISY - CLEAN) / 2
    expected = snr(CLEAN, denoised) - snr(CLEAN, NOISY)
    assert snr_gain(CLEAN, NOISY, denoised) == pytest.approx(expected) == pytest.approx(20 * math.log10(2))


def test_the_mean_over_samples_is_weighted(metric):
    each = np.array([metric(t[None], x[None]) for t, x in zip(CLEAN, NOISY, strict=True)])
    weights = np.arange(8)
    assert np.std(each) > 0
    assert metric(CLEAN, NOISY) == pytest.approx(each.mean())
    assert metric(CLEAN, NOISY, sample_weight=weights) == pytest.approx(np.average(each, weights=weights))


def test_a_sample_of_several_channels_is_the_mean_over_them(metric):
    expected = metric(CLEAN, NOISY)
    signals = [side.reshape(4, 2, 50) for side in (CLEAN, NOISY)]
    assert metric(*signals) == pytest.approx(expected)
    # Batches inside the library have a height of 1 and their channels last.
    assert metric(*(np.moveaxis(side, 1, 2)[:, None] for side in signals)) == pytest.approx(expected)


def test_lists_of_signals_of_different_lengths_are_compared(metric):
    lengths = (50, 30, 41)
    truth, prediction = ([x[:n] for x, n in zip(side, lengths, strict=False)] for side in (CLEAN, NOISY))
    each = [ssd(t[None], p[None]) for t, p in zip(truth, prediction, strict=True)]
    assert ssd(truth, prediction) == pytest.approx(np.mean(each))
    assert ssd(truth, prediction, sample_weight=[0, 1, 0]) == pytest.approx(each[1])
    channels = [[np.stack([x, x + 1]) for x in side] for side in (truth, prediction)]
    assert mad(*channels) == pytest.approx(mad(truth, prediction))
    equal = [list(side) for side in (CLEAN, NOISY)]
    assert metric(*equal) == pytest.approx(metric(CLEAN, NOISY))


def test_signals_without_energy_have_defined_values():
    zeros, ones = np.zeros((1, 5)), np.full((1, 5), 0.1)
    for name, metric in METRICS.items():
        perfect = {"cosine_similarity": 1, "snr": 100, "snr_gain": 100}.get(name, 0)
        assert metric(zeros, zeros) == metric(ones, ones) == pytest.approx(perfect)
    assert prd(zeros, ones) == prd(ones, zeros) == prd(zeros, ones, remove_mean=False) == math.inf
    assert prd(ones, zeros, remove_mean=False) == pytest.approx(100)
    assert cosine_similarity(zeros, ones) == cosine_similarity(ones, zeros) == 0
    assert cosine_similarity(ones, -1e200 * ones) == pytest.approx(-1)
    assert snr(zeros, ones) == -math.inf
    assert snr(ones, ones, cap=None) == math.inf
    assert snr(zeros, zeros, cap=None) == 0
    assert snr_gain(ones, ones, zeros) == -100
    assert snr_gain(ones, ones, ones) == 0


def test_the_prd_is_independent_of_offset_and_unit():
    expected = prd(CLEAN, NOISY)
    assert prd(1e3 * CLEAN + 5e3, 1e3 * NOISY + 5e3) == pytest.approx(expected)
    assert prd(CLEAN + 5, NOISY + 5, remove_mean=False) < expected / 5


def test_integers_of_recorders_do_not_overflow(metric):
    truth, prediction = np.array([[30_000, -30_000]], np.int16), np.array([[-30_000, 0]], np.int16)
    assert metric(truth, prediction) == metric(truth.astype(float), prediction.astype(float))


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (CLEAN, CLEAN[:5], r"truth has shape \(8, 50\), prediction shape \(5, 50\)"),
        ([CLEAN[0], CLEAN[1, :9]], [CLEAN[0], CLEAN[1, :8]], r"truth has 2 signals of shapes"),
        (CLEAN[0], CLEAN[0], r"single signal needs a first axis: x\[None\]"),
        (np.full((1, 3), np.nan), np.ones((1, 3)), "Input truth contains NaN"),
        ([np.ones(3), np.full(2, np.inf)], [np.ones(3), np.ones(2)], r"Input truth\[1\] contains infinity"),
        (np.ones((2, 4, 4, 3)), np.ones((2, 4, 4, 3)), "expected signals of shape"),
    ],
)
def test_what_cannot_be_compared_is_refused(truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        ssd(truth, prediction)


# In scorers and comparisons ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
def test_scorers_and_comparisons_compute_the_metrics(name):
    median = MedianDenoiser().fit(CLEAN)
    noiser = GaussianNoiser(0.3, random_state=0)
    table = compare_restorers({"median": median}, CLEAN, noiser, metrics=[name, "psnr"], data_range=2)
    value = table.loc[table.method == "median", name].item()
    score = make_denoising_scorer(noiser, name)(median, CLEAN)
    sign = 1 if name in GREATER_IS_BETTER else -1
    assert score == pytest.approx(sign * value)
    before = table.loc[table.method == "noisy", name].item()
    assert sign * value > sign * before


def test_a_scorer_computes_the_gain_over_its_noise():
    median = MedianDenoiser().fit(CLEAN)
    noiser = GaussianNoiser(0.3, random_state=0)
    gain = make_denoising_scorer(noiser, "snr_gain")(median, CLEAN)
    ratio = make_denoising_scorer(noiser, "snr")(median, CLEAN)
    table = compare_restorers({"median": median}, CLEAN, noiser, metrics=["snr", "snr_gain"])
    assert gain == pytest.approx(ratio - table.snr[0])
    assert table.snr_gain[0] == 0


def test_columns_of_signals_are_not_scaled():
    # Rows too short to look like signals
    short = 100 * CLEAN[:, :12]
    median, noiser = MedianDenoiser().fit(short), GaussianNoiser(30, random_state=0)
    score = make_denoising_scorer(noiser, "ssd")(median, short)
    table = compare_restorers({"median": median}, short, noiser, metrics="ssd")
    assert score == pytest.approx(-table.ssd[1])
    with pytest.raises(ValueError, match='metric="ssd" compares images or signals'):
        make_denoising_scorer(noiser, "ssd", units="scaled")(median, short)


def test_psnr_and_snr_differ_by_the_range_and_the_power():
    expected = psnr(CLEAN[:1], NOISY[:1], data_range=2) - 10 * math.log10(4 / np.square(CLEAN[0]).mean())
    assert snr(CLEAN[:1], NOISY[:1]) == pytest.approx(expected)
