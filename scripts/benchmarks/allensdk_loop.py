"""Downloads images as a user of AllenSDK does, and prints the seconds it took.

Run by the Python of a virtual environment that has AllenSDK.

    python allensdk_loop.py URL FOLDER ID=FILE ...
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from allensdk.api.queries.image_download_api import ImageDownloadApi
from sections import DOWNSAMPLE


def main() -> None:
    """Download."""
    url, folder, *files = sys.argv[1:]
    # it warns of every file that it writes over
    logging.getLogger("allensdk.api.api.retrieve_file_over_http").setLevel("ERROR")
    api = ImageDownloadApi(url)
    started_s = time.perf_counter()
    for image_id, _, name in (file.partition("=") for file in files):
        path = Path(folder, name)
        api.download_section_image(int(image_id), str(path), downsample=DOWNSAMPLE)
    sys.stdout.write(f"{time.perf_counter() - started_s}\n")


if __name__ == "__main__":
    main()
