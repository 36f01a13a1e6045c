"""Images from the web: what is fetched, and what is refused in words; from a server on this machine."""

from __future__ import annotations

import gzip
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import tracemalloc
import zlib
from contextlib import suppress
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sk_denoise import __version__
from sk_denoise.app._download import Limits, Refused, download
from sk_denoise.app._urls import resolve_public

HOUR = 3600.0  # for limits that are not to end anything
SOON = Limits(seconds=0.3)
CHUNKED = {"Content_Length": None, "Transfer_Encoding": "chunked"}


def image(kind="PNG"):
    """Return the file of an image of 20 x 30 pixels."""
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


def answer(body=b"", status="200 OK", **headers):
    """Return what a server sends; a header is left out by None."""
    headers = {"Content_Type": "image/png", "Content_Length": str(len(body))} | headers
    lines = [f"{name.replace('_', '-')}: {text}" for name, text in headers.items() if text is not None]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def redirect(location, status="302 Found"):
    return answer(status=status, Location=location)


def endless(piece, start=b""):
    """Return what sends a piece again and again, until nobody reads."""

    def send(connection):
        connection.sendall(start)
        while True:
            connection.sendall(piece)

    return send


def silent_after(start):
    """Return what sends a start, and then nothing until it is left."""

    def send(connection):
        connection.sendall(start)
        connection.recv(1)

    return send


def dripping(start=b"", drop=b"a"):
    """Return what sends a start, and then a drop now and then; a single wait is short."""

    def send(connection):
        connection.sendall(start)
        while True:
            connection.sendall(drop)
            threading.Event().wait(0.02)

    return send


class Server:
    """Answers on a free port of this machine, one connection after another; remembers what it was asked."""

    def __init__(self, context=None, greeting=None):
        self.answers, self.asked, self.calls = {}, [], 0
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
            self.calls += 1
            with connection:
                connection.settimeout(20)
                with suppress(OSError):  # who asked has left
                    self._serve(connection)

    def _serve(self, connection):
        if self._greeting:
            connection.sendall(self._greeting)
            return
        if self._context:
            connection = self._context.wrap_socket(connection, server_side=True)
        with connection:
            asked = b""
            while b"\r\n\r\n" not in asked:
                if not (data := connection.recv(2**16)):
                    return
                asked += data
            self.asked.append(asked.decode())
            reply = self.answers[asked.split()[1].decode()]
            reply(connection) if callable(reply) else connection.sendall(reply)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


def numbers_only(host, port, family, kind):
    """Look up without asking anybody: only what is a number in some way of writing is found."""
    return socket.getaddrinfo(host, port, family, kind, 0, socket.AI_NUMERICHOST)


def resolve(host, port):
    """Lead images.test to this machine, and all else where it leads."""
    return ["127.0.0.1"] if host == "images.test" else resolve_public(host, port, numbers_only)


fetch = partial(download, resolve=resolve, limits=Limits(seconds=HOUR))


def refusal(url, target, **options):
    """Return the words by which a URL is refused, after which there is no file."""
    with pytest.raises(Refused) as refused:
        fetch(url, target, **options)
    assert not target.exists()
    assert len(str(refused.value)) < 400
    return str(refused.value)


def test_an_image_comes_as_it_was_sent(server, tmp_path):
    server.answers["/of/my%20cat.png?size=1"] = answer(image())
    came = fetch(server.url("/of/my%20cat.png?size=1#eyes"), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == image()
    assert came.url == server.url("/of/my%20cat.png?size=1")
    assert (came.name, came.n_bytes, came.size) == ("my cat.png", len(image()), (20, 30))


def test_it_asks_for_images_that_are_not_packed_and_says_who_it_is(server, tmp_path, monkeypatch):
    server.answers |= {
        "/": answer(status="302 Found", Location="/b", Set_Cookie="a=b"),
        "/b": answer(image()),
    }
    fetch(server.url(), tmp_path / "a")
    for asked in server.asked:
        lines = asked.lower().split("\r\n")
        assert f"host: images.test:{server.port}" in lines
        assert f"user-agent: sk_denoise/{__version__}" in lines
        assert "accept-encoding: identity" in lines
        assert not any(line.startswith(("cookie", "referer", "authorization")) for line in lines)
    assert server.calls == 2  # no connection is used again


def test_a_server_that_is_named_by_ipv6_is_told_so_in_brackets(server, tmp_path):
    server.answers["/"] = answer(image())
    fetch(server.url(name="[2606:4700::1111]"), tmp_path / "a", resolve=lambda *_: ["127.0.0.1"])
    assert f"Host: [2606:4700::1111]:{server.port}\r\n" in server.asked[0]


@pytest.mark.parametrize(
    "kind", [None, "application/octet-stream", "image/jpeg; charset=utf-8", "IMAGE/X-MS-BMP"]
)
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF", "BMP", "WebP"])
def test_what_a_server_calls_an_image_is_not_asked_too_closely(kind, format_, server, tmp_path):
    server.answers["/"] = answer(
        image(format_), Content_Type=kind, Content_Disposition='attachment; filename="../a/b.bin"'
    )
    came = fetch(server.url(), tmp_path / "a")
    assert (came.name, came.size) == ("b.bin", (20, 30))


def test_a_length_that_is_not_announced_is_no_matter(server, tmp_path):
    body = image()
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[i : i + 500]), body[i : i + 500]) for i in range(0, len(body), 500)
    )
    server.answers["/chunked"] = answer(**CHUNKED) + chunks + b"0\r\n\r\n"
    server.answers["/closed"] = answer(Content_Length=None) + body
    for path in server.answers:
        told = []
        fetch(
            server.url(path), tmp_path / path[1:], callback=lambda *numbers, told=told: told.append(numbers)
        )
        assert (tmp_path / path[1:]).read_bytes() == body
        assert told[0] == (0, None)
        assert told[-1] == (len(body), None)


