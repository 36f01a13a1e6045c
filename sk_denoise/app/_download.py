"""An image from a URL, for a page that everybody may use.

Whoever types a URL must reach nothing but public servers through us, and must not fill memory or disk, or
keep the page waiting. What is refused is said in words (:class:`Refused`), for the person who typed it.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import httpcore

from sk_denoise import __version__
from sk_denoise.app._urls import (
    Refused,
    Resolver,
    Url,
    file_name,
    follow,
    parse,
    plain,
    resolve_public,
    why_not_public,
)
from sk_denoise.exceptions import UnreadableImageError
from sk_denoise.io import image_size

__all__ = ["CheckedBackend", "Deadline", "Downloaded", "Limits", "Refused", "download"]

Callback = Callable[[int, int | None], object]
REDIRECTS = frozenset({301, 302, 303, 307, 308})
WITHOUT_A_KIND = frozenset(  # how servers call files that they know nothing of
    {
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "application/x-octet-stream",
        "application/force-download",
    }
)
PAGES = frozenset({"text/html", "application/xhtml+xml"})
IN_WORDS = {
    204: "it has nothing to send",
    401: "it wants a login",
    403: "it does not give the image to everybody",
    404: "there is nothing at this address",
    406: "it has the image in other formats only",
    410: "what was at this address is gone",
    429: "it was asked too often; try again later",
    451: "it may not show the image, by law",
}
HEADERS = (
    ("User-Agent", f"sk_denoise/{__version__}"),
    ("Accept", "image/png, image/jpeg, image/webp, image/tiff, image/bmp, */*;q=0.1"),
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
)


@dataclass(frozen=True)
class Limits:
    """How much an image may cost; the defaults are for a page that everybody may use.

    Parameters
    ----------
    most_bytes : int, default=50 * 2**20
        Of the file.
    most_pixels : int, default=64 * 10**6
        Height times width, as the file's header says.
    seconds : float, default=20.0
        For everything that is waited for: the lookup of names, connections, redirects and the file.
    redirects : int, default=5
        How often servers may send on.
    """

    most_bytes: int = 50 * 2**20
    most_pixels: int = 64 * 10**6
    seconds: float = 20.0
    redirects: int = 5


@dataclass(frozen=True)
class Downloaded:
    """What came: from where after redirects, under what name, how many bytes, height and width in pixels."""

    url: str
    name: str
    n_bytes: int
    size: tuple[int, int]


def download(
    url: str,
    target: Path,
    *,
    limits: Limits = Limits(),
    resolve: Resolver = resolve_public,
    ssl_context: ssl.SSLContext | None = None,
    callback: Callback | None = None,
) -> Downloaded:
    """Fetch an image from a public server into a file.

    Asks by GET, without cookies, proxies or what is left of earlier connections. Each name is looked up once,
    all its addresses are checked, and the connection goes to one of them; each redirect is checked the same
    way. The file is one that `sk_denoise.io` reads, as far as its header tells.

    Parameters
    ----------
    url : str
        What a person typed: http or https, at port 80, 443 or 1024 and above. Without a scheme it is https.
    target : Path
        The file to write, which must not be there yet. It is not there either where the download fails.
    limits : Limits
        How much it may cost.
    resolve : callable, default=resolve_public
        Name and port -> the addresses that may be connected to, or `Refused`. May run in another thread.
    ssl_context : ssl.SSLContext, optional
        Whose certificates are trusted; by default those that browsers trust. The name is checked in any case.
    callback : callable, optional
        Called with the bytes that came so far and those that were announced (None where they were not), at
        the start and for each piece. What it raises ends the work.

    Returns
    -------
    Downloaded
        What came. Its address may hold what only the person who typed it should see.

    Raises
    ------
    Refused
        Where there is no such image, or it is not fetched; in words for the person who typed the URL.
    FileExistsError
        Where there is a file already.
    OSError
        Where it cannot be written, on a full disk say.

    Examples
    --------
    >>> from pathlib import Path
    >>> from sk_denoise.app._download import download
    >>> download("http://127.0.0.1/cat.png", Path("cat.png"))
    Traceback (most recent call last):
        ...
    sk_denoise.app._urls.Refused: 127.0.0.1 leads to the machine that would ask; images are fetched from \
