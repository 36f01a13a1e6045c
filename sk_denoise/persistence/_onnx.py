"""Export of estimators to ONNX, for programs without torch or Python."""

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

from sk_denoise._package import __version__, require_extra
from sk_denoise._validation import warn_user
from sk_denoise.estimators import DenoisingAutoencoder, ImageDenoiser, SignalDenoiser
from sk_denoise.io._atomic import replace_file, resolve_destination
from sk_denoise.persistence._files import GRAPH_SUFFIX, check_suffix
from sk_denoise.persistence._graphs import (
    AffineStep,
    ArrayModule,
    FlatImageModule,
    ImageModule,
    ScaledModule,
    SignalModule,
    combine_steps,
    iterate_steps,
)

__all__ = ["export_onnx"]

# Samples that the exporter follows; a batch of 1 or equal sides would look like constants.
TRIAL_BATCH, TRIAL_SIDES, TRIAL_LENGTH = 2, (24, 40), 72
OPEN_AXES, OPEN_AXES_OF_SIGNALS = ("n", "height", "width"), ("n", "length", "length")


def export_onnx(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Export a fitted denoiser to an ONNX file.

    Scaling, layout and margins are in the graph: its input and output are float32 samples in your unit, as
    ``transform`` takes and returns them. For a Pipeline the steps before the denoiser are in the graph too,
    and its output is that of the pipeline: denoised samples in the unit of the last scaler. The number of
    samples is open, and for an :class:`ImageDenoiser <sk_denoise.ImageDenoiser>` the height and width of
    images too, for a :class:`SignalDenoiser <sk_denoise.SignalDenoiser>` the length of signals.

    The graph has these inputs and outputs:

    - ``X``: samples of the shape seen in ``fit``, ``(n, n_features)`` or ``(n, height, width[, channels])``,
      in its unit. Signals are ``(n, length)``, or ``(n, channels, length)`` for several channels. Turn
      integers into float32 first, and divide 8-bit images by 255 for a network that learned from [0, 1].
    - ``sigma``: the noise level of each image in the unit of X, shape ``(n,)``, for an ``ImageDenoiser``
      with ``sigma="map"``. It is not estimated in the graph. In a Pipeline it has the unit of the samples
      before the denoiser, as in ``pipeline.predict(X, sigma=sigma)``.
    - ``denoised``, ``latent`` or ``activations``: the output, by ``output`` of the estimator.

    The metadata hold the estimator, versions and unit. The file appears complete or not at all.

    Parameters
    ----------
    estimator : DenoisingAutoencoder, ImageDenoiser, SignalDenoiser, or Pipeline that ends with one
        A fitted estimator. Its network may be your own, if torch can export it. Steps before the denoiser may
        be ``StandardScaler``, ``MinMaxScaler``, ``MaxAbsScaler`` and ``RobustScaler`` of scikit-learn,
        ``PixelScaler``, ``Centerer``, and noisers, which do nothing after the fit.
    path : path-like
        The file to write. The suffix is ".onnx" or any other one that is not of another format.

    Raises
    ------
    MissingExtraError
        Without onnx and onnxscript, which the extra ``onnx`` installs.
    TypeError
        For another estimator, or a step of a Pipeline that does more than to shift and scale; the message
        names it.
    ValueError
        If the network cannot be exported; the message names it. If the suffix is that of another format
        ("m.pt", "m.safetensors").
    FileNotFoundError, IsADirectoryError, PermissionError
        If nothing can be written there.

    See Also
    --------
    save : For Python, without rounding.

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
    steps, denoiser = _split_pipeline(estimator)
    affine_steps = combine_steps(steps)
    check_is_fitted(denoiser)
    target = resolve_destination(path)
    check_suffix(path, GRAPH_SUFFIX)
    recorruption = getattr(denoiser, "_recorruption_", None)
    if recorruption is not None and recorruption.n_copies:
        warn_user(
            f"predict averages {recorruption.n_copies} outputs for recorrupted inputs, and the graph gives "
            "the one output for its input. Fit with RecorruptObjective(n_copies=0) for equal numbers."
        )
    model = _export(denoiser, affine_steps).model_proto
    _name_axes(model.graph, OPEN_AXES_OF_SIGNALS if isinstance(denoiser, SignalDenoiser) else OPEN_AXES)
    metadata = _build_metadata(denoiser)
    if steps:
        metadata["steps"] = ", ".join(type(step).__name__ for _, step in steps)
    for name, text in metadata.items():
        model.metadata_props.add(key=name, value=text)
    replace_file(target, [model.SerializeToString()], durable=True)


def _split_pipeline(estimator: Any) -> tuple[list[tuple[str, Any]], DenoisingAutoencoder | ImageDenoiser]:
    """Return the steps before a denoiser and the denoiser."""
    # A pipeline of "passthrough" has no steps.
    *steps, (place, last) = list(iterate_steps(estimator)) or [("pipeline", estimator)]
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
        "export_onnx takes a fitted DenoisingAutoencoder, ImageDenoiser or SignalDenoiser, or a Pipeline "
        f"that ends with one, got {kind}, which has no network."
    )


