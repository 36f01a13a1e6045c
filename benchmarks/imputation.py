"""Compare imputers of tables with gaps, on new rows.

    python benchmarks/imputation.py [--quick]

Six tables, gaps at random in 10, 30 and 50 % of the entries, and in 30 % with a probability that depends on
the entry itself; three splits into rows to learn from and rows to fill. Errors are root mean squared errors
of missing entries, in standard deviations of their columns; in columns of categories the squared error is the
share of wrong ones, relative to the share for the most frequent one. The rivals are scikit-learn's, in
standardized columns, with codes for categories: IterativeImputer with BayesianRidge and with ExtraTrees of
100 trees (digits: 20 trees and 3 rounds, because it takes hours otherwise), KNNImputer, and the mean.

Two more tables: classifiers behind each imputer, and the time of a fit to 10,000 x 50. All of it takes an
hour and a half on one core, nearly all of it for ExtraTrees. Results that are in ``imputation.json`` are not
computed again. --quick takes one split of the two smallest tables, and nothing is stored. Results are written
to ``benchmarks/results/imputation.md``.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn import datasets
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from sk_denoise import DenoisingImputer

RESULTS = Path(__file__).parent / "results"
TABLES = ("wine", "diabetes", "friedman", "mixed", "breast_cancer", "digits")
SETTINGS = (("mcar", 0.1), ("mcar", 0.3), ("mcar", 0.5), ("mnar", 0.3))
SPLITS = 3
METHODS = {
    "ours": "DenoisingImputer",
    "br": "IterativeImputer, BayesianRidge",
    "et": "IterativeImputer, ExtraTrees",
    "knn": "KNNImputer",
    "mean": "mean",
}


def load_table(name: str) -> pd.DataFrame:
    """Return a complete table."""
    if name == "mixed":
        return mixed_table()
    if name == "friedman":
        X, y = datasets.make_friedman1(1000, noise=1.0, random_state=0)
        return pd.DataFrame(np.column_stack([X, y]))
    return pd.DataFrame(getattr(datasets, f"load_{name}")().data.astype(float))


def mixed_table(n: int = 800) -> pd.DataFrame:
    """Return numbers, counts, booleans and categories that depend on three hidden factors."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(n, 3))
    loadings = rng.normal(size=(3, 12))
    signals = np.tanh(factors @ loadings / 1.5) * 2 + rng.normal(0, 0.4, (n, 12))
    names = np.array(["north", "east", "south", "west"])
    sizes = np.array(["small", "medium", "large"])
    return pd.DataFrame(
        {
            "income": np.exp(signals[:, 0]),
            "age": np.round(45 + 15 * signals[:, 1]),
            "visits": rng.poisson(np.exp(signals[:, 2] / 2)).astype(float),
            "height": signals[:, 3],
            "weight": signals[:, 3] + 0.5 * signals[:, 4],
            "score": signals[:, 5] ** 2,
            "region": names[signals[:, 6:10].argmax(axis=1)],
            "size": sizes[np.digitize(signals[:, 10], [-1, 1])],
            "member": pd.array(signals[:, 11] > 0, dtype="boolean"),
        }
    )


