"""Addresses that people type, and names for files."""

from __future__ import annotations

import pytest

from sk_denoise.app._urls import LONGEST, Refused, file_name, follow, parse, plain, safe_name


@pytest.mark.parametrize(
    ("typed", "asked"),
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
def test_an_address_is_asked_for_in_one_form(typed, asked):
    assert str(parse(typed)) == asked
    assert parse(str(parse(typed))) == parse(typed)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("https://example.com/" + "a" * LONGEST, "4116 characters, more than 4096"),
        ("file:///etc/passwd", "begin with file: are not read"),
        ("FTP://example.com/a.png", "begin with FTP: are not read"),
        ("gopher://example.com/", "begin with gopher: are not read"),
        ("javascript:alert(1)", "begin with javascript: are not read"),
        ("data:image/png;base64,AAAA", "begin with data: are not read"),
        ("blob:https://example.com/1", "begin with blob: are not read"),
        ("localhost:8501/", "begin with localhost: are not read"),
        ("https:example.com", "no // after"),
        ("https:/example.com", "no // after"),
        ("https://", "names no server"),
        ("/home/cat.png", "names no server"),
        ("https://user:secret@example.com/", "a user or a password"),
        ("https://example.com@127.0.0.1/", "a user or a password"),
        ("C:\\cat.png", "backslash"),
        ("https://example.com\\@127.0.0.1/", "backslash"),
        ("https://example.com/my cat.png", "write %20"),
        ("https://example.com/a\r\nHost: x", "write %20"),
        ("https://example.com/\u2028a", "write %20"),
        ("https://example.com/\x00a", "cannot be seen"),
        ("https://example.com/\x7fa", "cannot be seen"),
        ("https://example.com/\x9fa", "cannot be seen"),
        ("https://example.com/\ud800a", "cannot be seen"),
        ("https://example.com./", "ends in a dot"),
        ("https://localhost/", "localhost is no name of a public server"),
        ("https://a..example.com/", "cannot be the name"),
        ("https://-a.example.com/", "cannot be the name"),
        ("https://exa%6dple.com/", "cannot be the name"),
        ("https://example.com℀/", "cannot be the name"),
        ("https://" + "a" * 64 + ".com/", "cannot be the name"),
        ("https://" + "a." * 127 + "com/", "cannot be the name"),
        ("https://faß.example/", "read in two ways"),
        ("https://a[::1]/", "no name with a port"),
        ("https://[::1]a/", "no name with a port"),
        ("https://example.com:80:80/", "no name with a port"),
        ("https://example.com:\uff18\uff10/", "no name with a port"),
        ("https://example.com:-1/", "no name with a port"),
        ("https://example.com:0/", "got 0;"),
        ("https://example.com:25/", "80, 443 or 1024 to 65535, got 25;"),
        ("https://example.com:65536/", "got 65536;"),
        ("https://example.com:" + "9" * 4000, "got 9999"),
        ("https://[fe80::1%25eth0]/", "a zone"),
        ("https://[v1.a]/", "no IPv6 address"),
        ("https://[127.0.0.1]/", "no IPv6 address"),
        ("http://127.1/", "named by the number 127.1;"),
        ("http://0x7f000001/", "named by the number 0x7f000001;"),
        ("http://0X7F.1/", "named by the number 0x7f.1;"),
        ("http://2130706433/", "named by the number 2130706433;"),
        ("http://0177.0.0.1/", "named by the number 0177.0.0.1;"),
        ("http://\uff11\uff12\uff17.1/", "named by the number 127.1;"),
        ("http://1.2.3.4.5/", "named by the number 1.2.3.4.5;"),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_other_addresses_are_refused_in_words(typed, message):
    with pytest.raises(Refused) as refused:
        parse(typed)
    assert message in str(refused.value)
    assert "secret" not in str(refused.value)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("location", "asked"),
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
def test_servers_send_on_to_whole_and_to_relative_addresses(location, asked):
    assert str(follow(parse("http://example.com:8000/of/a.png?size=1"), location)) == asked


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("", "is empty"),
        ("file:///etc/passwd", "begin with file:"),
        ("javascript:alert(1)", "begin with javascript:"),
        ("other.example:8000/a.png", "no // after"),
        ("//user@other.example/", "a user or a password"),
        ("http://[", "cannot be read"),
        ("/a b", "write %20"),
        ("http://2130706433/", "by the number 2130706433"),
    ],
)
def test_servers_that_send_on_elsewhere_are_refused_in_words(location, message):
    with pytest.raises(Refused, match=r"^The server sends on to") as refused:
        follow(parse("http://example.com/of/a.png"), location)
    assert message in str(refused.value)


def test_nobody_is_sent_on_from_https_to_http():
    assert follow(parse("http://example.com/"), "https://example.com/").scheme == "https"
    with pytest.raises(Refused, match="from https to http"):
        follow(parse("https://example.com/"), "http://example.com/")


def test_messages_show_no_markup_of_others():
    assert plain("a\n[x](http://y) `$<b>\u202e") == "a??x?(http://y) ???b??"
    assert plain("a" * 100) == "a" * 57 + "..."


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
def test_a_file_is_called_as_the_server_says_or_as_the_address_ends(disposition, name):
    assert file_name(parse("https://example.com/c/a%20b.png?d=e.png"), disposition) == name


def test_an_address_without_a_name_is_called_an_image():
    for address in ["https://example.com", "https://example.com/a/", "https://example.com/%2e%2e%2f"]:
        assert file_name(parse(address)) == "image"


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
def test_names_of_files_hold_no_folders_nothing_hidden_and_end(name, safe):
    assert safe_name(name) == safe
