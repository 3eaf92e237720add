"""How to reach the service: proxy, certificates, passwords, as the user set them."""

from __future__ import annotations

import base64
import importlib.util
import ipaddress
import netrc
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from allenfs.config import absolute
from allenfs.errors import NetworkSettingError
from allenfs.text import without_user

PROXY_VARIABLE = "ALLENFS_PROXY"
CA_BUNDLE_VARIABLE = "ALLENFS_CA_BUNDLE"
CA_DIRECTORIES_VARIABLE = "SSL_CERT_DIR"  # a list, like PATH
# allenfs' own, those of requests and curl, and OpenSSL's
CA_BUNDLE_VARIABLES = (
    *(CA_BUNDLE_VARIABLE, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"),
    CA_DIRECTORIES_VARIABLE,
)
NETRC_VARIABLE = "NETRC"

_SOCKS = ("socks5h", "socks5", "socks4a", "socks4")
_SCHEMES = ("http", "https", *_SOCKS)
# urlsplit accepts much that urllib3 rejects
_PLACE = re.compile(
    r"(?:[^/?#\\[\]]*@)?"
    r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*|\[(?P<ipv6>[^]]*)\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


def checked_proxy(text: str, source: str) -> str:
    """Return a proxy's URL; without a scheme it is an http proxy.

    Raises NetworkSettingError if it is invalid; `source` is its flag or variable.
    """
    url = text if "://" in text else f"http://{text}"
    if why := _objection(url):
        raise NetworkSettingError(
            f"{source}={without_user(text)!r} is not a valid proxy: {why}"
        )
    return url


def shown_proxy(url: str | None) -> str | None:
    """Return the scheme, host and port of a proxy's URL."""
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def absolute_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that name certificates or a netrc file, with absolute paths.

    Raises ConfigError if one is relative, and the current directory is gone.
    """
    found = {}
    for variable in (*CA_BUNDLE_VARIABLES, NETRC_VARIABLE):
        if value := environ.get(variable):
            is_list = variable == CA_DIRECTORIES_VARIABLE
            found[variable] = os.pathsep.join(
                path and str(absolute(os.path.expanduser(path)))
                for path in (value.split(os.pathsep) if is_list else [value])
            )
    return found


def authorization(host: str, environ: Mapping[str, str]) -> str | None:
    """Return an ``Authorization`` header from ``.netrc``, if it has the host.

    Only an entry of that host counts, not ``default``, which would send a password to
    hosts that it was not intended for.

    Raises NetworkSettingError if the file names the host and is broken, or if
    ``$NETRC`` cannot be read.
    """
    named = environ.get(NETRC_VARIABLE)
    file = os.path.expanduser(named or "~/.netrc")
    try:
        text = Path(file).read_bytes()
    except OSError as error:
        if not named:
            return None
        why = f"which cannot be read ({error.strerror})"
        raise NetworkSettingError(
            f"{NETRC_VARIABLE} names {file!r}, {why}; correct or unset it"
        ) from error
    if host.lower().encode() not in text.lower():
        return None
    try:
        hosts = netrc.netrc(file).hosts
    except (OSError, ValueError, netrc.NetrcParseError) as error:
        # netrc's message quotes the text that it could not parse: maybe the password
        line = getattr(error, "lineno", None)
        where = f"{file}, line {line}" if line else file
        raise NetworkSettingError(
            f"{where}: the entry for {host} is not valid netrc(5) syntax; correct it"
        ) from None
    for name, (login, account, password) in hosts.items():
        if name.lower() == host.lower():
            user = login or account or ""
            return basic_authorization(user.encode(), (password or "").encode())
    return None


def basic_authorization(user: bytes, password: bytes) -> str:
    """Return the value of an ``Authorization`` header (RFC 7617)."""
    return f"Basic {base64.b64encode(user + b':' + password).decode()}"


def _objection(url: str) -> str:
    """Return why this is not a valid proxy URL, or an empty text."""
    if not url.isprintable() or " " in url:
        return "it contains a space or a control character"
    scheme, _, place = url.partition("://")
    if scheme.lower() not in _SCHEMES:
        return f"the scheme must be one of {', '.join(_SCHEMES)}"
    if not _is_place(place):
        return (
            "expected HOST or HOST:PORT (port 1 to 65535); percent-encode special "
            "characters in a password, such as %2F for a slash"
        )
    if scheme.lower() in _SOCKS and importlib.util.find_spec("socks") is None:
        return (
            f"SOCKS support is not installed: run {sys.executable} -m pip install "
            "'allenfs[socks]'"
        )
    return ""


def _is_place(text: str) -> bool:
    found = _PLACE.fullmatch(text)
    if found is None or not 0 < int(found["port"] or 1) < 2**16:
        return False
    try:
        urlsplit(f"//{text}")  # raised for characters that normalise to a slash
        return found["ipv6"] is None or bool(ipaddress.IPv6Address(found["ipv6"]))
    except ValueError:
        return False
