"""The sample service in a separate process, until its stdin ends.

It shares no interpreter lock with what measures it. The first line on stdout is its
address; each line on stdin is answered with what was counted since the last one.

    python sample_process.py LATENCY_S
"""

from __future__ import annotations

import json
import sys

from sections import LONG_LIST_ID, LONG_LIST_IMAGES

from allenfs.sample.content import sample_database
from allenfs.sample.inventing import add_data_set
from allenfs.sample.server import SampleService

_FIRST_IMAGE_ID = 5_000_000_000


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve."""
    database = sample_database()
    image_ids = range(_FIRST_IMAGE_ID, _FIRST_IMAGE_ID + LONG_LIST_IMAGES)
    add_data_set(database, LONG_LIST_ID, image_ids)
    with SampleService(latency_s=float(sys.argv[1]), database=database) as service:
        _say(service.url)
        for _ in sys.stdin:
            _say(
                json.dumps(
                    {
                        "image_requests": service.image_requests,
                        "connections": service.connections,
                        "peak_all_requests": service.peak_all_requests,
                    }
                )
            )
            service.reset_counters()


if __name__ == "__main__":
    main()
