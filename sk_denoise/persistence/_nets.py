"""The trained net of an estimator: its weights, its optimizer and its history.

A file holds no network, but the parameters that it is built from, and the weights. Loading builds the
network anew, first without memory for its weights, to compare all sizes with those of the file. Optimizers
are written in C++ in part, and write as far as a weight is long; so their state in a file must have the
shapes and types that the same optimizer makes for the same weights.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby
from typing import Any

import torch
from torch import Tensor, nn

from sk_denoise._schema import MAX_MAGNITUDE, check_fitted_state, fitted_schema, is_number
from sk_denoise._validation import specification_key, warn_user
from sk_denoise.estimators._image_denoiser import ImageDenoiser
from sk_denoise.estimators._network_denoiser import NetworkDenoiser
from sk_denoise.estimators._preparation import ImageLayout, SampleLayout
from sk_denoise.persistence._limits import build_without_memory, check_cost, check_depth, check_sizes
from sk_denoise.persistence._tree import (
    Codec,
    Decoder,
    Encoder,
    Node,
    to_stored_tensor,
    to_tensor,
    unpack_fields,
)
from sk_denoise.training import build_criterion, check_loss, create_net, resolve_device
from sk_denoise.training._trainer import Net

__all__ = ["DESIGN", "NET_CODECS", "rebuild_net", "to_saved_design", "to_saved_noise_name"]

DESIGN: str = "_design_"
# The name in a design that is a truth value, where others are texts
UNIT = "a loss on [0, 1]"
# Arrays in a file that allow for as many layers; each layer takes time to build.
MAX_TENSORS = 2000
MAX_EPOCHS = 10**6
MAX_COLUMNS = 1000
# Columns of a history that the library reads; callbacks may write others.
FIGURES = {"epoch", "train_loss", "valid_loss", "train_psnr", "valid_psnr", "lr", "dur"}
# Pixels on a side of the images with which a network for any size is built
TRIAL_SIDE = 8
# Settings of optimizers that size their loops and buffers; no schedule changes them.
FIXED_SETTINGS = {"max_iter", "max_eval", "history_size", "ns_steps"}
LBFGS_PARTS = {"func_evals", "n_iter", "t", "prev_loss", "d", "H_diag", "prev_flat_grad"}
LBFGS_LISTS = {"old_dirs", "old_stps", "ro", "al"}
# Entries of a setting that is a tuple, such as betas
MAX_PARTS = 8


# Writing ------------------------------------------------------------------------------------------------


def to_saved_design(estimator: NetworkDenoiser) -> dict[str, Any]:
    """Return the design of a network, with None for entries that parameters give."""
    # The names in a design come from pickles, which differ between versions: loading makes them anew.
    fitted = estimator._design_
    current = estimator._design(_is_on_unit_interval(estimator))
    changed = [name for name in fitted if fitted[name] != current[name] and name != "optimizer"]
    if changed:
        raise ValueError(
            f"{' and '.join(changed)} changed since {type(estimator).__name__} was fitted, and a file holds "
            "parameters and weights that belong together. Change it back, or fit anew."
        )
    return {name: None if fitted[name] == current[name] and name != UNIT else fitted[name] for name in fitted}


def to_saved_noise_name(estimator: NetworkDenoiser) -> str | None:
    """Return the name of the noise of the fit, or None for that of the parameter."""
    name: str = estimator._noise_name_
    return None if name == specification_key(estimator.noise) else name


def _is_on_unit_interval(estimator: NetworkDenoiser) -> bool:
    """Return whether the output of the network lies in [0, 1]."""
    # As AutoencoderFactory.needs_unit_interval decides, which has the training data as well.
    activation = getattr(estimator._factory().network, "output_activation", None)
    on_unit_interval: bool = check_loss(estimator.loss).on_unit_interval or activation == "sigmoid"
    return on_unit_interval


def _encode_net(net: Net, encoder: Encoder) -> Node:
    state = net.optimizer_.state_dict()
    weights = net.module_.state_dict()
    prefix = "optimizer__"
    arguments = {n.removeprefix(prefix): value for n, value in vars(net).items() if n.startswith(prefix)}
    # Epochs with the same columns are written together, as one array for each column.
    runs = [list(epochs) for _, epochs in groupby(list(net.history), key=tuple)]
    return {
        "weights": {name: encoder.put(to_stored_tensor(weight), name) for name, weight in weights.items()},
        "optimizer": encoder.encode(net.optimizer, "optimizer"),
        "arguments": encoder.encode(arguments, "arguments"),
        "groups": encoder.encode(state["param_groups"], "groups"),
        "state": encoder.encode(state["state"], "optimizer"),
        "history": [_encode_epochs(epochs, encoder) for epochs in runs],
        "batch_size": encoder.encode(net.batch_size, "batch_size"),
    }


def _encode_epochs(epochs: list[dict[str, Any]], encoder: Encoder) -> Node:
    with encoder.at("history"):
        return {
            "epochs": len(epochs),
            "columns": {name: encoder.encode([epoch[name] for epoch in epochs], name) for name in epochs[0]},
        }


# Reading ------------------------------------------------------------------------------------------------


@dataclass
class SavedNet:
    """The parts of a net in a file, before it is built."""

    weights: dict[str, Tensor]
    optimizer: type[torch.optim.Optimizer]
    arguments: dict[str, Any]
    groups: list[Any]
    state: dict[Any, Any]
    history: list[dict[str, Any]]
    batch_size: int


def _decode_net(node: Node, decoder: Decoder) -> SavedNet:
    weights, optimizer, arguments, groups, state, history, batch_size = unpack_fields(
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
        weights={name: to_tensor(decoder.take(place)) for name, place in weights.items()},
        optimizer=decoder.decode(optimizer),
        arguments=decoder.decode(arguments),
        groups=decoder.decode(groups),
        state=decoder.decode(state),
        history=_decode_history(history, decoder),
        batch_size=batch_size,
    )


def _decode_history(nodes: list[Node], decoder: Decoder) -> list[dict[str, Any]]:
    # An epoch is a dict, which takes far more memory than its numbers in the file.
    n_epochs = sum(unpack_fields(node, epochs=int, columns=dict)[0] for node in nodes)
    if n_epochs > MAX_EPOCHS:
        raise ValueError(f"its history claims {n_epochs!r:.40} epochs, and {MAX_EPOCHS} are the most")
    return [epoch for node in nodes for epoch in _decode_epochs(node, decoder)]


def _decode_epochs(node: Node, decoder: Decoder) -> list[dict[str, Any]]:
    n_epochs, nodes = unpack_fields(node, epochs=int, columns=dict)
    if n_epochs < 1:
        raise ValueError("the history has no epochs where it should")
    if len(nodes) > MAX_COLUMNS:
        raise ValueError(f"its history claims {len(nodes)} columns, and {MAX_COLUMNS} are the most")
    columns = decoder.items(nodes)
    if any(not isinstance(column, list) or len(column) != n_epochs for column in columns.values()):
        raise ValueError(f"the history of {n_epochs} epochs has columns of other lengths")
    if not all(map(is_number, columns.get("train_loss", [None]))):
        raise ValueError("the history has epochs without a number as train_loss")
    for name in FIGURES & columns.keys():
        if not all(isinstance(entry, int | float) for entry in columns[name]):
            raise ValueError(f"the history has a {name} that is no number")
    return [dict(zip(columns, entries, strict=True)) for entries in zip(*columns.values(), strict=True)]


def rebuild_net(estimator: NetworkDenoiser, decoder: Decoder) -> None:
    """Build the net of an estimator from the parts in a file."""
    saved: Any = estimator.net_
    if not isinstance(saved, SavedNet):
        raise ValueError(f"net_ of {type(estimator).__name__} is no net")
    estimator._check_parameters()
    check_sizes(estimator, sum(weight.numel() for weight in saved.weights.values()))
    on_unit_interval = _restore_names(estimator)
    check_fitted_state(estimator, fitted_schema(type(estimator)))
    if len(saved.history) != estimator.n_iter_:
        raise ValueError(f"its history has {len(saved.history)} epochs, and n_iter_ is {estimator.n_iter_}")
    layout = estimator._preparation_.layout
    # An array without entries allows for no layer: a file may hold any number of them.
    tensors = min(sum(weight.numel() > 0 for weight in saved.weights.values()), MAX_TENSORS)
    check_depth(estimator, tensors)
    empty, estimator._cost_ = build_without_memory(estimator, layout, on_unit_interval, tensors)
    _check_weights(empty, saved.weights)
    # The weights of a network for any size do not depend on it, and small images take less time.
    trial = _shrink(layout) if isinstance(estimator, ImageDenoiser) else layout
    cost = build_without_memory(estimator, trial, on_unit_interval, tensors)[1]
    check_cost(type(estimator).__name__, cost, decoder.max_entries)
    module = estimator._factory().build(trial, on_unit_interval, estimator._root())
    module.load_state_dict(saved.weights)
    estimator.net_ = _create_net(estimator, module.eval(), saved)


def _restore_names(estimator: NetworkDenoiser) -> bool:
    """Fill in names from parameters; return whether the output lies in [0, 1]."""
    written: Any = vars(estimator).get(DESIGN)
    on_unit_interval = _is_on_unit_interval(estimator)
    current = estimator._design(on_unit_interval)
    fits = (
        isinstance(written, dict)
        and written.keys() <= current.keys()
        and all(map(_is_saved_name, written.items()))
    )
    if not fits or repr(written.get(UNIT)) != repr(on_unit_interval):
        raise ValueError("the design of the network is not that of the parameters")
    estimator._design_ = {
        name: current[name] if written.get(name) is None else written[name] for name in current
    }
    if vars(estimator).get("_noise_name_") is None:
        estimator._noise_name_ = specification_key(estimator.noise)
    return on_unit_interval


def _is_saved_name(item: tuple[str, Any]) -> bool:
    name, value = item
    # The optimizer alone may differ from its parameter, which counts from the next fit.
    return value is None or name == UNIT or (name == "optimizer" and type(value) is str)


def _shrink(layout: SampleLayout) -> SampleLayout:
    """Return the layout of small images with the channels of others."""
    shape = (TRIAL_SIDE, TRIAL_SIDE, *layout.sample_shape[2:])
    return ImageLayout(shape, shape)


def _check_weights(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Refuse weights that are not those of the network, or not finite."""
    expected = {name: (weight.shape, weight.dtype) for name, weight in module.state_dict().items()}
    given = {name: (weight.shape, weight.dtype) for name, weight in weights.items()}
    if expected != given:
        names = expected.keys() | given.keys()
        odd = min(name for name in names if expected.get(name) != given.get(name))
        raise ValueError(
            f"the weights {odd[:60]!r} are {_describe_shape(given.get(odd))}, and the network that its "
            f"parameters describe has {_describe_shape(expected.get(odd))} there"
        )
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise ValueError(f"the weights {name!r} are not finite")


