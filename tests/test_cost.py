from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sk_denoise import ConvNetwork, DenseNetwork, FoldedUNetNetwork
from sk_denoise._registry import NETWORKS, load_entry
from sk_denoise._resources import cost_of


def test_a_dense_network_costs_two_operations_for_each_weight():
    cost = cost_of(DenseNetwork((50,)).build((20,), 5), (20,))
    assert cost.flops == 2 * 2 * (20 * 50 + 50 * 5)
    assert cost.widest == 50


def test_a_convolution_costs_two_operations_for_each_weight_and_position():
    cost = cost_of(nn.Conv2d(3, 8, 3, padding=1), (3, 10, 12))
    assert cost.flops == 2 * 10 * 12 * 3 * 8 * 9
    assert cost.widest == 8 * 10 * 12


def test_the_input_may_be_the_widest_layer():
    assert cost_of(nn.Linear(30, 2), (30,)).widest == 30


def test_operations_inside_of_a_users_module_count():
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6, 6))

        def forward(self, x):
            return x @ self.weight

    assert cost_of(Product(), (6,)).flops == 2 * 36


def counted_by_torch(module, shape):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *shape))
    return counter.get_total_flops()


@pytest.mark.parametrize("name", NETWORKS)
def test_operations_are_counted_as_torch_counts_them(name):
    spec = load_entry(NETWORKS[name])()
    arguments, shape = {
        "ImageDenoiser": ((1, True), (2, 33, 17)),
        "SignalDenoiser": ((2,), (2, 33)),
        "DenoisingAutoencoder": (((2, 33, 17), 5), (2, 33, 17)),
    }[NETWORKS[name].estimator]
    module = spec.build(*arguments).eval()
    assert cost_of(module, shape).flops == counted_by_torch(module, shape) > 0


@pytest.mark.parametrize("side", [8, 64])
def test_a_default_network_costs_a_hundred_thousand_multiplications_for_each_pixel(side):
    cost = cost_of(FoldedUNetNetwork().build(1, True), (2, side, side))
    assert cost.flops == 2 * 109_200 * side**2
    assert cost.widest == 16 * side**2


@pytest.mark.slow
def test_the_branches_of_a_network_that_compiles_count():
    class Conditional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda x: self.layer(self.layer(x)), self.layer, (x,))

    assert cost_of(Conditional(), (6,)).flops == 3 * 2 * 36


def test_layers_lie_on_the_processor_whatever_device_torch_is_set_to():
    with torch.device("meta"):
        assert FoldedUNetNetwork().build(1, False).tail.weight.device.type == "cpu"


@pytest.mark.slow
def test_pretrained_networks_are_ready_without_the_compiler_of_torch():
    """Importing that takes two seconds."""
    program = (
        "import sys; import numpy as np; from sk_denoise.restoration import denoise_image; "
        "denoise_image(np.zeros((40, 40)) + np.eye(40)); sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_counting_leaves_the_network_as_it_was():
    module = ConvNetwork((4,)).build((1, 6, 6), 3)
    before = [weight.clone() for weight in module.parameters()]
    cost_of(module, (1, 6, 6))
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert all(weight.grad is None for weight in module.parameters())
    assert not any(part._forward_hooks for part in module.modules())


# Forks ------------------------------------------------------------------------------------------------

FORK = """
import os, sys, time, warnings
import torch
from sk_denoise._resources import threads_for_flops

if sys.argv[1] == "used":
    torch.set_num_threads(2)
    torch.relu(torch.ones(10**6))
n_threads = torch.get_num_threads()
child = os.fork()
if child == 0:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            with threads_for_flops(1e10):
                torch.relu(torch.ones(10**6))
    # Work outside of such a block
    torch.relu(torch.ones(10**6))
    print([str(w.message)[:23] for w in caught], torch.get_num_threads() == n_threads, flush=True)
    os._exit(0)
end = time.monotonic() + 60
while time.monotonic() < end and os.waitpid(child, os.WNOHANG) == (0, 0):
    time.sleep(0.05)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(
    ("use", "printed"), [("used", "['This process was forked'] False"), ("not used", "[] True")]
)
def test_a_forked_child_computes_with_one_thread_where_others_were_lost(use, printed):
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    run = subprocess.run(
        [sys.executable, "-c", FORK, use], capture_output=True, text=True, env=free, timeout=120, check=False
    )
    assert run.stdout.strip() == printed, run
