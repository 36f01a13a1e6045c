"""Summary of a network as a table: layers, shapes, parameters, operations."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.exceptions import NotFittedError
from torch import nn

from sk_denoise._package import require_extra
from sk_denoise._resources import Usage, usage_by_layer
from sk_denoise.estimators._preparation import SampleLayout
from sk_denoise.training import check_loss

if TYPE_CHECKING:
    import pandas as pd

    from sk_denoise.estimators._network_denoiser import NetworkDenoiser

__all__ = ["LayerSummary", "NetworkSummary", "append_summary_html", "summarize_estimator"]


# With more layers, the blocks that hold them are shown.
MAX_ROWS = 64
# Largest number of characters of a line of text, and of the kind or shape of a layer in it.
MAX_LINE, MAX_CELL = 100, 20
# Columns with text to the left.
_LEFT = (True, True, True, False, False, False)


def summarize_estimator(
    estimator: NetworkDenoiser, input_shape: Sequence[int] | None, depth: int | None
) -> NetworkSummary:
    """Return the summary of an estimator, as ``NetworkDenoiser.summary`` does."""
    if depth is not None and (not isinstance(depth, int | np.integer) or depth < 0):
        raise ValueError(f"depth must be a number of levels, 0 or more, or None; got {depth!r}.")
    shape = _check_shape(estimator, _as_image_shape(estimator, input_shape))
    layout = _layout_for(estimator, shape)
    is_fitted = estimator.__sklearn_is_fitted__()
    module = estimator.net_.module_ if is_fitted else _unfitted_module(estimator, shape)
    network_shape = estimator._factory().input_shape(layout)
    summary = summarize_network(module, network_shape, shape, depth=depth, by_pixel=estimator._takes_any_size)
    if not estimator._has_channel_units:
        return summary
    return replace(summary, input_shape=(*shape[2:], shape[1]), place="entry")


def _as_image_shape(estimator: NetworkDenoiser, input_shape: Sequence[int] | None) -> Sequence[int] | None:
    """Return a shape of signals as that of images of height 1."""
    if not estimator._has_channel_units or not isinstance(input_shape, tuple | list):
        return input_shape
    if len(input_shape) not in (1, 2):
        return input_shape
    *channels, length = input_shape
    return (1, length, *[n for n in channels if n != 1])


def append_summary_html(estimator: NetworkDenoiser, diagram: str) -> str:
    """Append the folded summary of a fitted network to a diagram of scikit-learn."""
    if not estimator.__sklearn_is_fitted__():
        return diagram
    try:
        table = estimator.summary()._repr_html_()
    # A network of the user may raise anything; the diagram of its estimator must not fail with it.
    except Exception:
        return diagram
    # Diagrams of scikit-learn 1.7 and later are whole pages.
    end = "</body>" if diagram.endswith("</body>") else ""
    folded = (
        '<details class="sk-denoise-summary"><summary style="cursor: pointer">Network</summary>'
        f"{table}</details>"
    )
    return diagram.removesuffix(end) + folded + end


def _check_shape(estimator: NetworkDenoiser, input_shape: Sequence[int] | None) -> tuple[int, ...]:
    """Check the shape of one sample against that of the fit, and return it."""
    is_fitted, name = estimator.__sklearn_is_fitted__(), type(estimator).__name__
    if input_shape is None:
        if not is_fitted:
            raise NotFittedError(
                f"This {name} is not fitted, so pass the shape of one sample, for which its network is "
                f"built: summary(input_shape={_example_shapes(estimator)})."
            )
        return _fitted_shape(estimator)
    # numpy's test takes its own integers, and refuses True.
    is_shape = isinstance(input_shape, tuple | list) and all(
        np.issubdtype(type(side), np.integer) and side >= 1 for side in input_shape
    )
    if not is_shape or not 1 <= len(input_shape) <= 3:
        raise ValueError(
            f"input_shape must be the shape of one sample, {_example_shapes(estimator)}; got {input_shape!r}."
        )
    shape = tuple(int(side) for side in input_shape)
    if is_fitted and estimator._takes_any_size:
        fitted_shape = _fitted_shape(estimator)
        channels, fitted_channels = (
            _layout_for(estimator, s).network_shape[0] for s in (shape, fitted_shape)
        )
        if channels != fitted_channels and estimator._has_channel_units:
            raise ValueError(
                f"This {name} is fitted to signals with {fitted_channels} channels, and input_shape is "
                f"(length,) or (channels, length), with {channels} channels here."
            )
        if channels != fitted_channels:
            raise ValueError(
                f"This {name} is fitted to images with {fitted_channels} channels, so its network does not "
                f"take {shape}, with {channels}."
            )
    elif is_fitted and shape != estimator._sample_shape_:
        raise ValueError(
            f"This {name} is fitted to samples of shape {estimator._sample_shape_}, so its network does not "
            f"take {shape}. clone(estimator).summary({shape}) shows the network for that shape."
        )
    return shape


def _example_shapes(estimator: NetworkDenoiser) -> str:
    """Return shapes of samples in words."""
    if estimator._has_channel_units:
        return "(1000,), or (12, 1000) for signals of 12 channels"
    return "(28, 28) or (28, 28, 3), or (784,) for rows"


def _fitted_shape(estimator: NetworkDenoiser) -> tuple[int, ...]:
    """Return the shape of a sample of the fit; of a patch, for images of any size."""
    shape: tuple[int, ...] = estimator._sample_shape_
    if estimator._takes_any_size:
        shape = estimator.patch_shape_
    return shape


def _layout_for(estimator: NetworkDenoiser, shape: tuple[int, ...]) -> SampleLayout:
    """Return the layout of a sample of this shape before the network."""
    factory = estimator._factory()
    if not estimator._takes_any_size:
        return factory.layout(shape)
    # A row is a flattened image, or a signal, which is an image of height 1.
    if len(shape) == 1:
        shape = factory.layout(shape).image_shape or shape
    return factory.batch_layout(shape, shape)


def _unfitted_module(estimator: NetworkDenoiser, shape: tuple[int, ...]) -> nn.Module:
    """Return the network that a fit to samples of this shape would train."""
    estimator._check_parameters()
    if estimator._takes_any_size:
        # A patch is enough: the network is tried on it once it is built.
        height, width, *channels = _layout_for(estimator, shape).sample_shape
        max_height, max_width = estimator._patch_sides()
        shape = (min(height, max_height), min(width, max_width), *channels)
    on_unit_interval = check_loss(estimator.loss).on_unit_interval
    # The summary is the same for any seed, and drawing one would advance a RandomState of the user.
    return estimator._factory().build(_layout_for(estimator, shape), on_unit_interval, root=0)


@dataclass(frozen=True)
class LayerSummary:
    """A layer of a network, or a block of layers.

    Attributes
    ----------
    name : str
        Path in the network, such as "encoder.0".
    kind : str
        Name of the class.
    output_shape : tuple of int or None
        Shape of the output for one sample, with channels before height and width; of the first tensor, if
        there are several. None for a layer that is not called.
    n_parameters, n_trainable : int
        Number of parameters, and of trainable ones. Shared parameters count in the first of their layers.
    macs : int
        Multiply-accumulates for one sample, in all calls.
    n_calls : int
        Number of calls for one sample.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    n_parameters: int
    n_trainable: int
    macs: int
    n_calls: int


