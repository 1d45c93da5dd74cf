"""Files that operators upload, passed on while they come in: nothing is stored here, and memory stays small."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import BodyPartReader, web

PIECE_BYTES = 64 * 1024
FIELD_BYTES = 8 * 1024
FIELDS_LIMIT = 20


@dataclass
class UploadedFile:
    """A file and the fields of its form that came before it."""

    name: str
    pieces: AsyncIterator[bytes]
    fields: dict[str, str] = field(default_factory=dict)


async def file_in_form(request: web.Request) -> UploadedFile | None:
    """The file of a form (``multipart/form-data``), with the fields before it; None when there is none or the form is malformed."""
    fields: dict[str, str] = {}
    try:
        reader = await request.multipart()
        for _ in range(FIELDS_LIMIT):
            part = await reader.next()
            if not isinstance(part, BodyPartReader) or part.name is None:
                return None
            if part.filename is not None:
                return UploadedFile(part.filename.strip() or "counts.csv", _pieces_of(part), fields)
            fields[part.name] = (await part.read_chunk(FIELD_BYTES)).decode("utf-8", "replace")
            if not part.at_eof():
                return None
    except (ValueError, AssertionError):
        return None
    return None


async def _pieces_of(part: BodyPartReader) -> AsyncIterator[bytes]:
    while piece := await part.read_chunk(PIECE_BYTES):
        yield piece


async def file_in_body(request: web.Request) -> UploadedFile | None:
    """The file that an API request carries, as its body or in a form; None when the content type says that it is none."""
    if request.content_type == "multipart/form-data":
        return await file_in_form(request)
    if request.content_type in ("text/csv", "application/csv", "application/vnd.ms-excel"):
        return UploadedFile("counts.csv", request.content.iter_chunked(PIECE_BYTES))
    return None
