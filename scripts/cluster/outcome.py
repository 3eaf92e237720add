"""What the demo counted, and whether it is what a proxy should achieve."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Counts of one run, taken before the copies were checked.

    Attributes
    ----------
    size_bytes : int
        Of the images of one mount.
    proxy_requests, renderings : int or None
        Lines of the access logs: all requests at the proxy, and the second request for
        an image at the service, which makes it draw; None without a proxy.
    image_requests, queries, peak : int
        At the service: first requests for an image, pages of records, and the most
        requests for images at a time.
    different_queries : int
        Queries without repetitions.
    """

    proxy: str
    mounts: int
    images: int
    size_bytes: int
    copied_s: float
    proxy_requests: int | None
    image_requests: int
    renderings: int | None
    queries: int
    different_queries: int
    peak: int
    was_restarted: bool

    @property
    def is_right(self) -> bool:
        """Whether the service drew each image, and sent each page of records, once.

        For each mount if there is no proxy. What was under way when the proxy was
        restarted is requested again. Squid never stores redirects: only nginx has to
        request them once.
        """
        if self.renderings is None:
            return self.image_requests == self.images * self.mounts
        again = self.peak if self.was_restarted else 0
        passed = self.renderings
        if self.proxy == "nginx":
            passed = max(passed, self.image_requests)
        return (
            passed <= self.images + again
            and self.queries <= self.different_queries + again
        )

    def as_text(self) -> str:
        """Return lines for people."""
        megabytes = f"{self.size_bytes / 1e6:.1f} MB"
        lines = {
            "proxy": self.proxy + (", restarted" if self.was_restarted else ""),
            "mounts": self.mounts,
            "images": f"{self.images}, {megabytes}, every byte right",
            "copied in": f"{self.copied_s:.1f} s",
            "requests at the proxy": self.proxy_requests,
            "image requests at the service": self.image_requests,
            "images drawn by the service": self.renderings,
            "queries at the service": self.queries,
            "image requests at a time": self.peak,
        }
        shown = {name: value for name, value in lines.items() if value is not None}
        return "".join(f"{name:30} {value}\n" for name, value in shown.items())

    def as_json(self) -> str:
        """Return one line of JSON with all fields."""
        return f"{json.dumps(dataclasses.asdict(self))}\n"
