"""Compare the speed with a bare torch loop, skorch and Keras.

    [SK_DENOISE_DATA=folder] python benchmarks/speed.py [fit] [search] [import] [memory] [quality] [compile]
        [--workloads dense conv ...] [--sides sk_denoise torch ...] [--repeats 5] [--device cuda] [--add]

Every side trains the same network (in torch with the weights of one seed) with Adam at 1e-3 and the mean
squared error, on the same rows in batches of the same size, with fresh noise in every batch. Sides run
alternately, each fit in its own process after a short one to warm up; seconds are those of ``fit`` and of
``predict`` on all rows. MNIST is read from ``mnist.npz`` in the folder; without it those workloads are
skipped with a message, and so is Keras if it is not installed (``pip install -e ".[bench]"``). Runs are
written to ``benchmarks/results/speed.json``, medians and ratios to ``speed.md``. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
Predict = Callable[[np.ndarray], np.ndarray]


# workloads ---------------------------------------------------------------------------------------------


def mnist(rows: int) -> np.ndarray:
    """Return digits as images, ``(rows, 28, 28)`` in [0, 1]."""
    from sk_denoise.datasets import load_handwritten

    return load_handwritten().train[:rows].reshape(-1, 28, 28)


def flat_mnist(rows: int) -> np.ndarray:
    """Return digits as rows."""
    return mnist(rows).reshape(rows, -1)


def table(rows: int, columns: int) -> np.ndarray:
    """Return correlated columns, as in tables."""
    rng = np.random.default_rng(0)
    factors, loadings = rng.normal(size=(rows, 16)), rng.normal(size=(16, columns))
    return (np.tanh(factors @ loadings / 4) + 0.1 * rng.normal(size=(rows, columns))).astype(np.float32)


def small_table(rows: int) -> np.ndarray:
    """Return scikit-learn's digits as a table, 64 columns in [0, 1]."""
    from sklearn.datasets import load_digits

    return (load_digits().data[:rows] / 16).astype(np.float32)


def patches(count: int) -> np.ndarray:
    """Return 64 x 64 patches of images of scikit-image, in [0, 1]."""
    from skimage import color, data

    images = [data.camera() / 255, color.rgb2gray(data.astronaut()), color.rgb2gray(data.coffee())]
    rng = np.random.default_rng(0)
    cut = []
    for i in range(count):
        image = images[i % len(images)]
        top, left = (rng.integers(side - 64) for side in image.shape)
        cut.append(image[top : top + 64, left : left + 64])
    return np.stack(cut).astype(np.float32)


def dense(*sizes: int, **activations: str) -> Callable[..., Any]:
    """Return the spec of a dense autoencoder."""
    from sk_denoise import DenseNetwork

    return DenseNetwork(sizes, **activations)


def conv(*sizes: int) -> Any:
    """Return the spec of a convolutional autoencoder."""
    from sk_denoise import ConvNetwork

    return ConvNetwork(sizes, hidden_layer_sizes=(128,), activation="leaky_relu")


def stack(input_shape: tuple[int, ...], latent_dim: int) -> Any:
    """Return 15 convolutions of 64 channels, as in denoisers of photos."""
    from torch import nn

    channels = [input_shape[0], *[latent_dim] * 14, input_shape[0]]
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@dataclass(frozen=True)
class Workload:
    """A network, its data, and the length of its training."""

    title: str
    data: Callable[[int], np.ndarray]
    rows: int
    network: Callable[[], Any]
    latent_dim: int
    batch_size: int
    epochs: int
    sigma: float
    mean: float = 0.0
    clip: tuple[float, float] | None = None
    needs_mnist: bool = False

    def corrupt(self, X: np.ndarray, seed: int) -> np.ndarray:
        """Return rows under the noise of one seed."""
        noise = np.random.default_rng(seed).normal(self.mean, self.sigma, X.shape).astype(np.float32)
        return X + noise if self.clip is None else np.clip(X + noise, *self.clip)


