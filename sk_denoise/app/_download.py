"""Download of images from public servers.

Everyone who can open the app can enter a URL. The download therefore reaches public servers only, and limits
memory, disk space and time.
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
    DownloadError,
    InvalidUrlError,
    Resolver,
    Url,
    choose_file_name,
    describe_non_public,
    follow_redirect,
    parse_url,
    resolve_public,
    sanitize_text,
)
from sk_denoise.exceptions import UnreadableImageError
from sk_denoise.io import image_size

__all__ = [
    "MAX_ADDRESSES",
    "CheckedBackend",
    "Deadline",
    "DownloadLimits",
    "DownloadedImage",
    "download_image",
]

T = TypeVar("T")

ByteCallback = Callable[[int, int | None], object]
# Addresses of one server that are tried one after another
MAX_ADDRESSES = 4
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Content types that servers use for files of unknown type
UNKNOWN_CONTENT_TYPES = frozenset(
    {
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "application/x-octet-stream",
        "application/force-download",
    }
)
PAGE_CONTENT_TYPES = frozenset({"text/html", "application/xhtml+xml"})
STATUS_REASONS = {
    204: "no content",
    401: "a login is required",
    403: "access denied",
    404: "not found",
    406: "the image exists in other formats only",
    410: "no longer available",
    429: "too many requests; try again later",
    451: "blocked for legal reasons",
}
# No cookies and no referrer: servers see nothing of the user.
HEADERS = (
    ("User-Agent", f"sk_denoise/{__version__}"),
    ("Accept", "image/png, image/jpeg, image/webp, image/tiff, image/bmp, */*;q=0.1"),
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
)


@dataclass(frozen=True)
class DownloadLimits:
    """Limits of one download.

    Parameters
    ----------
    max_bytes : int, default=50 * 2**20
        Largest file.
    max_pixels : int, default=64 * 10**6
        Largest height times width, as in the header of the file.
    seconds : float, default=20.0
        Time limit for all lookups, connections, redirects and the file together.
    max_redirects : int, default=5
        Largest number of redirects.
    """

    max_bytes: int = 50 * 2**20
    max_pixels: int = 64 * 10**6
    seconds: float = 20.0
    max_redirects: int = 5


@dataclass(frozen=True)
class DownloadedImage:
    """Downloaded image file.

    Attributes
    ----------
    url : str
        Final URL after redirects. It may hold secrets of the user, such as a signature.
    name : str
        Safe file name.
    n_bytes : int
        Size of the file.
    size : tuple (height, width)
        Size of the image in pixels.
    """

    url: str
    name: str
    n_bytes: int
    size: tuple[int, int]


def download_image(
    url: str,
    target: Path,
    *,
    limits: DownloadLimits = DownloadLimits(),
    resolve: Resolver = resolve_public,
    ssl_context: ssl.SSLContext | None = None,
    callback: ByteCallback | None = None,
) -> DownloadedImage:
    """Download an image from a public server to a file.

    The download is a GET request without cookies, proxies or reused connections. Each server name is
    resolved once and all its addresses are checked; the connection uses one of these addresses. Redirects
    are checked in the same way. The header of the file must be that of a format that `sk_denoise.io` reads.

    Parameters
    ----------
    url : str
        URL that the user entered: http or https, with port 80, 443 or 1024 and above. The default scheme is
        https.
    target : Path
        File to write, which must not exist. A failed download leaves no file.
    limits : DownloadLimits
        Limits of the download.
    resolve : callable, default=resolve_public
        Function from server name and port to the allowed addresses; it raises `DownloadError` if there are
        none. It may run in another thread.
    ssl_context : ssl.SSLContext, optional
        Context with the trusted certificates; by default those of the system and of certifi.
    callback : callable, optional
        Function of the bytes received and the bytes expected (None if unknown). It is called at the start
        and for each chunk, and may raise an exception to cancel the download.

    Returns
    -------
    DownloadedImage
        Name, size and final URL of the image.

    Raises
    ------
    DownloadError
        If the URL is not allowed, the server fails, or the file is not an image within the limits. The
        message is for the user.
    FileExistsError
        If the target exists.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from sk_denoise.app._download import download_image
    >>> download_image("http://127.0.0.1/cat.png", Path("cat.png"))
    Traceback (most recent call last):
        ...
    sk_denoise.app._urls.InvalidUrlError: 127.0.0.1 points to this server itself; the app fetches images \
