"""Public addresses, and the names that lead to them."""

from __future__ import annotations

import socket

import pytest

from sk_denoise.app._urls import NOT_PUBLIC, Refused, resolve_public, why_not_public

ASKING = "the machine that would ask"
NEXT = "machines and services next to the one that would ask"


def answers(*addresses):
    """Return a lookup that knows these addresses, whatever it is asked."""
    return lambda host, port, family, kind: [(2, kind, 6, "", (address, port)) for address in addresses]


@pytest.mark.parametrize("network", NOT_PUBLIC, ids=str)
def test_every_listed_network_is_not_public_from_its_first_address_to_its_last(network):
    assert why_not_public(str(network[0])) == why_not_public(str(network[-1])) is not None


@pytest.mark.parametrize(
    "address",
    [
        *["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"],
        *["128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0"],
        *["192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"],
        *["2001:200::1", "2003::1", "2606:4700::1111", "2a00:1450::1", "3ffd::1"],
        *["::ffff:1.1.1.1", "64:ff9b::1.1.1.1"],
    ],
)
def test_the_neighbours_of_networks_that_are_not_public_are(address):
    assert why_not_public(address) is None


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("0.0.0.0", ASKING),
        ("127.0.0.1", ASKING),
        ("::1", ASKING),
        ("::", ASKING),
        ("10.0.0.1", "a private network"),
        ("172.31.0.1", "a private network"),
        ("192.168.1.1", "a private network"),
        ("fd00:ec2::254", "a private network"),  # a service of AWS
        ("100.64.0.1", "the inner network of a provider"),
        ("100.100.100.200", "the inner network of a provider"),  # a service of Alibaba
        ("168.63.129.16", "services for the machine that would ask"),  # a service of Azure
        ("169.254.169.254", NEXT),
        ("192.0.0.192", "a network with a special use"),  # a service of Oracle
        ("fe80::1", NEXT),
        ("fe80::1%eth0", NEXT),
        ("2606:4700::1111%1", NEXT),
        ("224.0.0.1", "many machines at once"),
        ("ff0e::1", "many machines at once"),
        ("255.255.255.255", "addresses that are in no use"),
        ("::ffff:127.0.0.1", ASKING),
        ("::ffff:169.254.169.254", NEXT),
        ("64:ff9b::10.0.0.1", "a private network"),
        ("64:ff9b:1::1.1.1.1", "no public network"),
        ("::127.0.0.1", "no public network"),
        ("2002:7f00:1::", "a tunnel between networks"),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", "a tunnel between networks, or a special use"),
        ("100::1", "no public network"),
        ("5f00::1", "no public network"),
        ("fec0::1", "no public network"),
        ("4000::1", "no public network"),
        ("127.1", "something that is no address"),
        ("example.com", "something that is no address"),
    ],
)
def test_other_addresses_say_where_they_lead_to(address, words):
    assert why_not_public(address) == words


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f000001", "2130706433", "0", "127.0.0.1", "::1", "::ffff:127.0.0.1"]
)
def test_the_system_may_read_numbers_as_it_likes(host):
    with pytest.raises(Refused, match="leads to the machine that would ask"):
        resolve_public(host, 80)


def test_a_name_gives_all_its_addresses_once_and_in_order():
    lookup = answers("2606:4700::1111", "1.1.1.1", "2606:4700::1111")
    assert resolve_public("example.com", 443, lookup) == ["2606:4700::1111", "1.1.1.1"]


@pytest.mark.parametrize("addresses", [("1.1.1.1", "10.0.0.1"), ("10.0.0.1", "1.1.1.1"), ("1.1.1.1", "::1")])
def test_a_name_with_one_address_that_is_not_public_is_refused(addresses):
    with pytest.raises(Refused, match=r"^mixed\.example leads to .* public servers only\. Upload") as refused:
        resolve_public("mixed.example", 443, answers(*addresses))
    assert "10.0.0.1" not in str(refused.value)  # how a network looks inside is nobody's business


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "No server named a.example was found; check"),
        (socket.gaierror(socket.EAI_AGAIN, "busy"), "No server named a.example was found; try again"),
        (OSError("broken"), "could not be looked up"),
        (UnicodeError("label too long"), "could not be looked up"),
    ],
)
def test_names_that_are_not_found_are_said_in_words(error, message):
    def lookup(*arguments):
        raise error

    with pytest.raises(Refused, match=message):
        resolve_public("a.example", 80, lookup)
    with pytest.raises(Refused, match="was found"):
        resolve_public("a.example", 80, answers())
