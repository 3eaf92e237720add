"""Settings from flags or options, and from the environment.

The commands and fsspec read the same values in the same way. None means not given.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from allenfs import config
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.errors import ConfigError
from allenfs.service import network
from allenfs.store.directory import own_directory, require_own


def service_address(
    api_url: str | None,
    *,
    sample: bool = False,
    proxy: str | None = None,
    ca_bundle: str | None = None,
) -> ServiceSettings:
    """Return how to reach the service, with the default limits.

    Raises UrlError, NetworkSettingError or ConfigError.
    """
    if sample:
        api_url = config.DEFAULT_API_URL
    elif api_url is None:
        api_url = os.environ.get(config.API_URL_VARIABLE) or config.DEFAULT_API_URL
    source = "--proxy"
    if proxy is None:
        source = network.PROXY_VARIABLE
        proxy = os.environ.get(source) or None
    return ServiceSettings(
        config.parse_api_url(api_url),
        proxy=network.checked_proxy(proxy, source) if proxy else proxy,
        ca_bundle=config.absolute(os.path.expanduser(ca_bundle)) if ca_bundle else None,
    )


def service_name(
    chosen: str | None, service: ServiceSettings, *, sample: bool = False
) -> str:
    """Return the service's name in the store; a mirror may use that of its original.

    Raises ConfigError.
    """
    if sample and chosen:
        raise ConfigError("a service name is for a mirror, not for the sample service")
    if not sample:
        chosen = chosen or os.environ.get(config.SERVICE_NAME_VARIABLE)
    if chosen:
        return config.parse_service_name(chosen)
    return config.service_name(service.api_url)


def chosen_store(
    cache_dir: str | None, capacity_bytes: int | None, service_name: str
) -> StoreSettings:
    """Return which store to use; the disk is not accessed. Raises ConfigError."""
    return StoreSettings(
        config.cache_dir(cache_dir, os.environ),
        capacity_bytes
        or config.parse_size(
            os.environ.get(config.CACHE_SIZE_VARIABLE) or config.DEFAULT_CACHE_SIZE
        ),
        service_name,
    )


def checked_store(chosen: StoreSettings) -> StoreSettings:
    """Resolve and check the directory; may block on a file system that hangs.

    Raises UnsafeStoreError.
    """
    # resolved once: a link that is replaced later has no effect
    directory = own_directory(Path(os.path.realpath(chosen.directory)))
    require_own(directory)
    return replace(chosen, directory=directory)
