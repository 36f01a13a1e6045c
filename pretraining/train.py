"""Train the networks whose weights are in the box, in chunks that can be killed and resumed at any moment.

    SK_DENOISE_DATA=folder python pretraining/train.py gray --minutes 50 [--steps 13000] [--device cuda]
    SK_DENOISE_DATA=folder python pretraining/train.py gray --export

Photos are those of ``bsds500`` in the folder, but for 24 of its test part that are held out (``HELD_OUT``,
every eighth by name). Noise is Gaussian with sigma uniform in 0 to 55 of 255, told to the network; patches
are 64 x 64, flipped and turned; the loss is the squared error. Muon moves the kernels of convolutions (K.
Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024), Adam the rest, at a rate
that falls along a cosine over the steps of the run; the weights that count are an exponential moving
average. Muon came with torch 2.9.

Everything that is random in a step is drawn from the seed and the number of the step, and the state is
written to a temporary file first and then moved: a run that is killed goes on from its last state to the
same bits, at the same number of threads. State and log lie in ``pretraining/runs``, outside the repository.
Where there is no state, a run begins with the weights in the box, with fresh moments and a fresh cosine;
where there are none for colour, with the gray ones. ``--export`` puts the averaged weights into the box, in
half precision, with a card that tells what they reached.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sk_denoise._random import stream
from sk_denoise.io import read_image
from sk_denoise.networks.folded_unet import FoldedUNet
from sk_denoise.training import has_bfloat16_units

RUNS = Path(__file__).parent / "runs"
BOX = Path(__file__).parents[1] / "sk_denoise" / "restoration" / "weights"
SEED, PATCH, BATCH, STRONGEST = 0, 64, 32, 55 / 255
WARM_UP, MEMORY, LONGEST_SLOPE = 500, 0.999, 0.01
THINNEST = 32  # rows of a matrix that Muon moves
LOG_EVERY, VALIDATE_EVERY = 100, 2000
LEVELS = (15, 25, 50)
MUON_SINCE = {"gray": 33_000, "rgb": 8_600}  # step of the runs whose weights are in the box
HELD_OUT = slice(None, None, 8)  # of the 200 test photos by name, the first 24 of these


CARD = """# {color}

A `FoldedUNet` of {n:,} weights (`sk_denoise/networks/folded_unet.py`), for white Gaussian noise on
photos.

- **Data**: the 200 training photos of the Berkeley segmentation data (BSDS500) and 176 of its 200 test
  photos; the other 24, every eighth by name, are held out. They share no picture with BSD68 or CBSD68. The
  photos come under terms for research; none of them is part of these weights or of this package.
- **Held out**: {held_out}.
- **Recipe**: `python pretraining/train.py {color}`, {start}: {step:,} steps, {seen:,} patches of
  {patch} x {patch}, flipped and turned; sigma uniform in 0 to 55 of 255, told to the network as a map;
  squared error; Adam, and from step {muon_since:,} on Muon for the kernels, along a cosine for each run;
  bfloat16 in the layers where the processor is faster in it; an exponential moving average of the weights.
- **Reached** on the 24 held-out photos: {levels}
  (noise not clipped, output rounded to 8 bits, mean over photos).
- **Format**: safetensors, half precision. **Licence**: BSD 3-Clause, as the package.
"""


def _from_box(file: Path) -> tuple[dict[str, Tensor], int]:
    """Return the weights of a file in the box, and the step that they were reached at."""
    with safe_open(file, "pt") as box:
        weights = {name: box.get_tensor(name).float() for name in box.keys()}  # noqa: SIM118 - it is no dict
        return weights, int(box.metadata()["step"])


def files() -> tuple[list[Path], list[Path]]:
    """Return the files of photos to train on and of photos held out."""
    folder = Path(os.environ.get("SK_DENOISE_DATA", "")) / "bsds500"
    train, test = (sorted((folder / part).glob("*.jpg")) for part in ("train", "test"))
    if not train or not test:
        sys.exit(f"No photos in {folder}: set SK_DENOISE_DATA to the folder that holds bsds500.")
    held_out = test[HELD_OUT][:24]
    return train + [path for path in test if path not in held_out], held_out


def photos(color: str) -> tuple[list[Tensor], list[Tensor]]:
    """Return photos to train on and photos held out, (channels, height, width) in bytes."""
    training, held_out = ([_read(path, color) for path in part] for part in files())
    return training, held_out


def _read(path: Path, color: str) -> Tensor:
    picture = read_image(path, color=color)
    return torch.from_numpy(picture if picture.ndim == 3 else picture[..., None]).movedim(2, 0).contiguous()


def batch(pictures: list[Tensor], step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return noisy patches, their noise levels and clean patches: those of this step."""
    generator = stream(SEED, "batch", step)
    which = torch.randint(len(pictures), (BATCH,), generator=generator).tolist()
    places = torch.rand(BATCH, 2, generator=generator)
    turns = torch.randint(8, (BATCH,), generator=generator).tolist()
    patches = []
    for number, (row, column), turn in zip(which, places.tolist(), turns, strict=True):
        picture = pictures[number]
        top, left = (
            int(p * (side - PATCH + 1)) for p, side in zip((row, column), picture.shape[1:], strict=True)
        )
        patch = picture[:, top : top + PATCH, left : left + PATCH]
        patch = patch.flip(2) if turn >= 4 else patch
        patches.append(torch.rot90(patch, turn % 4, (1, 2)))
    clean = torch.stack(patches).float().div_(255)
    sigma = STRONGEST * torch.rand(BATCH, 1, 1, 1, generator=generator)
    return clean + sigma * torch.randn(clean.shape, generator=generator), sigma, clean