rectified = {"activation": "relu", "latent_activation": "relu"}
WORKLOADS = {
    "dense": Workload(
        "MNIST 60,000 x 784, 784-500-300-100-300-500-784, batch 200, 2 epochs",
        flat_mnist,
        60_000,
        lambda: dense(500, 300, **rectified),
        latent_dim=100,
        batch_size=200,
        epochs=2,
        sigma=0.2,
        clip=(0, 1),
        needs_mnist=True,
    ),
    "conv": Workload(
        "MNIST 12,800 x 28 x 28, conv 32-64, hidden 128, latent 16, batch 64, 1 epoch",
        mnist,
        12_800,
        lambda: conv(32, 64),
        latent_dim=16,
        batch_size=64,
        epochs=1,
        sigma=0.5,
        mean=0.5,
        clip=(0, 1),
        needs_mnist=True,
    ),
    "conv32": Workload(
        "the same in batches of 32, as the tutorial has them",
        mnist,
        12_800,
        lambda: conv(32, 64),
        latent_dim=16,
        batch_size=32,
        epochs=1,
        sigma=0.5,
        mean=0.5,
        clip=(0, 1),
        needs_mnist=True,
    ),
    "small": Workload(
        "1797 x 64, 64-512-64-512-64, batch 64, 50 epochs",
        small_table,
        1797,
        lambda: dense(512),
        latent_dim=64,
        batch_size=64,
        epochs=50,
        sigma=0.25,
    ),
    "long": Workload(
        "20,000 x 64, 64-512-64-512-64, batch 128, 10 epochs",
        lambda rows: table(rows, 64),
        20_000,
        lambda: dense(512),
        latent_dim=64,
        batch_size=128,
        epochs=10,
        sigma=0.3,
    ),
    "wide": Workload(
        "5,000 x 2,000, 2000-512-64-512-2000, batch 64, 5 epochs",
        lambda rows: table(rows, 2_000),
        5_000,
        lambda: dense(512),
        latent_dim=64,
        batch_size=64,
        epochs=5,
        sigma=0.3,
    ),
    "patches": Workload(
        "192 x 64 x 64, 15 convolutions of 64 channels, batch 64, 1 epoch",
        patches,
        192,
        lambda: stack,
        latent_dim=64,
        batch_size=64,
        epochs=1,
        sigma=0.1,
    ),
}


# sides: each returns the seconds of a fit and a function to predict ------------------------------------


def sk_denoise_side(
    work: Workload, X: np.ndarray, device: str, seed: int = 0, **settings: Any
) -> tuple[float, Predict]:
    """Train and predict by the public API."""
    from sk_denoise import DenoisingAutoencoder, GaussianNoiser

    dae = DenoisingAutoencoder(
        work.network(),
        latent_dim=work.latent_dim,
        noise=GaussianNoiser(work.sigma, mean=work.mean, clip=work.clip),
        optimizer="adam",
        learning_rate=1e-3,
        batch_size=min(work.batch_size, len(X)),
        max_epochs=work.epochs,
        random_state=seed,
        device=device,
        **settings,
    )
    start = time.perf_counter()
    dae.fit(X)
    return time.perf_counter() - start, dae.predict


def module_of(work: Workload, X: np.ndarray) -> Any:
    """Return the network that all sides train."""
    import torch

    from sk_denoise.networks._base import GridToRow, RowToGrid

    torch.manual_seed(0)
    network = work.network()
    shape = X.shape[1:] if X.ndim == 2 else (1, *X.shape[1:])
    module = getattr(network, "build", network)(shape, work.latent_dim)
    for part in (getattr(module, "encoder", []), getattr(module, "decoder", [])):
        # The layers of torch, for the memory layout of torch.
        for place, layer in enumerate(part):
            if isinstance(layer, GridToRow):
                part[place] = torch.nn.Flatten()
            elif isinstance(layer, RowToGrid):
                part[place] = torch.nn.Unflatten(1, (layer.shape[-1], *layer.shape[:-1]))
    return module


def batch_of(X: np.ndarray) -> np.ndarray:
    """Return rows in the layout of torch's layers."""
    return X if X.ndim == 2 else X[:, None]


