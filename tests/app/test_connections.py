"""Connections to checked addresses, and time that runs out; the network is one of memory."""

from __future__ import annotations

import threading

import httpcore
import pytest

from sk_denoise.app._download import MOST_ADDRESSES, CheckedBackend, Deadline
from sk_denoise.app._urls import Refused, resolve_public

PUBLIC = "93.184.216.34"


class Stream(httpcore.MockStream):
    """A connection that knows its ends, and whether it was closed."""

    def __init__(self, peer, own):
        super().__init__([b"answer"])
        self.ends = {"server_addr": (peer, 80), "client_addr": (own, 40_000)}
        self.closed = False

    def get_extra_info(self, info):
        return self.ends.get(info, "something")

    def close(self):
        self.closed = True


class Network(httpcore.NetworkBackend):
    """Answers at every address but those that are down, and remembers who was asked."""

    def __init__(self, down=(), leads_to=None, own="192.168.1.2"):
        self.down, self.leads_to, self.own = down, leads_to, own
        self.asked, self.streams = [], []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.asked.append(host)
        assert 0 < timeout <= 20
        if host in self.down:
            raise httpcore.ConnectTimeout
        self.streams.append(Stream(self.leads_to or host, self.own))
        return self.streams[-1]


def changing(*answers):
    """Return a lookup that gives another address each time, and the list of names that it was asked."""
    asked = []

    def lookup(host, port, family, kind):
        asked.append(host)
        return [(2, kind, 6, "", (answers[len(asked) - 1], port))]

    return lookup, asked


def test_a_name_that_changes_is_looked_up_once_and_the_connection_goes_to_what_was_checked():
    lookup, asked = changing(PUBLIC, "127.0.0.1")
    network = Network()
    backend = CheckedBackend(lambda host, port: resolve_public(host, port, lookup), Deadline(20), network)
    backend.connect_tcp("rebinding.example", 80)
    assert asked == ["rebinding.example"]
    assert network.asked == [PUBLIC]
    with pytest.raises(Refused, match="leads to the machine that would ask"):
        backend.connect_tcp("rebinding.example", 80)
    assert network.asked == [PUBLIC]


def test_the_next_checked_address_is_tried_where_one_is_down():
    network = Network(down=("2606:4700::1111",))
    CheckedBackend(lambda *_: ["2606:4700::1111", PUBLIC, "1.1.1.1"], Deadline(20), network).connect_tcp(
        "a", 80
    )
    assert network.asked == ["2606:4700::1111", PUBLIC]


def test_a_name_with_hundreds_of_dead_addresses_is_given_up_soon():
    addresses = [f"1.1.1.{i}" for i in range(200)]
    network = Network(down=addresses)
    with pytest.raises(Refused, match=r"a\.example does not answer at port 8000"):
        CheckedBackend(lambda *_: addresses, Deadline(20), network).connect_tcp("a.example", 8000)
    assert network.asked == addresses[:MOST_ADDRESSES]


def test_a_connection_that_leads_elsewhere_is_closed_and_refused():
    network = Network(leads_to="10.0.0.1")
    with pytest.raises(Refused, match="leads elsewhere"):
        CheckedBackend(lambda *_: [PUBLIC], Deadline(20), network).connect_tcp("a.example", 80)
    assert [stream.closed for stream in network.streams] == [True]


def test_the_public_address_of_the_machine_itself_is_refused():
    network = Network(own=PUBLIC)
    with pytest.raises(Refused, match="leads to the machine that would ask"):
        CheckedBackend(lambda *_: [PUBLIC], Deadline(20), network).connect_tcp("a.example", 80)
    assert [stream.closed for stream in network.streams] == [True]


def test_a_resolver_that_answers_in_names_is_an_error_before_anything_is_connected():
    network = Network()
    with pytest.raises(ValueError, match=r"localhost"):
        CheckedBackend(lambda *_: ["localhost"], Deadline(20), network).connect_tcp("a.example", 80)
    assert network.asked == []


def test_no_sockets_of_the_file_system_are_connected():
    with pytest.raises(NotImplementedError):
        CheckedBackend(lambda *_: [], Deadline(20)).connect_unix_socket("/run/socket")


def test_no_server_can_choose_http_2():
    stream = CheckedBackend(lambda *_: [PUBLIC], Deadline(20), Network()).connect_tcp("a.example", 80)
    assert stream.get_extra_info("ssl_object") is None
    assert stream.get_extra_info("server_addr") == (PUBLIC, 80)


def test_a_lookup_that_hangs_is_left_behind():
    free = threading.Event()
    try:
        with pytest.raises(Refused, match=r"within 0\.1 seconds"):
            Deadline(0.1).wait_for(free.wait, 30)
    finally:
        free.set()


def test_what_a_lookup_raises_is_raised():
    def fail():
        raise TimeoutError("of the function")

    with pytest.raises(TimeoutError, match="of the function"):
        Deadline(20).wait_for(fail)
    assert Deadline(20).wait_for(lambda: 3) == 3


def test_nothing_is_read_written_or_connected_after_the_end():
    deadline = Deadline(20)
    network = Network()
    backend = CheckedBackend(lambda *_: [PUBLIC], deadline, network)
    stream = backend.connect_tcp("a.example", 80)
    assert stream.read(100) == b"answer"
    deadline._end = 0.0  # long ago
    for wait in (
        lambda: stream.read(100, timeout=5),
        lambda: stream.write(b"question"),
        lambda: stream.start_tls(None, "a.example"),
        lambda: backend.connect_tcp("a.example", 80),
    ):
        with pytest.raises(Refused, match="within 20 seconds"):
            wait()
    assert network.asked == [PUBLIC]
