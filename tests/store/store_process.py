"""A process that adds images and records for ever, or N times, and checks them.

Arguments: directory, capacity in bytes, first number, step, count (0: for ever).
Says ``ready``, waits for a line, then says the number of each image it added.
"""

from __future__ import annotations

import sys
from pathlib import Path

from store_helpers import found, image_bytes, put, store_at

from allenfs.config import StoreSettings
from allenfs.store.record_files import RecordFiles, StoredRecord


def main():
    directory, capacity_bytes, first, step, count = sys.argv[1:]
    store = store_at(Path(directory), int(capacity_bytes))
    records = RecordFiles(StoreSettings(Path(directory), int(capacity_bytes), "test"))
    print("ready", flush=True)
    sys.stdin.readline()
    done, number = 0, int(first)
    while not int(count) or done < int(count):
        data = image_bytes(number, 1 + number * 7919 % 30_000)
        put(store, number, data)
        neighbour = number - int(step) + 1
        if found(store, neighbour) not in (None, image_of(neighbour)):
            sys.exit(f"wrong bytes of {neighbour}")
        put_record(records, number)
        check_record(records, neighbour)
        print(number, flush=True)
        done, number = done + 1, int(first) + (number - int(first) + int(step)) % 210


def image_of(number):
    return image_bytes(number, 1 + number * 7919 % 30_000)


def put_record(records, number):
    """Store an answer of one to three pages that names its key."""
    answer = [number % 8, image_of(number)[:10_000].hex()]
    records.put(("dataset", str(number % 8)), StoredRecord(answer, number))


def check_record(records, number):
    kept = records.get(("dataset", str(number % 8)))
    if kept is not None:
        expected = [number % 8, image_of(kept.fetched_ns)[:10_000].hex()]
        assert kept.answer == expected


if __name__ == "__main__":
    main()
