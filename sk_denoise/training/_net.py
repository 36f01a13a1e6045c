"""skorch's net with a leaner step, for one network, one loss, and batches that need no conversion."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from skorch import NeuralNet
from skorch.history import History
from skorch.utils import TeeGenerator
from torch import Tensor, nn

from sk_denoise.training._batches import Batch

__all__ = ["Net"]

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
    def judged(self) -> nn.Module:
        """The network with the weights that count: averaged ones where there are any."""
        if self.averaging is None:
            return self.module_  # type: ignore[no-any-return]
        return self.averaging.model.module  # type: ignore[no-any-return]

    @property
    def better_weights(self) -> dict[str, Tensor] | None:
        """The weights that a run returns to when it stops early, where they are not those of now."""
        epoch = self.history[-1]
        if self.best is None or not self.best.loss < epoch.get("valid_loss", -math.inf):
            return None
        return dict(self.best.weights)

    def as_if_ended(self) -> Net:
        """Return a copy as it would be if the run had ended here."""
        twin: Net = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.callbacks_, twin.train_split, twin.averaging, twin.best, twin.verbose = [], None, None, None, 0
        twin = copy.deepcopy(twin)
        twin.module_.load_state_dict(self.judged.state_dict())
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
            answer = self.judged(noisy).float()
            return {"loss": self.criterion_(answer, *aim), "y_pred": answer}


def _complete(net: NeuralNet) -> None:
    """Give a copied LBFGS what torch leaves out of its copies."""
    optimizer = getattr(net, "optimizer_", None)
    if isinstance(optimizer, torch.optim.LBFGS):
        optimizer._params, optimizer._numel_cache = optimizer.param_groups[0]["params"], None
