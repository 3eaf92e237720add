"""``allenfs cache``: inspect, verify and clear the store, mounted or not."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from allenfs import config
from allenfs.cli.arguments import add_store, store_settings
from allenfs.text import printable

if TYPE_CHECKING:
    from allenfs.store.cache import DiskCache

SUMMARY = "inspect, verify or clear the stored images and records"

_EXIT_DAMAGED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("action", choices=["info", "verify", "clear"])
    add_store(parser)


def run(parsed: argparse.Namespace) -> int:
    """Run one action; return 1 if something was damaged."""
    # only this command needs them
    from allenfs.store.image_files import ImageFiles
    from allenfs.store.record_files import RecordFiles

    settings = store_settings(parsed, config.service_name(config.DEFAULT_API_URL))
    images, records = ImageFiles(settings), RecordFiles(settings)
    if parsed.action == "clear":
        print(f"{images.clear()} images removed")
        print(f"{records.clear()} records removed")
    elif parsed.action == "verify":
        # both are verified, even if the first one is damaged
        results = [_verify(images, "images"), _verify(records, "records")]
        return 0 if all(results) else _EXIT_DAMAGED
    else:
        image_sizes, record_sizes = images.sizes(), records.sizes().values()
        records_bytes = sum(size_bytes for _, size_bytes in record_sizes)
        images_bytes = sum(size_bytes for _, size_bytes in image_sizes.values())
        used_bytes = images_bytes + records_bytes
        print(f"directory  {printable(str(settings.directory))}")
        print(f"used       {used_bytes} of {settings.capacity_bytes} bytes")
        for name, (count, size_bytes) in sorted(image_sizes.items()):
            print(f"{printable(name)}  {count} images, {size_bytes} bytes")
        records_count = sum(count for count, _ in record_sizes)
        print(f"catalog    {records_count} records, {records_bytes} bytes")
    return 0


def _verify(cache: DiskCache, kind: str) -> bool:
    checked, damaged, removed = cache.verify()
    fate = "damaged and removed"
    if removed < damaged:
        fate = f"damaged, {damaged - removed} of them could not be removed"
    print(f"{checked} {kind} checked, {damaged} {fate}")
    return damaged == 0