def torch_side(work: Workload, X: np.ndarray, device: str, fused: bool) -> tuple[float, Predict]:
    """Train and predict by a loop in single precision over tensors in memory."""
    import torch

    module = module_of(work, X).to(device)
    data = torch.from_numpy(batch_of(X))
    start = time.perf_counter()
    data = data.to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, **({"fused": True} if fused else {}))
    loss_of = torch.nn.MSELoss()
    for _ in range(work.epochs):
        total = 0.0
        for index in torch.randperm(len(data), device=device).split(work.batch_size):
            clean = data[index]
            noisy = clean + work.mean + work.sigma * torch.randn_like(clean)
            if work.clip is not None:
                noisy = noisy.clamp(*work.clip)
            optimizer.zero_grad()
            loss = loss_of(module(noisy), clean)
            loss.backward()
            optimizer.step()
            total += loss.item()
    seconds = time.perf_counter() - start

    def predict(X: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            chunks = torch.from_numpy(batch_of(X)).to(device).split(1024)
            return torch.cat([module(chunk) for chunk in chunks]).cpu().numpy()

    return seconds, predict


def skorch_side(work: Workload, X: np.ndarray, device: str) -> tuple[float, Predict]:
    """Train and predict by skorch's regressor, without validation and printing."""
    import torch
    from skorch import NeuralNetRegressor

    class Noisy(torch.nn.Module):
        """The network, with fresh noise during training."""

        def __init__(self) -> None:
            super().__init__()
            self.network = module_of(work, X)

        def forward(self, x: Any) -> Any:
            if self.training:
                x = x + work.mean + work.sigma * torch.randn_like(x)
                x = x if work.clip is None else x.clamp(*work.clip)
            return self.network(x)

    net = NeuralNetRegressor(
        Noisy,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=work.batch_size,
        max_epochs=work.epochs,
        train_split=None,
        verbose=0,
        device=device,
    )
    data = batch_of(X)
    start = time.perf_counter()
    net.fit(data, data)
    return time.perf_counter() - start, lambda X: net.predict(batch_of(X))


def keras_side(work: Workload, X: np.ndarray, device: str) -> tuple[float, Predict]:
    """Train and predict by Keras, the noise in a layer of the model."""
    import keras

    class Noise(keras.layers.Layer):
        """Layer that adds fresh noise during training."""

        def call(self, x: Any, training: bool = False) -> Any:
            if not training:
                return x
            x = x + keras.random.normal(keras.ops.shape(x), work.mean, work.sigma)
            return x if work.clip is None else keras.ops.clip(x, *work.clip)

    data = X if X.ndim == 2 else X[..., None]
    layers = [keras.Input(data.shape[1:]), Noise(), *keras_layers(module_of(work, X))]
    model = keras.Sequential(layers)
    start = time.perf_counter()
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
    model.fit(data, data, batch_size=work.batch_size, epochs=work.epochs, verbose=0)
    return time.perf_counter() - start, lambda X: model.predict(X.reshape(-1, *data.shape[1:]), verbose=0)


def keras_layers(module: Any) -> Iterator[Any]:
    """Yield the Keras layers that are equivalent to a torch module."""
    from keras import layers
    from torch import nn

    for layer in module.modules():
        match layer:
            case nn.Linear():
                yield layers.Dense(layer.out_features)
            case nn.Conv2d() | nn.ConvTranspose2d():
                kind = layers.Conv2D if isinstance(layer, nn.Conv2d) else layers.Conv2DTranspose
                yield kind(layer.out_channels, layer.kernel_size, strides=layer.stride, padding="same")
            case nn.Flatten():
                yield layers.Flatten()
            case nn.Unflatten() if len(layer.unflattened_size) == 3:
                channels, *grid = layer.unflattened_size
                yield layers.Reshape((*grid, channels))
            case nn.ReLU() | nn.SiLU() | nn.LeakyReLU():
                yield layers.Activation(
                    {"ReLU": "relu", "SiLU": "silu", "LeakyReLU": "leaky_relu"}[type(layer).__name__]
                )


SIDES: dict[str, Callable[..., tuple[float, Predict]]] = {
    "sk_denoise": sk_denoise_side,
    "torch": partial(torch_side, fused=False),
    "torch, fused Adam": partial(torch_side, fused=True),
    "skorch": skorch_side,
    "keras": keras_side,
}


# measurements, each in its own process -----------------------------------------------------------------


def measure_fit(side: str, name: str, device: str) -> dict[str, float]:
    """Time a fit and the prediction of all rows, after short ones."""
    work = WORKLOADS[name]
    X = work.data(work.rows)
    _, predict = SIDES[side](work, X[: work.batch_size], device)
    predict(X[: work.batch_size])
    seconds, predict = SIDES[side](work, X, device)
    noisy = work.corrupt(X, seed=1)
    predict(noisy[: work.batch_size])
    start = time.perf_counter()
    denoised = predict(noisy).reshape(X.shape)
    return {
        "fit": seconds,
        "predict": time.perf_counter() - start,
        "psnr": decibels(X, denoised),
    }


def measure_search(side: str, name: str, device: str) -> dict[str, float]:
    """Time a search over six candidates in three folds with one worker and with two."""
    from sklearn.model_selection import GridSearchCV

    X = small_table(1797)
    seconds = {}
    for jobs in (1, 2):
        if side == "sk_denoise":
            from sk_denoise import DenoisingAutoencoder

            net: Any = DenoisingAutoencoder(batch_size=64, max_epochs=30, random_state=0, device=device)
            grid, target = {"latent_dim": [8, 16, 32, 64, 128, 256]}, None
        else:
            import torch
            from skorch import NeuralNetRegressor

            from sk_denoise.networks.dense import DenseAutoencoder

            net = NeuralNetRegressor(
                DenseAutoencoder,
                module__input_shape=(64,),
                module__hidden_layer_sizes=(512,),
                module__latent_dim=64,
                module__activation="relu",
                module__latent_activation="relu",
                module__output_activation="identity",
                optimizer=torch.optim.Adam,
                batch_size=64,
                max_epochs=30,
                train_split=None,
                verbose=0,
                device=device,
            )
            grid, target = {"module__latent_dim": [8, 16, 32, 64, 128, 256]}, X
        search = GridSearchCV(net, grid, cv=3, n_jobs=jobs)
        start = time.perf_counter()
        search.fit(X, target)
        seconds[f"n_jobs={jobs}"] = time.perf_counter() - start
    return seconds


def measure_import(side: str, name: str, device: str) -> dict[str, float]:
    """Time the imports that a side needs for a fit."""
    start = time.perf_counter()
    if side == "sk_denoise":
        from sk_denoise import DenoisingAutoencoder, GaussianNoiser  # noqa: F401
    elif side == "skorch":
        import skorch  # noqa: F401
    elif side == "keras":
        import keras  # noqa: F401
    else:
        import torch  # noqa: F401
    return {"import": time.perf_counter() - start}


def measure_memory(side: str, name: str, device: str) -> dict[str, float]:
    """Measure the peak memory of a fit on 20,000 x 784 in MB, data included.

    The peak of a small fit before is subtracted.
    """
    from resource import RUSAGE_SELF, getrusage

    work = WORKLOADS["dense"]
    SIDES[side](work, np.zeros((400, 784), np.float32) + np.eye(400, 784, dtype=np.float32), device)
    before = getrusage(RUSAGE_SELF).ru_maxrss / 1024
    X = np.random.default_rng(0).random((20_000, 784), np.float32)
    SIDES[side](work, X, device)
    peak = getrusage(RUSAGE_SELF).ru_maxrss / 1024 - before
    return {"data": X.nbytes / 2**20, "peak": peak}


def measure_quality(side: str, name: str, device: str) -> dict[str, float]:
    """Compare precisions on held-out rows, with three seeds each."""
    work = WORKLOADS[name]
    X = work.data(work.rows)
    n_test = len(X) // 6
    noisy = work.corrupt(X[:n_test], seed=1)
    scores = {}
    for precision in ("auto", "float32"):
        fits = [
            sk_denoise_side(work, X[n_test:], device, seed, precision=precision)[1](noisy)
            for seed in range(3)
        ]
        scores[precision] = mean(decibels(X[:n_test], denoised) for denoised in fits)
    return scores


def measure_compile(side: str, name: str, device: str) -> dict[str, float]:
    """Time a step of the bare loop in bfloat16, as it is and compiled.

    Steps are in milliseconds, the first compiled step is in seconds.
    """
    import torch

    work = WORKLOADS[name]
    data = torch.from_numpy(batch_of(work.data(3 * work.batch_size))).to(device)
    measured = {}
    for compiled in (False, True):
        module = module_of(work, work.data(1)).to(device)
        if data.ndim == 4:
            module = module.to(memory_format=torch.channels_last)
        function = torch.compile(module) if compiled else module
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)

        def step(module: Any = function, optimizer: Any = optimizer) -> None:
            clean = data[torch.randint(len(data), (work.batch_size,), device=device)]
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, cache_enabled=False):
                output = module(clean + work.sigma * torch.randn_like(clean))
            torch.nn.functional.mse_loss(output.float(), clean).backward()
            optimizer.step()

        start = time.perf_counter()
        step()
        first = time.perf_counter() - start
        seconds = []
        while len(seconds) < 3 or sum(seconds) < 5:
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        measured["compiled" if compiled else "as it is"] = 1000 * median(seconds[1:])
    return {**measured, "first compiled": first}


