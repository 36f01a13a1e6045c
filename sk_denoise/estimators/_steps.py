"""The steps of a fit: draft, check, split, prepare, train, store. :mod:`._base` tells the story."""

from __future__ import annotations

import copy
import os
from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from torch import nn
from torch.utils.data import Dataset

from sk_denoise._compat import FitTasks, take_fitted, unfitted
from sk_denoise._intensity import UNIT, IntensityRange, is_stored
from sk_denoise._random import borrowed_global_state, root_seed, stream, stream_seed
from sk_denoise._resources import cost_of, threads_for_entries, threads_for_flops
from sk_denoise._skops import StateInBytes
from sk_denoise._validation import (
    Interval,
    Noiser,
    StrOptions,
    check_one_of,
    check_parameters,
    name_of,
    shape_of,
    warn_of_flat_channels_first,
    warn_user,
)
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators._image_sources import refuse_noised
from sk_denoise.estimators._observed import ObservedFit
from sk_denoise.estimators._pairs import Pair, default_noiser, resolve_pair, resolve_validation_pair
from sk_denoise.estimators._preparation import Preparation, SampleLayout
from sk_denoise.estimators._rows import (
    check_augmentation,
    check_emphasis,
    check_for_images,
    check_weighable,
    pairing_of,
    rows_of,
)
from sk_denoise.metrics import psnr_of_mse
from sk_denoise.networks import SeededModule
from sk_denoise.training import (
    PRECISIONS,
    SCHEDULES,
    FixedRows,
    TrainingPlan,
    Units,
    auto_batch_size,
    auto_epochs,
    build_criterion,
    check_callbacks,
    check_loss,
    create_net,
    early_stopping_progress,
    resolve_device,
    resolve_optimizer,
    resolve_precision,
    run_training,
)

__all__ = ["FitSteps"]

SAMPLED_ENTRIES, LEAST_PATCHES = 2**24, 64  # of a stream of patches, to know it by


