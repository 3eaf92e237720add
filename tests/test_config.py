"""Settings: what is read, what is refused, and where things are by default."""

from __future__ import annotations

import contextlib
import dataclasses
import pwd
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allenfs import config
from allenfs.errors import AllenFSError, ConfigError, UrlError
from allenfs.text import file_name

words = str.split
any_text = st.text(alphabet=st.characters(), max_size=30)


SIZES = {"1": 1, "4096": 4096, "4096b": 4096, "1k": 1024, "1K": 1024, "1KiB": 1024}
SIZES |= {"1kB": 1000, "0.5kB": 500, "500MB": 500_000_000, "1.5GiB": 3 * 2**29}
SIZES |= dict.fromkeys(["10GiB", "10G", "10 GiB", " 10gib "], 10 * 2**30)
SIZES |= {"2T": 2 * 2**40}


@pytest.mark.parametrize(("text", "size_bytes"), SIZES.items())
def test_a_size_is_read_to_the_byte(text, size_bytes):
    assert config.parse_size(text) == size_bytes


NO_SIZES = words("0 0GiB -1 +1 1e9 GiB 1PiB 1ib \u0661 1,5G nan inf 0.1")
NO_SIZES += ["", " ", "1 2", "10GiB extra", "9" * 30, "9" * 400, "9" * 400 + "TiB"]


@pytest.mark.parametrize("text", NO_SIZES, ids=lambda text: repr(text[:12]))
def test_an_invalid_size_is_a_config_error(text):
    with pytest.raises(ConfigError):
        config.parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0.25", 0.25), ("600", 600), ("1e1", 10), ("10s", 10), ("2M", 120)],
)
def test_seconds_are_read(text, seconds):
    assert config.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "nan", "inf", "1e99", "ten", "10x", "s"]
)
def test_an_invalid_time_is_a_config_error(text):
    with pytest.raises(ConfigError):
        config.parse_duration(text)


@settings(max_examples=300, deadline=None)
@given(
    text=any_text | st.from_regex(r"[0-9]{1,400}(\.[0-9]+)?[kmgtKMGT]?", fullmatch=True)
)
def test_any_text_is_a_value_or_one_of_our_errors(text):
    for parse in (config.parse_size, config.parse_duration):
        with contextlib.suppress(ConfigError):
            assert parse(text) > 0
    try:
        address = config.parse_api_url(text)
    except UrlError:
        return
    assert config.service_name(address)


def test_fuse_options_are_read_in_any_grouping():
    expected = {"allow_other": True, "uid": "1000", "fsname": "a=b"}
    assert config.parse_fuse_options(["allow_other,uid=1000", "fsname=a=b"]) == expected
    assert (
        config.parse_fuse_options(["uid=1000,,fsname=a=b", "allow_other"]) == expected
    )
    assert config.parse_fuse_options([]) == {}


OWN_OPTIONS = """
rw direct_io kernel_cache auto_cache attr_timeout=1 entry_timeout=1 negative_timeout=1
ac_attr_timeout=1 subtype=x nothreads suid dev
foreground encoding=utf8 raw_fi operations=x
"""


@pytest.mark.parametrize("option", OWN_OPTIONS.split())
def test_a_fuse_option_that_breaks_a_promise_is_refused(option):
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        config.parse_fuse_options([f"allow_other,{option}"])


def test_a_refused_fuse_option_is_named_in_one_line():
    with pytest.raises(ConfigError) as raised:
        config.parse_fuse_options(["ro,\x1b[31m\nallow_other=1"])
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://api.brain-map.org", "https://api.brain-map.org"),
        ("https://api.brain-map.org/", "https://api.brain-map.org"),
        ("http://127.0.0.1:8080//", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://example.org/mirror/", "https://example.org/mirror"),
    ],
)
def test_a_service_address_ends_without_a_slash(text, address):
    assert config.parse_api_url(text) == address


MALFORMED = """
api.brain-map.org //api.brain-map.org ftp://h file:///x http:// http:///path
http://h:port http://h:0 http://h:65536 http://[ http://h?a=b http://h#f http://user@h
http://user:word@h http://:word@h http://:8080 https:api.brain-map.org
http://h? http://h# http://h/p?
"""


# An argument that is not UTF-8 has surrogates, and the store could not name it.
@pytest.mark.parametrize(
    "text",
    [
        *MALFORMED.split(),
        *("", "http://h h", "http://h\n", "\nhttp://h", "http://h/\tx"),
        *("http://h/\udcff", "http://h/\x9b", "http://h/\u202e"),
    ],
)
def test_a_malformed_service_address_is_refused(text):
    with pytest.raises(UrlError) as raised:
        config.parse_api_url(text)
    assert str(raised.value).isprintable()


def test_one_service_has_one_name_in_the_store():
    names = {
        config.service_name(config.parse_api_url(address))
        for address in (
            "https://api.brain-map.org",
            "http://api.brain-map.org/",
            "https://API.Brain-Map.org:443",
            "http://api.brain-map.org:80",
        )
    }
    assert names == {"api.brain-map.org"}


@pytest.mark.parametrize(
    "text",
    ["mirror%3A8006", "mirror:8006", "http://mirror:8006/", "https://MIRROR:8006"],
)
def test_a_service_is_named_as_in_the_store_or_by_its_address(text):
    assert config.parse_service_name(text) == "mirror%3A8006"


def test_a_rejected_service_name_shows_no_password():
    with pytest.raises(ConfigError, match=r"not the name.*@host") as raised:
        config.parse_service_name("ftp://user:secret@host")
    assert "secret" not in str(raised.value)


