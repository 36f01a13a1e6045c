"""The table of codecs for what the library brings along: estimators, and what they are made of.

Classes are known by name from two lists, that of the library's public names and that of records. No file
names a module, and nothing that a file says is imported or called.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sk_denoise import estimators as denoisers
from sk_denoise import preprocessing
from sk_denoise._intensity import IntensityRange
from sk_denoise._registry import FILTERS, NETWORKS, NOISES, load_entry
from sk_denoise._resources import Cost
from sk_denoise._scaling import AffineScaler
from sk_denoise.estimators._network_denoiser import NetworkDenoiser
from sk_denoise.estimators._preparation import ImageLayout, Preparation, SampleLayout
from sk_denoise.estimators._wiener import _Spectrum
from sk_denoise.persistence._checks import check_estimator
from sk_denoise.persistence._nets import DESIGN, NET, rebuilt, written_design, written_noise_name
from sk_denoise.persistence._transformers import TRANSFORMERS
from sk_denoise.persistence._tree import Codec, Decoder, Encoder, Node, fields_of
from sk_denoise.persistence._values import VALUES
from sk_denoise.training import Units

__all__ = ["CODECS", "is_ours", "refusal_of"]

# Fitted state that is made of several parts
RECORDS: dict[str, type[Any]] = {
    kind.__name__.strip("_"): kind
    for kind in (
        AffineScaler,
        Cost,
        IntensityRange,
        ImageLayout,
        Preparation,
        SampleLayout,
        Units,
        _Spectrum,
    )
}
# Estimators of scikit-learn that hold others, and do nothing else
HOLDERS: dict[str, type[Any]] = {"Pipeline": Pipeline, "FrozenEstimator": FrozenEstimator}
MOST_NESTED = 7  # a pipeline of a frozen ensemble of networks with noise of regions in a chain is there
LEARNED = re.compile(r"_?[A-Za-z]\w*(?<!_)_")  # how attributes are called that a fit leaves


@cache
def estimators() -> dict[str, type[Any]]:
    """Return the estimators, specs and augmenters that files hold, by their public names."""
    named = {
        entry.name: load_entry(entry) for table in (NETWORKS, NOISES, FILTERS) for entry in table.values()
    }
    others = {name: getattr(part, name) for part in (denoisers, preprocessing) for name in part.__all__}
    ours = {
        name: kind
        for name, kind in {**others, **named}.items()
        if isinstance(kind, type) and issubclass(kind, BaseEstimator)
    }
    return {**ours, **HOLDERS, **{kind.__name__: kind for kind in TRANSFORMERS}}


# Attributes of scikit-learn's ---------------------------------------------------------------------------


def _requests_of(estimator: Any) -> Node:
    """Return which metadata an estimator was told to request, by method."""
    told = estimator._metadata_request
    methods = [name[4:-8] for name in dir(type(estimator)) if re.fullmatch(r"set_\w+_request", name)]
    return {name: dict(getattr(told, name).requests) for name in methods if getattr(told, name).requests}


def _request(estimator: Any, requests: Any) -> None:
    with config_context(enable_metadata_routing=True):
        for method, names in requests.items():
            getattr(estimator, f"set_{method}_request")(**names)


def _set_output(estimator: Any, config: Any) -> None:
    if not isinstance(config, dict) or set(config) != {"transform"}:
        raise ValueError("set_output was told what it does not know")
    estimator.set_output(transform=config["transform"])


# name: how it is written, and put back
OF_SKLEARN: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]] = {
    "_sklearn_output_config": (lambda estimator: dict(estimator._sklearn_output_config), _set_output),
    "_metadata_request": (_requests_of, _request),
}
# The fits of networks: names of parameters are written as "that of this parameter" where they still are
WRITTEN: dict[str, Callable[[Any], Any]] = {
    DESIGN: written_design,
    "_noise_name_": written_noise_name,
}


# Estimators --------------------------------------------------------------------------------------------


def is_ours(value: Any) -> bool:
    """Return whether it is one of :func:`estimators`, and no subclass of one."""
    return isinstance(value, BaseEstimator) and estimators().get(type(value).__name__) is type(value)


@contextmanager
def _inside(coder: Encoder | Decoder, refusal: str) -> Iterator[None]:
    """Go into an estimator; each that is in another doubles what its ``repr`` takes, and its copies."""
    if coder.estimators >= MOST_NESTED:
        raise ValueError(refusal)
    coder.estimators += 1
    try:
        yield
    finally:
        coder.estimators -= 1


def _write_nested(value: Any, encoder: Encoder) -> Node:
    refusal = (
        f"{encoder.place} cannot be saved: it is an estimator in {MOST_NESTED} others, one in the other, and "
        "files hold no more. Nest fewer, as with one NoiserChain of all noisers."
    )
    with _inside(encoder, refusal):
        return _write_estimator(value, encoder)


def _nested_of(node: Node, decoder: Decoder) -> Any:
    with _inside(decoder, f"more than {MOST_NESTED} of its estimators are one in the other"):
        return _estimator_of(node, decoder)


def _write_estimator(value: Any, encoder: Encoder) -> Node:
    params = value.get_params(deep=False)
    if getattr(value, "memory", None) is not None:
        raise TypeError(
            f"{encoder.place}.memory={value.memory!r} cannot be saved: it is a place on this machine, whose "
            "content is pickled. Set memory=None first."
        )
    nodes = {"class": type(value).__name__, "parameters": encoder.items(params)}  # refuses code first
    state = {name: part for name, part in vars(value).items() if name not in params}
    for name in state:
        if name in OF_SKLEARN:
            state[name] = OF_SKLEARN[name][0](value)
        elif name == "_skl_callbacks":
            raise TypeError(
                f"{encoder.place} cannot be saved with its callbacks, which are code: "
                f"{', '.join(type(callback).__name__ for callback in state[name])}. "
                "estimator.set_callbacks() takes them off."
            )
        elif not _is_learned(type(value), name):
            raise TypeError(
                f"{encoder.place}.{name} cannot be saved: it is neither a parameter nor an attribute that "
                f"{_attributes_of(type(value))}. Delete it first, del estimator.{name}."
            )
        elif isinstance(value, NetworkDenoiser) and name in WRITTEN:
            state[name] = WRITTEN[name](value)
    check_estimator(value)
    return {**nodes, "state": encoder.items(state)}


def _is_learned(kind: type[Any], name: str) -> bool:
    """Return whether a fit leaves an attribute of that name; those of scikit-learn are known one by one."""
    known = TRANSFORMERS.get(kind)
    return name in known if known is not None else bool(LEARNED.fullmatch(name))


def _attributes_of(kind: type[Any]) -> str:
    if kind in TRANSFORMERS:
        return f"sk_denoise knows of {kind.__name__}"
    return "fit leaves, whose name ends in an underscore"


def _estimator_of(node: Node, decoder: Decoder) -> Any:
    name, params, state = fields_of(node, **{"class": str, "parameters": dict, "state": dict})
    kind = estimators().get(name)
    if kind is None:
        raise ValueError(f"this sk_denoise has no estimator called {name[:40]!r}")
    unknown = set(params) - set(kind._get_param_names())
    if unknown:
        raise ValueError(f"{name} has no parameter {min(unknown)[:40]!r} here")
    values = decoder.items(params)
    if values.get("memory") is not None:
        raise ValueError("the memory of a Pipeline is pickled, and no file may name it")
    estimator = kind(**values)
    for attribute, part in decoder.items(state).items():
        if attribute in OF_SKLEARN:
            OF_SKLEARN[attribute][1](estimator, part)
        elif not _is_learned(kind, attribute) or hasattr(kind, attribute) or attribute in values:
            raise ValueError(f"{attribute[:40]!r} is no attribute that a fit of {name} leaves")
        else:
            setattr(estimator, attribute, part)
    if isinstance(estimator, NetworkDenoiser) and "net_" in vars(estimator):
        rebuilt(estimator, decoder)
    check_estimator(estimator)
    return estimator


# Records and optimizers --------------------------------------------------------------------------------


def _write_record(value: Any, encoder: Encoder) -> Node:
    parts = {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    return {"class": type(value).__name__.strip("_"), "fields": encoder.items(parts)}


def _record_of(node: Node, decoder: Decoder) -> Any:
    name, parts = fields_of(node, **{"class": str, "fields": dict})
    kind = RECORDS.get(name)
    if kind is None or set(parts) != {part.name for part in dataclasses.fields(kind)}:
        raise ValueError(f"this sk_denoise keeps nothing like {name[:40]!r} with {', '.join(parts)!s:.60}")
    return kind(**decoder.items(parts))


@cache
def optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    """Return the optimizers that torch has, by name."""
    public = {name: getattr(torch.optim, name) for name in torch.optim.__all__ if hasattr(torch.optim, name)}
    return {
        name: kind
        for name, kind in public.items()
        if isinstance(kind, type)
        and issubclass(kind, torch.optim.Optimizer)
        and kind is not torch.optim.Optimizer
    }


def _optimizer_of(node: Node, decoder: Decoder) -> type[torch.optim.Optimizer]:
    if not isinstance(node, str) or node not in optimizers():
        raise ValueError(f"this torch has no optimizer called {node!r:.60}")
    return optimizers()[node]


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, type) and optimizers().get(value.__name__) is value


# The table ---------------------------------------------------------------------------------------------

CODECS: tuple[Codec, ...] = (
    *VALUES,
    Codec("estimator", is_ours, _write_nested, _nested_of),
    Codec("record", lambda v: RECORDS.get(type(v).__name__.strip("_")) is type(v), _write_record, _record_of),
    Codec("optimizer", _is_optimizer, lambda v, _: v.__name__, _optimizer_of),
    NET,
)


def refusal_of(value: Any, place: str) -> TypeError:
    """Return why a value is not saved, and what to do instead."""
    kind = type(value)
    if isinstance(value, BaseEstimator) and kind.__module__.split(".")[0] == "sklearn":
        return TypeError(
            f"{place} is a {kind.__name__} of scikit-learn, of which sk_denoise saves Pipeline, "
            f"FrozenEstimator, {', '.join(known.__name__ for known in TRANSFORMERS)}. skops.io.dump saves "
            'others, and denoisers with them; see the user guide, "files".'
        )
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        what = f"the {'class' if isinstance(value, type) else 'function'} {value.__qualname__!r}"
        what += f" of the module {getattr(value, '__module__', None)!r}"
    else:
        what = f"a {kind.__name__!r} of the module {kind.__module__!r}"
    return TypeError(
        f"{place} cannot be saved: it is {what}, and a file holds data alone, no code. Take what has a name "
        "in sk_denoise (a network spec, a loss of the table, a noiser) or in torch.optim; or use pickle, and "
        "load such files from people you trust alone."
    )
