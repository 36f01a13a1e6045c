"""Several processes that train one network, each on its share of every batch.

Every process draws the whole batch from the streams of the seed and computes on some of its rows. Gradients
and figures are sums over all rows, so that the run is that of one process, up to rounding.
"""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from multiprocessing import parent_process
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from sk_denoise._validation import warn_user
from sk_denoise.exceptions import LostProcessError
from sk_denoise.training._device import resolve_device

__all__ = ["Processes", "current_processes", "digest", "is_first_process", "joined_processes"]

# Address that `accelerate launch` and `torchrun` set; names that they and mpirun give to the number of a
# process, to that of all processes, and to the number on the machine
ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
RANK = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
NUMBER = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
LOCAL_RANK = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
# With "1", fits stay alone in spite of them.
LIMIT_VARIABLE = "SK_DENOISE_PROCESSES"
# Wait for a process that neither answers nor ends its connection, as after a power cut
TIMEOUT = timedelta(minutes=10)
# Entries of an array that its digest reads
DIGESTED_ENTRIES = 2**20

# Fits that this thread is in, the inner one last: a fit in a callback is alone.
_FITS: ContextVar[tuple[Processes | None, ...]] = ContextVar("fits", default=())
# The connections of the last fit, for the next one, and the number of connections so far
_GROUPS: dict[str, Any] = {}
_COUNT = {"groups": 0}


