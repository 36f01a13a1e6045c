"""One training run: a skorch net that it creates or continues."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, GradientNormClipping
from skorch.helper import predefined_split
from skorch.history import History
from skorch.utils import TeeGenerator
from torch import Tensor, nn

from sk_denoise.training._batches import Batch, BatchIterator, BatchSource, FixedRows
from sk_denoise.training._callbacks import (
    AveragedWeights,
    BestWeights,
    EarlyStopping,
    EpochHooks,
    EpochRecorder,
    Progress,
    Schedule,
    SkorchEarlyStoppingAdapter,
    StopTraining,
    check_trained_weights,
)

__all__ = ["Net", "TrainingPlan", "create_net", "run_training"]


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
    warm_up_steps : int, default=0
        In how many steps the learning rate rises at least, before it falls.
    epochs_done : int, default=0
        Epochs of the same run that were made before; the schedule goes on there.
    earlier_losses : sequence of float
        Losses on the same validation rows of the epochs before, for early stopping to go on from.
    best_weights : dict of str to Tensor or None, default=None
        The weights of the best of these epochs, where they are not those of the net.
    max_gradient_norm : float or None, default=None
        What the norm of the gradients of a step is cut to.
    averaging_decay : float or None, default=None
        What the moving average of the weights keeps of itself at each step; None takes the last weights.
    callbacks : sequence of skorch.callbacks.Callback
        What else looks on, ready for a run.
    before_epoch : callable, optional
        Called without arguments before each epoch.
    after_epoch : callable, optional
        Called with the net after each epoch; where it answers True the run ends.
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
    warm_up_steps: int = 0
    epochs_done: int = 0
    earlier_losses: Sequence[float] = ()
    best_weights: dict[str, Tensor] | None = None
    max_gradient_norm: float | None = None
    averaging_decay: float | None = None
    callbacks: Sequence[Callback] = ()
    before_epoch: Callable[[], None] = lambda: None
    after_epoch: Callable[[NeuralNet], bool] = lambda net: False


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


def run_training(
    net: NeuralNet, rows: BatchSource, validation: FixedRows | None, plan: TrainingPlan
) -> KeyboardInterrupt | None:
    """Train the net, and return the interruption that ended the run, for the caller to raise again.

    A run that goes on where another ended is the rest of one run: its learning rates, its patience and its
    best epoch are those of the whole.

    A run whose weights are averaged leaves the averages. An interrupted run and one that may stop early
    leave the weights of the best epoch. The net keeps its history and optimizer, but no data.
    """
    best = BestWeights(plan.earlier_losses, plan.best_weights)
    net.best = None if plan.patience is None else best
    net.callbacks_ = _named(build_callbacks(plan, best, len(BatchIterator(rows, plan.batch_size))))
    net.watches_gradients = any(_sees_gradients(callback) for _, callback in net.callbacks_)
    net.train_split = None if validation is None else predefined_split(validation)
    net.batch_size, net.verbose = plan.batch_size, int(bool(plan.callbacks))  # what some print depends on it
    interruption = None
    net.notify("on_train_begin", X=rows, y=None)
    try:
        # without the cache, which would keep the first weights for the whole run
        kind = torch.device(net.device).type
        half = torch.autocast(kind, torch.bfloat16, enabled=plan.bfloat16, cache_enabled=False)
        with suppress(StopTraining), half:
            net.fit_loop(rows, epochs=plan.epochs)
        check_trained_weights(net)
    except KeyboardInterrupt as error:
        interruption = error
        if net.history and "train_loss" not in net.history[-1]:  # the epoch was not complete
            net.history.pop()
    finally:
        net.notify("on_train_end", X=rows, y=None)
        evaluated_module, averaged = net.evaluated_module, net.averaging is not None
        net.callbacks_, net.train_split, net.averaging, net.best, net.verbose = [], None, None, None, 0
    if plan.patience is not None or interruption is not None:
        best.restore(net)
    elif averaged:
        net.module_.load_state_dict(evaluated_module.state_dict())
    net.module_.eval()
    return interruption


def build_callbacks(plan: TrainingPlan, best: BestWeights, steps_of_an_epoch: int) -> list[Callback]:
    """Return the callbacks of a run, in the order in which they are called."""
    epochs = plan.epochs_done + plan.epochs
    done, steps = (steps_of_an_epoch * count for count in (plan.epochs_done, epochs))
    callbacks = [EpochRecorder(plan.sample_psnr, training_psnr=plan.show_progress)]
    if plan.averaging_decay is not None:
        callbacks.append(AveragedWeights(plan.averaging_decay))
    callbacks += [best, Schedule(plan.schedule, plan.learning_rate, steps, plan.warm_up_steps, done)]
    if plan.max_gradient_norm is not None:
        callbacks.append(GradientNormClipping(plan.max_gradient_norm))
    if plan.show_progress:
        callbacks.append(Progress(epochs, plan.epochs_done))
    may_stop = [callback for callback in plan.callbacks if isinstance(callback, SkorchEarlyStoppingAdapter)]
    callbacks += [callback for callback in plan.callbacks if callback not in may_stop]
    callbacks += [
        EpochHooks(plan.before_epoch, plan.after_epoch),
        *may_stop,
    ]  # those that may stop the run come last
    if plan.patience is not None:
        callbacks.append(EarlyStopping(plan.patience, plan.tol, plan.earlier_losses))
    return callbacks


def _named(callbacks: Sequence[Callback]) -> list[tuple[str, Callback]]:
    return [(type(callback).__name__, callback) for callback in callbacks]


def _sees_gradients(callback: Callback) -> bool:
    return type(callback).on_grad_computed is not Callback.on_grad_computed


Step = dict[str, Tensor]


class Net(NeuralNet):
    """A net that does for a batch what its callbacks read, and no more.

    skorch's own loop sets the mode of all layers, converts the batch, and writes and reads its history
    for every batch, which takes as long as the step of a small network.

    Attributes
    ----------
    averaging : AveragedWeights or None
        During a run that averages its weights, what does; its ``model`` has them.
    best : BestWeights or None
        During a run that may stop early, what keeps the weights of the best epoch.
    watches_gradients : bool
        Whether a callback wants to see the gradients of every step.
    """

    averaging: Any = None
    best: Any = None
    watches_gradients: bool = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Net:
        """Copy without pickling, which skorch would do, and which a user's lambda does not survive."""
        twin: Net = type(self).__new__(type(self))
        memo[id(self)] = twin
        state = dict(self.__dict__)
        history = state.pop("history_", None)
        twin.__dict__.update(copy.deepcopy(state, memo))
        _complete(twin)
        twin.history_ = None if history is None else History(history)  # epochs that are over do not change
        return twin

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        _complete(self)

    @property
    def evaluated_module(self) -> nn.Module:
        """The network with the weights that count: averaged ones where there are any."""
        if self.averaging is None:
            return self.module_  # type: ignore[no-any-return]
        return self.averaging.model.module  # type: ignore[no-any-return]

    @property
    def earlier_best_weights(self) -> dict[str, Tensor] | None:
        """The weights that a run returns to when it stops early, where they are not those of now."""
        epoch = self.history[-1]
        if self.best is None or not self.best.loss < epoch.get("valid_loss", -math.inf):
            return None
        return dict(self.best.weights)

    def snapshot(self) -> Net:
        """Return a copy as it would be if the run had ended here."""
        twin: Net = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.callbacks_, twin.train_split, twin.averaging, twin.best, twin.verbose = [], None, None, None, 0
        twin = copy.deepcopy(twin)
        twin.module_.load_state_dict(self.evaluated_module.state_dict())
        twin.module_.eval()
        return twin

    def on_batch_begin(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        """Open no entry for the batch: thousands of them would swell every pickle."""

    def run_single_epoch(
        self,
        iterator: Iterable[Batch] | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., Step],
        **_: Any,
    ) -> None:
        if iterator is None:
            return
        self._set_training(training)
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            self.notify("on_batch_end", batch=batch, training=training, **step_fn(batch))

    def train_step(self, batch: Batch, **_: Any) -> Step:
        noisy, *aim = batch  # the clean side and, with emphasis, weights
        steps: list[Step] = []

        def closure() -> Tensor:  # some optimizers evaluate it more than once
            self.optimizer_.zero_grad()
            answer = self.module_(noisy).float()
            loss: Tensor = self.criterion_(answer, *aim)
            loss.backward()
            if self.watches_gradients:
                named = self.module_.named_parameters()
                self.notify("on_grad_computed", named_parameters=TeeGenerator(named), batch=batch)
            steps.append({"loss": loss, "y_pred": answer})
            return loss.detach()  # some read its number

        self.optimizer_.step(closure)
        return steps[0]

    def validation_step(self, batch: Batch, **_: Any) -> Step:
        noisy, *aim = batch
        with torch.no_grad():
            answer = self.evaluated_module(noisy).float()
            return {"loss": self.criterion_(answer, *aim), "y_pred": answer}


def _complete(net: NeuralNet) -> None:
    """Give a copied LBFGS what torch leaves out of its copies."""
    optimizer = getattr(net, "optimizer_", None)
    if isinstance(optimizer, torch.optim.LBFGS):
        optimizer._params, optimizer._numel_cache = optimizer.param_groups[0]["params"], None
