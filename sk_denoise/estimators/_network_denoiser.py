"""The base of estimators that train a network: the steps of a fit, and its state."""

from __future__ import annotations

import copy
import functools
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike

from sk_denoise._compat import FitTasks, adopt_fitted_state, outside_fit, without_fitted_state
from sk_denoise._enlargement import keep_size
from sk_denoise._intensity import IntensityRange
from sk_denoise._noise_model import NoiseModel, measure_repeats
from sk_denoise._random import borrowed_global_state, root_seed, stream, stream_seed
from sk_denoise._resources import Cost, cost_of, threads_for_entries, threads_for_flops
from sk_denoise._schema import COUNT, NUMBER_LIST, SEED, Rule, has_type, one_of, optional, record
from sk_denoise._skops import state_in_bytes
from sk_denoise._validation import (
    NOISER_OF_SAMPLES,
    Interval,
    Noiser,
    StrOptions,
    as_tensor,
    check_one_of,
    check_parameters,
    get_shape,
    restore_names,
    size_factor_of,
    specification_key,
    warn_of_flat_channels_first,
    warn_user,
)
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators._base import BaseDenoiser, score_gains, trace_rows
from sk_denoise.estimators._image_sizes import factor_of_noise
from sk_denoise.estimators._network_factory import NetworkFactory
from sk_denoise.estimators._network_summary import NetworkSummary, append_summary_html, summarize_estimator
from sk_denoise.estimators._pairs import (
    Pair,
    cut_wild_values,
    default_noiser,
    resolve_pair,
    resolve_validation_pair,
)
from sk_denoise.estimators._preparation import (
    BEST_WEIGHTS,
    JUDGEMENT,
    UNITS,
    Preparation,
    Recorruption,
)
from sk_denoise.estimators._training_data import (
    ArrayData,
    LongRows,
    RunProgress,
    TrainingData,
    build_batch_source,
    build_batch_transform,
    check_augmentation,
    check_emphasis,
    check_image_loss,
    check_noisy_targets,
    check_objective,
    check_weighted_loss,
    find_splitter,
    find_swap,
    kind_of_samples,
    make_pair_of_noisy,
    warn_of_correlated_noise,
)
from sk_denoise.metrics import psnr_of_mse
from sk_denoise.networks import SeededModule
from sk_denoise.training import (
    PRECISIONS,
    SCHEDULES,
    FixedRows,
    Objective,
    TrainingPair,
    TrainingPlan,
    Units,
    build_criterion,
    check_callbacks,
    check_loss,
    create_net,
    current_processes,
    digest,
    early_stopping_progress,
    joined_processes,
    resolve_device,
    resolve_objective,
    resolve_optimizer,
    resolve_precision,
    run_training,
)

__all__ = ["AutoValues", "NetworkDenoiser"]

# Samples of a trial batch that shows whether any entry has a weight.
TRIAL_SAMPLES = 256
# A backward pass takes twice the operations of a forward pass.
FORWARD_PASSES_PER_STEP = 3


@dataclass(frozen=True)
class AutoValues:
    """Values of parameters that are "auto", and limits, by the kind of data.

    Attributes
    ----------
    batch_size : callable
        From the number of samples to samples in a batch.
    max_epochs : callable
        From the number of steps in an epoch to a number of epochs.
    warm_up_steps : int
        Steps at least in which the learning rate rises.
    min_samples : int
        Samples that a first fit needs.
    """

    batch_size: Callable[[int], int]
    max_epochs: Callable[[int], int]
    warm_up_steps: int
    min_samples: int