def draw_gaps(X: np.ndarray, kind: str, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return gaps; with "mnar" large entries, or small ones, are missing more often."""
    if kind == "mcar":
        gaps = rng.random(X.shape) < share
    else:
        z = (X - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1)
        sign = rng.choice([-1, 1], X.shape[1])
        p = 1 / (1 + np.exp(-2 * z * sign))
        p = np.clip(p / p.mean(0) * share, 0, 0.95)
        gaps = rng.random(X.shape) < p
    full = gaps.all(1)
    gaps[full, rng.integers(X.shape[1], size=full.sum())] = False
    return gaps


def encode(frame: pd.DataFrame) -> tuple[pd.DataFrame, OrdinalEncoder | None, list[str]]:
    """Return categories as codes."""
    names = [name for name in frame if not pd.api.types.is_float_dtype(frame[name])]
    if not names:
        return frame, None, names
    encoder = OrdinalEncoder().fit(frame[names].astype(str))
    coded = frame.copy()
    for name, codes in zip(names, encoder.transform(frame[names].astype(str)).T, strict=True):
        coded[name] = codes
    return coded.astype(float), encoder, names


def cases(name: str, setting: tuple[str, float], split: int) -> tuple[Any, ...]:
    """Return rows to learn from and to fill, complete and with gaps."""
    frame = load_table(name)
    coded, _, _ = encode(frame)
    numbers = train_test_split(np.arange(len(frame)), test_size=0.25, random_state=split)
    order = np.concatenate(numbers)
    gaps = draw_gaps(coded.to_numpy()[order], *setting, np.random.default_rng(100 + split))
    parts = []
    for rows, part in zip(numbers, (gaps[: len(numbers[0])], gaps[len(numbers[0]) :]), strict=True):
        parts.append((frame.iloc[rows].reset_index(drop=True), coded.to_numpy()[rows], part))
    return tuple(parts)


def fill(method: str, name: str, train: Any, test: Any) -> tuple[np.ndarray, np.ndarray, float, Any]:
    """Return both parts filled, as codes, the time, and the fitted imputer."""
    frame, clean, _ = train
    start = time.perf_counter()
    spread = clean.std(0)
    unit = np.where(spread > 0, spread, 1)
    if method == "ours":
        imputer = DenoisingImputer(random_state=0, keep_empty_features=True)
        has_names = any(not pd.api.types.is_float_dtype(frame[c]) for c in frame)
        if has_names:
            given = [part[0].mask(part[2]) for part in (train, test)]
            filled = [imputer.fit(given[0]).transform(part) for part in given]
            coded = []
            _, encoder, names = encode(load_table(name))
            for part in filled:
                part = part.copy()
                codes = encoder.transform(part[names].astype(str))
                for number, column in enumerate(names):
                    part[column] = codes[:, number]
                coded.append(part.to_numpy(dtype=float))
            return coded[0], coded[1], time.perf_counter() - start, imputer
        given = [np.where(part[2], np.nan, part[1]) for part in (train, test)]
        filled = [imputer.fit(given[0]).transform(part) for part in given]
        return filled[0], filled[1], time.perf_counter() - start, imputer
    is_large = name == "digits"
    trees = ExtraTreesRegressor(20 if is_large else 100, random_state=0)
    imputer = {
        "mean": SimpleImputer(keep_empty_features=True),
        "knn": KNNImputer(keep_empty_features=True),
        "br": IterativeImputer(random_state=0, keep_empty_features=True),
        "et": IterativeImputer(
            trees, max_iter=3 if is_large else 10, random_state=0, keep_empty_features=True
        ),
    }[method]
    given = [np.where(part[2], np.nan, part[1]) / unit for part in (train, test)]
    filled = [imputer.fit(given[0]).transform(part) * unit for part in given]
    return filled[0], filled[1], time.perf_counter() - start, imputer


def scaled_error(name: str, filled: np.ndarray, train: Any, test: Any) -> float:
    """Return the error of missing entries in the rows to fill."""
    frame, clean, gaps = test
    spread = train[1].std(0)
    total = count = 0.0
    for number, column in enumerate(frame):
        chosen = gaps[:, number]
        if not spread[number] > 0:
            continue
        errors = filled[chosen, number] - clean[chosen, number]
        if pd.api.types.is_float_dtype(frame[column]):
            total += float((errors**2).sum()) / spread[number] ** 2
        else:
            shares = np.unique(train[1][:, number], return_counts=True)[1] / len(train[1])
            total += float((np.abs(errors) >= 0.5).sum()) / (1 - shares.max())
        count += chosen.sum()
    return float(np.sqrt(total / count))


def measure(table: str, setting: tuple[str, float], split: int, method: str) -> dict[str, float]:
    """Return error, time, and the coverage of intervals of 90 %."""
    train, test = cases(table, setting, split)
    _, filled, seconds, imputer = fill(method, table, train, test)
    result = {"error": scaled_error(table, filled, train, test), "seconds": seconds}
    if method == "ours":
        frame, clean, gaps = test
        is_frame = table == "mixed"
        given = frame.mask(gaps) if is_frame else np.where(gaps, np.nan, clean)
        low, high = imputer.predict_interval(given)
        is_number = np.array([pd.api.types.is_float_dtype(frame[c]) for c in frame])
        chosen = gaps & is_number & (train[1].std(0) > 0)
        if is_frame:
            names = [c for c, keeps in zip(frame, is_number, strict=True) if keeps]
            low, high, clean, chosen = low[names], high[names], frame[names].to_numpy(), chosen[:, is_number]
        low, high = np.asarray(low, float), np.asarray(high, float)
        # The ends are rounded, and so are values at the ends of the range.
        slack = 1e-9 * (1 + np.abs(clean))
        result["coverage"] = float(((low <= clean + slack) & (clean <= high + slack))[chosen].mean())
    return result


def compare_classifiers(stored: dict[str, Any]) -> Iterator[str]:
    """Yield the accuracy of classifiers behind each imputer."""
    yield "| table | classifier | gaps as they are | " + " | ".join(METHODS.values()) + " |"
    yield "|---|---|" + "---|" * (len(METHODS) + 1)
    classifiers = {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "boosted trees": HistGradientBoostingClassifier(random_state=0),
    }
    for table in ("wine", "breast_cancer", "digits"):
        labels = getattr(datasets, f"load_{table}")().target
        rows: dict[str, list[list[float]]] = {name: [] for name in classifiers}
        for split in range(SPLITS):
            key = f"classifiers {table} {split}"
            if key not in stored:
                y = train_test_split(labels, test_size=0.25, random_state=split)
                train, test = cases(table, ("mcar", 0.3), split)
                filled = {
                    method: fill(method, table, train, test)[:2]
                    for method in METHODS
                    if not (method == "et" and table == "digits")
                }
                raw = [np.where(part[2], np.nan, part[1]) for part in (train, test)]
                stored[key] = {}
                for name, classifier in classifiers.items():
                    scores = [np.nan] if name == "logistic regression" else []
                    if not scores:
                        scores = [classifier.fit(raw[0], y[0]).score(raw[1], y[1])]
                    for method in METHODS:
                        if method not in filled:
                            scores.append(np.nan)
                            continue
                        a, b = filled[method]
                        scores.append(classifier.fit(a, y[0]).score(b, y[1]))
                    stored[key][name] = scores
            for name in classifiers:
                rows[name].append(stored[key][name])
        for name, scores in rows.items():
            means = np.mean(np.array(scores, dtype=float), axis=0)
            yield (
                f"| {table} | {name} | " + " | ".join("" if np.isnan(m) else f"{m:.3f}" for m in means) + " |"
            )


def compare_times(stored: dict[str, Any]) -> Iterator[str]:
    """Yield the time of a fit to 10,000 x 50."""
    rng = np.random.default_rng(0)
    hidden = np.tanh(rng.normal(size=(10_000, 6)) @ rng.normal(size=(6, 40)))
    X = hidden @ rng.normal(size=(40, 50)) / 3 + rng.normal(size=(10_000, 50)) * 0.3
    gaps = rng.random(X.shape) < 0.3
    given = np.where(gaps, np.nan, X)
    train, test = given[:9000], given[9000:]
    unit = X.std(0)

    def error(filled: np.ndarray) -> float:
        return float(np.sqrt((((filled - X[9000:]) / unit)[gaps[9000:]] ** 2).mean()))

    if "times" not in stored:
        found = {}
        for method, imputer in {
            "ours": DenoisingImputer(random_state=0),
            "br": IterativeImputer(random_state=0),
        }.items():
            start = time.perf_counter()
            imputer.fit(train)
            found[method] = [time.perf_counter() - start, error(imputer.transform(test))]
        # All 500 regressions would take more than an hour; those of two columns are measured.
        filled = SimpleImputer().fit_transform(train)
        start = time.perf_counter()
        for column in range(2):
            known = ~np.isnan(train[:, column])
            others = np.delete(filled, column, axis=1)[known]
            ExtraTreesRegressor(100, random_state=0).fit(others, filled[known, column])
        found["et"] = [(time.perf_counter() - start) / 2 * 50 * 10, np.nan]
        stored["times"] = found
    yield "| | seconds | error |"
    yield "|---|---|---|"
    for method, (seconds, value) in stored["times"].items():
        shown = "" if np.isnan(value) else f"{value:.3f}"
        note = " (10 rounds, from the time of 2 columns)" if method == "et" else ""
        yield f"| {METHODS[method]}{note} | {seconds:.0f} | {shown} |"


def run(quick: bool) -> None:
    """Measure all and write the report."""
    warnings.simplefilter("ignore")
    path = RESULTS / "imputation.json"
    stored: dict[str, Any] = json.loads(path.read_text()) if path.exists() and not quick else {}
    lines = ["# Imputation", "", __doc__.strip().partition("\n\n    python")[0], ""]
    lines += ["| table | gaps | " + " | ".join(METHODS.values()) + " | coverage of 90 % | seconds, ours |"]
    lines += ["|---|---|" + "---|" * (len(METHODS) + 2)]
    ranks = []
    for table in TABLES[:2] if quick else TABLES:
        for setting in SETTINGS:
            found: dict[str, list[dict[str, float]]] = {}
            for split in range(1 if quick else SPLITS):
                for method in METHODS:
                    # Hours for the third of a digit.
                    if (method == "et" and table == "digits" and split) or (quick and method == "et"):
                        continue
                    key = f"{table} {setting[0]} {setting[1]} {split} {method}"
                    if key not in stored:
                        stored[key] = measure(table, setting, split, method)
                        print(key, stored[key], flush=True)
                        if not quick:
                            path.write_text(json.dumps(stored, indent=0))
                    found.setdefault(method, []).append(stored[key])
            errors = {m: float(np.mean([r["error"] for r in results])) for m, results in found.items()}
            ranks.append(rankdata([errors.get(method, np.inf) for method in METHODS]))
            shown = [f"{errors[m]:.3f}" if m in errors else "" for m in METHODS]
            best = min(errors, key=lambda m: errors[m])
            shown[list(METHODS).index(best)] = f"**{shown[list(METHODS).index(best)]}**"
            coverage = np.mean([r["coverage"] for r in found["ours"]])
            seconds = np.mean([r["seconds"] for r in found["ours"]])
            lines.append(
                f"| {table} | {setting[0].upper()} {setting[1]:.0%} | {' | '.join(shown)} | {coverage:.1%} | "
                f"{seconds:.1f} |"
            )
    means = np.mean(ranks, axis=0)
    lines.append("| | mean rank | " + " | ".join(f"{mean:.2f}" for mean in means) + " | | |")
    if not quick:
        lines += ["", "## Accuracy of a classifier behind each, 30 % MCAR", "", *compare_classifiers(stored)]
        lines += ["", "## A fit to 9,000 x 50, one core", "", *compare_times(stored)]
        path.write_text(json.dumps(stored, indent=0))
        (RESULTS / "imputation.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    run("--quick" in sys.argv)
