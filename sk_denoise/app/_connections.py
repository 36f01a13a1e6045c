"""Connections that go to checked addresses only, and that end when the time is up."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, TypeVar

import httpcore

from sk_denoise.app._addresses import Resolver, why_not_public
from sk_denoise.app._urls import Refused, plain

__all__ = ["CheckedBackend", "Deadline"]

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
