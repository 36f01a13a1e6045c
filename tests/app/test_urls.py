"""URLs: parsing, redirects, public addresses, and file names."""

from __future__ import annotations

import socket

import pytest

from sk_denoise.app._urls import (
    MAX_URL_LENGTH,
    NON_PUBLIC_NETWORKS,
    InvalidUrlError,
    choose_file_name,
    describe_non_public,
    follow_redirect,
    parse_url,
    resolve_public,
    sanitize_file_name,
    sanitize_text,
)

THIS_SERVER = "this server itself"
LINK_LOCAL = "a link-local network"
NOT_PUBLIC = "a network that is not public"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.com/a.png", "https://example.com/a.png"),
        ("  HTTP://EXAMPLE.com:80  ", "http://example.com/"),
        ("example.com/a.png", "https://example.com/a.png"),
        ("example.com:8080/a.png", "https://example.com:8080/a.png"),
        ("//example.com/a.png", "https://example.com/a.png"),
        ("https://example.com?a=b?c#d", "https://example.com/?a=b?c"),
        (
            "https://example.com/ü[1].png?q=é&r=%20|",
            "https://example.com/%C3%BC%5B1%5D.png?q=%C3%A9&r=%20%7C",
        ),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://\uff45xample\u3002com/", "https://example.com/"),
        ("https://my_files.example.com:/", "https://my_files.example.com/"),
        ("http://1.1.1.1:8000/", "http://1.1.1.1:8000/"),
        ("https://[2606:4700:0::1111]:443/", "https://[2606:4700::1111]/"),
        ("https://[2606:4700::1111]:1024/", "https://[2606:4700::1111]:1024/"),
    ],
)
def test_urls_are_normalized(text, url):
    assert str(parse_url(text)) == url
    assert parse_url(url) == parse_url(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("https://example.com/" + "a" * MAX_URL_LENGTH, "4116 characters, more than 4096"),
        ("file:///etc/passwd", "begin with file: are not supported"),
        ("FTP://example.com/a.png", "begin with FTP: are not supported"),
        ("gopher://example.com/", "begin with gopher: are not supported"),
        ("javascript:alert(1)", "begin with javascript: are not supported"),
        ("data:image/png;base64,AAAA", "begin with data: are not supported"),
        ("blob:https://example.com/1", "begin with blob: are not supported"),
        ("localhost:8501/", "begin with localhost: are not supported"),
        ("https:example.com", "no // after"),
        ("https:/example.com", "no // after"),
        ("https://", "contains no server name"),
        ("/home/cat.png", "contains no server name"),
        ("https://user:secret@example.com/", "a user name or a password"),
        ("https://example.com@127.0.0.1/", "a user name or a password"),
        ("C:\\cat.png", "backslash"),
        ("https://example.com\\@127.0.0.1/", "backslash"),
        ("https://example.com/my cat.png", "write %20"),
        ("https://example.com/a\r\nHost: x", "write %20"),
        ("https://example.com/\u2028a", "write %20"),
        ("https://example.com/\x00a", "an invisible character"),
        ("https://example.com/\x7fa", "an invisible character"),
        ("https://example.com/\x9fa", "an invisible character"),
        ("https://example.com/\ud800a", "an invisible character"),
        ("https://example.com./", "ends in a dot"),
        ("https://localhost/", "localhost is not the name of a public server"),
        ("https://a..example.com/", "is not a valid server name"),
        ("https://-a.example.com/", "is not a valid server name"),
        ("https://exa%6dple.com/", "is not a valid server name"),
        ("https://example.com℀/", "is not a valid server name"),
        ("https://" + "a" * 64 + ".com/", "is not a valid server name"),
        ("https://" + "a." * 127 + "com/", "is not a valid server name"),
        ("https://faß.example/", "is ambiguous"),
        ("https://a[::1]/", "is not a server name with a port"),
        ("https://[::1]a/", "is not a server name with a port"),
        ("https://example.com:80:80/", "is not a server name with a port"),
        ("https://example.com:\uff18\uff10/", "is not a server name with a port"),
        ("https://example.com:-1/", "is not a server name with a port"),
        ("https://example.com:0/", "got 0;"),
        ("https://example.com:25/", "80, 443 or 1024 to 65535, got 25;"),
        ("https://example.com:65536/", "got 65536;"),
        ("https://example.com:" + "9" * 4000, "got 9999"),
        ("https://[fe80::1%25eth0]/", "a zone"),
        ("https://[v1.a]/", "is not an IPv6 address"),
        ("https://[127.0.0.1]/", "is not an IPv6 address"),
        ("http://127.1/", "127.1 is not an IPv4 address;"),
        ("http://0x7f000001/", "0x7f000001 is not an IPv4 address;"),
        ("http://0X7F.1/", "0x7f.1 is not an IPv4 address;"),
        ("http://2130706433/", "2130706433 is not an IPv4 address;"),
        ("http://0177.0.0.1/", "0177.0.0.1 is not an IPv4 address;"),
        ("http://\uff11\uff12\uff17.1/", "127.1 is not an IPv4 address;"),
        ("http://1.2.3.4.5/", "1.2.3.4.5 is not an IPv4 address;"),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_invalid_urls_are_refused(text, message):
    with pytest.raises(InvalidUrlError) as caught:
        parse_url(text)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("b.png", "http://example.com:8000/of/b.png"),
        ("../b.png", "http://example.com:8000/b.png"),
        ("/b.png?c", "http://example.com:8000/b.png?c"),
        ("?c", "http://example.com:8000/of/a.png?c"),
        ("//other.example/b.png", "http://other.example/b.png"),
        ("https://other.example/b.png#c", "https://other.example/b.png"),
        ("/ü.png", "http://example.com:8000/%C3%BC.png"),
    ],
)
def test_redirects_are_absolute_or_relative(location, url):
    assert str(follow_redirect(parse_url("http://example.com:8000/of/a.png?size=1"), location)) == url


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("", "is empty"),
        ("file:///etc/passwd", "begin with file:"),
        ("javascript:alert(1)", "begin with javascript:"),
        ("other.example:8000/a.png", "no // after"),
        ("//user@other.example/", "a user name or a password"),
        ("http://[", "is not valid"),
        ("/a b", "write %20"),
        ("http://2130706433/", "2130706433 is not an IPv4 address"),
    ],
)
def test_invalid_redirects_are_refused(location, message):
    with pytest.raises(InvalidUrlError, match=r"^The server redirects to") as caught:
        follow_redirect(parse_url("http://example.com/of/a.png"), location)
    assert message in str(caught.value)


