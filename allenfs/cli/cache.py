"""``allenfs cache``: inspect, verify and clear the store, mounted or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allenfs import config
from allenfs.cli.arguments import add_store, store_settings
from allenfs.text import printable

if TYPE_CHECKING:
    import argparse

    from allenfs.config import StoreSettings

SUMMARY = "inspect, verify or clear the stored images and records"

_EXIT_DAMAGED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("action", choices=["info", "verify", "clear"])
    add_store(parser)


def run(parsed: argparse.Namespace) -> int:
    """Run one action; return 1 if something was damaged."""
    from allenfs.store import maintenance  # noqa: PLC0415 - only this command needs it
    from allenfs.store.cache import Store  # noqa: PLC0415
    from allenfs.store.layout import Layout  # noqa: PLC0415
    from allenfs.store.record_files import Shelf  # noqa: PLC0415

    settings = store_settings(parsed, config.service_name(config.DEFAULT_API_URL))
    layout, store = Layout(settings.directory, settings.service_name), Store(settings)
    shelf = Shelf(settings)
    if parsed.action == "clear":
        print(f"{store.clear()} images removed")
        print(f"{shelf.clear()} records removed")
    elif parsed.action == "verify":
        checked, damaged = maintenance.verify(layout, store)
        read, broken = shelf.verify()
        print(f"{checked} images checked, {damaged} damaged and removed")
        print(f"{read} records checked, {broken} damaged and removed")
        return _EXIT_DAMAGED if damaged or broken else 0
    else:
        records_bytes = [used_bytes for _, used_bytes, _ in shelf.usage()]
        _print_sizes(maintenance.sizes(layout), records_bytes, settings)
    return 0


def _print_sizes(
    images: dict[str, tuple[int, int]],
    records_bytes: list[int],
    settings: StoreSettings,
) -> None:
    used_bytes = sum(records_bytes)
    used_bytes += sum(service_bytes for _, service_bytes in images.values())
    print(f"directory  {printable(str(settings.directory))}")
    print(f"used       {used_bytes} of {settings.capacity_bytes} bytes")
    for name, (count, service_bytes) in sorted(images.items()):
        print(f"{printable(name)}  {count} images, {service_bytes} bytes")
    print(f"catalog    {len(records_bytes)} records, {sum(records_bytes)} bytes")
