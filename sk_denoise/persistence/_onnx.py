"""Export of estimators to ONNX, for programs that know neither torch nor Python."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sk_denoise._extras import require_extra
from sk_denoise._version import __version__
from sk_denoise.estimators import DenoisingAutoencoder, ImageDenoiser
from sk_denoise.io._atomic import replace_file, resolve_destination
from sk_denoise.persistence._graphs import Images, Rows, Samples
from sk_denoise.persistence._names import GRAPH, check_name
from sk_denoise.persistence._scalers import Scaled, Shift, shifts_of, steps_of

__all__ = ["export_onnx"]

TRIED_BATCH, TRIED_SIDES = 2, (24, 40)  # of images that the exporter follows
OPEN_AXES = ("n", "height", "width")


def export_onnx(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Export a fitted denoiser to an ONNX file, from the user's unit to the user's unit.

    Scaling, layout and margins are in the graph: what goes in and comes out are float32 samples as
    ``transform`` takes and gives them. Of a Pipeline the steps before the denoiser are in it too, and the
    graph gives what the pipeline gives: denoised samples in the unit that the last scaler made. The number of
    samples is open, and for an :class:`ImageDenoiser <sk_denoise.ImageDenoiser>` the height and width of
    images too.

    The graph has these inputs and outputs:

    - ``X``: samples of the shape seen in ``fit``, ``(n, n_features)`` or ``(n, height, width[, channels])``,
      in its unit. Integers are turned into float32 before; 8-bit images for a network that learned from
      [0, 1] are divided by 255.
    - ``sigma``: the noise level of each image in the unit of X, shape ``(n,)``, for an ``ImageDenoiser``
      with ``sigma="map"``. It is not estimated in the graph. In a Pipeline it has the unit of what reaches
      the denoiser, as in ``pipeline.predict(X, sigma=sigma)``.
    - ``denoised``, ``latent`` or ``activations``: what comes out, by ``output`` of the estimator.

    Its metadata tell estimator, versions and unit. The file appears complete or not at all.

    Parameters
    ----------
    estimator : DenoisingAutoencoder, ImageDenoiser, or Pipeline that ends with one
        Fitted. A network of your own will do, where torch can export it. Steps before the denoiser may be
        ``StandardScaler``, ``MinMaxScaler``, ``MaxAbsScaler`` and ``RobustScaler`` of scikit-learn,
        ``PixelScaler``, ``Centerer``, and noisers, which do nothing after the fit.
    path : path-like
        The file to write, called ".onnx" at the end, or as you like, but not as files of another format are
        called.

    Raises
    ------
    MissingExtraError
        Without onnx and onnxscript, which the extra ``onnx`` brings.
    TypeError
        For another estimator, or a step of a Pipeline that does more than to shift and scale; the message
        names it.
    ValueError
        Where the network cannot be exported, which the message names, or where the name ends as those of
        another format do ("m.pt", "m.safetensors").
    FileNotFoundError, IsADirectoryError, PermissionError
        Where nothing can be written there.

    See Also
    --------
    save : For Python, without a loss.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder
    >>> from sk_denoise.persistence import export_onnx
    >>> X = load_digits().data / 16
    >>> dae = DenoisingAutoencoder(max_epochs=1, random_state=0).fit(X[:500])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(dae, Path(folder) / "digits.onnx")
    ...     (Path(folder) / "digits.onnx").stat().st_size > 100_000
    True
    """
    require_extra("export_onnx", "onnx")
    steps, denoiser = _denoiser_in(estimator)
    shifts = shifts_of(steps)
    check_is_fitted(denoiser)
    target = resolve_destination(path)
    check_name(path, GRAPH)
    model = _exported(denoiser, shifts).model_proto
    _name_axes(model.graph)
    metadata = _metadata_of(denoiser)
    if steps:
        metadata["steps"] = ", ".join(type(step).__name__ for _, step in steps)
    for name, text in metadata.items():
        model.metadata_props.add(key=name, value=text)
    replace_file(target, [model.SerializeToString()], durable=True)


