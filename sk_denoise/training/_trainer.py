"""One training run: a skorch net that it creates or continues."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from skorch import NeuralNet
from skorch.helper import predefined_split
from torch import Tensor, nn

from sk_denoise.training._batches import BatchIterator, FixedRows, Rows
from sk_denoise.training._callbacks import (
    BestWeights,
    EarlyStopping,
    EpochRecorder,
    Progress,
    Schedule,
    StopTraining,
    check_weights,
)
from sk_denoise.training._net import Net

__all__ = ["TrainingPlan", "create_net", "train"]


@dataclass(frozen=True)
class TrainingPlan:
    """How a training run goes, whatever it is that is trained.

    Attributes
    ----------
    epochs, batch_size : int
        Passes over the rows, and the most rows in a batch.
    schedule : str
        How the learning rate falls over the run, a name in ``SCHEDULES``.
    learning_rate : float
        The rate it falls from.
    patience : int or None
        Epochs without progress after which the run stops and the best weights return; None never stops.
    tol : float
        The least fall of the loss that counts as progress.
    bfloat16 : bool
        Whether layers compute in bfloat16; weights, loss and optimizer stay in single precision.
    sample_psnr : callable
        From a batch's prediction and target to the PSNR of each of its samples.
    show_progress : bool
        Whether to show a line that updates.
    """

    epochs: int
    batch_size: int
    schedule: str
    learning_rate: float
    patience: int | None
    tol: float
    bfloat16: bool
    sample_psnr: Callable[[Tensor, Tensor], Any]
    show_progress: bool


def create_net(
    module: nn.Module,
    criterion: nn.Module | type[nn.Module],
    optimizer: tuple[type[torch.optim.Optimizer], dict[str, Any]],
    device: torch.device,
) -> NeuralNet:
    """Return an initialized net that has not been trained."""
    kind, arguments = optimizer
    if any(weight.ndim == 4 for weight in module.parameters()):
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net = Net(
        module,
        criterion=criterion,
        optimizer=kind,
        **{f"optimizer__{name}": value for name, value in arguments.items()},
        iterator_train=BatchIterator,
        iterator_valid=BatchIterator,
        train_split=None,
        callbacks="disable",
        device=str(device),
        verbose=0,
    ).initialize()
    # the instances are net.module_ and net.criterion_; second references would be pickled apart
    net.module, net.criterion = type(module), type(net.criterion_)
    return net


def train(
    net: NeuralNet, rows: Rows, validation: FixedRows | None, plan: TrainingPlan
) -> KeyboardInterrupt | None:
    """Train the net, and return the interruption that ended the run, for the caller to raise again.

    An interrupted run and one that may stop early leave the weights of the best epoch. The net keeps its
    history and optimizer, but no data.
    """
    best = BestWeights()
    callbacks = [EpochRecorder(plan.sample_psnr, training_psnr=plan.show_progress), best]
    callbacks.append(
        Schedule(plan.schedule, plan.learning_rate, plan.epochs * len(BatchIterator(rows, plan.batch_size)))
    )
    if plan.show_progress:
        callbacks.append(Progress(plan.epochs))
    if plan.patience is not None:
        callbacks.append(EarlyStopping(plan.patience, plan.tol))

    net.callbacks_ = [(type(callback).__name__, callback) for callback in callbacks]
    net.train_split = None if validation is None else predefined_split(validation)
    net.batch_size = plan.batch_size
    interruption = None
    net.notify("on_train_begin", X=rows, y=None)
    try:
        # without the cache, which would keep the first weights for the whole run
        kind = torch.device(net.device).type
        half = torch.autocast(kind, torch.bfloat16, enabled=plan.bfloat16, cache_enabled=False)
        with suppress(StopTraining), half:
            net.fit_loop(rows, epochs=plan.epochs)
        check_weights(net)
        if plan.patience is not None:
            best.restore(net)
    except KeyboardInterrupt as error:
        interruption = error
        best.restore(net)
        if net.history and "train_loss" not in net.history[-1]:  # the epoch was not complete
            net.history.pop()
    finally:
        net.notify("on_train_end", X=rows, y=None)
        net.callbacks_, net.train_split = [], None
    net.module_.eval()
    return interruption
