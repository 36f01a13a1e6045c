"""URLs of images: parsing, redirects, public addresses, and file names."""

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
    "MAX_URL_LENGTH",
    "NON_PUBLIC_NETWORKS",
    "DownloadError",
    "InvalidUrlError",
    "Resolver",
    "Url",
    "choose_file_name",
    "describe_non_public",
    "follow_redirect",
    "parse_url",
    "resolve_public",
    "sanitize_file_name",
    "sanitize_text",
]

# Signed URLs of cloud storage have about two thousand characters.
MAX_URL_LENGTH = 4096
DEFAULT_PORTS = {"http": 80, "https": 443}
# Lower ports belong to mail, shells and name servers, to which the app must not send requests.
FIRST_FREE_PORT = 1024
ADVICE = "Expected the address of an image, such as https://example.com/photo.png"

# The parts of a URL are split here, because patch versions of urllib disagree about the server name.
URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.DOTALL)
SERVER = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[0-9]*))?")
# A scheme without dots, because example.com:8080 begins with a server name.
SCHEME = re.compile(r"([a-z][a-z0-9+-]*):", re.IGNORECASE)
NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Operating systems may read these as IPv4 addresses.
NUMBER = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)")
# IDNA 2003 and IDNA 2008 map these characters to different servers.
AMBIGUOUS_CHARACTERS = frozenset("ßẞς\u200c\u200d")
# Characters of a path that are not quoted, besides letters, digits and -._
PATH_CHARACTERS = "/:@!$&'()*+,;=~%"

# At most 240 bytes in UTF-8, which every file system takes
MAX_NAME_LENGTH = 60
MAX_HEADER_LENGTH = 2048
EXTENDED_NAME = re.compile(r"filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s]+)", re.IGNORECASE)
QUOTED_NAME = re.compile(r'filename\s*=\s*"((?:[^"\\]|\\.)*)"', re.IGNORECASE)
BARE_NAME = re.compile(r'filename\s*=\s*([^;\s"]+)', re.IGNORECASE)

# The networks follow IANA's registries of special addresses. The ipaddress module is not enough: its idea of
# a global address differs between patch versions of Python 3.11 to 3.13.
NON_PUBLIC_NETWORKS = {
    ip_network(network): description
    for network, description in {
        "0.0.0.0/8": "this server itself",
        "10.0.0.0/8": "a private network",
        "100.64.0.0/10": "the internal network of a provider",
        "127.0.0.0/8": "this server itself",
        # Azure's internal services have an address in a public range.
        "168.63.129.16/32": "internal services of a cloud provider",
        "169.254.0.0/16": "a link-local network",
        "172.16.0.0/12": "a private network",
        "192.0.0.0/24": "a network for special use",
        "192.0.2.0/24": "addresses for examples",
        "192.88.99.0/24": "a tunnel between networks",
        "192.168.0.0/16": "a private network",
        "198.18.0.0/15": "a network for benchmarks",
        "198.51.100.0/24": "addresses for examples",
        "203.0.113.0/24": "addresses for examples",
        "224.0.0.0/4": "a multicast group",
        "240.0.0.0/4": "unused addresses",
        "::/128": "this server itself",
        "::1/128": "this server itself",
        # Teredo, and reserved addresses
        "2001::/23": "a tunnel between networks, or a network for special use",
        "2001:db8::/32": "addresses for examples",
        # 6to4
        "2002::/16": "a tunnel between networks",
        "3ffe::/16": "unused addresses",
        "3fff::/20": "addresses for examples",
        "fc00::/7": "a private network",
        "fe80::/10": "a link-local network",
        "ff00::/8": "a multicast group",
    }.items()
}
# Servers get IPv6 addresses of this network only.
PUBLIC_IPV6 = ip_network("2000::/3")
# Addresses of these networks reach the IPv4 address in their last 32 bits.
NETWORKS_WITH_IPV4 = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))

# Function from a server name and a port to the addresses that a connection may use
Resolver = Callable[[str, int], Sequence[str]]


