from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sk_denoise.training import (
    LOSSES,
    OPTIMIZERS,
    BatchTransform,
    CorruptedRows,
    TrainingPlan,
    Units,
    build_criterion,
    create_net,
    resolve_optimizer,
    run_training,
)


def training_losses(optimizer, loss="mse") -> list[float]:
    """Return the loss of each epoch for a linear map of 2 x 2 pixels."""
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Sigmoid(), nn.Unflatten(1, (1, 2, 2)))
    nn.init.normal_(module[1].weight, generator=generator)
    nn.init.zeros_(module[1].bias)
    x = torch.randn(64, 1, 2, 2, generator=generator)
    transform = BatchTransform(None, lambda x: x, lambda x: x, generator)
    rows = CorruptedRows(x, (2 * x).sigmoid(), x.device, transform, generator)
    net = create_net(module, build_criterion(loss, Units()), optimizer, torch.device("cpu"))
    plan = TrainingPlan(
        epochs=60,
        bfloat16=False,
        batch_size=16,
        schedule="constant",
        learning_rate=optimizer[1]["lr"],
        patience=None,
        tol=0.0,
        sample_psnr=lambda prediction, target: prediction.flatten(1).mean(1),
        show_progress=False,
    )
    run_training(net, rows, None, plan)
    return net.history[:, "train_loss"]


def resolved(optimizer, learning_rate=None, weight_decay="auto", n_samples=5000):
    return resolve_optimizer(optimizer, learning_rate, weight_decay, n_samples=n_samples)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_the_table_lowers_the_loss_at_its_default_learning_rate(name):
    losses = training_losses(resolved(name))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_the_table_falls(name):
    losses = training_losses(resolved("adam"), name)
    assert losses[-1] < 0.97 * losses[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_name_gives_class_learning_rate_and_arguments_of_the_table(name):
    entry = OPTIMIZERS[name]
    got, arguments = resolved(name)
    assert got.__name__ == entry.name
    assert arguments["lr"] == entry.learning_rate
    assert arguments.items() >= entry.arguments.items()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_class_of_torch_gets_the_learning_rate_of_the_table(name):
    kind = getattr(torch.optim, OPTIMIZERS[name].name)
    got, arguments = resolved(kind)
    assert got is kind
    assert arguments["lr"] == OPTIMIZERS[name].learning_rate


def test_a_class_outside_the_table_keeps_its_own_learning_rate():
    assert resolved(torch.optim.Adamax) == (torch.optim.Adamax, {"lr": 2e-3})
    assert resolved(torch.optim.Rprop)[1]["lr"] == 1e-2


def test_a_class_without_a_default_learning_rate_gets_a_usual_one():
    class Strict(torch.optim.SGD):
        def __init__(self, params, lr):
            super().__init__(params, lr=lr)

    assert resolved(Strict)[1] == {"lr": 1e-3}


@pytest.mark.parametrize("optimizer", ["adam", "sgd", torch.optim.Adam, torch.optim.Adamax])
def test_a_given_learning_rate_is_taken(optimizer):
    assert resolved(optimizer, learning_rate=0.25)[1]["lr"] == 0.25


@pytest.mark.parametrize(
    ("n_samples", "decay"), [(50, 0.3), (999, 0.3), (1000, 0.2), (9999, 0.2), (10_000, 0.0)]
)
@pytest.mark.parametrize("optimizer", ["adamw", torch.optim.AdamW])
def test_automatic_weight_decay_of_adamw_falls_with_the_number_of_samples(optimizer, n_samples, decay):
    assert resolved(optimizer, n_samples=n_samples)[1]["weight_decay"] == decay


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"adamw"}))
def test_the_other_optimizers_get_no_automatic_weight_decay(name):
    assert resolved(name, n_samples=50)[1].get("weight_decay", 0) == 0


class Decaying(torch.optim.SGD):
    """An optimizer with weight decay by default."""

    def __init__(self, params, lr=0.1, weight_decay=0.1):
        super().__init__(params, lr=lr, weight_decay=weight_decay)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, torch.optim.AdamW, Decaying])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_a_given_weight_decay_is_taken(optimizer, weight_decay):
    kind, arguments = resolved(optimizer, weight_decay=weight_decay)
    built = kind([nn.Parameter(torch.ones(2, 2))], **arguments)
    assert built.param_groups[0]["weight_decay"] == weight_decay


def test_resolving_leaves_the_table_alone():
    before = copy.deepcopy(OPTIMIZERS)
    for name in OPTIMIZERS:
        resolved(name, learning_rate=9.0, weight_decay=9.0)
    assert before == OPTIMIZERS


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"Unknown optimizer 'adamv'. Did you mean 'adam.?'\? Known: 'adam',"
    ):
        resolved("adamv")


@pytest.mark.parametrize("kind", [dict, nn.Linear, int])
def test_a_class_that_is_no_optimizer_is_refused(kind):
    with pytest.raises((TypeError, ValueError), match=r"optimizer"):
        resolved(kind)