def test_different_services_have_different_names():
    addresses = words(
        """
        http://h http://h:8080 http://h:8081 http://h/a http://h/A http://h/a/b
        http://h/a%2Fb http://[::1] http://[::1]:8080 http://h.a https://h:80
        http://h:443 http://h8080 http://[fd99::1]:8006 http://[fd99::1:8006] http://h.
        http://h:8080/A http://h/%2fa http://h/%41
        """
    )
    addresses += [f"http://h/{'p' * length}" for length in (250, 300)]
    names = [config.service_name(config.parse_api_url(text)) for text in addresses]
    assert len(set(names)) == len(names)


_HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map("[{}]".format),
)
_PATHS = st.text(st.characters(codec="utf-8", exclude_characters="/?#@"), max_size=300)


@settings(max_examples=300, deadline=None)
@given(
    host=_HOSTS,
    port=st.one_of(st.none(), st.integers(1, 65535)),
    names=st.lists(_PATHS, max_size=3),
)
def test_a_service_has_a_name_on_every_file_system(host, port, names):
    address = "/".join([f"http://{host}{f':{port}' if port else ''}", *names])
    try:
        api_url = config.parse_api_url(address)
    except UrlError:
        return
    name = config.service_name(api_url)
    assert not set(name) & {*'"*/:<>?\\|', *map(chr, range(32))}
    assert name == name.rstrip(". ")
    assert name.isascii()
    assert 0 < len(name) <= 255
    if api_url == f"http://{host}" and ":" not in host and not host.endswith("."):
        assert name == host


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.text("aA.%+[2fF/:", max_size=5), min_size=2, unique=True))
def test_no_two_names_in_the_store_differ_only_in_case(texts):
    assert len({file_name(text).casefold() for text in texts}) == len(texts)


@pytest.mark.parametrize(
    "address",
    [
        "http://.",
        "http://..",
        "http://../..",
        "http://h/../..",
        "http://h/a/b",
        "http://h/%00",
    ],
)
def test_a_services_name_is_one_directory_below_the_store(address):
    try:
        name = config.service_name(config.parse_api_url(address))
    except UrlError:
        return
    assert name not in ("", ".", "..")
    assert not set(name) & {"/", "\0", " ", "\n"}


def test_the_store_is_set_by_flag_environment_or_xdg(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    environ = {
        "HOME": "/home/me",
        "XDG_CACHE_HOME": "/xdg",
        "ALLENFS_CACHE_DIR": "/env",
    }
    assert config.cache_dir("/flag", environ) == Path("/flag")
    assert config.cache_dir("here", environ) == tmp_path / "here"
    assert config.cache_dir("~/images", environ) == Path("/home/me/images")
    assert config.cache_dir(None, environ) == Path("/env")
    del environ["ALLENFS_CACHE_DIR"]
    assert config.cache_dir(None, environ) == Path("/xdg/allenfs")
    environ["XDG_CACHE_HOME"] = "relative"  # to be ignored, says XDG
    assert config.cache_dir(None, environ) == Path("/home/me/.cache/allenfs")
    del environ["XDG_CACHE_HOME"]
    assert config.cache_dir(None, environ) == Path("/home/me/.cache/allenfs")
    assert config.cache_dir(None, {}).name == "allenfs"


def test_the_log_is_in_the_users_state_folder():
    log = config.default_log_file({"HOME": "/home/me"})
    assert log == Path("/home/me/.local/state/allenfs/allenfs.log")
    log = config.default_log_file({"HOME": "/home/me", "XDG_STATE_HOME": "/state"})
    assert log == Path("/state/allenfs/allenfs.log")


def test_the_defaults_are_the_documented_ones():
    service = config.ServiceSettings(config.DEFAULT_API_URL)
    documented = {
        "api_url": "https://api.brain-map.org",
        "connections": 4,
        "max_image_bytes": 2**30,
        "connect_timeout_s": 10,
        "stall_timeout_s": 30,
        "deadline_s": 600,
        "failure_memory_s": 10,
        "not_found_memory_s": 60,
    }
    assert dataclasses.asdict(service).items() >= documented.items()
    assert config.parse_size(config.DEFAULT_CACHE_SIZE) == 10 * 2**30
    assert config.parse_size(config.DEFAULT_MAX_IMAGE_SIZE) == service.max_image_bytes


def test_settings_cannot_be_changed_under_a_running_mount():
    service = config.ServiceSettings(config.DEFAULT_API_URL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        service.connections = 5


def test_an_invalid_setting_ends_a_command_with_2():
    assert ConfigError.exit_code == 2
    assert issubclass(ConfigError, AllenFSError)


def test_without_a_home_the_error_names_the_flag_and_the_variables(monkeypatch):
    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME")
    for ask, names in (
        (partial(config.cache_dir, None), "--cache-dir $ALLENFS_CACHE_DIR $XDG_CACHE_"),
        (config.default_log_file, "--log-file $XDG_STATE_HOME"),
        (config.data_home, "--system $XDG_DATA_HOME"),
    ):
        for environ in ({}, {"HOME": ""}):
            with pytest.raises(ConfigError) as raised:
                ask(environ)
            said = str(raised.value)
            assert all(
                name in said for name in ["cannot find a home folder", *names.split()]
            )
    for folder in ("~", "~/images", "~nobody-of-all/images"):
        with pytest.raises(ConfigError, match="unknown home folder"):
            config.cache_dir(folder, {})
    assert config.cache_dir(None, {"XDG_CACHE_HOME": "/xdg"}) == Path("/xdg/allenfs")
    assert config.cache_dir("./~", {}).name == "~"