def _describe_shape(weight: tuple[torch.Size, torch.dtype] | None) -> str:
    return "missing" if weight is None else f"{tuple(weight[0])} of {weight[1]}"


def _create_net(estimator: NetworkDenoiser, module: nn.Module, saved: SavedNet) -> Any:
    """Return a net in the state of the saved one."""
    try:
        device = resolve_device(estimator.device)
    except ValueError as error:
        warn_user(f"{error} The network was loaded on the CPU.")
        device = torch.device("cpu")
    criterion = build_criterion(estimator.loss, estimator._units_)
    _check_arguments(saved.optimizer, saved.arguments)
    net = create_net(module, criterion, (saved.optimizer, saved.arguments), device)
    _restore_optimizer(net.optimizer_, saved.arguments, saved.groups, saved.state)
    net.history.extend(saved.history)
    net.batch_size = saved.batch_size
    net.module_.eval()
    return net


# Optimizers: settings -----------------------------------------------------------------------------------


def _check_arguments(kind: Any, arguments: Any) -> None:
    """Refuse arguments that an optimizer does not take."""
    if not isinstance(kind, type) or not isinstance(arguments, dict):
        raise ValueError("the optimizer is no class with arguments")
    known = inspect.signature(kind).parameters
    if not all(
        name in known and name != "params" and _is_setting(value) for name, value in arguments.items()
    ):
        raise ValueError(f"{kind.__name__} does not take such arguments")


