"""Signals from noisy data alone, beside filters with their best parameters.

500 noisy signals of 600 entries of each of four kinds, with white noise of .35 of their height. The mixture
of Wiener filters and a network see the noisy signals alone. Each filter takes the parameters with the least
error against the clean signals, which nobody has in use. The second table has two noisy measurements of 200
signals each. All numbers are root mean squared errors, means of 3 seeds; the noise is .350.

    python benchmarks/noisy_signals.py            # about 20 minutes on one core; writes noisy_signals.md
    python benchmarks/noisy_signals.py --quick    # one seed, fewer signals; prints only
    python benchmarks/noisy_signals.py --kinds steps sines    # these alone; keeps the results of others
    python benchmarks/noisy_signals.py --network              # the network alone, with stored rivals
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import savgol_filter
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet

from sk_denoise import SignalDenoiser, WienerMixtureDenoiser
from sk_denoise.noise import estimate_row_noise

RESULTS = Path(__file__).parent / "results"
LENGTH, SIGMA = 600, 0.35
# Signals on which errors are measured, among those that the mixture learns from.
N_MEASURED = 20
PLACES = np.arange(LENGTH)
TIME = np.linspace(0, 1, LENGTH)

Array = np.ndarray[Any, Any]


def draw_spectra(n: int, rng: np.random.Generator) -> Array:
    """Return five peaks of shifting place, height and width on a smooth baseline."""
    signals = rng.uniform(0.2, 0.6, (n, 1)) + rng.uniform(-0.3, 0.3, (n, 1)) * TIME
    waves = rng.uniform(0.5, 1, (n, 1)) * TIME + rng.uniform(size=(n, 1))
    signals = signals + rng.uniform(0.1, 0.3, (n, 1)) * np.sin(2 * np.pi * waves)
    for center in (0.2, 0.35, 0.5, 0.65, 0.82):
        place, width = center + rng.normal(0, 0.02, (n, 1)), rng.uniform(0.008, 0.025, (n, 1))
        signals += rng.uniform(0.5, 1, (n, 1)) * np.exp(-0.5 * ((TIME - place) / width) ** 2)
    return signals


def draw_heartbeats(n: int, rng: np.random.Generator) -> Array:
    """Return beats of five waves each, of varying period and height, on a slow drift."""
    signals = np.zeros((n, LENGTH))
    for signal in signals:
        period, height = rng.uniform(120, 220), rng.uniform(0.8, 1.2)
        for beat in np.arange(rng.uniform(0, period) - period, LENGTH + period, period):
            beat += rng.normal(0, 4)
            waves = ((0.15, -40, 7), (-0.12, -8, 2.5), (1, 0, 3), (-0.25, 8, 3), (0.3, 55, 14))
            for share, offset, width in waves:
                signal += height * share * np.exp(-0.5 * ((PLACES - beat - offset) / width) ** 2)
        signal += 0.1 * np.sin(2 * np.pi * (rng.uniform(0.5, 1.5) * TIME + rng.uniform()))
    return signals


def draw_steps(n: int, rng: np.random.Generator) -> Array:
    """Return piecewise constant signals with about ten levels in [0, 1]."""
    signals = np.empty((n, LENGTH))
    for signal in signals:
        cuts = np.sort(rng.integers(1, LENGTH, rng.poisson(8) + 1))
        signal[:] = np.repeat(rng.uniform(size=len(cuts) + 1), np.diff([0, *cuts, LENGTH]))
    return signals


def draw_sines(n: int, rng: np.random.Generator) -> Array:
    """Return sines of 2 to 20 periods, of any phase."""
    waves = rng.uniform(2, 20, (n, 1)) * TIME + rng.uniform(size=(n, 1))
    return 0.5 * rng.uniform(0.7, 1, (n, 1)) * np.sin(2 * np.pi * waves)


KINDS = {"spectra": draw_spectra, "heartbeats": draw_heartbeats, "steps": draw_steps, "sines": draw_sines}


def savitzky_golay() -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield Savitzky-Golay filters."""
    lengths = (5, 7, 9, 11, 15, 19, 23, 27, 31, 37, 43, 51, 61, 75, 91, 121)
    for length, order in itertools.product(lengths, (1, 2, 3, 4)):
        yield f"{length}, order {order}", lambda x, a=length, b=order: savgol_filter(x, a, b, axis=1)


