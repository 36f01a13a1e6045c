"""Settings of the app, launch of its Streamlit server, and limits of visitors."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import threading
import time
import webbrowser
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sk_denoise._package import require_extra

__all__ = ["Settings", "VisitorGuard", "is_page_open", "run"]

LOG = logging.getLogger(__package__)
PAGE = Path(__file__).with_name("page.py")
VARIABLE_PREFIX = "SK_DENOISE_APP_"
# Names of this machine for itself, and addresses that stand for all of its own
LOOPBACK, ANY_ADDRESS = ("localhost", "127.0.0.1", "::1"), ("", "0.0.0.0", "::")
# Largest message to a page, which two noisy images of the size of a screen fill by 20, and from a page, which
# holds the values of a few widgets
MAX_SENT_MEGABYTES, MAX_RECEIVED_BYTES = 32, 2**20
# Open pages and connections
MAX_PAGES, MAX_CONNECTIONS = 256, 4096
# Seconds until a connection without a request is closed, and between signs of life of a page
HEADER_SECONDS, PING_SECONDS = 20.0, 30.0
# Seconds that connections have to end when the app ends
GRACEFUL_SECONDS = 2
# Seconds after which a page counts as slow to read
SLOW_SECONDS = 0.25
# Limits of uploads: time, time between two parts, number of a page at once, and time of a page for one
UPLOAD_SECONDS, CHUNK_SECONDS, MAX_UPLOADS_OF_PAGE, UNNAMED_SECONDS = 900.0, 30.0, 4, 60.0
SWEEP_SECONDS = 5.0
# Bytes around a file in an upload
UPLOAD_FRAME_BYTES = 2**20
HEALTH_PATH = "/_stcore/health"
UPLOAD_PATH = re.compile(r"/_stcore/upload_file/([^/]+)/([^/]+)$")


@dataclass(frozen=True)
class Settings:
    """Limits of the app.

    They bound memory, disk space and computing time for any number of users and any image.

    Parameters
    ----------
    megapixels : int
        Largest image, in megapixels. The size is read from the header, before an image is decoded.
    upload_megabytes : int
        Largest file, in megabytes.
    workers : int
        Number of images that are denoised at the same time, each in its own process; other images wait in a
        queue. Memory use grows with this number, not with the number of users.
    waiting : int
        Largest number of images in the queue. Further requests are rejected with an error message.
    disk_megabytes : int
        Disk space for the images and results of all users, in the folder for temporary files. The least
        recently used ones are deleted first.
    patience : int
        Seconds after which a job is cancelled, and images and results are deleted, when their page is no
        longer open.
    minutes : int
        Time limit of one job, in minutes, so that a slow model does not block the queue.
    memory_megabytes : int
        Largest memory of each process that reads or computes, in megabytes, of at least 1000. A job that
        needs more fails with an error message.

    Raises
    ------
    ValueError
        If a value is not a whole number of at least 1, or less than its smallest value.

    Examples
    --------
    >>> from sk_denoise.app import Settings
    >>> Settings(megapixels=24).max_pixels
    24000000
    """

    megapixels: int = 64
    upload_megabytes: int = 200
    workers: int = 1
    waiting: int = 50
    disk_megabytes: int = 4096
    patience: int = 180
    minutes: int = 120
    # Beside the image, PyTorch and the networks take up to half of a gigabyte.
    memory_megabytes: int = field(default=4096, metadata={"min": 1000})

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, minimum = getattr(self, limit.name), limit.metadata.get("min", 1)
            # bool is a subclass of int
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise ValueError(f"{limit.name} must be a whole number of at least {minimum}, got {value!r}.")

    @property
    def max_pixels(self) -> int:
        """Largest image, in pixels."""
        return self.megapixels * 10**6

    def to_environment(self) -> dict[str, str]:
        """Return the settings as environment variables."""
        return {_variable_name(limit.name): str(getattr(self, limit.name)) for limit in fields(self)}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from environment variables; missing ones keep their defaults."""
        environment = os.environ if environment is None else environment
        texts = {limit.name: environment.get(_variable_name(limit.name), "") for limit in fields(cls)}
        return cls(**{name: _parse_integer(name, text) for name, text in texts.items() if text})


