"""Denoisers asked how good they are under noise of several strengths."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from sk_denoise._intensity import IntensityRange
from sk_denoise._validation import check_one_of
from sk_denoise.exceptions import WeakNoiseWarning
from sk_denoise.metrics._fixed_noise import (
    corrupt_any,
    predict_in_unit,
    refuse_noisy,
    through_earlier_steps,
    unit_of,
)
from sk_denoise.metrics._functions import check_data_range, psnr_of_each
from sk_denoise.noise import GaussianNoiser, UniformNoiser
from sk_denoise.plots._estimators import check_fitted
from sk_denoise.plots._samples import Samples, as_samples, range_of

__all__ = ["Candidate", "checked_sigmas", "corrupted", "label_of", "levels_of", "psnr_of_samples"]


@dataclass
class Candidate:
    """A denoiser with the clean samples as its last step meets them, and how good it was so far."""

    name: str
    estimator: Any
    truth: Samples
    unit: IntensityRange | None
    data_range: float
    scores: list[NDArray[np.float64]]
    noisy_scores: list[NDArray[np.float64]]

    @classmethod
    def of(
        cls, name: str, estimator: Any, X_clean: Any, noiser: Any, data_range: float | None, caller: str
    ) -> Self:
        check_fitted(estimator, caller)
        if not hasattr(estimator, "predict"):
            raise TypeError(f"{name!r} has no predict, {type(estimator).__name__} is no denoiser.")
        refuse_noisy(estimator, noiser)
        seen, last = through_earlier_steps(estimator, X_clean)
        truth = as_samples(seen, "X_clean")
        data_range = range_of(truth) if data_range is None else data_range
        check_data_range(data_range)
        return cls(name, estimator, truth, unit_of(last, truth[0]), data_range, [], [])

    def meet(self, noisy: Any) -> None:
        """Denoise noisy samples, and note how good they were before and are afterwards."""
        seen, _ = through_earlier_steps(self.estimator, noisy)
        denoised = predict_in_unit(self.estimator, noisy, self.unit)
        for notes, samples in ((self.noisy_scores, seen), (self.scores, denoised)):
            notes.append(
                psnr_of_samples(self.truth, samples, self.data_range, f"what {self.name!r} predicts")
            )


def psnr_of_samples(truth: Samples, samples: Any, data_range: float, what: str) -> NDArray[np.float64]:
    """Return the PSNR of each sample, once it is known that there is one for each clean one."""
    samples = samples if isinstance(samples, list | tuple) else np.asarray(samples)
    shapes = [[np.shape(x) for x in stack] for stack in (truth, samples)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"Expected {what} to be {len(truth)} samples of the shapes of the clean ones, the first "
            f"{truth[0].shape}; got {len(shapes[1])}, the first of shape {next(iter(shapes[1]), ())}."
        )
    if isinstance(truth, list):
        pairs = zip(truth, samples, strict=True)
        return np.concatenate([psnr_of_each(t[None], np.asarray(x)[None], data_range) for t, x in pairs])
    return psnr_of_each(truth, samples, data_range)


def levels_of(noiser: Any, parameter: str, sigmas: ArrayLike) -> dict[float, Any]:
    """Return a noiser of each strength, by the strength, rising."""
    known = noiser.get_params(deep=True)
    check_one_of(parameter, known, f"parameter of {type(noiser).__name__}")
    return {
        float(sigma): clone(noiser).set_params(**{parameter: float(sigma)})
        for sigma in np.sort(checked_sigmas(sigmas))
    }


def checked_sigmas(sigmas: ArrayLike) -> NDArray[np.float64]:
    levels = np.asarray(sigmas)
    fits = levels.ndim == 1 and len(levels) > 0 and levels.dtype.kind in "iuf" and np.isfinite(levels).all()
    if not fits or len(np.unique(levels)) < len(levels):
        raise ValueError(
            f"sigmas must be at least one number, finite and each given once, such as [0.1, 0.25, 0.5]; got "
            f"{sigmas!r}."
        )
    return levels.astype(np.float64)


def corrupted(noiser: Any, X: Any, seed: int) -> Any:
    """Return X with noise; that weak noise has nothing to teach matters to no one here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WeakNoiseWarning)
        return corrupt_any(noiser, X, seed)


def label_of(noiser: Any, parameter: str) -> str:
    """Return what the strengths are, and in which unit."""
    name = f"{parameter} of {type(noiser).__name__}"
    if parameter != "noise_factor" or not isinstance(noiser, GaussianNoiser | UniformNoiser):
        return name
    if isinstance(noiser, GaussianNoiser):
        name = "standard deviation of the noise"
    return f"{name}, in " + (
        "standard deviations of each feature" if noiser.scale == "std" else "the unit of the data"
    )
