"""Which addresses of the internet are public, and which of them a name leads to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from sk_denoise.app._urls import Refused, plain

__all__ = ["Resolver", "resolve_public", "why_not_public"]

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
    >>> from sk_denoise.app._addresses import why_not_public
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
    >>> from sk_denoise.app._addresses import resolve_public
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
