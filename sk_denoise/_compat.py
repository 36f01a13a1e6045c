"""What estimators tell scikit-learn's callbacks, which exist from 1.9 on; older versions are told nothing."""

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
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import Tags
from torch import Tensor

from sk_denoise._clean_source import attach_source, carried_source
from sk_denoise._validation import refuse_channels_last

__all__ = [
    "CallbackSupportMixin",
    "DocumentationLinkMixin",
    "FitTasks",
    "SampleTransformer",
    "documentation_address",
    "in_kind",
    "in_kind_of",
    "on_host",
    "take_fitted",
    "told_as_one",
    "unfitted",
    "unobserved",
    "unwatched",
    "with_callbacks",
]

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for the class of the same name, and supports nothing."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])


def told_as_one(fit: Method) -> Method:
    """Let callbacks know when a fit begins and ends that has no steps of its own."""

    @with_callbacks
    @functools.wraps(fit)
    def told(estimator: Any, X: Any, y: Any = None, **metadata: Any) -> Any:
        tasks = FitTasks(estimator)
        tasks.begin(0, X, y)
        answer = fit(estimator, X, y, **metadata)
        tasks.end()
        return answer

    return told  # type: ignore[no-any-return]


def unwatched(estimator: T) -> T:
    """Return an unfitted copy that no callback looks at, where scikit-learn's copies share theirs."""
    twin: T = clone(estimator)
    vars(twin).pop("_skl_callbacks", None)
    return twin


def unobserved(estimator: T) -> T:
    """Return a shallow copy that has left the fit that callbacks look on at, and what belongs to it."""
    twin: T = copy.copy(estimator)
    for name in ("_callback_fit_ctx", "_parent_callback_ctx", "_skl_callbacks_to_teardown", "_skl_callbacks"):
        vars(twin).pop(name, None)
    return twin


def unfitted(estimator: T) -> T:
    """Return a shallow copy without what was learned."""
    twin: T = copy.copy(estimator)
    for name in [name for name in vars(twin) if name.endswith("_")]:
        delattr(twin, name)
    return twin


def take_fitted(estimator: Any, fitted: Any) -> None:
    """Take over what a copy learned, in place of what was learned before, in one step.

    What is no fitted attribute stays: callbacks keep their own at the estimator until its fit ends.
    """
    own = {name: value for name, value in vars(estimator).items() if not name.endswith("_")}
    learned = {name: value for name, value in vars(fitted).items() if name.endswith("_")}
    estimator.__dict__ = own | learned


class FitTasks:
    """A fit and its epochs or members, as scikit-learn's callbacks see them.

    Parameters
    ----------
    estimator : estimator
        That which the user has, and set callbacks on; not a copy. Its method is ``with_callbacks``.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        begin = getattr(estimator, "_init_callback_context", None)
        self.context = None if begin is None else begin(max_subtasks=None)
        self.epoch: Any = None
        self.data: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave at home what was learned before, which members in other processes need not know."""
        return {**vars(self), "estimator": unfitted(self.estimator)}

    def begin(
        self,
        parts: int,
        X: Any,
        y: Any,
        metadata: dict[str, Any] | None = None,
        *,
        sequential: bool = True,
    ) -> None:
        """Tell that a fit of so many epochs or members begins, to these data."""
        if self.context is None:
            return
        self.data = {"X": X, "y": y, "metadata": metadata}
        self.context.max_subtasks, self.context.sequential_subtasks = parts, sequential  # known by now
        self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    @contextmanager
    def part(self, number: int, member: Any) -> Iterator[None]:
        """Tell of the fit of a member, which tells of its own epochs."""
        if self.context is None:
            yield
            return
        task = self.context.subcontext(task_name="member", task_id=number)
        with task.propagate_callback_context(member):
            task.call_on_fit_task_begin(estimator=self.estimator)
            yield
            task.call_on_fit_task_end(estimator=self.estimator)

    def begin_epoch(self) -> None:
        """Tell that an epoch begins."""
        if self.context is not None:
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end_epoch(self, fitted: Callable[[], dict[str, Any]]) -> bool:
        """Tell that an epoch ends, and return whether a callback asks to stop there.

        Parameters
        ----------
        fitted : callable
            Gives the fitted attributes as if the fit had ended; called where a callback wants them.
        """
        if self.epoch is None:
            return False
        stop = self.epoch.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=fitted, **self.data
        )
        return bool(stop)

    def end(self) -> None:
        """Tell that the fit has ended."""
        if self.context is not None:
            self.context.call_on_fit_task_end(estimator=self.estimator, **self.data)


VARIABLE = "SK_DENOISE_DOCS"  # the address of a site of one's own, which `make docs` built
LABEL = "Documentation"  # of the address among the project's, in pyproject.toml


def documentation_address() -> str:
    """Return where the documentation is, without a slash at the end; "" where it is nowhere.

    That of the environment variable ``SK_DENOISE_DOCS``, else what the metadata of the package say, under
    "Documentation" in ``[project.urls]``.
    """
    return os.environ.get(VARIABLE, _published_address()).rstrip("/")