from public servers only. Upload the image as a file.
    """
    deadline = Deadline(limits.seconds)
    backend = CheckedBackend(resolve, deadline)
    with _open_response(parse_url(url), backend, limits, ssl_context) as (final_url, response):
        _check_status(response)
        _check_content(response)
        expected = _read_content_length(response, limits)
        with _create_file(target) as stream:
            n_bytes = _write_body(response, stream, expected, limits, deadline, callback)
            size = _read_image_size(target, limits)
        name = choose_file_name(final_url, _get_header(response, b"content-disposition"))
        return DownloadedImage(str(final_url), name, n_bytes, size)


class Deadline:
    """Common time limit for all waits of a download."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self, max_seconds: float | None = None) -> float:
        """Return the remaining seconds, or raise an error after the end."""
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise self.error()
        return remaining if max_seconds is None else min(remaining, max_seconds)

    def error(self) -> DownloadError:
        """Return the error for a download that exceeds the time limit."""
        return DownloadError(
            f"The image did not arrive within {self._seconds:g} seconds. Try again later, or download it "
            "yourself and upload the file."
        )

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that cannot be interrupted, and abandon it at the end."""
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(function(*arguments))
            except BaseException as error:
                outcome.set_exception(error)

        # A daemon thread does not keep the process alive after its end.
        threading.Thread(target=run, name="lookup for a download", daemon=True).start()
        try:
            return outcome.result(self.remaining())
        except TimeoutError as error:
            # The function itself may have raised it, or may have finished at the last moment.
            if outcome.done():
                return outcome.result()
            raise self.error() from error


class CheckedBackend(httpcore.NetworkBackend):
    """Network backend that connects to the addresses of a resolver only.

    Parameters
    ----------
    resolve : callable
        Function from server name and port to the allowed addresses in digits; it raises `DownloadError` if
        there are none.
    deadline : Deadline
        Time limit for the lookup and for all operations on the streams.
    network : httpcore.NetworkBackend, optional
        Backend for the connection to an address; by default that of the operating system.
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
        """Resolve the host and connect to the first of its addresses that responds."""
        resolved = self._deadline.call(self._resolve, host, port)
        # ip_address refuses names, which the operating system would resolve again.
        addresses = [ip_address(address) for address in resolved][:MAX_ADDRESSES]
        for n_tried, address in enumerate(addresses):
            # Equal shares of the remaining time, so that a dead address leaves time for the next one
            share = self._deadline.remaining() / (len(addresses) - n_tried)
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout, OSError):
                stream = self._network.connect_tcp(
                    str(address), port, self._deadline.remaining(share), local_address, socket_options
                )
                return TimedStream(_check_peer(stream, address, host), self._deadline, host)
        self._deadline.remaining()
        raise DownloadError(
            f"The server {sanitize_text(host)} does not respond at port {port}; check the address."
        )


class TimedStream(httpcore.NetworkStream):
    """Network stream with the time limit of the whole download."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline, host: str) -> None:
        self._stream = stream
        self._deadline = deadline
        self._host = host

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read the bytes received."""
        try:
            return self._stream.read(max_bytes, self._deadline.remaining(timeout))
        except httpcore.ReadTimeout as error:
            raise self._deadline.error() from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all bytes."""
        try:
            self._stream.write(buffer, self._deadline.remaining(timeout))
        except httpcore.WriteTimeout as error:
            raise self._deadline.error() from error

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Start the encryption, and check the certificate of the server."""
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.remaining(timeout))
        except httpcore.ConnectTimeout as error:
            raise self._deadline.error() from error
        except httpcore.ConnectError as error:
            raise DownloadError(_describe_tls_error(error.__cause__, self._host)) from error
        return TimedStream(stream, self._deadline, self._host)

    def get_extra_info(self, info: str) -> Any:
        """Return a property of the connection."""
        # Without the SSL object, httpcore does not switch to HTTP/2.
        return None if info == "ssl_object" else self._stream.get_extra_info(info)


@contextmanager
def _open_response(
    url: Url, backend: CheckedBackend, limits: DownloadLimits, ssl_context: ssl.SSLContext | None
) -> Iterator[tuple[Url, httpcore.Response]]:
    """Follow redirects, and yield the final URL and its response."""
    visited = [url]
    with _translate_protocol_errors():
        while True:
            with (
                httpcore.ConnectionPool(ssl_context, network_backend=backend) as pool,
                pool.stream("GET", _to_httpcore(url), headers=[("Host", url.server), *HEADERS]) as response,
            ):
                location = _get_header(response, b"location")
                if response.status not in REDIRECTS or location is None:
                    yield url, response
                    return
            url = follow_redirect(url, location)
            if url in visited:
                raise DownloadError(
                    "The server redirects in a loop; open the image in a browser and save it."
                )
            if len(visited) > limits.max_redirects:
                raise DownloadError(
                    f"The address redirects more than {limits.max_redirects} times; open the image in a "
                    "browser and copy the address that it shows then."
                )
            visited.append(url)


def _to_httpcore(url: Url) -> httpcore.URL:
    # The parts are passed one by one, so that no second parser reads the URL differently.
    return httpcore.URL(
        scheme=url.scheme.encode(), host=url.host.encode(), port=url.port, target=url.target.encode()
    )


@contextmanager
def _translate_protocol_errors() -> Iterator[None]:
    try:
        yield
    except (httpcore.ProtocolError, httpcore.NetworkError) as error:
        raise DownloadError(
            f"The connection was lost, or the reply is not HTTP ({sanitize_text(str(error))}). Try again "
            "later, or download the image yourself and upload the file."
        ) from error