class FitSteps(StateInBytes, ObservedFit, BaseEstimator, metaclass=ABCMeta):
    """The parameters that every denoiser has that learns from pairs, and what a fit does with them."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "emphasis": [tuple, list, None],
        "optimizer": [str, type],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "gradient_clipping": [Interval(Real, 0, None, closed="neither"), None],
        "weight_averaging": [Interval(Real, 0, 1, closed="neither"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "callbacks": [list, tuple, None],
        "image_shape": [tuple, list, None],
        "precision": [StrOptions(set(PRECISIONS))],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }
    _least_samples: ClassVar[int] = 2  # one has no spread to scale by
    _rise: ClassVar[int] = 0  # steps in which the learning rate rises at least
    network: Any
    noise: Any
    augment: Any
    loss: Any
    emphasis: tuple[float, float] | None
    optimizer: str | type[torch.optim.Optimizer]
    learning_rate: float | None
    learning_rate_schedule: str
    weight_decay: float | Literal["auto"]
    gradient_clipping: float | None
    weight_averaging: float | None
    batch_size: int | Literal["auto"]
    max_epochs: int | Literal["auto"]
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    warm_start: bool
    callbacks: Sequence[Any] | None
    image_shape: Sequence[int] | None
    image_shape_: tuple[int, ...] | None
    intensity_range_: IntensityRange | None
    precision: Literal["auto", "float32", "bfloat16"]
    device: str | torch.device
    random_state: int | RandomState | None
    verbose: int

    def _draft(self, fresh: bool) -> Self:
        """Return a copy to work on, so that a fit that fails leaves the estimator as it was."""
        draft = unfitted(self) if fresh else copy.copy(self)
        if not fresh and self.__sklearn_is_fitted__():
            draft.net_ = copy.deepcopy(self.net_)
        return draft

    def _check(
        self, X: ArrayLike, y: Any, X_clean: ArrayLike | None, sample_weight: ArrayLike | None = None
    ) -> Pair:
        """Check parameters and data, and settle which side is clean."""
        if isinstance(X, RandomPatches | Dataset):
            raise TypeError(
                f"fit takes arrays, got {type(X).__name__}. Images that are streamed from a folder or data "
                "set go to fit_patches(RandomPatches(images, patch_size=64))."
            )
        if isinstance(X, str | os.PathLike):
            raise TypeError(
                f"fit takes arrays, got the path {str(X)!r}. The images of a folder go to "
                f"fit_patches(RandomPatches({str(X)!r}, patch_size=64)); ImageDenoiser takes the path itself."
            )
        self._check_parameters()
        warn_of_flat_channels_first(shape_of(X), self.image_shape)
        first = not self.__sklearn_is_fitted__()
        if not first:
            self._refuse_other_unit(np.asarray(X))
        pair = resolve_pair(
            self,
            X,
            y,
            X_clean,
            noise=self.noise,
            rows_are_signals=self._rows_are_signals(),
            reset=first,
            min_samples=self._least_samples if first else 1,
            sample_weight=sample_weight,
        )
        layout = self._layout()
        traits = check_loss(self.loss)
        check_augmentation(self.augment, layout, traits.on_unit_interval)
        check_for_images(self.loss, traits.images_only, layout)
        return pair.laid_out(layout)

    def _check_parameters(self) -> None:
        check_parameters(self, {**FitSteps._parameter_constraints, **self._parameter_constraints})
        check_emphasis(self.emphasis, self.loss, check_loss(self.loss).by_entry)
        check_one_of(self.learning_rate_schedule, SCHEDULES, "learning_rate_schedule")
        check_callbacks(self.callbacks)

    @abstractmethod
    def _network(self) -> Any:
        """Return the spec of the network, or the function that makes it."""

    @abstractmethod
    def _module(self, network: Any, layout: SampleLayout, on_unit_interval: bool) -> nn.Module:
        """Return the network with fresh weights."""

    @abstractmethod
    def _prepared(self, pair: Pair, layout: SampleLayout, on_unit_interval: bool) -> Preparation:
        """Learn from a pair how samples are scaled."""

    @abstractmethod
    def _rows_are_signals(self) -> bool:
        """Return whether rows that are no images are signals, whose entries share one unit."""

    def _layout(self) -> SampleLayout:
        return SampleLayout.of(self._sample_shape_, self.image_shape, self._rows_are_signals())

    def _training_layout(self, pair: Pair) -> SampleLayout:
        """Return the layout of what batches are made of."""
        return self._layout()

    def _noise_learns_from(self, clean: NDArray[Any]) -> NDArray[Any]:
        """Return the clean samples as the noiser is to see them when it is fitted."""
        return clean

    def _tells_level(self) -> bool:
        """Return whether the network is told how strong the noise is."""
        return False

    def _input_shape(self, layout: SampleLayout) -> tuple[int, ...]:
        """Return the shape of a sample as the network is given it."""
        return layout.network_shape

    def _refuse_other_unit(self, samples: NDArray[Any]) -> None:
        """Refuse integers, as files hold them, for a network that learned from [0, 1]."""
        if self.intensity_range_ == UNIT and is_stored(samples.dtype) and samples.max(initial=0) > 1:
            raise ValueError(
                f"{type(self).__name__} learned from numbers in [0, 1], and X holds {samples.dtype} up to "
                f"{samples.max()}. Bring it to [0, 1], X / {IntensityRange.of(samples).white:.0f}."
            )

    def _split(
        self, pair: Pair, X_val: ArrayLike | None, X_clean_val: ArrayLike | None
    ) -> tuple[Pair, Pair | None]:
        """Return the pair to train on and the one to validate on, if any."""
        if X_val is not None:
            return pair, resolve_validation_pair(self, X_val, X_clean_val, pair).laid_out(self._layout())
        if X_clean_val is not None:
            raise ValueError("X_clean_val is the clean side of X_val, which is missing.")
        if not self.early_stopping:
            return pair, None
        n_samples = len(pair.inputs)
        n_validation = int(np.ceil(self.validation_fraction * n_samples))
        if n_samples - n_validation < self._least_samples:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} leaves {n_samples - n_validation} of "
                f"{n_samples} samples for training, at least {self._least_samples} are needed. Lower it, "
                "pass X_val, or turn early_stopping off."
            )
        order = np.random.default_rng(stream_seed(self._root(), "split")).permutation(n_samples)
        return pair.take(np.sort(order[n_validation:])), pair.take(np.sort(order[:n_validation]))

    def _split_patches(
        self, patches: Any, validation: RandomPatches | None
    ) -> tuple[RandomPatches, RandomPatches | None]:
        """Return the patches to train on and those to validate on, if any."""
        for given in (patches, validation):
            if given is not None and not isinstance(given, RandomPatches):
                raise TypeError(
                    f"fit_patches takes sk_denoise.datasets.RandomPatches, got {type(given).__name__}. Say "
                    "how patches are to be drawn: RandomPatches(images, patch_size=64)."
                )
            if given is not None:
                refuse_noised(given)
        if validation is not None:
            return patches, validation.counted_like(patches)
        if not self.early_stopping:
            return patches, validation
        training, held_out = patches.split(
            self.validation_fraction, RandomState(stream_seed(self._root(), "split") % 2**32)
        )
        return training, held_out

    def _sample(self, patches: RandomPatches) -> Pair:
        """Return patches from all over the images as a pair of arrays, to know the stream by."""
        return self._check(*self._some(patches))

    def _held_out(self, patches: RandomPatches, training: RandomPatches, sample: Pair) -> Pair:
        """Return patches to validate on as a pair of arrays."""
        if patches.normalize != training.normalize:
            raise ValueError(
                f"The patches to train on have normalize={training.normalize}, those to validate on "
                f"normalize={patches.normalize}: they must have one unit."
            )
        inputs, _, clean = self._some(patches)
        return resolve_validation_pair(self, inputs, clean, sample).laid_out(self._layout())

    def _some(self, patches: RandomPatches) -> tuple[NDArray[Any], None, NDArray[Any] | None]:
        """Return arrays of patches as the arguments X, y and X_clean."""
        entries = int(np.prod(patches.sample_shape))
        n = min(len(patches), max(LEAST_PATCHES, SAMPLED_ENTRIES // entries))
        inputs, targets = patches.first(n, stream(self._root(), "patches"))
        return inputs.numpy(), None, targets.numpy() if patches.is_paired else None

    def _prepare(self, pair: Pair) -> None:
        """Settle the noise of this call and, at the first one, layout, scaling and network."""
        self.target_source_ = pair.source
        self.noiser_: Noiser | None
        if pair.noise_name != getattr(self, "_noise_name_", None):  # what was fitted before stays
            self._noise_name_ = pair.noise_name
            if pair.noiser is not None:
                known = self._noise_learns_from(pair.targets)
                pair.noiser.fit(known, known)  # as y, they say that they are meant to be clean
            self.noiser_ = pair.noiser
        if self.verbose:
            print(f"[{type(self).__name__}] {pair.describe()}", flush=True)
        network = self._network()
        on_unit_interval = self._check_range(network, pair.targets)
        design = self._design(on_unit_interval)
        if self.__sklearn_is_fitted__():
            self._go_on(design, len(pair.inputs))
        else:
            self._design_ = design
            self._build(pair, network, on_unit_interval)
        if self.emphasis is not None:
            few = self._rows(pair.take(np.arange(min(len(pair.inputs), 256))), "emphasis", 0).freeze()
            if not few.weights.any():
                raise ValueError(
                    f"emphasis={self.emphasis!r} counts no entry: the noise leaves "
                    f"{'all' if self.emphasis[1] == 0 else 'none'} of them as they are."
                )

    def _build(self, pair: Pair, network: Any, on_unit_interval: bool) -> None:
        """Learn layout and scaling from a pair, and make the network that suits them."""
        layout = self._training_layout(pair)
        self.image_shape_, self.data_range_, self._n_runs_ = layout.image_shape, pair.intensity.span, 0
        self.intensity_range_ = pair.known_intensity
        self._judged_, self._best_weights_ = None, None
        self._reference_noiser_ = default_noiser(
            pair.targets, layout.image_shape is not None
        )  # whatever the network
        self._reference_noiser_.fit(pair.targets, pair.targets)
        with threads_for_entries(pair.inputs.size):
            self._preparation_ = self._prepared(pair, layout, on_unit_interval)
        module = self._module(network, layout, on_unit_interval)
        self._cost_ = cost_of(module, self._input_shape(layout))
        optimizer = self._optimizer(len(pair.inputs))
        scaler = self._preparation_.target_scaler
        self._units_ = Units(
            scaler.center, scaler.spread, pair.intensity.black, pair.intensity.span
        )  # for some losses
        criterion = build_criterion(self.loss, self._units_)
        self.net_ = create_net(module, criterion, optimizer, resolve_device(self.device))

    def _design(self, on_unit_interval: bool) -> dict[str, Any]:
        """Return what a fit that goes on from another one must keep, and how it optimizes."""
        return {
            "network": name_of(self.network),
            "a loss on [0, 1]": on_unit_interval,
            "optimizer": name_of((self.optimizer, self.weight_decay)),
        }

    def _go_on(self, design: dict[str, Any], n_samples: int) -> None:
        """Put the loss and the optimizer of this call in place; refuse another network or scaling."""
        before, self._design_ = self._design_, design
        changed = [name for name in design if design[name] != before[name] and name != "optimizer"]
        if changed:
            raise ValueError(
                f"{' and '.join(changed)} changed since the first fit, and warm_start and partial_fit go on "
                "with its network and scaling. Change it back, or fit anew with warm_start=False."
            )
        net = self.net_
        net.criterion_ = build_criterion(self.loss, self._units_).to(net.device)
        if design["optimizer"] != before["optimizer"]:
            net.optimizer, arguments = self._optimizer(n_samples)
            net.optimizer_ = net.optimizer(net.module_.parameters(), **arguments)

    def _check_range(self, network: Any, clean: NDArray[Any]) -> bool:
        """Return whether the network answers in [0, 1], as a loss or its output asks for."""
        if check_loss(self.loss).on_unit_interval:
            cause = f"loss={self.loss!r}"
        elif getattr(network, "output_activation", None) == "sigmoid":
            cause = 'output_activation="sigmoid"'
        else:
            return False
        low, high = float(clean.min()), float(clean.max())
        if low < 0 or high > 1:
            raise ValueError(
                f"{cause} needs clean data in [0, 1], got values from {low:.4g} to {high:.4g}. Scale "
                'them to [0, 1], or use loss="mse" with output_activation="identity".'
            )
        return True

    def _train(
        self,
        training: Pair | RandomPatches,
        validation: Pair | None,
        tasks: FitTasks,
        sample: Pair,
        *,
        epochs: int | None = None,
        schedule: str | None = None,
    ) -> KeyboardInterrupt | None:
        """Train, tell the tasks of it, which are shown the sample, and return what interrupted the run."""
        rows = self._rows(training, "noise", self._n_runs_)
        if validation is not None:
            self._check_range(self._network(), validation.targets)
        frozen = None if validation is None else self._rows(validation, "validation", 0).freeze()
        batch_size = self._batch_size(len(rows))
        earlier, best_weights = self._earlier(frozen)
        done = 0
        if epochs is None:
            done = len(self.net_.history)
            epochs = self._epochs(-(-len(rows) // batch_size)) - done
            if done and self._is_over(epochs, earlier):
                tasks.begin(0, *self._as_shown(sample))
                tasks.end()
                return None
        step = 3 * self._cost_.flops * batch_size  # the backward pass takes twice the forward one
        self.precision_ = resolve_precision(
            self.precision,
            self.net_.module_,
            self._input_shape(self._preparation_.layout),
            torch.device(self.net_.device),
            step,
        )
        errors, data_range = self._preparation_.squared_errors, self.data_range_
        watchers, functions = check_callbacks(self.callbacks)
        plan = TrainingPlan(
            epochs=epochs,
            batch_size=batch_size,
            schedule=schedule or self.learning_rate_schedule,
            warm_up_steps=self._rise,
            epochs_done=done,
            earlier_losses=earlier,
            best_weights=best_weights,
            learning_rate=self._optimizer(len(rows))[1]["lr"],
            patience=self.n_iter_no_change if self.early_stopping and frozen is not None else None,
            tol=self.tol,
            bfloat16=self.precision_ == "bfloat16",
            sample_psnr=lambda output, target: psnr_of_mse(errors(output, target).cpu(), data_range),
            show_progress=bool(self.verbose),
            max_gradient_norm=self.gradient_clipping,
            averaging_decay=self.weight_averaging,
            callbacks=watchers,
            before_epoch=tasks.begin_epoch,
            after_epoch=lambda net: self._tell(tasks, functions, net),
        )
        tasks.begin(epochs, *self._as_shown(sample))
        with self._lent_randomness(), threads_for_flops(step):
            interruption = run_training(self.net_, rows, frozen, plan)
        self._n_runs_ += 1
        self._best_weights_ = None  # the net has them
        tasks.end()
        return interruption

    def _earlier(self, frozen: FixedRows | None) -> tuple[list[float], dict[str, torch.Tensor] | None]:
        """Return the validation losses that early stopping goes on from, and the best weights so far.

        They are those of the epochs since the rows and the loss that judge the weights were last others.
        """
        judge = None
        if frozen is not None and self.early_stopping:
            sides = (frozen.inputs, frozen.targets, frozen.weights)
            judge = name_of([name_of(self.loss), *(s.numpy(force=True) for s in sides if s is not None)])
        history = self.net_.history
        before = getattr(self, "_judged_", None)  # not there in files of an older version
        if judge is None:
            self._judged_ = None
        elif before is None or before[0] != judge or before[1] > len(history):
            self._judged_ = judge, len(history)
        else:
            losses = [epoch.get("valid_loss", np.inf) for epoch in history[before[1] :]]
            return losses, getattr(self, "_best_weights_", None)
        return [], None

    def _is_over(self, left: int, losses: Sequence[float]) -> bool:
        """Return whether a fit that goes on has nothing to do, with a warning."""
        done = len(self.net_.history)
        if left <= 0:
            reason = f"max_epochs={self.max_epochs!r} counts all epochs, and {done} are done"
            remedy = f"Raise max_epochs to more than {done}"
        elif self.early_stopping and early_stopping_progress(losses, self.tol)[1] >= self.n_iter_no_change:
            reason = f"it stopped early after {done} epochs, and is measured on the same samples as then"
            remedy = "Raise n_iter_no_change, or turn early_stopping off"
        else:
            return False
        warn_user(
            f"{type(self).__name__} has warm_start=True and learned nothing more: {reason}. {remedy} to go "
            "on, or fit anew with warm_start=False."
        )
        return True

    def _rows(self, samples: Any, purpose: str, run: int) -> Any:
        """Return what batches are drawn from, with randomness for one purpose and run."""
        device = torch.device(self.net_.device)
        if isinstance(samples, Pair) and samples.weights is not None:
            check_weighable(self.loss, check_loss(self.loss).by_sample)
        noiseless = samples.is_paired if isinstance(samples, RandomPatches) else samples.noiser is None
        pairing = pairing_of(
            self._preparation_,
            None if noiseless else self.noiser_,
            self.augment,
            self.emphasis,
            stream(self._root(), purpose, run, device=device),
            tells_level=self._tells_level(),
        )
        return rows_of(samples, device, pairing, stream(self._root(), "shuffle", run))

    def _optimizer(self, n_samples: int) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        return resolve_optimizer(self.optimizer, self.learning_rate, self.weight_decay, n_samples=n_samples)

    def _batch_size(self, n_samples: int) -> int:
        if self.batch_size == "auto":
            return auto_batch_size(n_samples)
        if self.batch_size > n_samples:
            warn_user(
                f"batch_size={self.batch_size} is larger than the {n_samples} samples there are to train on; "
                "all of them make one batch.",
            )
        return min(n_samples, self.batch_size)

    def _epochs(self, steps: int) -> int:
        if self.max_epochs == "auto":
            return auto_epochs(steps)
        return int(self.max_epochs)

    def _root(self) -> int:
        """Return the seed of the fit, the same for all further calls that continue it."""
        if not hasattr(self, "_root_"):
            self._root_ = root_seed(self.random_state)
        return self._root_

    def _lent_randomness(self) -> AbstractContextManager[None]:
        """Lend torch's global state for a run to a module that may draw from it, with dropout say."""
        if isinstance(self.net_.module_, SeededModule):
            return nullcontext()
        return borrowed_global_state(stream_seed(self._root(), "training", self._n_runs_))

    def _store(self, draft: Self, interruption: KeyboardInterrupt | None) -> Self:
        """Take over what was fitted, and raise an interruption again: no search may crown such a fit."""
        draft._recall()
        take_fitted(self, draft)
        if interruption is not None:
            raise interruption
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")
