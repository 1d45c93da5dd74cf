"""Text from outside that could not be stored or put into an address."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from shared.addresses import blank_fields
from shared.contracts.channels import FieldProblem
from shared.contracts.orders import Address
from shared.json_document import nul_problems


def problems_of_texts(model: BaseModel) -> list[FieldProblem]:
    """Fields with a NUL character."""
    return nul_problems(model.__pydantic_serializer__.to_json(model))


def problems_of_foreign_id(name: str, text: str) -> list[FieldProblem]:
    """A partner's id has to name one thing in the path of that partner's own API."""
    if not text.strip():
        return [FieldProblem(field=name, problem="is blank", remedy="send the id that the channel itself uses")]
    if text in (".", ".."):
        return [FieldProblem(field=name, problem=f"{text!r} cannot stand in a path", remedy="send the id that the channel itself uses")]
    return []


def problems_of_address(address: Address) -> list[FieldProblem]:
    """Fields of an address that a label would show empty."""
    remedy = "send what is to stand on the parcel"
    return [FieldProblem(field=f"ship_to.{name}", problem="is blank", remedy=remedy) for name in blank_fields(address)]


def reason_of(problems: Sequence[FieldProblem]) -> str:
    """All problems in one text, for a parked message or a refusal."""
    return "; ".join(f"{problem.field}: {problem.problem} ({problem.remedy})" for problem in problems)[:2_000]