def decibels(truth: np.ndarray, denoised: np.ndarray) -> float:
    """Return the mean PSNR of rows, data range 1."""
    errors = np.square(truth - denoised).reshape(len(truth), -1).mean(axis=1)
    return float(np.mean(-10 * np.log10(errors)))


PARTS: dict[str, Callable[[str, str, str], dict[str, float]]] = {
    "fit": measure_fit,
    "search": measure_search,
    "import": measure_import,
    "memory": measure_memory,
    "quality": measure_quality,
    "compile": measure_compile,
}
ONLY_SIDES = {"search": ("sk_denoise", "skorch"), "quality": ("sk_denoise",), "compile": ("torch",)}
BY_WORKLOAD = ("fit", "quality", "compile")
ONCE = ("quality", "compile")


# all measurements --------------------------------------------------------------------------------------


def in_process(part: str, side: str, name: str, device: str) -> dict[str, float]:
    """Measure in a fresh process, without the threads and memory of other sides."""
    run = subprocess.run(
        [sys.executable, __file__, "--child", part, side, name, "--device", device],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise SystemExit(f"{side} failed on {part} {name}:\n{run.stderr[-3000:]}")
    measured: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return measured


def title_of(key: str) -> str:
    """Return the heading of a part and workload."""
    part, _, name = key.partition(" ")
    return f"{part}: {WORKLOADS[name].title}" if name else part


def table_of(key: str, runs: dict[str, list[dict[str, float]]]) -> str:
    """Return the table of a part: medians, and ratios to sk_denoise."""
    middle = {side: {k: median(run[k] for run in done) for k in done[0]} for side, done in runs.items()}
    columns = list(next(iter(middle.values())))
    timed = [column for column in columns if column in ("fit", "predict", "import", "peak")]
    timed += [column for column in columns if column.startswith("n_jobs")]
    ours = middle.get("sk_denoise", {})
    lines = [
        f"## {title_of(key)}",
        "",
        "| " + " | ".join(["", *columns, *(f"{c}, times ours" for c in timed), "runs"]) + " |",
        "|" + "---|" * (2 + len(columns) + len(timed)),
    ]
    for side, scores in middle.items():
        ratios = [f"{scores[c] / ours[c]:.2f}" if ours else "" for c in timed]
        values = [f"{scores[c]:.3g}" if c in timed else f"{scores[c]:.2f}" for c in columns]
        lines.append(f"| {' | '.join([side, *values, *ratios, str(len(runs[side]))])} |")
    return "\n".join(lines)


def head_of(device: str) -> str:
    """Return the text above the tables."""
    import torch
    from precision import name_of_processor

    where = f"{os.cpu_count()} cores of {name_of_processor()}"
    where += "" if device == "cpu" else f" and {torch.cuda.get_device_name(device)}"
    return (
        f"# Speed\n\nOutput of `python benchmarks/speed.py` on {where}; versions of `constraints.txt`. "
        'Seconds, MB, or dB; medians of the runs. "Times ours" above 1 means that the others take longer.'
    )


def main() -> None:
    """Measure the given parts on all sides alternately, and write every run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--workloads", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=list(SIDES))
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side (default: 5)")
    parser.add_argument("--device", default="cpu", help="device of the sides that use torch")
    parser.add_argument("--add", action="store_true", help="keep the runs on file and add to them")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        part, side, name = options.child
        print(json.dumps(PARTS[part](side, name, options.device)))
        return
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")

    sides = [side for side in SIDES if side in options.sides]
    if "keras" in sides and importlib.util.find_spec("keras") is None:
        print('Keras is skipped: it is not installed (pip install -e ".[bench]").')
        sides.remove("keras")
    workloads = options.workloads
    if not (Path(os.environ.get("SK_DENOISE_DATA", "")) / "mnist.npz").is_file():
        print("MNIST is skipped: set SK_DENOISE_DATA to the folder that holds mnist.npz.")
        workloads = [name for name in workloads if not WORKLOADS[name].needs_mnist]

    stem = "speed" if options.device == "cpu" else f"speed_{options.device}"
    file = RESULTS / f"{stem}.json"
    runs = json.loads(file.read_text()) if file.exists() else {}
    for part in options.parts or PARTS:
        for name in workloads if part in BY_WORKLOAD else [""]:
            key = f"{part} {name}".strip()
            if not options.add:
                runs.pop(key, None)
            selected = [side for side in sides if side in ONLY_SIDES.get(part, SIDES)]
            for turn in range(1 if part in ONCE else options.repeats):
                for side in selected:
                    measured = in_process(part, side, name, options.device)
                    runs.setdefault(key, {}).setdefault(side, []).append(measured)
                    file.write_text(json.dumps(runs, indent=1) + "\n")
                    print(f"{key}, turn {turn + 1}: {side} {measured}", flush=True)
            tables = [table_of(known, runs[known]) for known in order_of(runs)]
            file.with_suffix(".md").write_text("\n\n".join([head_of(options.device), *tables]) + "\n")
            print(table_of(key, runs[key]) + "\n", flush=True)


def order_of(runs: dict[str, Any]) -> list[str]:
    """Return the keys on file in the order of parts and workloads."""
    keys = [f"{part} {name}".strip() for part in PARTS for name in ("", *WORKLOADS)]
    return [key for key in keys if key in runs]


if __name__ == "__main__":
    main()
