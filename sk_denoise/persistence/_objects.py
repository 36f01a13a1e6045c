"""Codecs of estimators, and of the records in their fitted state.

Files give classes by name, and the names stand in two lists: public estimators and records. A file holds no
name of a module, and nothing in it is imported or called.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sk_denoise import _registry, preprocessing
from sk_denoise import estimators as denoisers
from sk_denoise._intensity import IntensityRange
from sk_denoise._noise_model import NoiseModel, NoiseSplitter
from sk_denoise._resources import Cost
from sk_denoise._row_prior import Blend, MappedPosteriorMean, PosteriorMean
from sk_denoise._scaling import AffineScaler, QuantileMap
from sk_denoise._schema import check_fitted_state, describe_value, fitted_schema, is_shape
from sk_denoise._validation import Noiser, check_parameters
from sk_denoise.estimators._gap_gaussian import Gaussian, NormalScores
from sk_denoise.estimators._gap_model import FillModel, Kernels, Networks
from sk_denoise.estimators._gaps import GapFiller
from sk_denoise.estimators._network_denoiser import NetworkDenoiser
from sk_denoise.estimators._preparation import (
    ImageLayout,
    Preparation,
    Recorruption,
    SampleLayout,
    WildValues,
)
from sk_denoise.estimators._wiener import _Spectrum
from sk_denoise.estimators._wiener_mixture import _Mixture
from sk_denoise.noise._base import is_strength
from sk_denoise.persistence._limits import check_magnitudes, check_windows
from sk_denoise.persistence._nets import DESIGN, NET_CODECS, rebuild_net, to_saved_design, to_saved_noise_name
from sk_denoise.persistence._transformers import TRANSFORMER_SCHEMAS, check_transformer
from sk_denoise.persistence._tree import VALUE_CODECS, Codec, Decoder, Encoder, Node, unpack_fields
from sk_denoise.preprocessing import Augmentation
from sk_denoise.preprocessing._table_encoder import ColumnCode
from sk_denoise.training import Units

__all__ = ["CODECS", "is_savable", "refusal_error"]

# Fitted state of several parts
RECORDS: dict[str, type[Any]] = {
    kind.__name__.strip("_"): kind
    for kind in (
        AffineScaler,
        ColumnCode,
        Cost,
        IntensityRange,
        ImageLayout,
        NoiseModel,
        NoiseSplitter,
        Preparation,
        Recorruption,
        Blend,
        GapFiller,
        MappedPosteriorMean,
        PosteriorMean,
        QuantileMap,
        SampleLayout,
        Units,
        WildValues,
        FillModel,
        Gaussian,
        Kernels,
        _Mixture,
        Networks,
        NormalScores,
        _Spectrum,
    )
}
# Estimators of scikit-learn that only hold others
HOLDERS: dict[str, type[Any]] = {"Pipeline": Pipeline, "FrozenEstimator": FrozenEstimator}
# A pipeline of a frozen ensemble of networks, with noise of regions in a chain, needs as many levels.
MAX_NESTED = 7
# Each takes a millisecond. An ensemble of a hundred networks has a thousand of them.
MAX_ESTIMATORS = 4096
# Names of attributes that a fit sets
FITTED_NAME = re.compile(r"_?[A-Za-z]\w*(?<!_)_")


@cache
def _savable_classes() -> dict[str, type[Any]]:
    """Return the estimators and their parts that files can hold, by name."""
    tables = (
        _registry.NETWORKS,
        _registry.NOISES,
        _registry.FILTERS,
        _registry.SIGNAL_FILTERS,
        _registry.RESTORERS,
        _registry.OBJECTIVES,
    )
    named = {entry.name: _registry.load_entry(entry) for table in tables for entry in table.values()}
    others = {name: getattr(part, name) for part in (denoisers, preprocessing) for name in part.__all__}
    ours = {
        name: kind
        for name, kind in {**others, **named}.items()
        if isinstance(kind, type) and issubclass(kind, BaseEstimator)
    }
    return {**ours, **HOLDERS, **{kind.__name__: kind for kind in TRANSFORMER_SCHEMAS}}


def is_savable(value: Any) -> bool:
    """Return whether a value is an estimator of a class that files can hold."""
    return isinstance(value, BaseEstimator) and _savable_classes().get(type(value).__name__) is type(value)


# Checks -------------------------------------------------------------------------------------------------


def _check_estimator(estimator: Any) -> None:
    """Refuse parameters and fitted state that an estimator cannot work with."""
    check_magnitudes(estimator)
    _check_shared_parameters(estimator)
    check_own_parameters = getattr(estimator, "_check_parameters", None)
    if check_own_parameters is not None:
        check_own_parameters()
    elif hasattr(estimator, "_parameter_constraints") and type(estimator).__module__.startswith("sk_denoise"):
        check_parameters(estimator, estimator._parameter_constraints)
    elif type(estimator) in TRANSFORMER_SCHEMAS:
        check_transformer(estimator)
    elif isinstance(estimator, Pipeline):
        _check_steps(estimator.steps)
    elif isinstance(estimator, FrozenEstimator) and not isinstance(estimator.estimator, BaseEstimator):
        raise ValueError(f"a FrozenEstimator cannot hold {describe_value(estimator.estimator)}")
    check_windows(estimator)
    schema = TRANSFORMER_SCHEMAS.get(type(estimator))
    check_fitted_state(estimator, fitted_schema(type(estimator)) if schema is None else schema)
    _check_declared_shape(estimator)


def _check_shared_parameters(estimator: Any) -> None:
    """Refuse values that parameters of several classes cannot have.

    A fit checks them together with the data.
    """
    parameters = estimator.get_params(deep=False)
    for name, (are_fine, description) in SHARED_PARAMETERS.items():
        if name in parameters and not are_fine(parameters[name]):
            raise ValueError(
                f"{name} of {type(estimator).__name__} must be {description}, and is "
                f"{describe_value(parameters[name])}"
            )


def _check_declared_shape(estimator: Any) -> None:
    """Refuse an image_shape other than that of the samples of the fit."""
    declared, shape = getattr(estimator, "image_shape", None), getattr(estimator, "_sample_shape_", None)
    # Images of any size have no fixed number of pixels, and rows have one.
    if declared is None or shape is None or (len(shape) > 1 and hasattr(estimator, "patch_shape_")):
        return
    if math.prod(declared) != estimator.n_features_in_ or (
        len(shape) > 1 and tuple(declared[:2]) != shape[:2]
    ):
        raise ValueError(
            f"image_shape of {type(estimator).__name__} must be that of its samples, of shape {shape}, and "
            f"is {describe_value(declared)}"
        )


def _is_noise(value: Any) -> bool:
    # A filter may take the covariance of its noise.
    is_covariance = isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "fiu"
    is_known = value is None or isinstance(value, str | NoiseModel) or is_strength(value) or is_covariance
    return is_known or (isinstance(value, Noiser) and not isinstance(value, type))


def _is_declared_shape(value: Any) -> bool:
    return value is None or (isinstance(value, tuple | list) and is_shape(tuple(value), (2, 3)))


def _is_augmentation(value: Any) -> bool:
    return value is None or (isinstance(value, Augmentation) and not isinstance(value, type))


# Parameters that a fit alone would check, together with the data
SHARED_PARAMETERS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "noise": (_is_noise, "a noiser, a name or a strength of noise, or a noise model"),
    "image_shape": (_is_declared_shape, "None, (height, width) or (height, width, channels)"),
    "augment": (_is_augmentation, "an Augmenter or None"),
}


def _check_steps(steps: Any) -> None:
    """Refuse steps that no pipeline can have."""
    are_steps = (
        isinstance(steps, list)
        and len(steps) > 0
        and all(isinstance(step, tuple) and len(step) == 2 and isinstance(step[0], str) for step in steps)
    )
    if not are_steps:
        raise ValueError(f"the steps of a Pipeline cannot be {steps!r:.60}")
    if len({name for name, _ in steps}) < len(steps):
        raise ValueError("two steps of a Pipeline have one name")
    for name, part in steps:
        if not (part is None or part == "passthrough" or hasattr(part, "fit")):
            raise ValueError(f"the step {name[:40]!r} of a Pipeline cannot be {describe_value(part)}")


# Attributes of scikit-learn -----------------------------------------------------------------------------


def _encode_requests(estimator: Any) -> Node:
    """Return the metadata requests of an estimator, by method."""
    requests = estimator._metadata_request
    methods = [name[4:-8] for name in dir(type(estimator)) if re.fullmatch(r"set_\w+_request", name)]
    by_method = {name: dict(getattr(requests, name).requests) for name in methods}
    return {name: names for name, names in by_method.items() if names}


def _restore_requests(estimator: Any, requests: Any) -> None:
    # scikit-learn refuses to set requests while routing is off.
    with config_context(enable_metadata_routing=True):
        for method, names in requests.items():
            getattr(estimator, f"set_{method}_request")(**names)


def _restore_output(estimator: Any, config: Any) -> None:
    if not isinstance(config, dict) or set(config) != {"transform"}:
        raise ValueError("the configuration of set_output is unknown")
    estimator.set_output(transform=config["transform"])


# Attributes that scikit-learn's own methods set: how they are written, and put back
SKLEARN_ATTRIBUTES: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]] = {
    "_sklearn_output_config": (lambda estimator: dict(estimator._sklearn_output_config), _restore_output),
    "_metadata_request": (_encode_requests, _restore_requests),
}
# Fitted names that equal those of parameters are written as None.
REPLACED_STATE: dict[str, Callable[[Any], Any]] = {
    DESIGN: to_saved_design,
    "_noise_name_": to_saved_noise_name,
}


# Estimators ---------------------------------------------------------------------------------------------


@contextmanager
def _enter_estimator(coder: Encoder | Decoder, refusal: str) -> Iterator[None]:
    """Count an estimator around those in it, up to a limit."""
    # Each level doubles the time for a repr and for copies.
    if coder.estimators >= MAX_NESTED:
        raise ValueError(refusal)
    coder.n_estimators += 1
    if coder.n_estimators > MAX_ESTIMATORS:
        raise ValueError(f"more than {MAX_ESTIMATORS} estimators are in it, and no file may hold as many")
    coder.estimators += 1
    try:
        yield
    finally:
        coder.estimators -= 1


def _encode_estimator(value: Any, encoder: Encoder) -> Node:
    refusal = (
        f"{encoder.place} cannot be saved: it is an estimator in {MAX_NESTED} others, one in the other, and "
        "files hold no more. Nest fewer, as with one NoiserChain of all noisers."
    )
    with _enter_estimator(encoder, refusal):
        params = value.get_params(deep=False)
        if getattr(value, "memory", None) is not None:
            raise TypeError(
                f"{encoder.place}.memory={value.memory!r} cannot be saved: it is a place on this machine, "
                "with pickled contents. Set memory=None first."
            )
        # Parameters come first: they may be code, which has the clearest error.
        nodes = {"class": type(value).__name__, "parameters": encoder.items(params)}
        state = _encode_state(value, params.keys(), encoder)
        _check_estimator(value)
        return {**nodes, "state": encoder.items(state)}


def _encode_state(value: Any, params: Any, encoder: Encoder) -> dict[str, Any]:
    """Return the attributes of an estimator that are no parameters, to be encoded."""
    state = {name: part for name, part in vars(value).items() if name not in params}
    for name in state:
        if name in SKLEARN_ATTRIBUTES:
            state[name] = SKLEARN_ATTRIBUTES[name][0](value)
        elif name == "_skl_callbacks":
            raise TypeError(
                f"{encoder.place} cannot be saved with its callbacks, which are code: "
                f"{', '.join(type(callback).__name__ for callback in state[name])}. "
                "estimator.set_callbacks() takes them off."
            )
        elif not _is_fitted_name(type(value), name):
            raise TypeError(
                f"{encoder.place}.{name} cannot be saved: it is neither a parameter nor "
                f"{_describe_attributes(type(value))}. Delete it first, del estimator.{name}."
            )
        elif isinstance(value, NetworkDenoiser) and name in REPLACED_STATE:
            state[name] = REPLACED_STATE[name](value)
    return state


def _is_fitted_name(kind: type[Any], name: str) -> bool:
    """Return whether a fit sets an attribute of that name."""
    # scikit-learn's are listed, so that an attribute of a later version is refused until it has a rule.
    schema = TRANSFORMER_SCHEMAS.get(kind)
    return name in schema if schema is not None else bool(FITTED_NAME.fullmatch(name))


def _describe_attributes(kind: type[Any]) -> str:
    if kind in TRANSFORMER_SCHEMAS:
        return f"one of the attributes of {kind.__name__} that files hold"
    return "an attribute that fit sets, with an underscore at the end of its name"


def _decode_estimator(node: Node, decoder: Decoder) -> Any:
    with _enter_estimator(decoder, f"more than {MAX_NESTED} of its estimators are one in the other"):
        name, params, state = unpack_fields(node, **{"class": str, "parameters": dict, "state": dict})
        kind = _savable_classes().get(name)
        if kind is None:
            raise ValueError(f"this sk_denoise has no estimator called {name[:40]!r}")
        unknown = set(params) - set(kind._get_param_names())
        if unknown:
            raise ValueError(f"{name} has no parameter {min(unknown)[:40]!r} here")
        values = decoder.items(params)
        # joblib would unpickle the files there.
        if values.get("memory") is not None:
            raise ValueError("the memory of a Pipeline is pickled, and no file may name it")
        estimator = kind(**values)
        for attribute, part in decoder.items(state).items():
            if attribute in SKLEARN_ATTRIBUTES:
                SKLEARN_ATTRIBUTES[attribute][1](estimator, part)
            # A method or a class attribute of that name must not be hidden.
            elif not _is_fitted_name(kind, attribute) or hasattr(kind, attribute) or attribute in values:
                raise ValueError(f"{attribute[:40]!r} is no attribute that a fit of {name} sets")
            else:
                setattr(estimator, attribute, part)
        if isinstance(estimator, NetworkDenoiser) and "net_" in vars(estimator):
            rebuild_net(estimator, decoder)
        _check_estimator(estimator)
        return estimator


# Records ------------------------------------------------------------------------------------------------


def _encode_record(value: Any, encoder: Encoder) -> Node:
    parts = {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    return {"class": type(value).__name__.strip("_"), "fields": encoder.items(parts)}


def _decode_record(node: Node, decoder: Decoder) -> Any:
    name, parts = unpack_fields(node, **{"class": str, "fields": dict})
    kind = RECORDS.get(name)
    fields = () if kind is None else dataclasses.fields(kind)
    names = {part.name for part in fields}
    # A field with a default may be younger than the file.
    required = {part.name for part in fields if part.default is dataclasses.MISSING}
    if kind is None or not required <= set(parts) <= names:
        raise ValueError(f"this sk_denoise has no record {name[:40]!r} with {', '.join(parts)!s:.60}")
    return kind(**decoder.items(parts))


# The table ----------------------------------------------------------------------------------------------

CODECS: tuple[Codec, ...] = (
    *VALUE_CODECS,
    Codec("estimator", is_savable, _encode_estimator, _decode_estimator),
    Codec(
        "record",
        lambda v: RECORDS.get(type(v).__name__.strip("_")) is type(v),
        _encode_record,
        _decode_record,
    ),
    *NET_CODECS,
)


def refusal_error(value: Any, place: str) -> TypeError:
    """Return the error for a value that files cannot hold, with a way out."""
    kind = type(value)
    if isinstance(value, BaseEstimator) and kind.__module__.split(".")[0] == "sklearn":
        return TypeError(
            f"{place} is a {kind.__name__} of scikit-learn, and sk_denoise saves only Pipeline, "
            f"FrozenEstimator, {', '.join(transformer.__name__ for transformer in TRANSFORMER_SCHEMAS)}. "
            'skops.io.dump saves others, and denoisers with them; see the user guide, "files".'
        )
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        description = f"the {'class' if isinstance(value, type) else 'function'} {value.__qualname__!r}"
        description += f" of the module {getattr(value, '__module__', None)!r}"
    else:
        description = f"a {kind.__name__!r} of the module {kind.__module__!r}"
    return TypeError(
        f"{place} cannot be saved: it is {description}, and a file holds data alone, no code. Take an object "
        "with a name in sk_denoise (a network spec, a loss of the table, a noiser) or in torch.optim; or use "
        "pickle, and load such files from people you trust alone."
    )