def _is_setting(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return len(value) <= MAX_PARTS and all(_is_setting(part) for part in value)
    return value is None or isinstance(value, bool | str) or _is_plain_number(value)


def _is_plain_number(value: Any) -> bool:
    is_plain = isinstance(value, int | float) and not isinstance(value, bool)
    return is_plain and abs(value) <= MAX_MAGNITUDE


def _are_settings(group: Any, fresh: dict[str, Any]) -> bool:
    """Return whether the settings of a group of weights may follow from fresh ones."""
    # A learning rate schedule changes numbers.
    return (
        isinstance(group, dict)
        and group.keys() <= fresh.keys()
        and group.get("params") == fresh["params"]
        and all(
            _is_like(value, fresh[name]) and (name not in FIXED_SETTINGS or value == fresh[name])
            for name, value in group.items()
            if name != "params"
        )
    )


def _is_like(value: Any, other: Any) -> bool:
    """Return whether a setting is like another one: of its type, with any numbers."""
    if isinstance(other, tuple | list):
        return type(value) is type(other) and len(value) == len(other) and all(map(_is_like, value, other))
    if _is_plain_number(other):
        return _is_plain_number(value)
    return type(value) is type(other) and bool(value == other)


# Optimizers: state --------------------------------------------------------------------------------------


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, arguments: dict[str, Any], groups: list[Any], state: dict[Any, Any]
) -> None:
    """Give an optimizer the settings and the state of the saved one."""
    fresh = optimizer.state_dict()["param_groups"]
    if len(groups) != len(fresh) or not all(map(_are_settings, groups, fresh)):
        raise ValueError(
            "the settings of the optimizer are those of another one, or of another version of torch"
        )
    groups = [{**own, **group} for group, own in zip(groups, fresh, strict=True)]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    expected = _make_state(optimizer, arguments, groups)
    restored = {}
    for index, parts in state.items():
        if type(index) is not int or not 0 <= index < len(weights) or not isinstance(parts, dict):
            raise ValueError("the state of the optimizer belongs to no weight")
        if isinstance(optimizer, torch.optim.LBFGS):
            _check_lbfgs(parts, sum(weight.numel() for weight in weights), groups[0]["history_size"])
        else:
            _check_parts(parts, expected.get(index, {}))
        restored[index] = {name: _lay_out_like(weights[index], part) for name, part in parts.items()}
    optimizer.load_state_dict({"state": restored, "param_groups": groups})


