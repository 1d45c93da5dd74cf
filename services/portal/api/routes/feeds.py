"""The operations on feeds of 3PLs, and on counts that come as files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from services.portal.api import feeds, models
from services.portal.api.operation import Operation, Parameter
from services.portal.api.routes.parameters import CHANGES, LOCATION, UPLOAD

FEEDS: tuple[Operation, ...] = (
    Operation("GET", "/api/feeds", "Feeds", "List feeds", feeds.list_feeds, models.Document, errors=(503,)),
    Operation(
        "GET",
        "/api/feeds/{location}",
        "Feeds",
        "Read a feed",
        feeds.read_feed,
        models.Document,
        parameters=(LOCATION,),
        errors=(404, 422, 503),
    ),
    Operation(
        "PUT",
        "/api/feeds/{location}",
        "Feeds",
        "Set how a feed is watched",
        feeds.set_feed,
        models.Outcome,
        request=models.SetFeed,
        parameters=(LOCATION,),
        errors=CHANGES,
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/feeds/{location}/close-gap",
        "Feeds",
        "Give up missing messages",
        feeds.close_gap,
        models.Outcome,
        request=models.CloseGap,
        parameters=(LOCATION,),
        errors=CHANGES,
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/count-uploads",
        "Counts",
        "Upload counts",
        feeds.upload_counts,
        models.Document,
        status=201,
        parameters=(
            Parameter("file_name", "query", Annotated[str, Field(max_length=200)], "What the file is called.", "counts.csv"),
            Parameter("operator", "query", Annotated[str, Field(min_length=1, max_length=120)], "Who uploads it.", "operator"),
        ),
        errors=(503,),
        takes_file=True,
    ),
    Operation("GET", "/api/count-uploads", "Counts", "List uploads", feeds.list_uploads, models.Document, errors=(503,)),
    Operation(
        "GET",
        "/api/count-uploads/{upload_id}",
        "Counts",
        "Read an upload",
        feeds.read_upload,
        models.Document,
        parameters=(UPLOAD,),
        errors=(404, 503),
    ),
    Operation(
        "GET",
        "/api/count-uploads/{upload_id}/rows",
        "Counts",
        "Read an upload's rows",
        feeds.list_upload_rows,
        models.Document,
        parameters=(
            UPLOAD,
            Parameter(
                "status",
                "query",
                Literal["", "invalid", "same", "changed", "applied", "moved"],
                "Rows of one state: invalid, same, changed, applied or moved.",
                "",
            ),
            Parameter("after", "query", Annotated[int, Field(ge=0, le=2_000_000_000)], "next_after of the page before.", 0),
            Parameter("limit", "query", Annotated[int, Field(ge=1, le=1_000)], "How many at most, 1 to 1000.", 100),
        ),
        errors=(404, 422, 503),
    ),
    Operation(
        "GET",
        "/api/count-uploads/{upload_id}/report.csv",
        "Counts",
        "Download an upload's report",
        feeds.download_report,
        models.Document,
        parameters=(UPLOAD,),
        errors=(404, 503),
        gives_file=True,
    ),
    Operation(
        "POST",
        "/api/count-uploads/{upload_id}/apply",
        "Counts",
        "Apply uploaded counts",
        feeds.apply_upload,
        models.Document,
        request=models.ApplyCounts,
        parameters=(UPLOAD,),
        errors=(404, 409, 422, 503),
        more_statuses={202: "Begun: the rest is applied portion by portion; read the upload to see how far it is."},
    ),
)
