"""The optimizer of a net: its settings, and what it keeps for each weight.

Optimizers are written in C++ in part, and write as far as a weight is long. So what a file gives them has the
shapes and types that the same optimizer makes for the same weights.
"""

from __future__ import annotations

import inspect
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from sk_denoise.persistence._limits import LARGEST

__all__ = ["check_arguments", "restore_optimizer"]

WHOLE = {"max_iter", "max_eval", "history_size", "ns_steps"}  # loops and buffers; no schedule changes them
OF_LBFGS = {"func_evals", "n_iter", "t", "prev_loss", "d", "H_diag", "prev_flat_grad"}
LISTS_OF_LBFGS = {"old_dirs", "old_stps", "ro", "al"}


def check_arguments(kind: Any, arguments: Any) -> None:
    """Refuse what an optimizer cannot be made with."""
    if not isinstance(kind, type) or not isinstance(arguments, dict):
        raise ValueError("the optimizer is none")
    known = inspect.signature(kind).parameters
    if not all(
        name in known and name != "params" and _is_setting(value) for name, value in arguments.items()
    ):
        raise ValueError(f"{kind.__name__} does not take such arguments")


def restore_optimizer(
    optimizer: torch.optim.Optimizer, arguments: dict[str, Any], groups: list[Any], state: dict[Any, Any]
) -> None:
    """Give an optimizer its settings and its state, which is in memory as the weights are."""
    fresh = optimizer.state_dict()["param_groups"]
    if len(groups) != len(fresh) or not all(map(_are_settings, groups, fresh)):
        raise ValueError(
            "the settings of the optimizer are those of another one, or of another version of torch"
        )
    groups = [{**own, **group} for group, own in zip(groups, fresh, strict=True)]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    wanted = _state_after_a_step(optimizer, arguments, groups)
    restored = {}
    for index, parts in state.items():
        if type(index) is not int or not 0 <= index < len(weights) or not isinstance(parts, dict):
            raise ValueError("the state of the optimizer belongs to no weight")
        if isinstance(optimizer, torch.optim.LBFGS):
            _check_lbfgs(parts, sum(weight.numel() for weight in weights), groups[0]["history_size"])
        else:
            _check_parts(parts, wanted.get(index, {}))
        restored[index] = {name: _beside(weights[index], part) for name, part in parts.items()}
    optimizer.load_state_dict({"state": restored, "param_groups": groups})


# Settings -----------------------------------------------------------------------------------------------


def _is_setting(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return len(value) <= 8 and all(_is_setting(part) for part in value)
    return value is None or isinstance(value, bool | str) or _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _are_settings(group: Any, own: dict[str, Any]) -> bool:
    """Return whether they are settings of a group of weights that a schedule may have made of its own."""
    return (
        isinstance(group, dict)
        and group.keys() <= own.keys()
        and group.get("params") == own["params"]
        and all(
            _is_like(value, own[name]) and (name not in WHOLE or value == own[name])
            for name, value in group.items()
            if name != "params"
        )
    )


def _is_like(value: Any, own: Any) -> bool:
    """Return whether a setting has the type and length of another; what is no number is the same."""
    if isinstance(own, tuple | list):
        return type(value) is type(own) and len(value) == len(own) and all(map(_is_like, value, own))
    if _is_number(own):
        return _is_number(value)
    return type(value) is type(own) and bool(value == own)


# State --------------------------------------------------------------------------------------------------


def _state_after_a_step(
    optimizer: torch.optim.Optimizer, arguments: dict[str, Any], groups: list[Any]
) -> dict[int, dict[str, Any]]:
    """Return what an optimizer of this kind keeps for such weights."""
    if isinstance(optimizer, torch.optim.LBFGS):  # keeps nothing of a step of length 0
        return {}
    twins = [
        {"params": [torch.zeros_like(weight, requires_grad=True) for weight in group["params"]]}
        for group in optimizer.param_groups
    ]
    for twin in twins:
        for weight in twin["params"]:
            weight.grad = torch.zeros_like(weight, requires_grad=False)
    try:
        again = type(optimizer)(twins, **arguments)
        again.load_state_dict({"state": again.state_dict()["state"], "param_groups": groups})
        again.step()
    except Exception as error:
        raise ValueError(f"{type(optimizer).__name__} makes no step with its settings: {error}") from error
    state: dict[int, dict[str, Any]] = again.state_dict()["state"]
    return state


def _check_parts(parts: dict[Any, Any], wanted: dict[str, Any]) -> None:
    """Refuse state that differs in names, types or shapes from what the optimizer makes."""
    if parts.keys() != wanted.keys() or any(_kind(parts[name]) != _kind(wanted[name]) for name in wanted):
        raise ValueError("the state of the optimizer is not what it keeps for such weights")
    step = parts.get("step", 0)
    if not (step >= 0 if isinstance(step, Tensor) else _is_number(step) and step >= 0):
        raise ValueError("the optimizer counts steps below 0")


def _kind(part: Any) -> Any:
    return (part.dtype, part.shape) if isinstance(part, Tensor) else type(part)


def _check_lbfgs(parts: dict[Any, Any], entries: int, most: int) -> None:
    """Refuse state of L-BFGS, which has vectors of all weights in a row, and lists of them."""
    lists = {name: parts[name] for name in LISTS_OF_LBFGS & parts.keys() if parts[name] is not None}
    fits = parts.keys() <= OF_LBFGS | LISTS_OF_LBFGS and all(
        isinstance(part, list) and len(part) <= most for part in lists.values()
    )
    if not fits or len({len(part) for name, part in lists.items() if name != "al"}) > 1:
        raise ValueError("the state of the optimizer is not what L-BFGS keeps")
    if "al" in lists and len(lists["al"]) != most:
        raise ValueError("the state of the optimizer is not what L-BFGS keeps")
    shapes = {(), (entries,)}
    for part in chain((parts[name] for name in OF_LBFGS & parts.keys()), *lists.values()):
        is_vector = isinstance(part, Tensor) and tuple(part.shape) in shapes and part.isfinite().all()
        if not (part is None or _is_number(part) or is_vector):
            raise ValueError("the state of the optimizer is not what L-BFGS keeps")


def _beside(weight: Tensor, part: Any) -> Any:
    """Return a part of an optimizer's state, in memory as the weight is where it is of its shape."""
    if not isinstance(part, Tensor):
        return part
    if not part.isfinite().all():
        raise ValueError("the state of the optimizer is not finite")
    if part.shape != weight.shape:
        return part
    return torch.empty_like(weight, dtype=part.dtype, requires_grad=False).copy_(part)
