"""The TLS context of all connections: the CAs of the system, of certifi, of the user.

Files are read once, at the start: removing them later affects no connection.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import ALPN_PROTOCOLS, create_urllib3_context

from allenfs.errors import NetworkSettingError
from allenfs.service import network

# A Python that the distribution did not build may use other paths.
_SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older Fedora and RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine
)
_SYSTEM_DIRECTORY = "/etc/ssl/certs"
# Names given by `openssl rehash`; OpenSSL reads no other files.
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")


def new_context(flag: Path | None, environ: Mapping[str, str] | None) -> ssl.SSLContext:
    """Return urllib3's context with the CAs to trust.

    Without `environ`, for plain http on this machine, these are only those of `flag`:
    reading the others takes 75 ms.

    Raises NetworkSettingError if a bundle that the user named cannot be read or has no
    certificate.
    """
    context = create_urllib3_context()
    # Like curl and Python 3.13: an intermediate CA can be trusted without its root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    # urllib3 sets them again for each connection, which frees memory that OpenSSL may
    # be reading in another thread: in a test of eight threads, five of 550 000
    # connections began with garbage.
    vars(context)["set_alpn_protocols"] = lambda _: None
    if environ is not None:
        _trust_machine(context)
    for path, name in named(flag, environ or {}).items():
        if why := _objection(context, path):
            raise NetworkSettingError(
                f"{name} names {str(path)!r}, which {why}; correct or unset it"
            )
        # Python 3.13's strict check rejects CAs that lack extensions of RFC 5280, as
        # those of older inspecting proxies do.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def named(flag: Path | None, environ: Mapping[str, str]) -> dict[Path, str]:
    """Map each path that the user named to its flag (``--ca-bundle``) or variable."""
    found = {flag: "--ca-bundle"} if flag else {}
    for variable in network.CA_BUNDLE_VARIABLES:
        paths = [environ.get(variable, "")]
        if variable == network.CA_DIRECTORIES_VARIABLE:
            paths = paths[0].split(os.pathsep)
            # a list of directories; OpenSSL skips those that do not exist
            paths = [path for path in paths if os.path.isdir(path)] or paths
        for path in filter(None, paths):
            found.setdefault(Path(path), variable)
    return found


def _trust_machine(context: ssl.SSLContext) -> None:
    defaults = ssl.get_default_verify_paths()
    files = (defaults.openssl_cafile, *_SYSTEM_FILES, DEFAULT_CA_BUNDLE_PATH)
    for file in dict.fromkeys(map(os.path.realpath, files)):
        with contextlib.suppress(OSError):
            context.load_verify_locations(file)
    # OpenSSL searches these when it meets an unknown CA.
    for directory in (defaults.openssl_capath, _SYSTEM_DIRECTORY):
        context.load_verify_locations(capath=directory)


def _objection(context: ssl.SSLContext, path: Path) -> str:
    """Trust a file or directory; return why that is impossible, or an empty text."""
    files = [path]
    try:
        if path.is_dir():
            files = [one for one in path.iterdir() if _HASHED_NAME.fullmatch(one.name)]
        for file in files:
            context.load_verify_locations(file)
    except ssl.SSLError:
        return "contains no valid PEM certificate"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return (
        ""
        if files
        else "contains no hashed certificate files: run openssl rehash on it"
    )
