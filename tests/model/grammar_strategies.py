"""Requests, and every spelling of them, written without the code under test."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from allenfs.model.drawings import DrawingRequest
from allenfs.model.images import ImageRequest, ImageService, Roi

VIEWS = (
    "expression",
    "projection",
    "tumor_feature_annotation",
    "tumor_feature_boundary",
)
ENDPOINTS = {
    ImageService.SECTION: "image_download",
    ImageService.PROJECTION: "projection_image_download",
    ImageService.ATLAS: "atlas_image_download",
}

_PIXELS = st.integers(1, 999_999_999)
_OFFSETS = st.integers(0, 999_999_999)
_IDS = st.integers(1, 10**18 - 1)


def _decimal(whole: int, fraction: int) -> str:
    return f"{whole}.{fraction:06d}".rstrip("0").rstrip(".")


_FRACTIONS = st.integers(0, 999_999)
_UNIT_DECIMALS = st.builds(_decimal, st.just(0), _FRACTIONS) | st.just("1")
_DECIMALS = st.builds(_decimal, st.integers(0, 99_999), _FRACTIONS)

rois = st.one_of(
    st.builds(Roi, _PIXELS, _PIXELS),
    st.builds(Roi, st.none(), st.none(), _OFFSETS, _OFFSETS),
    st.builds(Roi, _PIXELS, _PIXELS, _OFFSETS, _OFFSETS),
)


@st.composite
def image_requests(draw: st.DrawFn) -> ImageRequest:
    """Any request that the grammar can name."""
    service = draw(st.sampled_from(ImageService))
    fields = {
        "downsample": draw(st.integers(0, 10)),
        "quality": draw(st.none() | st.integers(0, 100)),
        "roi": draw(st.none() | rois),
    }
    if service is ImageService.ATLAS:
        fields["annotated"] = draw(st.booleans())
        if fields["annotated"]:
            fields["atlas_id"] = draw(st.none() | _IDS)
    else:
        channels = st.tuples(*[st.integers(0, 65_535)] * 6)
        fields["range"] = draw(st.none() | channels)
        fields["rgb"] = draw(st.none() | st.tuples(*[_UNIT_DECIMALS] * 3))
        fields["contrast"] = draw(st.none() | st.tuples(*[_UNIT_DECIMALS] * 2))
        colormaps = st.lists(_DECIMALS, min_size=1, max_size=5).map(tuple)
        fields["colormap"] = draw(st.none() | colormaps)
        fields["view"] = draw(st.none() | st.sampled_from(VIEWS))
    return ImageRequest(service, draw(_IDS), **fields)


drawing_requests = st.builds(
    DrawingRequest,
    _IDS,
    st.sets(_IDS, min_size=1, max_size=10).map(sorted).map(tuple),
    st.integers(0, 10),
)


@st.composite
def drawing_urls(draw: st.DrawFn, request: DrawingRequest) -> str:
    """Any URL of a drawing."""
    groups = draw(st.permutations([*map(str, request.groups)]))
    pairs = [("groups", draw(st.sampled_from([",", "%2C"])).join(groups))]
    if request.downsample or draw(st.booleans()):
        pairs.append(("downsample", str(request.downsample)))
    query = "&".join("=".join(pair) for pair in draw(st.permutations(pairs)))
    endpoint = draw(st.sampled_from(["svg", "svg_download"]))
    return f"http://api.brain-map.org/api/v2/{endpoint}/{request.image_id}?{query}"


@dataclass(frozen=True)
class Spelling:
    """One path and one URL of a request."""

    request: ImageRequest
    path: str
    url: str


def _names(request: ImageRequest, zeros: int) -> list[tuple[str, str]]:
    """Parameter and value, in the order of the canonical path."""

    def spelled(texts: tuple[str, ...]) -> str:
        return ",".join(_with_zeros(text, zeros) for text in texts)

    names = []
    if request.downsample:
        names.append(("ds", str(request.downsample)))
    if request.quality is not None:
        names.append(("q", str(request.quality)))
    if request.roi is not None:
        names.append(("roi", _geometry(request.roi)))
    if request.range is not None:
        names.append(("range", ",".join(map(str, request.range))))
    for field in ("rgb", "contrast", "colormap"):
        texts = getattr(request, field)
        if texts is not None:
            names.append((field, spelled(texts)))
    if request.annotated:
        names.append(("annotated", ""))
    return names


def _geometry(roi: Roi) -> str:
    text = ""
    if roi.width_px is not None:
        text += f"{roi.width_px}x{roi.height_px}"
    if roi.left_px_full is not None:
        text += f"+{roi.left_px_full}+{roi.top_px_full}"
    return text


def _with_zeros(text: str, zeros: int) -> str:
    if not zeros:
        return text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{(fraction + '0' * zeros)[: max(len(fraction), 6)]}"


def file_name(request: ImageRequest) -> str:
    """Last name of the path."""
    if request.atlas_id is not None:
        return f"atlas{request.atlas_id}.jpg"
    return f"{request.view or 'image'}.jpg"


def canonical_path(request: ImageRequest) -> str:
    """Path in the order of design's table, decimals at their shortest."""
    names = [name + value for name, value in _names(request, 0)]
    head = [request.service.value, str(request.image_id)]
    return "/".join([*head, *names, file_name(request)])


