"""What an estimator tells of its network: a summary, also in notebooks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from torch import nn

from sk_denoise._representation import DocumentationLinkMixin
from sk_denoise.estimators._image_steps import ImageFitSteps
from sk_denoise.estimators._layout import ImageLayout, SampleLayout
from sk_denoise.estimators._network_summary import NetworkSummary, summary_of
from sk_denoise.estimators._steps import FitSteps
from sk_denoise.training import check_loss

__all__ = ["ImageSummaryMixin", "SummaryMixin"]


class SummaryMixin(DocumentationLinkMixin, FitSteps):
    """The summary of the network that the steps of a fit lead to."""

    net_: Any
    _sample_shape_: tuple[int, ...]

    def summary(
        self, input_shape: Sequence[int] | None = None, *, depth: int | None = None
    ) -> NetworkSummary:
        """Return the network as a table: layers, shapes, parameters, multiply-accumulates.

        Nothing of the estimator changes. Before ``fit`` the network is built for the occasion.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Shape of one sample of X, such as ``(784,)``, ``(28, 28)`` or ``(28, 28, 3)``. By default that of
            the fit. A fitted :class:`~sk_denoise.ImageDenoiser` is told of any height and width, and has its
            patches as default.
        depth : int, optional
            How deep the blocks of the network are opened: 1 shows those that it is made of. By default all
            layers are shown, or, where they are more than 64, the blocks that hold them.

        Returns
        -------
        NetworkSummary
            Prints as a table; ``layers``, ``n_parameters``, ``macs`` and more are its attributes.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``, without ``input_shape``.
        ValueError
            For a shape that the network cannot be given.
        """
        if depth is not None and (not isinstance(depth, int | np.integer) or depth < 0):
            raise ValueError(f"depth must be a number of levels, 0 or more, or None; got {depth!r}.")
        shape = self._shape_to_sum_up(input_shape)
        layout = self._layout_of(shape)
        module = self.net_.module_ if self.__sklearn_is_fitted__() else self._unfitted_module(shape)
        return summary_of(
            module, self._input_shape(layout), shape, depth=depth, by_pixel=isinstance(layout, ImageLayout)
        )

    def _repr_html_inner(self) -> str:
        """Return the diagram of scikit-learn, which asks for this, and the network below it."""
        return self._with_summary(super()._repr_html_inner())

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] = self._with_summary(bundle["text/html"])
        return bundle

    def _with_summary(self, diagram: str) -> str:
        end = "</body>" if diagram.endswith("</body>") else ""  # scikit-learn 1.7 and later
        return diagram.removesuffix(end) + self._summary_html() + end

    def _summary_html(self) -> str:
        """Return the summary, folded up; nothing where there is no network or it cannot be summed up."""
        if not self.__sklearn_is_fitted__():
            return ""
        try:
            table = self.summary()._repr_html_()
        except Exception:  # a network of the user's may be odd, and its estimator is shown all the same
            return ""
        return (
            '<details class="sk-denoise-summary"><summary style="cursor: pointer">Network</summary>'
            f"{table}</details>"
        )

    def _shape_to_sum_up(self, input_shape: Sequence[int] | None) -> tuple[int, ...]:
        """Return the shape of one sample, checked against that of the fit."""
        if input_shape is None:
            if not self.__sklearn_is_fitted__():
                raise NotFittedError(
                    f"This {type(self).__name__} is not fitted, so say for which samples its network is to "
                    "be built: summary(input_shape=(28, 28)), or (784,) for rows."
                )
            return self._fitted_shape()
        whole = isinstance(input_shape, tuple | list) and all(
            np.issubdtype(type(side), np.integer) and side >= 1 for side in input_shape
        )
        if not whole or not 1 <= len(input_shape) <= 3:
            raise ValueError(
                "input_shape must be the shape of one sample, such as (784,), (28, 28) or (28, 28, 3); got "
                f"{input_shape!r}."
            )
        shape = tuple(int(side) for side in input_shape)
        if self.__sklearn_is_fitted__():
            self._refuse_other_shape(shape)
        return shape

    def _fitted_shape(self) -> tuple[int, ...]:
        return self._sample_shape_

    def _refuse_other_shape(self, shape: tuple[int, ...]) -> None:
        if shape != self._sample_shape_:
            raise ValueError(
                f"This {type(self).__name__} is fitted to samples of shape {self._sample_shape_}, so its "
                f"network cannot be given {shape}. Ask clone(estimator).summary({shape}) for another one."
            )

    def _layout_of(self, shape: tuple[int, ...]) -> SampleLayout:
        """Return the layout of a sample before the network."""
        return SampleLayout.of(shape, self.image_shape, self._rows_are_signals())

    def _shape_to_build_for(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def _unfitted_module(self, shape: tuple[int, ...]) -> nn.Module:
        """Return the network that a fit to such samples would begin with, but for its weights."""
        draft = copy.copy(self)
        draft._root_ = 0  # a RandomState stays where it is
        draft._check_parameters()
        layout = self._layout_of(self._shape_to_build_for(shape))
        on_unit_interval = check_loss(draft.loss).on_unit_interval
        return draft._module(draft._network(), layout, on_unit_interval)


class ImageSummaryMixin(SummaryMixin, ImageFitSteps):
    """The same for images of any size, which need not have that of the fit."""

    patch_shape_: tuple[int, ...]

    def _fitted_shape(self) -> tuple[int, ...]:
        return self.patch_shape_

    def _refuse_other_shape(self, shape: tuple[int, ...]) -> None:
        channels, fitted = (self._layout_of(s).network_shape[0] for s in (shape, self.patch_shape_))
        if channels != fitted:
            raise ValueError(
                f"This ImageDenoiser is fitted to images with {fitted} channels, so its network cannot be "
                f"given {shape}, with {channels}."
            )

    def _layout_of(self, shape: tuple[int, ...]) -> SampleLayout:
        if len(shape) == 1:  # a row: a flattened image, or a signal, which is an image of height 1
            shape = SampleLayout.of(shape, self.image_shape or (1, *shape)).image_shape or shape
        return ImageLayout(shape, shape)

    def _shape_to_build_for(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a patch: what a network is tried out on has no need to be large."""
        height, width, *channels = self._layout_of(shape).sample_shape
        high, wide = self._sides()
        return (min(height, high), min(width, wide), *channels)