class DownloadError(Exception):
    """The download failed; the message is for the user."""


class InvalidUrlError(DownloadError):
    """The URL is not the address of a file on a public server."""


@dataclass(frozen=True)
class Url:
    """Parsed URL with a lower-case ASCII host and an explicit port.

    Attributes
    ----------
    scheme : {"http", "https"}
        Protocol.
    host : str
        Server name or address; an IPv6 address has no brackets.
    port : int
        Port of the server.
    target : str
        Path and query, percent-encoded.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def server(self) -> str:
        """Host and port as in the header ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def path(self) -> str:
        """Path without the query."""
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.server}{self.target}"


def sanitize_text(text: str, max_length: int = 60) -> str:
    """Make text from outside safe for a message: short, one line, no markup."""
    sanitized = re.sub(r"[^A-Za-z0-9 .,:;/+=()%'\"-]", "?", text)
    return sanitized if len(sanitized) <= max_length else sanitized[: max_length - 3] + "..."


def parse_url(text: str) -> Url:
    """Parse a URL that a user entered; the default scheme is https.

    Parameters
    ----------
    text : str
        The URL. Surrounding spaces and the fragment after ``#`` are removed.

    Returns
    -------
    Url
        The parsed URL.

    Raises
    ------
    InvalidUrlError
        If the URL is malformed, or its scheme, host or port is not allowed.

    Examples
    --------
    >>> from sk_denoise.app._urls import parse_url
    >>> str(parse_url("Example.com/my%20cat.png#eyes"))
    'https://example.com/my%20cat.png'
    """
    text = text.strip()
    _check_characters(text)
    if text.startswith("//"):
        text = f"https:{text}"
    elif not SCHEME.match(text):
        text = f"https://{text}"
    return _parse_absolute_url(text)


def follow_redirect(url: Url, location: str) -> Url:
    """Parse the target of a redirect.

    Parameters
    ----------
    url : Url
        URL of the redirecting server.
    location : str
        Header ``Location``: an absolute or a relative URL.

    Returns
    -------
    Url
        The URL to request next.

    Raises
    ------
    InvalidUrlError
        If the target is not a valid URL for :func:`parse_url`, or the redirect leaves https for http.

    Examples
    --------
    >>> from sk_denoise.app._urls import follow_redirect, parse_url
    >>> str(follow_redirect(parse_url("https://example.com/old/cat.png"), "../new/cat.png"))
    'https://example.com/new/cat.png'
    """
    try:
        _check_characters(location)
        followed = _parse_absolute_url(urljoin(str(url), location))
    except InvalidUrlError as error:
        raise InvalidUrlError(f"The server redirects to another address. {error}") from error
    # urljoin refuses some malformed URLs.
    except ValueError as error:
        raise InvalidUrlError("The server redirects to an address that is not valid; try another.") from error
    if (url.scheme, followed.scheme) == ("https", "http"):
        raise InvalidUrlError(
            "The server redirects from https to http, which is not encrypted. If you trust it, enter "
            f"{sanitize_text(str(followed))} yourself."
        )
    return followed


def describe_non_public(address: str) -> str | None:
    """Describe the network of an address if it is not public.

    Parameters
    ----------
    address : str
        IPv4 or IPv6 address in digits. An IPv4 address inside an IPv6 address is checked as IPv4; tunnels
        are not public.

    Returns
    -------
    str or None
        Description that follows "points to"; None for a public address.

    Examples
    --------
    >>> from sk_denoise.app._urls import describe_non_public
    >>> describe_non_public("::ffff:10.0.0.1")
    'a private network'
    >>> describe_non_public("1.1.1.1") is None
    True
    """
    try:
        number = ip_address(address)
    except ValueError:
        return "an invalid address"
    if isinstance(number, IPv6Address):
        if number.scope_id is not None:
            return "a link-local network"
        if any(number in network for network in NETWORKS_WITH_IPV4):
            number = IPv4Address(int(number) & 0xFFFFFFFF)
    for network, description in NON_PUBLIC_NETWORKS.items():
        if number.version == network.version and number in network:
            return description
    if number.version == 6 and number not in PUBLIC_IPV6:
        return "a network that is not public"
    return None if number.is_global and not number.is_multicast else "a network that is not public"


