"""Compare imputers of tables with gaps, on new rows.

    python benchmarks/imputation.py [--quick | --stored] [--fresh] [--methods=br,et]

Six tables, gaps at random in 10, 30 and 50 % of the entries, and in 30 % with a probability that depends on
the entry itself; three splits into rows to learn from and rows to fill. Errors are root mean squared errors
of missing entries, in standard deviations of their columns; in columns of categories the squared error is the
share of wrong ones, relative to the share for the most frequent one. The rivals are scikit-learn's, in
standardized columns, with codes for categories: IterativeImputer with BayesianRidge and with ExtraTrees of
100 trees (digits: 20 trees and 3 rounds), KNNImputer, and the mean.

Two more tables: a classifier or a regressor behind each imputer, for the rows with 30 % missing at random,
and the time of a fit to 9,000 x 50. All of it takes an hour on one core, most of it for ExtraTrees. Results
that are in ``imputation.json`` are not computed again, so that an interrupted run goes on; --fresh removes
them. --methods measures some of the methods alone. --quick takes one split of the two smallest tables
without ExtraTrees, and nothing is stored; --stored reports the stored results alone. Results are written to
``benchmarks/results/imputation.md``.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn import datasets
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
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
# Tables with ExtraTrees in all splits; the others take minutes for each.
REPEATED_TREES = ("wine", "diabetes", "friedman")
READING = (
    "The results of scikit-learn's imputers are of an earlier run with the same draws.",
    "",
    "Trees are ahead on wine with 10 and 30 % at random, on digits with 10 %, and on the mixed table where "
    "gaps depend on their own value; neighbours and trees by a hair on wine there, and BayesianRidge on "
    "diabetes with 10 %.",
    "",
    "Intervals are narrow where gaps depend on their own value. With independent columns, as in Friedman's "
    "table, the best interval that holds 90 % of the known entries holds 84 % of such gaps.",
)
# Gaps of the rows before classifiers and regressors
PREDICTED = ("mcar", 0.3)


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
    start = time.process_time()
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
            return coded[0], coded[1], time.process_time() - start, imputer
        given = [np.where(part[2], np.nan, part[1]) for part in (train, test)]
        filled = [imputer.fit(given[0]).transform(part) for part in given]
        return filled[0], filled[1], time.process_time() - start, imputer
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
    return filled[0], filled[1], time.process_time() - start, imputer


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
    filled_train, filled, seconds, imputer = fill(method, table, train, test)
    result: dict[str, Any] = {"error": scaled_error(table, filled, train, test), "seconds": seconds}
    if setting == PREDICTED:
        result["scores"] = predict_targets(table, split, filled_train, filled)
        if method == "mean":
            raw = [np.where(part[2], np.nan, part[1]) for part in (train, test)]
            result["scores with gaps"] = predict_targets(table, split, *raw)
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


def predict_targets(table: str, split: int, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Return the scores of classifiers or regressors of the target of a table, if it has one."""
    if table not in ("wine", "diabetes", "breast_cancer", "digits"):
        return {}
    y = getattr(datasets, f"load_{table}")().target
    y_train, y_test = train_test_split(y, test_size=0.25, random_state=split)
    if table == "diabetes":
        estimators: dict[str, Any] = {
            "ridge": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13))),
            "boosted trees": HistGradientBoostingRegressor(random_state=0),
        }
    else:
        estimators = {
            "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
            "boosted trees": HistGradientBoostingClassifier(random_state=0),
        }
    # Only the trees take gaps as they are.
    if np.isnan(train).any():
        estimators = {"boosted trees": estimators["boosted trees"]}
    return {name: float(e.fit(train, y_train).score(test, y_test)) for name, e in estimators.items()}


def report_targets(stored: dict[str, Any]) -> Iterator[str]:
    """Yield the scores behind each imputer."""
    yield "| table | predicted by | gaps as they are | " + " | ".join(METHODS.values()) + " |"
    yield "|---|---|" + "---|" * (len(METHODS) + 1)
    for table in TABLES:
        splits = [[stored.get(key_of(table, PREDICTED, n, m), {}) for m in METHODS] for n in range(SPLITS)]
        names = {name: None for results in splits for r in results for name in r.get("scores", {})}
        for name in names:
            scores = np.array(
                [[r.get("scores", {}).get(name, np.nan) for r in results] for results in splits]
            )
            raw = [results[-1].get("scores with gaps", {}).get(name, np.nan) for results in splits]
            scores = np.column_stack([raw, scores])
            # Splits that all measured methods have are compared.
            is_measured = ~np.isnan(scores).all(axis=0)
            common = scores[~np.isnan(scores[:, is_measured]).any(axis=1)]
            means = common.mean(axis=0)
            shown = ["" if np.isnan(m) else f"{m:.3f}" for m in means]
            yield (
                f"| {table}, {len(common)} split{'s' * (len(common) != 1)} | {name} | "
                + " | ".join(shown)
                + " |"
            )


def key_of(table: str, setting: tuple[str, float], split: int, method: str) -> str:
    """Return the name of a result."""
    return f"{table} {setting[0]} {setting[1]} {split} {method}"


