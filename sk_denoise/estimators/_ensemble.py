"""Several networks that differ by their seed alone: a better answer, and how far to trust it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from sk_denoise._array_api import in_kind
from sk_denoise._callbacks import CallbackSupportMixin, FitTasks, take_fitted, with_callbacks
from sk_denoise._random import root_seed, stream, stream_seed
from sk_denoise._validation import (
    Interval,
    SampleTagsMixin,
    as_float,
    as_tensor,
    check_parameters,
    check_samples,
    check_weights,
)
from sk_denoise.estimators._denoising_autoencoder import DenoisingAutoencoder
from sk_denoise.estimators._pairs import resolve_pair
from sk_denoise.estimators._picture_sources import is_pair_list, is_picture_list, is_stream
from sk_denoise.estimators._steps import FitSteps
from sk_denoise.noise import carried_source

__all__ = ["DenoisingEnsemble"]

OF_A_MEMBER = ("target_source_", "noiser_", "data_range_", "image_shape_", "white_", "noise_levels_")
LEAST_HELD_OUT = 2
LEAST_FLOOR = 0.05  # of the mean squared error
TINY = 1e-300
MEAN_COUNTS = 5  # samples that the mean over a picture counts beside those that show a pixel


@dataclass(frozen=True)
class Samples:
    """What members learn from, in the arguments of their ``fit``.

    Attributes
    ----------
    X, clean : array or list
        Samples, and their clean side where it is given.
    weights : ndarray or None
        What each sample counts.
    """

    X: Any
    clean: Any = None
    weights: NDArray[Any] | None = None

    def take(self, index: NDArray[np.intp]) -> Samples:
        """Return the samples at ``index``."""
        X, clean, weights = (_at(side, index) for side in (self.X, self.clean, self.weights))
        return Samples(X, clean, weights)


class DenoisingEnsemble(
    CallbackSupportMixin,
    SampleTagsMixin,
    OneToOneFeatureMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Train several denoisers that differ by their seed alone; average them, and tell how sure they are.

    The average is a little better than its members. Where they disagree, they know less: the spread of their
    answers tells apart what is denoised well and badly. By itself it is several times too small, since all
    of them share the error that the noise leaves to nobody's choice. So some samples are held out, and
    ``predict(X, return_std=True)`` gives ``sqrt(floor_ ** 2 + gain_ * spread ** 2)``, with the two numbers
    that make it the size of the errors there.

    Parameters
    ----------
    estimator : DenoisingAutoencoder, ImageDenoiser or None, default=None
        What is trained; its ``random_state`` is set for each. None is a
        :class:`~sk_denoise.DenoisingAutoencoder` with its defaults.
    n_estimators : int, default=5
        How many.
    calibration_fraction : float or None, default=0.1
        The share of the samples that is held out for ``floor_`` and ``gain_``, where ``fit`` gets no
        ``X_val``. None holds out nothing: then the standard deviation is the spread as it is.
    n_jobs : int or None, default=None
        How many are trained at once, in processes; None is one.
    random_state : int, RandomState instance or None, default=None
        Determines the seeds, and what is held out.

    Attributes
    ----------
    estimators_ : list of estimator
        The members.
    floor_ : float or ndarray of the shape of a sample
        The error that all members share, as a standard deviation in the unit of the clean side: of each
        entry, and one number for pictures of any size. 0 without calibration.
    gain_ : float
        How many times the squared spread of the members counts. 1 without calibration.
    target_source_, noiser_, data_range_, image_shape_
        As with the members.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, where X has names.

    See Also
    --------
    DenoisingAutoencoder, ImageDenoiser : The members.

    Notes
    -----
    Measured beside Monte Carlo dropout with the same calibration ("benchmarks"): an ensemble denoises better
    than a single network where dropout denoises worse, and tells which samples are badly denoised, which
    dropout did not on digits; which entries are, dropout tells a little better.

    References
    ----------
    B. Lakshminarayanan, A. Pritzel and C. Blundell, "Simple and scalable predictive uncertainty estimation
    using deep ensembles", NeurIPS (2017); Y. Gal and Z. Ghahramani, "Dropout as a Bayesian approximation",
    ICML (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder, DenoisingEnsemble, GaussianNoiser
    >>> X = load_digits().data / 16
    >>> dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=10)
    >>> ensemble = DenoisingEnsemble(dae, n_estimators=3, random_state=0).fit(X[:1000])
    >>> noisy = X[1000:] + np.random.default_rng(0).normal(0, 0.25, X[1000:].shape)
    >>> denoised, std = ensemble.predict(noisy, return_std=True)
    >>> inside = np.abs(denoised - X[1000:]) <= 1.96 * std
    >>> bool(0.9 < inside.mean() < 0.98)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "calibration_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }
    floor_: Any
    gain_: float
    estimators_: list[Any]

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: int = 5,
        *,
        calibration_fraction: float | None = 0.1,
        n_jobs: int | None = None,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.calibration_fraction = calibration_fraction
        self.n_jobs = n_jobs
        self.random_state = random_state

    @in_kind
    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_clean: Any = None,
        X_val: Any = None,
        X_clean_val: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train the members, and learn how large their errors are beside their spread.

        Parameters
        ----------
        X, y, X_clean, sample_weight
            As in ``fit`` of the members.
        X_val, X_clean_val : optional
            Samples to calibrate with, in place of a part of X: noisy with ``X_clean_val``, else clean.
            Members with ``early_stopping`` stop by them too.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that cannot be used; the message says what to do.
        """
        tasks = FitTasks(self)
        check_parameters(self, self._parameter_constraints)
        draft = copy.copy(self)
        member, root = draft._member(), root_seed(self.random_state)
        given = draft._given(member, X, y, X_clean, sample_weight)
        training, held_out = draft._divided(given, X_val, X_clean_val, root)
        validation = {} if X_val is None else {"X_val": X_val, "X_clean_val": X_clean_val}
        tasks.begin(self.n_estimators, None, None, sequential=False)
        members = [
            clone(member).set_params(random_state=stream_seed(root, "member", number) % 2**31)
            for number in range(self.n_estimators)
        ]
        draft.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(_fitted)(one, training, validation, tasks, number) for number, one in enumerate(members)
        )
        draft._take_from(draft.estimators_[0], given)
        draft._calibrate(held_out, root)
        tasks.end()
        take_fitted(self, draft)
        return self

    @in_kind
    def predict(self, X: Any, *, return_std: bool = False, **options: Any) -> Any:
        """Denoise.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels]), or list
            Noisy samples, as the members take them.
        return_std : bool, default=False
            Whether to return the standard deviation of the error of each entry as well.
        **options
            What ``predict`` of the members takes beside X, such as ``sigma``.

        Returns
        -------
        denoised : ndarray of the shape of X, or list of ndarray
            The mean of the members' answers, in the unit of the clean side.
        std : ndarray of the shape of X, or list of ndarray
            Its expected error, where ``return_std`` is true, in the same unit.
        """
        check_is_fitted(self)
        pictures = self._takes_lists and is_picture_list(X)
        samples = X if pictures else check_samples(self, X, reset=False)
        mean, variance = _moments(member.predict(samples, **options) for member in self.estimators_)
        if not return_std:
            return mean
        if pictures:
            return mean, [self._std(v, np.asarray(x).dtype) for v, x in zip(variance, X, strict=True)]
        return mean, self._std(variance, samples.dtype)

    def transform(self, X: Any) -> Any:
        """Denoise, as ``predict`` does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels]), or list
            Noisy samples.

        Returns
        -------
        ndarray or DataFrame of the shape of X, or list of ndarray
        """
        return self.predict(X)

    @in_kind
    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean PSNR of denoised samples in dB, as a member would score the mean answer.

        Parameters
        ----------
        X, y, sample_weight
            As in ``score`` of the members.

        Returns
        -------
        float
            Greater is better.
        """
        check_is_fitted(self)
        judge = copy.copy(self.estimators_[0])
        judge.predict = self.predict
        samples = X if self._takes_lists and is_picture_list(X) else check_samples(self, X, reset=False)
        return float(judge.score(X if carried_source(X) is not None else samples, y, sample_weight))

    # The steps of a fit -------------------------------------------------------------------------------

    def _member(self) -> Any:
        """Return an unfitted member, to be given a seed."""
        member = DenoisingAutoencoder() if self.estimator is None else clone(self.estimator)
        if not isinstance(member, FitSteps):
            raise TypeError(
                "estimator must be a DenoisingAutoencoder or an ImageDenoiser, got "
                f"{type(member).__name__}. Other steps of a pipeline go around the ensemble."
            )
        if getattr(member, "output", "reconstruction") != "reconstruction":
            raise ValueError(f'The members denoise: set output="reconstruction", got {member.output!r}.')
        return member

    def _given(self, member: Any, X: Any, y: Any, X_clean: Any, sample_weight: Any) -> Samples:
        """Check the samples, and return them with the clean side that the members are to learn from."""
        if self._takes_lists and (is_stream(X) or is_picture_list(X) or is_pair_list(X)):
            clean = y if X_clean is None and is_picture_list(y) else X_clean
            weights = None if sample_weight is None or is_stream(X) else check_weights(sample_weight, X)
            return Samples(X, clean, sample_weight if is_stream(X) else weights)
        pair = resolve_pair(
            self,
            X,
            y,
            X_clean,
            noise=member.noise,
            rows_are_signals=member._rows_are_signals(),
            reset=True,
            min_samples=2,
        )
        weights = check_weights(sample_weight, pair.inputs)
        source = carried_source(X)
        if pair.source == "noiser" and source is not None:
            member.set_params(noise=pair.noiser)
            return Samples(source.clean, None, weights)
        clean = {"X_clean": X_clean, "y": y}.get(pair.source)
        return Samples(np.asarray(X), None if clean is None else np.asarray(clean), weights)

    def _divided(
        self, given: Samples, X_val: Any, X_clean_val: Any, root: int
    ) -> tuple[Samples, Samples | None]:
        """Return what to train on and what to calibrate with, if anything."""
        if X_val is not None:
            return given, Samples(X_val, X_clean_val)
        if self.calibration_fraction is None:
            return given, None
        if self._takes_lists and is_stream(given.X):
            raise ValueError(
                "What is streamed cannot be held out for calibration. Pass other pictures as X_val=, or "
                "calibration_fraction=None."
            )
        n = len(given.X)
        n_held_out = max(LEAST_HELD_OUT, int(np.ceil(self.calibration_fraction * n)))
        if n - n_held_out < 1:
            raise ValueError(
                f"calibration_fraction={self.calibration_fraction} of {n} samples leaves none to learn from. "
                "Pass X_val=, or calibration_fraction=None."
            )
        order = np.random.default_rng(stream_seed(root, "calibration")).permutation(n)
        return given.take(np.sort(order[n_held_out:])), given.take(np.sort(order[:n_held_out]))

    def _take_from(self, member: Any, given: Samples) -> None:
        """Take over what members tell of themselves."""
        for name in OF_A_MEMBER:
            if hasattr(member, name):
                setattr(self, name, getattr(member, name))
        if not hasattr(self, "_sample_shape_"):  # lists and streams, which members check
            self.n_features_in_, self._sample_shape_ = member.n_features_in_, member._sample_shape_

    def _calibrate(self, held_out: Samples | None, root: int) -> None:
        """Learn from samples that no member saw how the squared error depends on the squared spread."""
        self.floor_, self.gain_ = 0.0, 1.0
        if held_out is None:
            return
        noisy, clean = self._noisy_and_clean(held_out, root)
        mean, variance = _moments(member.predict(noisy) for member in self.estimators_)
        errors, spreads = (
            _joined([np.square(m - c) for m, c in _each(mean, clean)]),
            _joined([v for v, _ in _each(variance, clean)]),
        )
        size, level = self._means(errors), self._means(spreads)
        share = np.where(
            size > 0, 1 / np.where(size > 0, size, 1), 0
        )  # entries count alike, whatever their unit
        above, wider = (errors - size) * share, (spreads - level) * share
        self.gain_ = max(0.0, float((above * wider).sum() / max(np.square(wider).sum(), TINY)))
        floor = np.sqrt(np.maximum(size - self.gain_ * level, LEAST_FLOOR * size))
        self.floor_ = float(floor) if self._takes_lists else floor

    def _means(self, squares: NDArray[Any]) -> NDArray[Any]:
        """Return the means over samples: of each entry where all samples have one shape, else of all."""
        if self._takes_lists:
            return np.asarray(squares.mean())
        means = squares.mean(axis=0)
        if self.image_shape_ is None and not self._one_unit:
            return np.asarray(means)  # columns of a table
        n = len(squares)
        return np.asarray((n * means + MEAN_COUNTS * means.mean()) / (n + MEAN_COUNTS))

    def _noisy_and_clean(self, held_out: Samples, root: int) -> tuple[Any, Any]:
        """Return pairs to calibrate with; what is clean meets the noise of the members."""
        if held_out.clean is not None:
            return held_out.X, held_out.clean
        source = carried_source(held_out.X)
        X = held_out.X if source is None else source.clean
        if is_pair_list(X):
            return [noisy for noisy, _ in X], [clean for _, clean in X]
        if self.noiser_ is None:
            return X, X
        draw = stream(root, "calibration")
        if isinstance(X, list | tuple):
            return [self._corrupted(np.asarray(x)[None], draw)[0] for x in X], X
        return self._corrupted(np.asarray(X), draw), X

    def _corrupted(self, clean: NDArray[Any], draw: Any) -> NDArray[Any]:
        shape = clean.shape if self.image_shape_ is None else (len(clean), *self.image_shape_)
        noisy = self.noiser_.corrupt(as_tensor(as_float(clean)).reshape(shape), draw)
        return noisy.reshape(clean.shape).numpy()  # type: ignore[no-any-return]

    def _std(self, variance: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        ratio = getattr(self.estimators_[0], "_ratio_of", lambda _: 1.0)(dtype)
        squared = np.square(ratio * np.asarray(self.floor_)) + self.gain_ * variance
        return np.sqrt(squared).astype(variance.dtype)

    @property
    def image_shape(self) -> Any:
        """Shape of the pictures that rows are, where the members were told one."""
        return getattr(self.estimator, "image_shape", None)

    @property
    def _one_unit(self) -> bool:
        """Whether the entries of rows share one unit."""
        return bool(self.estimators_[0]._rows_are_signals())

    @property
    def _takes_lists(self) -> bool:
        return bool(getattr(self.estimator, "_takes_any_size", False))

    @property
    def _takes_any_size(self) -> bool:  # type: ignore[override]
        return self._takes_lists

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimators_")


def _fitted(member: Any, samples: Samples, validation: dict[str, Any], tasks: FitTasks, number: int) -> Any:
    """Return a member that has learned."""
    clean = {} if samples.clean is None else {"X_clean": samples.clean}
    with tasks.part(number, member):
        return member.fit(samples.X, **clean, **validation, sample_weight=samples.weights)


def _at(side: Any, index: NDArray[np.intp]) -> Any:
    if side is None:
        return None
    return [side[place] for place in index] if isinstance(side, list | tuple) else side[index]


def _moments(answers: Iterator[Any]) -> tuple[Any, Any]:
    """Return the mean and the variance of arrays or of lists of arrays, in one pass (Welford)."""
    first = next(answers)
    is_list = isinstance(first, list)
    means = [np.array(x) for x in (first if is_list else [first])]
    squares = [np.zeros_like(x) for x in means]
    count = 1
    for answer in answers:
        count += 1
        for mean, square, x in zip(means, squares, answer if is_list else [answer], strict=True):
            distance = x - mean
            mean += distance / count
            square += distance * (x - mean)
    variances = [square / max(1, count - 1) for square in squares]
    return (means, variances) if is_list else (means[0], variances[0])


def _each(one: Any, other: Any) -> Any:
    """Return pairs of arrays (n, ...), of stacks or of pictures of lists."""
    if isinstance(one, list | tuple):
        return [(np.asarray(a)[None], np.asarray(b)[None]) for a, b in zip(one, other, strict=True)]
    return [(np.asarray(one), np.asarray(other))]


def _joined(parts: list[NDArray[Any]]) -> NDArray[np.float64]:
    if len(parts) == 1:
        return np.asarray(parts[0], dtype=np.float64)
    return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in parts])