def _denoiser_in(estimator: Any) -> tuple[list[tuple[str, Any]], DenoisingAutoencoder | ImageDenoiser]:
    """Return the steps before a denoiser, which there are in a pipeline, and the denoiser."""
    *steps, (place, last) = list(steps_of(estimator)) or [("pipeline", estimator)]
    if isinstance(last, DenoisingAutoencoder | ImageDenoiser):
        return steps, last
    kind = type(last).__name__
    ends = [place for place, step in steps if isinstance(step, DenoisingAutoencoder | ImageDenoiser)]
    if ends:
        raise TypeError(
            f"export_onnx takes pipelines that end with a denoiser, and {place} is a {kind}. Export the "
            f"steps up to {ends[-1]}, and give {place} the output of the graph."
        )
    raise TypeError(
        "export_onnx takes a fitted DenoisingAutoencoder or ImageDenoiser, or a Pipeline that ends with one, "
        f"got {kind}, which has no network."
    )


def _exported(estimator: DenoisingAutoencoder | ImageDenoiser, shifts: list[Shift]) -> Any:
    """Return what torch's exporter makes of an estimator behind transformers."""
    graph, sample_shape, open_axes = _graph_of(estimator)
    if shifts:
        graph = Scaled(shifts, graph)
    inputs = {"X": torch.rand(TRIED_BATCH, *sample_shape)}
    if isinstance(estimator, ImageDenoiser) and estimator.noise_levels_ is not None:
        inputs["sigma"] = torch.full((TRIED_BATCH,), float(estimator.noise_levels_[1]))
    shapes = [dict.fromkeys(open_axes if name == "X" else (0,), torch.export.Dim.DYNAMIC) for name in inputs]
    output = "denoised"
    if isinstance(estimator, DenoisingAutoencoder) and estimator.output != "reconstruction":
        output = estimator.output
    try:
        with _quietly(), torch.no_grad():
            return torch.onnx.export(
                graph.eval(),
                tuple(inputs.values()),
                dynamo=True,
                dynamic_shapes=tuple(shapes),
                input_names=list(inputs),
                output_names=[output],
                verbose=False,
            )
    except Exception as error:  # torch's exporter raises whatever it likes
        network = type(estimator.net_.module_)
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"The network {network.__module__}.{network.__qualname__} cannot be exported to ONNX: "
            f"{reason[0]:.300}"
        ) from error


def _graph_of(
    estimator: DenoisingAutoencoder | ImageDenoiser,
) -> tuple[nn.Module, tuple[int, ...], tuple[int, ...]]:
    """Return an estimator as a module, the shape of a sample to try, and the axes that stay open."""
    shape: tuple[int, ...] = estimator._sample_shape_
    if isinstance(estimator, DenoisingAutoencoder):
        return Samples(estimator), shape, (0,)
    if len(shape) == 1:
        return Rows(estimator), shape, (0,)
    return Images(estimator), (*TRIED_SIDES, *shape[2:]), (0, 1, 2)


def _metadata_of(estimator: DenoisingAutoencoder | ImageDenoiser) -> dict[str, str]:
    metadata = {
        "estimator": type(estimator).__name__,
        "sk_denoise": __version__,
        "torch": torch.__version__,
        "network": repr(estimator.network),
        "data_range": repr(float(estimator.data_range_)),
    }
    if isinstance(estimator, ImageDenoiser):
        black = float(estimator._preparation_.input_scaler.center)
        metadata["black"], metadata["white"] = repr(black), repr(black + float(estimator.data_range_))
        if estimator.noise_levels_ is not None:
            metadata["noise_levels"] = " to ".join(repr(float(level)) for level in estimator.noise_levels_)
    return metadata


def _name_axes(graph: Any) -> None:
    """Give the axes that are open names to read, in place of the exporter's symbols."""
    del graph.value_info[:]  # which speak of the symbols
    for value in (*graph.input, *graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, OPEN_AXES, strict=False):
            if axis.dim_param:
                axis.dim_param = name


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep to ourselves what the exporter says of torchvision and of its own inner life."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
