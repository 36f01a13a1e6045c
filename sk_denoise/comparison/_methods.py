"""What denoises: estimators, functions, and models by name."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sk_denoise._validation import Noiser, names_of
from sk_denoise.metrics._fixed_noise import refuse_noisy
from sk_denoise.restoration import denoise_image
from sk_denoise.restoration._models import shared_network

__all__ = ["NOISY", "chosen_methods"]

NOISY = "noisy"  # the method that leaves images as they came


def chosen_methods(methods: Any, noises: Mapping[Hashable, Any]) -> dict[Hashable, dict[Hashable, Any]]:
    """Return by name, and then by noise, what can denoise."""
    if not isinstance(methods, Mapping):
        methods = list(methods) if isinstance(methods, list | tuple) else [methods]
        names = [name for name, _ in names_of([_name_of(method) for method in methods])]
        methods = dict(zip(names, methods, strict=True))
    if not methods:
        raise ValueError("methods is empty: give at least one.")
    if NOISY in methods:
        raise ValueError(f"A method cannot be called {NOISY!r}: so are called the images as they came.")
    return {
        name: {noise: _usable(_for_noise(method, noise, name), noises[noise], name) for noise in noises}
        for name, method in methods.items()
    }


def _name_of(method: Any) -> str:
    """Return what a method without a name is called: a function by its own, all else by its class."""
    if isinstance(method, str):
        return method
    function = method.func if isinstance(method, partial) else method
    return str(getattr(function, "__name__", type(function).__name__.lower()))


def _for_noise(method: Any, noise: Hashable, name: Hashable) -> Any:
    if not isinstance(method, Mapping):
        return method
    if noise not in method:
        raise ValueError(f"Method {name!r} is a dict without {noise!r}: give one for each name of a noise.")
    return method[noise]


def _usable(method: Any, noise: Any, name: Hashable) -> Any:
    """Return an estimator or a function that can denoise; anything else is a clear error."""
    if isinstance(method, str):
        if method != "auto":
            shared_network(method)  # before the clock runs; refuses an unknown name
        return partial(denoise_image, model=method)
    if isinstance(method, type) or not (hasattr(method, "predict") or callable(method)):
        hint = f" Did you mean {method.__name__}(), fitted?" if isinstance(method, type) else ""
        raise TypeError(
            f"Method {name!r} must be a fitted estimator with predict, a function of an image or the name "
            f"of a model, got {method!r}.{hint}"
        )
    if hasattr(method, "predict") and hasattr(method, "fit"):
        try:
            check_is_fitted(method)
        except NotFittedError:
            raise NotFittedError(
                f"Method {name!r} is not fitted, and a comparison trains nothing: fit this "
                f"{type(method).__name__} first."
            ) from None
        if isinstance(noise, Noiser):
            refuse_noisy(method, noise)
    return method