def resolve_public(
    host: str, port: int, lookup: Callable[..., Sequence[tuple[Any, ...]]] = socket.getaddrinfo
) -> list[str]:
    """Resolve a host once, and return its addresses if all of them are public.

    Parameters
    ----------
    host : str
        Server name or address.
    port : int
        Port of the server.
    lookup : callable, default=socket.getaddrinfo
        Function for the lookup, with the signature of the default.

    Returns
    -------
    list of str
        Addresses in digits, without duplicates, in the order of the lookup.

    Raises
    ------
    InvalidUrlError
        If the lookup fails, or any address of the host is not public.

    Examples
    --------
    >>> from sk_denoise.app._urls import resolve_public
    >>> resolve_public("1.1.1.1", 443)
    ['1.1.1.1']
    """
    try:
        records = lookup(host, port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        is_temporary = error.errno == socket.EAI_AGAIN
        advice = "try again in a moment" if is_temporary else "check the spelling"
        raise InvalidUrlError(f"No server named {sanitize_text(host)} was found; {advice}.") from error
    except (OSError, UnicodeError) as error:
        raise InvalidUrlError(
            f"The lookup of the server {sanitize_text(host)} failed; check the spelling."
        ) from error
    addresses = list(dict.fromkeys(str(record[4][0]) for record in records))
    if not addresses:
        raise InvalidUrlError(f"No server named {sanitize_text(host)} was found; check the spelling.")
    # A host that mixes public and internal addresses is an attack on the internal ones.
    for address in addresses:
        if description := describe_non_public(address):
            raise InvalidUrlError(
                f"{sanitize_text(host)} points to {description}; the app fetches images from public servers "
                "only. Upload the image as a file."
            )
    return addresses


def choose_file_name(url: Url, disposition: str | None = None) -> str:
    """Choose a file name from the header of the server, or from the URL.

    Parameters
    ----------
    url : Url
        URL of the file.
    disposition : str, optional
        Header ``Content-Disposition``.

    Returns
    -------
    str
        A safe file name, "image" by default.

    Examples
    --------
    >>> from sk_denoise.app._urls import choose_file_name, parse_url
    >>> choose_file_name(parse_url("https://example.com/of/my%20cat.png?size=large"))
    'my cat.png'
    >>> choose_file_name(parse_url("https://example.com/42"), "attachment; filename=../cat.png")
    'cat.png'
    """
    from_header = sanitize_file_name(_parse_disposition(disposition or ""))
    return from_header or sanitize_file_name(unquote(url.path)) or "image"


def sanitize_file_name(name: str) -> str:
    """Return the last part of a path as a safe file name, which may be empty."""
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    name = "".join(character for character in name if character.isprintable())
    # Windows forbids these characters; a leading dot hides a file.
    name = re.sub(r'[<>:"|?*]', "_", name).strip(". ")
    suffix = PurePosixPath(name).suffix
    if len(name) > MAX_NAME_LENGTH and len(suffix) <= 10:
        return name[: MAX_NAME_LENGTH - len(suffix)].rstrip(". ") + suffix
    return name[:MAX_NAME_LENGTH].rstrip(". ")


def _check_characters(text: str) -> None:
    if not text:
        raise InvalidUrlError(f"The address is empty. {ADVICE}.")
    if len(text) > MAX_URL_LENGTH:
        raise InvalidUrlError(
            f"The address has {len(text)} characters, more than {MAX_URL_LENGTH}. {ADVICE}."
        )
    if "\\" in text:
        raise InvalidUrlError(f"The address contains a backslash. {ADVICE}; upload a file of yours instead.")
    if any(character.isspace() for character in text):
        raise InvalidUrlError(
            f"The address contains a space or a line break; write %20 for a space. {ADVICE}."
        )
    # Control characters, and halves of surrogate pairs, which have no encoding
    if any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in text):
        raise InvalidUrlError(f"The address contains an invisible character; type it again. {ADVICE}.")


