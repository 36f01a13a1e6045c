"""Callbacks of a training run: history, schedule, best weights, early stopping."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback, Checkpoint, TrainEndCheckpoint, logging
from skorch.callbacks import EarlyStopping as SkorchEarlyStopping
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from sk_denoise.exceptions import TrainingDivergedError
from sk_denoise.training._optimizers import SCHEDULES

__all__ = [
    "AveragedWeights",
    "BestWeights",
    "EarlyStopping",
    "EpochRecorder",
    "Progress",
    "Schedule",
    "StopTraining",
    "EpochHooks",
    "check_callbacks",
    "early_stopping_progress",
    "writes_output",
]

# Steps between two reads of the loss on a GPU, which makes it wait
STEPS_BETWEEN_READS = 50
# Ratio of the loss to the first one at which a run has diverged
DIVERGED_RATIO = 1e4
# Weights as large as this have diverged: between layers, inputs are scaled
MAX_WEIGHT = 1e6


# The name has no "Error" at its end, for it is a signal.
class StopTraining(Exception):  # noqa: N818
    """Signal that ends a training run early."""


class EpochRecorder(Callback):
    """Recorder of the figures of each epoch, which also stops a run that diverges.

    The history gets mean losses and PSNR, whether a loss is the lowest so far, the last learning rate ("lr")
    and seconds ("dur"), under the names that skorch's callbacks read.

    Parameters
    ----------
    sample_psnr : callable or None
        From a batch's prediction and target to the PSNR of each of its samples; None where the targets are
        noisy.
    training_psnr : bool
        Whether to record the PSNR of training rows too.
    """

    def __init__(self, sample_psnr: Callable[..., Any] | None, training_psnr: bool) -> None:
        self.sample_psnr = sample_psnr
        self.training_psnr = training_psnr

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.first_loss, self.steps = math.nan, 0
        self.lowest = {
            name: min((epoch[name] for epoch in net.history if name in epoch), default=math.inf)
            for name in ("train_loss", "valid_loss")
        }

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        # Sums of rows, loss and PSNR, for training and validation
        self.sums: dict[bool, list[Any]] = {True: [0, 0.0, 0.0], False: [0, 0.0, 0.0]}
        # Some callbacks of skorch read a batch in the history; one for the whole epoch is enough.
        net.history.new_batch()
        self.began = time.perf_counter()

    def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool = False, **step: Any) -> None:
        loss, prediction = step["loss"].detach(), step["y_pred"].detach()
        # Reading a number makes a GPU wait.
        if loss.device.type == "cpu" or self.steps % STEPS_BETWEEN_READS == 0:
            loss = loss.item()
            if training:
                self._check_convergence(net, loss)
        self.steps += 1
        rows = len(prediction)
        sums = self.sums[training]
        sums[0] += rows
        sums[1] += loss * rows
        if self.sample_psnr is not None and (self.training_psnr or not training):
            sums[2] += float(self.sample_psnr(prediction, *batch[1:]).sum())

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        processes = net.processes
        for name, training in (("train", True), ("valid", False)):
            sums = self.sums[training]
            rows, loss, psnr = sums if processes is None else processes.total([float(s) for s in sums])
            if rows:
                mean, name_of_loss = float(loss / rows), f"{name}_loss"
                net.history.record(name_of_loss, mean)
                net.history.record(f"{name_of_loss}_best", mean < self.lowest[name_of_loss])
                self.lowest[name_of_loss] = min(mean, self.lowest[name_of_loss])
                if training:
                    self._check_convergence(net, net.history[-1]["train_loss"])
                if self.sample_psnr is not None and (self.training_psnr or not training):
                    net.history.record(f"{name}_psnr", psnr / rows)
        net.history.record("lr", float(net.optimizer_.param_groups[0].get("lr", math.nan)))
        net.history.record("dur", time.perf_counter() - self.began)

    def _check_convergence(self, net: NeuralNet, loss: float) -> None:
        if math.isnan(self.first_loss):
            self.first_loss = loss
        if math.isfinite(loss) and loss <= DIVERGED_RATIO * max(self.first_loss, 1e-3):
            return
        rate = net.optimizer_.param_groups[0].get("lr", math.nan)
        raise TrainingDivergedError(
            f"Training diverged in epoch {len(net.history)}: the loss is {loss:.3g}, it was "
            f"{self.first_loss:.3g} at first. Lower learning_rate (it is {rate:.3g} now), or look for values "
            "in X that are many orders of magnitude beyond the rest."
        )


def check_trained_weights(net: NeuralNet) -> None:
    """Raise an error for weights that diverged in the last step."""
    # The loss after the last step is never computed.
    largest = max(float(weight.detach().abs().max()) for weight in net.module_.parameters() if weight.numel())
    # Targets that are not scaled need weights as large as they are, and the first loss is their mean square.
    scale = math.sqrt(max(1.0, net.history[0].get("train_loss", 1.0)))
    if not largest < MAX_WEIGHT * scale:
        raise TrainingDivergedError(
            f"Training diverged in its last step: weights reach {largest:.3g}. Lower learning_rate."
        )


class AveragedWeights(Callback):
    """Exponential moving average of the weights, for validation and prediction.

    Parameters
    ----------
    decay : float
        Share of the previous average at each step, above 0 and below 1.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.model = AveragedModel(net.module_, multi_avg_fn=self._update).eval()
        net.averaging = self

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        if training:
            self.model.update_parameters(net.module_)

    def _update(self, averages: Any, weights: Any, n: Any) -> None:
        # Early on the average is taken over fewer steps, or it would remember the first weights.
        decay = min(self.decay, (1 + int(n)) / (10 + int(n)))
        for average, weight in zip(averages, weights, strict=True):
            if average.is_floating_point():
                average.lerp_(weight, 1 - decay)
            else:
                average.copy_(weight)