def query_pairs(request: ImageRequest, zeros: int = 0) -> list[tuple[str, str]]:
    """The documented parameters of the request."""
    pairs = []
    for name, value in _names(request, zeros):
        if name == "roi":
            roi = request.roi
            if roi.left_px_full is not None:
                pairs += [("left", roi.left_px_full), ("top", roi.top_px_full)]
            if roi.width_px is not None:
                pairs += [("width", roi.width_px), ("height", roi.height_px)]
        elif name == "annotated":
            pairs.append(("annotation", "true"))
        else:
            long_names = {"ds": "downsample", "q": "quality"}
            pairs.append((long_names.get(name, name), value))
    if request.atlas_id is not None:
        pairs.append(("atlas", request.atlas_id))
    if request.view is not None:
        pairs.append(("view", request.view))
    return [(key, str(value)) for key, value in pairs]


@st.composite
def spellings(draw: st.DrawFn) -> Spelling:
    """Any request in any of its spellings."""
    request = draw(image_requests())
    zeros = draw(st.integers(0, 6))
    names = [name + value for name, value in _names(request, zeros)]
    if not request.downsample and draw(st.booleans()):
        names.append("ds0")
    names = draw(st.permutations(names))
    head = [request.service.value, str(request.image_id)]
    path = "/".join([*head, *names, file_name(request)])
    if draw(st.booleans()):
        path = "/" + path
    return Spelling(request, path, draw(_urls(request, zeros)))


@st.composite
def _urls(draw: st.DrawFn, request: ImageRequest, zeros: int) -> str:
    pairs = query_pairs(request, zeros)
    if not request.downsample and draw(st.booleans()):
        pairs.append(("downsample", "0"))
    if not request.annotated and draw(st.booleans()):
        pairs.append(("annotation", "false"))
    if request.view is not None and draw(st.booleans()):
        # AllenSDK's older spelling
        pairs.remove(("view", request.view))
        pairs.append((request.view, "true"))
    for view in draw(st.sets(st.sampled_from(VIEWS))) - {key for key, _ in pairs}:
        pairs.append((view, "false"))
    comma = draw(st.sampled_from([",", "%2C", "%2c"]))
    query = "&".join(
        f"{key}={value.replace(',', comma)}"
        for key, value in draw(st.permutations(pairs))
    )
    endpoint = ENDPOINTS[request.service]
    if request.service is ImageService.SECTION and draw(st.booleans()):
        endpoint = "section_image_download"
    base = draw(
        st.sampled_from(
            [
                "http://api.brain-map.org",
                "https://api.brain-map.org",
                "HTTPS://API.brain-map.org:443",
                "http://127.0.0.1:8080",
                "http://example.org/some/place",
            ]
        )
    )
    url = f"{base}/api/v2/{endpoint}/{request.image_id}"
    return f"{url}?{query}" if query else url
