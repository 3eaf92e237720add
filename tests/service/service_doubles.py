"""What a request is given, and a service that says what a test wants."""

from __future__ import annotations

import contextlib

from allenfs.model import tree

MIB = 2**20
REQUEST = tree.parse("section/69750516/ds6/image.jpg").request


class Bytes:
    """A sink in memory, and what was promised before the first byte."""

    def __init__(self):
        self.data = b""
        self.promised = []

    def restart(self):
        self.data = b""

    def expect(self, promised_bytes):
        assert self.data == b""
        self.promised.append(promised_bytes)

    def write(self, chunk):
        self.data += chunk

    def view(self):
        return self.data


class Clock:
    """Time that only sleeping moves."""

    def __init__(self):
        self.now_s = 1000.0
        self.slept_s = []

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.slept_s.append(seconds)
        self.now_s += seconds


class Slot(contextlib.AbstractContextManager):
    """Shows whether it is entered."""

    is_held = False

    def __enter__(self):
        self.is_held = True

    def __exit__(self, *_):
        self.is_held = False


class Flood:
    """200 MiB of a body, and how much of it was sent."""

    sent_bytes = 0

    def __init__(self, start, piece):
        self._start, self._piece = start, piece

    def __iter__(self):
        yield self._start
        for _ in range(200):
            yield self._piece * MIB
            self.sent_bytes += MIB


def says(hostile, *answers):
    """Give each connection the next of `answers`, to images and queries alike."""
    following = iter(answers)
    hostile.image = hostile.query = lambda _: next(following, ())