class EpochHooks(Callback):
    """Calls of two functions, before and after each epoch.

    Parameters
    ----------
    begin : callable
        Called without arguments.
    end : callable
        Called with the net; ends the run by returning True.
    """

    def __init__(self, begin: Callable[[], None], end: Callable[[NeuralNet], bool]) -> None:
        self.begin = begin
        self.end = end

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.begin()

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        if self.end(net):
            raise StopTraining


class SkorchEarlyStoppingAdapter(Callback):
    """Adapter of skorch's ``EarlyStopping`` to :class:`StopTraining`.

    Parameters
    ----------
    stopping : skorch.callbacks.EarlyStopping
        The callback of the user.
    """

    # skorch's stops a run by a KeyboardInterrupt, which would count as the user's Ctrl-C.

    def __init__(self, stopping: SkorchEarlyStopping) -> None:
        self.stopping = stopping

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.stopping.on_train_begin(net, **kwargs)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        try:
            self.stopping.on_epoch_end(net, **kwargs)
        except KeyboardInterrupt as stop:
            raise StopTraining from stop

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.stopping.on_train_end(net, **kwargs)


def check_callbacks(callbacks: Any) -> tuple[list[Callback], list[Callable[..., Any]]]:
    """Check the callbacks of a user, and separate those of skorch from functions.

    Returns
    -------
    list of skorch.callbacks.Callback
        Ready for a run.
    list of callable
        Functions of the estimator and the number of the epoch.
    """
    if callbacks is None:
        return [], []
    if not isinstance(callbacks, list | tuple):
        raise TypeError(
            f"callbacks must be a list of skorch callbacks and functions, or None, got {callbacks!r}."
        )
    skorch_callbacks, functions = [], []
    for callback in callbacks:
        if isinstance(callback, type):
            raise TypeError(
                f"callbacks holds the class {callback.__name__}. Did you mean {callback.__name__}()?"
            )
        if isinstance(callback, Callback):
            skorch_callbacks.append(callback.initialize())
        elif hasattr(callback, "on_fit_task_end"):
            raise TypeError(
                f"{type(callback).__name__} is a callback of scikit-learn's. Pass it to set_callbacks(...) "
                "of the estimator, or of the pipeline or search around it."
            )
        elif callable(callback):
            functions.append(callback)
        else:
            raise TypeError(
                f"callbacks must hold skorch callbacks and functions (estimator, epoch), got {callback!r}."
            )
    adapted = [
        SkorchEarlyStoppingAdapter(callback) if isinstance(callback, SkorchEarlyStopping) else callback
        for callback in skorch_callbacks
    ]
    return adapted, functions


def writes_output(callback: Callback) -> bool:
    """Return whether a callback of skorch prints, logs or writes files."""
    logs = any(kind.__module__ == logging.__name__ for kind in type(callback).__mro__)
    return logs or isinstance(callback, Checkpoint | TrainEndCheckpoint)


def monitored_loss(net: NeuralNet) -> float:
    """Return the last loss on validation rows, or on training rows without these."""
    epoch = net.history[-1]
    return float(epoch["valid_loss"] if "valid_loss" in epoch else epoch["train_loss"])