def run(
    settings: Settings | None = None,
    *,
    host: str = "localhost",
    port: int = 8501,
    browser: bool = True,
    allowed_hosts: Sequence[str] = (),
) -> None:
    """Serve the web app until it is interrupted.

    The page denoises images that are uploaded, fetched from the web or taken from samples. The app sends no
    data to other servers: it collects no usage statistics, and the page loads no external resources.

    Parameters
    ----------
    settings : Settings, optional
        Limits. By default they are read from environment variables such as ``SK_DENOISE_APP_MEGAPIXELS``.
    host : str, default="localhost"
        Address to listen on. "0.0.0.0" listens on all addresses, so that other machines can open the app.
    port : int, default=8501
        Port to listen on.
    browser : bool, default=True
        Whether to open a browser.
    allowed_hosts : sequence of str, default=()
        Names under which visitors reach the app, such as that of a proxy. Requests for other names are
        refused. By default, an app on this machine alone answers to its own names, so that a page of
        another site cannot use it; an app that listens on other addresses answers to all names.

    Raises
    ------
    MissingExtraError
        If Streamlit or another package of the extra ``app`` is missing.

    Examples
    --------
    >>> from sk_denoise.app import Settings, run
    >>> run(Settings(megapixels=24), port=8600)  # doctest: +SKIP
    """
    require_extra("The app", "app")
    settings = Settings.from_environment() if settings is None else settings
    # The page runs as a script of its own and reads its settings from the environment.
    os.environ.update(settings.to_environment())
    hosts = _choose_allowed_hosts(host, allowed_hosts)
    from streamlit.web import bootstrap

    bootstrap.load_config_options(_streamlit_options(settings, host, port, hosts))
    _serve(settings, host, port, browser=browser, allowed_hosts=hosts)


def is_page_open(page: str) -> bool:
    """Return whether a browser shows the page of a key."""
    from streamlit import runtime

    # Without a server, a test runs the page.
    return not runtime.exists() or runtime.get_instance().is_active_session(page)


def _choose_allowed_hosts(host: str, allowed_hosts: Sequence[str]) -> tuple[str, ...]:
    """Return the names under which the app answers; none for any name."""
    if allowed_hosts or host in LOOPBACK or host.startswith("127."):
        return tuple(dict.fromkeys((*allowed_hosts, *LOOPBACK, host)))
    # The names of a machine that is open to others are not known.
    return ()


def _streamlit_options(
    settings: Settings, host: str, port: int, allowed_hosts: Sequence[str]
) -> dict[str, Any]:
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": True,
        "server.allowedHosts": list(allowed_hosts),
        "server.maxUploadSize": settings.upload_megabytes,
        "server.maxMessageSize": MAX_SENT_MEGABYTES,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": False,
        # Tracebacks belong in the log: they show paths of the server.
        "client.showErrorDetails": "none",
        "client.toolbarMode": "minimal",
        # Python 3.11 cannot parse in two threads at once.
        "runner.magicEnabled": False,
        # With torch in memory, a collection takes a third of a second for each rerun of each user.
        "runner.postScriptGC": False,
    }


def _serve(settings: Settings, host: str, port: int, *, browser: bool, allowed_hosts: Sequence[str]) -> None:
    """Run the server until SIGINT or SIGTERM."""
    import streamlit
    import uvicorn
    from starlette.middleware import Middleware
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    certificate, key = (streamlit.config.get_option(f"server.ssl{name}File") for name in ("Cert", "Key"))
    name = "localhost" if host in ANY_ADDRESS else f"[{host}]" if ":" in host else host
    address = f"http{'s' if certificate else ''}://{name}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[Any] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                print(f"\n  The app is at {address}\n  Ctrl-C ends it.\n", flush=True)
                if browser:
                    webbrowser.open(address)

    class ImpatientProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        """HTTP that closes connections without a request."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.loop.call_later(HEADER_SECONDS, self.close_if_silent)

        def close_if_silent(self) -> None:
            # A connection of a page has another protocol by now.
            if self.cycle is None and self.transport.get_protocol() is self:
                self.transport.close()

    @asynccontextmanager
    async def manage_service(app: Any) -> AsyncIterator[None]:
        # The first visitor need not wait for the import of PyTorch.
        threading.Thread(target=start_service, name="sk_denoise_start", daemon=True).start()
        yield
        from sk_denoise.app._service import close_shared_service

        await asyncio.to_thread(close_shared_service)

    def start_service() -> None:
        from sk_denoise.app._service import get_shared_service

        get_shared_service(settings, is_page_open)

    guard = Middleware(
        VisitorGuard, allowed_hosts=allowed_hosts, max_upload_bytes=settings.upload_megabytes * 2**20
    )
    logging.getLogger("streamlit.web.server.starlette.starlette_websocket").addFilter(_drop_traceback)
    _allow_many_connections()
    config = uvicorn.Config(
        streamlit.App(PAGE, lifespan=manage_service, middleware=[guard]),
        # Where localhost is an IPv6 address too, some systems cannot listen on it.
        host="127.0.0.1" if host == "localhost" else host,
        port=port,
        http=ImpatientProtocol,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ws="websockets-sansio",
        ws_max_size=MAX_RECEIVED_BYTES,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        log_level="warning",
        access_log=False,
    )
    server = Server(config)
    with _interrupt_at_sigterm(), suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise SystemExit(1)


@contextmanager
def _interrupt_at_sigterm() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, so that the process ends in good order."""
    # The server raises each signal again after its own end. Only the main thread may set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _allow_many_connections() -> None:
    """Raise the number of open files, so that idle connections keep no visitor out."""
    try:
        import resource
    # Windows
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _drop_traceback(record: logging.LogRecord) -> bool:
    """Log one line for a message of a visitor that cannot be parsed."""
    record.exc_info = None
    return True


