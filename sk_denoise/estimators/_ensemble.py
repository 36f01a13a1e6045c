"""Several networks that differ by their seed alone: a better answer, and how far to trust it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import MetaEstimatorMixin, clone
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
from sk_denoise.estimators._calibration import calibrate, moments
from sk_denoise.estimators._denoising_autoencoder import DenoisingAutoencoder
from sk_denoise.estimators._image_inputs import (
    as_folder,
    is_image_list,
    is_pair_list,
    is_stream,
    paired_lists,
    stack_of,
)
from sk_denoise.estimators._network_denoiser import NetworkDenoiser
from sk_denoise.estimators._pairs import resolve_pair

__all__ = ["DenoisingEnsemble", "Samples", "patches_of", "with_channels_last"]

OF_A_MEMBER = (
    "target_source_",
    "noiser_",
    "data_range_",
    "image_shape_",
    "intensity_range_",
    "noise_levels_",
)
LEAST_HELD_OUT = 2


def _are_members(value: Any, ensemble: Any) -> bool:
    return (
        type(value) is list
        and len(value) > 0
        and all(isinstance(member, NetworkDenoiser) and hasattr(member, "net_") for member in value)
        and {type(member) for member in value} == {type(value[0])}
        and all(member._sample_shape_ == ensemble._sample_shape_ for member in value)
    )


class DenoisingEnsemble(MetaEstimatorMixin, SampleTransformer):
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
        entry, and one number for images of any size. 0 without calibration.
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
        draft = without_fitted_state(self)
        member, root = draft._member(), root_seed(self.random_state)
        given, source = draft._given(member, X, y, X_clean, sample_weight)
        if draft._takes_lists:
            X_val = as_folder(X_val, getattr(given.X, "color", "auto"))
        X_val, X_clean_val = draft._validation(X_val, X_clean_val)
        training, held_out = draft._divided(given, X_val, X_clean_val, member, root)
        validation = {} if X_val is None else {"X_val": X_val, "X_clean_val": X_clean_val}
        tasks.begin(self.n_estimators, None, None, sequential=False)
        members = [
            clone(member).set_params(random_state=stream_seed(root, "member", number) % 2**31)
            for number in range(self.n_estimators)
        ]
        draft.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(_fitted)(one, training, validation, tasks, number) for number, one in enumerate(members)
        )
        draft._take_from(draft.estimators_[0])
        draft.target_source_ = source
        draft._calibrate(held_out, root)
        tasks.end()
        adopt_fitted_state(self, draft)
        return self

    @keeps_array_type
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
        mean, variance, samples = self._answers(self._checked(X), options)
        if not return_std:
            return mean
        if isinstance(samples, list):
            return mean, [self._std(v, x.dtype) for v, x in zip(variance, samples, strict=True)]
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

    @keeps_array_type
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
        judge.predict = lambda noisy: self._answers(noisy, {})[0]
        samples, source = self._checked(X), carried_source(X)
        return float(judge.score(attach_source(samples, source) if source else samples, y, sample_weight))

    def _checked(self, X: Any) -> Any:
        """Return samples as an array, or as a list of arrays."""
        X = with_channels_last(X) if self._takes_lists else X
        is_list = self._takes_lists and is_image_list(X)
        return list(X) if is_list else check_samples(self, X, reset=False)

    def _answers(self, samples: Any, options: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Return the mean and the variance of what the members answer to checked samples, and these."""
        return *moments(member.predict(samples, **options) for member in self.estimators_), samples

    # The steps of a fit -------------------------------------------------------------------------------

    def _member(self) -> Any:
        """Return an unfitted member, to be given a seed."""
        member = DenoisingAutoencoder() if self.estimator is None else clone(self.estimator)
        if not isinstance(member, NetworkDenoiser):
            raise TypeError(
                "estimator must be a DenoisingAutoencoder or an ImageDenoiser, got "
                f"{type(member).__name__}. Other steps of a pipeline go around the ensemble."
            )
        if getattr(member, "output", "reconstruction") != "reconstruction":
            raise ValueError(f'The members denoise: set output="reconstruction", got {member.output!r}.')
        return member

    def _given(self, member: Any, X: Any, y: Any, X_clean: Any, sample_weight: Any) -> tuple[Samples, str]:
        """Check the samples, and return those that count, with the clean side, and where that came from."""
        if self._takes_lists:
            X, y, X_clean = (with_channels_last(side) for side in (X, y, X_clean))
            X = as_folder(X)
            if is_stream(X):
                check_lengths(X, y)
                return Samples(X, X_clean, sample_weight), "X"
            if is_pair_list(X):
                X, X_clean = [noisy for noisy, _ in X], [clean for _, clean in X]
            if is_image_list(X):
                return self._given_list(X, y, X_clean, sample_weight)
        learner = {"noise": member.noise, "rows_are_signals": member._factory().rows_are_signals}
        if self._takes_lists:
            refuse_single_image(get_shape(X), self.image_shape)
        pair = resolve_pair(
            self, X, y, X_clean, reset=True, min_samples=member._auto_values.min_samples, **learner
        )
        samples, source = check_samples(self, X, reset=False), carried_source(X)
        clean = {"X_clean": X_clean, "y": y}.get(pair.source)
        if pair.source == "noiser" and source is not None:
            member.set_params(noise=pair.noiser)
            samples = source.clean
        given = Samples(samples, None if clean is None else np.asarray(clean))
        return given.counted(check_sample_weight(sample_weight, samples)), pair.source

    def _given_list(self, X: Any, y: Any, X_clean: Any, sample_weight: Any) -> tuple[Samples, str]:
        noisy, clean = paired_lists(X, y, X_clean)
        source = "X" if clean is None else "y" if X_clean is None else "X_clean"
        given = Samples(noisy.images, None if clean is None else clean.images)
        return given.counted(check_sample_weight(sample_weight, noisy.images)), source

    def _validation(self, X_val: Any, X_clean_val: Any) -> tuple[Any, Any]:
        """Check samples to validate on, where they are arrays."""
        refuse_masked(X_val, "X_val")
        refuse_masked(X_clean_val, "X_clean_val")
        if self._takes_lists:
            X_val, X_clean_val = with_channels_last(X_val), with_channels_last(X_clean_val)
        if X_val is None or (self._takes_lists and (is_stream(X_val) or isinstance(X_val, list | tuple))):
            return X_val, X_clean_val
        if not hasattr(self, "_sample_shape_"):
            return np.asarray(X_val), None if X_clean_val is None else np.asarray(X_clean_val)
        samples, source = check_samples(self, X_val, reset=False), carried_source(X_val)
        if X_clean_val is not None:
            return samples, check_clean_side(self, X_clean_val, samples.shape, "X_clean_val")
        return (samples if source is None else source.clean), None

    def _divided(
        self, given: Samples, X_val: Any, X_clean_val: Any, member: Any, root: int
    ) -> tuple[Samples, Samples | None]:
        """Return what to train on and what to calibrate with, if anything."""
        if X_val is not None and self._takes_lists and is_stream(X_val):
            return given, patches_of(X_val, member, root)
        if X_val is not None and is_pair_list(X_val):
            return given, Samples([noisy for noisy, _ in X_val], [clean for _, clean in X_val])
        if X_val is not None:
            return given, Samples(X_val, X_clean_val)
        if self.calibration_fraction is None:
            return given, None
        if self._takes_lists and is_stream(given.X):
            raise ValueError(
                "What is streamed cannot be held out for calibration. Pass other images as X_val=, or "
                "calibration_fraction=None."
            )
        n = len(given.X)
        n_held_out = max(LEAST_HELD_OUT, int(np.ceil(self.calibration_fraction * n)))
        if n - n_held_out < member._auto_values.min_samples:
            raise ValueError(
                f"calibration_fraction={self.calibration_fraction} leaves {n - n_held_out} of {n} samples to "
                f"learn from, at least {member._auto_values.min_samples} are needed. Pass X_val=, or "
                "calibration_fraction=None."
            )
        order = np.random.default_rng(stream_seed(root, "calibration")).permutation(n)
        return given.take(np.sort(order[n_held_out:])), given.take(np.sort(order[:n_held_out]))

    def _take_from(self, member: Any) -> None:
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
        mean, variance = moments(member.predict(noisy) for member in self.estimators_)
        is_table = self.image_shape_ is None and not self._one_unit
        self.floor_, self.gain_ = calibrate(
            mean, variance, clean, held_out.weights, by_entry=not self._takes_lists, is_table=is_table
        )

    def _noisy_and_clean(self, held_out: Samples, root: int) -> tuple[Any, Any]:
        """Return pairs to calibrate with; what is clean meets the noise of the members."""
        if held_out.clean is not None:
            return held_out.X, held_out.clean
        X = held_out.X
        if self.noiser_ is None:
            return X, X
        draw = stream(root, "calibration")
        if isinstance(X, list | tuple):
            return [self._corrupted(np.asarray(x)[None], draw)[0] for x in X], X
        return self._corrupted(np.asarray(X), draw), X

    def _corrupted(self, clean: NDArray[Any], draw: Any) -> NDArray[Any]:
        shape = clean.shape if self.image_shape_ is None else (len(clean), *self.image_shape_)
        noisy = self.noiser_.corrupt(as_tensor(as_float_array(clean)).reshape(shape), draw)
        return noisy.reshape(clean.shape).numpy()  # type: ignore[no-any-return]

    def _std(self, variance: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        ratio = getattr(self.estimators_[0], "_ratio_of", lambda _: 1.0)(dtype)
        squared = np.square(ratio * np.asarray(self.floor_)) + self.gain_ * variance
        return np.sqrt(squared).astype(variance.dtype)

    @property
    def image_shape(self) -> Any:
        """Shape of the images that rows are, where the members were told one."""
        return getattr(self.estimator, "image_shape", None)

    @property
    def _one_unit(self) -> bool:
        """Whether the entries of rows share one unit."""
        return bool(self.estimators_[0]._factory().rows_are_signals)

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
    with tasks.member_task(number, member):
        return member.fit(samples.X, **clean, **validation, sample_weight=samples.weights)


MOST_PATCHES = 256  # of a stream, to calibrate with


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

    def counted(self, weights: NDArray[Any] | None) -> Samples:
        """Return the samples that count, each as much as its weight says."""
        if weights is None:
            return self
        return replace(self, weights=weights).take(np.flatnonzero(weights))


def with_channels_last(side: Any) -> Any:
    """Return tensors of images, alone or in lists, as arrays with the channels last; all else as it is."""
    if isinstance(side, list | tuple) and any(isinstance(item, Tensor) for item in side):
        return [as_image_array(item) for item in side]
    if is_pair_list(side):
        return [tuple(map(as_image_array, pair)) for pair in side]
    return stack_of(side)


def patches_of(images: Any, member: Any, root: int) -> Samples:
    """Return patches of what comes image by image, in the unit in which members learn from it."""
    if not isinstance(images, RandomPatches):
        images = RandomPatches(
            images, member._patch_sides(), patches_per_image=member._patches_per_image(None)
        )
    noisy, clean = images.first(MOST_PATCHES, stream(root, "patches"))
    return Samples(noisy.numpy(), clean.numpy() if images.is_paired else None)


def _at(side: Any, index: NDArray[np.intp]) -> Any:
    if side is None:
        return None
    return [side[place] for place in index] if isinstance(side, list | tuple) else side[index]
