"""Proxies and addresses that cannot be, and what is shown of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from allenfs import config
from allenfs.errors import NetworkSettingError, UrlError
from allenfs.service import certificates, network
from allenfs.text import without_user


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        ("ftp://joe:s3cret@h.example:3128", "the scheme must be one of http, https, "),
        (" http://joe:s3cret@h.example:3128", "a space or a control character"),
        ("http://joe:s3 cret@h.example", "a space or a control character"),
        ("http://joe:s3cret@h.example\n", "a space or a control character"),
        ("http://joe:s3cret@", "expected HOST"),
        ("http://joe:s3cret@h.example:0", "port 1 to 65535"),
        ("http://joe:s3cret@h.example:port", "port 1 to 65535"),
        ("joe:s3cret@h.example:99999", "port 1 to 65535"),
        ("http://joe:s3cret/@h.example:3128", "%2F for a slash"),
        ("http://joe:1?s3cret@h.example:3128", "%2F for a slash"),
        ("http://joe:s3cret\u2100@h.example", "%2F for a slash"),
        ("http://joe:s3cret@[::1]3128", "expected HOST"),
        ("http://joe:s3cret@[1:2]:3128", "expected HOST"),
    ],
)
def test_what_cannot_be_a_proxy_is_refused_without_its_password(proxy, why):
    with pytest.raises(NetworkSettingError) as raised:
        network.checked_proxy(proxy, "HTTPS_PROXY")
    said = str(raised.value)
    assert said.startswith("HTTPS_PROXY=")
    assert why in said
    assert "s3" not in said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("proxy:3128", "http://proxy:3128", "http://proxy:3128"),
        ("joe:p@proxy", "http://joe:p@proxy", "http://proxy"),
        ("https://joe:p%40@proxy:1/", "https://joe:p%40@proxy:1/", "https://proxy:1"),
        ("http://[::1]:3128", "http://[::1]:3128", "http://[::1]:3128"),
        ("SOCKS5H://u@proxy", "SOCKS5H://u@proxy", "socks5h://proxy"),
    ],
)
def test_a_proxy_is_read_and_shown_without_its_password(text, url, shown):
    assert network.checked_proxy(text, "") == url
    assert network.shown_proxy(url) == shown


@given(
    st.text(st.sampled_from("htpsock5:/@.%?#[] a1é"), max_size=24)
    | st.text(max_size=12).map("http://{}".format)
)
def test_accepted_proxies_are_accepted_by_requests(text):
    try:
        url = network.checked_proxy(text, "")
    except NetworkSettingError:
        return
    adapter = requests.adapters.HTTPAdapter()
    request = requests.Request("GET", "https://host/").prepare()
    adapter.get_connection_with_tls_context(request, True, {"all": url})


@pytest.mark.parametrize(
    "address",
    [
        "https://joe:s3cret@h.example",
        "https://joe:s3 cret@h.example",
        "https://joe:s3cret@h.example:port",
        "https://joe:s3/cret@h.example",
        "https://joe:s3@cret@h.example",
        "joe:s3cret@h.example",
        "https://joe:s3cret@[h.example",
    ],
)
def test_an_address_with_a_password_is_refused_without_it(address):
    with pytest.raises(UrlError) as raised:
        config.parse_api_url(address)
    for part in ("joe", "s3", "cret"):
        assert part not in str(raised.value)
    assert "h.example" in str(raised.value)
    assert without_user(address) == without_user(without_user(address))


def test_files_that_variables_name_are_of_the_current_directory(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    here = os.getcwd()
    given = {
        "SSL_CERT_FILE": "campus.pem",
        "SSL_CERT_DIR": "certs:/etc/ssl/certs:",
        "NETRC": "~/passwords",
        "CURL_CA_BUNDLE": "",
        "HTTPS_PROXY": "proxy:1",
    }
    assert network.absolute_variables(given) == {
        "SSL_CERT_FILE": f"{here}/campus.pem",
        "SSL_CERT_DIR": f"{here}/certs:/etc/ssl/certs:",
        "NETRC": "/home/me/passwords",
    }


def test_missing_directories_of_a_list_are_skipped_but_a_single_one_is_not(tmp_path):
    found = certificates.named(None, {"SSL_CERT_DIR": f"/missing:{tmp_path}"})
    assert found == {tmp_path: "SSL_CERT_DIR"}
    found = certificates.named(None, {"SSL_CERT_DIR": "/missing"})
    assert found == {Path("/missing"): "SSL_CERT_DIR"}
