from __future__ import annotations

import pytest
import torch
from torch import nn

from sk_denoise.training import LOSSES


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    probability, target = (torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return probability.requires_grad_(), target


@pytest.mark.parametrize("shape", [(7,), (4, 6), (3, 1, 5, 2)])
def test_cross_entropy_and_its_slope_are_those_of_torch(shape):
    probability, target = pair(*shape)
    ours, theirs = LOSSES["bce"]()(probability, target), nn.BCELoss()(probability, target)
    torch.testing.assert_close(ours, theirs)
    slopes = [torch.autograd.grad(3 * loss, probability)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*slopes)


def test_cross_entropy_is_the_slope_that_differences_show():
    assert torch.autograd.gradcheck(LOSSES["bce"](), pair(3, 4))


def test_cross_entropy_of_certain_answers_is_finite_right_and_wrong():
    probability = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0], requires_grad=True)
    target = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.5, 0.5])
    losses = [LOSSES["bce"]()(p[None], t[None]) for p, t in zip(probability, target, strict=True)]
    assert [loss.item() for loss in losses] == [0, 0, 100, 100, 50, 50]
    torch.stack(losses).sum().backward()
    assert probability.grad.isfinite().all()
    assert probability.grad.sign().tolist() == [0, 0, -1, 1, -1, 1]


def test_cross_entropy_leaves_its_input_as_it_is():
    probability, target = pair(5, 5)
    before = probability.detach().clone(), target.clone()
    LOSSES["bce"]()(probability, target).backward()
    assert torch.equal(probability.detach(), before[0])
    assert torch.equal(target, before[1])


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_one_number_that_is_least_where_the_answer_is_right(name):
    loss = LOSSES[name]()
    _, target = pair(6, 4)
    right = loss(target, target)
    assert right.ndim == 0
    for shift in (-0.05, 0.05):
        assert loss((target + shift).clamp(0.001, 0.999), target) > right