def _make_state(
    optimizer: torch.optim.Optimizer, arguments: dict[str, Any], groups: list[Any]
) -> dict[int, dict[str, Any]]:
    """Return the state of an optimizer of this kind after a step with such weights."""
    # L-BFGS makes no state in a step without gradients, and has a check of its own.
    if isinstance(optimizer, torch.optim.LBFGS):
        return {}
    twins = [
        {"params": [torch.zeros_like(weight, requires_grad=True) for weight in group["params"]]}
        for group in optimizer.param_groups
    ]
    for twin in twins:
        for weight in twin["params"]:
            weight.grad = torch.zeros_like(weight, requires_grad=False)
    # A step with hostile settings may raise any error.
    try:
        trial = type(optimizer)(twins, **arguments)
        trial.load_state_dict({"state": trial.state_dict()["state"], "param_groups": groups})
        trial.step()
    except Exception as error:
        raise ValueError(f"{type(optimizer).__name__} makes no step with its settings: {error}") from error
    state: dict[int, dict[str, Any]] = trial.state_dict()["state"]
    return state


def _check_parts(parts: dict[Any, Any], expected: dict[str, Any]) -> None:
    """Refuse state that differs in names, types or shapes from that of the optimizer."""
    if parts.keys() != expected.keys() or any(_kind(parts[n]) != _kind(expected[n]) for n in expected):
        raise ValueError("the state of the optimizer does not fit such weights")
    step = parts.get("step", 0)
    if not (step >= 0 if isinstance(step, Tensor) else _is_plain_number(step) and step >= 0):
        raise ValueError("the optimizer counts steps below 0")


