"""Addresses that people type and servers send on to: read in one way, and refused in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, urljoin

__all__ = ["LONGEST", "Refused", "Url", "follow", "parse", "plain"]

LONGEST = 4096  # characters; signed addresses of stores have two thousand
DEFAULT_PORTS = {"http": 80, "https": 443}
FIRST_FREE_PORT = 1024  # below are mail, shells and name servers, which are not to hear from us
ADVICE = "Expected the address of an image, such as https://example.com/photo.png"

# Read here, not by urllib, whose patch versions differ in what they take for the name of the server.
URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.DOTALL)
SERVER = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[0-9]*))?")
SCHEME = re.compile(r"([a-z][a-z0-9+-]*):", re.IGNORECASE)  # no dot: example.com:8080 begins with a name
NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
NUMBER = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)")  # what systems may take for an IPv4 address

READ_DIFFERENTLY = frozenset("ßẞς\u200c\u200d")  # old and new rules for names lead to different servers
OF_PATHS = "/:@!$&'()*+,;=~%"  # besides letters, digits and -._, which are never quoted


class Refused(Exception):  # noqa: N818 - not a failure of the program: words for the person who typed the URL
    """Why an image is not fetched from a URL: what was expected, what came, what to do."""


@dataclass(frozen=True)
class Url:
    """An address as it is asked for: the name in ASCII and small letters, the port always there."""

    scheme: str
    host: str  # an IPv6 address without its brackets
    port: int
    target: str  # path and query, quoted

    @property
    def server(self) -> str:
        """Name and port as the header ``Host`` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def path(self) -> str:
        """What comes before the query."""
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.server}{self.target}"


def plain(text: str, most: int = 60) -> str:
    """Return what others wrote as a message may show it: short, in one line, without markup."""
    shown = re.sub(r"[^A-Za-z0-9 .,:;/+=()%'\"-]", "?", text)
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def parse(text: str) -> Url:
    """Read what a person typed; without a scheme, https is meant.

    Parameters
    ----------
    text : str
        The address. Blanks around it are left out, what follows a ``#`` too.

    Returns
    -------
    Url
        What is to be asked for.

    Raises
    ------
    Refused
        Where it is none that is asked for.

    Examples
    --------
    >>> from sk_denoise.app._urls import parse
    >>> str(parse("Example.com/my%20cat.png#eyes"))
    'https://example.com/my%20cat.png'
    """
    text = text.strip()
    _check_characters(text)
    if text.startswith("//"):
        text = f"https:{text}"
    elif not SCHEME.match(text):
        text = f"https://{text}"
    return _parsed(text)


def follow(url: Url, location: str) -> Url:
    """Read where a server sends on to, as seen from the address that it was asked for.

    Parameters
    ----------
    url : Url
        What was asked for.
    location : str
        The header: a whole address, or one without server or folder.

    Returns
    -------
    Url
        What is to be asked for next.

    Raises
    ------
    Refused
        Where it is none that would be taken from a person, or leaves https for http.

    Examples
    --------
    >>> from sk_denoise.app._urls import follow, parse
    >>> str(follow(parse("https://example.com/old/cat.png"), "../new/cat.png"))
    'https://example.com/new/cat.png'
    """
    try:
        _check_characters(location)
        followed = _parsed(urljoin(str(url), location))
    except Refused as error:
        raise Refused(f"The server sends on to another address. {error}") from error
    except ValueError as error:
        raise Refused("The server sends on to an address that cannot be read; ask for another.") from error
    if (url.scheme, followed.scheme) == ("https", "http"):
        raise Refused(
            "The server sends on from https to http, where others may read and change what is sent. "
            f"If you trust it, type {plain(str(followed))} yourself."
        )
    return followed


def _check_characters(text: str) -> None:
    if not text:
        raise Refused(f"The address is empty. {ADVICE}.")
    if len(text) > LONGEST:
        raise Refused(f"The address has {len(text)} characters, more than {LONGEST}. {ADVICE}.")
    if "\\" in text:
        raise Refused(f"The address holds a backslash. {ADVICE}; upload a file of your own instead.")
    if any(character.isspace() for character in text):
        raise Refused(f"The address holds a blank or a line break; write %20 for a blank. {ADVICE}.")
    # DEL and its followers, and halves of characters, which cannot be sent
    if any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in text):
        raise Refused(f"The address holds a character that cannot be seen; type it again. {ADVICE}.")


def _parsed(text: str) -> Url:
    scheme = SCHEME.match(text)
    if scheme and scheme[1].lower() not in DEFAULT_PORTS:
        raise Refused(f"Addresses that begin with {plain(scheme[0])} are not read. {ADVICE}.")
    parts = URL.fullmatch(text)
    if parts is None:
        raise Refused(f"The address has no // after http: or https:. {ADVICE}.")
    name, server, path, query = parts[1].lower(), parts[2], parts[3], parts[4] or ""
    if "@" in server:
        raise Refused(f"The address holds a user or a password before an @; leave them out. {ADVICE}.")
    place = SERVER.fullmatch(server)
    if place is None:
        raise Refused(f"The server is named {plain(server)}, which is no name with a port. {ADVICE}.")
    host = _host(place["name"]) if place["v6"] is None else _ipv6(place["v6"])
    return Url(
        name, host, _port(place["port"], name), quote(path or "/", OF_PATHS) + quote(query, OF_PATHS + "?")
    )


def _host(name: str) -> str:
    """Return the name of a server, or its IPv4 address, as it is looked up."""
    if not name:
        raise Refused(f"The address names no server. {ADVICE}.")
    if not READ_DIFFERENTLY.isdisjoint(name):
        raise Refused("The name of the server is read in two ways; write it in letters of ASCII (xn--...).")
    try:
        host = name.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise Refused(f"{plain(name)} cannot be the name of a server. {ADVICE}.") from error
    if NUMBER.fullmatch(host):
        return _ipv4(host)
    if host.endswith("."):
        raise Refused(f"The server's name {plain(host)} ends in a dot; leave it out.")
    if "." not in host:
        raise Refused(f"{plain(host)} is no name of a public server, which has a dot in it. {ADVICE}.")
    if len(host) > 253 or not NAME.fullmatch(host):
        raise Refused(f"{plain(host)} cannot be the name of a server. {ADVICE}.")
    return host


def _ipv4(host: str) -> str:
    try:
        return str(IPv4Address(host))
    except ValueError as error:
        raise Refused(
            f"The server is named by the number {plain(host)}; write four numbers from 0 to 255 with dots, "
            "or a name."
        ) from error


def _ipv6(host: str) -> str:
    if "%" in host:
        raise Refused(f"The server [{plain(host)}] names a zone of one machine's network. {ADVICE}.")
    try:
        return str(IPv6Address(host))
    except ValueError as error:
        raise Refused(f"[{plain(host)}] is no IPv6 address. {ADVICE}.") from error


def _port(text: str | None, scheme: str) -> int:
    if not text:
        return DEFAULT_PORTS[scheme]
    port = int(text[:6])  # more digits are too many, and thousands of them Python refuses to count
    if port in DEFAULT_PORTS.values() or FIRST_FREE_PORT <= port < 2**16:
        return port
    raise Refused(f"The port must be 80, 443 or {FIRST_FREE_PORT} to 65535, got {plain(text)}; leave it out.")
