"""Unknown 17: the queries that regions rest on, as allenfs itself sends them.

Their includes and orders are part of them: a service may refuse any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from answers import Answer, Probe, counts

from allenfs.catalog import lists, queries
from allenfs.catalog.queries import WithRecords
from allenfs.errors import AllenFSError
from allenfs.model.records import row_count
from allenfs.service.rma import Rows, read_page

if TYPE_CHECKING:
    from asking import Asker

    from allenfs.catalog.queries import Question
    from allenfs.service.rma import NumRows, Query

_MAX_PAGES = 4
_GENE, _DATA_SET = "Prox1", 69289763


class _Own(NamedTuple):
    """A question of allenfs, and how many requests it should cost at most."""

    title: str
    question: Question[Any]
    requests: int


_ALL = (
    # The second page is empty. Of structures, there is none if total_rows is right; of
    # a gene's data sets, the third request counts the images.
    _Own("the structures", lists.structures(), 2),
    _Own(f"the data sets of {_GENE}", lists.gene_sections("Mouse", _GENE), 3),
    # the second request is for images that a page has truncated
    _Own(f"data set {_DATA_SET}", queries.data_set(_DATA_SET), 2),
    _Own(f"expression in {_DATA_SET}", lists.unionizes(_DATA_SET), 1),
)


def _ask(asker: Asker) -> list[Answer]:
    return [_asked(asker, own) for own in _ALL]


def _asked(asker: Asker, own: _Own) -> Answer:
    title = f"allenfs' own query of {own.title}"
    before = len(asker.exchanges)

    def page(query: Query, start_row: int, num_rows: NumRows) -> Rows:
        number = len(asker.exchanges) - before + 1
        if number > _MAX_PAGES:
            return Rows()
        target = query.url("", start_row=start_row, num_rows=num_rows)
        return read_page(asker.get(f"{title}, {number}", target).body)

    read = 0
    try:
        answer = own.question.ask(page)
        if isinstance(answer, WithRecords):
            read = len(answer.records)
        elif answer is not None:
            read = row_count(own.question.read(answer))
        found = f"{read} read"
    except AllenFSError as error:
        found = str(error)
    exchanges = asker.exchanges[before:]
    return Answer(
        "17",
        title,
        f"{counts(exchanges[0])}; requests: {len(exchanges)}; {found}",
        f"not refused; requests: at most {own.requests}",
        read > 0 and len(exchanges) <= own.requests if exchanges[0].hops else None,
    )


PROBES = (Probe("17", "Queries of allenfs itself", _ask),)
