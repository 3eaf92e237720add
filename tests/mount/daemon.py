"""Serves a mount in the foreground with settings that no flag sets.

Tests shorten what costs time: the memory of failures and the backoff.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from raising_log import break_logging

from allenfs import config
from allenfs.mount import daemon
from allenfs.mount.log_output import LogOutput


def main() -> None:
    given = json.loads(sys.argv[1])
    log_output = LogOutput(Path(given["log_file"]))
    log_output.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    log_output.prepare()
    logging.basicConfig(handlers=[log_output], level=logging.INFO)
    break_logging(given["log_raises"])
    service = config.ServiceSettings(given["api_url"], **given["service"])
    store = config.StoreSettings(
        Path(given["cache_dir"]),
        given["capacity_bytes"],
        config.service_name(given["api_url"]),
    )
    daemon.run(
        config.MountSettings(
            Path(given["mountpoint"]), service, store, False, {}, given["readahead"]
        ),
        log_output,
    )
    daemon.end_process()


if __name__ == "__main__":
    main()
