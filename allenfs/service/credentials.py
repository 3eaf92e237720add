"""User and password of the service, from ``.netrc``, and as a header of HTTP."""

from __future__ import annotations

import base64
import netrc
import os
from typing import TYPE_CHECKING

from allenfs.errors import NetworkSettingError
from allenfs.service import network

if TYPE_CHECKING:
    from collections.abc import Mapping


def of_host(host: str, environ: Mapping[str, str]) -> str | None:
    """Return an ``Authorization`` header for a host, as ``.netrc`` says; None for none.

    Only an entry of that very host counts, not ``default``: no password goes where
    its owner did not mean it to go.

    Raises
    ------
    NetworkSettingError
        The file names the host and is broken, or ``$NETRC`` cannot be read.
    """
    named = environ.get(network.NETRC_VARIABLE)
    file = os.path.expanduser(named or "~/.netrc")
    try:
        with open(file, "rb") as opened:
            text = opened.read()
    except OSError as error:
        if not named:
            return None
        why = f"cannot be read ({error.strerror})"
        msg = (
            f"{network.NETRC_VARIABLE} names {file!r}, which {why}; correct or unset it"
        )
        raise NetworkSettingError(msg) from error
    if host.lower().encode() not in text.lower():
        return None
    try:
        hosts = netrc.netrc(file).hosts
    except (OSError, ValueError, netrc.NetrcParseError) as error:
        # its own words quote what it could not read, which may be the password
        line = getattr(error, "lineno", None)
        where = f"{file}, line {line}" if line else file
        msg = f"{where}: the entry for {host} is not valid netrc(5) syntax; correct it"
        raise NetworkSettingError(msg) from None
    for name, (login, account, password) in hosts.items():
        if name.lower() == host.lower():
            return basic((login or account or "").encode(), (password or "").encode())
    return None


def basic(user: bytes, password: bytes) -> str:
    """Return the value of an ``Authorization`` header (RFC 7617)."""
    return f"Basic {base64.b64encode(user + b':' + password).decode()}"
