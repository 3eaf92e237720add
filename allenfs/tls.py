"""Requests over one TLS context, which is made once and not for each connection."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import requests.adapters
from urllib3.util.ssl_ import ALPN_PROTOCOLS, create_urllib3_context

from allenfs.credentials import basic


def new_context() -> ssl.SSLContext:
    """Return a context as urllib3 makes them; it trusts nobody yet."""
    context = create_urllib3_context()
    # As curl does, and Python from 3.13 on: who trusts an intermediate authority
    # need not have its root, too.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    # urllib3 sets them again for each connection. That frees what OpenSSL may be
    # reading for one in another thread: in a test of eight threads, five of 550 000
    # connections began with garbage.
    context.set_alpn_protocols = _ignore  # type: ignore[method-assign]
    return context


def _ignore(alpn_protocols: object) -> None:
    pass


class TrustingAdapter(requests.adapters.HTTPAdapter):
    """Sends requests over one TLS context, to the service and to a proxy alike.

    requests' own looks for a bundle of certificates before each request, and reads
    it for each connection; one that is gone would end all of them.
    """

    def __init__(self, context: ssl.SSLContext, **settings: Any) -> None:
        self._context = context
        super().__init__(**settings)

    def init_poolmanager(
        self,
        connections: int,
        maxsize: int,
        block: bool = False,  # noqa: FBT001, FBT002 - requests' signature
        **settings: Any,
    ) -> None:
        """Give the context to the connections to the service."""
        super().init_poolmanager(
            connections, maxsize, block, ssl_context=self._context, **settings
        )

    def proxy_manager_for(
        self,
        proxy: str,
        **settings: Any,
    ) -> Any:
        """Give the context to the connections through a proxy, and to the proxy."""
        if urlsplit(proxy).scheme in ("http", "https"):
            settings["proxy_ssl_context"] = self._context
        return super().proxy_manager_for(proxy, ssl_context=self._context, **settings)

    def cert_verify(self, *_: object) -> None:
        """Look for no bundle: the context has all that is trusted."""

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Return user and password as they are: requests takes only Latin-1."""
        parts = urlsplit(proxy)
        if parts.username is None:
            return {}
        names = parts.username, parts.password or ""
        return {"Proxy-Authorization": basic(*map(unquote_to_bytes, names))}