@dataclass(frozen=True, repr=False)
class NetworkSummary:
    """Summary of a network as a table, the result of ``estimator.summary()``.

    It prints as a table, and notebooks show it as one.

    Attributes
    ----------
    network : str
        Class of the network.
    input_shape : tuple of int
        Shape of the sample, as in the X of the estimator.
    layers : tuple of LayerSummary
        The rows: ``name``, ``kind``, ``output_shape``, ``n_parameters``, ``n_trainable``, ``macs`` and
        ``n_calls`` of each layer. Parameters and MACs of all rows add up to those of the network.
    n_parameters : int
        Number of parameters of the network; shared parameters count once.
    n_trainable : int
        Number of trainable parameters.
    n_bytes : int
        Size in memory of parameters and buffers, in the precision they are stored in: float32.
    macs : int
        Multiply-accumulates for one sample, in convolutions, linear layers, attention and other matrix
        products. Operations on single entries, such as activations and normalization, do not count.
    macs_per_pixel : float or None
        Multiply-accumulates for each pixel, for networks for images of any size.
    receptive_radius : int, "all" or None
        Distance in pixels to the farthest input pixel that an output pixel depends on, rounded up to a
        multiple of the stride; "all" with attention to the whole image. None if the network lacks it.
    stride : int or None
        Number of pixels that sides of tiles are multiples of. None if the network lacks it.
    place : {"pixel", "entry"}
        Place of a sample in the text: entries are those of signals.

    Examples
    --------
    >>> from sk_denoise import DenoisingAutoencoder, DenseNetwork
    >>> dae = DenoisingAutoencoder(DenseNetwork((32,), activation="relu"), latent_dim=8)
    >>> summary = dae.summary(input_shape=(64,))
    >>> summary
    DenseAutoencoder, for one sample of shape (64,)
    <BLANKLINE>
    layer      kind           output  parameters   MACs
    ---------------------------------------------------
    encoder.0  Flatten        (64,)            0      0
    encoder.1  Linear         (32,)        2,080  2,048
    encoder.2  ReLU           (32,)            0      0
    encoder.3  Linear         (8,)           264    256
    encoder.4  Identity       (8,)             0      0
    decoder.0  Linear         (32,)          288    256
    decoder.1  ReLU           (32,)            0      0
    decoder.2  Linear         (64,)        2,112  2,048
    decoder.3  Unflatten      (64,)            0      0
    decoder.4  AtLeastSingle  (64,)            0      0
    decoder.5  Identity       (64,)            0      0
    ---------------------------------------------------
    parameters: 4,744, all trainable
    size in memory: 18.5 KiB
    MACs: 4,608 for one sample
    >>> summary.macs, summary.layers[1].output_shape
    (4608, (32,))
    >>> [(layer.name, layer.n_parameters) for layer in dae.summary((64,), depth=1).layers]
    [('encoder', 2344), ('decoder', 2400)]
    """

    network: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerSummary, ...]
    n_parameters: int
    n_trainable: int
    n_bytes: int
    macs: int
    macs_per_pixel: float | None
    receptive_radius: int | Literal["all"] | None
    stride: int | None
    place: Literal["pixel", "entry"] = "pixel"

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame.

        Returns
        -------
        DataFrame
            A row for each of ``layers``, a column for each of its attributes.

        Raises
        ------
        MissingExtraError
            Without pandas: ``pip install "sk-denoise[compare]"``.
        """
        require_extra("to_frame", "compare")
        import pandas as pd

        return pd.DataFrame([asdict(layer) for layer in self.layers])

    def __repr__(self) -> str:
        rows = [[name, *(_cut(cell, MAX_CELL) for cell in cells)] for name, *cells in self._cells()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        # Paths of deep networks get the rest of the line.
        widths[0] = min(widths[0], MAX_LINE - sum(2 + width for width in widths[1:]))
        head, *lines = (
            "  ".join(
                _cut(cell, width).ljust(width) if left else cell.rjust(width)
                for cell, width, left in zip(cells, widths, _LEFT, strict=False)
            ).rstrip()
            for cells in rows
        )
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        totals = [f"{name}: {text}" for name, text in self._totals()]
        return "\n".join([self._title(), "", head, rule, *lines, rule, *totals])

    def _repr_html_(self) -> str:
        head, *body = self._cells()
        rows = [_html_row("th", head, ' scope="col"'), *(_html_row("td", cells) for cells in body)]
        totals = "".join(
            f"<li>{html.escape(name)}: {html.escape(text)}</li>" for name, text in self._totals()
        )
        return (
            f"<p>{html.escape(self._title())}</p>"
            # On a narrow page the table scrolls by itself.
            f'<div style="overflow-x: auto"><table style="border-collapse: collapse; color: inherit">'
            f"<thead>{rows[0]}</thead><tbody>{''.join(rows[1:])}</tbody></table></div>"
            f"<ul>{totals}</ul>"
        )

    def _title(self) -> str:
        return f"{self.network}, for one sample of shape {self.input_shape}"

    def _cells(self) -> list[list[str]]:
        """Return the header and the rows as text."""
        # The column of calls is shown only if a layer is called again.
        has_calls = any(layer.n_calls > 1 for layer in self.layers)
        header = ["layer", "kind", "output", "parameters", "MACs"] + ["calls"] * has_calls
        rows = [
            [
                *(layer.name or "(network)", layer.kind),
                _format_output(layer),
                *(f"{layer.n_parameters:,}", f"{layer.macs:,}"),
                *[str(layer.n_calls)] * has_calls,
            ]
            for layer in self.layers
        ]
        return [header, *rows]

    def _totals(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the text of each figure of the whole network."""
        trainable = "all" if self.n_trainable == self.n_parameters else f"{self.n_trainable:,}"
        yield "parameters", f"{self.n_parameters:,}, {trainable} trainable"
        yield "size in memory", _format_bytes(self.n_bytes)
        per_pixel = ""
        if self.macs_per_pixel is not None:
            per_pixel = f", {self.macs_per_pixel:,.0f} for each {self.place}"
        yield "MACs", f"{self.macs:,} for one sample{per_pixel}"
        if self.receptive_radius is not None:
            radius = self.receptive_radius
            whole, places = ("signal", "entries") if self.place == "entry" else ("image", "pixels")
            yield "receptive radius", f"the whole {whole}" if radius == "all" else f"{radius} {places}"
        if self.stride is not None:
            yield "stride", str(self.stride)