class Processes:
    """The processes of a launch, during a fit.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup
        Connections of the processes.
    rank : int
        Number of this process, from 0.
    n : int
        Number of processes.
    """

    # DistributedDataParallel would wrap the network, which changes the names of its weights, and divides by
    # the number of processes and not of rows, which is wrong for shares of different size.

    def __init__(self, group: Any, rank: int, n: int) -> None:
        self.group: Any = group
        self.rank = rank
        self.n = n
        self.round = _COUNT["groups"]

    @property
    def is_first(self) -> bool:
        """Whether this process writes: files, progress, warnings."""
        return self.rank == 0

    def share_of(self, batch: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the rows of this process; there are none if the batch is too small."""
        return tuple(side.tensor_split(self.n)[self.rank] for side in batch)

    def average(self, module: nn.Module, loss: Tensor, rows: int) -> Tensor:
        """Replace the gradients by those of the whole batch, and return its loss.

        Parameters
        ----------
        module : Module
            Network with the gradients of the rows of this process.
        loss : Tensor of shape ()
            Mean loss of these rows.
        rows : int
            Their number, which may be 0.
        """
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        # Weights without a gradient on any process keep none, for optimizers let them rest.
        used = [float(weight.grad is not None) for weight in weights]
        means = torch.cat([*(g.reshape(-1) for g in gradients), loss.detach().reshape(1)])
        sums = torch.cat([means * rows, means.new_tensor([float(rows), *used])])
        self._exchange(dist.all_reduce, sums)
        means, (n_rows, *used) = sums[: len(means)], sums[len(means) :].tolist()
        means = means / n_rows
        whole_loss: Tensor = means[-1]
        parts = means[:-1].split([weight.numel() for weight in weights])
        for weight, gradient, part, is_used in zip(weights, gradients, parts, used, strict=True):
            # In its own memory: fused optimizers need gradients that lie in memory as the weights do.
            weight.grad = gradient.copy_(part.view_as(gradient)) if is_used else None
        return whole_loss

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each number over the processes."""
        sums = torch.tensor(values, dtype=torch.float64)
        self._exchange(dist.all_reduce, sums)
        return [float(value) for value in sums]

    def of_first(self, value: int) -> int:
        """Return the integer of the first process."""
        number = torch.tensor(value, dtype=torch.int64)
        self._exchange(dist.broadcast, number, src=0)
        return int(number)

    def equalize(self, module: nn.Module) -> None:
        """Copy the state of the first process's network to the others."""
        for side in module.state_dict().values():
            # Convolutions of images lie in memory in another order.
            values = side.contiguous()
            self._exchange(dist.broadcast, values, src=0)
            side.copy_(values)

    def average_statistics(self, module: nn.Module) -> None:
        """Average the statistics of batches in layers, such as means and variances."""
        sides = [side for side in module.buffers() if side.is_floating_point() and side.numel()]
        if not sides:
            return
        sums = torch.cat([side.reshape(-1).double() for side in sides])
        self._exchange(dist.all_reduce, sums)
        for side, part in zip(sides, (sums / self.n).split([s.numel() for s in sides]), strict=True):
            side.copy_(part.view_as(side))

    def check_same(self, **digests: str) -> None:
        """Check that data and parameters of a fit are the same in all processes.

        Parameters
        ----------
        **digests : str
            By name, a text that must be equal everywhere.
        """
        numbers = [int(hashlib.sha256(text.encode()).hexdigest()[:15], 16) for text in digests.values()]
        largest = torch.tensor([*numbers, *(-number for number in numbers)])
        self._exchange(dist.all_reduce, largest, op=dist.ReduceOp.MAX)
        high, low = largest.tolist()[: len(numbers)], largest.tolist()[len(numbers) :]
        different = [name for name, a, b in zip(digests, high, low, strict=True) if a != -b]
        if different:
            raise ValueError(
                f"The {self.n} processes train one network and must have the same data and parameters. "
                f"Different: {', '.join(different)}. Load the same X everywhere, in the same order, and give "
                "every random_state an integer: each process takes its share of every batch by itself. For "
                f"fits that differ, set the environment variable {LIMIT_VARIABLE}=1."
            )

    def conclude(self) -> None:
        """Wait until no process can fail any more."""
        if self.group is not None:
            self.total([0.0])

    def leave(self, error: BaseException) -> None:
        """End the connections after an error, and let the others read the reason."""
        if self.group is None:
            return
        group, self.group = self.group, None
        _GROUPS.clear()
        # A lost process is noticed by all. Its reason is that of the first error.
        with suppress(Exception):
            if not isinstance(error, LostProcessError):
                words = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".:")
                _store().set(self._key(self.rank), words[:500])
        with suppress(Exception):
            group.abort()
        with suppress(Exception):
            dist.destroy_process_group(group)

    def _exchange(self, collective: Callable[..., Any], values: Tensor, **options: Any) -> None:
        """Run a collective operation on a tensor, in place."""
        try:
            collective(values, group=self.group, **options)
        # torch has no narrower error for a connection that ended.
        except RuntimeError as error:
            reasons = self._reasons() or ["a process was killed or cannot be reached"]
            raise LostProcessError(
                f"The training over {self.n} processes ended: {'; '.join(reasons)}. Process {self.rank} "
                "stops too, and the estimator is as it was before the fit. If a callback saved the model "
                "after each epoch, load the file and fit with warm_start=True to go on; sk-denoise train "
                "goes on with --resume."
            ) from error

    def _reasons(self) -> list[str]:
        """Return the errors that other processes left behind."""
        reasons = []
        # The store may have ended with the first process.
        with suppress(Exception):
            for rank in range(self.n):
                if _store().check([self._key(rank)]):
                    reasons.append(f"process {rank} had {_store().get(self._key(rank)).decode()}")
        return reasons

    def _key(self, rank: int) -> str:
        return f"sk_denoise/{self.round}/{rank}"


def current_processes() -> Processes | None:
    """Return the processes of the fit in this thread; None if it is alone."""
    fits = _FITS.get()
    return fits[-1] if fits else None


def is_first_process() -> bool:
    """Return whether this process writes files: all do without a launch."""
    return not _is_launched() or _rank_and_number()[0] == 0


@contextmanager
def joined_processes(device: str | torch.device) -> Iterator[Processes | None]:
    """Join the processes of ``accelerate launch`` or ``torchrun`` for a fit.

    An error within the block ends the connections, so that no other process waits.

    Parameters
    ----------
    device : str or torch.device
        Parameter of the estimator. On GPUs, each process takes the one of its number on its machine.

    Yields
    ------
    Processes or None
        None without a launch, in processes and threads of joblib, and in a fit within another fit.

    Raises
    ------
    LostProcessError
        If the processes do not meet.
    """
    fits = _FITS.get()
    processes = _join(device) if not fits and _is_launched() else None
    token = _FITS.set((*fits, processes))
    try:
        with warnings.catch_warnings():
            if processes is not None and not processes.is_first:
                warnings.simplefilter("ignore")
            yield processes
    except BaseException as error:
        if processes is not None:
            processes.leave(error)
        raise
    finally:
        _FITS.reset(token)


