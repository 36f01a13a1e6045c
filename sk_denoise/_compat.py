"""Base of transformers, scikit-learn's callbacks, documentation links, array API."""

from __future__ import annotations

import copy
import functools
import os
import sys
from abc import ABCMeta
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from importlib.util import find_spec
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import Tags
from torch import Tensor

from sk_denoise._clean_source import attach_source, carried_source
from sk_denoise._lazy_arrays import holds_collection, map_collection
from sk_denoise._schema import SAMPLES, Rule
from sk_denoise._validation import (
    has_finite_numbers,
    refuse_channels_last,
    warn_of_infinite_output,
    warn_user,
)
from sk_denoise.exceptions import MissingExtraError

__all__ = [
    "CallbackSupportMixin",
    "DocumentationLinkMixin",
    "FitTasks",
    "SampleTransformer",
    "adopt_fitted_state",
    "as_one_task",
    "documentation_address",
    "keeps_array_type",
    "outside_fit",
    "to_array_type_of",
    "to_numpy",
    "with_callbacks",
    "without_callbacks",
    "without_fitted_state",
]

# scikit-learn has callbacks from 1.9 on.
try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in for the class of the same name, without callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])

# Environment variable with the address of a site of the user's own, which `make docs` built.
ADDRESS_VARIABLE = "SK_DENOISE_DOCS"
# Largest integer up to which double precision holds all
MAX_EXACT = 2**53
# Label of the address in the table [project.urls] of pyproject.toml.
ADDRESS_LABEL = "Documentation"


# Documentation and base class --------------------------------------------------------------------------


def documentation_address() -> str:
    """Return the address of the documentation without a slash at the end, or "".

    The environment variable ``SK_DENOISE_DOCS`` comes first, then "Documentation" under ``[project.urls]`` in
    the metadata of the package.
    """
    return os.environ.get(ADDRESS_VARIABLE, _published_address()).rstrip("/")


@cache
def _published_address() -> str:
    # A source tree on the path without an installation has no metadata.
    try:
        addresses = metadata("sk-denoise").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    labelled = (entry.partition(",") for entry in addresses)
    return next((address.strip() for label, _, address in labelled if label.strip() == ADDRESS_LABEL), "")


class DocumentationLinkMixin:
    """Link from the diagram of an estimator in a notebook to its page.

    There is no link while the documentation has no address.
    """

    _doc_link_module = "sk_denoise"

    @property
    def _doc_link_template(self) -> str:
        return documentation_address() + "/api/generated/sk_denoise.{name}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"name": type(self).__name__}

    def _get_doc_link(self) -> str:
        # Only public names have a page; a dead link would be worse than no link.
        is_public = type(self).__name__ in sys.modules["sk_denoise"].__all__
        return BaseEstimator._get_doc_link(self) if is_public and documentation_address() else ""