def summarize_network(
    module: nn.Module,
    network_shape: tuple[int, ...],
    sample_shape: tuple[int, ...],
    *,
    depth: int | None = None,
    by_pixel: bool = False,
) -> NetworkSummary:
    """Return the summary of a network for one sample.

    Parameters
    ----------
    module : Module
        The network.
    network_shape : tuple of int
        Shape of the sample before the network, ``(channels, height, width)`` with ``by_pixel``.
    sample_shape : tuple of int
        Shape of the sample in the X of the estimator.
    depth : int, optional
        Number of levels of nested modules to open: 1 shows the direct parts of the network. By default the
        layers are shown, or the blocks that hold them if there are more than 64 layers.
    by_pixel : bool, default=False
        Whether to compute MACs for each pixel.
    """
    tree = _build_tree("", module, usage_by_layer(module, network_shape), set())
    macs = sum(part.macs for part in tree.all())
    radius = getattr(module, "receptive_radius", None)
    return NetworkSummary(
        network=type(module).__name__,
        input_shape=sample_shape,
        layers=tuple(_select_rows(tree, depth)),
        n_parameters=sum(part.n_parameters for part in tree.all()),
        n_trainable=sum(part.n_trainable for part in tree.all()),
        n_bytes=sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers())),
        macs=macs,
        macs_per_pixel=macs / math.prod(network_shape[1:]) if by_pixel else None,
        # None is attention to the whole image; a network without the attribute has an unknown radius.
        receptive_radius="all" if radius is None and hasattr(module, "receptive_radius") else radius,
        stride=getattr(module, "stride", None),
    )