def test_progress_is_told_from_nothing_to_everything(server, tmp_path):
    body = image() + bytes(300_000)  # what follows the image is nobody's concern
    server.answers["/"] = answer(body)
    told = []
    fetch(server.url(), tmp_path / "a", callback=lambda *numbers: told.append(numbers))
    assert told == sorted(set(told))
    assert len(told) > 2
    assert (told[0], told[-1]) == ((0, len(body)), (len(body), len(body)))


@pytest.mark.parametrize("when", [0, 1])
def test_what_the_callback_raises_ends_the_work_and_leaves_no_file(when, server, tmp_path):
    def cancel(received, expected):
        if received >= when:
            raise KeyboardInterrupt

    server.answers["/"] = endless(bytes(1000), answer(image(), Content_Length=str(10**7)))
    with pytest.raises(KeyboardInterrupt):
        fetch(server.url(), tmp_path / "a", callback=cancel)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays(server, tmp_path):
    (tmp_path / "a").write_text("mine")
    server.answers["/"] = answer(image())
    with pytest.raises(FileExistsError):
        fetch(server.url(), tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_redirects_are_followed(status, server, tmp_path):
    server.answers |= {"/of/a": redirect("../c.png", status), "/c.png": answer(image())}
    came = fetch(server.url("/of/a"), tmp_path / "a")
    assert (came.url, came.name) == (server.url("/c.png"), "c.png")
    server.answers["/of/a"] = redirect(server.url("/c.png").removeprefix("http:"), status)
    assert fetch(server.url("/of/a"), tmp_path / "b").url == came.url


def test_five_redirects_are_followed_and_no_more(server, tmp_path):
    server.answers |= {f"/{i}": redirect(f"/{i + 1}") for i in range(6)} | {"/6": answer(image())}
    assert "more than 5 times" in refusal(server.url("/0"), tmp_path / "a")
    assert server.calls == 6
    assert fetch(server.url("/1"), tmp_path / "a").name == "6"


def test_a_circle_of_redirects_is_seen(server, tmp_path):
    server.answers |= {"/": redirect("/b"), "/b": redirect("/#again")}
    assert "sends on in a circle" in refusal(server.url(), tmp_path / "a")
    assert server.calls == 2


INSIDE = {
    "http://127.1/": "by the number 127.1",
    "http://0x7f000001/": "by the number 0x7f000001",
    "http://2130706433/": "by the number 2130706433",
    "http://127.0.0.1/": "leads to the machine that would ask",
    "http://[::1]/": "leads to the machine that would ask",
    "http://[::ffff:127.0.0.1]/": "leads to the machine that would ask",
    "http://0.0.0.0/": "leads to the machine that would ask",
    "http://169.254.169.254/latest/meta-data/": "leads to machines and services next to",
    "http://100.64.0.1/": "leads to the inner network of a provider",
    "https://10.0.0.1/": "leads to a private network",
    "http://[fd00::1]/": "leads to a private network",
    "http://[64:ff9b::a00:1]/": "leads to a private network",
    "http://localhost/": "no name of a public server",
    "file:///etc/passwd": "begin with file: are not read",
    "ftp://1.1.1.1/cat.png": "begin with ftp: are not read",
}


@pytest.mark.parametrize("url", INSIDE)
def test_what_is_not_public_is_not_asked(url, tmp_path):
    assert INSIDE[url] in refusal(url, tmp_path / "a", resolve=resolve_public)


@pytest.mark.parametrize("url", INSIDE)
def test_nor_by_a_redirect(url, server, tmp_path):
    server.answers["/"] = redirect(url)
    assert INSIDE[url] in refusal(server.url(), tmp_path / "a")
    assert server.calls == 1


def test_the_server_of_the_tests_is_not_public_either(server, tmp_path):
    url = server.url(name="127.0.0.1")
    assert "leads to the machine" in refusal(url, tmp_path / "a", resolve=resolve_public)
    assert server.calls == 0


def test_a_name_that_leads_inside_after_a_redirect_is_refused(server, tmp_path):
    lookups = iter([["127.0.0.1"]])  # as if it were public, the first time

    def rebinding(host, port):
        found = next(lookups, None)
        return found or resolve_public(host, port, lambda *_: [(2, 1, 6, "", ("127.0.0.1", port))])

    server.answers |= {"/": redirect("/b"), "/b": answer(image())}
    url = server.url(name="rebinding.test")
    assert "rebinding.test leads to the machine" in refusal(url, tmp_path / "a", resolve=rebinding)
    assert server.calls == 1


def test_proxies_of_the_environment_are_not_asked(server, tmp_path, monkeypatch):
    proxy = Server()
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url(name="127.0.0.1"))
    server.answers["/"] = answer(image())
    fetch(server.url(), tmp_path / "a")
    proxy.stop()
    assert (server.calls, proxy.calls) == (1, 0)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("204 No Content", "204: it has nothing to send"),
        ("206 Partial Content", "206: that is no image"),
        ("300 Multiple Choices", "300: that is no image"),
        ("304 Not Modified", "304: that is no image"),
        ("401 Unauthorized", "401: it wants a login"),
        ("403 Forbidden", "403: it does not give"),
        ("404 Not Found", "404: there is nothing at this address"),
        ("418 Teapot", "418: that is no image"),
        ("503 Unavailable", "503: the server itself failed"),
    ],
)
def test_an_answer_without_an_image_is_said_in_words(status, message, server, tmp_path):
    server.answers["/"] = answer(image(), status)
    assert message in refusal(server.url(), tmp_path / "a")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (answer(b"<html>", Content_Type="text/html; charset=utf-8"), "a web page, not of an image. Open"),
        (answer(b"%PDF", Content_Type="application/[pdf](x)"), "an image, got application/?pdf?(x)"),
        (answer(b"<html>" * 9), "cannot be used: it is no image that can be read"),
        (answer(image("GIF")), "it is a GIF file, which is not read"),
        (answer(image()[:60]), "the file is cut off"),
        (answer(image(), Content_Length="50"), "the file is cut off"),
        (answer(), "empty file"),
        (answer(huge_png()), "100000 x 100000 pixels (width x height), more than 64,000,000"),
        (answer(huge_png(8001)), "8001 x 8001 pixels (width x height), more than 64,000,000"),
        (answer(image(), Content_Encoding="br"), "packs the image (br)"),
        (answer(image(), Content_Length=str(50 * 2**20 + 1)), "larger than 50 MB"),
        (answer(image(), Content_Length="9" * 19), "larger than 50 MB"),
        (answer(image(), Content_Length="9" * 5000), "not HTTP"),
        (answer(image(), Content_Length="-1"), "not HTTP"),
        (answer(image(), Content_Length="5, 6"), "not HTTP"),
        (answer(image(), Content_Length=str(len(image()) + 1)), "broke off"),
        (answer(Content_Length=None, Transfer_Encoding="gzip"), "not HTTP"),
        (answer(**CHUNKED) + b"no number\r\n", "not HTTP"),
        (b"", "broke off"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
        (endless(b"A: b\r\n" * 100, b"HTTP/1.1 200 OK\r\n"), "not HTTP"),
        (endless(b"a" * 1000, b"HTTP/1.1 200 OK\r\nA: "), "not HTTP"),
    ],
)  # fmt: skip
def test_what_is_no_image_of_ours_is_said_in_words(reply, message, server, tmp_path):
    server.answers["/"] = reply
    said = refusal(server.url(), tmp_path / "a")
    assert message in said
    assert str(tmp_path) not in said


