"""Denoise signals of six kinds, of any length, with recorded noise, and one long recording.

    python benchmarks/signals.py                 # hours on one core; writes signals.json and signals.md
    python benchmarks/signals.py --parts kinds --kinds bits --methods dense    # these alone
    python benchmarks/signals.py --quick         # small sets, one seed; prints only

Parts: ``kinds`` compares denoisers on 128 entries with white noise of .4, ``sizes`` varies the length and the
number of training signals, ``recorded`` adds recorded noise to electrocardiograms, and ``long`` denoises one
recording of 10 million samples at once and in chunks. Measurements on file are kept: ``--again`` repeats
them. Seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import noisy_signals
import numpy as np
from noisy_signals import to_table
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, filtfilt, iirnotch, sosfilt, sosfiltfilt, wiener
from skimage.restoration import denoise_wavelet

import sk_denoise
from sk_denoise import (
    DenoisingAutoencoder,
    GaussianNoiser,
    PosteriorMeanDenoiser,
    RecordedNoiser,
    WienerDenoiser,
)
from sk_denoise.metrics import cosine_similarity, mad, prd, ssd

RESULTS = Path(__file__).parent / "results"
LENGTH, SIGMA = 128, 0.4
N_TRAIN, N_TEST, SEEDS = 1000, 300, (0, 1, 2)
# Test signals for the filters, as each has a hundred settings.
N_FILTERED = 100

Array = np.ndarray[Any, Any]


# six kinds of signals -----------------------------------------------------------------------------------


def draw_heartbeats(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return beats of five waves, of varying period and height, with unit deviation on average."""
    places = np.arange(length)
    widths = np.array([2.0, 0.8, 1.0, 0.9, 4.5])
    signals = np.zeros((n, length))
    for signal in signals:
        period, height = rng.uniform(40, 70), rng.uniform(3.5, 6.5)
        stretch = np.sqrt(period / 65)
        heights = np.array([rng.uniform(0.1, 0.2), -0.12, 1.0, -0.25, rng.uniform(0.2, 0.35)])
        offsets = np.array([-12.0 * stretch, -2.5, 0.0, 2.5, 20.0 * stretch])
        beat = rng.uniform(-period, 0) - period
        while beat < length + period:
            # Farther than two periods from the beat, its waves are below the precision of numbers.
            near = slice(max(0, int(beat - 2 * period)), max(0, int(beat + 2 * period)))
            waves = np.exp(-0.5 * ((places[near] - beat - offsets[:, None]) / widths[:, None]) ** 2)
            signal[near] += height * (heights[:, None] * waves).sum(axis=0)
            beat += period * rng.normal(1, 0.03)
    return signals


