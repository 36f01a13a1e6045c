from __future__ import annotations

import pickle

import torch
from torch import nn

from sk_denoise import DenoisingAutoencoder, DenseNetwork
from sk_denoise.training import BatchIterator, FixedRows, create_net

CPU = torch.device("cpu")


class Watched(nn.Module):
    """A line through the origin that records the mode of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.layer.weight)
        self.modes: list[bool] = []

    def forward(self, x):
        self.modes.append(self.training)
        return self.layer(x)


def rows() -> FixedRows:
    x = torch.linspace(-1, 1, 12)[:, None]
    return FixedRows(x, 3 * x)


def net_with(kind=torch.optim.SGD, **arguments):
    net = create_net(Watched(), nn.MSELoss, (kind, {"lr": 0.5, **arguments}), CPU)
    net.batch_size = 4
    return net


def test_a_pass_sets_the_mode_of_all_layers_once_and_for_all_batches():
    net = net_with()
    training, validation = (BatchIterator(rows(), 4) for _ in range(2))
    net.run_single_epoch(training, training=True, prefix="train", step_fn=net.train_step)
    net.run_single_epoch(validation, training=False, prefix="valid", step_fn=net.validation_step)
    assert net.module_.modes == [True] * 3 + [False] * 3


def test_a_pass_without_an_iterator_does_nothing():
    net = net_with()
    net.run_single_epoch(None, training=False, prefix="valid", step_fn=net.validation_step)
    assert net.module_.modes == []


def test_a_step_returns_loss_and_output_and_moves_the_weight():
    net = net_with()
    x, y = rows().inputs, rows().targets
    step = net.train_step((x, y))
    assert step["y_pred"].tolist() == [[0.0]] * 12
    assert step["loss"].item() == y.square().mean().item()
    assert net.module_.layer.weight.item() > 0


def test_a_step_of_an_optimizer_that_evaluates_several_times_gives_the_first_loss():
    net = net_with(torch.optim.LBFGS)
    x, y = rows().inputs, rows().targets
    step = net.train_step((x, y))
    assert len(net.module_.modes) > 1
    assert step["loss"].item() == y.square().mean().item()
    assert abs(net.module_.layer.weight.item() - 3) < 0.1


def test_the_history_grows_with_the_epochs_and_not_with_the_batches():
    sizes = []
    for batch_size in (12, 1):
        net = net_with()
        net.batch_size = batch_size
        net.fit_loop(rows(), epochs=5)
        assert len(net.history) == 5
        assert all(epoch["batches"] == [] for epoch in net.history)
        sizes.append(len(pickle.dumps(net.history)))
    assert sizes[0] == sizes[1]


def test_images_are_laid_out_channels_last():
    class Image(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(3, 5, 3)

    net = create_net(Image(), nn.MSELoss, (torch.optim.SGD, {"lr": 0.1}), CPU)
    assert net.module_.weight.is_contiguous(memory_format=torch.channels_last)


def test_lbfgs_goes_on_after_a_copy_and_a_pickle():
    X = torch.rand(40, 5).numpy()
    dae = DenoisingAutoencoder(
        DenseNetwork((8,)), 4, optimizer=torch.optim.LBFGS, learning_rate=0.1, max_epochs=1, random_state=0
    ).fit(X)
    again = pickle.loads(pickle.dumps(dae)).partial_fit(X)
    assert again.n_iter_ == dae.partial_fit(X).n_iter_ == 2
    assert (again.predict(X) == dae.predict(X)).all()
