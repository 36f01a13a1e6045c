"""Measure the web app with a hostile visitor beside honest ones.

    python benchmarks/hostile_visitors.py [--quick] [--visitors 10] [--output FILE]

The script starts the app and talks to it as a browser does, over HTTP and websockets. Honest visitors
upload a noisy image, and start again where the page says so. Beside them a hostile one clears caches,
uploads files that no page shows, sends large messages, opens slow connections, starts and cancels jobs, and
worker processes are killed. Then jobs are cancelled in each of their phases, and the app is killed and
started again. Memory is the proportional set size of the app with all its worker processes; this needs
Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_connection, socket
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sk_denoise.app import Settings
from sk_denoise.app._processing import DenoisingRequest
from sk_denoise.app._service import AppService
from sk_denoise.datasets import load_images
from sk_denoise.io import write_image

# In seconds
TIMEOUT = 900
FOLDERS = "sk_denoise-app-*"
# Largest sum that the whole may take, in MB
MEMORY_LIMIT = 2000
CANCEL_LIMIT = 2.0
# A process with PyTorch takes ten seconds to start where the machine is busy.
KILL_INTERVAL = 40.0


class Visitor:
    """A browser with one page of the app."""

    def __init__(self, address: str) -> None:
        self.address = address.removeprefix("http://")
        self.widgets: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self.texts: list[str] = []
        self.alerts: list[str] = []
        self.is_busy = False
        self.session = ""

    async def __aenter__(self) -> Visitor:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        with closing(connection):
            connection.request("GET", "/_stcore/health")
            response = connection.getresponse()
            response.read()
            cookie = response.getheader("Set-Cookie") or ""
        self.xsrf = re.sub(r"^_streamlit_xsrf=|;.*$", "", cookie)
        self.socket = await connect(
            f"ws://{self.address}/_stcore/stream",
            subprotocols=["streamlit", self.xsrf],  # type: ignore[list-item]
            additional_headers={"Cookie": f"_streamlit_xsrf={self.xsrf}"},
            max_size=2**26,
            open_timeout=60,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.socket.close()

    async def send(self, **content: Any) -> None:
        """Send a message of one field."""
        await self.socket.send(BackMsg(**content).SerializeToString())

    async def run(self, **values: Any) -> None:
        """Run the page with values of widgets by their labels, and read what it shows."""
        message = BackMsg()
        message.rerun_script.query_string = ""
        triggers = {}
        for label, value in values.items():
            (triggers if value is True else self.values)[self.widgets[label]] = value
        for widget, value in {**self.values, **triggers}.items():
            state = message.rerun_script.widget_states.widgets.add(id=widget)
            if value is True:
                state.trigger_value = True
            elif isinstance(value, tuple):
                state.file_uploader_state_value.uploaded_file_info.add(
                    name="image.png", size=value[1], file_id=value[0]
                )
            else:
                state.string_array_value.data.append(value)
        await self.socket.send(message.SerializeToString())
        await self.read()

    async def read(self) -> None:
        """Read messages until the page is complete."""
        self.texts, self.alerts, self.is_busy = [], [], False
        while True:
            message = await self.receive()
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self.session = message.new_session.initialize.session_id or self.session
                self.texts, self.alerts, self.is_busy = [], [], False
            elif kind == "delta":
                self.read_element(message.delta.new_element)
            # A fragment ends on its own.
            elif kind == "script_finished" and message.script_finished == 0:
                return

    async def receive(self) -> ForwardMsg:
        """Return the next message."""
        data = await asyncio.wait_for(self.socket.recv(), TIMEOUT)
        message = ForwardMsg()
        message.ParseFromString(data)
        return message

    def read_element(self, element: Any) -> None:
        """Note widgets and texts."""
        kind = element.WhichOneof("type")
        content = getattr(element, kind) if kind else None
        if kind in ("file_uploader", "button", "button_group"):
            label = content.label
            # The group of sources comes first.
            if kind == "button_group":
                label = label or "source"
            self.widgets[label.split(",")[0]] = content.id
        elif kind == "markdown":
            self.texts.append(content.body)
        elif kind == "alert":
            self.alerts.append(content.body)
        elif kind == "progress":
            self.is_busy = True

    async def upload(self, data: bytes, *, name_it: bool = True) -> int:
        """Upload a file, and show it to the page unless it stays unnamed; return the status."""
        file = str(uuid.uuid4())
        status = await asyncio.to_thread(self._put, file, data)
        if name_it and status == 204:
            (label,) = (label for label in self.widgets if label.startswith("An image of up to"))
            self.values = {}
            await self.run(**{label: (file, len(data))})
            self.values = {}
        return status

    def _put(self, file: str, data: bytes) -> int:
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="image.png"\r\n'
            "Content-Type: image/png\r\n\r\n"
        )
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        connection = http.client.HTTPConnection(self.address, timeout=120)
        with closing(connection):
            try:
                connection.request(
                    "PUT",
                    f"/_stcore/upload_file/{self.session}/{file}",
                    body,
                    {
                        "Content-Type": f"multipart/form-data; boundary={boundary}",
                        "X-Xsrftoken": self.xsrf,
                        "Cookie": f"_streamlit_xsrf={self.xsrf}",
                    },
                )
                return connection.getresponse().status
            # The server closes the connection of a refused upload.
            except (OSError, http.client.HTTPException):
                return 0


@dataclass
class Counts:
    """Events of the hostile visitor, and those of the honest ones."""

    events: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, event: str) -> None:
        """Count an event."""
        self.events[event] = self.events.get(event, 0) + 1


async def visit(address: str, data: bytes, counts: Counts) -> None:
    """Denoise an image as an honest visitor, who starts again where the page says so."""
    start = time.monotonic()
    try:
        async with Visitor(address) as visitor:
            await visitor.run()
            while await visitor.upload(data) != 204:
                counts.restarts += 1
                await asyncio.sleep(2)
            while True:
                if visitor.is_busy:
                    await asyncio.sleep(0.5)
                    await visitor.run()
                elif any("Denoised in" in text for text in visitor.texts):
                    break
                elif time.monotonic() - start > TIMEOUT:
                    raise TimeoutError(f"{visitor.alerts} {visitor.texts}")
                elif "Denoise" in visitor.widgets:
                    counts.restarts += 1
                    await visitor.run(Denoise=True)
                else:
                    raise AssertionError(f"{visitor.alerts}")
        counts.seconds.append(time.monotonic() - start)
        print(f"{len(counts.seconds)} finished, {counts.restarts} restarts", file=sys.stderr, flush=True)
    except Exception as error:
        counts.problems.append(f"{type(error).__name__}: {error}")


async def clear_caches(address: str, counts: Counts) -> None:
    """Clear all caches again and again."""
    async with Visitor(address) as visitor:
        await visitor.run()
        while True:
            await visitor.send(clear_cache=True)
            await visitor.run()
            counts.add("`clear_cache`")
            await asyncio.sleep(0.3)


async def upload_unnamed(address: str, counts: Counts, megabytes: int) -> None:
    """Upload files that no widget names."""
    data = bytes(megabytes * 2**20)
    async with Visitor(address) as visitor:
        await visitor.run()
        for _ in range(12):
            status = await visitor.upload(data, name_it=False)
            counts.add(
                f"uploads of {megabytes} MB that no page shows, " + ("taken" if status == 204 else "refused")
            )
    await asyncio.sleep(1)


async def send_large(address: str, counts: Counts, megabytes: int) -> None:
    """Send messages larger than any page does."""

    async def one() -> None:
        with contextlib.suppress(ConnectionClosed, OSError, InvalidStatus):
            async with Visitor(address) as visitor:
                await visitor.socket.send(bytes(megabytes * 2**20))
                await visitor.socket.recv()
                await visitor.socket.wait_closed()
        counts.add(f"messages of {megabytes} MB")

    await asyncio.gather(*(one() for _ in range(25)))
    # Their bytes take the time of the processor from all others.
    await asyncio.sleep(10)


async def hold_sockets(address: str, counts: Counts, number: int) -> None:
    """Open connections that send half of a request, and a page that triggers work and reads nothing."""
    host, port = address.removeprefix("http://").split(":")
    sockets = []
    try:
        for _ in range(number):
            slow = create_connection((host, int(port)), 10)
            slow.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            sockets.append(slow)
            counts.add("connections with half of a request")
        while True:
            for slow in sockets:
                with contextlib.suppress(OSError):
                    slow.send(b"a")
            await asyncio.sleep(1)
    finally:
        for slow in sockets:
            slow.close()


async def read_nothing(address: str, counts: Counts, data: bytes) -> None:
    """Trigger views of a page, and read none of them."""
    async with Visitor(address) as visitor:
        await visitor.run()
        await visitor.upload(data)
        while visitor.is_busy:
            await asyncio.sleep(1)
            await visitor.run()
        visitor.socket.transport.pause_reading()
        message = BackMsg()
        message.rerun_script.query_string = ""
        while True:
            await asyncio.wait_for(visitor.socket.send(message.SerializeToString()), 60)
            counts.add("runs of a page that reads nothing")
            await asyncio.sleep(0.05)


async def cancel_jobs(address: str, counts: Counts, data: bytes) -> None:
    """Start and cancel jobs."""
    async with Visitor(address) as visitor:
        await visitor.run()
        await visitor.upload(data)
        while True:
            if "Cancel" in visitor.widgets and visitor.is_busy:
                await visitor.run(Cancel=True)
                counts.add("cancelled jobs")
            await visitor.run(Denoise=True)
            await asyncio.sleep(0.7)


async def kill_workers(server: int, counts: Counts) -> None:
    """Kill a worker process from time to time."""
    while True:
        await asyncio.sleep(KILL_INTERVAL)
        children = children_of(server)
        if children:
            with contextlib.suppress(OSError):
                os.kill(
                    children[counts.events.get("killed worker processes", 0) % len(children)], signal.SIGKILL
                )
                counts.add("killed worker processes")


async def again(function: Callable[[], Awaitable[None]]) -> None:
    """Repeat an attack whose connection the app has closed."""
    while True:
        with contextlib.suppress(ConnectionClosed, InvalidStatus, OSError, TimeoutError):
            await function()
        await asyncio.sleep(0.5)


def children_of(process: int) -> list[int]:
    """Return the numbers of the processes that a process has started."""
    text = "".join(path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children"))
    return [int(number) for number in text.split()]


def is_running(process: int) -> bool:
    """Return whether a process runs; one that nobody has waited for does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def memory_of(processes: list[int]) -> int:
    """Return the proportional set size of processes in MB."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += int(re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)[0])
    return total // 1024


def state_of(server: int) -> dict[str, int]:
    """Return numbers of threads, processes and folders."""
    text = Path(f"/proc/{server}/status").read_text()
    return {
        "threads of the server": int(re.findall(r"Threads:\s+(\d+)", text)[0]),
        "worker processes": len(children_of(server)),
        "folders": len(list(Path(tempfile.gettempdir()).glob(FOLDERS))),
        "MB": memory_of([server, *children_of(server)]),
    }


class Watch:
    """Thread that measures the largest memory of a process with its children."""

    def __init__(self, server: int) -> None:
        self.peak, self._server, self._ended = 0, server, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.3):
            self.peak = max(self.peak, memory_of([self._server, *children_of(self._server)]))


@contextmanager
def app(log: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the app; yield its address and process."""
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sk_denoise", "app", "--port", str(port), "--no-browser", *options]
    with log.open("ab") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(1200):
                try:
                    urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield address, server
        finally:
            server.terminate()
            server.wait(30)