def draw_peaks(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return broad peaks of any place, height and width on a smooth baseline."""
    places = np.arange(length)
    time = places / LENGTH
    signals = rng.uniform(0, 0.5, (n, 1)) + rng.uniform(-0.5, 0.5, (n, 1)) * time
    for _ in range(2):
        center, width = rng.uniform(0, length, (n, 1)), rng.uniform(22, 45, (n, 1))
        signals = signals + rng.uniform(0.3, 0.9, (n, 1)) * np.exp(-0.5 * ((places - center) / width) ** 2)
    return signals


def draw_steps(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return piecewise constant signals with a jump every 13 entries on average."""
    signals = np.empty((n, length))
    for signal in signals:
        cuts = np.flatnonzero(rng.uniform(size=length) < 1 / 13)
        pieces = np.searchsorted(cuts, np.arange(length), side="right")
        signal[:] = rng.normal(size=len(cuts) + 1)[pieces]
    return signals


def draw_sines(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return mixtures of three sines of 2 to 19 periods in 128 entries."""
    time = np.arange(length) / LENGTH
    signals = np.zeros((n, length))
    for _ in range(3):
        waves = rng.uniform(2, 19, (n, 1)) * time + rng.uniform(size=(n, 1))
        signals += rng.uniform(0.3, 1, (n, 1)) * np.sin(2 * np.pi * waves)
    return signals


def draw_bits(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return random bits, 0 or 1, of eight entries each."""
    bits = rng.integers(0, 2, (n, -(-length // 8)))
    return np.repeat(bits, 8, axis=1)[:, :length].astype(float)


def draw_smooth(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return Gaussian processes of unit variance with a length scale of 14 entries."""
    scale = 14 / np.sqrt(2)
    margin = 40
    white = rng.normal(size=(n, length + 2 * margin))
    curves = gaussian_filter1d(white, scale, axis=1)[:, margin : margin + length]
    return curves * np.sqrt(2 * np.sqrt(np.pi) * scale)


KINDS = {
    "ECG-like": draw_heartbeats,
    "peaks on a baseline": draw_peaks,
    "steps": draw_steps,
    "sine mixtures": draw_sines,
    "bits": draw_bits,
    "smooth curves": draw_smooth,
}


# white noise on 128 entries -----------------------------------------------------------------------------


def add_noise(clean: Array, rng: np.random.Generator) -> Array:
    """Return signals with white noise of level SIGMA."""
    return np.asarray(clean + rng.normal(0, SIGMA, clean.shape))


def gain(denoised: Array, noisy: Array, clean: Array) -> float:
    """Return the gain in dB over the noisy signals."""
    return 10 * float(np.log10(np.mean((noisy - clean) ** 2) / np.mean((denoised - clean) ** 2)))


def wiener_filters() -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield adaptive Wiener filters."""
    for size in (3, 5, 7, 9, 11, 15, 21, 31):
        yield f"{size}", lambda x, n=size: np.array([wiener(row, n, SIGMA**2) for row in x])


def measure_filters(kind: str, seed: int, n_train: int, n_test: int) -> dict[str, Any]:
    """Return the gain of the best filter, with its best parameters for the truth."""
    rng = np.random.default_rng(1000 + seed)
    clean = KINDS[kind](min(n_test, N_FILTERED), rng)
    noisy = add_noise(clean, rng)
    noisy_signals.SIGMA = SIGMA
    found = {}
    for name, candidates in {**noisy_signals.FILTERS, "Wiener": wiener_filters}.items():
        # Signals of 128 entries have fewer wavelet levels than asked for, which warns.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            error, setting = noisy_signals.best_of(candidates(), noisy, clean)
        found[name] = (20 * float(np.log10(np.std(noisy - clean) / error)), setting)
    best = max(found, key=lambda name: found[name][0])
    return {"gain": found[best][0], "filter": f"{best}: {found[best][1]}", "all": found}


def compute_limit_of_bits(seed: int, n_test: int) -> float:
    """Return the gain of the posterior mean that is given the clock of the bits: no denoiser has more.

    It depends on the draw, as the one or two bits that the noise turns over have most of the error.
    """
    rng = np.random.default_rng(1000 + seed)
    clean = draw_bits(n_test, rng)
    noisy = add_noise(clean, rng)
    means = noisy.reshape(n_test, -1, 8).mean(axis=2)
    bits = 1 / (1 + np.exp(-(means - 0.5) * 8 / SIGMA**2))
    return gain(np.repeat(bits, 8, axis=1), noisy, clean)


def build(method: str, seed: int) -> Any:
    """Return an unfitted denoiser with the noise level in hand."""
    noise = GaussianNoiser(SIGMA)
    if method == "SignalDenoiser":
        # All else is default, also the seed of the network.
        return sk_denoise.SignalDenoiser(noise=noise, random_state=seed)
    if method == "Wiener of all entries":
        return WienerDenoiser(SIGMA)
    if method == "posterior mean":
        return PosteriorMeanDenoiser(SIGMA)
    return DenoisingAutoencoder(method, noise=noise, random_state=seed)


def measure_denoiser(method: str, kind: str, seed: int, n_train: int, n_test: int) -> dict[str, Any]:
    """Return the gain of a denoiser on held-out signals, and its seconds."""
    train = KINDS[kind](n_train, np.random.default_rng(seed))
    rng = np.random.default_rng(1000 + seed)
    clean = KINDS[kind](n_test, rng)
    noisy = add_noise(clean, rng)
    start = time.process_time()
    denoiser = build(method, seed).fit(train)
    fitted = time.process_time()
    denoised = denoiser.predict(noisy)
    return {
        "gain": gain(denoised, noisy, clean),
        "fit seconds": fitted - start,
        "predict seconds": time.process_time() - fitted,
    }


METHODS = ("best filter", "Wiener of all entries", "posterior mean", "dense", "conv", "SignalDenoiser")
# Gains that were measured before, on other signals of these kinds: best filter, "dense", "conv", and the best
# network found by hand.
KNOWN = {
    "ECG-like": (3.6, 7.2, 5.7, 8.2),
    "peaks on a baseline": (14.2, 14.2, 14.1, None),
    "steps": (6.0, 5.2, 4.5, None),
    "sine mixtures": (4.2, 2.6, 1.6, 5.8),
    "bits": (9.2, 22.1, 28.7, None),
    "smooth curves": (10.1, 9.7, 8.5, None),
}


def run_kinds(store: Store, options: argparse.Namespace) -> None:
    """Measure all methods on all kinds."""
    n_train, n_test = (200, 50) if options.quick else (N_TRAIN, N_TEST)
    for seed, kind, method in itertools.product(options.seeds, options.kinds, options.methods):
        if method == "best filter":
            store.measure("kinds", [kind, method, seed], measure_filters, kind, seed, n_train, n_test)
        else:
            store.measure(
                "kinds", [kind, method, seed], measure_denoiser, method, kind, seed, n_train, n_test
            )


# lengths and numbers of training signals ----------------------------------------------------------------

SIZE_KINDS = ("ECG-like", "steps")
LENGTHS = (64, 128, 256, 1024, 16_384, 1_000_000)
NUMBERS = (100, 1000, 10_000)


def measure_lengths(kind: str, lengths: tuple[int, ...], n_train: int) -> dict[str, Any]:
    """Return gain and seconds at each length, after a fit to signals of 128 entries."""
    train = KINDS[kind](n_train, np.random.default_rng(0))
    denoiser = build("SignalDenoiser", 0).fit(train)
    found = {}
    for length in lengths:
        rng = np.random.default_rng(1000)
        # About as many entries at each length, so that gains are as exact.
        clean = KINDS[kind](max(1, 40_000 // length), rng, length)
        noisy = add_noise(clean, rng)
        start = time.process_time()
        denoised = denoiser.predict(noisy)
        seconds = time.process_time() - start
        found[str(length)] = {"gain": gain(denoised, noisy, clean), "us an entry": 1e6 * seconds / noisy.size}
    return found


def measure_own_length(kind: str, length: int) -> dict[str, Any]:
    """Return gain and seconds of a fit to signals of one length, about 128,000 entries in all."""
    train = KINDS[kind](max(1, 128_000 // length), np.random.default_rng(0), length)
    rng = np.random.default_rng(1000)
    clean = KINDS[kind](max(1, 40_000 // length), rng, length)
    noisy = add_noise(clean, rng)
    start = time.process_time()
    denoiser = build("SignalDenoiser", 0).fit(train)
    seconds = time.process_time() - start
    return {"gain": gain(denoiser.predict(noisy), noisy, clean), "fit seconds": seconds}


def run_sizes(store: Store, options: argparse.Namespace) -> None:
    """Vary lengths and numbers of signals."""
    lengths, numbers = (LENGTHS[:3], (100,)) if options.quick else (LENGTHS, NUMBERS)
    for kind in SIZE_KINDS:
        store.measure("sizes", ["lengths", kind], measure_lengths, kind, lengths, min(numbers[-1], N_TRAIN))
        for length in lengths:
            store.measure("sizes", ["own length", kind, length], measure_own_length, kind, length)
        for number in numbers:
            for method in ("SignalDenoiser", "dense"):
                key = ["numbers", kind, method, number]
                store.measure("sizes", key, measure_denoiser, method, kind, 0, number, N_TEST)


# electrocardiograms with recorded noise -----------------------------------------------------------------

RATE = 360
SNRS = (0, 5, 10)


def draw_electrocardiograms(n: int, seconds: float, rng: np.random.Generator) -> Array:
    """Return synthetic electrocardiograms in millivolts, sampled at 360 Hz.

    Heights, widths and the rate differ between signals; the rate breathes and jitters from beat to beat.
    """
    time_ = np.arange(round(seconds * RATE)) / RATE
    signals = np.zeros((n, time_.size))
    for signal in signals:
        heights = np.array(
            [
                rng.uniform(0.05, 0.25),
                -rng.uniform(0.02, 0.2),
                rng.uniform(0.6, 1.6),
                -rng.uniform(0.05, 0.45),
                rng.uniform(-0.1, 0.5),
            ]
        )
        widths = np.array([0.025, 0.010, 0.012, 0.012, 0.055]) * rng.uniform(0.8, 1.3, 5)
        period, breath = rng.uniform(0.6, 1.1), rng.uniform(0.15, 0.3)
        beat, phase = -rng.uniform(1, 2), rng.uniform(0, 2 * np.pi)
        while beat < seconds + 1:
            stretch = np.sqrt(period)
            offsets = np.array([-0.19 * stretch, -0.030, 0.0, 0.032, 0.29 * stretch])
            # Beats differ a little in height, and one in fifteen comes early and wide.
            early = rng.uniform() < 1 / 15
            wide = 2.5 if early else 1.0
            for height, offset, width in zip(heights, offsets, widths, strict=True):
                scale = height * rng.normal(1, 0.05)
                signal += scale * np.exp(-0.5 * ((time_ - beat - wide * offset) / (wide * width)) ** 2)
            change = 1 + 0.06 * np.sin(2 * np.pi * breath * beat + phase) + rng.normal(0, 0.02)
            beat += period * change * (0.75 if early else 1.0)
    return signals


def draw_noise_bank(n: int, seconds: float, rng: np.random.Generator) -> list[Array]:
    """Return records of noise as of electrodes: motion, baseline wander, muscle, and mixtures.

    The records are synthetic, filtered noise of random bands and bursts, each with a median of 0.
    """
    size = round(seconds * RATE)
    bank = []
    for _ in range(n):
        wander = sosfilt(butter(2, rng.uniform(0.2, 0.6), fs=RATE, output="sos"), rng.normal(size=size))
        band = (rng.uniform(0.8, 2), rng.uniform(6, 14))
        motion = sosfilt(butter(2, band, "bandpass", fs=RATE, output="sos"), rng.normal(size=size))
        band = (rng.uniform(15, 30), rng.uniform(80, 150))
        muscle = sosfilt(butter(2, band, "bandpass", fs=RATE, output="sos"), rng.normal(size=size))
        parts = []
        shares = rng.dirichlet((1, 1, 1))
        for part, burst, share in zip((wander, motion, muscle), (0.0, 0.9, 0.7), shares, strict=True):
            # Activity comes in bursts of about a second.
            activity = gaussian_filter1d(rng.normal(size=size), RATE * rng.uniform(0.4, 1.2))
            envelope = 1 - burst + burst * np.clip(activity / activity.std(), 0, None) ** 1.5
            parts.append(np.sqrt(share) * envelope * part / part.std())
        record = np.sum(parts, axis=0)
        bank.append(record - np.median(record))
    return bank


def mix_at(clean: Array, bank: list[Array], snr: float, rng: np.random.Generator) -> Array:
    """Return signals with random parts of the records at one signal-to-noise ratio in dB."""
    noisy = np.empty_like(clean)
    for row, signal in zip(noisy, clean, strict=True):
        record = bank[rng.integers(len(bank))]
        start = rng.integers(record.size - signal.size)
        noise = record[start : start + signal.size]
        scale = np.sqrt(signal.var() / np.mean(noise**2) / 10 ** (snr / 10))
        row[:] = signal + scale * noise
    return noisy


def band_pass(noisy: Array) -> Array:
    """Keep .5 to 40 Hz, without a shift of phase, and remove the hum at 50 Hz."""
    b, a = iirnotch(50, 30, fs=RATE)
    filtered = sosfiltfilt(butter(2, (0.5, 40), "bandpass", fs=RATE, output="sos"), noisy, axis=1)
    return np.asarray(filtfilt(b, a, filtered, axis=1))


def wavelet(noisy: Array) -> Array:
    """Remove the baseline below .5 Hz, then shrink wavelet coefficients."""
    filtered = sosfiltfilt(butter(2, 0.5, "highpass", fs=RATE, output="sos"), noisy, axis=1)
    options = {"wavelet": "sym8", "mode": "soft", "method": "BayesShrink", "wavelet_levels": 6}
    return np.array([denoise_wavelet(row, **options) for row in filtered])


def measure_signals(denoised: Array, clean: Array) -> dict[str, float]:
    """Return means over the signals of SSD, MAD, PRD and cosine."""
    measures = {"SSD": ssd, "MAD": mad, "PRD": prd, "cosine": cosine_similarity}
    return {name: measure(clean, denoised) for name, measure in measures.items()}


def measure_recorded(quick: bool) -> dict[str, Any]:
    """Return the measures of filters and the network at each signal-to-noise ratio."""
    rng = np.random.default_rng(0)
    n_train, n_test = (40, 10) if quick else (300, 60)
    train = draw_electrocardiograms(n_train, 10, rng)
    test = draw_electrocardiograms(n_test, 10, np.random.default_rng(1))
    # Other seeds: no record of the training is in the test.
    bank = draw_noise_bank(24, 60, np.random.default_rng(2))
    foreign = draw_noise_bank(24, 60, np.random.default_rng(3))
    noise = RecordedNoiser(bank, snr=(-3, 13), power="data")
    start = time.process_time()
    denoiser = sk_denoise.SignalDenoiser(noise=noise, random_state=0).fit(train)
    found: dict[str, Any] = {"fit seconds": time.process_time() - start}
    for snr in SNRS:
        noisy = mix_at(test, foreign, snr, np.random.default_rng(100 + snr))
        # High-pass filters lose the mean, so they get that of the truth.
        means = test.mean(axis=1, keepdims=True)
        outputs = {
            "noisy": noisy,
            "band-pass .5 to 40 Hz": band_pass(noisy) + means,
            "high-pass and wavelet": wavelet(noisy) + means,
            "SignalDenoiser": denoiser.predict(noisy),
        }
        found[str(snr)] = {name: measure_signals(output, test) for name, output in outputs.items()}
    return found


def run_recorded(store: Store, options: argparse.Namespace) -> None:
    """Measure electrocardiograms with recorded noise."""
    store.measure("recorded", ["recorded"], measure_recorded, options.quick)


# one long recording -------------------------------------------------------------------------------------

CHUNK = 100_003


def denoise_recording(way: str, n: int) -> dict[str, Any]:
    """Denoise one recording in this process; return checksum, seconds and peak memory."""
    rng = np.random.default_rng(0)
    train = KINDS["ECG-like"](200, rng)
    denoiser = build("SignalDenoiser", 0).set_params(max_epochs=3).fit(train)
    recording = np.tile(KINDS["ECG-like"](1, rng, 100_000)[0], -(-n // 100_000))[:n].astype(np.float32)
    recording += SIGMA * rng.standard_normal(n, dtype=np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, processor = time.perf_counter(), time.process_time()
    # Sums and a sample of the entries tell whether two outputs are equal.
    total, squares, size, sample = 0.0, 0.0, 0, []
    if way == "predict":
        pieces: Any = [denoiser.predict(recording[None])[0]]
    else:
        pieces = denoiser.predict_stream(recording[a : a + CHUNK] for a in range(0, n, CHUNK))
    for piece in pieces:
        values = np.asarray(piece, dtype=np.float64).ravel()
        total, squares = total + values.sum(), squares + (values**2).sum()
        places = np.arange(-size % 9973, values.size, 9973)
        sample.extend(values[places].tolist())
        size += values.size
    return {
        "samples": size,
        "sum": float(total),
        "sum of squares": float(squares),
        "seconds": time.perf_counter() - start,
        "processor seconds": time.process_time() - processor,
        "MB before": before / 1024,
        "MB peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "delay": int(getattr(denoiser, "delay_", 0)),
        "sample": sample,
    }


def measure_recording(n: int) -> dict[str, Any]:
    """Denoise one recording both ways, each in its own process."""
    found: dict[str, Any] = {}
    for way in ("predict", "stream"):
        command = [sys.executable, __file__, "--recording", way, str(n)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[way] = json.loads(output.splitlines()[-1])
    first, second = (np.array(found[way].pop("sample")) for way in ("predict", "stream"))
    same = first.shape == second.shape and found["predict"]["samples"] == found["stream"]["samples"] == n
    found["largest difference"] = float(np.abs(first - second).max()) if same else None
    return found


def run_long(store: Store, options: argparse.Namespace) -> None:
    """Denoise one recording of 10 million samples."""
    for n in (200_000,) if options.quick else (10_000_000, 1_000_000):
        store.measure("long", [str(n)], measure_recording, n)


# results ------------------------------------------------------------------------------------------------

PARTS = {"kinds": run_kinds, "sizes": run_sizes, "recorded": run_recorded, "long": run_long}


class Store:
    """Measurements on file, which a second run does not repeat.

    Parameters
    ----------
    path : Path or None
        JSON file; None keeps the measurements in memory.
    again : bool
        Whether measurements on file are repeated.
    """

    def __init__(self, path: Path | None, again: bool) -> None:
        self.path = path
        self.again = again
        self.results = json.loads(path.read_text()) if path is not None and path.exists() else {}

    def measure(self, part: str, key: list[Any], function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function unless its result is on file; store the result."""
        name = " | ".join(map(str, key))
        if name in self.results.get(part, {}) and not self.again:
            return
        value = function(*arguments)
        print(part, name, {k: v for k, v in value.items() if k != "all"}, flush=True)
        if self.path is not None and self.path.exists():
            # Read late, so that runs of other parts at the same time are kept.
            self.results = json.loads(self.path.read_text())
        self.results.setdefault(part, {})[name] = value
        if self.path is not None:
            self.path.write_text(json.dumps(self.results, indent=1) + "\n")
            self.path.with_suffix(".md").write_text(to_text(self.results))


def format_kinds(results: dict[str, Any]) -> list[str]:
    """Return the tables of the six kinds."""

    def draws(kind: str, method: str, name: str) -> list[float]:
        keys = (f"{kind} | {method} | {seed}" for seed in SEEDS)
        return [results[key][name] for key in keys if key in results and name in results[key]]

    rows = []
    for kind, known in KNOWN.items():
        gains = {method: draws(kind, method, "gain") for method in METHODS}
        n_draws = max(map(len, gains.values()))
        # Seeds draw other test signals, so that means over fewer seeds do not compete.
        best = max(np.mean(values) for values in gains.values() if len(values) == n_draws)
        cells = []
        for values in gains.values():
            cell = f"{np.mean(values):.1f}" if values else ""
            if 0 < len(values) < n_draws:
                cell += f" ({len(values)} of {n_draws} seeds)"
            elif values and cell == f"{best:.1f}":
                cell = f"**{cell}**"
            cells.append(cell)
        rows.append([kind, *cells, " / ".join("" if x is None else f"{x:.1f}" for x in known)])
    seeds = []
    for kind in KNOWN:
        keys = [
            [f"{kind} | {method} | {seed}" for seed in SEEDS] for method in ("best filter", "SignalDenoiser")
        ]
        cells = [f"{results[key]['gain']:.1f}" if key in results else "" for row in keys for key in row]
        seeds.append([kind, " / ".join(cells[: len(SEEDS)]), " / ".join(cells[len(SEEDS) :])])
    limits = [f"{compute_limit_of_bits(seed, N_TEST):.1f}" for seed in SEEDS]
    seconds = []
    for method in METHODS[1:]:
        means = [np.mean(draws(k, method, "fit seconds")) for k in KNOWN if draws(k, method, "fit seconds")]
        seconds.append([method, f"{min(means):.0f} to {max(means):.0f}" if means else ""])
    chosen = [
        [kind, results[key]["filter"]] for kind in KNOWN if (key := f"{kind} | best filter | 0") in results
    ]
    return [
        "## Six kinds",
        f"{N_TRAIN} clean training signals of {LENGTH} entries, white noise of {SIGMA} which the denoisers "
        f"are given, {N_TEST} held-out signals ({N_FILTERED} for the filters); "
        "gain in dB over the noisy signals, means of the seeds. The "
        "filter and its parameters are the best for the truth. The last column has figures measured before "
        "on other signals of these kinds: best filter / dense / conv / best network by hand.",
        to_table(["signals", *METHODS, "known figures"], rows),
        "Each seed, which draws other signals:",
        to_table(["signals", "best filter", "SignalDenoiser"], seeds),
        f"The limit for bits is {' / '.join(limits)} dB, the gain of the posterior mean that is given their "
        "clock. Most of its error comes from the one or two bits of a draw that the noise turns over.",
        "Processor seconds of the fit:",
        to_table(["method", "seconds"], seconds),
        "Best filters, first seed:",
        to_table(["signals", "filter"], chosen),
    ]


def format_sizes(results: dict[str, Any]) -> list[str]:
    """Return the tables of lengths and numbers."""
    lengths, numbers = [], []
    for kind in SIZE_KINDS:
        for length in LENGTHS:
            foreign = results.get(f"lengths | {kind}", {}).get(str(length))
            same = results.get(f"own length | {kind} | {length}")
            lengths.append(
                [
                    kind,
                    f"{length:,}",
                    f"{foreign['gain']:.1f}" if foreign else "",
                    f"{foreign['us an entry']:.1f}" if foreign else "",
                    f"{same['gain']:.1f}" if same else "",
                    f"{same['fit seconds']:.0f}" if same else "",
                ]
            )
        for number in NUMBERS:
            row = [kind, f"{number:,}"]
            for method in ("SignalDenoiser", "dense"):
                found = results.get(f"numbers | {kind} | {method} | {number}")
                row += [f"{found['gain']:.1f}", f"{found['fit seconds']:.0f}"] if found else ["", ""]
            numbers.append(row)
    return [
        "## Lengths",
        "`SignalDenoiser` after a fit to 1,000 signals of 128 entries, and after a fit to signals of the "
        "same length, 128,000 entries in all (the longest: one recording). Each signal of heartbeats has one "
        "height and one rate, so that 7 recordings of 16,384 entries have seven, and one recording has one.",
        to_table(
            ["signals", "length", "gain", "microseconds an entry", "fit to this length: gain", "fit seconds"],
            lengths,
        ),
        "## Numbers of training signals",
        to_table(
            ["signals", "training signals", "SignalDenoiser", "fit seconds", "dense", "fit seconds"], numbers
        ),
    ]


def format_recorded(results: dict[str, Any]) -> list[str]:
    """Return the table of recorded noise."""
    found = results["recorded"]
    names = ("SSD", "MAD", "PRD", "cosine")
    rows = [
        [f"{snr} dB", method, *(f"{values[name]:.3g}" for name in names)]
        for snr in SNRS
        for method, values in found[str(snr)].items()
    ]
    return [
        "## Electrocardiograms with recorded noise",
        "Synthetic electrocardiograms of 10 s at 360 Hz, in millivolts. The noise is a bank of synthetic "
        "records of electrode motion, baseline wander and muscle; the records of the test are not those of "
        'the training. `SignalDenoiser(noise=RecordedNoiser(bank, snr=(-3, 13), power="data"))`, all else '
        f"default, {found['fit seconds']:.0f} s of training. Means over the signals. The filters get the "
        "mean of each clean signal, which they would lose.",
        to_table(["SNR", "method", *names], rows),
    ]


def format_long(results: dict[str, Any]) -> list[str]:
    """Return the table of the long recording."""
    rows = []
    for n, found in results.items():
        for way in ("predict", "stream"):
            values = found[way]
            rows.append(
                [
                    f"{int(n):,}",
                    way,
                    f"{values['seconds']:.0f}",
                    f"{values['processor seconds']:.0f}",
                    f"{values['MB before']:.0f}",
                    f"{values['MB peak']:.0f}",
                    "equal" if found["largest difference"] == 0 else f"{found['largest difference']:.1g}",
                ]
            )
    return [
        "## One long recording",
        f"float32, in memory or in chunks of {CHUNK:,} samples; memory of the whole process before and at "
        "its peak. The last column is the largest difference between the two ways.",
        to_table(
            ["samples", "way", "seconds", "processor seconds", "MB before", "MB peak", "difference"], rows
        ),
    ]


FORMATS = {"kinds": format_kinds, "sizes": format_sizes, "recorded": format_recorded, "long": format_long}


def to_text(results: dict[str, Any]) -> str:
    """Return the results as a page."""
    parts = ["# Signals", "Output of `benchmarks/signals.py`."]
    for part, format_part in FORMATS.items():
        if part in results:
            parts += format_part(results[part])
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sets and one seed; prints only")
    parser.add_argument("--again", action="store_true", help="repeat measurements that are on file")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=None)
    parser.add_argument("--recording", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.recording:
        print(json.dumps(denoise_recording(options.recording[0], int(options.recording[1]))))
        return
    options.seeds = options.seeds or ((0,) if options.quick else SEEDS)
    store = Store(None if options.quick else RESULTS / "signals.json", options.again)
    for part in options.parts:
        PARTS[part](store, options)
    print(to_text(store.results))


if __name__ == "__main__":
    main()
