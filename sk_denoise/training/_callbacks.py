"""Small skorch callbacks: what is recorded, shown, kept and stopped while a network trains."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback
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
]

STEPS_UNWATCHED = 50  # on a GPU, between two looks at the loss
DIVERGED = 1e4  # times the loss before the first step


class StopTraining(Exception):  # noqa: N818 - a signal, not an error
    """Ends a training run early, for good reason."""


UNHEARD_OF = 1e6  # for a weight, between layers whose input is scaled


class EpochRecorder(Callback):
    """Write the figures of each epoch into the history, and stop a run that diverges.

    They are mean losses and PSNR, whether a loss is the least so far, the last learning rate ("lr") and
    seconds ("dur"), under the names that skorch's callbacks look for.

    Parameters
    ----------
    sample_psnr : callable
        From a batch's prediction and target to the PSNR of each of its samples.
    training_psnr : bool
        Whether to take it on the training rows too.
    """

    def __init__(self, sample_psnr: Callable[[Tensor, Tensor], Any], training_psnr: bool) -> None:
        self.sample_psnr = sample_psnr
        self.training_psnr = training_psnr

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.first_loss, self.steps = math.nan, 0
        self.least = {
            name: min((epoch[name] for epoch in net.history if name in epoch), default=math.inf)
            for name in ("train_loss", "valid_loss")
        }

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.sums: dict[bool, list[Any]] = {True: [0, 0.0, 0.0], False: [0, 0.0, 0.0]}  # rows, loss, PSNR
        net.history.new_batch()  # one for all, which some callbacks look for
        self.began = time.perf_counter()

    def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool = False, **step: Any) -> None:
        loss, prediction = step["loss"].detach(), step["y_pred"].detach()
        if loss.device.type == "cpu" or self.steps % STEPS_UNWATCHED == 0:
            loss = loss.item()  # a GPU would wait for it
            if training:
                self._check_convergence(net, loss)
        self.steps += 1
        rows = len(prediction)
        sums = self.sums[training]
        sums[0] += rows
        sums[1] += loss * rows
        if self.training_psnr or not training:
            sums[2] += float(self.sample_psnr(prediction, batch[1]).sum())

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        for name, training in (("train", True), ("valid", False)):
            rows, loss, psnr = self.sums[training]
            if rows:
                mean, name_of_loss = float(loss / rows), f"{name}_loss"
                net.history.record(name_of_loss, mean)
                net.history.record(f"{name_of_loss}_best", mean < self.least[name_of_loss])
                self.least[name_of_loss] = min(mean, self.least[name_of_loss])
                if training:
                    self._check_convergence(net, net.history[-1]["train_loss"])
                if self.training_psnr or not training:
                    net.history.record(f"{name}_psnr", psnr / rows)
        net.history.record("lr", float(net.optimizer_.param_groups[0].get("lr", math.nan)))
        net.history.record("dur", time.perf_counter() - self.began)

    def _check_convergence(self, net: NeuralNet, loss: float) -> None:
        if math.isnan(self.first_loss):
            self.first_loss = loss
        if math.isfinite(loss) and loss <= DIVERGED * max(self.first_loss, 1e-3):
            return
        rate = net.optimizer_.param_groups[0].get("lr", math.nan)
        raise TrainingDivergedError(
            f"Training diverged in epoch {len(net.history)}: the loss is {loss:.3g}, it was "
            f"{self.first_loss:.3g} at first. Lower learning_rate (it is {rate:.3g} now), or look for values "
            "in X that are many orders of magnitude beyond the rest."
        )


def check_trained_weights(net: NeuralNet) -> None:
    """Refuse weights that the last step, whose loss nobody saw, has thrown out of all bounds."""
    largest = max(float(weight.detach().abs().max()) for weight in net.module_.parameters() if weight.numel())
    unit = math.sqrt(max(1.0, net.history[0].get("train_loss", 1.0)))  # of targets, where they are not scaled
    if not largest < UNHEARD_OF * unit:
        raise TrainingDivergedError(
            f"Training diverged in its last step: weights reach {largest:.3g}. Lower learning_rate."
        )


class AveragedWeights(Callback):
    """Keep an exponential moving average of the weights, which validation and the end of the run take.

    Early on the average is taken over fewer steps, or it would remember the first weights:
    after n steps the decay is at most (1 + n) / (10 + n).

    Parameters
    ----------
    decay : float
        What the average keeps of itself at each step, above 0 and below 1.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.model = AveragedModel(net.module_, multi_avg_fn=self._fold).eval()
        net.averaging = self

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        if training:
            self.model.update_parameters(net.module_)

    def _fold(self, averages: Any, weights: Any, n: Any) -> None:
        decay = min(self.decay, (1 + int(n)) / (10 + int(n)))
        for average, weight in zip(averages, weights, strict=True):
            if average.is_floating_point():
                average.lerp_(weight, 1 - decay)
            else:
                average.copy_(weight)


