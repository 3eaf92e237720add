"""The sample service's exchange: as recorded, and what it counts."""

from __future__ import annotations

import gzip
import http.client
import io
import socket
import threading
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from no_threads import no_threads
from PIL import Image

from allenfs.errors import ProcessLimitError
from allenfs.sample.records import RECORDS
from allenfs.sample.server import Fault, SampleService

THUMB = "/api/v2/image_download/69750516?downsample=6"
DOCUMENTED = (
    "/api/v2/image_download/69750516?downsample=4",
    "/api/v2/image_download/69750516?downsample=4&view=expression",
    "/api/v2/image_download/69750516?left=6174&top=2282&width=1000&height=1000",
    "/api/v2/image_download/71592261?downsample=3&quality=50",
    "/api/v2/projection_image_download/126862583?downsample=4&view=projection",
    "/api/v2/image_download/102146167?range=0,923,0,987,0,4095&downsample=4",
    "/api/v2/image_download/311175878?downsample=4&view=tumor_feature_annotation",
    "/api/v2/image_download/311174547?downsample=4&view=tumor_feature_boundary",
    "/api/v2/image_download/71592412?downsample=6",
    "/api/v2/image_download/70679088?downsample=6",
    "/api/v2/atlas_image_download/100883869?downsample=4&annotation=true",
    "/api/v2/atlas_image_download/100883869?downsample=4&annotation=true&atlas=2",
    "/api/v2/atlas_image_download/100883869"
    "?downsample=4&annotation=true&atlas=181276165",
    "/api/v2/atlas_image_download/100883771?downsample=6",
)


class Client:
    """One kept connection."""

    def __init__(self, service: SampleService) -> None:
        parts = urlsplit(service.url)
        assert parts.hostname == "127.0.0.1"
        self.connection = http.client.HTTPConnection(
            parts.hostname, parts.port, timeout=10
        )

    def ask(self, target, headers=None, method="GET"):
        self.connection.request(method, target, headers=headers or {})
        response = self.connection.getresponse()
        return response, response.read()

    def follow(self, target, headers=None):
        redirect, _ = self.ask(target)
        assert redirect.status == 302
        return self.ask(second_leg(redirect), headers)

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def client(service):
    with closing(Client(service)) as client:
        yield client


def second_leg(redirect: http.client.HTTPResponse) -> str:
    parts = urlsplit(redirect.headers["Location"])
    return f"{parts.path}?{parts.query}"


def test_answer_is_a_redirect_then_chunked_without_length(service, client):
    redirect, _ = client.ask(
        "/api/v2/atlas_image_download/100883869?downsample=4&annotation=true"
    )
    location = redirect.headers["Location"]
    assert redirect.status == 302
    assert location.startswith(f"{service.url}/cgi-bin/imageservice?mime=1&path=/ext")
    assert ".aff&left=3008&top=30592&width=969&height=489&downsample=4" in location
    answer, body = client.ask(second_leg(redirect))
    assert answer.status == 200
    assert answer.version == 11
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Content-Disposition"] == "attachment; filename=imagefile.jpg"
    assert answer.headers["Last-Modified"].endswith("GMT")
    assert answer.headers["Expires"].endswith("GMT")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    for absent in (
        "Content-Length", "Content-Encoding", "ETag", "Accept-Ranges", "Cache-Control",
    ):  # fmt: skip
        assert absent not in answer.headers
    assert Image.open(io.BytesIO(body)).size == (969, 489)


@pytest.mark.parametrize("target", DOCUMENTED)
def test_every_documented_request_gets_a_jpeg(client, target):
    answer, body = client.follow(target)
    assert answer.status == 200
    assert Image.open(io.BytesIO(body)).format == "JPEG"


def test_body_is_gzipped_only_for_clients_that_accept_it(client):
    _, plain = client.follow(THUMB, {"Accept-Encoding": "identity"})
    for offer in ("gzip", "deflate, gzip;q=0.5", "*"):
        answer, body = client.follow(THUMB, {"Accept-Encoding": offer})
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert gzip.decompress(body) == plain
    answer, body = client.follow(THUMB, {"Accept-Encoding": "gzip;q=0"})
    assert answer.headers["Content-Encoding"] is None
    assert body == plain


def test_last_modified_is_fixed_for_an_image(client):
    first, _ = client.follow(THUMB)
    again, _ = client.follow(THUMB)
    other, _ = client.follow(THUMB.replace("69750516", "69750520"))
    assert first.headers["Last-Modified"] == again.headers["Last-Modified"]
    assert first.headers["Last-Modified"] != other.headers["Last-Modified"]