def wavelets() -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield thresholds of wavelet coefficients."""
    thresholds = [("BayesShrink", 1.0), *(("VisuShrink", factor) for factor in (0.4, 0.55, 0.7, 0.85, 1.0))]
    choices = itertools.product(("haar", "db4", "sym8", "coif4"), ("soft", "hard"), (4, 5, 6), thresholds)
    for wavelet, mode, levels, (method, factor) in choices:
        options = {"wavelet": wavelet, "mode": mode, "wavelet_levels": levels, "method": method}
        yield (
            f"{wavelet}, {mode}, {levels} levels, {method} at {factor:g} sigma",
            lambda x, o=options, f=factor: np.array(
                [denoise_wavelet(row, sigma=f * SIGMA, **o) for row in x]
            ),
        )


def total_variation() -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield weights of the total variation."""
    for weight in (0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6):
        yield (
            f"weight {weight:g}",
            lambda x, w=weight: np.array(
                [denoise_tv_chambolle(row, w, eps=1e-5, max_num_iter=500) for row in x]
            ),
        )


def non_local_means() -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield non-local means."""
    for size, distance, strength in itertools.product((7, 15), (25, 100), (0.4, 0.6, 0.8)):
        options = {"patch_size": size, "patch_distance": distance, "h": strength * SIGMA, "sigma": SIGMA}
        # On images of height 1, the slow mode is the faster one.
        options["fast_mode"] = False
        yield (
            f"patches of {size}, distance {distance}, h {strength:g} sigma",
            lambda x, o=options: np.array(
                [denoise_nl_means(row[None, :, None], channel_axis=-1, **o).ravel() for row in x]
            ),
        )


FILTERS = {
    "Savitzky-Golay": savitzky_golay,
    "wavelet": wavelets,
    "total variation": total_variation,
    "non-local means": non_local_means,
}


def error_of(denoised: Array, clean: Array) -> float:
    """Return the root mean squared error."""
    return float(np.sqrt(np.mean((denoised - clean) ** 2)))


def best_of(candidates: Any, noisy: Array, clean: Array) -> tuple[float, str]:
    """Return the least error against the truth, and the parameters."""
    return min((error_of(denoise(noisy), clean), name) for name, denoise in candidates)


def noisy_alone(kind: str, seed: int, n: int) -> dict[str, Any]:
    """Return the errors of all methods on one draw of signals."""
    rng = np.random.default_rng(seed)
    clean = KINDS[kind](n, rng)
    noisy = clean + rng.normal(0, SIGMA, clean.shape)
    measured = slice(0, N_MEASURED)
    start = time.perf_counter()
    mixture = WienerMixtureDenoiser("auto", window="auto", random_state=seed).fit(noisy)
    errors: dict[str, Any] = {"mixture": error_of(mixture.predict(noisy[measured]), clean[measured])}
    errors["window"], errors["level"] = mixture.window_, estimate_row_noise(noisy)
    errors["seconds"] = time.perf_counter() - start
    for name, candidates in FILTERS.items():
        errors[name], errors[f"{name}, best"] = best_of(candidates(), noisy[measured], clean[measured])
    return errors


def two_measurements(kind: str, seed: int, n: int) -> dict[str, float]:
    """Return the error on single measurements after a fit to pairs."""
    rng = np.random.default_rng(100 + seed)
    clean = KINDS[kind](n, rng)
    first, second = (clean + rng.normal(0, SIGMA, clean.shape) for _ in range(2))
    measured = slice(0, N_MEASURED)
    mixture = WienerMixtureDenoiser(window=64, random_state=seed).fit(first, X_second=second)
    single = mixture.predict(first[measured])
    both = (single + mixture.predict(second[measured])) / 2
    return {
        "single": error_of(single, clean[measured]),
        "both": error_of(both, clean[measured]),
        "pair level": mixture.sigma_,
    }


def measure_network(kind: str, seed: int, n: int, n_pairs: int) -> dict[str, float]:
    """Return the errors of a network on the draws of the other methods."""
    rng = np.random.default_rng(seed)
    clean = KINDS[kind](n, rng)
    noisy = clean + rng.normal(0, SIGMA, clean.shape)
    measured = slice(0, N_MEASURED)
    start = time.process_time()
    network = SignalDenoiser(objective="recorrupt", random_state=seed).fit(noisy)
    errors = {"network": error_of(network.predict(noisy[measured]), clean[measured])}
    errors["network seconds"] = time.process_time() - start
    rng = np.random.default_rng(100 + seed)
    clean = KINDS[kind](n_pairs, rng)
    first, second = (clean + rng.normal(0, SIGMA, clean.shape) for _ in range(2))
    network = SignalDenoiser(random_state=seed).fit(first, X_second=second)
    single, other = (network.predict(side[measured]) for side in (first, second))
    errors["network, single"] = error_of(single, clean[measured])
    errors["network, both"] = error_of((single + other) / 2, clean[measured])
    return errors


def to_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_text(results: dict[str, Any], n: int, n_pairs: int) -> str:
    """Return the results as a page."""
    alone, pairs, choices = [], [], []
    for kind in (kind for kind in KINDS if "network" in results.get(kind, [{}])[0]):
        draws = results[kind]
        means = {name: np.mean([draw[name] for draw in draws]) for name in draws[0] if "best" not in name}
        names = ("network", "mixture", *FILTERS)
        best = min(means[name] for name in names)
        marked = [f"**{means[name]:.4f}**" if means[name] == best else f"{means[name]:.4f}" for name in names]
        # The number of windows is that of the seeds.
        windows = ", ".join(str(draw["window"]) for draw in draws)
        seconds = (f"{means[name]:.0f}" for name in ("network seconds", "seconds"))
        alone.append([kind, *marked, windows, f"{means['level']:.3f}", *seconds])
        columns = ("network, single", "network, both", "single", "both", "pair level")
        pairs.append([kind, *(f"{means[name]:.4f}" for name in columns)])
        choices += [[kind, name, draws[0][f"{name}, best"]] for name in FILTERS]
    parts = [
        "# Signals from noisy data alone",
        "Output of `benchmarks/noisy_signals.py`. Root mean squared errors, means of the seeds; the noise is "
        f'{SIGMA}. The network is `SignalDenoiser(objective="recorrupt")`, the mixture '
        f'`WienerMixtureDenoiser(window="auto")`: both see {n} noisy signals of {LENGTH} entries, and '
        "estimate their noise. The other filters have their best parameters against the truth.",
        to_table(
            [
                *("signals", "network", "mixture", *FILTERS, "windows", "estimated noise"),
                *("processor seconds, network", "seconds, mixture"),
            ],
            alone,
        ),
        f"Two noisy measurements of {n_pairs} signals, `fit(A, X_second=B)`: errors of the prediction for "
        "one measurement, and of the mean of the predictions for both.",
        to_table(
            [
                *("signals", "network, one measurement", "network, both"),
                *("mixture, one measurement", "mixture, both", "estimated noise"),
            ],
            pairs,
        ),
        "Best parameters of the filters, for the first seed:",
        to_table(["signals", "filter", "parameters"], choices),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed and 100 signals; prints only")
    parser.add_argument("--network", action="store_true", help="the network alone, with stored rivals")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of signals")
    arguments = parser.parse_args()
    seeds, n, n_pairs = ((0,), 100, 60) if arguments.quick else ((0, 1, 2), 500, 200)
    stored = RESULTS / "noisy_signals.json"
    for kind in arguments.kinds:
        draws = []
        for seed in seeds:
            rivals = (
                json.loads(stored.read_text())[kind][seed]
                if arguments.network
                else {**noisy_alone(kind, seed, n), **two_measurements(kind, seed, n_pairs)}
            )
            draws.append({**rivals, **measure_network(kind, seed, n, n_pairs)})
            print(kind, seed, draws[-1], flush=True)
            if arguments.network and seed != seeds[-1]:
                continue
            # Read late, so that runs of other kinds at the same time are kept.
            results = json.loads(stored.read_text()) if stored.exists() and not arguments.quick else {}
            results[kind] = draws
            text = to_text(results, n, n_pairs)
            if not arguments.quick:
                stored.write_text(json.dumps(results, indent=1) + "\n")
                (RESULTS / "noisy_signals.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