def _export(estimator: DenoisingAutoencoder | ImageDenoiser, steps: list[AffineStep]) -> Any:
    """Return an estimator behind transformers as a program of torch's exporter."""
    graph, sample_shape, open_axes = _build_graph(estimator)
    if steps:
        graph = ScaledModule(steps, graph)
        n_numbers = max(max(step.center.size, step.gain.size) for step in steps)
        # Numbers for each entry fix the length of signals.
        if isinstance(estimator, SignalDenoiser) and n_numbers > 1:
            sample_shape, open_axes = (n_numbers,), (0,)
    inputs = {"X": torch.rand(TRIAL_BATCH, *sample_shape)}
    # A level within the range of the fit: the graph cuts those above it.
    if isinstance(estimator, ImageDenoiser) and estimator.noise_levels_ is not None:
        inputs["sigma"] = torch.full((TRIAL_BATCH,), float(estimator.noise_levels_[1]))
    shapes = [dict.fromkeys(open_axes if name == "X" else (0,), torch.export.Dim.DYNAMIC) for name in inputs]
    output = "denoised"
    if isinstance(estimator, DenoisingAutoencoder) and estimator.output != "reconstruction":
        output = estimator.output
    try:
        with _quiet_exporter(), torch.no_grad():
            return torch.onnx.export(
                graph.eval(),
                tuple(inputs.values()),
                dynamo=True,
                dynamic_shapes=tuple(shapes),
                input_names=list(inputs),
                output_names=[output],
                verbose=False,
            )
    # torch's exporter raises errors of many classes, public and private.
    except Exception as error:
        network = type(estimator.net_.module_)
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"The network {network.__module__}.{network.__qualname__} cannot be exported to ONNX: "
            f"{reason[0]:.300}"
        ) from error


def _build_graph(
    estimator: DenoisingAutoencoder | ImageDenoiser,
) -> tuple[nn.Module, tuple[int, ...], tuple[int, ...]]:
    """Return an estimator as a module, the shape of a trial sample, and the open axes."""
    shape: tuple[int, ...] = estimator._sample_shape_
    if isinstance(estimator, DenoisingAutoencoder):
        return ArrayModule(estimator), shape, (0,)
    if isinstance(estimator, SignalDenoiser):
        channels = (estimator.n_channels_,) if estimator.n_channels_ > 1 else ()
        return SignalModule(estimator), (*channels, TRIAL_LENGTH), (0, 1 + len(channels))
    if len(shape) == 1:
        return FlatImageModule(estimator), shape, (0,)
    return ImageModule(estimator), (*TRIAL_SIDES, *shape[2:]), (0, 1, 2)


def _build_metadata(estimator: DenoisingAutoencoder | ImageDenoiser) -> dict[str, str]:
    metadata = {
        "estimator": type(estimator).__name__,
        "sk_denoise": __version__,
        "torch": torch.__version__,
        "network": repr(estimator.network),
        "data_range": repr(float(estimator.data_range_)),
    }
    if isinstance(estimator, ImageDenoiser) and not isinstance(estimator, SignalDenoiser):
        black = float(estimator._preparation_.input_scaler.center)
        metadata["black"], metadata["white"] = repr(black), repr(black + float(estimator.data_range_))
        if estimator.noise_levels_ is not None:
            metadata["noise_levels"] = " to ".join(repr(float(level)) for level in estimator.noise_levels_)
    return metadata


def _name_axes(graph: Any, names: tuple[str, ...]) -> None:
    """Give names to the open axes, in place of the exporter's symbols."""
    # Descriptions of inner values would keep the symbols.
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            if axis.dim_param:
                axis.dim_param = name


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide warnings and log messages of the exporter."""
    # They are about torchvision and the exporter's own code, which no user of the export can change.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