def early_stopping_progress(losses: Sequence[float], tol: float) -> tuple[float, int]:
    """Return the lowest loss, and the number of epochs since one fell by ``tol``."""
    best, stale = math.inf, 0
    for loss in losses:
        stale = 0 if loss < best - tol else stale + 1
        best = min(loss, best)
    return best, stale


class BestWeights(Callback):
    """Copy of the weights of the best epoch so far.

    Parameters
    ----------
    earlier : sequence of float
        Losses of earlier epochs, for a run that continues them.
    weights : dict of str to Tensor, optional
        Weights of the best of these epochs, if they differ from those of the net.
    """

    def __init__(self, earlier: Sequence[float] = (), weights: dict[str, Tensor] | None = None) -> None:
        self.earlier, self.earlier_weights = earlier, weights

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.loss = min(self.earlier, default=math.inf)
        if self.earlier_weights is None:
            self._keep(net)
        else:
            self.weights = self.earlier_weights

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        if monitored_loss(net) < self.loss:
            self.loss = monitored_loss(net)
            self._keep(net)

    def _keep(self, net: NeuralNet) -> None:
        self.weights = copy.deepcopy(net.evaluated_module.state_dict())

    def restore(self, net: NeuralNet) -> None:
        """Load the weights of the best epoch into the network."""
        net.module_.load_state_dict(self.weights)


class EarlyStopping(Callback):
    """End of a run after epochs without progress, as in scikit-learn's MLPs.

    Parameters
    ----------
    patience : int
        Epochs without progress after which the run stops.
    tol : float
        Minimum decrease of the loss that counts as progress.
    earlier : sequence of float
        Losses of earlier epochs, for a run that continues them.
    """

    def __init__(self, patience: int, tol: float, earlier: Sequence[float] = ()) -> None:
        self.patience = patience
        self.tol = tol
        self.earlier = earlier

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.losses = list(self.earlier)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.losses.append(monitored_loss(net))
        if early_stopping_progress(self.losses, self.tol)[1] >= self.patience:
            raise StopTraining


class Schedule(Callback):
    """Schedule of the learning rate, set before every step.

    Parameters
    ----------
    name : str
        A name in :data:`SCHEDULES`.
    learning_rate : float
        The highest learning rate.
    steps : int
        Number of steps of the whole run.
    warm_up_steps : int, default=0
        Minimum number of steps in which the learning rate rises, unless it is constant.
    steps_done : int, default=0
        Number of steps of earlier parts of the run.
    """

    def __init__(
        self, name: str, learning_rate: float, steps: int, warm_up_steps: int = 0, steps_done: int = 0
    ) -> None:
        self.name = name
        self.learning_rate = learning_rate
        self.steps = steps
        self.warm_up_steps = warm_up_steps
        self.steps_done = steps_done

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.step = self.steps_done
        # A constant learning rate is set once, so that callbacks of the user may change it.
        if self.name == "constant":
            self._set(net, self.learning_rate)

    def on_batch_begin(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        if not training or self.name == "constant":
            return
        share = min(SCHEDULES[self.name](self.step, self.steps), (self.step + 1) / (1 + self.warm_up_steps))
        self._set(net, self.learning_rate * share)
        self.step += 1

    def _set(self, net: NeuralNet, learning_rate: float) -> None:
        for group in net.optimizer_.param_groups:
            group["lr"] = learning_rate


class Progress(Callback):
    """Progress of a run in one line that updates: epoch, time left, losses, PSNR.

    Parameters
    ----------
    epochs : int
        Number of epochs of the whole run.
    epochs_done : int, default=0
        Number of epochs of earlier parts of the run.
    """

    line = "epoch {n_fmt}/{total_fmt}, {remaining} left{postfix}"

    def __init__(self, epochs: int, epochs_done: int = 0) -> None:
        self.epochs = epochs
        self.epochs_done = epochs_done

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.bar = tqdm(total=self.epochs, initial=self.epochs_done, bar_format=self.line, dynamic_ncols=True)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        epoch = net.history[-1]
        shown = {"loss": f"{epoch['train_loss']:.4f}"}
        if "valid_loss" in epoch:
            shown["val_loss"] = f"{epoch['valid_loss']:.4f}"
        if "valid_psnr" in epoch:
            shown["val_psnr"] = f"{epoch['valid_psnr']:.2f} dB"
        elif "train_psnr" in epoch and "valid_loss" not in epoch:
            shown["psnr"] = f"{epoch['train_psnr']:.2f} dB"
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.bar.close()
