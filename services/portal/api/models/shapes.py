"""What every chapter's requests and answers are made of. Requests are made of the contracts' own types and refuse fields they do not
know.
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.contracts.channels import FieldProblem


class Request(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Response(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(frozen=True)


class ErrorDetail(Response):
    """What went wrong."""

    code: str
    message: str
    problems: list[FieldProblem]


class ErrorAnswer(Response):
    """The one shape of every error."""

    error: ErrorDetail


class Document(Response):
    """A document of the owning service, passed on as it is."""

    model_config = ConfigDict(frozen=True, extra="allow")


class OutcomeMessage(Response):
    """One message with which the owning service answered, as its contract has it."""

    type: str
    data: dict[str, Any]


class Outcome(Response):
    """What became of a request.

    ``result``: ``done``, or what was decided: ``cancelled``, ``pending`` (a 3PL is asked), ``edited``, ``approved``.
    ``already_handled``: this very request was made before and was not done again.
    """

    result: Literal["done", "cancelled", "pending", "edited", "approved", "already_handled"]
    id: UUID
    """Names what was asked for: the change, the return, the scan, the adjustment, the supply or the receipt."""
    messages: list[OutcomeMessage]
