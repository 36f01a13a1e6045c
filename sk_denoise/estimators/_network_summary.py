"""Summary of a network as a table: layers, shapes, parameters, operations."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.exceptions import NotFittedError
from torch import nn

from sk_denoise._extras import require_extra
from sk_denoise._resources import Usage, usage_by_layer
from sk_denoise.estimators._preparation import SampleLayout
from sk_denoise.training import check_loss

if TYPE_CHECKING:
    import pandas as pd

    from sk_denoise.estimators._network_denoiser import NetworkDenoiser

__all__ = ["LayerSummary", "NetworkSummary", "append_summary_html", "summarize_estimator"]


# With more layers, the blocks that hold them are shown.
MOST_ROWS = 64
# Characters of a line of text, and of the kind or the shape of a layer in it.
LINE, CELL = 100, 20


def summarize_estimator(
    estimator: NetworkDenoiser, input_shape: Sequence[int] | None, depth: int | None
) -> NetworkSummary:
    """Return the summary of an estimator's network; see ``NetworkDenoiser.summary``."""
    if depth is not None and (not isinstance(depth, int | np.integer) or depth < 0):
        raise ValueError(f"depth must be a number of levels, 0 or more, or None; got {depth!r}.")
    shape = _checked_shape(estimator, input_shape)
    layout = _layout_for(estimator, shape)
    is_fitted = estimator.__sklearn_is_fitted__()
    module = estimator.net_.module_ if is_fitted else _unfitted_module(estimator, shape)
    network_shape = estimator._factory().input_shape(layout)
    return summarize_network(module, network_shape, shape, depth=depth, by_pixel=estimator._takes_any_size)


def append_summary_html(estimator: NetworkDenoiser, diagram: str) -> str:
    """Return a diagram of scikit-learn with the folded summary of a fitted network."""
    if not estimator.__sklearn_is_fitted__():
        return diagram
    try:
        table = estimator.summary()._repr_html_()
    # A network of the user's may be odd; its estimator is shown all the same.
    except Exception:
        return diagram
    # Diagrams of scikit-learn 1.7 and later are whole pages.
    end = "</body>" if diagram.endswith("</body>") else ""
    folded = (
        '<details class="sk-denoise-summary"><summary style="cursor: pointer">Network</summary>'
        f"{table}</details>"
    )
    return diagram.removesuffix(end) + folded + end


def _checked_shape(estimator: NetworkDenoiser, input_shape: Sequence[int] | None) -> tuple[int, ...]:
    """Return the shape of one sample, checked against the shape in the fit."""
    is_fitted, name = estimator.__sklearn_is_fitted__(), type(estimator).__name__
    if input_shape is None:
        if not is_fitted:
            raise NotFittedError(
                f"This {name} is not fitted, so give the shape of the samples that its network is to be "
                "built for: summary(input_shape=(28, 28)), or (784,) for rows."
            )
        return _fitted_shape(estimator)
    whole = isinstance(input_shape, tuple | list) and all(
        np.issubdtype(type(side), np.integer) and side >= 1 for side in input_shape
    )
    if not whole or not 1 <= len(input_shape) <= 3:
        raise ValueError(
            "input_shape must be the shape of one sample, such as (784,), (28, 28) or (28, 28, 3); got "
            f"{input_shape!r}."
        )
    shape = tuple(int(side) for side in input_shape)
    if is_fitted and estimator._takes_any_size:
        fitted_shape = _fitted_shape(estimator)
        channels, fitted = (_layout_for(estimator, s).network_shape[0] for s in (shape, fitted_shape))
        if channels != fitted:
            raise ValueError(
                f"This {name} is fitted to images with {fitted} channels, so its network cannot be "
                f"given {shape}, with {channels}."
            )
    elif is_fitted and shape != estimator._sample_shape_:
        raise ValueError(
            f"This {name} is fitted to samples of shape {estimator._sample_shape_}, so its network cannot "
            f"be given {shape}. clone(estimator).summary({shape}) shows the network for that shape."
        )
    return shape


def _fitted_shape(estimator: NetworkDenoiser) -> tuple[int, ...]:
    """Return the shape of a sample in the fit, of a patch for images of any size."""
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
    # Any seed will do, and a RandomState stays where it is.
    return estimator._factory().build(_layout_for(estimator, shape), on_unit_interval, root=0)