@dataclass(frozen=True)
class _Part:
    """A module without its parts in numbers, and its parts.

    Attributes
    ----------
    name : str
        Path in the network.
    kind : str
        Name of the class.
    usage : Usage
        Calls, output shape and operations.
    n_parameters, n_trainable : int
        Number of parameters outside of the parts.
    parts : tuple of _Part
        The modules in it.
    """

    name: str
    kind: str
    usage: Usage
    n_parameters: int
    n_trainable: int
    parts: tuple[_Part, ...]

    @property
    def macs(self) -> int:
        # A multiply-accumulate is two operations.
        return self.usage.own_flops // 2

    def all(self) -> Iterator[_Part]:
        """Yield the module and all modules in it, at any depth."""
        yield self
        for part in self.parts:
            yield from part.all()

    def row(self, *, with_parts: bool) -> LayerSummary:
        """Return the module as a row, with or without the modules in it."""
        parts = list(self.all()) if with_parts else [self]
        return LayerSummary(
            self.name,
            self.kind,
            self.usage.output_shape,
            sum(part.n_parameters for part in parts),
            sum(part.n_trainable for part in parts),
            sum(part.macs for part in parts),
            self.usage.calls,
        )


def _build_tree(name: str, module: nn.Module, usages: dict[str, Usage], visited: set[int]) -> _Part:
    """Return the tree of modules and parameters.

    Shared modules and parameters appear once, so that the rows add up to the network.
    """
    visited.add(id(module))
    weights = [weight for weight in module.parameters(recurse=False) if id(weight) not in visited]
    visited.update(map(id, weights))
    parts = tuple(
        _build_tree(f"{name}.{key}" if name else key, child, usages, visited)
        for key, child in module.named_children()
        if id(child) not in visited
    )
    n_trainable = sum(weight.numel() for weight in weights if weight.requires_grad)
    n_parameters = sum(weight.numel() for weight in weights)
    return _Part(name, type(module).__name__, usages[name], n_parameters, n_trainable, parts)