class SampleTransformer(CallbackSupportMixin, TransformerMixin, BaseEstimator, metaclass=ABCMeta):
    """Base of all transformers of samples: tags, names, callbacks, links.

    The output has as many features as the input, and its precision.
    """

    # Copied, not inherited: every class in the method resolution order is one more to know.
    _doc_link_module = DocumentationLinkMixin._doc_link_module
    _doc_link_template = DocumentationLinkMixin._doc_link_template
    _doc_link_url_param_generator = DocumentationLinkMixin._doc_link_url_param_generator
    _get_doc_link = DocumentationLinkMixin._get_doc_link
    _fitted_schema: ClassVar[dict[str, Rule]] = SAMPLES
    # Whether images may have another size than those of the fit.
    _takes_any_size: ClassVar[bool] = False
    # Whether predict, transform and its inverse treat each sample by itself: then dask arrays stay lazy.
    _is_samplewise: ClassVar[bool] = False

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        # TransformerMixin sets them.
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the output features, which are those of the input.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the input features, needed where ``fit`` saw an array without names.

        Returns
        -------
        ndarray of str
        """
        names: NDArray[np.object_] = OneToOneFeatureMixin.get_feature_names_out(self, input_features)
        return names


# Callbacks and fitted state ----------------------------------------------------------------------------


def as_one_task(fit: Method) -> Method:
    """Decorate a fit without epochs: it is a single task to callbacks."""

    @with_callbacks
    @functools.wraps(fit)
    def fit_as_task(estimator: Any, X: Any, y: Any = None, **metadata: Any) -> Any:
        tasks = FitTasks(estimator)
        tasks.begin(0, X, y)
        result = fit(estimator, X, y, **metadata)
        tasks.end()
        return result

    return fit_as_task  # type: ignore[no-any-return]


class FitTasks:
    """Tasks of a fit for scikit-learn's callbacks: the fit, its epochs, its members.

    Parameters
    ----------
    estimator : estimator
        Estimator of the user, which has the callbacks; not a copy. Its method is decorated by
        ``with_callbacks``.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        # Before scikit-learn 1.9 estimators have no context, and all methods here do nothing.
        create_context = getattr(estimator, "_init_callback_context", None)
        self.context = None if create_context is None else create_context(max_subtasks=None)
        self.epoch: Any = None
        self.data: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without an earlier fit, which members elsewhere need not get.

        Members of an ensemble may fit in other processes.
        """
        return {**vars(self), "estimator": without_fitted_state(self.estimator)}

    def begin(
        self,
        n_subtasks: int,
        X: Any,
        y: Any,
        metadata: dict[str, Any] | None = None,
        *,
        sequential: bool = True,
    ) -> None:
        """Begin a fit to these data, of so many epochs or members."""
        if self.context is None:
            return
        self.data = {"X": X, "y": y, "metadata": metadata}
        # The context exists since before the data were checked; the number of epochs depends on them.
        self.context.max_subtasks, self.context.sequential_subtasks = n_subtasks, sequential
        self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    @contextmanager
    def member_task(self, number: int, member: Any) -> Iterator[None]:
        """Surround the fit of a member, which has tasks of its own for its epochs."""
        if self.context is None:
            yield
            return
        task = self.context.subcontext(task_name="member", task_id=number)
        with task.propagate_callback_context(member):
            task.call_on_fit_task_begin(estimator=self.estimator)
            yield
            task.call_on_fit_task_end(estimator=self.estimator)

    def begin_epoch(self) -> None:
        """Begin an epoch."""
        if self.context is not None:
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end_epoch(self, get_fitted_state: Callable[[], dict[str, Any]]) -> bool:
        """End an epoch and return whether a callback stops the fit there.

        Parameters
        ----------
        get_fitted_state : callable
            Function that returns the fitted attributes as if the fit had ended. Only callbacks
            that use them call it.
        """
        if self.epoch is None:
            return False
        stop = self.epoch.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=get_fitted_state, **self.data
        )
        return bool(stop)

    def end(self) -> None:
        """End the fit."""
        if self.context is not None:
            self.context.call_on_fit_task_end(estimator=self.estimator, **self.data)


def without_callbacks(estimator: T) -> T:
    """Return an unfitted copy without callbacks."""
    twin: T = clone(estimator)
    # scikit-learn's clones share the callbacks of the original.
    vars(twin).pop("_skl_callbacks", None)
    return twin


def outside_fit(estimator: T) -> T:
    """Return a shallow copy without the running fit and its callbacks."""
    twin: T = copy.copy(estimator)
    for name in ("_callback_fit_ctx", "_parent_callback_ctx", "_skl_callbacks_to_teardown", "_skl_callbacks"):
        vars(twin).pop(name, None)
    return twin


def without_fitted_state(estimator: T) -> T:
    """Return a shallow copy without fitted attributes."""
    twin: T = copy.copy(estimator)
    for name in [name for name in vars(twin) if name.endswith("_")]:
        delattr(twin, name)
    return twin


def adopt_fitted_state(estimator: Any, fitted: Any) -> None:
    """Replace the fitted attributes of an estimator by those of a fitted copy."""
    # Other attributes stay: callbacks keep theirs at the estimator until its fit ends.
    others = {name: value for name, value in vars(estimator).items() if not name.endswith("_")}
    learned = {name: value for name, value in vars(fitted).items() if name.endswith("_")}
    # One assignment, so that an interruption leaves either the earlier fit or this one.
    estimator.__dict__ = others | learned


# Arrow tables ------------------------------------------------------------------------------------------


def _read_arrow(X: Any, estimator: Any) -> Any:
    """Return a table or record batch of Arrow as a frame, all else as it is."""
    if type(X).__module__.partition(".")[0] != "pyarrow" or not hasattr(X, "schema"):
        return X
    if find_spec("pandas") is None:
        raise MissingExtraError(
            f"{type(estimator).__name__} takes Arrow tables as frames, and pandas is not installed: pip "
            "install pandas. Or pass an array: numpy.column_stack(list(table.columns))."
        )
    import pandas as pd

    # An encoder reads columns of all types.
    if estimator.__sklearn_tags__().input_tags.categorical:
        return X.to_pandas()
    return pd.DataFrame(_numbers_of_arrow(X), columns=list(X.schema.names), copy=False)


def _numbers_of_arrow(table: Any) -> NDArray[Any]:
    """Return the columns of a table of Arrow as an array, with NaN for nulls."""
    import pyarrow as pa

    of_numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    odd = [field for field in table.schema if not any(test(field.type) for test in of_numbers)]
    if odd:
        kinds = ", ".join(f"{field.name!r} ({field.type})" for field in odd[:5])
        raise ValueError(
            f"{len(odd)} columns hold no plain numbers: {kinds}{', ...' if len(odd) > 5 else ''}. Cast "
            "decimals to float64, leave such columns out, or encode categories, texts and times by a "
            "TableEncoder."
        )
    # By the types alone, so that all batches of a file are of one type, with nulls and without.
    is_narrow = [
        field.type.bit_width <= (32 if pa.types.is_floating(field.type) else 16)
        for field in table.schema
        if not pa.types.is_null(field.type)
    ]
    numbers = np.empty(table.shape, np.float32 if all(is_narrow) else np.float64)
    for place, (field, column) in enumerate(zip(table.schema, table.columns, strict=True)):
        if not pa.types.is_floating(field.type):
            _warn_of_inexact(field, column)
            # Integers with nulls are no array of integers, and truth values with nulls no numbers.
            column = column.cast(pa.float64(), safe=False)
        numbers[:, place] = column.to_numpy(
            **({} if hasattr(column, "chunks") else {"zero_copy_only": False})
        )
    return numbers


def _warn_of_inexact(field: Any, column: Any) -> None:
    """Warn of integers that double precision rounds."""
    import pyarrow.compute as pc

    if getattr(field.type, "bit_width", 0) != 64:
        return
    ends = pc.min_max(column).as_py()
    if max(-(ends["min"] or 0), ends["max"] or 0) > MAX_EXACT:
        warn_user(
            f"The column {field.name!r} holds integers beyond 2**53, which lose their last digits in double "
            "precision. If they are identifiers, leave the column out."
        )


# Array API ---------------------------------------------------------------------------------------------


def keeps_array_type(method: Method) -> Method:
    """Decorate a method to return arrays of the type of its input.

    Arrow tables and record batches are taken as frames, dask arrays stay lazy, and DataArrays of xarray keep
    their labels. Other types are kept under array API dispatch. The method belongs to an estimator and has
    samples as its first argument. Tensors for estimators of images of any size have their channels first,
    ``(n, channels, height, width)``.
    """

    @functools.wraps(method)
    def converting(estimator: Any, X: Any, *others: Any, **options: Any) -> Any:
        if holds_collection(X, *others, *options.values()):
            return map_collection(converting, estimator, X, others, options)
        X, *others = (_read_arrow(side, estimator) for side in (X, *others))  # type: ignore[assignment]
        options = {name: _read_arrow(side, estimator) for name, side in options.items()}
        if not (get_config()["array_api_dispatch"] and _is_foreign(X)):
            output = method(estimator, X, *others, **options)
            _check_output(estimator, X, output)
            return output
        image_ndim = 4 if getattr(estimator, "_takes_any_size", False) else None
        arrays = [_to_numpy(side, image_ndim) for side in (X, *others)]
        named = {name: _to_numpy(side, image_ndim) for name, side in options.items()}
        return _to_array_type_of(X, method(estimator, *arrays, **named), image_ndim)

    return converting  # type: ignore[return-value]


def _check_output(estimator: Any, X: Any, output: Any) -> None:
    """Warn of NaN and infinite numbers in an output for samples without them."""
    arrays = output if isinstance(output, list) else [output]
    # Noise may mark missing entries, and fitted estimators are no arrays.
    if hasattr(estimator, "corrupt") or not all(
        isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in arrays
    ):
        return
    if all(has_finite_numbers(array) for array in arrays):
        return
    # Gaps of the samples may stay gaps.
    samples = X if isinstance(X, list) else [X]
    try:
        has_gaps = any(not has_finite_numbers(np.asarray(sample, dtype=float)) for sample in samples)
    # Columns of words have gaps of other kinds.
    except (TypeError, ValueError):
        has_gaps = True
    if not has_gaps or any(np.isinf(array).any() for array in arrays):
        warn_of_infinite_output(type(estimator).__name__)


def to_numpy(X: Any) -> Any:
    """Return an array of another library as a numpy array, all else as it is.

    Without array API dispatch every input is returned as it is.
    """
    return _to_numpy(X, None) if get_config()["array_api_dispatch"] else X


def to_array_type_of(X: Any, result: Any) -> Any:
    """Return a numpy array as an array of the library and on the device of X.

    Without array API dispatch the result is returned as it is.
    """
    converts = get_config()["array_api_dispatch"] and _is_foreign(X)
    return _to_array_type_of(X, result, None) if converts else result


def _is_foreign(X: Any) -> bool:
    """Return whether X is an array of another library than numpy, or a list of such."""
    if isinstance(X, list | tuple):
        return bool(X) and not isinstance(X[0], list | tuple) and _is_foreign(X[0])
    is_array = isinstance(X, Tensor) or hasattr(X, "__array_namespace__")
    return is_array and not isinstance(X, np.ndarray | np.generic)


def _to_numpy(X: Any, image_ndim: int | None) -> Any:
    """Return an array of any library as a numpy array, all else as it is.

    Tensors of ``image_ndim`` axes have their channels before the last two axes; arrays have them last.
    """
    if not _is_foreign(X):
        return X
    if isinstance(X, list | tuple):
        return [_to_numpy(item, image_ndim and image_ndim - 1) for item in X]
    if isinstance(X, Tensor):
        if image_ndim is not None and X.ndim == image_ndim:
            refuse_channels_last(tuple(X.shape))
        tensor = X.detach().cpu()
        # numpy has no bfloat16.
        array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        array = np.moveaxis(array, -3, -1) if X.ndim == image_ndim else array
    else:
        array = np.from_dlpack(X)
    source = carried_source(X)
    return array if source is None else attach_source(array, source)


def _to_array_type_of(X: Any, result: Any, image_ndim: int | None) -> Any:
    """Return one result or several as arrays of the library and on the device of X."""
    if isinstance(result, tuple):
        return tuple(_to_array_type_of(X, part, image_ndim) for part in result)
    if isinstance(X, list | tuple):
        if not isinstance(result, list):
            return result
        item_ndim = image_ndim and image_ndim - 1
        return [_to_array_type_of(*pair, item_ndim) for pair in zip(X, result, strict=True)]
    if not isinstance(result, np.ndarray):
        return result
    source, array = carried_source(result), np.asarray(result)
    converted: Any
    if isinstance(X, Tensor):
        array = np.moveaxis(array, -1, -3) if array.ndim == X.ndim == image_ndim else array
        converted = torch.from_numpy(np.ascontiguousarray(array)).to(X.device)
    else:
        converted = X.__array_namespace__().asarray(array, device=X.device)
    return converted if source is None else attach_source(converted, source)
