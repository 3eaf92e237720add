"""Queries over HTTP, for the tests of the sample's database."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

from allenfs.sample.server import SampleService

QUERY = "/api/v2/data/query.json?criteria="


def connected(service: SampleService) -> http.client.HTTPConnection:
    parts = urlsplit(service.url)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)


def ask(service: SampleService, target: str, headers=None, method="GET"):
    with closing(connected(service)) as connection:
        connection.request(method, target, headers=headers or {})
        response = connection.getresponse()
        return response, response.read()


def envelope(service: SampleService, target: str):
    response, body = ask(service, target)
    assert response.status == 200
    answer = json.loads(body)
    if answer["success"]:
        assert answer["num_rows"] == len(answer["msg"])
    return answer


def query(service: SampleService, criteria: str, more: str = ""):
    return envelope(service, f"{QUERY}{quote(criteria)}{more}")


def ids(answer) -> list[int]:
    assert answer["success"] is True
    return [row["id"] for row in answer["msg"]]


def refusal(service: SampleService, criteria: str) -> str:
    answer = query(service, criteria)
    assert answer["success"] is False
    assert (answer["num_rows"], answer["total_rows"]) == (0, 0)
    return answer["msg"]


def xml(service: SampleService, target: str) -> ET.Element:
    response, body = ask(service, target)
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/xml;charset=utf-8"
    root = ET.fromstring(body)
    assert root.tag == "Response"
    return root


def xml_ids(root: ET.Element) -> list[int]:
    """Ids of the rows on top: what is nested in them has ids as well."""
    (plural,) = root
    return [int(row.findtext("id")) for row in plural]