def _told(noisy: Tensor, sigma: Tensor) -> Tensor:
    """Return pictures with the level of their noise as a last channel."""
    told = torch.cat([noisy, sigma.expand(-1, 1, *noisy.shape[2:])], dim=1)
    return told.contiguous(memory_format=torch.channels_last)


def rate_at(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of a step of a run: a rise, and then a cosine to zero."""
    return peak * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


class Optimizer:
    """Muon for the kernels of convolutions, as matrices, and Adam for biases and the thin last layer."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.kernels = [w for w in network.parameters() if w.ndim == 4 and len(w) >= THINNEST]
        of_muon = {id(kernel) for kernel in self.kernels}
        rest = [weight for weight in network.parameters() if id(weight) not in of_muon]
        # views of the kernels, which lie channels last: what moves these moves the network
        self.matrices = [torch.nn.Parameter(_matrix(kernel.detach())) for kernel in self.kernels]
        self.muon = torch.optim.Muon(self.matrices, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        self.adam = torch.optim.Adam(rest, fused=True)

    def step(self, rate: float) -> None:
        """Move the weights against their slopes."""
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            assert kernel.grad is not None
            matrix.grad = _matrix(kernel.grad)
        for optimizer in (self.muon, self.adam):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the moments."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take moments over."""
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def _matrix(kernel: Tensor) -> Tensor:
    """Return a kernel that lies channels last as a matrix, (first axis, all else)."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


class Run:
    """The state of a run, and what is done with it."""

    def __init__(self, color: str, steps: int, rate: float, device: str, runs: Path, fresh: bool) -> None:
        self.color, self.steps, self.rate, self.device = color, steps, rate, torch.device(device)
        self.half = self.device.type != "cpu" or has_bfloat16_units(self.device)
        self.file = runs / f"{color}.pt"
        self.step = self.begun = 0  # steps behind the weights, and behind those that the run began with
        network = FoldedUNet(1 if color == "gray" else 3, noise_map=True)
        self.network = network.to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network)
        self.optimizer = Optimizer(self.network)
        if self.file.exists():
            self._load(torch.load(self.file, weights_only=True, map_location=device))
        elif not fresh and (BOX / f"{color}.safetensors").exists():
            self._take_up(BOX / f"{color}.safetensors")
        elif not fresh and (BOX / "gray.safetensors").exists():
            self._begin_in_gray(BOX / "gray.safetensors")

    def _load(self, state: dict[str, Any]) -> None:
        self.step, self.begun = state["step"], state["begun"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _take_up(self, file: Path) -> None:
        """Go on from weights in the box."""
        weights, self.begun = _from_box(file)
        self.step = self.begun
        self.network.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def _begin_in_gray(self, file: Path) -> None:
        """Begin a colour run with gray weights, which see the sum of the colours under as strong a noise."""
        weights, _ = _from_box(file)
        pixels, level = weights["head.weight"].split([4, 1], dim=1)  # 2 x 2 pixels of a colour, and the level
        weights["head.weight"] = torch.cat([pixels / math.sqrt(3)] * 3 + [level], dim=1)
        for name in ("tail.weight", "tail.bias"):
            weights[name] = torch.cat([weights[name] / math.sqrt(3)] * 3)
        self.network.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def export(self, reached: dict[str, float]) -> None:
        """Put the averaged weights and their card into the box."""
        BOX.mkdir(exist_ok=True)
        weights = {name: w.half().contiguous() for name, w in self.average.state_dict().items()}
        save_file(weights, BOX / f"{self.color}.safetensors", {"step": str(self.step)})
        n = sum(weight.numel() for weight in weights.values())
        levels = ", ".join(f"{reached[str(level)]:.2f} dB at {level}" for level in LEVELS)
        card = CARD.format(
            color=self.color,
            n=n,
            step=self.step,
            start="from weights drawn at random" if self.color == "gray" else "from the gray weights",
            seen=self.step * BATCH,
            muon_since=MUON_SINCE[self.color],
            levels=levels,
            patch=PATCH,
            held_out=textwrap.fill(
                ", ".join(path.stem for path in files()[1]),
                100,
                initial_indent=" " * 16,
                subsequent_indent="  ",
            ).lstrip(),
        )
        (BOX / f"{self.color}.md").write_text(card)

    def save(self) -> None:
        """Write the state; what was there stays whole until the new one is."""
        state = {"step": self.step, "begun": self.begun} | {
            name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer")
        }
        self.file.parent.mkdir(exist_ok=True)
        unfinished = self.file.with_suffix(".unfinished")
        with unfinished.open("wb") as stream_:
            torch.save(state, stream_)
            stream_.flush()
            os.fsync(stream_.fileno())
        unfinished.replace(self.file)

    def learn(self, pictures: list[Tensor]) -> float:
        """Make one step, and return its loss."""
        noisy, sigma, clean = (side.to(self.device) for side in batch(pictures, self.step))
        self.network.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            answer = self.network(_told(noisy, sigma))
        loss = torch.nn.functional.mse_loss(answer.float(), clean)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST_SLOPE)  # twice what is usual
        self.optimizer.step(rate_at(self.step - self.begun, self.steps, self.rate))
        self.step += 1
        memory = min(MEMORY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - memory)
        return loss.item()

    @torch.no_grad()
    def validate(self, pictures: list[Tensor]) -> dict[str, float]:
        """Return the mean PSNR of held-out photos at each level, in dB, by the averaged weights."""
        reached = {}
        for level in LEVELS:
            decibels = []
            for picture in pictures:
                clean = picture[None].float() / 255
                noise = np.random.RandomState(0).normal(0, level / 255, clean.shape)
                noisy = (clean + torch.from_numpy(noise).float()).to(self.device)
                sigma = torch.full((1, 1, 1, 1), level / 255, device=self.device)
                answer = self.average(_told(noisy, sigma)).cpu()
                answer = (255 * answer).round().clamp(0, 255) / 255
                decibels.append(-10 * torch.log10((answer - clean).square().mean()).item())
            reached[str(level)] = round(float(np.mean(decibels)), 3)
        return reached


def main() -> None:
    """Train for so many minutes, from where the last chunk ended."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("color", choices=["gray", "rgb"])
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--steps", type=int, default=48_000, help="of the run, over all chunks")
    parser.add_argument(
        "--rate", type=float, default=2e-3, help="at the peak, which comes after the first steps"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of states and logs")
    parser.add_argument("--save-every", type=int, default=500, metavar="STEPS")
    parser.add_argument("--fresh", action="store_true", help="do not go on from the weights in the box")
    parser.add_argument("--export", action="store_true", help="put what the run has reached into the box")
    options = parser.parse_args()

    training, held_out = photos(options.color)
    run = Run(options.color, options.steps, options.rate, options.device, options.runs, options.fresh)
    if options.export:
        run.export(run.validate(held_out))
        return
    log = options.runs / f"{options.color}.jsonl"
    options.runs.mkdir(exist_ok=True)
    start, losses = time.time(), []
    while run.step < run.begun + run.steps and time.time() - start < 60 * options.minutes:
        losses.append(run.learn(training))
        entry: dict[str, Any] = {}
        if run.step % LOG_EVERY == 0:
            entry = {"step": run.step, "loss": float(np.mean(losses)), "minutes": (time.time() - start) / 60}
            losses = []
        if run.step % VALIDATE_EVERY == 0:
            entry |= {"step": run.step, "held_out": run.validate(held_out)}
        if run.step % options.save_every == 0:
            run.save()
        if entry:
            with log.open("a") as lines:
                lines.write(json.dumps(entry) + "\n")
            print(entry, flush=True)
    run.save()
    print(f"step {run.step} of {run.begun + run.steps}; held out: {run.validate(held_out)}")


if __name__ == "__main__":
    main()