def test_redirects_from_https_to_http_are_refused():
    assert follow_redirect(parse_url("http://example.com/"), "https://example.com/").scheme == "https"
    with pytest.raises(InvalidUrlError, match="from https to http"):
        follow_redirect(parse_url("https://example.com/"), "http://example.com/")


def test_messages_show_no_markup():
    assert sanitize_text("a\n[x](http://y) `$<b>\u202e") == "a??x?(http://y) ???b??"
    assert sanitize_text("a" * 100) == "a" * 57 + "..."


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (None, "a b.png"),
        ("inline", "a b.png"),
        ("attachment; filename=cat.png", "cat.png"),
        ('attachment; filename="my \\"cat\\".png"; size=3', "my _cat_.png"),
        ("attachment; filename=\"plain.png\"; filename*=UTF-8''%C3%BC.png", "ü.png"),
        ("attachment; filename*=iso-8859-1'de'%FC.png", "ü.png"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\windows\\\\cat.png"', "cat.png"),
        ("attachment; filename*=utf-8''..%2F..%2F.hidden", "hidden"),
        ('attachment; filename=".."', "a b.png"),
    ],
)
def test_the_file_name_is_that_of_the_header_or_of_the_url(disposition, name):
    assert choose_file_name(parse_url("https://example.com/c/a%20b.png?d=e.png"), disposition) == name


def test_the_default_file_name_is_image():
    for url in ["https://example.com", "https://example.com/a/", "https://example.com/%2e%2e%2f"]:
        assert choose_file_name(parse_url(url)) == "image"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a\x00\r\n\u202eb.png", "ab.png"),
        ("a/b\\c.png", "c.png"),
        ('<a>:"|?*.png', "_a______.png"),
        (" .cat.png. ", "cat.png"),
        ("u\u0308.png", "ü.png"),
        ("a" * 500 + ".jpeg", "a" * 55 + ".jpeg"),
        ("a." + "b" * 500, "a." + "b" * 58),
        ("...", ""),
    ],
    ids=ascii,
)
def test_file_names_are_short_visible_and_without_folders(name, safe):
    assert sanitize_file_name(name) == safe