class EpochHooks(Callback):
    """Tell others of each epoch, who end the run when they answer True."""

    def __init__(self, begin: Callable[[], None], end: Callable[[NeuralNet], bool]) -> None:
        self.begin = begin
        self.end = end

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.begin()

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        if self.end(net):
            raise StopTraining


class SkorchEarlyStoppingAdapter(Callback):
    """skorch's ``EarlyStopping``, which stops a run as the user's Ctrl-C does, told from that."""

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
    """Return the callbacks of skorch among those that a user passes, ready for a run, and the functions."""
    if callbacks is None:
        return [], []
    if not isinstance(callbacks, list | tuple):
        raise TypeError(
            f"callbacks must be a list of skorch callbacks and functions, or None, got {callbacks!r}."
        )
    watchers, functions = [], []
    for callback in callbacks:
        if isinstance(callback, type):
            raise TypeError(
                f"callbacks holds the class {callback.__name__}. Did you mean {callback.__name__}()?"
            )
        if isinstance(callback, Callback):
            watchers.append(callback.initialize())
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
    stopping = [SkorchEarlyStoppingAdapter(w) if isinstance(w, SkorchEarlyStopping) else w for w in watchers]
    return stopping, functions


def monitored_loss(net: NeuralNet) -> float:
    """Return the loss that tells how good the weights are: on validation rows where there are any."""
    epoch = net.history[-1]
    return float(epoch["valid_loss"] if "valid_loss" in epoch else epoch["train_loss"])


def early_stopping_progress(losses: Sequence[float], tol: float) -> tuple[float, int]:
    """Return the least of the losses of epochs, and for how many epochs it has not fallen by ``tol``."""
    best, stale = math.inf, 0
    for loss in losses:
        stale = 0 if loss < best - tol else stale + 1
        best = min(loss, best)
    return best, stale


class BestWeights(Callback):
    """Keep a copy of the weights of the best epoch so far; ``restore`` brings them back.

    Parameters
    ----------
    earlier : sequence of float
        The losses of epochs before the run that goes on from them.
    weights : dict of str to Tensor, optional
        The weights of the best of these, where they are not those that the run goes on from.
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
        """Give the network the weights of the best epoch so far."""
        net.module_.load_state_dict(self.weights)


class EarlyStopping(Callback):
    """Stop when the loss has not fallen by ``tol`` for ``patience`` epochs, as scikit-learn's MLPs do.

    Parameters
    ----------
    patience : int
        Epochs without progress after which the run stops.
    tol : float
        The least fall that counts.
    earlier : sequence of float
        The losses of epochs before the run that goes on from them.
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
    """Set the learning rate before every step, as a share of its start value.

    Parameters
    ----------
    name : str
        A name in :data:`SCHEDULES`.
    rate : float
        The learning rate to start from.
    steps : int
        Number of steps of the whole run.
    rise : int, default=0
        In how many steps the rate rises at least, but where it is constant.
    done : int, default=0
        How many of the steps were made before.
    """

    def __init__(self, name: str, rate: float, steps: int, rise: int = 0, done: int = 0) -> None:
        self.name = name
        self.rate = rate
        self.steps = steps
        self.rise = rise
        self.done = done

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.step = self.done

        if self.name == "constant":  # set once, so that callbacks may change it
            self._set(net, self.rate)

    def on_batch_begin(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        if not training or self.name == "constant":
            return
        share = min(SCHEDULES[self.name](self.step, self.steps), (self.step + 1) / (1 + self.rise))
        self._set(net, self.rate * share)
        self.step += 1

    def _set(self, net: NeuralNet, rate: float) -> None:
        for group in net.optimizer_.param_groups:
            group["lr"] = rate


class Progress(Callback):
    """Show the run as one line that updates, on 80 columns: epoch, time left, losses, PSNR."""

    line = "epoch {n_fmt}/{total_fmt}, {remaining} left{postfix}"

    def __init__(self, epochs: int, done: int = 0) -> None:
        self.epochs = epochs
        self.done = done

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.bar = tqdm(total=self.epochs, initial=self.done, bar_format=self.line, dynamic_ncols=True)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        epoch = net.history[-1]
        shown = {"loss": f"{epoch['train_loss']:.4f}"}
        if "valid_loss" in epoch:
            shown["val_loss"] = f"{epoch['valid_loss']:.4f}"
            shown["val_psnr"] = f"{epoch['valid_psnr']:.2f} dB"
        else:
            shown["psnr"] = f"{epoch['train_psnr']:.2f} dB"
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.bar.close()
