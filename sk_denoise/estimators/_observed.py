"""What those who look on at a fit are shown and told: callbacks of scikit-learn, and functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from sk_denoise._compat import CallbackSupportMixin, FitTasks, unobserved
from sk_denoise._validation import restore_names
from sk_denoise.estimators._pairs import Pair

__all__ = ["ObservedFit"]


class ObservedFit(CallbackSupportMixin):
    """A fit that others look on at, with a net that tells of its epochs."""

    net_: Any
    _best_weights_: dict[str, Any] | None  # of a run that is not over
    _judged_: tuple[str, int] | None  # by which samples and loss, since which epoch
    _n_runs_: int
    _sample_shape_: tuple[int, ...]

    def _as_shown(self, sample: Pair) -> tuple[Any, Any, dict[str, Any] | None]:
        """Return the samples, their clean side and their weights as callbacks are to score them."""
        shape = self._sample_shape_
        if len(shape) == 1 and sample.inputs[0].size != shape[0]:
            return None, None, None  # parts of flattened images, which predict does not take
        X, y = (
            side.reshape(-1, *shape) if len(shape) == 1 else side for side in (sample.inputs, sample.targets)
        )
        X = restore_names(X, getattr(self, "feature_names_in_", None))
        return X, y, None if sample.weights is None else {"sample_weight": sample.weights}

    def _tell(self, tasks: FitTasks, functions: Sequence[Callable[..., Any]], net: Any) -> bool:
        """Tell callbacks that an epoch has ended, and return whether one of them asks to stop."""
        so_far = functools.cache(lambda: self._as_if_ended(net))
        stop = tasks.end_epoch(lambda: {n: v for n, v in vars(so_far()).items() if n.endswith("_")})
        epoch = {name: value for name, value in net.history[-1].items() if name != "batches"}
        for function in functions:
            answer = function(so_far(), dict(epoch))
            stop |= isinstance(answer, bool | np.bool_) and bool(answer)
        return stop

    def _as_if_ended(self, net: Any) -> Self:
        """Return a fitted copy, as if the fit had ended with the last epoch."""
        twin = unobserved(self)
        twin.net_ = net.snapshot()
        twin._best_weights_ = net.earlier_best_weights
        twin._n_runs_ += 1  # what goes on from it draws patches and noise of its own
        twin._recall()
        return twin

    def _recall(self) -> None:
        """Say what the net remembers of its epochs."""
        history = self.net_.history
        self.n_iter_ = len(history)
        self.loss_curve_ = [epoch["train_loss"] for epoch in history]
        self.validation_scores_ = [e["valid_psnr"] for e in history if "valid_psnr" in e] or None