def lookup_returning(*addresses):
    """Return a lookup with the same addresses for every host."""
    return lambda host, port, family, kind: [(2, kind, 6, "", (address, port)) for address in addresses]


@pytest.mark.parametrize("network", NON_PUBLIC_NETWORKS, ids=str)
def test_listed_networks_are_not_public_from_first_to_last_address(network):
    assert describe_non_public(str(network[0])) == describe_non_public(str(network[-1])) is not None


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
def test_neighbours_of_non_public_networks_are_public(address):
    assert describe_non_public(address) is None


@pytest.mark.parametrize(
    ("address", "description"),
    [
        ("0.0.0.0", THIS_SERVER),
        ("127.0.0.1", THIS_SERVER),
        ("::1", THIS_SERVER),
        ("::", THIS_SERVER),
        ("10.0.0.1", "a private network"),
        ("172.31.0.1", "a private network"),
        ("192.168.1.1", "a private network"),
        ("fd00:ec2::254", "a private network"),  # a service of AWS
        ("100.64.0.1", "the internal network of a provider"),
        ("100.100.100.200", "the internal network of a provider"),  # a service of Alibaba
        ("168.63.129.16", "internal services of a cloud provider"),  # a service of Azure
        ("169.254.169.254", LINK_LOCAL),
        ("192.0.0.192", "a network for special use"),  # a service of Oracle
        ("fe80::1", LINK_LOCAL),
        ("fe80::1%eth0", LINK_LOCAL),
        ("2606:4700::1111%1", LINK_LOCAL),
        ("224.0.0.1", "a multicast group"),
        ("ff0e::1", "a multicast group"),
        ("255.255.255.255", "unused addresses"),
        ("::ffff:127.0.0.1", THIS_SERVER),
        ("::ffff:169.254.169.254", LINK_LOCAL),
        ("64:ff9b::10.0.0.1", "a private network"),
        ("64:ff9b:1::1.1.1.1", NOT_PUBLIC),
        ("::127.0.0.1", NOT_PUBLIC),
        ("2002:7f00:1::", "a tunnel between networks"),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", "a tunnel between networks, or a network for special use"),
        ("100::1", NOT_PUBLIC),
        ("5f00::1", NOT_PUBLIC),
        ("fec0::1", NOT_PUBLIC),
        ("4000::1", NOT_PUBLIC),
        ("127.1", "an invalid address"),
        ("example.com", "an invalid address"),
    ],
)
def test_other_addresses_are_described(address, description):
    assert describe_non_public(address) == description


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f000001", "2130706433", "0", "127.0.0.1", "::1", "::ffff:127.0.0.1"]
)
def test_numbers_that_the_system_reads_as_addresses_are_refused(host):
    with pytest.raises(InvalidUrlError, match="points to this server itself"):
        resolve_public(host, 80)


def test_a_host_resolves_to_its_addresses_without_duplicates_in_order():
    lookup = lookup_returning("2606:4700::1111", "1.1.1.1", "2606:4700::1111")
    assert resolve_public("example.com", 443, lookup) == ["2606:4700::1111", "1.1.1.1"]


@pytest.mark.parametrize("addresses", [("1.1.1.1", "10.0.0.1"), ("10.0.0.1", "1.1.1.1"), ("1.1.1.1", "::1")])
def test_a_host_with_one_non_public_address_is_refused(addresses):
    with pytest.raises(
        InvalidUrlError, match=r"^mixed\.example points to .* public servers only\. Upload"
    ) as caught:
        resolve_public("mixed.example", 443, lookup_returning(*addresses))
    # Internal addresses are private.
    assert "10.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "unknown"),
            "No server named a.example was found; check the spelling",
        ),
        (
            socket.gaierror(socket.EAI_AGAIN, "busy"),
            "No server named a.example was found; try again in a moment",
        ),
        (OSError("broken"), "The lookup of the server a.example failed"),
        (UnicodeError("label too long"), "The lookup of the server a.example failed"),
    ],
)
def test_failed_lookups_are_described(error, message):
    def lookup(*arguments):
        raise error

    with pytest.raises(InvalidUrlError, match=message):
        resolve_public("a.example", 80, lookup)
    with pytest.raises(InvalidUrlError, match="was found"):
        resolve_public("a.example", 80, lookup_returning())
