"""Where the password of a service is sent, on real sockets."""

from __future__ import annotations

import pytest
from networks import LogIn

from allenfs.config import ServiceSettings
from allenfs.service.transport import Transport


@pytest.mark.parametrize(
    ("service", "asked", "is_sent"),
    [
        ("http://LOCALHOST", "http://localhost", True),
        # where a redirect might lead
        ("http://localhost", "http://127.0.0.1", False),
        ("https://localhost", "http://localhost", False),
        # of no entry but `default`
        ("http://127.0.0.1", "http://127.0.0.1", False),
    ],
)
def test_password_is_sent_only_to_its_host_and_never_downgraded(
    tmp_path, sample, service, asked, is_sent
):
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text(
        "# 127.0.0.1\nmachine Localhost login joe password s3cret\n"
        "default login anyone password anything\n"
    )
    with LogIn(int(sample.url.rpartition(":")[2])) as listener:  # accepts every client
        transport = Transport(ServiceSettings(service))
        with transport.get(f"{asked}:{listener.port}/", 30) as reply:
            assert reply.status == 404
        assert ("\r\nAuthorization: Basic " in listener.heads[0]) is is_sent