@dataclass(frozen=True)
class LayerSummary:
    """A layer of a network, or a block of layers.

    Attributes
    ----------
    name : str
        Its path in the network, such as "encoder.0".
    kind : str
        Its class.
    output_shape : tuple of int or None
        Shape of what it gives for one sample, as the network sees it: channels come before height and width.
        Of the first tensor, where it gives several. None where it is not called.
    n_parameters, n_trainable : int
        Its parameters, and those of them that learn. What layers share counts where it is seen first.
    macs : int
        Its multiply-accumulates for one sample, of all of its calls.
    n_calls : int
        How often it is called for one sample.
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
    """Summary of a network, from ``DenoisingAutoencoder.summary`` or ``ImageDenoiser``.

    It prints as a table, and notebooks show it as one.

    Attributes
    ----------
    network : str
        Class of the network.
    input_shape : tuple of int
        Shape of the sample, as the estimator is given it.
    layers : tuple of LayerSummary
        The rows: ``name``, ``kind``, ``output_shape``, ``n_parameters``, ``n_trainable``, ``macs`` and
        ``n_calls`` of each layer. Parameters and MACs of all rows add up to those of the network.
    n_parameters : int
        Parameters of the network; what layers share counts once.
    n_trainable : int
        Those of them that learn.
    n_bytes : int
        Size in memory of parameters and buffers, in the precision they are stored in: float32.
    macs : int
        Multiply-accumulates for one sample: those of convolutions, linear layers, attention and other matrix
        products. What acts on each entry by itself, activations and normalization, is not counted.
    macs_per_pixel : float or None
        The same for each pixel, with networks for images of any size.
    receptive_radius : int, "all" or None
        Distance in pixels to the farthest input pixel that an output pixel depends on, rounded up to a
        multiple of the stride; "all" with attention to the whole image. None if the network lacks it.
    stride : int or None
        What sides of tiles are multiples of. None where the network does not tell.

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

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a table of pandas.

        Returns
        -------
        DataFrame
            A row for each of ``layers``, a column for each of its attributes.

        Raises
        ------
        MissingExtraError
            Without pandas, which the extra ``compare`` brings.
        """
        require_extra("to_frame", "compare")
        import pandas as pd

        return pd.DataFrame([asdict(layer) for layer in self.layers])

    def __repr__(self) -> str:
        rows = [[name, *(_cut(cell, CELL) for cell in cells)] for name, *cells in self._cells()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        widths[0] = min(widths[0], LINE - sum(2 + width for width in widths[1:]))
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
        rows = [_row("th", head, ' scope="col"'), *(_row("td", cells) for cells in body)]
        totals = "".join(
            f"<li>{html.escape(name)}: {html.escape(text)}</li>" for name, text in self._totals()
        )
        return (
            f"<p>{html.escape(self._title())}</p>"
            f'<div style="overflow-x: auto"><table style="border-collapse: collapse; color: inherit">'
            f"<thead>{rows[0]}</thead><tbody>{''.join(rows[1:])}</tbody></table></div>"
            f"<ul>{totals}</ul>"
        )

    def _title(self) -> str:
        return f"{self.network}, for one sample of shape {self.input_shape}"

    def _cells(self) -> list[list[str]]:
        """Return the header and the rows as text."""
        shared = any(layer.n_calls > 1 for layer in self.layers)
        header = ["layer", "kind", "output", "parameters", "MACs"] + ["calls"] * shared
        rows = [
            [
                *(layer.name or "(network)", layer.kind),
                _told(layer),
                *(f"{layer.n_parameters:,}", f"{layer.macs:,}"),
                *[str(layer.n_calls)] * shared,
            ]
            for layer in self.layers
        ]
        return [header, *rows]

    def _totals(self) -> Iterator[tuple[str, str]]:
        learns = "all" if self.n_trainable == self.n_parameters else f"{self.n_trainable:,}"
        yield "parameters", f"{self.n_parameters:,}, {learns} trainable"
        yield "size in memory", _size(self.n_bytes)
        by_pixel = "" if self.macs_per_pixel is None else f", {self.macs_per_pixel:,.0f} for each pixel"
        yield "MACs", f"{self.macs:,} for one sample{by_pixel}"
        if self.receptive_radius is not None:
            radius = self.receptive_radius
            yield "receptive radius", "the whole image" if radius == "all" else f"{radius} pixels"
        if self.stride is not None:
            yield "stride", str(self.stride)


_LEFT = (True, True, True, False, False, False)  # columns whose text stands to the left


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
        Shape of the sample as the network sees it, ``(channels, height, width)`` with ``by_pixel``.
    sample_shape : tuple of int
        Its shape as the estimator is given it.
    depth : int, optional
        How deep modules are opened: 1 shows those that the network itself is made of. By default the layers,
        or the blocks that hold them where they are more than 64.
    by_pixel : bool, default=False
        Whether to tell MACs for each pixel.
    """
    tree = _tree("", module, usage_by_layer(module, network_shape), set())
    macs = sum(part.macs for part in tree.all())
    radius = getattr(module, "receptive_radius", None)
    return NetworkSummary(
        network=type(module).__name__,
        input_shape=sample_shape,
        layers=tuple(_rows_of(tree, depth)),
        n_parameters=sum(part.n_parameters for part in tree.all()),
        n_trainable=sum(part.n_trainable for part in tree.all()),
        n_bytes=sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers())),
        macs=macs,
        macs_per_pixel=macs / math.prod(network_shape[1:]) if by_pixel else None,
        receptive_radius="all" if radius is None and hasattr(module, "receptive_radius") else radius,
        stride=getattr(module, "stride", None),
    )


