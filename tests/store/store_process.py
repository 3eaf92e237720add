"""A process that adds images to a store for ever, or N times, and checks each.

Arguments: directory, capacity in bytes, first number, step, count (0: for ever).
Says ``ready``, waits for a line, then says the number of each image it added.
"""

from __future__ import annotations

import sys
from pathlib import Path

from store_helpers import found, image_bytes, put, store_at


def main() -> None:
    directory, capacity_bytes, first, step, count = sys.argv[1:]
    store = store_at(Path(directory), int(capacity_bytes))
    print("ready", flush=True)
    sys.stdin.readline()
    done, number = 0, int(first)
    while not int(count) or done < int(count):
        data = image_bytes(number, 1 + number * 7919 % 30_000)
        put(store, number, data)
        neighbour = number - int(step) + 1
        if found(store, neighbour) not in (None, image_of(neighbour)):
            sys.exit(f"wrong bytes of {neighbour}")
        print(number, flush=True)
        done, number = done + 1, int(first) + (number - int(first) + int(step)) % 210


def image_of(number: int) -> bytes:
    return image_bytes(number, 1 + number * 7919 % 30_000)


if __name__ == "__main__":
    main()
