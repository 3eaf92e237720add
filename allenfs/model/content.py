"""What the bytes of an answer must be: a kind of content, and how to check it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from allenfs.errors import BrokenImageError


class Data(Protocol):
    """Bytes, or an object that returns slices of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, where: slice, /) -> bytes: ...


class CutContentError(Exception):
    """The bytes begin as the content does, but are truncated."""


class WrongContentError(Exception):
    """The bytes are something else, or break the structure of the content."""


@dataclass(frozen=True, slots=True)
class Content:
    """A kind of content.

    Attributes
    ----------
    name : str
        With its article, as in messages.
    type_prefix : str
        How its Content-Type begins; "" accepts any or none.
    inspect : callable
        Checks the bytes; raises CutContentError or WrongContentError.
    broken : type
        The error for something else.
    max_bytes : int or None
        The largest size; None if only the user's limit for an image applies.
    """

    name: str
    type_prefix: str
    inspect: Callable[[Data], object]
    broken: type[BrokenImageError] = BrokenImageError
    max_bytes: int | None = None
