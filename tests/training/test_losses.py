from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn

from sk_denoise.training import LOSSES, LossTraits, Units, build_criterion, check_loss

SHAPE = (2, 3, 22, 23)  # images of two scales
BY_ENTRY = [name for name, entry in LOSSES.items() if entry.takes_entry_weights]
OF_TORCH = {"mse": nn.MSELoss(), "mae": nn.L1Loss(), "huber": nn.HuberLoss(), "bce": nn.BCELoss()}


def criterion(loss) -> nn.Module:
    return build_criterion(loss, Units())


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    output, target = (torch.rand(shape or SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
    return output.requires_grad_(), target


def slope(loss: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, output)[0]


def halved_error(output, target):
    """Return half the squared error; a function of a module can be pickled."""
    return (output - target).square().mean() / 2


class Learned(nn.Module):
    """A loss with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, output, target):
        return self.scale * (output - target).abs().mean()


EVERY_FORM = [*LOSSES, {"mse": 2}, {"mae": 0.5, "ssim": 0.25, "kl": 1.0}, halved_error, Learned()]


# What is true of all --------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", EVERY_FORM)
def test_every_loss_is_one_number_with_its_minimum_at_the_target(loss):
    _, target = pair()
    measure = criterion(loss)
    right = measure(target, target)
    assert right.shape == ()
    for shift in (-0.05, 0.05):
        assert measure((target + shift).clamp(0.001, 0.999), target) > right


@pytest.mark.parametrize("loss", EVERY_FORM)
def test_every_loss_is_0_for_a_perfect_output(loss):
    target = pair()[1].round()
    assert abs(criterion(loss)(target, target)) < 1e-12


@pytest.mark.parametrize("loss", EVERY_FORM)
def test_gradients_are_those_of_finite_differences(loss):
    output, target = pair(1, 1, 22, 22)
    output = (0.2 + 0.3 * output.detach() + 0.3 * target).requires_grad_()  # has some likeness
    flat = torch.autograd.functional.jacobian(lambda x: criterion(loss)(x, target), output)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        step = 1e-6 * torch.randn(output.shape, generator=generator, dtype=output.dtype)
        there, here = (criterion(loss)(output.detach() + sign * step, target) for sign in (1, -1))
        torch.testing.assert_close(there - here, 2 * (flat * step).sum(), rtol=1e-5, atol=1e-13)


@pytest.mark.parametrize("name", BY_ENTRY)
def test_gradients_of_entries_are_those_of_finite_differences(name):
    output, target = pair(3, 4)
    assert torch.autograd.gradcheck(criterion(name), (output, target))
    weight = torch.linspace(0, 3, 12, dtype=torch.float64).view(3, 4)
    assert torch.autograd.gradcheck(criterion(name), (output, target, weight))


@pytest.mark.parametrize("loss", EVERY_FORM)
@pytest.mark.parametrize("wrong", [0.0, 1.0, "opposite"])
def test_extreme_wrong_outputs_have_finite_gradients(loss, wrong):
    target = pair()[1].round().float()
    output = (1 - target if wrong == "opposite" else torch.full_like(target, wrong)).requires_grad_()
    measured = criterion(loss)(output, target)
    assert measured.dtype == torch.float32
    assert measured.isfinite()
    assert slope(measured, output).isfinite().all()


@pytest.mark.parametrize("name", [name for name, entry in LOSSES.items() if not entry.on_unit_interval])
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_outputs_far_off_have_finite_gradients(name, size):
    output, target = (x.detach().float() for x in pair())
    output = (size * (output - 0.5)).requires_grad_()
    measured = criterion(name)(output, target)
    assert measured.isfinite()
    assert slope(measured, output).isfinite().all()


@pytest.mark.parametrize("loss", EVERY_FORM)
def test_every_loss_leaves_its_input_as_it_is(loss):
    output, target = pair()
    before = output.detach().clone(), target.clone()
    criterion(loss)(output, target).backward()
    assert torch.equal(output.detach(), before[0])
    assert torch.equal(target, before[1])


@pytest.mark.parametrize("loss", EVERY_FORM)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_every_criterion_can_be_copied_and_pickled(loss, copied):
    measure = criterion(loss)
    assert copied(measure)(*pair()) == measure(*pair())


# Losses by entry ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_TORCH)
@pytest.mark.parametrize("shape", [(7,), (4, 6), (3, 1, 5, 2)])
def test_losses_of_torch_and_their_gradients_are_those_of_torch(name, shape):
    output, target = pair(*shape)
    ours, theirs = criterion(name)(output, target), OF_TORCH[name](output, target)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(slope(3 * loss, output) for loss in (ours, theirs)))


@pytest.mark.parametrize("name", [name for name, entry in LOSSES.items() if not entry.images_only])
def test_losses_that_are_not_for_images_alone_take_rows(name):
    output, target = pair()
    rows = criterion(name)(output.flatten(1), target.flatten(1))
    torch.testing.assert_close(rows, criterion(name)(output, target))


@pytest.mark.parametrize("loss", [*BY_ENTRY, {"mse": 2.0, "kl": 0.5}])
def test_a_weighted_loss_is_the_mean_of_weighted_entries(loss):
    output, target = pair(3, 4)
    weight = torch.arange(12.0, dtype=torch.float64).view(3, 4)
    measure = criterion(loss)
    entries = torch.stack(
        [measure(o, t) for o, t in zip(output.view(12, 1), target.view(12, 1), strict=True)]
    )
    torch.testing.assert_close(measure(output, target, weight), (weight.view(12) * entries).mean())
    torch.testing.assert_close(measure(output, target, torch.ones_like(target)), measure(output, target))


@pytest.mark.parametrize("name", BY_ENTRY)
def test_entries_of_weight_0_have_no_gradient(name):
    output, target = pair(3, 4)
    weight = torch.tensor([1.0, 0.0, 2.0, 0.0], dtype=torch.float64)  # for all rows
    one, two = (slope(criterion(name)(output, target, *more), output) for more in ((), (weight,)))
    torch.testing.assert_close(two, one * weight)


def test_cross_entropy_of_extreme_outputs_is_finite():
    probability = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0], requires_grad=True)
    target = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.5, 0.5])
    losses = [criterion("bce")(p[None], t[None]) for p, t in zip(probability, target, strict=True)]
    assert [loss.item() for loss in losses] == [0, 0, 100, 100, 50, 50]
    torch.stack(losses).sum().backward()
    assert probability.grad.isfinite().all()
    assert probability.grad.sign().tolist() == [0, 0, -1, 1, -1, 1]


def test_charbonnier_is_the_absolute_error_and_a_square_around_0():
    target = torch.zeros(1, dtype=torch.float64)
    measure = criterion("charbonnier")
    assert measure(target + 1, target).item() == pytest.approx(1, abs=1e-3)
    assert measure(target + 1e-5, target).item() == pytest.approx(1e-10 / 2 / 1e-3, rel=0.05)
    assert measure(target.float(), target.float()).item() == 0


def test_divergence_is_that_of_csiszar():
    output, target = pair(5, 6)
    t, p = target.numpy(), output.detach().numpy()
    expected = np.mean(t * np.log(t / p) - t + p)
    assert criterion("kl")(output, target).item() == pytest.approx(expected)


def test_divergence_has_the_gradient_of_the_likelihood_of_counts():
    output, target = pair(5, 6)
    likelihood = nn.PoissonNLLLoss(log_input=False, eps=0)(output, target)
    torch.testing.assert_close(slope(criterion("kl")(output, target), output), slope(likelihood, output))


def test_divergence_of_dark_entries_is_finite_and_has_a_gradient():
    output = torch.tensor([0.0, 0.0, 1.0, -0.5], requires_grad=True)
    target = torch.tensor([0.0, 1.0, 0.0, 0.5])
    losses = [criterion("kl")(p[None], t[None]) for p, t in zip(output, target, strict=True)]
    assert losses[0] == 0
    assert min(losses).item() >= 0
    assert max(losses).item() < 15
    torch.stack(losses).sum().backward()
    assert output.grad.isfinite().all()
    assert output.grad.sign().tolist() == [0, -1, 1, -1]


def test_divergence_has_its_minimum_at_the_truth_and_not_at_white():
    target = torch.full((4, 4), 0.2)
    outputs = torch.linspace(0.01, 1, 100)
    losses = torch.stack([criterion("kl")(output.expand(4, 4), target) for output in outputs])
    assert outputs[losses.argmin()].item() == pytest.approx(0.2, abs=0.005)


# Mixes, and losses of a user ------------------------------------------------------------------------


def test_a_mix_is_a_weighted_sum():
    output, target = pair()
    parts = criterion("mse")(output, target), criterion("ssim")(output, target)
    mix = criterion({"mse": 2, "ssim": np.float32(0.5)})
    torch.testing.assert_close(mix(output, target), 2 * parts[0] + 0.5 * parts[1])


@pytest.mark.parametrize(
    ("mix", "on_unit_interval", "takes_entry_weights", "images_only"),
    [
        ({"mse": 1, "mae": 1}, False, True, False),
        ({"mse": 1, "kl": 1}, True, True, False),
        ({"bce": 1, "ssim": 1}, True, False, True),
    ],
)
def test_a_mix_has_the_traits_of_its_parts(mix, on_unit_interval, takes_entry_weights, images_only):
    traits = check_loss(mix)
    assert traits.on_unit_interval is on_unit_interval
    assert traits.takes_entry_weights is takes_entry_weights
    assert traits.images_only is images_only


@pytest.mark.parametrize("name", LOSSES)
def test_a_mix_of_one_has_the_traits_of_that_one(name):
    traits = check_loss({name: 0.1})
    for trait in ("on_unit_interval", "takes_entry_weights", "images_only"):
        assert getattr(traits, trait) is getattr(check_loss(name), trait)


@pytest.mark.parametrize("loss", [halved_error, Learned(), nn.functional.mse_loss, nn.MSELoss()])
def test_a_function_of_output_and_target_is_taken_as_it_is(loss):
    traits = check_loss(loss)
    assert traits == LossTraits()
    assert criterion(loss)(*pair()) == loss(*pair())


def test_a_module_of_a_user_is_copied():
    loss = Learned()
    measure = criterion(loss).double()
    assert loss.scale.dtype == torch.float32
    assert next(measure.parameters()).dtype == torch.float64


@pytest.mark.parametrize(
    ("function", "came"),
    [(lambda o, t: o - t, "a tensor of shape (2, 3, 22, 23)"), (lambda o, t: 1.0, "1.0"), (print, "None")],
)
def test_a_function_that_gives_no_single_number_is_refused(function, came):
    with pytest.raises(ValueError, match=f"must return one number as a tensor, got {re.escape(came)}"):
        criterion(function)(*pair())


# The door -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mze", {"mse": 1, "mze": 1}])
def test_an_unknown_name_is_refused_with_the_nearest(loss):
    with pytest.raises(ValueError, match=r"Unknown loss 'mze'. Did you mean 'mse'\? Known: 'mse',"):
        check_loss(loss)


def test_a_mix_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"at least one, got loss=\{\}"):
        check_loss({})


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf"), "1", None, True])
def test_weights_of_a_mix_must_be_above_0(weight):
    with pytest.raises(ValueError, match=rf"finite numbers above 0, got {weight!r} for 'mae'"):
        check_loss({"mse": 1.0, "mae": weight})


def test_a_class_is_refused_with_the_call_that_creates_a_loss():
    with pytest.raises(TypeError, match=r"loss=MSELoss is a class.* Did you mean MSELoss\(\)\?"):
        check_loss(nn.MSELoss)


@pytest.mark.parametrize("loss", [3, None, ["mse"]])
def test_other_objects_are_refused_with_the_losses(loss):
    with pytest.raises(TypeError, match=rf"loss must be one of \['mse', .* Got {re.escape(repr(loss))}"):
        check_loss(loss)
