"""Jobs for the tests of worker processes, which import this module."""

from __future__ import annotations

import os
import time

import numpy as np


def report_and_wait(seconds, progress):
    progress(1, 2, "Waiting")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
        progress(1, 2, "Waiting")


def hang(seconds, progress):
    progress(0, 0, "Hanging")
    time.sleep(seconds)


def allocate(megabytes):
    return np.ones(megabytes * 2**17).nbytes


def end_by(number):
    os.kill(os.getpid(), number) if number else os._exit(7)


class AwkwardError(Exception):
    """Error that cannot be unpickled."""

    def __init__(self, first, second):
        super().__init__(first)


def fail(kind):
    print("This text must not come between the results.")
    raise {"value": ValueError("a bad\nfile"), "key": KeyError("no such key"), "awkward": AwkwardError(1, 2)}[
        kind
    ]
