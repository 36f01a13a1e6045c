"""What estimators tell scikit-learn's callbacks, which exist from 1.9 on; older versions are told nothing."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sklearn.base import clone

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for the class of the same name, and supports nothing."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


__all__ = [
    "CallbackSupportMixin",
    "FitTasks",
    "take_fitted",
    "told_as_one",
    "unfitted",
    "unobserved",
    "unwatched",
    "with_callbacks",
]

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])


def told_as_one(fit: Method) -> Method:
    """Let callbacks know when a fit begins and ends that has no steps of its own."""

    @with_callbacks
    @functools.wraps(fit)
    def told(estimator: Any, X: Any, y: Any = None, **metadata: Any) -> Any:
        tasks = FitTasks(estimator)
        tasks.begin(0, X, y)
        answer = fit(estimator, X, y, **metadata)
        tasks.end()
        return answer

    return told  # type: ignore[no-any-return]


def unwatched(estimator: T) -> T:
    """Return an unfitted copy that no callback looks at, where scikit-learn's copies share theirs."""
    twin: T = clone(estimator)
    vars(twin).pop("_skl_callbacks", None)
    return twin


def unobserved(estimator: T) -> T:
    """Return a shallow copy that has left the fit that callbacks look on at, and what belongs to it."""
    twin: T = copy.copy(estimator)
    for name in ("_callback_fit_ctx", "_parent_callback_ctx", "_skl_callbacks_to_teardown", "_skl_callbacks"):
        vars(twin).pop(name, None)
    return twin


def unfitted(estimator: T) -> T:
    """Return a shallow copy without what was learned."""
    twin: T = copy.copy(estimator)
    for name in [name for name in vars(twin) if name.endswith("_")]:
        delattr(twin, name)
    return twin


def take_fitted(estimator: Any, fitted: Any) -> None:
    """Take over what a copy learned, in place of what was learned before, in one step.

    What is no fitted attribute stays: callbacks keep their own at the estimator until its fit ends.
    """
    own = {name: value for name, value in vars(estimator).items() if not name.endswith("_")}
    learned = {name: value for name, value in vars(fitted).items() if name.endswith("_")}
    estimator.__dict__ = own | learned


class FitTasks:
    """A fit and its epochs or members, as scikit-learn's callbacks see them.

    Parameters
    ----------
    estimator : estimator
        That which the user has, and set callbacks on; not a copy. Its method is ``with_callbacks``.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        begin = getattr(estimator, "_init_callback_context", None)
        self.context = None if begin is None else begin(max_subtasks=None)
        self.epoch: Any = None
        self.data: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave at home what was learned before, which members in other processes need not know."""
        return {**vars(self), "estimator": unfitted(self.estimator)}

    def begin(
        self,
        parts: int,
        X: Any,
        y: Any,
        metadata: dict[str, Any] | None = None,
        *,
        sequential: bool = True,
    ) -> None:
        """Tell that a fit of so many epochs or members begins, to these data."""
        if self.context is None:
            return
        self.data = {"X": X, "y": y, "metadata": metadata}
        self.context.max_subtasks, self.context.sequential_subtasks = parts, sequential  # known by now
        self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    @contextmanager
    def part(self, number: int, member: Any) -> Iterator[None]:
        """Tell of the fit of a member, which tells of its own epochs."""
        if self.context is None:
            yield
            return
        task = self.context.subcontext(task_name="member", task_id=number)
        with task.propagate_callback_context(member):
            task.call_on_fit_task_begin(estimator=self.estimator)
            yield
            task.call_on_fit_task_end(estimator=self.estimator)

    def begin_epoch(self) -> None:
        """Tell that an epoch begins."""
        if self.context is not None:
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end_epoch(self, fitted: Callable[[], dict[str, Any]]) -> bool:
        """Tell that an epoch ends, and return whether a callback asks to stop there.

        Parameters
        ----------
        fitted : callable
            Gives the fitted attributes as if the fit had ended; called where a callback wants them.
        """
        if self.epoch is None:
            return False
        stop = self.epoch.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=fitted, **self.data
        )
        return bool(stop)

    def end(self) -> None:
        """Tell that the fit has ended."""
        if self.context is not None:
            self.context.call_on_fit_task_end(estimator=self.estimator, **self.data)
