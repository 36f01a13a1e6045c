"""The trained net of an estimator: its weights, its optimizer and its history.

A file holds no network, but what the estimator builds one from, and the weights. Loading builds the network
anew, first without memory for its weights, to compare all sizes with those of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from sk_denoise._validation import specification_key, warn_user
from sk_denoise.estimators._image_denoiser import ImageDenoiser
from sk_denoise.estimators._network_denoiser import NetworkDenoiser
from sk_denoise.estimators._preparation import ImageLayout, SampleLayout
from sk_denoise.persistence._checks import check_fit
from sk_denoise.persistence._limits import check_cost, check_depth, check_sizes
from sk_denoise.persistence._optimizers import check_arguments, restore_optimizer
from sk_denoise.persistence._rules import is_number
from sk_denoise.persistence._shadow import shadow_of
from sk_denoise.persistence._tree import Codec, Decoder, Encoder, Node, fields_of
from sk_denoise.persistence._values import stored_tensor, tensor_of
from sk_denoise.training import build_criterion, check_loss, create_net, resolve_device
from sk_denoise.training._trainer import Net

__all__ = ["DESIGN", "NET", "rebuilt", "written_design", "written_noise_name"]

DESIGN: str = "_design_"
UNIT = "a loss on [0, 1]"
MOST_TENSORS = 2000  # that count as a reason to build many layers
MOST_EPOCHS = 10**6
MOST_COLUMNS = 1000
# Columns of a history that the library writes and reads; callbacks may write others
FIGURES = {"epoch", "train_loss", "valid_loss", "train_psnr", "valid_psnr", "lr", "dur"}
SMALL = 8  # pixels of a side of an image that a network for any size is tried with


# How it is written --------------------------------------------------------------------------------------


def written_design(estimator: NetworkDenoiser) -> dict[str, Any]:
    """Return the design of the network, with None for what the parameters still say.

    Names in it are made by pickling, which differs between versions, so that they are made anew.
    """
    fitted = estimator._design_
    now = estimator._design(_on_unit_interval(estimator))
    changed = [name for name in fitted if fitted[name] != now[name] and name != "optimizer"]
    if changed:
        raise ValueError(
            f"{' and '.join(changed)} changed since {type(estimator).__name__} was fitted, and a file holds "
            "parameters and weights that belong together. Change it back, or fit anew."
        )
    return {name: None if fitted[name] == now[name] and name != UNIT else fitted[name] for name in fitted}


def written_noise_name(estimator: NetworkDenoiser) -> str | None:
    """Return the name of the noise of the fit, or None for that of the parameter."""
    name: str = estimator._noise_name_
    return None if name == specification_key(estimator.noise) else name


def _on_unit_interval(estimator: NetworkDenoiser) -> bool:
    """Return whether the network answers in [0, 1]; see ``AutoencoderFactory.needs_unit_interval``."""
    activation = getattr(estimator._factory().network, "output_activation", None)
    on_unit_interval: bool = check_loss(estimator.loss).on_unit_interval or activation == "sigmoid"
    return on_unit_interval


def _write_net(net: Net, encoder: Encoder) -> Node:
    state = net.optimizer_.state_dict()
    weights = net.module_.state_dict()
    return {
        "weights": {name: encoder.put(stored_tensor(weight), name) for name, weight in weights.items()},
        "optimizer": encoder.encode(net.optimizer, "optimizer"),
        "arguments": encoder.encode(_arguments_of(net), "arguments"),
        "groups": encoder.encode(state["param_groups"], "groups"),
        "state": encoder.encode(state["state"], "optimizer"),
        "history": [_write_rows(rows, encoder) for rows in _alike(net.history)],
        "batch_size": encoder.encode(net.batch_size, "batch_size"),
    }


def _arguments_of(net: Net) -> dict[str, Any]:
    start = "optimizer__"
    return {name.removeprefix(start): value for name, value in vars(net).items() if name.startswith(start)}


def _alike(history: Any) -> list[list[dict[str, Any]]]:
    """Return the rows of a history in runs of those with the same names."""
    return [list(rows) for _, rows in groupby(list(history), key=tuple)]


def _write_rows(rows: list[dict[str, Any]], encoder: Encoder) -> Node:
    with encoder.at("history"):
        return {
            "epochs": len(rows),
            "columns": {name: encoder.encode([row[name] for row in rows], name) for name in rows[0]},
        }


# How it is read -----------------------------------------------------------------------------------------


@dataclass
class SavedNet:
    """A net as a file tells it, before it is built."""

    weights: dict[str, Tensor]
    optimizer: type[torch.optim.Optimizer]
    arguments: dict[str, Any]
    groups: list[Any]
    state: dict[Any, Any]
    history: list[dict[str, Any]]
    batch_size: int


def _net_of(node: Node, decoder: Decoder) -> SavedNet:
    weights, optimizer, arguments, groups, state, history, batch_size = fields_of(
        node,
        weights=dict,
        optimizer=dict,
        arguments=dict,
        groups=list,
        state=dict,
        history=list,
        batch_size=int,
    )
    return SavedNet(
        weights={name: tensor_of(decoder.take(place)) for name, place in weights.items()},
        optimizer=decoder.decode(optimizer),
        arguments=decoder.decode(arguments),
        groups=decoder.decode(groups),
        state=decoder.decode(state),
        history=_history_of(history, decoder),
        batch_size=batch_size,
    )


def _history_of(nodes: list[Node], decoder: Decoder) -> list[dict[str, Any]]:
    """Return the rows of a history, each of which takes far more memory than the file has for it."""
    epochs = sum(fields_of(node, epochs=int, columns=dict)[0] for node in nodes)
    if epochs > MOST_EPOCHS:
        raise ValueError(f"its history claims {epochs!r:.40} epochs, and {MOST_EPOCHS} are the most")
    return [row for node in nodes for row in _rows_of(node, decoder)]


def _rows_of(node: Node, decoder: Decoder) -> list[dict[str, Any]]:
    epochs, nodes = fields_of(node, epochs=int, columns=dict)
    if epochs < 1:
        raise ValueError("the history has no epochs where it should")
    if len(nodes) > MOST_COLUMNS:
        raise ValueError(f"a history of {len(nodes)} columns is none")
    columns = decoder.items(nodes)
    if any(not isinstance(column, list) or len(column) != epochs for column in columns.values()):
        raise ValueError(f"the history of {epochs} epochs has columns of other lengths")
    if not all(map(is_number, columns.get("train_loss", [None]))):
        raise ValueError("the history has epochs without a number as train_loss")
    for name in FIGURES & columns.keys():
        if not all(isinstance(entry, int | float) for entry in columns[name]):
            raise ValueError(f"the history has a {name} that is no number")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


NET: Codec = Codec("net", lambda value: type(value) is Net, _write_net, _net_of)


def rebuilt(estimator: NetworkDenoiser, decoder: Decoder) -> None:
    """Give an estimator the net that a file tells of, and the names of its design."""
    saved: Any = estimator.net_
    if not isinstance(saved, SavedNet):
        raise ValueError(f"net_ of {type(estimator).__name__} is no net")
    estimator._check_parameters()
    check_sizes(estimator, sum(weight.numel() for weight in saved.weights.values()))
    on_unit_interval = _settle_names(estimator)
    check_fit(estimator)
    if len(saved.history) != estimator.n_iter_:
        raise ValueError(f"its history has {len(saved.history)} epochs, and n_iter_ is {estimator.n_iter_}")
    layout = estimator._preparation_.layout
    tensors = min(sum(weight.numel() > 0 for weight in saved.weights.values()), MOST_TENSORS)
    check_depth(estimator, tensors)
    shadow, estimator._cost_ = shadow_of(estimator, layout, on_unit_interval, tensors)
    _compare(shadow, saved.weights)
    tried = _small(layout) if isinstance(estimator, ImageDenoiser) else layout
    cost = shadow_of(estimator, tried, on_unit_interval, tensors)[1]
    check_cost(type(estimator).__name__, cost, decoder.most_entries)
    module = estimator._factory().build(tried, on_unit_interval, estimator._root())
    module.load_state_dict(saved.weights)
    estimator.net_ = _net_with(estimator, module.eval(), saved, _device_for(estimator))


def _settle_names(estimator: NetworkDenoiser) -> bool:
    """Fill in the names that were written as those of parameters; return whether answers are in [0, 1]."""
    written: Any = vars(estimator).get(DESIGN)
    on_unit_interval = _on_unit_interval(estimator)
    now = estimator._design(on_unit_interval)
    fits = isinstance(written, dict) and written.keys() <= now.keys() and all(map(_is_kept, written.items()))
    if not fits or repr(written.get(UNIT)) != repr(on_unit_interval):
        raise ValueError("the design of the network is not that of the parameters")
    estimator._design_ = {name: now[name] if written.get(name) is None else written[name] for name in now}
    if vars(estimator).get("_noise_name_") is None:
        estimator._noise_name_ = specification_key(estimator.noise)
    return on_unit_interval


def _is_kept(item: tuple[str, Any]) -> bool:
    """Return whether a name of the design is that of a parameter, or one that may differ from it."""
    name, value = item
    return value is None or name == UNIT or (name == "optimizer" and type(value) is str)


def _small(layout: SampleLayout) -> SampleLayout:
    """Return the layout of small images, for a network that takes any size."""
    shape = (SMALL, SMALL, *layout.sample_shape[2:])
    return ImageLayout(shape, shape)


def _compare(shadow: nn.Module, weights: dict[str, Tensor]) -> None:
    """Refuse weights that are not those of the network."""
    wanted = {name: (weight.shape, weight.dtype) for name, weight in shadow.state_dict().items()}
    given = {name: (weight.shape, weight.dtype) for name, weight in weights.items()}
    if wanted != given:
        odd = min(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
        raise ValueError(
            f"the weights {odd[:60]!r} are {_described(given.get(odd))}, and the network that its parameters "
            f"describe has {_described(wanted.get(odd))} there"
        )
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise ValueError(f"the weights {name!r} are not finite")


def _described(weight: tuple[torch.Size, torch.dtype] | None) -> str:
    return "none" if weight is None else f"{tuple(weight[0])} of {weight[1]}"


def _net_with(estimator: NetworkDenoiser, module: nn.Module, saved: SavedNet, device: torch.device) -> Any:
    """Return a net that goes on where the saved one was."""
    criterion = build_criterion(estimator.loss, estimator._units_)
    check_arguments(saved.optimizer, saved.arguments)
    net = create_net(module, criterion, (saved.optimizer, saved.arguments), device)
    restore_optimizer(net.optimizer_, saved.arguments, saved.groups, saved.state)
    net.history.extend(saved.history)
    net.batch_size = saved.batch_size
    net.module_.eval()
    return net


def _device_for(estimator: NetworkDenoiser) -> torch.device:
    try:
        return resolve_device(estimator.device)
    except ValueError as error:
        warn_user(f"{error} The network was loaded on the CPU.")
        return torch.device("cpu")
