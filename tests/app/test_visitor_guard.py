"""Limits of visitors: names, uploads, messages."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from sk_denoise.app import _launch
from sk_denoise.app._launch import LOOPBACK, UPLOAD_FRAME_BYTES, VisitorGuard

# Bytes of one page
LIMIT = 10 * 2**20


class Server:
    """Stand-in for Streamlit: it stores uploads in memory, and knows its open pages."""

    def __init__(self):
        self.uploaded_file_mgr = MemoryUploadedFileManager("/_stcore/upload_file")
        self.open = set()
        self.refused = []

    def is_active_session(self, page):
        return page in self.open

    def held(self, page=None):
        """Return the bytes in memory."""
        storage = self.uploaded_file_mgr.file_storage
        pages = storage if page is None else [page]
        return sum(len(record.data) for key in pages for record in storage.get(key, {}).values())

    async def __call__(self, scope, receive, send):
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "bytes": message["bytes"]})
            return
        data = b""
        if scope["method"] == "PUT":
            more = True
            while more:
                try:
                    message = await receive()
                # Starlette turns it into a response.
                except Exception as error:
                    self.refused.append(error.status_code)
                    await send({"type": "http.response.start", "status": error.status_code})
                    return
                data, more = data + message["body"], message["more_body"]
            page, file = scope["path"].split("/")[-2:]
            self.uploaded_file_mgr.add_file(page, UploadedFileRec(file, "a.png", "image/png", data))
        await send({"type": "http.response.start", "status": 204})


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setattr(runtime, "exists", lambda: True)
    monkeypatch.setattr(runtime, "get_instance", lambda: server)
    monkeypatch.setattr(_launch, "SWEEP_SECONDS", 0.01)
    return server


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


async def request(guard, *, host="localhost", method="GET", path="/", chunks=(b"",)):
    """Send a request, and return the status of the response."""
    waiting, statuses = list(chunks), []

    async def receive():
        await asyncio.sleep(0)
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message):
        statuses.append(message.get("status"))

    headers = [(b"host", host.encode())] if host is not None else []
    await guard({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
    return statuses[0]


async def upload(guard, server, page, file, n_bytes):
    server.open.add(page)
    chunks = [bytes(2**20)] * (n_bytes // 2**20)
    return await request(guard, method="PUT", path=f"/_stcore/upload_file/{page}/{file}", chunks=chunks)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8501", 204),
        ("LOCALHOST", 204),
        ("localhost.", 204),
        ("127.0.0.1:8501", 204),
        ("[::1]:8501", 204),
        ("evil.example", 421),
        ("localhost.evil.example:8501", 421),
        ("localhost@evil.example", 421),
        ("evil.example#localhost", 421),
        ("localhost:8501:1", 421),
        ("", 421),
        (None, 421),
    ],
)
def test_an_app_answers_to_its_names_only(host, status, server):
    assert run(request(VisitorGuard(server, LOOPBACK, LIMIT), host=host)) == status
    assert run(request(VisitorGuard(server, (), LIMIT), host=host)) == 204
    assert run(request(VisitorGuard(server, LOOPBACK, LIMIT), host=host, path="/_stcore/health")) == 204


def test_uploads_that_no_page_takes_stay_below_the_limits(server):
    guard = VisitorGuard(server, LOOPBACK, LIMIT)

    async def attack():
        for number in range(8):
            assert await upload(guard, server, "a", number, 8 * 2**20) == 204
            assert server.held("a") <= LIMIT + UPLOAD_FRAME_BYTES
        # Many pages of one visitor
        for number in range(8):
            await upload(guard, server, f"page {number}", 0, 8 * 2**20)
            assert server.held() <= 2 * LIMIT
        assert await upload(guard, server, "b", 0, 20 * 2**20) == 413

    run(attack())


def test_a_small_upload_finds_room_beside_large_ones(server):
    guard = VisitorGuard(server, LOOPBACK, LIMIT)

    async def attack():
        for page in "abcd":
            await upload(guard, server, page, 0, 9 * 2**20)
        assert await upload(guard, server, "honest", 0, 2**20) == 204
        assert server.held("honest") == 2**20

    run(attack())


def test_uploads_are_freed_with_their_page_and_after_some_time(server, monkeypatch):
    guard = VisitorGuard(server, LOOPBACK, LIMIT)

    async def close_page():
        await upload(guard, server, "a", 0, 2**20)
        await upload(guard, server, "b", 0, 2**20)
        server.open.remove("a")
        while server.held("a"):
            await asyncio.sleep(0.01)
        assert server.held("b") == 2**20
        monkeypatch.setattr(_launch, "UNNAMED_SECONDS", 0.0)
        while server.held():
            await asyncio.sleep(0.01)

    run(close_page())


def test_a_slow_upload_is_refused(server, monkeypatch):
    monkeypatch.setattr(_launch, "CHUNK_SECONDS", 0.05)
    guard = VisitorGuard(server, LOOPBACK, LIMIT)

    async def attack():
        async def receive():
            await asyncio.sleep(60)

        async def send(message):
            pass

        path = "/_stcore/upload_file/a/0"
        headers = [(b"host", b"localhost")]
        await guard({"type": "http", "method": "PUT", "path": path, "headers": headers}, receive, send)

    run(attack())
    assert server.refused == [408]


def open_page(guard, messages, sent, delay=0.0):
    """Run a page that sends messages, and reads each one with a delay."""

    async def receive():
        await asyncio.sleep(0)
        return messages.pop(0) if messages else {"type": "websocket.disconnect", "code": 1000}

    async def send(message):
        await asyncio.sleep(delay)
        sent.append((message["type"], len(messages)))

    return guard({"type": "websocket", "headers": [(b"host", b"localhost")]}, receive, send)


def test_text_closes_a_page_without_an_error(server, caplog):
    sent = []
    text = {"type": "websocket.receive", "text": "hello"}
    data = {"type": "websocket.receive", "bytes": b"a"}
    run(open_page(VisitorGuard(server, LOOPBACK, LIMIT), [data, text, data], sent))
    assert [kind for kind, _ in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert "A page sent text" in caplog.text


@pytest.mark.parametrize("is_gone", [True, False])
def test_only_an_error_after_the_end_of_a_page_is_no_error_of_the_app(is_gone):
    """Streamlit reads from a connection that ended while it wrote to it."""

    async def app(scope, receive, send):
        with contextlib.suppress(OSError):
            await send({"type": "websocket.send", "bytes": b"a"})
        raise RuntimeError("the page is not connected")

    async def send(message):
        if is_gone:
            raise OSError("the visitor has gone")

    scope = {"type": "websocket", "headers": [(b"host", b"localhost")]}
    page = VisitorGuard(app, LOOPBACK, LIMIT)(scope, None, send)
    if is_gone:
        run(page)
    else:
        with pytest.raises(RuntimeError, match="not connected"):
            run(page)


def test_too_many_pages_are_refused(server, monkeypatch):
    monkeypatch.setattr(_launch, "MAX_PAGES", 0)
    sent = []
    run(open_page(VisitorGuard(server, LOOPBACK, LIMIT), [], sent))
    assert [kind for kind, _ in sent] == ["websocket.close"]


def test_a_page_that_does_not_read_is_not_listened_to(server):
    """Messages are made in another task than that which receives, as Streamlit does."""
    received, reads = [], asyncio.Event()

    async def app(scope, receive, send):
        sender = asyncio.create_task(send({"type": "websocket.send", "bytes": b"large"}))
        await asyncio.sleep(0)
        while (message := await receive())["type"] == "websocket.receive":
            received.append(message)
        await sender

    async def attack():
        messages = [{"type": "websocket.receive", "bytes": b"a"}] * 5

        async def receive():
            return messages.pop(0) if messages else {"type": "websocket.disconnect", "code": 1000}

        async def send(message):
            await reads.wait()

        scope = {"type": "websocket", "headers": [(b"host", b"localhost")]}
        page = asyncio.create_task(VisitorGuard(app, LOOPBACK, LIMIT)(scope, receive, send))
        await asyncio.sleep(0.1)
        assert not received
        reads.set()
        await page
        assert len(received) == 5

    run(attack())