public servers only. Upload the image as a file.
    """
    deadline = Deadline(limits.seconds)
    backend = CheckedBackend(resolve, deadline)
    with _answer(parse(url), backend, limits, ssl_context) as (final, response):
        _check_status(response)
        _check_kind(response)
        expected = _announced(response, limits)
        with _new_file(target) as stream:
            n_bytes = _store(response, stream, expected, limits, deadline, callback)
            size = _checked_size(target, limits)
        return Downloaded(
            str(final), file_name(final, _header(response, b"content-disposition")), n_bytes, size
        )


@contextmanager
def _answer(
    url: Url, backend: CheckedBackend, limits: Limits, ssl_context: ssl.SSLContext | None
) -> Iterator[tuple[Url, httpcore.Response]]:
    """Give the first answer that does not send on, with its address, and close all connections in the end."""
    seen = [url]
    with _protocol_in_words():
        while True:
            with (
                httpcore.ConnectionPool(ssl_context, network_backend=backend) as pool,
                pool.stream("GET", _as_asked(url), headers=[("Host", url.server), *HEADERS]) as response,
            ):
                location = _header(response, b"location")
                if response.status not in REDIRECTS or location is None:
                    yield url, response
                    return
            url = follow(url, location)
            if url in seen:
                raise Refused("The server sends on in a circle; open the image in a browser and save it.")
            if len(seen) > limits.redirects:
                raise Refused(
                    f"The servers send on more than {limits.redirects} times; open the image in a browser "
                    "and copy the address that it shows then."
                )
            seen.append(url)


def _as_asked(url: Url) -> httpcore.URL:
    """Return the parts of an address as they were checked, which nobody has to read again."""
    return httpcore.URL(
        scheme=url.scheme.encode(), host=url.host.encode(), port=url.port, target=url.target.encode()
    )


@contextmanager
def _protocol_in_words() -> Iterator[None]:
    try:
        yield
    except (httpcore.ProtocolError, httpcore.NetworkError) as error:
        raise Refused(
            f"The connection broke off, or what came is not HTTP ({plain(str(error))}). Try again later, or "
            "download the image yourself and upload the file."
        ) from error


def _header(response: httpcore.Response, name: bytes) -> str | None:
    """Return a header; where it comes several times, all of them with commas between, as HTTP reads them."""
    values = [
        value.decode(errors="replace").strip() for key, value in response.headers if key.lower() == name
    ]
    return ", ".join(values) if values else None


def _check_status(response: httpcore.Response) -> None:
    status = response.status
    if status == 200:
        return
    server_failed = "the server itself failed; try again later" if status >= 500 else "that is no image"
    raise Refused(
        f"The server answered {status}: {IN_WORDS.get(status, server_failed)}. Check the address in a "
        "browser, or download the image there and upload the file."
    )


def _check_kind(response: httpcore.Response) -> None:
    """Refuse what says itself that it is no image, or packed."""
    kind = (_header(response, b"content-type") or "").partition(";")[0].strip().lower()
    if kind in PAGES:
        raise Refused(
            "This is the address of a web page, not of an image. Open the image in a tab of its own and "
            "copy that address."
        )
    if not kind.startswith("image/") and kind not in WITHOUT_A_KIND:
        raise Refused(f"Expected an image, got {plain(kind)}. Copy the address of the image itself.")
    packing = _header(response, b"content-encoding") or ""
    if any(name.strip().lower() not in ("", "identity") for name in packing.split(",")):
        raise Refused(
            f"The server packs the image ({plain(packing)}), though it was asked not to. Download it "
            "yourself and upload the file."
        )


def _announced(response: httpcore.Response, limits: Limits) -> int | None:
    """Return how many bytes the server means to send, if it says so."""
    length = _header(response, b"content-length")
    if length is None or _header(response, b"transfer-encoding") is not None:
        return None
    expected = int(length)
    if expected > limits.most_bytes:
        raise _too_large(limits)
    return expected


def _too_large(limits: Limits) -> Refused:
    return Refused(
        f"The file is larger than {limits.most_bytes / 2**20:.3g} MB, the most that is fetched. Find a "
        "smaller version of the image."
    )


@contextmanager
def _new_file(target: Path) -> Iterator[BinaryIO]:
    """Make a file that stays where all goes well."""
    stream = target.open("xb")
    try:
        with stream:
            yield stream
    except BaseException:  # an interruption too
        target.unlink(missing_ok=True)
        raise


def _store(
    response: httpcore.Response,
    stream: BinaryIO,
    expected: int | None,
    limits: Limits,
    deadline: Deadline,
    callback: Callback | None,
) -> int:
    """Write the body as it comes, and return its length."""
    received = 0
    tell = callback or (lambda received, expected: None)
    tell(received, expected)
    for piece in response.iter_stream():
        deadline.left()  # a thousand small pieces may come in one read
        received += len(piece)
        if received > limits.most_bytes:
            raise _too_large(limits)
        stream.write(piece)
        tell(received, expected)
    if not received:
        raise Refused("The server sent an empty file. Check the address in a browser.")
    stream.flush()
    return received


def _checked_size(target: Path, limits: Limits) -> tuple[int, int]:
    """Return height and width of what came, if it is an image of ours and not too large."""
    try:
        height, width = image_size(target)
    except UnreadableImageError as error:
        reason = str(error).removeprefix(f"{target}: ")  # nobody outside is to see where files lie
        raise Refused(f"What came from the address cannot be used: {plain(reason, 300)}") from error
    if height * width > limits.most_pixels:
        raise Refused(
            f"The image has {width} x {height} pixels (width x height), more than {limits.most_pixels:,}. "
            "Make it smaller and upload the file."
        )
    return height, width


T = TypeVar("T")
MOST_ADDRESSES = 4  # that are tried, one after another


class Deadline:
    """One time for everything that a download waits for."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, most: float | None = None) -> float:
        """Return how many seconds may be waited, and refuse where none are left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left if most is None else min(left, most)

    def passed(self) -> Refused:
        """Return what is raised when the time is up."""
        return Refused(
            f"The image did not arrive within {self._seconds:g} seconds. Try again later, or download it "
            "yourself and upload the file."
        )

    def wait_for(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call what cannot be interrupted, and leave it behind in its thread when the time is up."""
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(function(*arguments))
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=run, name="lookup for a download", daemon=True).start()
        try:
            return outcome.result(self.left())
        except TimeoutError as error:
            if outcome.done():  # the error is that of the function, or it was done at the last moment
                return outcome.result()
            raise self.passed() from error


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to what a resolver allows, and to nothing else: no name is looked up twice.

    Parameters
    ----------
    resolve : callable
        Name and port -> addresses in digits that may be connected to; raises `Refused` where there are none.
    deadline : Deadline
        For the lookup, and for all that is done with the streams.
    network : httpcore.NetworkBackend, optional
        What connects to an address; by default the system.
    """

    def __init__(
        self, resolve: Resolver, deadline: Deadline, network: httpcore.NetworkBackend | None = None
    ) -> None:
        self._resolve = resolve
        self._deadline = deadline
        self._network = httpcore.SyncBackend() if network is None else network

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Look the name up and connect to the first of its addresses that answers."""
        found = self._deadline.wait_for(self._resolve, host, port)
        # only digits come through, or the system would look a name up again
        addresses = [ip_address(address) for address in found][:MOST_ADDRESSES]
        for tried, address in enumerate(addresses):
            share = self._deadline.left() / (len(addresses) - tried)
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout, OSError):
                stream = self._network.connect_tcp(
                    str(address), port, self._deadline.left(share), local_address, socket_options
                )
                return TimedStream(_checked(stream, address, host), self._deadline, host)
        self._deadline.left()
        raise Refused(f"The server {plain(host)} does not answer at port {port}; check the address.")


