"""Stores answers and reads them, as a separate process."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from allenfs.config import StoreSettings
from allenfs.store.record_files import Kept, RecordFiles

KEYS = [("dataset", str(number)) for number in range(1, 9)]


def answer_of(key: tuple[str, str], size: int) -> list[str]:
    """An answer that names its key; `size` lines that do not pack."""
    chance = random.Random(f"{key} {size}")
    return [key[1], *(chance.randbytes(30).hex() for _ in range(size))]


def main(directory: str, capacity: str, seed: str, rounds: str) -> None:
    records = RecordFiles(StoreSettings(Path(directory), int(capacity), "test"))
    chance = random.Random(int(seed))
    for _ in range(int(rounds)):
        key = chance.choice(KEYS)
        records.put(key, Kept(answer_of(key, chance.randrange(200)), 1))
        key = chance.choice(KEYS)
        kept = records.get(key)
        if kept is not None:
            assert kept.answer == answer_of(key, len(kept.answer) - 1), key
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