def _kind(part: Any) -> Any:
    return (part.dtype, part.shape) if isinstance(part, Tensor) else type(part)


def _check_lbfgs(parts: dict[Any, Any], entries: int, history_size: int) -> None:
    """Refuse state of L-BFGS other than vectors of all weights, and lists of them."""
    lists = {name: parts[name] for name in LBFGS_LISTS & parts.keys() if parts[name] is not None}
    fits = parts.keys() <= LBFGS_PARTS | LBFGS_LISTS and all(
        isinstance(part, list) and len(part) <= history_size for part in lists.values()
    )
    if not fits or len({len(part) for name, part in lists.items() if name != "al"}) > 1:
        raise ValueError("the state of the optimizer does not fit L-BFGS")
    # "al" is a buffer for all steps that the history may hold.
    if "al" in lists and len(lists["al"]) != history_size:
        raise ValueError("the state of the optimizer does not fit L-BFGS")
    shapes = {(), (entries,)}
    for part in chain((parts[name] for name in LBFGS_PARTS & parts.keys()), *lists.values()):
        is_vector = isinstance(part, Tensor) and tuple(part.shape) in shapes and part.isfinite().all()
        if not (part is None or _is_plain_number(part) or is_vector):
            raise ValueError("the state of the optimizer does not fit L-BFGS")


def _lay_out_like(weight: Tensor, part: Any) -> Any:
    """Return a part of an optimizer's state in the memory order of its weight."""
    # Kernels run along the memory, and another order may change last bits.
    if not isinstance(part, Tensor):
        return part
    if not part.isfinite().all():
        raise ValueError("the state of the optimizer is not finite")
    if part.shape != weight.shape:
        return part
    return torch.empty_like(weight, dtype=part.dtype, requires_grad=False).copy_(part)


# The table ----------------------------------------------------------------------------------------------


@cache
def _optimizer_classes() -> dict[str, type[torch.optim.Optimizer]]:
    public = {name: getattr(torch.optim, name) for name in torch.optim.__all__ if hasattr(torch.optim, name)}
    return {
        name: kind
        for name, kind in public.items()
        if isinstance(kind, type)
        and issubclass(kind, torch.optim.Optimizer)
        and kind is not torch.optim.Optimizer
    }


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, type) and _optimizer_classes().get(value.__name__) is value


def _decode_optimizer(node: Node, decoder: Decoder) -> type[torch.optim.Optimizer]:
    if not isinstance(node, str) or node not in _optimizer_classes():
        raise ValueError(f"this torch has no optimizer called {node!r:.60}")
    return _optimizer_classes()[node]


NET_CODECS: tuple[Codec, ...] = (
    Codec("optimizer", _is_optimizer, lambda v, _: v.__name__, _decode_optimizer),
    Codec("net", lambda v: type(v) is Net, _encode_net, _decode_net),
)