@cache
def _published_address() -> str:
    try:
        addresses = metadata("sk-denoise").get_all("Project-URL") or []
    except PackageNotFoundError:  # a source tree that is not installed
        return ""
    labelled = (entry.partition(",") for entry in addresses)
    return next((address.strip() for label, _, address in labelled if label.strip() == LABEL), "")


class DocumentationLinkMixin:
    """Link from the diagram of an estimator in a notebook to its page.

    There is no link where the documentation has no address.
    """

    _doc_link_module = "sk_denoise"

    @property
    def _doc_link_template(self) -> str:
        return documentation_address() + "/api/generated/sk_denoise.{name}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"name": type(self).__name__}

    def _get_doc_link(self) -> str:
        public = type(self).__name__ in sys.modules["sk_denoise"].__all__
        return BaseEstimator._get_doc_link(self) if public and documentation_address() else ""


class SampleTransformer(CallbackSupportMixin, TransformerMixin, BaseEstimator, metaclass=ABCMeta):
    """Base of all transformers of samples: tags, feature names, callbacks, links to the documentation.

    The output has as many features as the input, and its precision.
    """

    # Copied, not inherited: every class in the method resolution order is one more to know.
    _doc_link_module = DocumentationLinkMixin._doc_link_module
    _doc_link_template = DocumentationLinkMixin._doc_link_template
    _doc_link_url_param_generator = DocumentationLinkMixin._doc_link_url_param_generator
    _get_doc_link = DocumentationLinkMixin._get_doc_link
    # Whether images may have another size than those of the fit.
    _takes_any_size: ClassVar[bool] = False

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


def in_kind(method: Method) -> Method:
    """Let a method answer in the kind of array that it is given, under array API dispatch.

    The method is one of an estimator, with samples as its first argument. Tensors that go to an estimator
    for images of any size have their channels first, ``(n, channels, height, width)``.
    """

    @functools.wraps(method)
    def answering(estimator: Any, X: Any, *others: Any, **options: Any) -> Any:
        if not (get_config()["array_api_dispatch"] and _is_foreign(X)):
            return method(estimator, X, *others, **options)
        with_channels = 4 if getattr(estimator, "_takes_any_size", False) else None
        here = [_on_host(side, with_channels) for side in (X, *others)]
        named = {name: _on_host(side, with_channels) for name, side in options.items()}
        return _in_kind_of(X, method(estimator, *here, **named), with_channels)

    return answering  # type: ignore[return-value]


def on_host(X: Any) -> Any:
    """Return the numpy array of an array of another library, under array API dispatch; all else as it is."""
    return _on_host(X, None) if get_config()["array_api_dispatch"] else X


def in_kind_of(X: Any, answer: Any) -> Any:
    """Return a numpy array as one of the library and on the device of X, under array API dispatch."""
    is_wanted = get_config()["array_api_dispatch"] and _is_foreign(X)
    return _in_kind_of(X, answer, None) if is_wanted else answer


def _is_foreign(X: Any) -> bool:
    """Return whether it is an array of another library than numpy, or a list of such."""
    if isinstance(X, list | tuple):
        return bool(X) and not isinstance(X[0], list | tuple) and _is_foreign(X[0])
    is_array = isinstance(X, Tensor) or hasattr(X, "__array_namespace__")
    return is_array and not isinstance(X, np.ndarray | np.generic)


def _on_host(X: Any, with_channels: int | None) -> Any:
    """Return the numpy array of what may be any array; all else as it is.

    Tensors with so many axes have their channels before the last two, and the arrays behind them.
    """
    if not _is_foreign(X):
        return X
    if isinstance(X, list | tuple):
        return [_on_host(item, with_channels and with_channels - 1) for item in X]
    if isinstance(X, Tensor):
        if with_channels is not None and X.ndim == with_channels:
            refuse_channels_last(tuple(X.shape))
        here = X.detach().cpu()
        array = (here.float() if here.dtype == torch.bfloat16 else here).numpy()
        array = np.moveaxis(array, -3, -1) if X.ndim == with_channels else array
    else:
        array = np.from_dlpack(X)
    source = carried_source(X)
    return array if source is None else attach_source(array, source)


def _in_kind_of(X: Any, answer: Any, with_channels: int | None) -> Any:
    """Return an answer, or several, as arrays of the library and on the device of X."""
    if isinstance(answer, tuple):
        return tuple(_in_kind_of(X, part, with_channels) for part in answer)
    if isinstance(X, list | tuple):
        inside = with_channels and with_channels - 1
        is_list = isinstance(answer, list)
        return [_in_kind_of(*pair, inside) for pair in zip(X, answer, strict=True)] if is_list else answer
    if not isinstance(answer, np.ndarray):
        return answer
    source, array = carried_source(answer), np.asarray(answer)
    made: Any
    if isinstance(X, Tensor):
        array = np.moveaxis(array, -1, -3) if array.ndim == X.ndim == with_channels else array
        made = torch.from_numpy(np.ascontiguousarray(array)).to(X.device)
    else:
        made = X.__array_namespace__().asarray(array, device=X.device)
    return made if source is None else attach_source(made, source)