def _checked(
    stream: httpcore.NetworkStream, address: IPv4Address | IPv6Address, host: str
) -> httpcore.NetworkStream:
    """Return a stream if it leads where it should, as far as the system tells; else close it."""
    try:
        peer, own = (stream.get_extra_info(info) for info in ("server_addr", "client_addr"))
        if peer is not None and ip_address(peer[0]) != address:
            raise Refused(f"The connection to {plain(host)} leads elsewhere; try again, or upload the file.")
        # From its own public address a machine reaches what a firewall keeps from others.
        if own is not None and ip_address(own[0]) == address and why_not_public(str(address)) is None:
            raise Refused(f"{plain(host)} leads to the machine that would ask; upload the image as a file.")
    except BaseException:
        stream.close()
        raise
    return stream


class TimedStream(httpcore.NetworkStream):
    """A stream whose every wait ends with the time of the whole download."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline, host: str) -> None:
        self._stream = stream
        self._deadline = deadline
        self._host = host

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come."""
        try:
            return self._stream.read(max_bytes, self._deadline.left(timeout))
        except httpcore.ReadTimeout as error:
            raise self._deadline.passed() from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write everything."""
        try:
            self._stream.write(buffer, self._deadline.left(timeout))
        except httpcore.WriteTimeout as error:
            raise self._deadline.passed() from error

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Encrypt, and check that the certificate is that of the name."""
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        except httpcore.ConnectTimeout as error:
            raise self._deadline.passed() from error
        except httpcore.ConnectError as error:
            raise Refused(_why_not_secure(error.__cause__, self._host)) from error
        return TimedStream(stream, self._deadline, self._host)

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        # without it, httpcore does not ask whether the server would like to speak HTTP/2
        return None if info == "ssl_object" else self._stream.get_extra_info(info)


def _why_not_secure(error: BaseException | None, host: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"The certificate of {plain(host)} is not valid for it ({plain(error.verify_message, 120)}); "
            "check the address."
        )
    return f"No secure connection to {plain(host)} was made; check the address, or try it with http://."
