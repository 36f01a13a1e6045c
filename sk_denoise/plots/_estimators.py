"""Estimators as displays are given them: by name, fitted, alone or inside a pipeline or search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sk_denoise._validation import names_of

__all__ = ["check_fitted", "name_of_estimator", "named_estimators", "step_in"]


def named_estimators(estimators: Any) -> dict[str, Any]:
    """Return estimators by name; in a list they are called as ``make_pipeline`` calls its steps."""
    if isinstance(estimators, Mapping):
        named = {str(name): estimator for name, estimator in estimators.items()}
    elif isinstance(estimators, list | tuple):
        named = dict(names_of(estimators))
    else:
        raise TypeError(
            "estimators must be a dict of name and fitted estimator, or a list of estimators, got "
            f"{estimators!r}. A single one goes to from_estimator."
        )
    if not named:
        raise ValueError("estimators is empty: give at least one.")
    return named


def name_of_estimator(estimator: Any, name: str | None) -> str:
    """Return what an estimator is called where it stands alone."""
    return type(estimator).__name__ if name is None else str(name)


def check_fitted(estimator: Any, caller: str) -> None:
    """Check that something is a fitted estimator, or predicts without a fit."""
    if isinstance(estimator, type) or not (hasattr(estimator, "fit") or hasattr(estimator, "predict")):
        hint = f" Did you mean {estimator.__name__}(), fitted?" if isinstance(estimator, type) else ""
        raise TypeError(f"{caller} takes a fitted estimator, got {estimator!r}.{hint}")
    if not hasattr(estimator, "best_estimator_") and getattr(estimator, "refit", True) is False:
        raise NotFittedError(
            f"This {type(estimator).__name__} has no best_estimator_: {caller} needs a search with "
            "refit=True, fitted."
        )
    if not hasattr(estimator, "fit"):
        return
    try:
        check_is_fitted(getattr(estimator, "best_estimator_", estimator))
    except NotFittedError:
        raise NotFittedError(
            f"This {type(estimator).__name__} is not fitted, and {caller} trains nothing: call fit first."
        ) from None


def step_in(estimator: Any, kinds: tuple[type, ...]) -> tuple[list[Any], Any]:
    """Return the last step of these kinds in a pipeline or search, and the steps before it, else None."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, kinds):
        return [], estimator
    steps: Sequence[Any] = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else ()
    for place in reversed(range(len(steps))):
        before, found = step_in(steps[place], kinds)
        if found is not None:
            return [*(x for x in steps[:place] if x not in (None, "passthrough")), *before], found
    return [], None