@state_in_bytes
class NetworkDenoiser(BaseDenoiser):
    """Train a network to denoise.

    Two parts vary between subclasses. ``_read`` turns the arguments of ``fit`` into training data
    (:mod:`._training_data`), and ``_factory`` builds the network (:mod:`._network_factory`). A subclass has
    the parameters below in its constructor.
    """

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
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "_preparation_": has_type(Preparation, "a preparation"),
        "noiser_": optional(NOISER_OF_SAMPLES),
        "noise_model_": replace(optional(record(NoiseModel, "a noise model")), required=False),
        "_training_trace_": replace(optional(has_type(str, "a hash")), required=False),
        "_swap_": replace(optional(one_of("samples", "entries")), required=False),
        "_recorruption_": replace(optional(record(Recorruption, "recorrupted inputs")), required=False),
        "_noise_name_": has_type(str, "a name"),
        "intensity_range_": optional(record(IntensityRange, "two numbers, black and white")),
        "precision_": one_of(*PRECISIONS, required=False),
        "_units_": UNITS,
        "_design_": has_type(dict, "a dict"),
        "_cost_": has_type(Cost, "a cost"),
        "net_": Rule(lambda v, _: v is not None, "a net"),
        "_root_": SEED,
        "_n_runs_": COUNT,
        "n_iter_": COUNT,
        "loss_curve_": NUMBER_LIST,
        "validation_scores_": optional(NUMBER_LIST),
        "_judged_": JUDGEMENT,
        "_best_weights_": BEST_WEIGHTS,
    }
    _auto_values: ClassVar[AutoValues]
    _takes_any_size: ClassVar[bool] = False
    _enlarges: ClassVar[bool] = False
    # Whether samples are signals, of which each channel has its unit.
    _has_channel_units: ClassVar[bool] = False
    # An ensemble checks the clean side once for all of its members.
    _skips_target_check: bool = False
    network: Any
    noise: Any
    objective: Any
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
    precision: Literal["auto", "float32", "bfloat16"]
    device: str | torch.device
    random_state: int | RandomState | None
    verbose: int

    image_shape_: tuple[int, ...] | None
    intensity_range_: IntensityRange | None
    net_: Any
    _preparation_: Preparation
    noiser_: Noiser | None
    _sample_shape_: tuple[int, ...]
    _n_runs_: int
    # Weights with the lowest validation loss, while early stopping may go on.
    _best_weights_: dict[str, Any] | None
    # Name of the validation samples and the loss, and the first epoch that they judged.
    _judged_: tuple[str, int] | None

    # What varies ------------------------------------------------------------------------------------

    @abstractmethod
    def _factory(self) -> NetworkFactory:
        """Return the factory of the network, by the parameters."""

    @abstractmethod
    def _read(self, X: Any, y: Any, X_clean: Any, sample_weight: Any, X_second: Any = None) -> TrainingData:
        """Check the arguments of ``fit`` and return them as training data."""

    # The steps of a fit ------------------------------------------------------------------------------

    def _fit(
        self,
        X: Any,
        y: Any,
        X_clean: Any,
        sample_weight: Any,
        *,
        X_second: Any = None,
        X_val: Any = None,
        X_clean_val: Any = None,
        fresh: bool,
        epochs: int | None = None,
        schedule: str | None = None,
    ) -> Self:
        """Fit to the arguments of ``fit``: draft, check, read, split, learn."""
        with self._begin_fit(fresh) as (draft, tasks):
            data = draft._read(X, y, X_clean, sample_weight, X_second)
            # A pass of partial_fit holds nothing out.
            training, validation = (data, None) if epochs else draft._split(data, X_val, X_clean_val)
            return self._learn(draft, tasks, training, validation, epochs=epochs, schedule=schedule)

    @contextmanager
    def _begin_fit(self, fresh: bool) -> Iterator[tuple[Self, FitTasks]]:
        """Return a checked draft, and the fit for scikit-learn's callbacks."""
        tasks = FitTasks(self)
        with joined_processes(self.device) as processes:
            draft = self._draft(fresh)
            draft._check_parameters()
            if processes is not None:
                # A random_state of None is another seed in every process.
                draft._root_ = processes.of_first(draft._root())
                if not processes.is_first:
                    # Callbacks of scikit-learn show progress and scores.
                    tasks.context = None
            yield draft, tasks

    def _learn(
        self,
        draft: Self,
        tasks: FitTasks,
        training: TrainingData,
        validation: TrainingData | None,
        *,
        epochs: int | None = None,
        schedule: str | None = None,
    ) -> Self:
        """Prepare the draft, train it, and take over its state."""
        sample, source = training.load(draft)
        draft._prepare(sample)
        draft._training_trace_ = trace_rows(sample.inputs) if sample.has_noisy_targets else None
        held_out = None if validation is None else validation.load(draft, like=sample)[0]
        interruption = draft._train(source, held_out, tasks, sample, epochs=epochs, schedule=schedule)
        draft._finish()
        draft._report_blend()
        processes = current_processes()
        if processes is not None:
            processes.conclude()
        return self._store(draft, interruption)

    def _finish(self) -> None:
        """Complete the fitted state after the training, or after an epoch for callbacks."""

    def _report_blend(self) -> None:
        """Report the shares of a blend, once for a fit."""

    def _draft(self, fresh: bool) -> Self:
        """Return a copy to work on: a fit that fails leaves the estimator as it was."""
        draft = without_fitted_state(self) if fresh else copy.copy(self)
        if not fresh and self.__sklearn_is_fitted__():
            draft.net_ = copy.deepcopy(self.net_)
        return draft

    def _check_parameters(self) -> None:
        check_parameters(self, {**NetworkDenoiser._parameter_constraints, **self._parameter_constraints})
        check_emphasis(self.emphasis, self.loss, check_loss(self.loss).takes_entry_weights)
        check_one_of(self.learning_rate_schedule, SCHEDULES, "learning_rate_schedule")
        check_callbacks(self.callbacks)
        if factor_of_noise(self.noise) > 1 and not self._enlarges:
            raise ValueError(
                f"noise={self.noise!r} reduces images, and {type(self).__name__} keeps their size. Use "
                "ImageDenoiser, which enlarges them."
            )
        objective = resolve_objective(self.objective)
        if objective is not None:
            check_objective(self, objective)

    def _resolve(
        self,
        X: ArrayLike,
        y: Any,
        X_clean: ArrayLike | None,
        sample_weight: ArrayLike | None = None,
        X_second: ArrayLike | None = None,
        is_declared_clean: bool = False,
    ) -> Pair:
        """Check arrays and settle which side is clean."""
        warn_of_flat_channels_first(get_shape(X), self.image_shape)
        first = not self.__sklearn_is_fitted__()
        factory = self._factory()
        pair = resolve_pair(
            self,
            X,
            y,
            X_clean,
            noise=self.noise,
            rows_are_signals=factory.rows_are_signals,
            reset=first,
            min_samples=self._auto_values.min_samples if first else 1,
            sample_weight=sample_weight,
            X_second=X_second,
            is_self_supervised=resolve_objective(self.objective) is not None,
            is_declared_clean=is_declared_clean or self._skips_target_check,
        )
        if X_second is not None:
            check_noisy_targets(self, "X_second")
        layout = factory.layout(self._sample_shape_)
        traits = check_loss(self.loss)
        check_augmentation(self.augment, layout, traits.on_unit_interval)
        check_image_loss(self.loss, traits.images_only, layout)
        return pair.with_image_shape(layout)

    def _split(
        self, data: TrainingData, X_val: Any, X_clean_val: Any
    ) -> tuple[TrainingData, TrainingData | None]:
        """Return training data and validation data: given, held out, or none."""
        if X_val is not None:
            assert isinstance(data, ArrayData)
            pair = resolve_validation_pair(self, X_val, X_clean_val, data.pair)
            layout = self._factory().layout(self._sample_shape_)
            return data, ArrayData(pair.with_image_shape(layout), data.patch_size, data.patches_per_image)
        if X_clean_val is not None:
            raise ValueError("X_clean_val is the clean side of X_val, which is missing.")
        if not self.early_stopping:
            return data, None
        return data.split(self.validation_fraction, self._root(), self._auto_values.min_samples)

    def _prepare(self, pair: Pair) -> None:
        """Determine the noise; at the first call, layout, scaling and network too."""
        factory = self._factory()
        self.target_source_, self._swap_ = pair.source, find_swap(pair)
        # The same noise keeps the state of its first fit.
        is_noisy = pair.source == "noisy"
        name = specification_key((pair.noise_name, self.objective)) if is_noisy else pair.noise_name
        name += pair.source if pair.source == "X_second" else ""
        if name != getattr(self, "_noise_name_", None):
            self._noise_name_ = name
            self._learn_noise_in(pair)
            if pair.noiser is not None:
                clean = self._rows_of_score(pair).targets
                # Single pixels cannot be reduced.
                clean = clean if size_factor_of(pair.noiser) > 1 else factory.samples_for_noise(clean)
                # A few wild values would make the noise far stronger than the rest of their column.
                if isinstance(self.noise, str) and self.noise == "auto" and pair.source == "X":
                    clean = cut_wild_values(clean, factory.layout(self._sample_shape_).has_one_unit)
                # Such noise copies the gaps.
                if getattr(pair.noiser, "_takes_gaps", False):
                    clean = pair.targets_with_gaps
                # As y they are declared clean, also where they hold the noise of a noiser.
                pair.noiser.fit(clean, clean)
            self.noiser_ = pair.noiser
        self._learn_gaps(pair)
        if self._prints():
            processes = current_processes()
            joined = "" if processes is None else f", in {processes.n} processes"
            print(f"[{type(self).__name__}] {pair.describe()}{joined}", flush=True)
        fitted = self._preparation_ if self.__sklearn_is_fitted__() else None
        if fitted is not None and self._scale_constant_columns(pair):
            fitted = self._preparation_
        on_unit_interval = factory.needs_unit_interval(pair.targets, fitted)
        design = self._design(on_unit_interval)
        if fitted is not None:
            self._go_on(design, len(pair.inputs))
        else:
            self._design_ = design
            self._build(factory, pair, on_unit_interval)
        self._check_emphasis_counts(pair)

    def _prints(self) -> bool:
        """Return whether the fit prints lines: the first process does so for all."""
        processes = current_processes()
        return bool(self.verbose) and (processes is None or processes.is_first)

    def _learn_gaps(self, pair: Pair) -> None:
        """Learn to fill the gaps of noisy samples; by default there are none."""

    def _filled(self, noiser: Any) -> Any:
        """Return noise with filled gaps; by default it has none."""
        return noiser

    def _has_gaps(self) -> bool:
        """Return whether noisy samples may have gaps."""
        return False

    def _fill_noisy(self, x: torch.Tensor) -> torch.Tensor:
        """Return noisy samples without gaps."""
        return x

    def _scale_constant_columns(self, pair: Pair) -> bool:
        """Scale columns that were constant so far; return whether some vary in a pair."""
        before: Preparation = self._preparation_
        if before.layout.has_one_unit or not before.has_constant_columns:
            return False
        layout, clean = before.layout, pair.targets
        if pair.noiser is not None and self.noiser_ is not None:
            # Noise relative to the spread of a constant column is zero.
            noiser = copy.deepcopy(self.noiser_)
            noiser.fit(clean, clean)
        else:
            noiser = None
        sides = self._recorrupted_pair(pair)
        present = self._factory().preparation(sides, layout, self._filled(noiser), False, self._root())
        self._preparation_, columns = before.with_scales_of(present)
        if not columns:
            return False
        if noiser is not None:
            self.noiser_ = noiser
        names = getattr(self, "feature_names_in_", range(layout.sample_shape[0]))
        warn_user(
            f"{len(columns)} columns of X were constant in all samples so far, and vary now: "
            f"{', '.join(str(names[i]) for i in columns[:5])}{', ...' if len(columns) > 5 else ''}. Their "
            "scaling is learned from these samples. Better begin with samples that resemble the rest."
        )
        return True

    def _learn_noise_in(self, pair: Pair) -> None:
        """Determine the noise in noisy samples, and how predictions deal with it."""
        self.noise_model_, self._recorruption_ = None, None
        objective = resolve_objective(self.objective)
        if pair.source == "X_second":
            self.noise_model_ = measure_repeats(pair.inputs, pair.targets)
        if objective is None:
            return
        kind = kind_of_samples(self._factory().layout(self._sample_shape_))
        if kind not in objective.kinds:
            raise ValueError(
                f"objective={self.objective!r} is for images and signals, whose entries have neighbours; X "
                f'is a table of {self.n_features_in_} columns. Use "recorrupt" or "blind", or image_shape= '
                "for images in flat rows."
            )
        splitter = None
        # For the other objectives, a level is needed by a noise-level map alone.
        if objective.needs_noise or self._factory().has_noise_map:
            splitter = find_splitter(pair, kind)
            self.noise_model_ = splitter.model
            # For images, the mean over copies takes their number in time and gains nothing.
            n_copies = 0 if self._takes_any_size else getattr(objective, "n_copies", 0)
            resolve_share = getattr(objective, "resolve_share", None)
            share = getattr(objective, "share", 0.5)
            if resolve_share is not None:
                share = resolve_share(pair.inputs.shape[1:])
            self._recorruption_ = Recorruption(splitter, float(share), int(n_copies))
        # The noise of a grain noiser is split as it is correlated.
        splits_grain = objective.needs_noise and splitter is not None and splitter.noiser is not None
        if getattr(objective, "needs_independence", False) and not splits_grain:
            warn_of_correlated_noise(pair.inputs)

    def _check_emphasis_counts(self, pair: Pair) -> None:
        """Refuse weights of entries that are all zero under the noise."""
        if self.emphasis is None:
            return
        trial = pair.take(np.arange(min(len(pair.inputs), TRIAL_SAMPLES)))
        if not self._batches(trial, "emphasis", 0).freeze().weights.any():
            raise ValueError(
                f"emphasis={self.emphasis!r} counts no entry: the noise leaves "
                f"{'all' if self.emphasis[1] == 0 else 'none'} of them as they are."
            )

    def _build(self, factory: NetworkFactory, pair: Pair, on_unit_interval: bool) -> None:
        """Learn layout and scaling from a pair, and build the network for them."""
        layout = factory.batch_layout(self._sample_shape_, pair.inputs.shape[1:])
        self.image_shape_, self.data_range_, self._n_runs_ = layout.image_shape, pair.intensity.span, 0
        self.intensity_range_ = pair.known_intensity
        # Images of any size have no columns.
        scored = self._rows_of_score(pair)
        self._score_gains_ = None if self._takes_any_size else score_gains(scored)
        self._judged_, self._best_weights_ = None, None
        # Its strength depends on the data alone, so that scores of different networks compare.
        self._reference_noiser_ = default_noiser(scored.targets, layout.image_shape is not None)
        clean = cut_wild_values(scored.targets, layout.image_shape is not None)
        self._reference_noiser_.fit(clean, clean)
        with threads_for_entries(pair.inputs.size):
            sides = self._recorrupted_pair(pair)
            self._preparation_ = factory.preparation(
                sides, layout, self._filled(keep_size(self.noiser_)), on_unit_interval, self._root()
            )
        module = factory.build(layout, on_unit_interval, self._root())
        self._cost_ = cost_of(module, factory.input_shape(layout))
        optimizer = self._resolve_optimizer(len(pair.inputs))
        # Losses that compare images do so in the unit of the data.
        scaler = self._preparation_.target_scaler
        blocks = self._preparation_.blocks
        self._units_ = Units(scaler.center, scaler.spread, pair.intensity.black, pair.intensity.span, blocks)
        criterion = build_criterion(self.loss, self._units_)
        self.net_ = create_net(module, criterion, optimizer, resolve_device(self.device))

    def _recorrupted_pair(self, pair: Pair) -> Pair:
        """Return the sides that the statistics of inputs and targets are learned from."""
        objective = resolve_objective(self.objective)
        if objective is None or not objective.needs_noise:
            return pair
        make_pair = self._pair_maker(objective, None)
        sides = make_pair(as_tensor(pair.inputs), stream(self._root(), "statistics", 1))
        return replace(pair, inputs=sides.input.numpy(), targets=sides.target.numpy())

    def _pair_maker(
        self, objective: Objective, progress: RunProgress | None, *, is_weighted: bool = False
    ) -> Callable[[torch.Tensor, torch.Generator], TrainingPair]:
        """Return the function that makes pairs of noisy samples alone.

        Validation samples, without a progress, do not depend on the weights.
        """
        recorruption = self._recorruption_
        return functools.partial(
            make_pair_of_noisy,
            objective=objective,
            layout=self._factory().layout(self._sample_shape_),
            noise=None if recorruption is None else recorruption.splitter,
            denoise=None if progress is None else self._denoise_batch,
            progress=progress,
            is_weighted=is_weighted,
        )

    def _denoise_batch(self, noisy: torch.Tensor) -> torch.Tensor:
        """Return the output of the network with its present weights, in the user's unit."""
        module, preparation = self.net_.module_, self._preparation_
        was_training = module.training
        with torch.no_grad():
            inputs = preparation.input(noisy).float()
            if self._factory().has_noise_map:
                assert self._recorruption_ is not None
                level = self._recorruption_.splitter.level(noisy).square().flatten(1).mean(1).sqrt()
                level = (level / float(preparation.target_scaler.spread)).to(inputs)
                inputs = torch.cat([inputs, level[:, None, None, None].expand_as(inputs[:, :1])], dim=1)
            output = module.eval()(inputs).float()
        module.train(was_training)
        return preparation.restore(output).reshape(noisy.shape)

    def _design(self, on_unit_interval: bool) -> dict[str, Any]:
        """Return the choices that a continued fit must keep, and the optimizer."""
        return {
            **self._factory().fixed_parameters(),
            "a loss on [0, 1]": on_unit_interval,
            "optimizer": specification_key((self.optimizer, self.weight_decay)),
        }

    def _go_on(self, design: dict[str, Any], n_samples: int) -> None:
        """Set the loss and the optimizer of this call; refuse another network or scaling."""
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
            net.optimizer, arguments = self._resolve_optimizer(n_samples)
            net.optimizer_ = net.optimizer(net.module_.parameters(), **arguments)

    def _train(
        self,
        source: Pair | LongRows | RandomPatches,
        held_out: Pair | None,
        tasks: FitTasks,
        sample: Pair,
        *,
        epochs: int | None = None,
        schedule: str | None = None,
    ) -> KeyboardInterrupt | None:
        """Train on batches of the source, and return the interruption of the run, if any.

        Parameters
        ----------
        source : Pair, LongRows or RandomPatches
            Batches are drawn from it.
        held_out : Pair or None
            Samples to validate on.
        tasks : FitTasks
            The fit for callbacks of scikit-learn, which score ``sample``.
        sample : Pair
            Arrays that stand for the source.
        epochs : int, optional
            Epochs of this call. By default ``max_epochs``, less those before.
        schedule : str, optional
            In place of ``learning_rate_schedule``.
        """
        progress = RunProgress()
        batches = self._batches(source, "noise", self._n_runs_, progress)
        if held_out is not None:
            fitted = self._preparation_ if hasattr(self, "net_") else None
            self._factory().needs_unit_interval(held_out.targets, fitted)
        frozen = None if held_out is None else self._batches(held_out, "validation", 0).freeze()
        batch_size = self._resolve_batch_size(len(batches))
        has_noisy_targets = self.target_source_ in ("noisy", "X_second")
        earlier_losses, best_weights = self._earlier_validation(frozen)
        done = 0
        if epochs is None:
            done = len(self.net_.history)
            epochs = self._resolve_epochs(-(-len(batches) // batch_size)) - done
            if done and self._has_nothing_left(epochs, earlier_losses):
                tasks.begin(0, *self._sample_for_callbacks(sample))
                tasks.end()
                return None
        progress.begin(done, epochs)
        step = FORWARD_PASSES_PER_STEP * self._cost_.flops * batch_size
        self.precision_ = resolve_precision(
            self.precision,
            self.net_.module_,
            self._factory().input_shape(self._preparation_.layout),
            torch.device(self.net_.device),
            step,
        )
        # Shares of the data range, since squares in its unit may leave single precision.
        gains = 1 / self.data_range_ if self._gains() is None else self._gains()
        errors = functools.partial(
            self._preparation_.squared_errors, gains=torch.as_tensor(gains, dtype=torch.float64)
        )
        watchers, functions = check_callbacks(self.callbacks)
        has_gaps = getattr(source, "has_gaps", False) or any(
            pair is not None and pair.target_gaps is not None for pair in (sample, held_out)
        )

        def sample_psnr(
            output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
        ) -> Any:
            known = weight > 0 if has_gaps and weight is not None else None
            return psnr_of_mse(errors(output, target, known=known).cpu(), 1.0)

        def begin_epoch() -> None:
            progress.advance()
            tasks.begin_epoch()

        plan = TrainingPlan(
            epochs=epochs,
            batch_size=batch_size,
            schedule=schedule or self.learning_rate_schedule,
            warm_up_steps=self._auto_values.warm_up_steps,
            epochs_done=done,
            earlier_losses=earlier_losses,
            best_weights=best_weights,
            learning_rate=self._resolve_optimizer(len(batches))[1]["lr"],
            patience=self.n_iter_no_change if self.early_stopping and frozen is not None else None,
            tol=self.tol,
            bfloat16=self.precision_ == "bfloat16",
            # A distance to noisy targets is no PSNR.
            sample_psnr=None if has_noisy_targets else sample_psnr,
            show_progress=bool(self.verbose),
            max_gradient_norm=self.gradient_clipping,
            averaging_decay=self.weight_averaging,
            callbacks=watchers,
            before_epoch=begin_epoch,
            after_epoch=lambda net: self._end_epoch(tasks, functions, net),
        )
        self._check_processes(plan, len(batches), sample, held_out)
        tasks.begin(epochs, *self._sample_for_callbacks(sample))
        with self._lent_randomness(), threads_for_flops(step):
            interruption = run_training(self.net_, batches, frozen, plan)
        self._n_runs_ += 1
        # The net holds them now.
        self._best_weights_ = None
        tasks.end()
        return interruption

    def _check_processes(
        self, plan: TrainingPlan, n_samples: int, sample: Pair, held_out: Pair | None
    ) -> None:
        """Check that all processes train one network on the same data."""
        processes = current_processes()
        if processes is None:
            return
        pairs = [pair for pair in (sample, held_out) if pair is not None]
        data = digest(*(side for pair in pairs for side in (pair.inputs, pair.targets, pair.weights)))
        settings = [value for value in vars(plan).values() if isinstance(value, int | float | str | None)]
        shapes = [tuple(weight.shape) for weight in self.net_.module_.parameters()]
        processes.check_same(X=f"{n_samples} {data}", parameters=f"{settings} {plan.earlier_losses} {shapes}")

    def _store(self, draft: Self, interruption: KeyboardInterrupt | None) -> Self:
        """Take over the fitted state of the draft; raise an interruption again."""
        draft._set_history()
        adopt_fitted_state(self, draft)
        # A search would otherwise compare an interrupted fit with finished ones.
        if interruption is not None:
            raise interruption
        return self

    # Parts of a run ----------------------------------------------------------------------------------

    def _batches(self, samples: Any, purpose: str, run: int, progress: RunProgress | None = None) -> Any:
        """Return the source of batches, with random numbers for one purpose and run."""
        device = torch.device(self.net_.device)
        is_weighted = isinstance(samples, Pair | LongRows) and samples.weights is not None
        if is_weighted:
            check_weighted_loss(self.loss, check_loss(self.loss).takes_sample_weights)
        noiseless = samples.is_paired if isinstance(samples, RandomPatches) else samples.noiser is None
        noiser: Any = None if noiseless else keep_size(self.noiser_)
        redrawn = self._redrawn_noise(samples) if purpose == "noise" else None
        if redrawn is not None:
            noiser, samples = redrawn, replace(samples, inputs=samples.targets)
        objective = resolve_objective(self.objective)
        pairing = build_batch_transform(
            self._preparation_,
            noiser,
            self.augment,
            self.emphasis,
            stream(self._root(), purpose, run, device=device),
            adds_noise_map=self._factory().has_noise_map,
            make_pair=None
            if objective is None
            else self._pair_maker(objective, progress, is_weighted=is_weighted),
            swap=self._swap_,
            fill=self._fill_noisy if self._has_gaps() else None,
        )
        return build_batch_source(samples, device, pairing, stream(self._root(), "shuffle", run))

    def _rows_of_score(self, pair: Pair) -> Pair:
        """Return the samples that determine the noise of the training and of ``score``."""
        return pair

    def _redrawn_noise(self, samples: Any) -> Any:
        """Return the noise of pairs for new draws in every batch, or None."""
        return None

    def _earlier_validation(
        self, frozen: FixedRows | None
    ) -> tuple[list[float], dict[str, torch.Tensor] | None]:
        """Return the earlier losses of early stopping, and the best weights so far.

        They count since the validation samples and the loss last changed.
        """
        judge = None
        if frozen is not None and self.early_stopping:
            sides = (frozen.inputs, frozen.targets, frozen.weights)
            judge = specification_key(
                [specification_key(self.loss), *(s.numpy(force=True) for s in sides if s is not None)]
            )
        history = self.net_.history
        # Files of an older version lack it.
        before = getattr(self, "_judged_", None)
        if judge is None:
            self._judged_ = None
        elif before is None or before[0] != judge or before[1] > len(history):
            self._judged_ = judge, len(history)
        else:
            losses = [epoch.get("valid_loss", np.inf) for epoch in history[before[1] :]]
            return losses, getattr(self, "_best_weights_", None)
        return [], None

    def _has_nothing_left(self, left: int, losses: Sequence[float]) -> bool:
        """Return whether a continued fit is over already, with a warning."""
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

    def _resolve_optimizer(self, n_samples: int) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        return resolve_optimizer(self.optimizer, self.learning_rate, self.weight_decay, n_samples=n_samples)

    def _resolve_batch_size(self, n_samples: int) -> int:
        if self.batch_size == "auto":
            return self._auto_values.batch_size(n_samples)
        # Rows that a blend holds out were given too.
        blended = getattr(self, "_blended", None)
        n_given = n_samples if blended is None else len(blended.all.inputs)
        if self.batch_size > n_given:
            warn_user(
                f"batch_size={self.batch_size} is larger than the {n_given} samples there are to train on; "
                "all of them make one batch.",
            )
        return min(n_samples, self.batch_size)

    def _resolve_epochs(self, steps: int) -> int:
        return self._auto_values.max_epochs(steps) if self.max_epochs == "auto" else int(self.max_epochs)

    def _root(self) -> int:
        """Return the seed of the fit, the same for all further calls that continue it."""
        if not hasattr(self, "_root_"):
            self._root_ = root_seed(self.random_state)
        return self._root_

    def _lent_randomness(self) -> AbstractContextManager[None]:
        """Lend torch's global random state to modules that draw from it, as dropout does."""
        if isinstance(self.net_.module_, SeededModule):
            return nullcontext()
        processes = current_processes()
        # The rows of each process need numbers of their own.
        rank = () if processes is None or processes.is_first else (processes.rank,)
        return borrowed_global_state(stream_seed(self._root(), "training", self._n_runs_, *rank))

    # Callbacks ---------------------------------------------------------------------------------------

    def _sample_for_callbacks(self, sample: Pair) -> tuple[Any, Any, dict[str, Any] | None]:
        """Return samples, their clean side and their weights for callbacks to score."""
        shape = self._sample_shape_
        # predict takes no parts of flattened images.
        if len(shape) == 1 and sample.inputs[0].size != shape[0]:
            return None, None, None
        X, y = (
            side.reshape(-1, *shape) if len(shape) == 1 else side
            for side in (sample.inputs_with_gaps, sample.targets_with_gaps)
        )
        X = restore_names(X, getattr(self, "feature_names_in_", None))
        return X, y, None if sample.weights is None else {"sample_weight": sample.weights}

    def _end_epoch(self, tasks: FitTasks, functions: Sequence[Callable[..., Any]], net: Any) -> bool:
        """Call callbacks after an epoch, and return whether one of them stops the run."""
        processes = current_processes()
        if processes is not None and not processes.is_first:
            return bool(processes.of_first(0))
        so_far = functools.cache(lambda: self._fitted_so_far(net))
        stop = tasks.end_epoch(lambda: {n: v for n, v in vars(so_far()).items() if n.endswith("_")})
        epoch = {name: value for name, value in net.history[-1].items() if name != "batches"}
        for function in functions:
            returned = function(so_far(), dict(epoch))
            stop |= isinstance(returned, bool | np.bool_) and bool(returned)
        return stop if processes is None else bool(processes.of_first(stop))

    def _fitted_so_far(self, net: Any) -> Self:
        """Return a fitted copy, as if the fit had ended with the last epoch."""
        twin = outside_fit(self)
        twin.net_ = net.snapshot()
        twin._best_weights_ = net.earlier_best_weights
        # A fit that continues the copy draws patches and noise of its own.
        twin._n_runs_ += 1
        twin._set_history()
        twin._finish()
        for name in ("_blended", "_large_table", "_window"):
            twin.__dict__.pop(name, None)
        return twin

    def _set_history(self) -> None:
        """Set the public attributes that the history of the net determines."""
        history = self.net_.history
        self.n_iter_ = len(history)
        self.loss_curve_ = [epoch["train_loss"] for epoch in history]
        self.validation_scores_ = [e["valid_psnr"] for e in history if "valid_psnr" in e] or None

    # State and display --------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    def summary(
        self, input_shape: Sequence[int] | None = None, *, depth: int | None = None
    ) -> NetworkSummary:
        """Return the network as a table: layers, shapes, parameters, multiply-accumulates.

        Nothing of the estimator changes. Before ``fit``, a network is built and thrown away.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Shape of one sample of X, such as ``(784,)``, ``(28, 28)`` or ``(28, 28, 3)``; for signals
            ``(length,)`` or ``(channels, length)``. By default that of the fit. A fitted
            :class:`~sk_denoise.ImageDenoiser` takes any height and width, by default those of its patches,
            and a :class:`~sk_denoise.SignalDenoiser` any length.
        depth : int, optional
            How deep the blocks of the network are opened: 1 shows those that it is made of. By default all
            layers are shown, or, where they are more than 64, the blocks that hold them.

        Returns
        -------
        NetworkSummary
            Prints as a table; ``layers``, ``n_parameters``, ``macs`` and more are its attributes.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``, without ``input_shape``.
        ValueError
            For a shape that the network cannot be given.
        """
        return summarize_estimator(self, input_shape, depth)

    def _repr_html_inner(self) -> str:
        """Return the diagram of scikit-learn, which calls this, and the network below it."""
        return append_summary_html(self, super()._repr_html_inner())

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] = append_summary_html(self, bundle["text/html"])
        return bundle
