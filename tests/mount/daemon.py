"""Serves a mount in the foreground with settings that no flag sets.

Tests shorten what costs time: the memory of failures and the backoff.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from allenfs import config, mount


def main() -> None:
    given = json.loads(sys.argv[1])
    logging.basicConfig(
        filename=given["log_file"],
        format="%(levelname)s %(name)s: %(message)s",
        level=logging.INFO,
    )
    service = config.ServiceSettings(given["api_url"], **given["service"])
    store = config.StoreSettings(
        Path(given["cache_dir"]),
        given["capacity_bytes"],
        config.service_name(given["api_url"]),
    )
    mount.run(
        config.MountSettings(
            Path(given["mountpoint"]), service, store, False, {}, given["readahead"]
        )
    )


if __name__ == "__main__":
    main()