@pytest.mark.parametrize("twice", ["{0}, {0}", "{0}\r\nContent-Length: {0}"])
def test_a_length_may_be_said_twice(twice, server, tmp_path):
    server.answers["/"] = answer(image(), Content_Length=twice.format(len(image())))
    assert fetch(server.url(), tmp_path / "a").n_bytes == len(image())


@pytest.mark.parametrize(
    ("headers", "piece"),
    [
        ({"Content_Length": None}, bytes(2**16)),
        (CHUNKED, b"10000\r\n" + bytes(2**16) + b"\r\n"),
    ],
)
def test_a_body_without_an_end_ends_at_the_limit(headers, piece, server, tmp_path):
    server.answers["/"] = endless(piece, answer(**headers))
    told = []
    limits = Limits(most_bytes=2**20, seconds=HOUR)
    said = refusal(
        server.url(), tmp_path / "a", limits=limits, callback=lambda *numbers: told.append(numbers[0])
    )
    assert "larger than 1 MB" in said
    assert told[-1] <= 2**20


@pytest.mark.parametrize("header", ["gzip", None])
def test_packed_gigabytes_are_not_unpacked(header, server, tmp_path):
    body = gzip.compress(bytes(2**24)) * 256  # 4 GB
    server.answers["/"] = answer(body, Content_Encoding=header)
    tracemalloc.start()
    try:
        said = refusal(server.url(), tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert ("packs the image (gzip)" if header else "no image that can be read") in said


@pytest.mark.parametrize(
    ("reply", "scheme"),
    [
        pytest.param(silent_after(b""), "http", id="says nothing"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\nA: "), "http", id="slow headers"),
        pytest.param(endless(b"HTTP/1.1 100 Continue\r\n\r\n"), "http", id="never more than a start"),
        pytest.param(silent_after(answer(image(), Content_Length="9999")), "http", id="silent body"),
        pytest.param(dripping(answer(Content_Length="9999")), "http", id="slow body"),
        pytest.param(dripping(answer(**CHUNKED), b"1\r\na\r\n"), "http", id="slow chunks"),
        pytest.param(None, "https", id="no handshake"),
    ],
)  # fmt: skip
def test_who_is_slow_is_left_when_the_time_is_up(reply, scheme, server, tmp_path):
    server.answers["/"] = reply
    said = refusal(server.url(scheme=scheme), tmp_path / "a", limits=SOON)
    assert "did not arrive within 0.3 seconds" in said


def test_the_time_is_up_between_pieces_that_came_together(server, tmp_path):
    server.answers["/"] = answer(**CHUNKED) + b"1\r\na\r\n" * 40 + b"0\r\n\r\n"
    said = refusal(
        server.url(), tmp_path / "a", limits=SOON, callback=lambda *_: threading.Event().wait(0.02)
    )
    assert "within 0.3 seconds" in said


def test_redirects_share_one_time(server, tmp_path):
    def late(connection, i):
        threading.Event().wait(0.1)
        connection.sendall(redirect(f"/{i + 1}"))

    server.answers |= {f"/{i}": partial(late, i=i) for i in range(5)} | {"/5": answer(image())}
    assert "within 0.3 seconds" in refusal(server.url("/0"), tmp_path / "a", limits=SOON)


def test_a_lookup_that_hangs_is_left_when_the_time_is_up(tmp_path):
    free = threading.Event()
    try:
        said = refusal("http://images.test/", tmp_path / "a", resolve=lambda *_: free.wait(HOUR), limits=SOON)
    finally:
        free.set()
    assert "within 0.3 seconds" in said


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Make a certificate for images.test that its own key has signed."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
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
    secure_server.answers |= {"/": answer(image()), "/b": redirect(secure_server.url(), "301 Moved")}
    trusted = ssl.create_default_context(cafile=certificate)
    assert fetch(secure_server.url(scheme="https"), tmp_path / "a", ssl_context=trusted).size == (20, 30)

    other = secure_server.url(scheme="https", name="other.test")
    said = refusal(other, tmp_path / "b", ssl_context=trusted, resolve=lambda *_: ["127.0.0.1"])
    assert "certificate of other.test is not valid for it" in said
    assert "Hostname mismatch" in said
    sent_on = secure_server.url("/b", scheme="https")
    assert "from https to http" in refusal(sent_on, tmp_path / "b", ssl_context=trusted)


def test_a_certificate_that_nobody_knows_is_refused(secure_server, tmp_path):
    said = refusal(secure_server.url(scheme="https"), tmp_path / "a")
    assert "certificate of images.test is not valid for it (self" in said
    assert secure_server.asked == []


def test_a_server_without_tls_is_said_in_words(tmp_path):
    server = Server(greeting=b"220 mail.test ESMTP\r\n")
    said = refusal(server.url(scheme="https"), tmp_path / "a")
    server.stop()
    assert "No secure connection to images.test was made" in said


def test_a_server_that_is_not_there_is_said_in_words(tmp_path):
    server = Server()
    server.stop()
    assert f"does not answer at port {server.port}" in refusal(server.url(), tmp_path / "a")