def digest(*sides: Any) -> str:
    """Return a text that differs for other shapes, types or values of arrays.

    It reads up to a million entries of each array, in steps.
    """
    state = hashlib.sha256()
    for side in sides:
        array = np.asarray(() if side is None else side)
        flat = array.reshape(-1)[:: max(1, array.size // DIGESTED_ENTRIES)]
        state.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(flat).tobytes())
    return state.hexdigest()


def _is_launched() -> bool:
    """Return whether this process is one of several that were started together."""
    if os.environ.get(LIMIT_VARIABLE) == "1" or not dist.is_available():
        return False
    # Workers of joblib inherit the variables, and threads would mix their exchanges.
    if threading.current_thread() is not threading.main_thread():
        return False
    if dist.is_initialized():
        return dist.get_world_size() > 1
    if parent_process() is not None or not all(os.environ.get(name) for name in ADDRESS):
        return False
    if not (_variable(RANK) and _variable(NUMBER)):
        _warn_of_lone_process()
        return False
    return _rank_and_number()[1] > 1


def _variable(names: Sequence[str]) -> str:
    """Return the environment variable by the first of its names that is set, or ""."""
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _warn_of_lone_process() -> None:
    """Warn where accelerate was to start several processes, and started one."""
    if os.environ.get("ACCELERATE_USE_CPU") == "True":
        warn_user(
            "accelerate launch --cpu started one process: it starts several on processors by mpirun alone, "
            "with --mpirun_hostfile. Start the script by torchrun --nproc-per-node 2 script.py."
        )


def _rank_and_number() -> tuple[int, int]:
    """Return the number of this process, and that of all."""
    if dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    rank, n = _variable(RANK), _variable(NUMBER)
    if not (rank.isdecimal() and n.isdecimal() and int(rank) < int(n)):
        raise ValueError(
            f"The environment variables RANK={rank!r} and WORLD_SIZE={n!r} must be a number of the process "
            "and the number of processes, as accelerate launch and torchrun set them. Unset both to train "
            "in one process."
        )
    return int(rank), int(n)


def _join(device: str | torch.device) -> Processes:
    """Connect the processes, or take the connections of the last fit."""
    kind = _choose_gpu(device)
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    try:
        if not dist.is_initialized():
            rank, n = _rank_and_number()
            dist.init_process_group("gloo", timeout=TIMEOUT, rank=rank, world_size=n)
        if backend not in _GROUPS:
            _COUNT["groups"] += 1
            _GROUPS[backend] = dist.new_group(timeout=TIMEOUT, backend=backend)
    except RuntimeError as error:
        address = ":".join(os.environ.get(name, "") for name in ADDRESS)
        raise LostProcessError(
            f"The {_rank_and_number()[1]} processes did not meet at {address}: {_first_line(error)}. Each "
            "must call fit, on a port that is free (accelerate launch --main_process_port). For a fit in "
            f"this process alone, set the environment variable {LIMIT_VARIABLE}=1."
        ) from error
    return Processes(_GROUPS[backend], *_rank_and_number())


def _choose_gpu(device: str | torch.device) -> str:
    """Choose the GPU of this process, and return the kind of its device."""
    resolved = resolve_device(device)
    if str(resolved) == "cuda":
        rank, n_gpus = int(_variable(LOCAL_RANK) or 0), torch.cuda.device_count()
        if rank >= n_gpus:
            raise ValueError(
                f"Process {rank} of this machine needs a GPU of its own, and there are {n_gpus}. Start as "
                'many processes as GPUs, or pass device="cpu".'
            )
        torch.cuda.set_device(rank)
    return resolved.type


def _store() -> Any:
    """Return the table of texts that all processes can read."""
    return dist.distributed_c10d._get_default_store()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
