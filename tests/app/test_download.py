"""Downloads from a server on this machine, and from a network in memory."""

from __future__ import annotations

import gzip
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import tracemalloc
import zlib
from contextlib import suppress
from functools import partial
from io import BytesIO

import httpcore
import numpy as np
import pytest
from PIL import Image

from sk_denoise import __version__
from sk_denoise.app._download import (
    MAX_ADDRESSES,
    CheckedBackend,
    Deadline,
    DownloadLimits,
    download_image,
)
from sk_denoise.app._urls import DownloadError, resolve_public

# A time limit that no test reaches
HOUR = 3600.0
SHORT = DownloadLimits(seconds=0.3)
CHUNKED = {"Content_Length": None, "Transfer_Encoding": "chunked"}
PUBLIC = "93.184.216.34"


def encode_image(kind="PNG"):
    """Return the bytes of an image of 20 x 30 pixels."""
    stream = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def huge_png(side=100_000):
    """Return a small PNG whose header claims a large square."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def response(body=b"", status="200 OK", **headers):
    """Return the bytes of a response; None leaves a header out."""
    headers = {"Content_Type": "image/png", "Content_Length": str(len(body))} | headers
    lines = [f"{name.replace('_', '-')}: {text}" for name, text in headers.items() if text is not None]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def redirect(location, status="302 Found"):
    return response(status=status, Location=location)


def repeat(piece, start=b""):
    """Return a function that repeats a piece until the connection is closed."""

    def send(connection):
        connection.sendall(start)
        while True:
            connection.sendall(piece)

    return send


def send_then_wait(start):
    """Return a function that sends a start, and then waits."""

    def send(connection):
        connection.sendall(start)
        connection.recv(1)

    return send


def send_slowly(start=b"", drop=b"a"):
    """Return a function that sends a start, and then single bytes with short waits."""

    def send(connection):
        connection.sendall(start)
        while True:
            connection.sendall(drop)
            threading.Event().wait(0.02)

    return send


class Server:
    """Server on a free port of this machine that records its requests."""

    def __init__(self, context=None, greeting=None):
        self.responses, self.requests, self.n_connections = {}, [], 0
        self._context, self._greeting = context, greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.02)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.port = self._listener.getsockname()[1]

    def url(self, path="/", scheme="http", name="images.test"):
        return f"{scheme}://{name}:{self.port}{path}"

    def stop(self):
        self._stopped.set()
        self._thread.join()
        self._listener.close()

    def _run(self):
        while not self._stopped.is_set():
            try:
                connection = self._listener.accept()[0]
            except TimeoutError:
                continue
            self.n_connections += 1
            with connection:
                connection.settimeout(20)
                # The client may have closed the connection.
                with suppress(OSError):
                    self._serve(connection)

    def _serve(self, connection):
        if self._greeting:
            connection.sendall(self._greeting)
            return
        if self._context:
            connection = self._context.wrap_socket(connection, server_side=True)
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (data := connection.recv(2**16)):
                    return
                request += data
            self.requests.append(request.decode())
            reply = self.responses[request.split()[1].decode()]
            reply(connection) if callable(reply) else connection.sendall(reply)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


def look_up_numbers(host, port, family, kind):
    """Resolve numeric addresses only, without a request to a name server."""
    return socket.getaddrinfo(host, port, family, kind, 0, socket.AI_NUMERICHOST)


def resolve(host, port):
    """Resolve images.test to this machine, and check every other host."""
    return ["127.0.0.1"] if host == "images.test" else resolve_public(host, port, look_up_numbers)


fetch = partial(download_image, resolve=resolve, limits=DownloadLimits(seconds=HOUR))


def error_message(url, target, **options):
    """Return the message of a failed download, which leaves no file."""
    with pytest.raises(DownloadError) as caught:
        fetch(url, target, **options)
    assert not target.exists()
    assert len(str(caught.value)) < 400
    return str(caught.value)


def test_an_image_is_downloaded_unchanged(server, tmp_path):
    server.responses["/of/my%20cat.png?size=1"] = response(encode_image())
    downloaded = fetch(server.url("/of/my%20cat.png?size=1#eyes"), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == encode_image()
    assert downloaded.url == server.url("/of/my%20cat.png?size=1")
    assert (downloaded.name, downloaded.n_bytes, downloaded.size) == (
        "my cat.png",
        len(encode_image()),
        (20, 30),
    )


def test_the_request_has_a_user_agent_no_compression_and_no_cookies(server, tmp_path, monkeypatch):
    server.responses |= {
        "/": response(status="302 Found", Location="/b", Set_Cookie="a=b"),
        "/b": response(encode_image()),
    }
    fetch(server.url(), tmp_path / "a")
    for request in server.requests:
        lines = request.lower().split("\r\n")
        assert f"host: images.test:{server.port}" in lines
        assert f"user-agent: sk_denoise/{__version__}" in lines
        assert "accept-encoding: identity" in lines
        assert not any(line.startswith(("cookie", "referer", "authorization")) for line in lines)
    # Connections are not reused.
    assert server.n_connections == 2


def test_the_host_header_has_brackets_around_ipv6(server, tmp_path):
    server.responses["/"] = response(encode_image())
    fetch(server.url(name="[2606:4700::1111]"), tmp_path / "a", resolve=lambda *_: ["127.0.0.1"])
    assert f"Host: [2606:4700::1111]:{server.port}\r\n" in server.requests[0]


@pytest.mark.parametrize(
    "kind", [None, "application/octet-stream", "image/jpeg; charset=utf-8", "IMAGE/X-MS-BMP"]
)
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF", "BMP", "WebP"])
def test_unknown_and_inexact_content_types_are_accepted(kind, format_, server, tmp_path):
    server.responses["/"] = response(
        encode_image(format_), Content_Type=kind, Content_Disposition='attachment; filename="../a/b.bin"'
    )
    downloaded = fetch(server.url(), tmp_path / "a")
    assert (downloaded.name, downloaded.size) == ("b.bin", (20, 30))


def test_the_content_length_is_optional(server, tmp_path):
    body = encode_image()
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[i : i + 500]), body[i : i + 500]) for i in range(0, len(body), 500)
    )
    server.responses["/chunked"] = response(**CHUNKED) + chunks + b"0\r\n\r\n"
    server.responses["/closed"] = response(Content_Length=None) + body
    for path in server.responses:
        reports = []
        fetch(
            server.url(path),
            tmp_path / path[1:],
            callback=lambda *numbers, reports=reports: reports.append(numbers),
        )
        assert (tmp_path / path[1:]).read_bytes() == body
        assert reports[0] == (0, None)
        assert reports[-1] == (len(body), None)


def test_progress_is_reported_from_start_to_end(server, tmp_path):
    # Bytes after the image are allowed.
    body = encode_image() + bytes(300_000)
    server.responses["/"] = response(body)
    reports = []
    fetch(server.url(), tmp_path / "a", callback=lambda *numbers: reports.append(numbers))
    assert reports == sorted(set(reports))
    assert len(reports) > 2
    assert (reports[0], reports[-1]) == ((0, len(body)), (len(body), len(body)))


@pytest.mark.parametrize("n_bytes", [0, 1])
def test_an_exception_of_the_callback_cancels_the_download(n_bytes, server, tmp_path):
    def cancel(received, expected):
        if received >= n_bytes:
            raise KeyboardInterrupt

    server.responses["/"] = repeat(bytes(1000), response(encode_image(), Content_Length=str(10**7)))
    with pytest.raises(KeyboardInterrupt):
        fetch(server.url(), tmp_path / "a", callback=cancel)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_overwritten(server, tmp_path):
    (tmp_path / "a").write_text("mine")
    server.responses["/"] = response(encode_image())
    with pytest.raises(FileExistsError):
        fetch(server.url(), tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_redirects_are_followed(status, server, tmp_path):
    server.responses |= {"/of/a": redirect("../c.png", status), "/c.png": response(encode_image())}
    downloaded = fetch(server.url("/of/a"), tmp_path / "a")
    assert (downloaded.url, downloaded.name) == (server.url("/c.png"), "c.png")
    server.responses["/of/a"] = redirect(server.url("/c.png").removeprefix("http:"), status)
    assert fetch(server.url("/of/a"), tmp_path / "b").url == downloaded.url


def test_at_most_five_redirects_are_followed(server, tmp_path):
    server.responses |= {f"/{i}": redirect(f"/{i + 1}") for i in range(6)} | {"/6": response(encode_image())}
    assert "more than 5 times" in error_message(server.url("/0"), tmp_path / "a")
    assert server.n_connections == 6
    assert fetch(server.url("/1"), tmp_path / "a").name == "6"


def test_a_loop_of_redirects_is_detected(server, tmp_path):
    server.responses |= {"/": redirect("/b"), "/b": redirect("/#again")}
    assert "redirects in a loop" in error_message(server.url(), tmp_path / "a")
    assert server.n_connections == 2


NON_PUBLIC_URLS = {
    "http://127.1/": "127.1 is not an IPv4 address",
    "http://0x7f000001/": "0x7f000001 is not an IPv4 address",
    "http://2130706433/": "2130706433 is not an IPv4 address",
    "http://127.0.0.1/": "points to this server itself",
    "http://[::1]/": "points to this server itself",
    "http://[::ffff:127.0.0.1]/": "points to this server itself",
    "http://0.0.0.0/": "points to this server itself",
    "http://169.254.169.254/latest/meta-data/": "points to a link-local network",
    "http://100.64.0.1/": "points to the internal network of a provider",
    "https://10.0.0.1/": "points to a private network",
    "http://[fd00::1]/": "points to a private network",
    "http://[64:ff9b::a00:1]/": "points to a private network",
    "http://localhost/": "not the name of a public server",
    "file:///etc/passwd": "begin with file: are not supported",
    "ftp://1.1.1.1/cat.png": "begin with ftp: are not supported",
}


@pytest.mark.parametrize("url", NON_PUBLIC_URLS)
def test_non_public_urls_are_refused(url, tmp_path):
    assert NON_PUBLIC_URLS[url] in error_message(url, tmp_path / "a", resolve=resolve_public)


@pytest.mark.parametrize("url", NON_PUBLIC_URLS)
def test_redirects_to_non_public_urls_are_refused(url, server, tmp_path):
    server.responses["/"] = redirect(url)
    assert NON_PUBLIC_URLS[url] in error_message(server.url(), tmp_path / "a")
    assert server.n_connections == 1


def test_this_machine_is_refused_without_a_connection(server, tmp_path):
    url = server.url(name="127.0.0.1")
    assert "points to this server itself" in error_message(url, tmp_path / "a", resolve=resolve_public)
    assert server.n_connections == 0


def test_a_host_that_becomes_internal_after_a_redirect_is_refused(server, tmp_path):
    # The first lookup passes as public.
    lookups = iter([["127.0.0.1"]])

    def rebinding(host, port):
        addresses = next(lookups, None)
        return addresses or resolve_public(host, port, lambda *_: [(2, 1, 6, "", ("127.0.0.1", port))])

    server.responses |= {"/": redirect("/b"), "/b": response(encode_image())}
    url = server.url(name="rebinding.test")
    assert "rebinding.test points to this server itself" in error_message(
        url, tmp_path / "a", resolve=rebinding
    )
    assert server.n_connections == 1


def test_proxies_of_the_environment_are_not_used(server, tmp_path, monkeypatch):
    proxy = Server()
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url(name="127.0.0.1"))
    server.responses["/"] = response(encode_image())
    fetch(server.url(), tmp_path / "a")
    proxy.stop()
    assert (server.n_connections, proxy.n_connections) == (1, 0)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("204 No Content", "204: no content"),
        ("206 Partial Content", "206: not an image"),
        ("300 Multiple Choices", "300: not an image"),
        ("304 Not Modified", "304: not an image"),
        ("401 Unauthorized", "401: a login is required"),
        ("403 Forbidden", "403: access denied"),
        ("404 Not Found", "404: not found"),
        ("418 Teapot", "418: not an image"),
        ("503 Unavailable", "503: server error"),
    ],
)
def test_a_failed_status_is_described(status, message, server, tmp_path):
    server.responses["/"] = response(encode_image(), status)
    assert message in error_message(server.url(), tmp_path / "a")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (response(b"<html>", Content_Type="text/html; charset=utf-8"), "a web page, not of an image. Open"),
        (response(b"%PDF", Content_Type="application/[pdf](x)"), "an image, got application/?pdf?(x)"),
        (response(b"<html>" * 9), "cannot be used: it is no image that can be read"),
        (response(encode_image()[:60]), "the file is cut off"),
        (response(encode_image(), Content_Length="50"), "the file is cut off"),
        (response(), "empty file"),
        (response(huge_png()), "100000 x 100000 pixels (width x height), more than 64,000,000"),
        (response(huge_png(8001)), "8001 x 8001 pixels (width x height), more than 64,000,000"),
        (response(encode_image(), Content_Encoding="br"), "compresses the file (br)"),
        (response(encode_image(), Content_Length=str(50 * 2**20 + 1)), "larger than the limit of 50 MB"),
        (response(encode_image(), Content_Length="9" * 19), "larger than the limit of 50 MB"),
        (response(encode_image(), Content_Length="9" * 5000), "not HTTP"),
        (response(encode_image(), Content_Length="-1"), "not HTTP"),
        (response(encode_image(), Content_Length="5, 6"), "not HTTP"),
        (response(encode_image(), Content_Length=str(len(encode_image()) + 1)), "connection was lost"),
        (response(Content_Length=None, Transfer_Encoding="gzip"), "not HTTP"),
        (response(**CHUNKED) + b"no number\r\n", "not HTTP"),
        (b"", "connection was lost"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
        (repeat(b"A: b\r\n" * 100, b"HTTP/1.1 200 OK\r\n"), "not HTTP"),
        (repeat(b"a" * 1000, b"HTTP/1.1 200 OK\r\nA: "), "not HTTP"),
    ],
)  # fmt: skip
def test_a_response_without_a_usable_image_is_described(reply, message, server, tmp_path):
    server.responses["/"] = reply
    text = error_message(server.url(), tmp_path / "a")
    assert message in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("twice", ["{0}, {0}", "{0}\r\nContent-Length: {0}"])
def test_a_repeated_content_length_is_accepted(twice, server, tmp_path):
    server.responses["/"] = response(encode_image(), Content_Length=twice.format(len(encode_image())))
    assert fetch(server.url(), tmp_path / "a").n_bytes == len(encode_image())


@pytest.mark.parametrize(
    ("headers", "piece"),
    [
        ({"Content_Length": None}, bytes(2**16)),
        (CHUNKED, b"10000\r\n" + bytes(2**16) + b"\r\n"),
    ],
)
def test_an_endless_body_ends_at_the_limit(headers, piece, server, tmp_path):
    server.responses["/"] = repeat(piece, response(**headers))
    counts = []
    limits = DownloadLimits(max_bytes=2**20, seconds=HOUR)
    text = error_message(
        server.url(), tmp_path / "a", limits=limits, callback=lambda received, _: counts.append(received)
    )
    assert "larger than the limit of 1 MB" in text
    assert counts[-1] <= 2**20


@pytest.mark.parametrize("header", ["gzip", None])
def test_compressed_gigabytes_are_not_decompressed(header, server, tmp_path):
    body = gzip.compress(bytes(2**24)) * 256  # 4 GB
    server.responses["/"] = response(body, Content_Encoding=header)
    tracemalloc.start()
    try:
        text = error_message(server.url(), tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert ("compresses the file (gzip)" if header else "no image that can be read") in text


@pytest.mark.parametrize(
    ("reply", "scheme"),
    [
        pytest.param(send_then_wait(b""), "http", id="no response"),
        pytest.param(send_slowly(b"HTTP/1.1 200 OK\r\nA: "), "http", id="slow headers"),
        pytest.param(repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), "http", id="endless interim responses"),
        pytest.param(send_then_wait(response(encode_image(), Content_Length="9999")), "http", id="no body"),
        pytest.param(send_slowly(response(Content_Length="9999")), "http", id="slow body"),
        pytest.param(send_slowly(response(**CHUNKED), b"1\r\na\r\n"), "http", id="slow chunks"),
        pytest.param(None, "https", id="no handshake"),
    ],
)  # fmt: skip
def test_a_slow_server_exceeds_the_time_limit(reply, scheme, server, tmp_path):
    server.responses["/"] = reply
    text = error_message(server.url(scheme=scheme), tmp_path / "a", limits=SHORT)
    assert "did not arrive within 0.3 seconds" in text


def test_the_time_limit_holds_between_chunks_of_one_read(server, tmp_path):
    server.responses["/"] = response(**CHUNKED) + b"1\r\na\r\n" * 40 + b"0\r\n\r\n"
    text = error_message(
        server.url(), tmp_path / "a", limits=SHORT, callback=lambda *_: threading.Event().wait(0.02)
    )
    assert "within 0.3 seconds" in text


def test_redirects_share_one_time_limit(server, tmp_path):
    def late(connection, i):
        threading.Event().wait(0.1)
        connection.sendall(redirect(f"/{i + 1}"))

    server.responses |= {f"/{i}": partial(late, i=i) for i in range(5)} | {"/5": response(encode_image())}
    assert "within 0.3 seconds" in error_message(server.url("/0"), tmp_path / "a", limits=SHORT)


def test_a_hanging_lookup_exceeds_the_time_limit(tmp_path):
    free = threading.Event()
    try:
        text = error_message(
            "http://images.test/", tmp_path / "a", resolve=lambda *_: free.wait(HOUR), limits=SHORT
        )
    finally:
        free.set()
    assert "within 0.3 seconds" in text


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for images.test."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    made = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    named = ["-subj", "/CN=images.test", "-addext", "subjectAltName=DNS:images.test"]
    key = path.with_name("key.pem")
    subprocess.run([openssl, *made, *named, "-keyout", key, "-out", path], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


@pytest.fixture
def secure_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(context)
    yield server
    server.stop()


def test_tls_goes_to_the_checked_address_and_checks_the_name(secure_server, certificate, tmp_path):
    secure_server.responses |= {
        "/": response(encode_image()),
        "/b": redirect(secure_server.url(), "301 Moved"),
    }
    trusted = ssl.create_default_context(cafile=certificate)
    assert fetch(secure_server.url(scheme="https"), tmp_path / "a", ssl_context=trusted).size == (20, 30)

    other = secure_server.url(scheme="https", name="other.test")
    text = error_message(other, tmp_path / "b", ssl_context=trusted, resolve=lambda *_: ["127.0.0.1"])
    assert "certificate of other.test is not valid" in text
    assert "Hostname mismatch" in text
    redirected = secure_server.url("/b", scheme="https")
    assert "from https to http" in error_message(redirected, tmp_path / "b", ssl_context=trusted)


def test_an_untrusted_certificate_is_refused(secure_server, tmp_path):
    text = error_message(secure_server.url(scheme="https"), tmp_path / "a")
    assert "certificate of images.test is not valid (self" in text
    assert secure_server.requests == []


def test_a_server_without_tls_is_refused(tmp_path):
    server = Server(greeting=b"220 mail.test ESMTP\r\n")
    text = error_message(server.url(scheme="https"), tmp_path / "a")
    server.stop()
    assert "The secure connection to images.test failed" in text


def test_a_server_that_does_not_run_is_described(tmp_path):
    server = Server()
    server.stop()
    assert f"does not respond at port {server.port}" in error_message(server.url(), tmp_path / "a")


# Connections to checked addresses, in a network in memory


class Stream(httpcore.MockStream):
    """Connection in memory that records its addresses and its end."""

    def __init__(self, peer, local):
        super().__init__([b"response"])
        self.ends = {"server_addr": (peer, 80), "client_addr": (local, 40_000)}
        self.closed = False

    def get_extra_info(self, info):
        return self.ends.get(info, "something")

    def close(self):
        self.closed = True


class Network(httpcore.NetworkBackend):
    """Network in memory that records the addresses of connections."""

    def __init__(self, down=(), peer=None, local="192.168.1.2"):
        self.down, self.peer, self.local = down, peer, local
        self.addresses, self.streams = [], []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.addresses.append(host)
        assert 0 < timeout <= 20
        if host in self.down:
            raise httpcore.ConnectTimeout
        self.streams.append(Stream(self.peer or host, self.local))
        return self.streams[-1]


def changing_lookup(*addresses):
    """Return a lookup with a new address for each call, and the list of its hosts."""
    hosts = []

    def lookup(host, port, family, kind):
        hosts.append(host)
        return [(2, kind, 6, "", (addresses[len(hosts) - 1], port))]

    return lookup, hosts


def test_a_host_is_resolved_once_and_the_connection_uses_the_checked_address():
    lookup, hosts = changing_lookup(PUBLIC, "127.0.0.1")
    network = Network()
    backend = CheckedBackend(lambda host, port: resolve_public(host, port, lookup), Deadline(20), network)
    backend.connect_tcp("rebinding.example", 80)
    assert hosts == ["rebinding.example"]
    assert network.addresses == [PUBLIC]
    with pytest.raises(DownloadError, match="points to this server itself"):
        backend.connect_tcp("rebinding.example", 80)
    assert network.addresses == [PUBLIC]


def test_the_next_checked_address_is_tried_after_a_failure():
    network = Network(down=("2606:4700::1111",))
    CheckedBackend(lambda *_: ["2606:4700::1111", PUBLIC, "1.1.1.1"], Deadline(20), network).connect_tcp(
        "a", 80
    )
    assert network.addresses == ["2606:4700::1111", PUBLIC]


def test_few_addresses_of_a_dead_server_are_tried():
    addresses = [f"1.1.1.{i}" for i in range(200)]
    network = Network(down=addresses)
    with pytest.raises(DownloadError, match=r"a\.example does not respond at port 8000"):
        CheckedBackend(lambda *_: addresses, Deadline(20), network).connect_tcp("a.example", 8000)
    assert network.addresses == addresses[:MAX_ADDRESSES]


def test_a_connection_to_another_address_is_closed():
    network = Network(peer="10.0.0.1")
    with pytest.raises(DownloadError, match="reached another address"):
        CheckedBackend(lambda *_: [PUBLIC], Deadline(20), network).connect_tcp("a.example", 80)
    assert [stream.closed for stream in network.streams] == [True]


def test_the_public_address_of_this_machine_is_refused():
    network = Network(local=PUBLIC)
    with pytest.raises(DownloadError, match="points to this server itself"):
        CheckedBackend(lambda *_: [PUBLIC], Deadline(20), network).connect_tcp("a.example", 80)
    assert [stream.closed for stream in network.streams] == [True]


def test_a_resolver_that_returns_names_is_an_error():
    network = Network()
    with pytest.raises(ValueError, match=r"localhost"):
        CheckedBackend(lambda *_: ["localhost"], Deadline(20), network).connect_tcp("a.example", 80)
    assert network.addresses == []


def test_unix_sockets_are_not_supported():
    with pytest.raises(NotImplementedError):
        CheckedBackend(lambda *_: [], Deadline(20)).connect_unix_socket("/run/socket")


def test_servers_cannot_switch_to_http_2():
    stream = CheckedBackend(lambda *_: [PUBLIC], Deadline(20), Network()).connect_tcp("a.example", 80)
    assert stream.get_extra_info("ssl_object") is None
    assert stream.get_extra_info("server_addr") == (PUBLIC, 80)


def test_a_hanging_call_is_abandoned():
    free = threading.Event()
    try:
        with pytest.raises(DownloadError, match=r"within 0\.1 seconds"):
            Deadline(0.1).call(free.wait, 30)
    finally:
        free.set()


def test_an_exception_of_a_call_is_raised():
    def fail():
        raise TimeoutError("of the function")

    with pytest.raises(TimeoutError, match="of the function"):
        Deadline(20).call(fail)
    assert Deadline(20).call(lambda: 3) == 3


def test_every_operation_fails_after_the_end(monkeypatch):
    deadline = Deadline(20)
    network = Network()
    backend = CheckedBackend(lambda *_: [PUBLIC], deadline, network)
    stream = backend.connect_tcp("a.example", 80)
    assert stream.read(100) == b"response"
    end = time.monotonic() + 21
    monkeypatch.setattr("time.monotonic", lambda: end)
    for operation in (
        lambda: stream.read(100, timeout=5),
        lambda: stream.write(b"request"),
        lambda: stream.start_tls(None, "a.example"),
        lambda: backend.connect_tcp("a.example", 80),
    ):
        with pytest.raises(DownloadError, match="within 20 seconds"):
            operation()
    assert network.addresses == [PUBLIC]