@dataclass(frozen=True)
class _Part:
    """A module with its own layers' figures, and the modules in it."""

    name: str
    kind: str
    usage: Usage
    n_parameters: int
    n_trainable: int
    parts: tuple[_Part, ...]

    @property
    def macs(self) -> int:
        return self.usage.own_flops // 2

    def all(self) -> Iterator[_Part]:
        yield self
        for part in self.parts:
            yield from part.all()

    def row(self, *, alone: bool) -> LayerSummary:
        """Return the module as a row, with or without the modules in it."""
        parts = [self] if alone else list(self.all())
        return LayerSummary(
            self.name,
            self.kind,
            self.usage.output_shape,
            sum(part.n_parameters for part in parts),
            sum(part.n_trainable for part in parts),
            sum(part.macs for part in parts),
            self.usage.calls,
        )


def _tree(name: str, module: nn.Module, usages: dict[str, Usage], seen: set[int]) -> _Part:
    """Return modules and parameters as they are nested, each where it is seen first."""
    seen.add(id(module))
    own = [weight for weight in module.parameters(recurse=False) if id(weight) not in seen]
    seen.update(map(id, own))
    parts = tuple(
        _tree(f"{name}.{key}" if name else key, child, usages, seen)
        for key, child in module.named_children()
        if id(child) not in seen
    )
    n_trainable = sum(weight.numel() for weight in own if weight.requires_grad)
    n_parameters = sum(weight.numel() for weight in own)
    return _Part(name, type(module).__name__, usages[name], n_parameters, n_trainable, parts)


def _rows_of(tree: _Part, depth: int | None) -> list[LayerSummary]:
    if depth is not None:
        return list(_opened(tree, depth))
    deepest = max(part.name.count(".") + 1 for part in tree.all())
    for depth in range(deepest, 0, -1):
        rows = list(_opened(tree, depth))
        if len(rows) <= MOST_ROWS:
            break
    return rows


def _opened(part: _Part, depth: int) -> Iterator[LayerSummary]:
    """Yield the rows of a module that is opened so deep; all of them add up to the module.

    A module that calls none of those in it is a layer. One that is not called, a list of modules say, is
    nothing to look at: it is opened, and is no level of its own.
    """
    is_layer = not any(inner.usage.calls for inner in part.all() if inner is not part)
    if is_layer or (depth == 0 and part.usage.calls):
        yield part.row(alone=False)
        return
    if part.n_parameters or part.macs:
        yield part.row(alone=True)
    for inner in part.parts:
        yield from _opened(inner, depth - 1 if part.usage.calls else depth)


def _told(layer: LayerSummary) -> str:
    if layer.output_shape is not None:
        return str(layer.output_shape)
    return "no tensor" if layer.n_calls else "not called"


def _cut(text: str, most: int) -> str:
    """Cut the beginning of a text that is too long: the end of a path tells more."""
    return text if len(text) <= most else "…" + text[1 - most :]


def _size(n_bytes: int) -> str:
    if n_bytes < 1024:
        return f"{n_bytes} bytes"
    size, units = n_bytes / 1024, ["KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.1f} {units[0]}"


def _row(tag: str, cells: list[str], attributes: str = "") -> str:
    """Return a row of a table that takes its colours from the page, light or dark."""
    style = "border-bottom: 1px solid rgba(128, 128, 128, 0.4); padding: 0.1em 0.6em; text-align:"
    marked = (
        f'<{tag}{attributes} style="{style} {side}">{html.escape(cell)}</{tag}>'
        for cell, side in zip(cells, ("left" if left else "right" for left in _LEFT), strict=False)
    )
    return f"<tr>{''.join(marked)}</tr>"