def _select_rows(tree: _Part, depth: int | None) -> list[LayerSummary]:
    """Return rows at a depth; by default at the largest depth with few enough rows."""
    if depth is not None:
        return list(_open_levels(tree, depth))
    max_depth = max(part.name.count(".") + 1 for part in tree.all())
    for depth in range(max_depth, 0, -1):
        rows = list(_open_levels(tree, depth))
        if len(rows) <= MAX_ROWS:
            break
    return rows


def _open_levels(part: _Part, depth: int) -> Iterator[LayerSummary]:
    """Yield the rows of a module opened to a depth; they add up to the module.

    A module that calls none of its parts is a layer. A module that is not called, such as a list of modules,
    is always opened and does not count as a level.
    """
    is_layer = not any(inner.usage.calls for inner in part.all() if inner is not part)
    if is_layer or (depth == 0 and part.usage.calls):
        yield part.row(with_parts=True)
        return
    if part.n_parameters or part.macs:
        yield part.row(with_parts=False)
    for inner in part.parts:
        yield from _open_levels(inner, depth - 1 if part.usage.calls else depth)


def _format_output(layer: LayerSummary) -> str:
    if layer.output_shape is not None:
        return str(layer.output_shape)
    return "no tensor" if layer.n_calls else "not called"


def _cut(text: str, max_length: int) -> str:
    """Cut the beginning of a long text, since the end of a path is its specific part."""
    return text if len(text) <= max_length else "…" + text[1 - max_length :]


def _format_bytes(n_bytes: int) -> str:
    if n_bytes < 1024:
        return f"{n_bytes} bytes"
    size, units = n_bytes / 1024, ["KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.1f} {units[0]}"


def _html_row(tag: str, cells: list[str], attributes: str = "") -> str:
    """Return a row of a table, in the colours of the page, light or dark."""
    style = "border-bottom: 1px solid rgba(128, 128, 128, 0.4); padding: 0.1em 0.6em; text-align:"
    marked = (
        f'<{tag}{attributes} style="{style} {side}">{html.escape(cell)}</{tag}>'
        for cell, side in zip(cells, ("left" if left else "right" for left in _LEFT), strict=False)
    )
    return f"<tr>{''.join(marked)}</tr>"
