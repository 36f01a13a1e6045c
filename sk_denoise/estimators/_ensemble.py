"""Ensembles of networks with different seeds, and the uncertainty of their output."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.utils import Tags
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sk_denoise._clean_source import attach_source, carried_source
from sk_denoise._compat import (
    FitTasks,
    SampleTransformer,
    adopt_fitted_state,
    keeps_array_type,
    with_callbacks,
    without_fitted_state,
)
from sk_denoise._random import root_seed, stream, stream_seed
from sk_denoise._schema import IMAGE_SHAPE, NONNEGATIVE_NUMBER, Rule, is_number, is_numeric_array
from sk_denoise._validation import (
    Interval,
    allows_gaps,
    as_float_array,
    as_image_array,
    as_tensor,
    check_clean_side,
    check_lengths,
    check_parameters,
    check_sample_weight,
    check_samples,
    get_shape,
    refuse_masked,
    refuse_single_image,
)
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators._denoising_autoencoder import DenoisingAutoencoder
from sk_denoise.estimators._gaps import complete_rows
from sk_denoise.estimators._image_inputs import (
    convert_tensor_stack,
    is_image_list,
    is_itself,
    is_pair_list,
    is_stream,
    open_folder,
    pair_image_lists,
)
from sk_denoise.estimators._network_denoiser import NetworkDenoiser
from sk_denoise.estimators._pairs import resolve_pair
from sk_denoise.estimators._signal_inputs import is_signal_list
from sk_denoise.noise import BaseNoiser, bind_columns
from sk_denoise.training import resolve_objective

__all__ = [
    "DenoisingEnsemble",
    "EnsembleSamples",
    "calibrate",
    "convert_tensors",
    "mean_and_variance",
    "sample_patches",
]

# Attributes that the ensemble takes over from its first member, if it has them.
SHARED_ATTRIBUTES = (
    "target_source_",
    "noiser_",
    "data_range_",
    "image_shape_",
    "intensity_range_",
    "noise_levels_",
)
# A slope of errors over spreads needs two samples.
MIN_HELD_OUT = 2
# Largest number of patches of a stream to calibrate with.
MAX_PATCHES = 256


def _are_members(value: Any, ensemble: Any) -> bool:
    return (
        type(value) is list
        and len(value) > 0
        and all(isinstance(member, NetworkDenoiser) and hasattr(member, "net_") for member in value)
        and {type(member) for member in value} == {type(value[0])}
        and all(member._sample_shape_ == ensemble._sample_shape_ for member in value)
    )


class DenoisingEnsemble(MetaEstimatorMixin, SampleTransformer):
    """Average several denoisers with different seeds, and estimate the error.

    The mean of the members is a little better than a single one. Their spread, the standard deviation of
    their predictions, is large where the error is large. On its own it is several times too small, since all
    members share an error that the noise makes unavoidable. So ``fit`` holds out some samples to calibrate
    it: ``predict(X, return_std=True)`` returns ``sqrt(floor_ ** 2 + gain_ * spread ** 2)``, with the two
    numbers for which it matches the errors on these samples.

    Parameters
    ----------
    estimator : DenoisingAutoencoder, ImageDenoiser or None, default=None
        Unfitted denoiser, cloned for each member with its own ``random_state``. None is a
        :class:`~sk_denoise.DenoisingAutoencoder` with its defaults.
    n_estimators : int, default=5
        Number of members.
    calibration_fraction : float or None, default=0.1
        Share of the samples to hold out for ``floor_`` and ``gain_``, if ``fit`` gets no ``X_val``. None
        holds out no samples: the standard deviation is then the spread itself.
    n_jobs : int or None, default=None
        Number of members to train at a time, in processes; None is 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the seeds of the members, and of the choice of held-out samples.

    Attributes
    ----------
    estimators_ : list of estimator
        Fitted members.
    floor_ : float or ndarray of the shape of a sample
        Error that all members share, as a standard deviation in the unit of the clean side: of each entry, or
        one number for images of any size. 0 without calibration.
    gain_ : float
        Factor of the squared spread of the members. 1 without calibration.
    target_source_, noiser_, data_range_, image_shape_
        Attributes of the members.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    DenoisingAutoencoder, ImageDenoiser : The members.

    Notes
    -----
    In comparison with Monte Carlo dropout, with the same calibration ("benchmarks"), an ensemble denoises
    better than a single network, and dropout worse. An ensemble also shows which samples are badly denoised;
    dropout failed to on digits, but shows a little better which entries are.

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

    _is_samplewise: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "calibration_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "estimators_": Rule(_are_members, "a list of networks fitted to such samples"),
        "gain_": NONNEGATIVE_NUMBER,
        "floor_": Rule(
            lambda v, e: is_number(v) or is_numeric_array(v, (e.n_features_in_,)),
            "a number, or one for each feature",
        ),
        "image_shape_": IMAGE_SHAPE,
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

    @keeps_array_type
    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_clean: Any = None,
        X_second: Any = None,
        X_val: Any = None,
        X_clean_val: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train the members, and calibrate their spread on samples held out from them.

        Parameters
        ----------
        X, y, X_clean, X_second, sample_weight
            As in ``fit`` of the members. Without a clean side, as with ``X_second`` and with an ``objective``
            for noisy data alone, there is no calibration.
        X_val, X_clean_val : optional
            Samples to calibrate with, in place of a part of X: noisy ones with ``X_clean_val``, else clean
            ones. Members with ``early_stopping`` validate on them too.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or parameters cannot be used; the message gives the remedy.
        """
        tasks = FitTasks(self)
        check_parameters(self, self._parameter_constraints)
        draft = without_fitted_state(self)
        member, root = draft._build_member(), root_seed(self.random_state)
        samples, source = draft._check_training(member, X, y, X_clean, sample_weight, X_second)
        has_clean_side = source not in ("noisy", "X_second")
        if draft._takes_lists:
            X_val = open_folder(X_val, getattr(samples.X, "color", "auto"))
        X_val, X_clean_val = draft._check_validation(X_val, X_clean_val)
        if has_clean_side:
            training, held_out = draft._split(samples, X_val, X_clean_val, member, root)
        else:
            training, held_out = samples, None
        validation = {} if X_val is None else {"X_val": X_val, "X_clean_val": X_clean_val}
        tasks.begin(self.n_estimators, None, None, sequential=False)
        # Seeds are drawn here, so that the members do not depend on the number of processes.
        members = [
            clone(member).set_params(random_state=stream_seed(root, "member", number) % 2**31)
            for number in range(self.n_estimators)
        ]
        # One check of the clean side is enough. Lists and streams were not checked yet.
        was_checked = isinstance(samples.X, np.ndarray) or (y is not None and is_itself(X, y))
        for number, each in enumerate(members):
            each._skips_target_check = was_checked or number > 0
        draft.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_member)(each, training, validation, tasks, number)
            for number, each in enumerate(members)
        )
        for each in draft.estimators_:
            # Files hold parameters and fitted attributes alone.
            vars(each).pop("_skips_target_check", None)
        draft._share_attributes(draft.estimators_[0])
        draft.target_source_ = source
        draft._calibrate(held_out, root)
        tasks.end()
        adopt_fitted_state(self, draft)
        return self

    @keeps_array_type
    def predict(self, X: Any, *, return_std: bool = False, **options: Any) -> Any:
        """Denoise samples, and estimate the error on request.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels]), or list
            Noisy samples, as in ``predict`` of the members.
        return_std : bool, default=False
            Whether to return the standard deviation of the error of each entry as well.
        **options
            Further arguments of ``predict`` of the members, such as ``sigma``.

        Returns
        -------
        denoised : ndarray of the shape of X, or list of ndarray
            Mean of the predictions of the members, in the unit of the clean side.
        std : ndarray of the shape of X, or list of ndarray
            Expected error in the same unit, if ``return_std`` is true.
        """
        check_is_fitted(self)
        mean, variance, samples = self._predictions(self._check_samples(X), options)
        if not return_std:
            return mean
        if isinstance(samples, list):
            return mean, [self._std(v, x.dtype) for v, x in zip(variance, samples, strict=True)]
        return mean, self._std(variance, samples.dtype)

    @keeps_array_type
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

    @keeps_array_type
    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean PSNR of denoised samples in dB.

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
        # A member scores the prediction of the ensemble, so that their scores compare.
        scorer = copy.copy(self.estimators_[0])
        scorer.predict = lambda noisy: self._predictions(noisy, {})[0]
        samples, source = self._check_samples(X), carried_source(X)
        return float(scorer.score(attach_source(samples, source) if source else samples, y, sample_weight))

    def _check_samples(self, X: Any) -> Any:
        """Return samples as an array, or as a list of arrays."""
        X = convert_tensors(X) if self._takes_lists else X
        if self._takes_lists and (is_image_list(X) or (self._takes_signals and is_signal_list(X))):
            return [np.asarray(x) for x in X]
        # Members check signals, which may have any length.
        if self._takes_signals and isinstance(X, np.ndarray) and X.shape[1:] != self._sample_shape_:
            return X
        return check_samples(self, X, reset=False, allow_gaps=allows_gaps(self))

    def _predictions(self, samples: Any, options: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Return the mean and the variance of predictions, and the samples."""
        # One member at a time, so that memory does not grow with their number.
        return *mean_and_variance(member.predict(samples, **options) for member in self.estimators_), samples

    # Steps of a fit -----------------------------------------------------------------------------------

    def _build_member(self) -> Any:
        """Return an unfitted member without a seed."""
        member = DenoisingAutoencoder() if self.estimator is None else clone(self.estimator)
        if not isinstance(member, NetworkDenoiser):
            raise TypeError(
                "estimator must be a DenoisingAutoencoder or an ImageDenoiser, got "
                f"{type(member).__name__}. Put other steps of a pipeline before or after the ensemble."
            )
        if getattr(member, "output", "reconstruction") != "reconstruction":
            raise ValueError(f'The members must denoise: set output="reconstruction", got {member.output!r}.')
        return member

    def _check_training(
        self, member: Any, X: Any, y: Any, X_clean: Any, sample_weight: Any, X_second: Any
    ) -> tuple[EnsembleSamples, str]:
        """Check training samples, and return those with a weight and the clean source."""
        is_noisy = resolve_objective(member.objective) is not None
        if self._takes_signals and is_signal_list(X):
            return self._check_signals(X, y, X_clean, sample_weight, X_second, is_noisy)
        if self._takes_lists:
            X, y, X_clean, X_second = (convert_tensors(side) for side in (X, y, X_clean, X_second))
            X = open_folder(X)
            # Members check streams, image by image.
            if is_stream(X):
                check_lengths(X, y)
                return EnsembleSamples(X, X_clean, sample_weight), "noisy" if is_noisy else "X"
            if is_pair_list(X):
                X, X_clean = [noisy for noisy, _ in X], [clean for _, clean in X]
            if is_image_list(X):
                if is_noisy or X_second is not None:
                    # Members check the sides of such images.
                    images = EnsembleSamples(X, X_clean, None, X_second)
                    images = images.with_weights(check_sample_weight(sample_weight, X))
                    return images, "noisy" if is_noisy else "X_second"
                return self._check_lists(X, y, X_clean, sample_weight)
        if self._takes_lists:
            refuse_single_image(get_shape(X), self.image_shape)
        pair = resolve_pair(
            self,
            X,
            y,
            X_clean,
            noise=member.noise,
            rows_are_signals=member._factory().rows_are_signals,
            reset=True,
            min_samples=member._auto_values.min_samples,
            X_second=X_second,
            is_self_supervised=is_noisy,
        )
        source = carried_source(X)
        samples = check_samples(self, X, reset=False, allow_gaps=allows_gaps(self))
        clean = {"X_clean": X_clean, "y": y}.get(pair.source)
        # Members get plain arrays, which carry no source, so that its noiser becomes their noise.
        if pair.source == "noiser" and source is not None:
            member.set_params(noise=pair.noiser)
            samples = source.clean
        elif pair.source == "noisy" and source is not None:
            member.set_params(noise=pair.noise)
        elif isinstance(member.noise, BaseNoiser):
            # Plain arrays have no names of columns.
            member.set_params(noise=bind_columns(member.noise, X if hasattr(X, "columns") else samples))
        second = None if X_second is None else np.asarray(X_second)
        training = EnsembleSamples(samples, None if clean is None else np.asarray(clean), second=second)
        return training.with_weights(check_sample_weight(sample_weight, samples)), pair.source

    def _check_signals(
        self, X: Any, y: Any, X_clean: Any, sample_weight: Any, X_second: Any, is_noisy: bool
    ) -> tuple[EnsembleSamples, str]:
        """Return lists of signals as training samples; members check their sides."""
        check_lengths(X, y)
        source = "noisy" if is_noisy else "X_second" if X_second is not None else "X"
        clean = X_clean
        if source == "X" and X_clean is not None:
            source = "X_clean"
        elif source == "X" and is_signal_list(y) and not all(map(np.array_equal, X, y)):
            source, clean = "y", y
        sides = [None if side is None else [np.asarray(x) for x in side] for side in (X, clean, X_second)]
        training = EnsembleSamples(sides[0], sides[1], second=sides[2])
        return training.with_weights(check_sample_weight(sample_weight, X)), source

    def _check_lists(self, X: Any, y: Any, X_clean: Any, sample_weight: Any) -> tuple[EnsembleSamples, str]:
        """Check lists of images as training samples."""
        noisy, clean = pair_image_lists(X, y, X_clean)
        source = "X" if clean is None else "y" if X_clean is None else "X_clean"
        training = EnsembleSamples(noisy.images, None if clean is None else clean.images)
        return training.with_weights(check_sample_weight(sample_weight, noisy.images)), source

    def _check_validation(self, X_val: Any, X_clean_val: Any) -> tuple[Any, Any]:
        """Check validation samples in arrays; members check lists and streams."""
        refuse_masked(X_val, "X_val")
        refuse_masked(X_clean_val, "X_clean_val")
        if self._takes_lists:
            X_val, X_clean_val = convert_tensors(X_val), convert_tensors(X_clean_val)
        if X_val is None or (self._takes_lists and (is_stream(X_val) or isinstance(X_val, list | tuple))):
            return X_val, X_clean_val
        if not hasattr(self, "_sample_shape_"):
            return np.asarray(X_val), None if X_clean_val is None else np.asarray(X_clean_val)
        source = carried_source(X_val)
        samples = check_samples(self, X_val, reset=False, allow_gaps=allows_gaps(self))
        if X_clean_val is not None:
            return samples, check_clean_side(self, X_clean_val, samples.shape, "X_clean_val")
        return (samples if source is None else source.clean), None

    def _split(
        self, samples: EnsembleSamples, X_val: Any, X_clean_val: Any, member: Any, root: int
    ) -> tuple[EnsembleSamples, EnsembleSamples | None]:
        """Return samples for training, and samples or None for calibration."""
        if X_val is not None and self._takes_lists and is_stream(X_val):
            return samples, sample_patches(X_val, member, root)
        if X_val is not None and is_pair_list(X_val):
            return samples, EnsembleSamples([noisy for noisy, _ in X_val], [clean for _, clean in X_val])
        if X_val is not None:
            return samples, EnsembleSamples(X_val, X_clean_val)
        if self.calibration_fraction is None:
            return samples, None
        if self._takes_lists and is_stream(samples.X):
            raise ValueError(
                "No part of a stream can be held out for calibration. Pass other images as X_val=, or "
                "calibration_fraction=None."
            )
        n = len(samples.X)
        n_held_out = max(MIN_HELD_OUT, int(np.ceil(self.calibration_fraction * n)))
        if n - n_held_out < member._auto_values.min_samples:
            raise ValueError(
                f"calibration_fraction={self.calibration_fraction} leaves {n - n_held_out} of {n} samples "
                f"for training, at least {member._auto_values.min_samples} are needed. Pass X_val=, or "
                "calibration_fraction=None."
            )
        # Sorted parts keep the order of the samples, as a member without calibration would see them.
        order = np.random.default_rng(stream_seed(root, "calibration")).permutation(n)
        return samples.take(np.sort(order[n_held_out:])), samples.take(np.sort(order[:n_held_out]))

    def _share_attributes(self, member: Any) -> None:
        """Copy fitted attributes of a member to the ensemble."""
        for name in SHARED_ATTRIBUTES:
            if hasattr(member, name):
                setattr(self, name, getattr(member, name))
        # Members check lists and streams, and determine the shape.
        if not hasattr(self, "_sample_shape_"):
            self.n_features_in_, self._sample_shape_ = member.n_features_in_, member._sample_shape_

    def _calibrate(self, held_out: EnsembleSamples | None, root: int) -> None:
        """Fit the squared error over the squared spread, on held-out samples."""
        self.floor_, self.gain_ = 0.0, 1.0
        if held_out is None:
            return
        noisy, clean = self._noisy_and_clean(held_out, root)
        mean, variance = mean_and_variance(member.predict(noisy) for member in self.estimators_)
        # Columns of tables have different units, so that their floors are not averaged.
        is_table = self.image_shape_ is None and not self._one_unit
        self.floor_, self.gain_ = calibrate(
            mean, variance, clean, held_out.weights, by_entry=not self._takes_lists, is_table=is_table
        )

    def _noisy_and_clean(self, held_out: EnsembleSamples, root: int) -> tuple[Any, Any]:
        """Return pairs to calibrate with; corrupt clean samples with the noise of members."""
        if held_out.clean is not None:
            return held_out.X, held_out.clean
        X = held_out.X
        if self.noiser_ is None:
            return X, X
        draw = stream(root, "calibration")
        if allows_gaps(self) and np.isnan(X).any():
            complete = complete_rows(X, stream_seed(root, "gaps"))
            return np.where(np.isnan(X), np.nan, self._corrupt(complete, draw)), X
        if isinstance(X, list | tuple):
            return [self._corrupt(np.asarray(x)[None], draw)[0] for x in X], X
        return self._corrupt(np.asarray(X), draw), X

    def _corrupt(self, clean: NDArray[Any], draw: Any) -> NDArray[Any]:
        """Corrupt a stack or rows with the noise of the members."""
        convert = getattr(self.estimators_[0], "_convert", None)
        if convert is not None:
            # Noise of signals is that of images of height 1.
            signals = convert(as_float_array(clean), "X", reset=False)
            return signals.restore(self.noiser_.corrupt(as_tensor(signals.images), draw).numpy())  # type: ignore[no-any-return]
        # Flat rows reach the noiser as images, as in the fit of a member.
        shape = clean.shape if self.image_shape_ is None else (len(clean), *self.image_shape_)
        noisy = self.noiser_.corrupt(as_tensor(as_float_array(clean)).reshape(shape), draw)
        return noisy.reshape(clean.shape).numpy()  # type: ignore[no-any-return]

    def _std(self, variance: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the calibrated standard deviation, in the unit of samples of a type."""
        # The floor is in the unit of the fit, and members denoise images of other types in their unit.
        ratio = getattr(self.estimators_[0], "_ratio_of", lambda _: 1.0)(dtype)
        # Errors that all members share are independent of their spread: variances add up.
        squared = np.square(ratio * np.asarray(self.floor_)) + self.gain_ * variance
        return np.sqrt(squared).astype(variance.dtype)

    @property
    def image_shape(self) -> Any:
        """Shape of images in flat rows, a parameter of the members."""
        return getattr(self.estimator, "image_shape", None)

    @property
    def missing(self) -> str:
        """Meaning of NaN, a parameter of the members."""
        return getattr(self.estimator, "missing", "error")

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "mask"
        return tags

    def _root(self) -> int:
        """Return the seed of values in gaps while samples are checked."""
        return 0

    @property
    def _one_unit(self) -> bool:
        """Whether the entries of rows have one unit."""
        return bool(self.estimators_[0]._factory().rows_are_signals)

    @property
    def _takes_lists(self) -> bool:
        """Whether members take images of any size, in lists and streams."""
        return bool(getattr(self.estimator, "_takes_any_size", False))

    @property
    def _takes_signals(self) -> bool:
        """Whether members take signals of any length."""
        return bool(getattr(self.estimator, "_has_channel_units", False))

    @property
    def _takes_any_size(self) -> bool:  # type: ignore[override]
        return self._takes_lists

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimators_")


def _fit_member(
    member: Any, samples: EnsembleSamples, validation: dict[str, Any], tasks: FitTasks, number: int
) -> Any:
    """Fit a member, perhaps in another process, and return it."""
    given = {"X_clean": samples.clean, "X_second": samples.second}
    clean = {name: side for name, side in given.items() if side is not None}
    with tasks.member_task(number, member):
        return member.fit(samples.X, **clean, **validation, sample_weight=samples.weights)


@dataclass(frozen=True)
class EnsembleSamples:
    """Samples of an ensemble, as arguments of ``fit`` of its members.

    Attributes
    ----------
    X, clean : array or list
        Samples, and their clean side if given.
    weights : ndarray or None
        Weight of each sample.
    second : array or list
        Second noisy measurement, if given.
    """

    X: Any
    clean: Any = None
    weights: NDArray[Any] | None = None
    second: Any = None

    def take(self, index: NDArray[np.intp]) -> EnsembleSamples:
        """Return the samples at ``index``."""
        sides = (self.X, self.clean, self.weights, self.second)
        return EnsembleSamples(*(_take(side, index) for side in sides))

    def with_weights(self, weights: NDArray[Any] | None) -> EnsembleSamples:
        """Return the samples with their weights, without those of weight 0."""
        if weights is None:
            return self
        return replace(self, weights=weights).take(np.flatnonzero(weights))


def convert_tensors(side: Any) -> Any:
    """Convert image tensors, alone or in lists, to arrays with channels last."""
    if isinstance(side, list | tuple) and any(isinstance(item, Tensor) for item in side):
        return [as_image_array(item) for item in side]
    if is_pair_list(side):
        return [tuple(map(as_image_array, pair)) for pair in side]
    return convert_tensor_stack(side)


def sample_patches(images: Any, member: Any, root: int) -> EnsembleSamples:
    """Return patches of streamed images, in the unit of the training of members."""
    if not isinstance(images, RandomPatches):
        images = RandomPatches(images, member._cut_sides(), patches_per_image=member._patches_per_image(None))
    noisy, clean = images.first(MAX_PATCHES, stream(root, "patches"))
    return EnsembleSamples(noisy.numpy(), clean.numpy() if images.is_paired else None)


def _take(side: Any, index: NDArray[np.intp]) -> Any:
    """Return a part of an array or a list, None for None."""
    if side is None:
        return None
    return [side[i] for i in index] if isinstance(side, list | tuple) else side[index]


# Smallest squared floor, as a share of the mean squared error: no standard deviation becomes 0.
MIN_FLOOR = 0.05
# Weight of the mean over an image in the floor of a pixel, in samples.
MEAN_WEIGHT = 5
# Keeps a division by the variance of spreads finite.
TINY = 1e-300


def calibrate(
    mean: Any,
    variance: Any,
    clean: Any,
    sample_weight: NDArray[Any] | None,
    *,
    by_entry: bool,
    is_table: bool,
) -> tuple[Any, float]:
    """Return the floor and the gain of ``std ** 2 = floor ** 2 + gain * variance``.

    The gain is the slope of squared errors over variances, with errors of each entry in units of their mean.
    The squared floor of an entry is the remaining part of its mean squared error.

    Parameters
    ----------
    mean, variance, clean : ndarray of shape (n_samples, ...), or list of ndarray
        Mean and variance of the predictions for held-out samples, and the clean samples.
    sample_weight : ndarray of shape (n_samples,) or None
        Weight of each sample; None for equal weights.
    by_entry : bool
        Whether each entry of a sample has its own floor.
    is_table : bool
        Whether entries have different units. Otherwise the floors of few samples are shrunk to their mean.

    Returns
    -------
    floor : ndarray of the shape of a sample, or float
        At least 0.
    gain : float
        At least 0.
    """
    # Errors of entries without truth have no weight.
    errors = _concatenate([np.nan_to_num(np.square(m - c)) for m, c in _pair_arrays(mean, clean)])
    spreads = _concatenate([v for v, _ in _pair_arrays(variance, clean)])
    per_sample = np.ones(len(clean)) if sample_weight is None else sample_weight
    weights = _concatenate(
        [np.where(_is_missing(c), 0.0, np.full(c.shape, w)) for w, c in _pair_weights(per_sample, clean)]
    )
    mean_error, mean_spread = (_means(x, weights, by_entry, is_table) for x in (errors, spreads))
    # In units of its mean error, each entry has the same weight in the slope, for any unit of the data.
    scale = np.where(mean_error > 0, 1 / np.where(mean_error > 0, mean_error, 1), 0)
    error_excess, spread_excess = (errors - mean_error) * scale, (spreads - mean_spread) * scale
    slope = (weights * error_excess * spread_excess).sum() / max(
        (weights * np.square(spread_excess)).sum(), TINY
    )
    gain = max(0.0, float(slope))
    floor = np.sqrt(np.maximum(mean_error - gain * mean_spread, MIN_FLOOR * mean_error))
    return (floor if by_entry else float(floor)), gain


def _is_missing(values: NDArray[Any]) -> Any:
    return np.isnan(values) if values.dtype.kind == "f" else False


def _means(squares: NDArray[Any], weights: NDArray[Any], by_entry: bool, is_table: bool) -> NDArray[Any]:
    """Return the weighted means over samples, of each entry or of all."""
    if not by_entry:
        return np.asarray(np.average(squares, weights=weights))
    # An entry that no sample has counts with all of them.
    weights = np.where(weights.any(axis=0), weights, 1.0)
    means, n = np.asarray(np.average(squares, axis=0, weights=weights)), len(squares)
    if is_table:
        return means
    # Neighbouring entries share a unit, so that their mean steadies the few squares of one entry.
    return np.asarray((n * means + MEAN_WEIGHT * means.mean()) / (n + MEAN_WEIGHT))


def mean_and_variance(predictions: Iterator[Any]) -> tuple[Any, Any]:
    """Return the mean and the variance of arrays, or of lists of arrays.

    One pass (Welford) holds one prediction at a time in memory.
    """
    first = next(predictions)
    is_list = isinstance(first, list)
    means = [np.array(x) for x in (first if is_list else [first])]
    squares = [np.zeros_like(x) for x in means]
    count = 1
    for prediction in predictions:
        count += 1
        for mean, square, x in zip(means, squares, prediction if is_list else [prediction], strict=True):
            distance = x - mean
            mean += distance / count
            square += distance * (x - mean)
    variances = [square / max(1, count - 1) for square in squares]
    return (means, variances) if is_list else (means[0], variances[0])


def _pair_arrays(first: Any, second: Any) -> Any:
    """Return pairs of arrays (n, ...), one for stacks, one for each image of lists."""
    if isinstance(first, list | tuple):
        return [(np.asarray(a)[None], np.asarray(b)[None]) for a, b in zip(first, second, strict=True)]
    return [(np.asarray(first), np.asarray(second))]


def _pair_weights(weights: NDArray[Any], clean: Any) -> Any:
    """Return pairs of weights and arrays (n, ...), in shapes that broadcast."""
    if isinstance(clean, list | tuple):
        return [(weight, np.asarray(c)[None]) for weight, c in zip(weights, clean, strict=True)]
    array = np.asarray(clean)
    return [(weights.reshape(-1, *(1,) * (array.ndim - 1)), array)]


def _concatenate(parts: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Return a stack as it is, and images of different sizes as one flat array."""
    if len(parts) == 1:
        return np.asarray(parts[0], dtype=np.float64)
    return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in parts])