def _parse_absolute_url(text: str) -> Url:
    scheme = SCHEME.match(text)
    if scheme and scheme[1].lower() not in DEFAULT_PORTS:
        raise InvalidUrlError(
            f"Addresses that begin with {sanitize_text(scheme[0])} are not supported. {ADVICE}."
        )
    parts = URL.fullmatch(text)
    if parts is None:
        raise InvalidUrlError(f"The address has no // after http: or https:. {ADVICE}.")
    name, server, path, query = parts[1].lower(), parts[2], parts[3], parts[4] or ""
    if "@" in server:
        raise InvalidUrlError(
            f"The address contains a user name or a password before an @; leave them out. {ADVICE}."
        )
    match = SERVER.fullmatch(server)
    if match is None:
        raise InvalidUrlError(f"{sanitize_text(server)} is not a server name with a port. {ADVICE}.")
    host = _parse_host(match["name"]) if match["v6"] is None else _parse_ipv6(match["v6"])
    target = quote(path or "/", PATH_CHARACTERS) + quote(query, PATH_CHARACTERS + "?")
    return Url(name, host, _parse_port(match["port"], name), target)


def _parse_host(name: str) -> str:
    """Return a server name in ASCII, or an IPv4 address."""
    if not name:
        raise InvalidUrlError(f"The address contains no server name. {ADVICE}.")
    if not AMBIGUOUS_CHARACTERS.isdisjoint(name):
        raise InvalidUrlError("The server name is ambiguous; write it in ASCII (xn--...).")
    try:
        host = name.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise InvalidUrlError(f"{sanitize_text(name)} is not a valid server name. {ADVICE}.") from error
    if NUMBER.fullmatch(host):
        return _parse_ipv4(host)
    if host.endswith("."):
        raise InvalidUrlError(f"The server name {sanitize_text(host)} ends in a dot; leave it out.")
    if "." not in host:
        raise InvalidUrlError(
            f"{sanitize_text(host)} is not the name of a public server, which contains a dot. {ADVICE}."
        )
    if len(host) > 253 or not NAME.fullmatch(host):
        raise InvalidUrlError(f"{sanitize_text(host)} is not a valid server name. {ADVICE}.")
    return host


def _parse_ipv4(host: str) -> str:
    try:
        return str(IPv4Address(host))
    except ValueError as error:
        raise InvalidUrlError(
            f"{sanitize_text(host)} is not an IPv4 address; write four numbers from 0 to 255 with dots, or a "
            "name."
        ) from error


def _parse_ipv6(host: str) -> str:
    if "%" in host:
        raise InvalidUrlError(f"[{sanitize_text(host)}] has a zone, which is valid on one machine. {ADVICE}.")
    try:
        return str(IPv6Address(host))
    except ValueError as error:
        raise InvalidUrlError(f"[{sanitize_text(host)}] is not an IPv6 address. {ADVICE}.") from error


def _parse_port(text: str | None, scheme: str) -> int:
    if not text:
        return DEFAULT_PORTS[scheme]
    # Six digits are too large already, and int refuses strings of thousands of digits.
    port = int(text[:6])
    if port in DEFAULT_PORTS.values() or FIRST_FREE_PORT <= port < 2**16:
        return port
    raise InvalidUrlError(
        f"The port must be 80, 443 or {FIRST_FREE_PORT} to 65535, got {sanitize_text(text)}; leave it out."
    )


def _parse_disposition(disposition: str) -> str:
    """Return the file name in a header ``Content-Disposition``, by RFC 6266."""
    header = disposition[:MAX_HEADER_LENGTH]
    if extended := EXTENDED_NAME.search(header):
        return unquote(extended[2], extended[1])
    if quoted := QUOTED_NAME.search(header):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    bare = BARE_NAME.search(header)
    return bare[1] if bare else ""