def compare_times(stored: dict[str, Any], methods: list[str]) -> Iterator[str]:
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

    times = stored.setdefault("times", {})
    imputers: dict[str, Any] = {
        "ours": DenoisingImputer(random_state=0),
        "br": IterativeImputer(random_state=0),
    }
    for method in methods:
        if method in times:
            continue
        if method in imputers:
            start = time.process_time()
            imputers[method].fit(train)
            times[method] = [time.process_time() - start, error(imputers[method].transform(test))]
        elif method == "et":
            # All 500 regressions would take more than an hour; those of two columns are measured.
            filled = SimpleImputer().fit_transform(train)
            start = time.process_time()
            for column in range(2):
                known = ~np.isnan(train[:, column])
                others = np.delete(filled, column, axis=1)[known]
                ExtraTreesRegressor(100, random_state=0).fit(others, filled[known, column])
            times["et"] = [(time.process_time() - start) / 2 * 50 * 10, np.nan]
    yield "| | seconds | error |"
    yield "|---|---|---|"
    for method, (seconds, value) in sorted(times.items(), key=lambda item: list(METHODS).index(item[0])):
        shown = "" if np.isnan(value) else f"{value:.3f}"
        note = " (10 rounds, from the time of 2 columns)" if method == "et" else ""
        yield f"| {METHODS[method]}{note} | {seconds:.0f} | {shown} |"


def run(quick: bool, stored_only: bool, fresh: bool, methods: list[str]) -> None:
    """Measure all and write the report."""
    warnings.simplefilter("ignore")
    path = RESULTS / "imputation.json"
    if fresh:
        path.unlink(missing_ok=True)
    stored: dict[str, Any] = json.loads(path.read_text()) if path.exists() and not quick else {}
    tables, n_splits = (TABLES[:2], 1) if quick else (TABLES, SPLITS)
    # One split of all cells comes first, so that an interrupted run has compared all of them.
    for split in range(0 if stored_only else n_splits):
        for table, setting, method in product(tables, SETTINGS, methods):
            key = key_of(table, setting, split, method)
            # Results of earlier versions lack the scores behind an imputer.
            is_stored = key in stored and (setting != PREDICTED or "scores" in stored[key])
            if is_stored or (method == "et" and split and table not in REPEATED_TREES):
                continue
            stored[key] = measure(table, setting, split, method)
            print(key, stored[key], flush=True)
            if not quick:
                path.write_text(json.dumps(stored, indent=0))
    lines = ["# Imputation", "", __doc__.strip().partition("\n\n    python")[0], ""]
    lines += ["| table | gaps | " + " | ".join(METHODS.values()) + " | coverage of 90 % | seconds, ours |"]
    lines += ["|---|---|" + "---|" * (len(METHODS) + 2)]
    ranks = []
    for table in tables:
        for setting in SETTINGS:
            found: dict[str, list[dict[str, Any]]] = {}
            for method, split in product(METHODS, range(n_splits)):
                key = key_of(table, setting, split, method)
                if key in stored:
                    found.setdefault(method, []).append(stored[key])
            if "ours" not in found:
                continue
            # Methods are compared on the splits that all of them have.
            n_common = min(len(results) for results in found.values())
            coverage = np.mean([r["coverage"] for r in found["ours"]])
            seconds = np.mean([r["seconds"] for r in found["ours"]])
            found = {m: results[:n_common] for m, results in found.items()}
            errors = {m: float(np.mean([r["error"] for r in results])) for m, results in found.items()}
            if len(errors) == len(METHODS):
                ranks.append(rankdata([errors[method] for method in METHODS]))
            shown = [f"{errors[m]:.3f}" if m in errors else "" for m in METHODS]
            best = min(errors, key=lambda m: errors[m])
            shown[list(METHODS).index(best)] = f"**{shown[list(METHODS).index(best)]}**"
            lines.append(
                f"| {table} | {setting[0].upper()} {setting[1]:.0%} | {' | '.join(shown)} | {coverage:.1%} | "
                f"{seconds:.1f} |"
            )
    if ranks:
        means = np.mean(ranks, axis=0)
        lines.append(
            f"| | mean rank, {len(ranks)} rows | " + " | ".join(f"{m:.2f}" for m in means) + " | | |"
        )
    lines += ["", *READING, "", "## A classifier or a regressor behind each, 30 % MCAR", ""]
    lines += ["Accuracy, and the share of the variance that is explained for diabetes.", ""]
    lines += report_targets(stored)
    if not quick:
        lines += ["", "## A fit to 9,000 x 50, one core", ""]
        lines += compare_times(stored, [] if stored_only else methods)
        path.write_text(json.dumps(stored, indent=0))
        (RESULTS / "imputation.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    options = sys.argv[1:]
    chosen = [
        name for option in options if option.startswith("--methods=") for name in option[10:].split(",")
    ]
    if "--quick" in options:
        chosen = chosen or [method for method in METHODS if method != "et"]
    run("--quick" in options, "--stored" in options, "--fresh" in options, chosen or list(METHODS))