def noisy_photo(side: int, seed: int, suffix: str) -> bytes:
    """Return the file of a noisy photo."""
    photo = np.rint(255 * load_images().test[0])
    times = [-(-side // length) for length in photo.shape[:2]]
    large = np.tile(photo, (*times, 1))[:side, :side]
    noise = np.random.default_rng(seed).normal(0, 15, large.shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        write_image(path, np.rint((large + noise).clip(0, 255)).astype(np.uint8))
        return path.read_bytes()


async def run_honest(address: str, images: list[bytes]) -> Counts:
    """Let all honest visitors denoise their images."""
    counts = Counts()
    await asyncio.gather(*(visit(address, data, counts) for data in images))
    return counts


async def run_both(address: str, server: int, images: list[bytes], *, quick: bool) -> tuple[Counts, Counts]:
    """Let the hostile visitor act beside the honest ones."""
    hostile = Counts()
    large = noisy_photo(1000 if quick else 2000, 99, ".jpg")
    attacks: list[Callable[[], Awaitable[None]]] = [
        lambda: clear_caches(address, hostile),
        lambda: upload_unnamed(address, hostile, 40),
        lambda: upload_unnamed(address, hostile, 40),
        lambda: send_large(address, hostile, 20 if quick else 64),
        lambda: hold_sockets(address, hostile, 100 if quick else 300),
        lambda: read_nothing(address, hostile, large),
        lambda: cancel_jobs(address, hostile, large),
        lambda: kill_workers(server, hostile),
    ]
    tasks = [asyncio.create_task(again(attack)) for attack in attacks]
    await asyncio.sleep(2)
    honest = await run_honest(address, images)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return honest, hostile


def measure_cancels(*, quick: bool) -> list[tuple[str, float, bool]]:
    """Return the phases of jobs, the seconds until a cancel ended each, and whether its process was kept."""
    service = AppService(Settings())
    # The processes start.
    small = service.store_image("a.png", noisy_photo(64, 0, ".png"))
    assert service.denoise(small, DenoisingRequest()).wait(TIMEOUT)
    side = 2500 if quick else 4000
    image = service.store_image("a.png", noisy_photo(side, 1, ".png"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        photo = np.asarray(Image.open(tempfile_of(noisy_photo(512, 2, ".png"), folder)))[..., 0]
        tifffile.imwrite(path, np.stack([photo] * (20 if quick else 100)), metadata={"axes": "ZYX"})
        stack = service.store_image("a.tif", path.read_bytes())
    rows = []
    phases = [
        (image, "Reading the image", "reading", 0.05),
        (image, "Estimating the noise", "estimating the noise", 0.1),
        (image, "Denoising", "a tile", 0.0),
        (image, "Denoising", "a tile, later", 1.0),
        (stack, "Denoising the stack", "a plane of a stack, which is written", 0.5),
    ]
    if not quick:
        phases += [
            (image, "Estimating the quality", "estimating the quality", 0.05),
            (image, "Preparing the view", "writing the arrays", 0.05),
        ]
    for seed, (stored, activity, name, delay) in enumerate(phases):
        job = service.denoise(stored, DenoisingRequest(seed=seed))
        rows.append((name, *time_cancel(service, job, activity, delay)))
    service.close()
    with slow_server() as url:
        # A function that the worker process can unpickle
        service = AppService(Settings(), resolve={"images.test": ["127.0.0.1"]}.get)
        job = service.fetch_image(url)
        rows.append(("fetching from a slow server", *time_cancel(service, job, "Fetching the image", 1.0)))
        service.close()
    return rows


def tempfile_of(data: bytes, folder: str) -> Path:
    """Write a file to a folder, and return its path."""
    path = Path(folder) / "image.png"
    path.write_bytes(data)
    return path


@contextmanager
def slow_server() -> Iterator[str]:
    """Run a server that sends a byte a second."""

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", "100000")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(30):
                    self.wfile.write(b"a")
                    time.sleep(1)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://images.test:{server.server_port}/a.png"
        server.shutdown()


def time_cancel(service: AppService, job: Any, activity: str, delay: float) -> tuple[float, bool]:
    """Cancel a job in a phase, and return the seconds that it took and whether its process was kept."""
    before = set(service.process_ids)
    while job.progress[2] != activity:
        if job.is_finished:
            return float("nan"), True
        time.sleep(0.005)
    time.sleep(delay)
    if job.is_finished:
        return float("nan"), True
    start = time.monotonic()
    job.cancel()
    assert job.wait(TIMEOUT)
    assert job.state == "cancelled", (job.state, job.error)
    return time.monotonic() - start, before <= set(service.process_ids)


def kill_and_restart(log: Path) -> tuple[int, int, int]:
    """Kill an app with an image; return its folders and processes then, and the folders of the next app."""
    with app(log) as (address, server):
        asyncio.run(run_honest(address, [noisy_photo(128, 3, ".png")]))
        children = children_of(server.pid)
        server.kill()
        server.wait()
    left = len(list(Path(tempfile.gettempdir()).glob(FOLDERS)))
    time.sleep(1)
    alive = sum(is_running(child) for child in children)
    with app(log) as (address, server):
        asyncio.run(run_honest(address, [noisy_photo(128, 4, ".png")]))
        after = len(list(Path(tempfile.gettempdir()).glob(FOLDERS)))
    return left, alive, after


def main() -> None:
    """Run all parts, write the tables, and end with 1 where a limit is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visitors", type=int, default=10)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/hostile_visitors.md"))
    options = parser.parse_args()
    side = 128 if options.quick else 500
    images = [noisy_photo(side, seed, ".png") for seed in range(options.visitors)]
    others = [noisy_photo(side, 100 + seed, ".png") for seed in range(options.visitors)]
    # Apps of other users of this machine have folders too.
    folder = tempfile.mkdtemp(prefix="hostile-visitors-")
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    log = Path(folder) / "log"
    with app(log, "--patience", "20") as (address, server):
        alone = asyncio.run(run_honest(address, images))
        before = state_of(server.pid)
        with Watch(server.pid) as watch:
            honest, hostile = asyncio.run(run_both(address, server.pid, others, quick=options.quick))
        # Pages count as closed after the patience.
        time.sleep(45)
        after = state_of(server.pid)
        kept = len(list(Path(folder).glob(f"{FOLDERS}/cache/*")))
    cancels = measure_cancels(quick=options.quick)
    left, alive, next_folders = kill_and_restart(log)
    text = log.read_text(errors="replace")
    call = f"python benchmarks/hostile_visitors.py --visitors {options.visitors}" + " --quick" * options.quick
    checks = {
        f"all {options.visitors} honest visitors finish": len(honest.seconds) == options.visitors,
        f"memory of the whole below {MEMORY_LIMIT} MB": watch.peak < MEMORY_LIMIT,
        "threads constant": after["threads of the server"] <= before["threads of the server"] + 2,
        "folders constant": after["folders"] == before["folders"] == 1,
        "no image of a closed page is kept": kept == 0,
        f"cancel within {CANCEL_LIMIT:g} s": all(not seconds > CANCEL_LIMIT for _, seconds, _ in cancels),
        "no process after SIGKILL": alive == 0,
        "one folder after SIGKILL and a new start": next_folders == 1,
        "no traceback in the log": "Traceback" not in text,
    }
    lines = [
        "# A hostile visitor beside honest ones",
        "",
        f"`{call}`, on {os.cpu_count()} CPUs. Honest images have {side} x {side} pixels.",
        "",
        "| | finished | started again | the last one after |",
        "|---|---|---|---|",
        f"| honest visitors alone | {len(alone.seconds)} | {alone.restarts} | "
        f"{max(alone.seconds, default=0):.0f} s |",
        f"| beside the hostile one | {len(honest.seconds)} | {honest.restarts} | "
        f"{max(honest.seconds, default=0):.0f} s |",
        "",
        "The hostile visitor did meanwhile:",
        "",
        *(f"- {event}: {number}" for event, number in sorted(hostile.events.items())),
        "",
        f"The most memory of the app with its worker processes was {watch.peak} MB.",
        "",
        "| | before | after |",
        "|---|---|---|",
        *(f"| {name} | {before[name]} | {after[name]} |" for name in before),
        "",
        "| cancelled while | ended after | process kept |",
        "|---|---|---|",
        *(
            f"| {name} | {seconds:.2f} s | {'yes' if is_kept else 'no'} |"
            for name, seconds, is_kept in cancels
        ),
        "",
        f"After SIGKILL {left} folder was left, and {alive} processes; after the next start there was "
        f"{next_folders} folder, that of the new app.",
        "",
        *(f"- {name}: {'yes' if holds else '**no**'}" for name, holds in checks.items()),
        *(f"- problem of an honest visitor: {problem}" for problem in (*alone.problems, *honest.problems)),
    ]
    options.output.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    if not all(checks.values()):
        print(text[-5000:], file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
