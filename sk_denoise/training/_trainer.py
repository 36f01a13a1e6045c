"""One training run of a skorch net, new or continued."""

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
    writes_output,
)
from sk_denoise.training._processes import Processes, current_processes

__all__ = ["Net", "TrainingPlan", "create_net", "run_training"]


# Loss and output of a batch, by the names of skorch
Step = dict[str, Tensor]


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of a training run.

    Attributes
    ----------
    epochs, batch_size : int
        Number of passes over the rows, and maximum number of rows in a batch.
    schedule : str
        Schedule of the learning rate, a name in ``SCHEDULES``.
    learning_rate : float
        The highest learning rate.
    patience : int or None
        Epochs without progress after which the run stops and restores the best weights; None never stops.
    tol : float
        Minimum decrease of the loss that counts as progress.
    bfloat16 : bool
        Whether layers compute in bfloat16; weights, loss and optimizer stay in single precision.
    sample_psnr : callable or None
        From a batch's prediction and target to the PSNR of each of its samples; None where the targets are
        noisy, since a distance to them is no PSNR.
    show_progress : bool
        Whether to show the progress in a line that updates.
    warm_up_steps : int, default=0
        Minimum number of steps in which the learning rate rises.
    epochs_done : int, default=0
        Number of epochs of earlier parts of the run; the schedule continues from there.
    earlier_losses : sequence of float
        Losses of these epochs on the same validation rows; early stopping continues from them.
    best_weights : dict of str to Tensor or None, default=None
        Weights of the best of these epochs, if they differ from those of the net.
    max_gradient_norm : float or None, default=None
        Maximum norm of the gradients of a step; None clips nothing.
    averaging_decay : float or None, default=None
        Share of the previous average of the weights at each step; None takes the last weights.
    callbacks : sequence of skorch.callbacks.Callback
        Callbacks of the user, ready for a run.
    before_epoch : callable, optional
        Called without arguments before each epoch.
    after_epoch : callable, optional
        Called with the net after each epoch; ends the run by returning True.
    """

    epochs: int
    batch_size: int
    schedule: str
    learning_rate: float
    patience: int | None
    tol: float
    bfloat16: bool
    sample_psnr: Callable[..., Any] | None
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
    """Create an initialized net.

    Parameters
    ----------
    module : Module
        The network.
    criterion : Module
        The loss.
    optimizer : tuple of type and dict
        Class and arguments of the optimizer.
    device : torch.device
        Device to train on.
    """
    kind, arguments = optimizer
    # Convolutions of images are faster on channels that lie side by side in memory.
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
    # The instances are net.module_ and net.criterion_; second references would be pickled as copies.
    net.module, net.criterion = type(module), type(net.criterion_)
    return net


def run_training(
    net: NeuralNet, rows: BatchSource, validation: FixedRows | None, plan: TrainingPlan
) -> KeyboardInterrupt | None:
    """Train the net.

    A run that continues another one is a part of the same run: learning rates, patience and best epoch are
    those of the whole.

    Afterwards the net has the averaged weights, if the plan averages them. After an interruption or a run
    that may stop early, it has the weights of the best epoch. It keeps its history and optimizer, but no
    data.

    Parameters
    ----------
    net : NeuralNet
        The net.
    rows : BatchSource
        Training rows or patches.
    validation : FixedRows or None
        Validation rows.
    plan : TrainingPlan
        Settings of the run.

    Returns
    -------
    KeyboardInterrupt or None
        The interruption that ended the run, for the caller to raise again.
    """
    best = BestWeights(plan.earlier_losses, plan.best_weights)
    net.best, net.processes = None if plan.patience is None else best, current_processes()
    if net.processes is not None:
        net.processes.equalize(net.module_)
    net.callbacks_ = _named(build_callbacks(plan, best, len(BatchIterator(rows, plan.batch_size))))
    net.notifies_gradients = any(_reads_gradients(callback) for _, callback in net.callbacks_)
    net.train_split = None if validation is None else predefined_split(validation)
    # Some callbacks of skorch print only with verbose.
    net.batch_size, net.verbose = plan.batch_size, int(bool(plan.callbacks) and _writes(net.processes))
    interruption = None
    net.notify("on_train_begin", X=rows, y=None)
    try:
        # Autocast's cache would keep the first weights for the whole run.
        kind = torch.device(net.device).type
        half = torch.autocast(kind, torch.bfloat16, enabled=plan.bfloat16, cache_enabled=False)
        with suppress(StopTraining), half:
            # skorch's fit would swallow Ctrl-C, and a search would select the interrupted fit.
            net.fit_loop(rows, epochs=plan.epochs)
        check_trained_weights(net)
    except KeyboardInterrupt as error:
        interruption = error
        if net.processes is not None:
            net.processes.leave(error)
        # The epoch may be incomplete.
        if net.history and "train_loss" not in net.history[-1]:
            net.history.pop()
    finally:
        net.notify("on_train_end", X=rows, y=None)
        evaluated_module, averaged, processes = net.evaluated_module, net.averaging is not None, net.processes
        net.forget_run()
    if plan.patience is not None or interruption is not None:
        best.restore(net)
    elif averaged:
        net.module_.load_state_dict(evaluated_module.state_dict())
    # Processors of different kinds round in different ways.
    if processes is not None and interruption is None:
        processes.equalize(net.module_)
    net.module_.eval()
    return interruption


def build_callbacks(plan: TrainingPlan, best: BestWeights, steps_per_epoch: int) -> list[Callback]:
    """Create the callbacks of a run, in the order of their calls.

    Parameters
    ----------
    plan : TrainingPlan
        Settings of the run.
    best : BestWeights
        Keeps the weights of the best epoch.
    steps_per_epoch : int
        Number of batches in an epoch.
    """
    epochs = plan.epochs_done + plan.epochs
    done, steps = (steps_per_epoch * count for count in (plan.epochs_done, epochs))
    callbacks = [EpochRecorder(plan.sample_psnr, training_psnr=plan.show_progress)]
    if plan.averaging_decay is not None:
        callbacks.append(AveragedWeights(plan.averaging_decay))
    callbacks += [best, Schedule(plan.schedule, plan.learning_rate, steps, plan.warm_up_steps, done)]
    if plan.max_gradient_norm is not None:
        callbacks.append(GradientNormClipping(plan.max_gradient_norm))
    writes = _writes(current_processes())
    if plan.show_progress and writes:
        callbacks.append(Progress(epochs, plan.epochs_done))
    # skorch's callbacks receive the net. Functions of the user and scikit-learn's tasks are called by the
    # hooks, with a copy of the estimator as if the fit had ended. Callbacks that may stop the run come last,
    # so that all others receive every epoch.
    given = [callback for callback in plan.callbacks if writes or not writes_output(callback)]
    may_stop = [callback for callback in given if isinstance(callback, SkorchEarlyStoppingAdapter)]
    callbacks += [callback for callback in given if callback not in may_stop]
    callbacks += [EpochHooks(plan.before_epoch, plan.after_epoch), *may_stop]
    if plan.patience is not None:
        callbacks.append(EarlyStopping(plan.patience, plan.tol, plan.earlier_losses))
    return callbacks


def _writes(processes: Processes | None) -> bool:
    return processes is None or processes.is_first


def _named(callbacks: Sequence[Callback]) -> list[tuple[str, Callback]]:
    return [(type(callback).__name__, callback) for callback in callbacks]


def _reads_gradients(callback: Callback) -> bool:
    return type(callback).on_grad_computed is not Callback.on_grad_computed


class Net(NeuralNet):
    """A skorch net with fast steps and weights for evaluation.

    Attributes
    ----------
    averaging : AveragedWeights or None
        During a run that averages its weights, the callback with the averages.
    best : BestWeights or None
        During a run that may stop early, the callback with the weights of the best epoch.
    notifies_gradients : bool
        Whether a callback reads the gradients of every step.
    processes : Processes or None
        During a run of several processes, their connections.
    """

    # skorch's own loop sets the mode of all layers, converts the batch, and writes and reads its history for
    # every batch, which takes as long as the step of a small network. Steps here do no more than the
    # callbacks need.
    averaging: Any = None
    best: Any = None
    notifies_gradients: bool = False
    processes: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Net:
        """Copy the net and all of its state."""
        # skorch would pickle it, and a lambda of the user cannot be pickled.
        twin: Net = type(self).__new__(type(self))
        memo[id(self)] = twin
        state = dict(self.__dict__)
        history = state.pop("history_", None)
        twin.__dict__.update(copy.deepcopy(state, memo))
        _restore_lbfgs(twin)
        # Epochs that are over do not change, so the copies share them.
        twin.history_ = None if history is None else History(history)
        return twin

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        _restore_lbfgs(self)

    @property
    def evaluated_module(self) -> nn.Module:
        """The network with averaged weights, if the run averages them."""
        if self.averaging is None:
            return self.module_  # type: ignore[no-any-return]
        return self.averaging.model.module  # type: ignore[no-any-return]

    @property
    def earlier_best_weights(self) -> dict[str, Tensor] | None:
        """Weights of the best epoch, for early stopping; None if it is the last one."""
        epoch = self.history[-1]
        if self.best is None or not self.best.loss < epoch.get("valid_loss", -math.inf):
            return None
        return dict(self.best.weights)

    def forget_run(self) -> None:
        """Drop the callbacks and the validation rows of a run."""
        self.callbacks_: list[tuple[str, Callback]] = []
        self.train_split = self.averaging = self.best = self.processes = None
        self.verbose = 0

    def snapshot(self) -> Net:
        """Return a copy of the net as it would be if the run had ended here."""
        twin: Net = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.forget_run()
        twin = copy.deepcopy(twin)
        twin.module_.load_state_dict(self.evaluated_module.state_dict())
        twin.module_.eval()
        return twin

    def on_batch_begin(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        """Write no entry for the batch into the history."""
        # Thousands of them would swell every pickle.

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
        for whole in iterator:
            batch = whole if self.processes is None else self.processes.share_of(whole)
            self.notify("on_batch_begin", batch=batch, training=training)
            self.notify("on_batch_end", batch=batch, training=training, **step_fn(batch))
        if training and self.processes is not None:
            for module in dict.fromkeys((self.module_, self.evaluated_module)):
                self.processes.average_statistics(module)

    def train_step(self, batch: Batch, **_: Any) -> Step:
        # The target and, with emphasis, weights
        noisy, *target = batch
        steps: list[Step] = []

        # Some optimizers evaluate the closure more than once in a step.
        def closure() -> Tensor:
            self.optimizer_.zero_grad()
            loss, output = self._evaluate(self.module_, noisy, target)
            # A share without rows has no gradients.
            if len(noisy):
                loss.backward()
            if self.processes is not None:
                loss = self.processes.average(self.module_, loss, len(noisy))
            if self.notifies_gradients:
                named = self.module_.named_parameters()
                self.notify("on_grad_computed", named_parameters=TeeGenerator(named), batch=batch)
            steps.append({"loss": loss, "y_pred": output})
            # Some optimizers read the number.
            return loss.detach()

        self.optimizer_.step(closure)
        return steps[0]

    def validation_step(self, batch: Batch, **_: Any) -> Step:
        noisy, *target = batch
        with torch.no_grad():
            loss, output = self._evaluate(self.evaluated_module, noisy, target)
            return {"loss": loss, "y_pred": output}

    def _evaluate(self, module: nn.Module, noisy: Tensor, target: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return loss and output of a batch; a batch without rows has no loss."""
        if not len(noisy):
            return target[0].new_zeros(()), target[0]
        output = module(noisy).float()
        return self.criterion_(output, *target), output


def _restore_lbfgs(net: NeuralNet) -> None:
    """Set the attributes that torch leaves out of copies of LBFGS."""
    optimizer = getattr(net, "optimizer_", None)
    if isinstance(optimizer, torch.optim.LBFGS):
        optimizer._params, optimizer._numel_cache = optimizer.param_groups[0]["params"], None