@dataclass
class _Upload:
    """File of a visitor on its way to the page."""

    page: str
    file: str
    n_bytes: int = 0
    finished_at: float | None = None
    is_refused: bool = False


class VisitorGuard:
    """ASGI middleware that bounds the uploads, messages and connections of visitors.

    Parameters
    ----------
    app : callable
        The ASGI app.
    allowed_hosts : sequence of str
        Names under which the app answers; empty for any name.
    max_upload_bytes : int
        Largest sum of the uploads of a page that the app has not stored yet; all pages together may have
        twice as much.
    """

    def __init__(self, app: Any, allowed_hosts: Sequence[str], max_upload_bytes: int) -> None:
        self._app = app
        self._hosts = frozenset(name.lower() for name in allowed_hosts)
        self._max_of_page, self._max_of_all = max_upload_bytes + UPLOAD_FRAME_BYTES, 2 * max_upload_bytes
        self._uploads: list[_Upload] = []
        self._n_pages = 0
        self._sweeper: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request or a page to the app, within the limits."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        # Probes of an orchestrator use addresses; the reply is the same for all.
        elif not self._is_allowed(scope) and not scope["path"].endswith(HEALTH_PATH):
            # A page of another site, whose name was made to lead to this machine, must not use the app.
            LOG.warning("A request for another name than those of --allowed-host was refused")
            await _refuse(
                scope, send, 421, "This app does not answer under this name; see the option --allowed-host."
            )
        elif scope["type"] == "websocket":
            await self._serve_page(scope, receive, send)
        elif scope["method"] == "PUT" and (match := UPLOAD_PATH.search(scope["path"])):
            await self._take_upload(_Upload(match[1], match[2]), scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_allowed(self, scope: Any) -> bool:
        names = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
        if not self._hosts:
            return True
        # A port follows the name; an IPv6 address is in brackets.
        match = (
            re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:\d*)?", names[0].lower()) if len(names) == 1 else None
        )
        return match is not None and match[1].strip("[]").rstrip(".") in self._hosts

    async def _serve_page(self, scope: Any, receive: Any, send: Any) -> None:
        if self._n_pages >= MAX_PAGES:
            LOG.warning("A page was refused: %d are open", self._n_pages)
            await _refuse(scope, send, 503, "")
            return
        # While a message waits for a slow reader, no further ones are made at the reader's request.
        is_blocked, is_over, sent = False, False, asyncio.Event()
        sent.set()

        async def send_on(message: Any) -> None:
            nonlocal is_blocked, is_over
            start = time.monotonic()
            sent.clear()
            try:
                await send(message)
                is_over = is_over or message["type"] == "websocket.close"
            # The visitor has gone.
            except BaseException:
                is_over = True
                raise
            finally:
                is_blocked = time.monotonic() - start > SLOW_SECONDS
                sent.set()

        async def receive_on() -> Any:
            nonlocal is_over
            while True:
                await sent.wait()
                if not is_blocked:
                    break
                # Further messages may wait behind the one that was sent.
                await asyncio.sleep(SLOW_SECONDS)
                if sent.is_set():
                    break
            message = await receive()
            is_over = is_over or message["type"] == "websocket.disconnect"
            # Streamlit raises an error for text, and logs its traceback.
            if message["type"] == "websocket.receive" and message.get("bytes") is None:
                LOG.warning("A page sent text in place of bytes and was closed")
                await send({"type": "websocket.close", "code": 1003})
                return {"type": "websocket.disconnect", "code": 1003}
            return message

        self._n_pages += 1
        try:
            await self._app(scope, receive_on, send_on)
        except Exception as error:
            # Streamlit fails where it reads from a connection that ended while it wrote to it.
            if not is_over:
                raise
            LOG.info("A page ended with an error: %r", error)
        finally:
            self._n_pages -= 1
            self._free_uploads()

    async def _take_upload(self, upload: _Upload, scope: Any, receive: Any, send: Any) -> None:
        from starlette.exceptions import HTTPException

        n_running = sum(other.finished_at is None for other in self._uploads if other.page == upload.page)
        if n_running >= MAX_UPLOADS_OF_PAGE:
            await _refuse(scope, send, 429, "Too many uploads at once.")
            return
        end = time.monotonic() + UPLOAD_SECONDS
        status = 0

        async def receive_on() -> Any:
            try:
                seconds = min(CHUNK_SECONDS, end - time.monotonic())
                message = await asyncio.wait_for(receive(), max(0.0, seconds))
            except TimeoutError:
                raise HTTPException(408, "The upload is too slow.") from None
            upload.n_bytes += len(message.get("body", b""))
            self._make_room(upload)
            if upload.is_refused:
                LOG.warning("An upload was refused: too many files wait for their pages")
                raise HTTPException(413, "Too many files wait for their pages. Try again later.")
            return message

        async def send_on(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        self._uploads.append(upload)
        try:
            await self._app(scope, receive_on, send_on)
        finally:
            if status // 100 == 2 and not upload.is_refused:
                upload.finished_at = time.monotonic()
                # An upload under the same name was replaced.
                self._uploads = [
                    other
                    for other in self._uploads
                    if other is upload or (other.page, other.file) != (upload.page, upload.file)
                ]
                if self._sweeper is None or self._sweeper.done():
                    self._sweeper = asyncio.create_task(self._sweep())
            else:
                self._remove(upload)

    def _make_room(self, upload: _Upload) -> None:
        """Drop uploads that no page shows until a new one fits, or refuse the new one."""
        if self._sum_of(upload.page) > self._max_of_page or self._sum_of() > self._max_of_all:
            self._free_uploads()
        if self._sum_of(upload.page) > self._max_of_page:
            for other in self._finished_of(upload.page):
                self._remove(other)
            upload.is_refused = self._sum_of(upload.page) > self._max_of_page
        while not upload.is_refused and self._sum_of() > self._max_of_all:
            # The page that takes most gives way.
            page = max((other.page for other in self._uploads), key=self._sum_of)
            others = [other for other in self._uploads if other.page == page and other is not upload]
            if not others:
                upload.is_refused = True
            for other in others:
                other.is_refused = True
                self._remove(other)

    async def _sweep(self) -> None:
        while any(upload.finished_at is not None for upload in self._uploads):
            await asyncio.sleep(SWEEP_SECONDS)
            self._free_uploads()

    def _free_uploads(self) -> None:
        """Forget uploads that were stored, and drop those that no page shows."""
        now = time.monotonic()
        for upload in list(self._uploads):
            if upload.finished_at is None:
                continue
            is_old = now - upload.finished_at > UNNAMED_SECONDS
            if is_old or not is_page_open(upload.page) or not _has_upload(upload):
                self._remove(upload)

    def _finished_of(self, page: str) -> list[_Upload]:
        return [other for other in self._uploads if other.page == page and other.finished_at is not None]

    def _sum_of(self, page: str | None = None) -> int:
        return sum(upload.n_bytes for upload in self._uploads if page in (None, upload.page))

    def _remove(self, upload: _Upload) -> None:
        with suppress(ValueError):
            self._uploads.remove(upload)
        from streamlit import runtime

        if runtime.exists():
            # Streamlit's own manager has more methods than its protocol.
            manager: Any = runtime.get_instance().uploaded_file_mgr
            manager.remove_file(upload.page, upload.file)


def _has_upload(upload: _Upload) -> bool:
    from streamlit import runtime

    files = runtime.get_instance().uploaded_file_mgr
    return bool(files.get_files(upload.page, [upload.file]))


async def _refuse(scope: Any, send: Any, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def _variable_name(setting: str) -> str:
    return VARIABLE_PREFIX + setting.upper()


def _parse_integer(setting: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{_variable_name(setting)} must be a whole number, got {text!r}.") from None
