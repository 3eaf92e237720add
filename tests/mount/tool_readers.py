"""What napari and ImageJ do with the folders of a mount, without their packages.

    python tool_readers.py napari --plugin napari-ome-zarr FOLDER
    python tool_readers.py imagej -e MACRO

napari-ome-zarr reads with ome-zarr's reader, as here. ImageJ's Image Sequence takes the
files of a folder in order, and leaves out what has another size than the first.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from PIL import Image


def _napari(*arguments: str) -> str:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Multiscales, Reader

    option, plugin, folder = arguments
    assert (option, plugin) == ("--plugin", "napari-ome-zarr")
    location = parse_url(folder)
    assert location is not None
    (node,) = Reader(location)()
    assert node.load(Multiscales) is not None
    levels = node.data
    assert levels[-1].compute().any()
    return f"{len(levels)} levels, {levels[-1].shape}"


def _imagej(option: str, macro: str) -> str:
    assert option == "-e"
    found = re.fullmatch(r'run\("Image Sequence\.\.\.", "dir=(.*)"\)', macro)
    assert found is not None
    sizes = []
    for path in sorted(Path(found[1]).iterdir()):
        with Image.open(path) as image:
            image.load()
            sizes.append(image.size)
    return f"{sizes.count(sizes[0])} slices of {sizes[0]}"


def main() -> None:
    """Read, and say on stderr what was found."""
    program, *arguments = sys.argv[1:]
    read = {"napari": _napari, "imagej": _imagej}[program]
    sys.stderr.write(f"{program}: {read(*arguments)}\n")


if __name__ == "__main__":
    main()