def test_head_is_answered_like_get_without_a_body(client):
    redirect, nothing = client.ask(THUMB, method="HEAD")
    assert (redirect.status, nothing) == (302, b"")
    answer, nothing = client.ask(second_leg(redirect), method="HEAD")
    assert (answer.status, nothing) == (200, b"")
    assert answer.headers["Content-Type"] == "image/jpeg"


def test_section_image_download_gives_the_same_bytes_as_image_download(client):
    _, one = client.follow(THUMB)
    _, other = client.follow(THUMB.replace("/image_", "/section_image_"))
    assert one == other


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("expression=true", "view=expression"),
        ("projection=true", "view=projection"),
        ("tumor_feature_annotation=true", "view=tumor_feature_annotation"),
        ("expression=false", "downsample=6"),
        ("downsample=6&initImage=expression", "downsample=6"),
    ],
)
def test_older_spellings_mean_the_same(client, older, newer):
    base = "/api/v2/image_download/69750516?width=200&height=90&"
    _, one = client.follow(base + older.replace("expression=false", "downsample=6"))
    _, other = client.follow(base + newer)
    assert one == other


def test_image_download_of_a_plate_is_its_background(client):
    answer, body = client.follow("/api/v2/image_download/100883869?downsample=6")
    assert answer.status == 200
    assert Image.open(io.BytesIO(body)).size == (242, 122)


@pytest.mark.parametrize(
    "target",
    [
        "/api/v2/image_download/1",
        "/api/v2/image_download/-1",
        "/api/v2/image_download/abc",
        "/api/v2/image_download/",
        "/api/v2/image_download/" + "9" * 40,
        "/api/v2/atlas_image_download/69750516",
        "/api/v2/projection_image_download/100883869",
        "/api/v2/other_image_download/69750516",
        "/cgi-bin/imageservice?path=/etc/passwd",
        "/cgi-bin/imageservice",
        "/",
    ],
)
def test_unknown_image_is_a_404_page(client, target):
    answer, body = client.ask(target)
    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    assert b"404 Not Found" in body


@pytest.mark.parametrize(
    "query",
    [
        "downsample=x",
        "downsample=-1",
        "downsample=11",
        "downsample=",
        "downsample=1&downsample=2",
        "quality=101",
        "view=nothing",
        "view=expression&projection=true",
        "expression=yes",
        "width=0",
        "left=1.5",
        "left=14065",
        "top=99999",
        "range=1,2,3",
        "range=0,1,0,1,0,1.5",
        "rgb=1,2",
        "contrast=1",
        "colormap=red",
        "annotation=true",
    ],
)
def test_malformed_parameter_is_a_400_page(client, query):
    answer, body = client.ask(f"/api/v2/image_download/69750516?{query}")
    assert answer.status == 400
    assert b"400 Bad Request" in body


def test_error_page_does_not_repeat_markup(client):
    _, body = client.ask("/api/v2/image_download/69750516?view=%3Cscript%3E")
    assert b"<script>" not in body


def test_one_connection_serves_both_legs_and_more(service, client):
    client.follow(THUMB)
    client.ask("/api/v2/image_download/1")
    client.follow(THUMB)
    assert service.connections == 1


def test_first_legs_are_counted_with_target_and_headers(service, client):
    client.follow(THUMB, {"Accept-Encoding": "identity"})
    client.ask("/api/v2/image_download/1", {"User-Agent": "who"})
    client.ask("/nowhere")
    assert service.image_requests == 2
    assert service.requested == [THUMB, "/api/v2/image_download/1"]
    assert service.headers[1]["User-Agent"] == "who"
    service.reset_counters()
    assert service.image_requests == service.connections == 0
    assert service.requested == service.headers == []