def _get_header(response: httpcore.Response, name: bytes) -> str | None:
    """Return a header; repeated ones are joined by commas, as in HTTP."""
    values = [
        value.decode(errors="replace").strip() for key, value in response.headers if key.lower() == name
    ]
    return ", ".join(values) if values else None


def _check_status(response: httpcore.Response) -> None:
    status = response.status
    if status == 200:
        return
    default = "server error; try again later" if status >= 500 else "not an image"
    raise DownloadError(
        f"The server returned status {status}: {STATUS_REASONS.get(status, default)}. Check the address in a "
        "browser, or download the image there and upload the file."
    )


def _check_content(response: httpcore.Response) -> None:
    """Raise an error for headers of a web page, another type of file or compression."""
    content_type = (_get_header(response, b"content-type") or "").partition(";")[0].strip().lower()
    if content_type in PAGE_CONTENT_TYPES:
        raise DownloadError(
            "This is the address of a web page, not of an image. Open the image in its own tab and copy "
            "that address."
        )
    if not content_type.startswith("image/") and content_type not in UNKNOWN_CONTENT_TYPES:
        raise DownloadError(
            f"Expected an image, got {sanitize_text(content_type)}. Copy the address of the image itself."
        )
    # Compressed files are refused, because a small one may unpack to gigabytes.
    encoding = _get_header(response, b"content-encoding") or ""
    if any(name.strip().lower() not in ("", "identity") for name in encoding.split(",")):
        raise DownloadError(
            f"The server compresses the file ({sanitize_text(encoding)}), which is not supported. Download "
            "it yourself and upload the file."
        )


def _read_content_length(response: httpcore.Response, limits: DownloadLimits) -> int | None:
    """Return the number of bytes in the header, if it is there."""
    length = _get_header(response, b"content-length")
    if length is None or _get_header(response, b"transfer-encoding") is not None:
        return None
    expected = int(length)
    if expected > limits.max_bytes:
        raise _size_error(limits)
    return expected


def _size_error(limits: DownloadLimits) -> DownloadError:
    return DownloadError(
        f"The file is larger than the limit of {limits.max_bytes / 2**20:.3g} MB. Find a smaller version of "
        "the image."
    )


@contextmanager
def _create_file(target: Path) -> Iterator[BinaryIO]:
    """Create a file, and delete it after an error."""
    # Mode "x" never overwrites a file.
    stream = target.open("xb")
    try:
        with stream:
            yield stream
    # KeyboardInterrupt is not an Exception.
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _write_body(
    response: httpcore.Response,
    stream: BinaryIO,
    expected: int | None,
    limits: DownloadLimits,
    deadline: Deadline,
    callback: ByteCallback | None,
) -> int:
    """Write the body chunk by chunk, and return its length."""
    received = 0
    report = callback or (lambda received, expected: None)
    report(received, expected)
    for chunk in response.iter_stream():
        # One read may return thousands of small chunks.
        deadline.remaining()
        received += len(chunk)
        if received > limits.max_bytes:
            raise _size_error(limits)
        stream.write(chunk)
        report(received, expected)
    if not received:
        raise DownloadError("The server sent an empty file. Check the address in a browser.")
    stream.flush()
    return received


def _read_image_size(target: Path, limits: DownloadLimits) -> tuple[int, int]:
    """Return height and width of the image, and check its number of pixels."""
    try:
        height, width = image_size(target)
    except UnreadableImageError as error:
        # Paths of the server stay private.
        reason = str(error).removeprefix(f"{target}: ")
        raise DownloadError(
            f"The file at this address cannot be used: {sanitize_text(reason, 300)}"
        ) from error
    if height * width > limits.max_pixels:
        raise DownloadError(
            f"The image has {width} x {height} pixels (width x height), more than {limits.max_pixels:,}. "
            "Make it smaller and upload the file."
        )
    return height, width


def _check_peer(
    stream: httpcore.NetworkStream, address: IPv4Address | IPv6Address, host: str
) -> httpcore.NetworkStream:
    """Return a stream if it is connected to the checked address; else close it."""
    try:
        peer, local = (stream.get_extra_info(info) for info in ("server_addr", "client_addr"))
        if peer is not None and ip_address(peer[0]) != address:
            raise DownloadError(
                f"The connection to {sanitize_text(host)} reached another address; try again, or upload the "
                "file."
            )
        # From its own public address, a machine reaches ports that a firewall closes to others.
        if local is not None and ip_address(local[0]) == address and not describe_non_public(str(address)):
            raise InvalidUrlError(
                f"{sanitize_text(host)} points to this server itself; upload the image as a file."
            )
    except BaseException:
        stream.close()
        raise
    return stream


def _describe_tls_error(error: BaseException | None, host: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"The certificate of {sanitize_text(host)} is not valid "
            f"({sanitize_text(error.verify_message, 120)}); check the address."
        )
    return f"The secure connection to {sanitize_text(host)} failed; check the address, or try http://."
