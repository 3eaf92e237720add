"""The servers of the demo: nginx and Squid on loopback, each below a folder.

`Institute` stands for the institute's web server: it speaks TLS under the name
api.brain-map.org, redirects to that name, and passes requests on to the sample service.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from configurations import DemoError, documented
from processes import end

if TYPE_CHECKING:
    from typing_extensions import Self

_HOST = "api.brain-map.org"
_START_S = 30
_LOOK_S = 0.02
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
# as root, or nginx would change to a user that cannot enter the folder
_USER = "user root;" if os.geteuid() == 0 else ""
_TEMPORARY = "client_body", "proxy", "fastcgi", "uwsgi", "scgi"
_INSTITUTE = """
log_format institute '$status $request_uri';
server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate     {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    access_log {folder}/access.log institute;
    keepalive_timeout 15s;
    location / {{
        proxy_pass {url};
        proxy_http_version 1.1;
        proxy_buffering off;
        proxy_read_timeout 600s;
        proxy_redirect {url}/ http://{host}/;
    }}
}}
"""


class Server:
    """A program in the foreground that listens on a free port of 127.0.0.1.

    Attributes
    ----------
    flags : tuple of str
        What ``allenfs mount`` needs to use it.
    """

    program = "nginx"
    flags: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return when it accepts connections; DemoError if it ends."""
        with (self.folder / "said").open("ab") as said:
            self._process = subprocess.Popen(  # noqa: S603 - no shell
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is not for it: it is still needed
            )
        ends_s = time.monotonic() + _START_S
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > ends_s:
                said_last = (self.folder / "said").read_text()[-500:].strip()
                raise DemoError(f"{self.program} does not start: {said_last}")
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """End it at once, with the requests under way."""
        process, self._process = self._process, None
        if process is not None:
            end(process)

    def requests(self, text: str = "") -> list[str]:
        """Return the lines of the access log that contain `text`."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return [line for line in lines if text in line]

    def _command(self) -> list[str]:
        main = self.folder / "nginx.conf"
        paths = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n" for kind in _TEMPORARY
        )
        main.write_text(
            f"{_USER} daemon off; worker_processes 1; pid {self.folder}/pid;\n"
            f"error_log {self.folder}/error.log;\nevents {{}}\n"
            f"http {{\n{paths}{self._site()}}}\n"
        )
        error_log = str(self.folder / "error.log")
        return [_found(self.program), "-c", str(main), "-e", error_log]

    def _site(self) -> str:
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Start it; end it if that fails."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()


class Institute(Server):
    """TLS and the institute's name in front of the sample service at `url`."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self._url = url
        self.certificate = folder / "certificate.pem"
        subprocess.run(  # noqa: S603 - no shell
            [
                *(_found("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
                *("-subj", f"/CN={_HOST}", "-addext", f"subjectAltName=DNS:{_HOST}"),
                *("-keyout", folder / "key.pem", "-out", self.certificate),
            ],
            check=True,
            capture_output=True,
        )

    def _site(self) -> str:
        return _INSTITUTE.format(
            port=self.port, folder=self.folder, url=self._url, host=_HOST
        )


class Nginx(Server):
    """The documented nginx."""

    def __init__(self, folder: Path, institute: Institute) -> None:
        super().__init__(folder)
        self._institute = institute
        self.flags = ("--api-url", f"http://127.0.0.1:{self.port}")

    def _site(self) -> str:
        return documented(
            "nginx",
            {
                "listen 8080": f"listen 127.0.0.1:{self.port}",
                f"server {_HOST}:443": f"server 127.0.0.1:{self._institute.port}",
                "/etc/ssl/certs/ca-certificates.crt": str(self._institute.certificate),
                "/var/cache/nginx/allenfs": f"{self.folder}/cache",
                "/var/log/nginx/allenfs.log": f"{self.folder}/access.log",
            },
        )


class Squid(Server):
    """The documented Squid."""

    program = "squid"

    def __init__(self, folder: Path, institute: Institute) -> None:
        super().__init__(folder)
        self._institute = institute
        proxy = f"http://127.0.0.1:{self.port}"
        self.flags = ("--api-url", f"http://{_HOST}", "--proxy", proxy)

    def _command(self) -> list[str]:
        main = self.folder / "squid.conf"
        changed = documented(
            "squid",
            {
                "http_port 3128": f"http_port 127.0.0.1:{self.port}",
                "10.0.0.0/8": "127.0.0.1",
                "parent 443": f"parent {self._institute.port}",
                f"cache_peer {_HOST}": "cache_peer 127.0.0.1",
                "/etc/ssl/certs/ca-certificates.crt": str(self._institute.certificate),
                # 16 384 empty directories take some seconds
                "/var/spool/squid 1000000 64 256": f"{self.folder}/cache 1000 1 1",
                "/var/log/squid/allenfs.log": f"{self.folder}/access.log",
            },
        )
        main.write_text(
            f"{changed}cache_log {self.folder}/cache.log\n"
            f"pid_filename {self.folder}/pid\ncoredump_dir {self.folder}\n"
            "shutdown_lifetime 0 seconds\n"
        )
        if os.geteuid() == 0:  # Squid changes to this user
            shutil.chown(self.folder, "proxy", "proxy")
        squid = [_found("squid"), "-N", "-f", str(main)]
        if not (self.folder / "cache").exists():
            subprocess.run([*squid, "-z"], check=True, capture_output=True)  # noqa: S603
        return squid


def _found(program: str) -> str:
    """Return the path of a program that may be for administrators; DemoError."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:{_SBIN}")
    if path is None:
        raise DemoError(f"{program} is not installed: run scripts/cluster-demo")
    return path


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
