"""Noise made of other noise: on a part, by choice, in a chain."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.base import clone

from sk_denoise._random import stream
from sk_denoise._schema import Rule
from sk_denoise._validation import (
    FITTED_NOISER,
    NOISER_OF_SAMPLES,
    Noiser,
    check_noiser,
    name_by_class,
    refuse_other_size,
    size_factor_of,
)
from sk_denoise.noise._base import (
    STRENGTH,
    BaseNoiser,
    ImageNoiser,
    as_strength,
    bind_columns,
    check_strength,
)
from sk_denoise.noise._corruptions import choose_corruption, corrupt_region

__all__ = ["NoiserChain", "NoiserChoice", "RegionNoiser"]


class RegionNoiser(ImageNoiser):
    """Corrupt a random part of each sample, in training only.

    The part is a rectangle of an image or a stretch of a row, as a scratch, a stain or a reflection is.
    Position and sides are drawn for each sample.

    Parameters
    ----------
    noiser : noiser
        Noise of the part, fitted to whole samples. Its own ``apply`` and ``random_state`` have no effect.
    size : float or pair of float, default=0.5
        Sides of the part as a share of the sample's, above 0 and at most 1; a pair ``(low, high)`` draws one
        for each side of each sample. A part has at least one pixel.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows. A part of other
        rows is a stretch of neighbouring columns. An estimator with an ``image_shape`` passes it to its
        ``noise``.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    noiser_ : noiser
        Fitted noise of the part.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    sk_denoise.noise.corrupt_region : The noise as a function on tensors.

    Notes
    -----
    For a network that is trained on patches, the noise covers a part of each patch. If the noise of the final
    images covers a part of the whole image, some patches are noisy all over and others are clean. Train on
    all three cases by :class:`~sk_denoise.NoiserChoice`, as in the last example.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import GaussianNoiser, RegionNoiser
    >>> images = np.zeros((100, 20, 30))
    >>> noiser = RegionNoiser(GaussianNoiser(0.5), size=0.5, random_state=0)
    >>> noisy = noiser.fit_transform(images)
    >>> float((noisy != 0).mean())
    0.25

    The parameters of the noise are those of a nested estimator:

    >>> noiser.set_params(noiser__noise_factor=0.1).noiser
    GaussianNoiser()

    Noise for the patches of images that are noisy on a part:

    >>> from sk_denoise import NoiserChoice
    >>> part = GaussianNoiser(0.5)
    >>> on_patches = NoiserChoice([part, RegionNoiser(part, (0.3, 1.0)), GaussianNoiser(0)])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {"size": STRENGTH}
    _fitted_schema: ClassVar[dict[str, Rule]] = {"noiser_": NOISER_OF_SAMPLES}

    def __init__(
        self,
        noiser: Noiser,
        size: float | tuple[float, float] = 0.5,
        *,
        image_shape: Sequence[int] | None = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.noiser = noiser
        self.size = size
        self.image_shape = image_shape
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        # The part is a rectangle of the images; rows are returned as rows.
        images, size = self._as_images(x), as_strength(self.size)
        return corrupt_region(images, generator, corrupt=self.noiser_.corrupt, size=size).reshape(x.shape)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_noiser(self.noiser)
        refuse_other_size(self.noiser, "RegionNoiser")
        check_strength(self, "size", max_value=1, above_zero=True)

    def _select(self, X: Any) -> None:
        # A copy, so that fit does not change the parameter. Names and types of columns are known here.
        self.noiser_ = bind_columns(self.noiser, X)

    def _learn(self, clean: torch.Tensor) -> None:
        self._check_layout(clean)
        images = self._as_images(clean).numpy()
        # The images as y declare that they are clean, without a second warning of a lost source.
        self.noiser_.fit(images, images)


class _ComposedNoiser(BaseNoiser):
    """Base of noisers made of a list of noisers.

    The parameters of each noiser have its class as a prefix.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "noisers_": Rule(
            lambda v, noiser: type(v) is list and len(v) == len(noiser.noisers) and noiser._are_of_samples(v),
            "a fitted noiser for each",
            after_others=True,
        )
    }
    noisers: Sequence[Noiser]
    noisers_: list[Noiser]

    @property
    def _takes_any_size(self) -> bool:  # type: ignore[override]  # a class variable elsewhere
        # The images in use are small already.
        return self.size_factor > 1

    def _are_of_samples(self, noisers: list[Any]) -> bool:
        """Return whether noisers were fitted to samples as those of this one."""
        return all(NOISER_OF_SAMPLES.test(noiser, self) for noiser in noisers)

    def _named_noisers(self) -> dict[str, Noiser]:
        """Return the noisers by name; no names if ``noisers`` is no list."""
        # Parameters are read before fit has checked them.
        return dict(name_by_class(self.noisers)) if isinstance(self.noisers, list | tuple) else {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, with those of the noisers.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the noisers and their parameters.

        Returns
        -------
        dict
        """
        params: dict[str, Any] = super().get_params(deep=False)
        if deep:
            for name, noiser in self._named_noisers().items():
                params[name] = noiser
                # A noiser of a user need not have get_params.
                nested = noiser.get_params() if hasattr(noiser, "get_params") else {}
                params |= {f"{name}__{key}": value for key, value in nested.items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, such as ``gaussiannoiser__noise_factor`` of a noiser.

        Parameters
        ----------
        **params : dict
            Parameters by their names in :meth:`get_params`; the name of a noiser alone replaces it.

        Returns
        -------
        self
        """
        # A new list comes first, because other names may be those of its noisers.
        if "noisers" in params:
            self.noisers = params.pop("noisers")
        named = self._named_noisers()
        replaced = named.keys() & params.keys()
        if replaced:
            named |= {name: params.pop(name) for name in replaced}
            self.noisers = list(named.values())
        super().set_params(**params)
        return self

    def _limit_to_columns(self, start: int, width: int) -> Any:
        parts = [getattr(noiser, "_limit_to_columns", lambda *_: None) for noiser in self.noisers]
        limited = [limit(start, width) for limit in parts]
        return None if None in limited else clone(self).set_params(noisers=limited)

    @abstractmethod
    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor: ...

    def _check_parameters(self) -> None:
        if not isinstance(self.noisers, list | tuple) or not self.noisers:
            raise ValueError(
                f"noisers must be a list of at least one noiser, as in {type(self).__name__}"
                f"([GaussianNoiser(0.1), SaltAndPepperNoiser(0.05)]), got {self.noisers!r}."
            )
        for noiser in self.noisers:
            check_noiser(noiser)
        super()._check_parameters()

    def _select(self, X: Any) -> None:
        # Copies, so that fit does not change the parameter. Names and types of columns are known here.
        self.noisers_ = [bind_columns(noiser, X) for noiser in self.noisers]

    def _learn(self, clean: torch.Tensor) -> None:
        samples = clean.numpy()
        for noiser in self.noisers_:
            # The samples as y declare that they are clean, without a second warning of a lost source.
            noiser.fit(samples, samples)


class NoiserChoice(_ComposedNoiser):
    """Corrupt each sample by one of several noises, in training only.

    For denoisers of noise of more than one kind.

    Parameters
    ----------
    noisers : list of noisers
        Noises to choose from, of one ``size_factor``. Their own ``apply`` and ``random_state`` have no
        effect.
    probabilities : array-like of shape (n_noisers,) or None, default=None
        Probability of each noise, at least 0, with a sum of 1. None stands for equal probabilities.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    noisers_ : list of noisers
        Fitted noises.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    NoiserChain : One noise after the other.
    sk_denoise.noise.choose_corruption : The choice as a function on tensors.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import GaussianNoiser, NoiserChoice, SaltAndPepperNoiser
    >>> noiser = NoiserChoice([GaussianNoiser(0.2), SaltAndPepperNoiser(0.1)], [0.7, 0.3], random_state=0)
    >>> noisy = noiser.fit_transform(np.full((1000, 64), 0.5))
    >>> round(float((noisy != 0.5).all(axis=1).mean()), 1)
    0.7

    A search can set the parameters of each noiser:

    >>> noiser.set_params(gaussiannoiser__noise_factor=0.3).noisers[0]
    GaussianNoiser(noise_factor=0.3)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {"probabilities": ["array-like", None]}

    def __init__(
        self,
        noisers: Sequence[Noiser],
        probabilities: Sequence[float] | NDArray[Any] | None = None,
        *,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.noisers = noisers
        self.probabilities = probabilities
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        return choose_corruption(
            x,
            generator,
            corruptions=[noiser.corrupt for noiser in self.noisers_],
            probabilities=self._probabilities(),
        )

    def _probabilities(self) -> list[float]:
        if self.probabilities is None:
            return [1 / len(self.noisers)] * len(self.noisers)
        return [float(probability) for probability in self.probabilities]

    @property
    def size_factor(self) -> int:
        return next(map(size_factor_of, self._named_noisers().values()), 1)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        factors = [size_factor_of(noiser) for noiser in self.noisers]
        if len(set(factors)) > 1:
            raise ValueError(
                "The noisers of a NoiserChoice need one size_factor, because the images of a batch have one "
                f"size, got {factors}. Put the choice before or behind the noiser that reduces images: "
                "NoiserChain([NoiserChoice([...]), DownscaleNoiser(2)])."
            )
        given = np.asarray(self.probabilities if self.probabilities is not None else self._probabilities())
        fits = given.shape == (len(self.noisers),) and given.dtype.kind in "iuf" and bool((given >= 0).all())
        # Decimal numbers such as 0.1 do not sum to 1 exactly.
        if not fits or not np.isclose(given.sum(), 1, atol=1e-6):
            raise ValueError(
                f"probabilities must hold {len(self.noisers)} numbers of at least 0 that sum to 1, one for "
                f"each noiser, got {self.probabilities!r}."
            )


class NoiserChain(_ComposedNoiser):
    """Corrupt by several noises, one after the other, in training only.

    In a camera, for example, the sensor counts photons, then the amplifier adds its noise.

    Parameters
    ----------
    noisers : list of noisers
        Noises in the order of their application, all fitted to clean data: behind a noiser that reduces
        images, to the reduced clean ones. Their own ``apply`` and ``random_state`` have no effect.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    noisers_ : list of noisers
        Fitted noises.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    NoiserChoice : One of several noises.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import GaussianNoiser, NoiserChain, PoissonNoiser
    >>> camera = NoiserChain([PoissonNoiser(50), GaussianNoiser(0.05, clip=(0, 1))], random_state=0)
    >>> noisy = camera.fit_transform(np.linspace(0, 1, 1000).reshape(10, 10, 10))
    >>> bool(noisy.min() >= 0 and noisy.max() <= 1)
    True

    Blur of the lens, a sensor of fewer pixels, noise:

    >>> from sk_denoise import BlurNoiser, DownscaleNoiser
    >>> small = NoiserChain([BlurNoiser(sigma=(0.5, 1.5)), DownscaleNoiser(2), GaussianNoiser(0.02)])
    >>> small.fit_transform(np.zeros((10, 32, 48))).shape, small.size_factor
    ((10, 16, 24), 2)
    """

    def __init__(
        self,
        noisers: Sequence[Noiser],
        *,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.noisers = noisers
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        # One generator for all, so that their noises are independent.
        for noiser in self.noisers_:
            x = noiser.corrupt(x, generator)
        return x

    @property
    def size_factor(self) -> int:
        return math.prod(map(size_factor_of, self._named_noisers().values()))

    def _learn(self, clean: torch.Tensor) -> None:
        for noiser in self.noisers_:
            samples = clean.numpy()
            # The samples as y declare that they are clean, without a second warning of a lost source.
            noiser.fit(samples, samples)
            factor = size_factor_of(noiser)
            # Estimators fit noise to single pixels, which have the values of any size.
            if factor > 1 and not any(side % factor for side in clean.shape[1:3]):
                clean = noiser.corrupt(clean, stream(0, "chain"))

    def _are_of_samples(self, noisers: list[Any]) -> bool:
        shape = self._sample_shape_
        for noiser in noisers:
            if shape == self._sample_shape_:
                fits = NOISER_OF_SAMPLES.test(noiser, self)
            else:
                fits = FITTED_NOISER.test(noiser, self) and getattr(noiser, "_sample_shape_", shape) == shape
            if not fits:
                return False
            factor = size_factor_of(noiser)
            if factor > 1 and not any(side % factor for side in shape[:2]):
                shape = (shape[0] // factor, shape[1] // factor, *shape[2:])
        return True