def test_fifty_connections_are_served_at_once(service):
    everybody = threading.Barrier(50)
    sizes = []

    def download():
        with closing(Client(service)) as client:
            client.connection.connect()
            everybody.wait(10)
            _, body = client.follow(THUMB)
            sizes.append(len(body))

    threads = [threading.Thread(target=download) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(sizes) == 50
    assert len(set(sizes)) == 1
    assert service.connections == 50
    assert service.image_requests == 50
    assert 1 <= service.peak_requests <= 50


def test_peak_counts_downloads_under_way_at_once(service):
    service.pause()
    clients = [Client(service) for _ in range(3)]
    try:
        targets = []
        for client in clients:
            redirect, _ = client.ask(THUMB)
            targets.append(second_leg(redirect))
        assert service.peak_requests == 1
        arrived = [
            threading.Thread(target=client.ask, args=(target,))
            for client, target in zip(clients, targets, strict=True)
        ]
        for thread in arrived:
            thread.start()
        tick = threading.Event()
        for _ in range(1000):
            if service.peak_requests == 3:
                break
            tick.wait(0.01)
        assert all(thread.is_alive() for thread in arrived)
        service.resume()
        for thread in arrived:
            thread.join(10)
        assert service.peak_requests == 3
    finally:
        service.resume()
        for client in clients:
            client.close()


def test_one_download_after_the_other_is_never_counted_as_two(service):
    clients = [Client(service) for _ in range(3)]
    try:
        for _ in range(30):
            for client in clients:
                client.follow(THUMB)
                client.ask("/api/v2/image_download/1")
                client.ask(THUMB, method="HEAD")
        assert service.peak_requests == 1
    finally:
        for client in clients:
            client.close()


def test_http_1_0_client_gets_no_chunks(service, client):
    redirect, _ = client.ask(THUMB)
    _, expected = client.ask(second_leg(redirect))
    parts = urlsplit(service.url)
    with socket.create_connection((parts.hostname, parts.port), 10) as plain:
        plain.sendall(f"GET {second_leg(redirect)} HTTP/1.0\r\n\r\n".encode())
        data = b"".join(iter(lambda: plain.recv(65536), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == expected


def test_constructor_does_nothing_and_close_is_idempotent():
    before = set(threading.enumerate())
    service = SampleService()
    assert set(threading.enumerate()) <= before
    assert service.url == ""
    service.close()
    service.start()
    service.close()
    service.close()


def test_close_ends_every_thread_even_of_idle_and_held_connections():
    before = set(threading.enumerate())
    service = SampleService()
    service.start()
    idle, held, silent = (Client(service) for _ in range(3))
    try:
        idle.ask(THUMB)
        redirect, _ = held.ask(THUMB)
        service.pause()
        held.connection.request("GET", second_leg(redirect))
        service.fail(Fault.SILENT)
        silent.connection.request("GET", THUMB)
        service.close()
        left = [
            thread
            for thread in set(threading.enumerate()) - before
            if thread.is_alive() and not thread.daemon
        ]
        assert left == []
        with pytest.raises((http.client.HTTPException, OSError)):
            silent.connection.getresponse()
    finally:
        for client in (idle, held, silent):
            client.close()


def test_start_says_when_the_port_is_taken():
    with SampleService() as first:
        port = urlsplit(first.url).port
        second = SampleService(port=port)
        with pytest.raises(OSError, match="in use"):
            second.start()
        second.close()


def test_same_port_can_be_used_again_at_once():
    with SampleService() as first, closing(Client(first)) as client:
        port = urlsplit(first.url).port
        client.follow(THUMB)
    with SampleService(port=port) as second, closing(Client(second)) as client:
        assert client.follow(THUMB)[0].status == 200


def test_client_that_goes_away_leaves_stderr_silent(capfd, caplog):
    with SampleService() as service:
        parts = urlsplit(service.url)
        for _ in range(5):
            with closing(Client(service)) as client:
                redirect, _ = client.ask(THUMB)
                target = second_leg(redirect)
            with socket.create_connection((parts.hostname, parts.port), 10) as rude:
                rude.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
                )
                rude.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            with socket.create_connection((parts.hostname, parts.port), 10) as rude:
                rude.sendall(b"GET /half")
            with socket.create_connection((parts.hostname, parts.port), 10) as rude:
                rude.sendall(b"\x16\x03\x01 no http\r\n\r\n")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert caplog.records == []


def test_every_record_is_downloadable(client):
    for image_id in RECORDS:
        answer, _ = client.ask(f"/api/v2/image_download/{image_id}")
        assert answer.status == 302


def test_a_connection_without_a_thread_is_closed_and_the_next_one_is_answered(
    service, caplog
):
    for _ in range(3):
        with closing(Client(service)) as client, no_threads():
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                client.ask(THUMB)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with closing(Client(service)) as client:
        assert client.ask(THUMB)[0].status == 302


def test_a_start_without_a_thread_is_an_error_and_leaves_the_port():
    service = SampleService()
    with no_threads(), pytest.raises(ProcessLimitError):
        service.start()
    service.close()
    with service:
        assert service.url
