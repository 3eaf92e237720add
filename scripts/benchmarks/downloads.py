"""The other ways to download the images: curl and AllenSDK."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from processes import run, seconds_of

if TYPE_CHECKING:
    from sections import Section

_HERE = Path(__file__).parent
_CURL = (
    *("curl", "--silent", "--show-error", "--fail", "--location", "--noproxy", "*"),
    "--globoff",  # queries have brackets
)


def curl_all(
    api_url: str, sections: list[Section], folder: Path, *, at_once: int
) -> float:
    """Download with one curl, which keeps its connections; return seconds."""
    files = {section.file_name: section.url(api_url) for section in sections}
    return _curl_files(files, folder, at_once=at_once)


def curl_urls(urls: list[str], folder: Path, *, at_once: int) -> float:
    """Download the same way to numbered files; return seconds."""
    files = {str(number): url for number, url in enumerate(urls)}
    return _curl_files(files, folder, at_once=at_once)


def _curl_files(files: dict[str, str], folder: Path, *, at_once: int) -> float:
    config = folder / "curlrc"
    config.write_text(
        "\n".join(
            f'url = "{url}"\noutput = "{folder / name}"' for name, url in files.items()
        )
    )
    parallel = ("--parallel", "--parallel-max", at_once) if at_once > 1 else ()
    return seconds_of(*_CURL, *parallel, "--config", config)


def curl_one(url: str) -> float:
    """Download one image; return curl's own seconds, without its start and end."""
    wanted = ("--output", "/dev/null", "--write-out", "%{time_total}")
    return float(run(*_CURL, *wanted, url))


def allensdk_all(
    python: Path, api_url: str, sections: list[Section], folder: Path
) -> float:
    """Download with AllenSDK in a loop; return its seconds, without its imports."""
    files = [f"{section.image_id}={section.file_name}" for section in sections]
    return float(run(python, _HERE / "allensdk_loop.py", api_url, folder, *files))


def install_allensdk(folder: Path) -> Path:
    """Install AllenSDK in a virtual environment and return its Python."""
    run(_HERE.parent / "install-allensdk", folder)
    return folder / "bin/python"
