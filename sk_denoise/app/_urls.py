"""Addresses that people type and servers send on to: read in one way, and refused in words."""

from __future__ import annotations

import re
import socket
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urljoin

__all__ = [
    "LONGEST",
    "Refused",
    "Resolver",
    "Url",
    "file_name",
    "follow",
    "parse",
    "plain",
    "resolve_public",
    "safe_name",
    "why_not_public",
]

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


Resolver = Callable[[str, int], Sequence[str]]

# By IANA's registries of special addresses. Not left to ipaddress alone: Python 3.11 to 3.13 differ in what
# is global by their patch version.
NOT_PUBLIC = {
    ip_network(network): words
    for network, words in {
        "0.0.0.0/8": "the machine that would ask",
        "10.0.0.0/8": "a private network",
        "100.64.0.0/10": "the inner network of a provider",
        "127.0.0.0/8": "the machine that would ask",
        "168.63.129.16/32": "services for the machine that would ask",  # Azure's, on an address like others
        "169.254.0.0/16": "machines and services next to the one that would ask",
        "172.16.0.0/12": "a private network",
        "192.0.0.0/24": "a network with a special use",
        "192.0.2.0/24": "addresses for examples",
        "192.88.99.0/24": "a tunnel between networks",
        "192.168.0.0/16": "a private network",
        "198.18.0.0/15": "a network for measurements",
        "198.51.100.0/24": "addresses for examples",
        "203.0.113.0/24": "addresses for examples",
        "224.0.0.0/4": "many machines at once",
        "240.0.0.0/4": "addresses that are in no use",
        "::/128": "the machine that would ask",
        "::1/128": "the machine that would ask",
        "2001::/23": "a tunnel between networks, or a special use",  # Teredo, and what is reserved
        "2001:db8::/32": "addresses for examples",
        "2002::/16": "a tunnel between networks",  # 6to4
        "3ffe::/16": "addresses that are in no use",
        "3fff::/20": "addresses for examples",
        "fc00::/7": "a private network",
        "fe80::/10": "machines and services next to the one that would ask",
        "ff00::/8": "many machines at once",
    }.items()
}
PUBLIC_IPV6 = ip_network("2000::/3")  # nothing else is given to servers
# Networks that write an IPv4 address in the last 32 bits, and reach what it names
WITH_IPV4 = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))


def why_not_public(address: str) -> str | None:
    """Say where an address leads to if it is not that of a public server.

    Parameters
    ----------
    address : str
        IPv4 or IPv6, in digits. Where IPv6 holds an IPv4 address, that one counts; tunnels are not public.

    Returns
    -------
    str or None
        Words that follow "leads to"; None for a public address.

    Examples
    --------
    >>> from sk_denoise.app._urls import why_not_public
    >>> why_not_public("::ffff:10.0.0.1")
    'a private network'
    >>> why_not_public("1.1.1.1") is None
    True
    """
    try:
        number = ip_address(address)
    except ValueError:
        return "something that is no address"
    if isinstance(number, IPv6Address):
        if number.scope_id is not None:
            return "machines and services next to the one that would ask"
        if any(number in network for network in WITH_IPV4):
            number = IPv4Address(int(number) & 0xFFFFFFFF)
    for network, words in NOT_PUBLIC.items():
        if number.version == network.version and number in network:
            return words
    if number.version == 6 and number not in PUBLIC_IPV6:
        return "no public network"
    return None if number.is_global and not number.is_multicast else "no public network"


def resolve_public(
    host: str, port: int, lookup: Callable[..., Sequence[tuple[Any, ...]]] = socket.getaddrinfo
) -> list[str]:
    """Look a name up, once, and return its addresses if all of them are public.

    Parameters
    ----------
    host : str
        A name, or an address.
    port : int
        That of the server.
    lookup : callable, default=socket.getaddrinfo
        Asked once; called and answering as the default.

    Returns
    -------
    list of str
        Addresses in digits, in the order of the lookup, each once.

    Raises
    ------
    Refused
        Where there is no such name, or any of its addresses is not public: who mixes them means no good.

    Examples
    --------
    >>> from sk_denoise.app._urls import resolve_public
    >>> resolve_public("1.1.1.1", 443)
    ['1.1.1.1']
    """
    try:
        answers = lookup(host, port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        again = error.errno == socket.EAI_AGAIN
        advice = "try again in a moment" if again else "check how it is written"
        raise Refused(f"No server named {plain(host)} was found; {advice}.") from error
    except (OSError, UnicodeError) as error:
        raise Refused(f"The server {plain(host)} could not be looked up; check how it is written.") from error
    addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    if not addresses:
        raise Refused(f"No server named {plain(host)} was found; check how it is written.")
    for address in addresses:
        if words := why_not_public(address):
            raise Refused(
                f"{plain(host)} leads to {words}; images are fetched from public servers only. "
                "Upload the image as a file."
            )
    return addresses


MAX_NAME_LENGTH = 60  # characters: 240 bytes at most, which all file systems take
MAX_HEADER_LENGTH = 2048
EXTENDED = re.compile(r"filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s]+)", re.IGNORECASE)
QUOTED = re.compile(r'filename\s*=\s*"((?:[^"\\]|\\.)*)"', re.IGNORECASE)
BARE = re.compile(r'filename\s*=\s*([^;\s"]+)', re.IGNORECASE)


def file_name(url: Url, disposition: str | None = None) -> str:
    """Return what an image is called: as the server says, or else as its address ends.

    Parameters
    ----------
    url : Url
        Where it came from.
    disposition : str, optional
        The header ``Content-Disposition``.

    Returns
    -------
    str
        The name of a file, "image" where there is none.

    Examples
    --------
    >>> from sk_denoise.app._urls import file_name
    >>> from sk_denoise.app._urls import parse
    >>> file_name(parse("https://example.com/of/my%20cat.png?size=large"))
    'my cat.png'
    >>> file_name(parse("https://example.com/42"), "attachment; filename=../cat.png")
    'cat.png'
    """
    said = safe_name(_said(disposition or ""))
    return said or safe_name(unquote(url.path)) or "image"


def safe_name(name: str) -> str:
    """Return the last part of a path as a name that is safe to show and to write; "" where none is left."""
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    name = "".join(character for character in name if character.isprintable())
    name = re.sub(r'[<>:"|?*]', "_", name).strip(". ")  # what Windows does not take, and what hides a file
    suffix = PurePosixPath(name).suffix
    if len(name) > MAX_NAME_LENGTH and len(suffix) <= 10:
        return name[: MAX_NAME_LENGTH - len(suffix)].rstrip(". ") + suffix
    return name[:MAX_NAME_LENGTH].rstrip(". ")


def _said(disposition: str) -> str:
    """Return the name in a header, by RFC 6266, as far as servers keep to it."""
    header = disposition[:MAX_HEADER_LENGTH]
    if extended := EXTENDED.search(header):
        return unquote(extended[2], extended[1])
    if quoted := QUOTED.search(header):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    bare = BARE.search(header)
    return bare[1] if bare else ""
