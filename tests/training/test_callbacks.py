from __future__ import annotations

import dataclasses
import math
import pickle
from itertools import pairwise

import pytest
import torch
from torch import nn

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, TrainingDivergedError
from sk_denoise.training import (
    SCHEDULES,
    BatchTransform,
    CorruptedRows,
    FixedRows,
    TrainingPlan,
    create_net,
    run_training,
)

STEP = 0.1
FALL_AT_ONCE = ("linear", "exponential")


class Weight(nn.Module):
    """A single weight that multiplies its input, from zero."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.value * x


class Plant(nn.Module):
    """A module with an output that grows by one with every step, for any input."""

    def __init__(self) -> None:
        super().__init__()
        self.height = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.height.expand_as(x)


def ones(n: int = 6) -> torch.Tensor:
    return torch.ones(n, 1)


def rows(inputs, targets, corrupt=None) -> CorruptedRows:
    noise, shuffle = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    transform = BatchTransform(corrupt, lambda x: x, lambda x: x, noise)
    return CorruptedRows(inputs, targets, inputs.device, transform, shuffle)


def negative_error(prediction, target):
    """Return a substitute for the PSNR of each sample, to be averaged."""
    return -(prediction - target).square().flatten(1).mean(dim=1)


def plan(epochs=5, batch_size=6, patience=None, tol=0.0, schedule="constant", rate=STEP, shown=False):
    return TrainingPlan(epochs, batch_size, schedule, rate, patience, tol, False, negative_error, shown)


def net_of(module=None, rate=STEP, loss=nn.MSELoss):
    module = Weight() if module is None else module
    return create_net(module, loss, (torch.optim.SGD, {"lr": rate}), torch.device("cpu"))


def weight(net) -> float:
    return next(net.module_.parameters()).item()


def towards_four(n=6) -> CorruptedRows:
    """Return a problem with a weight that approaches four from zero."""
    return rows(ones(n), 4 * ones(n))


# What is recorded ----------------------------------------------------------------------------------------


def test_losses_are_means_over_samples_also_with_batches_of_unequal_size():
    x = torch.arange(1.0, 8.0)[:, None]
    net = net_of()
    run_training(net, rows(x, x), FixedRows(2 * x, x), plan(epochs=2, batch_size=3, rate=1e-30, shown=True))
    expected = float(x.square().mean())
    for epoch in net.history:
        assert epoch["train_loss"] == pytest.approx(expected)
        assert epoch["valid_loss"] == pytest.approx(expected)
        assert epoch["train_psnr"] == pytest.approx(-expected)
        assert epoch["valid_psnr"] == pytest.approx(-expected)


def test_the_psnr_of_training_rows_is_recorded_only_for_the_progress():
    net = net_of()
    run_training(net, towards_four(), FixedRows(ones(), ones()), plan(epochs=1))
    assert "train_psnr" not in net.history[-1]
    assert "valid_psnr" in net.history[-1]


def test_without_validation_rows_nothing_is_recorded_of_validation():
    net = net_of()
    run_training(net, towards_four(), None, plan(epochs=3))
    assert len(net.history) == 3
    assert not any(name.startswith("valid") for epoch in net.history for name in epoch)


def test_validation_does_not_train():
    one, other = net_of(), net_of()
    run_training(one, towards_four(), None, plan())
    run_training(other, towards_four(), FixedRows(-ones(), 100 * ones()), plan())
    assert weight(one) == weight(other) != 0


def test_a_second_run_goes_on_with_weights_history_and_optimizer():
    net, straight = net_of(), net_of()
    run_training(net, towards_four(), None, plan(epochs=2))
    run_training(net, towards_four(), None, plan(epochs=3))
    run_training(straight, towards_four(), None, plan(epochs=5))
    assert len(net.history) == 5
    assert weight(net) == pytest.approx(weight(straight))
    losses = net.history[:, "train_loss"]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.slow
def test_a_trained_net_holds_no_data_and_can_be_pickled():
    net = net_of()
    run_training(
        net, towards_four(5000), FixedRows(ones(5000), ones(5000)), plan(epochs=3, batch_size=10, shown=True)
    )
    pickled = pickle.dumps(net)
    assert len(pickled) < 20_000
    assert weight(pickle.loads(pickled)) == weight(net)
    assert not net.module_.training


# Divergence ----------------------------------------------------------------------------------------------


def test_a_run_that_diverges_names_the_learning_rate_to_lower():
    message = (
        r"diverged in epoch \d+: the loss is .*, it was 16 at first. Lower learning_rate \(it is 50 now\)"
    )
    with pytest.raises(TrainingDivergedError, match=message):
        run_training(net_of(rate=50.0), towards_four(), None, plan(epochs=100, rate=50.0))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_loss_that_is_not_a_number_ends_the_run_at_its_first_step(value):
    with pytest.raises(TrainingDivergedError, match=r"diverged in epoch 1: the loss is (nan|inf)"):
        run_training(net_of(), rows(ones(), value * ones()), None, plan())


def test_a_run_that_diverges_closes_its_line_of_progress(capsys):
    net = net_of(rate=50.0)
    with pytest.raises(TrainingDivergedError):
        run_training(net, towards_four(), None, plan(epochs=100, rate=50.0, shown=True))
    assert capsys.readouterr().err.endswith("\n")
    assert net.callbacks_ == []


def test_a_loss_that_is_large_from_the_start_does_not_count_as_divergence():
    net = net_of()
    run_training(net, rows(ones(), 1e8 * ones()), None, plan())
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


def test_a_loss_that_starts_at_zero_may_rise_a_little():
    net = net_of()
    nn.init.ones_(net.module_.value)
    strengths = iter([0.0, 0.1, 0.1])
    run_training(net, rows(ones(), 0 * ones(), lambda x, _: x * next(strengths)), None, plan(epochs=3))
    losses = net.history[:, "train_loss"]
    assert losses[0] == 0
    assert losses[1] == pytest.approx(0.01)


# Stopping early ------------------------------------------------------------------------------------------


def passing_the_best(epochs: int, patience: int | None):
    """Train a weight from 0 towards 4; the validation loss has its minimum at 2."""
    net = net_of(rate=0.02)
    run_training(
        net,
        towards_four(),
        FixedRows(ones(), 2 * ones()),
        plan(epochs=epochs, patience=patience, rate=0.02),
    )
    return net


def test_a_run_stops_after_epochs_without_progress():
    for patience in (1, 3):
        net = passing_the_best(epochs=1000, patience=patience)
        best = min(range(len(net.history)), key=lambda epoch: net.history[epoch, "valid_loss"])
        assert 5 < best < 50
        assert len(net.history) == best + 1 + patience


def test_a_run_that_stopped_has_the_best_weights():
    net = passing_the_best(epochs=1000, patience=5)
    assert weight(net) == pytest.approx(2, abs=0.05)


def test_a_run_that_would_have_stopped_later_has_the_best_weights_too():
    stopped = passing_the_best(epochs=1000, patience=5)
    ended = passing_the_best(epochs=len(stopped.history) - 1, patience=5)
    assert weight(ended) == weight(stopped)


def test_a_run_without_patience_goes_on_to_its_end():
    net = passing_the_best(epochs=200, patience=None)
    assert len(net.history) == 200
    assert weight(net) > 3.9


def test_a_decrease_below_the_tolerance_does_not_count_as_progress():
    lengths = []
    for tol in (0.0, 0.5, 1e6):
        net = net_of(rate=0.02)
        run_training(net, towards_four(), None, plan(epochs=100, patience=2, tol=tol, rate=0.02))
        lengths.append(len(net.history))
    assert lengths[0] == 100  # the training loss falls to the end
    assert 3 < lengths[1] < 50
    assert lengths[2] == 3  # the first epoch is progress from nothing


def test_patience_starts_anew_with_every_run():
    net = passing_the_best(epochs=1000, patience=3)
    before = len(net.history)
    run_training(net, towards_four(), FixedRows(ones(), 2 * ones()), plan(epochs=50, patience=3, rate=0.02))
    assert len(net.history) >= before + 3


# Interruption --------------------------------------------------------------------------------------------


def interrupted_at(step: int):
    """Return a corruption that changes nothing and in which the user presses Ctrl-C at one step."""
    steps = iter(range(1, 10**6))

    def corrupt(x, generator):
        if next(steps) == step:
            raise KeyboardInterrupt
        return x

    return corrupt


def test_an_interruption_is_returned_with_the_best_weights_so_far():
    net, whole = net_of(), net_of()
    interrupted = rows(ones(), 4 * ones(), interrupted_at(step=4))
    interruption = run_training(net, interrupted, None, plan(epochs=10))
    run_training(whole, towards_four(), None, plan(epochs=3))
    assert isinstance(interruption, KeyboardInterrupt)
    assert weight(net) == weight(whole)
    assert run_training(net_of(), towards_four(), None, plan()) is None


@pytest.mark.usefixtures("batches_drawn_alone")
def test_an_interruption_in_the_first_epoch_leaves_the_initial_weights():
    net = net_of()
    run_training(net, rows(ones(), 4 * ones(), interrupted_at(step=3)), None, plan(batch_size=1))
    assert weight(net) == 0


@pytest.mark.usefixtures("batches_drawn_alone")
@pytest.mark.filterwarnings("ignore:.*were constant in all samples so far")
@pytest.mark.parametrize("step", [2, 20])
def test_ctrl_c_in_the_middle_of_an_epoch_reaches_the_caller_and_leaves_a_usable_estimator(step, digits):
    class Impatient(GaussianNoiser):
        press = staticmethod(interrupted_at(step + 1))  # the first draw is for the statistics

        def corrupt(self, x, generator):
            return super().corrupt(self.press(x, generator), generator)

    X = digits.train[:60]
    settings = {"batch_size": 8, "max_epochs": 9, "blend": None, "random_state": 0}
    dae = DenoisingAutoencoder(latent_dim=4, noise=Impatient(0.3), **settings)
    with pytest.raises(KeyboardInterrupt):
        dae.fit(X)
    assert dae.predict(X).shape == X.shape
    assert dae.n_iter_ == len(dae.loss_curve_) == step // 8
    dae.partial_fit(X)


# The learning rate ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name not in ("constant", "one_cycle")])
@pytest.mark.parametrize(("steps", "rising"), [(100, 10), (2000, 100)])
def test_a_schedule_rises_for_a_tenth_of_the_run_and_at_most_100_steps(name, steps, rising):
    shares = [SCHEDULES[name](step, steps) for step in range(steps + 1)]
    assert 0 < shares[0] < 0.1
    assert all(earlier < later for earlier, later in pairwise(shares[:rising]))
    assert shares[rising] > (0.6 if name in FALL_AT_ONCE else 0.97)
    assert all(0 <= later <= earlier for earlier, later in pairwise(shares[rising + 1 :]))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_of_a_single_step_learns(name):
    assert SCHEDULES[name](0, 1) > 0.5


def test_schedules_have_the_shapes_of_their_names():
    assert [SCHEDULES["constant"](step, 100) for step in (0, 50, 100)] == [1, 1, 1]
    assert SCHEDULES["cosine"](50, 100) == pytest.approx(0.5)
    assert SCHEDULES["cosine"](100, 100) == pytest.approx(0)
    assert SCHEDULES["flat_cosine"](50, 100) == pytest.approx(1)
    assert SCHEDULES["flat_cosine"](75, 100) == pytest.approx(0.5)
    assert SCHEDULES["flat_cosine"](100, 100) == pytest.approx(0)
    assert [SCHEDULES["linear"](step, 100) for step in (50, 75, 100)] == pytest.approx([0.5, 0.25, 0])
    assert [SCHEDULES["exponential"](step, 100) for step in (50, 100)] == pytest.approx([0.1, 0.01])
    one_cycle = [SCHEDULES["one_cycle"](step, 100) for step in (0, 30, 65, 100)]
    assert one_cycle == pytest.approx([0.04, 1, 0.5, 0], abs=0.01)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_learning_rate_follows_the_schedule_from_step_to_step(name):
    """The gradient is one, so the output of the plant is the sum of all learning rates."""
    epochs, batches = 4, 3

    class Linear(nn.Module):
        def forward(self, prediction, target):
            return 1000 - prediction.mean()

    net = net_of(Plant(), loss=Linear)
    validation = FixedRows(ones(), ones())
    run_training(net, towards_four(), validation, plan(epochs=epochs, batch_size=2, schedule=name))
    steps = epochs * batches
    expected = sum(STEP * SCHEDULES[name](step, steps) for step in range(steps))
    assert weight(net) == pytest.approx(expected, rel=1e-5)


# The progress line ---------------------------------------------------------------------------------------


@pytest.fixture
def wide_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)


def last_state(printed: str) -> str:
    return printed.rstrip("\n").split("\r")[-1]


@pytest.mark.usefixtures("wide_terminal")
def test_progress_is_one_line_on_stderr_with_epoch_loss_and_psnr(capsys):
    run_training(net_of(), towards_four(), None, plan(epochs=3, shown=True))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    line = last_state(printed.err)
    assert line.startswith("epoch 3/3, 00:00 left")
    assert "loss=6.5536" in line  # 16 * 0.8 ** 4, before the third step
    assert "psnr=-6.55 dB" in line


@pytest.mark.usefixtures("wide_terminal")
def test_progress_shows_the_validation_loss(capsys):
    run_training(net_of(), towards_four(), FixedRows(ones(), ones()), plan(epochs=1, shown=True))
    line = last_state(capsys.readouterr().err)
    assert "loss=16.0000" in line
    assert "val_loss=0.0400" in line  # the weight is 0.8 after a step
    assert "val_psnr=-0.04 dB" in line


@pytest.mark.usefixtures("wide_terminal")
def test_the_progress_of_a_run_that_stops_early_ends_where_it_stopped(capsys):
    net = net_of(rate=0.02)
    run_training(
        net, towards_four(), FixedRows(ones(), 2 * ones()), plan(100, patience=3, rate=0.02, shown=True)
    )
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert f"{len(net.history)}/100" in last_state(printed)


def test_by_default_nothing_is_shown(capsys):
    run_training(net_of(), towards_four(), None, plan())
    assert capsys.readouterr() == ("", "")


# Averaged weights, clipped gradients ----------------------------------------------------------------------


def averaged(decay, **settings):
    net = net_of()
    settings = dataclasses.replace(plan(epochs=20, **settings), averaging_decay=decay)
    assert run_training(net, towards_four(), FixedRows(ones(), 4 * ones()), settings) is None
    return net


def test_averaged_weights_lag_behind_the_weights():
    last, behind = net_of(), averaged(0.9)
    run_training(last, towards_four(), FixedRows(ones(), 4 * ones()), plan(epochs=20))
    path, n = [], 0
    value = average = 0.0
    for _ in range(20):  # gradient descent on (w - 4)^2, and what the average makes of it
        value += STEP * 2 * (4 - value)
        keep = 0.0 if n == 0 else min(0.9, (1 + n) / (10 + n))
        average, n = keep * average + (1 - keep) * value, n + 1
        path.append(average)
    assert weight(last) == pytest.approx(value, rel=1e-4)
    assert weight(behind) == pytest.approx(average, rel=1e-4)
    assert weight(behind) < weight(last)


def test_validation_evaluates_the_averaged_weights():
    net = averaged(0.9)
    assert net.history[-1, "valid_loss"] == pytest.approx((weight(net) - 4) ** 2, rel=1e-4)


def test_a_trained_net_drops_the_average():
    assert averaged(0.9).averaging is None
    assert pickle.loads(pickle.dumps(averaged(0.9))).averaging is None


def test_gradients_are_clipped_to_a_maximum_norm():
    net = net_of()
    run_training(net, towards_four(), None, dataclasses.replace(plan(epochs=10), max_gradient_norm=0.5))
    assert weight(net) == pytest.approx(10 * STEP * 0.5, rel=1e-4)


@pytest.mark.parametrize("parameters", [{"weight_averaging": 0.9}, {"gradient_clipping": 0.1}])
def test_estimators_average_weights_and_clip_gradients(parameters):
    X = torch.rand(60, 5).numpy()
    plain = DenoisingAutoencoder(max_epochs=3, blend=None, random_state=0).fit(X)
    other = DenoisingAutoencoder(max_epochs=3, blend=None, random_state=0, **parameters).fit(X)
    assert abs(plain.predict(X) - other.predict(X)).max() > 0
    other.partial_fit(X)
    assert other.n_iter_ == 4
