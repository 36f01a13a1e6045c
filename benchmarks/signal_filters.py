"""Filters of signals with their defaults, beside functions of libraries with their best parameters.

Signals of 600 entries of the four kinds of noisy_signals.py, with white noise of .35 and of .1 of their
height. The filters of the library receive the noise level, or estimate it from each signal. The functions of
scipy and scikit-image take the parameters with the least error against the clean signals, which nobody has in
use. All numbers are root mean squared errors in noise levels, means of 3 seeds.

    python benchmarks/signal_filters.py            # about 5 minutes on one core; writes signal_filters.md
    python benchmarks/signal_filters.py --quick    # one seed, fewer signals; prints only
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from noisy_signals import KINDS, RESULTS, error_of, to_table
from scipy.ndimage import median_filter
from scipy.signal import savgol_filter
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet

from sk_denoise import (
    BilateralDenoiser,
    MedianDenoiser,
    NonLocalMeansDenoiser,
    SavitzkyGolayDenoiser,
    TotalVariationDenoiser,
    WaveletDenoiser,
)

LEVELS = (0.35, 0.1)
OURS = {
    "wavelets": WaveletDenoiser(),
    "total variation": TotalVariationDenoiser(),
    "non-local means": NonLocalMeansDenoiser(),
    "bilateral": BilateralDenoiser(),
    "median, 9 entries": MedianDenoiser(9),
    "Savitzky-Golay, 21 entries": SavitzkyGolayDenoiser(21),
}

Array = np.ndarray[Any, Any]


def candidates(sigma: float) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield functions of one signal, by method."""
    for length in (5, 9, 11, 15, 21, 31, 41, 61, 91):
        for order in (1, 2, 4):
            yield "Savitzky-Golay", lambda x, a=length, b=order: savgol_filter(x, a, b)
    for size in (3, 5, 7, 9, 13, 17):
        yield "median", lambda x, a=size: median_filter(x, a)
    for wavelet in ("haar", "db2", "db4", "sym4", "sym8", "coif4"):
        for levels in (3, 4, 5, 6):
            yield (
                "wavelets",
                lambda x, a=wavelet, b=levels: denoise_wavelet(x, sigma, a, wavelet_levels=b),
            )
    for strength in (0.8, 1.5, 2, 2.5, 3, 4, 5, 6):
        yield (
            "total variation",
            lambda x, a=strength: denoise_tv_chambolle(x, a * sigma, eps=1e-5, max_num_iter=500),
        )
    for size in (9, 15, 21):
        for distance in (25, 100):
            for strength in (0.6, 0.8, 1.0):
                options = {"patch_size": size, "patch_distance": distance, "h": strength * sigma}
                yield (
                    "non-local means",
                    lambda x, o=options: denoise_nl_means(x[None], sigma=sigma, fast_mode=False, **o).ravel(),
                )


def compare(kind: str, sigma: float, seed: int, n: int) -> dict[str, float]:
    """Return the errors of all methods on one draw of signals, in noise levels."""
    rng = np.random.default_rng(seed)
    clean = KINDS[kind](n, rng)
    noisy = clean + rng.normal(0, sigma, clean.shape)
    errors = {}
    for name, denoiser in OURS.items():
        has_level = "sigma" in denoiser.get_params()
        for level in (sigma, "auto") if has_level else (None,):
            used = denoiser.set_params(sigma=level) if has_level else denoiser
            label = {None: name, "auto": f"{name}, level estimated"}.get(level, f"{name}, level given")
            errors[label] = error_of(used.fit(noisy).predict(noisy), clean) / sigma
    for name, function in candidates(sigma):
        error = error_of(np.array([function(x) for x in noisy]), clean) / sigma
        label = f"{name} of the library, best parameters"
        errors[label] = min(errors.get(label, np.inf), error)
    return errors


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed and 2 signals; prints only")
    arguments = parser.parse_args()
    seeds, n = ((0,), 2) if arguments.quick else ((0, 1, 2), 10)
    # PyWavelets warns of many levels.
    warnings.filterwarnings("ignore", "Level value of", UserWarning)
    columns, start = {}, time.perf_counter()
    for sigma in LEVELS:
        for kind in KINDS:
            draws = [compare(kind, sigma, seed, n) for seed in seeds]
            columns[f"{kind}, {sigma}"] = {name: np.mean([draw[name] for draw in draws]) for name in draws[0]}
            print(f"{kind} at {sigma}: {time.perf_counter() - start:.0f} s", flush=True)
    names = sorted(next(iter(columns.values())))
    rows = [
        [
            name,
            *(f"{column[name]:.3f}" for column in columns.values()),
            f"{np.exp(np.mean([np.log(column[name]) for column in columns.values()])):.3f}",
        ]
        for name in names
    ]
    text = "\n\n".join(
        [
            "# Filters of signals",
            "Output of `benchmarks/signal_filters.py`. Root mean squared errors in noise levels; the columns "
            f"are kinds of signals and noise levels, the last one is the geometric mean. {n} signals, "
            f"{len(seeds)} seeds. The functions of scipy and scikit-image have their best parameters against "
            "the truth.",
            to_table(["method", *columns, "mean"], rows),
        ]
    )
    print(text)
    if not arguments.quick:
        (RESULTS / "signal_filters.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
