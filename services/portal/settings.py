"""What the portal can be told beside what every service is told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, ValidationInfo, field_validator

from shared.config import Settings
from shared.contracts.base import Currency

_YES_OR_NO: TypeAdapter[bool] = TypeAdapter(bool)


class PortalSettings(Settings):
    """Where the other services, the mail server and the shoppers' browsers are."""

    sync_url: str = Field("http://127.0.0.1:8001", description="base URL of the sync service")
    allocation_url: str = Field("http://127.0.0.1:8002", description="base URL of the allocation service")
    routing_url: str = Field("http://127.0.0.1:8003", description="base URL of the routing service")
    returns_url: str = Field("http://127.0.0.1:8004", description="base URL of the returns service")
    service_timeout_seconds: float = Field(10.0, gt=0, description="longest a call to another service may take")

    public_base_url: str = Field("http://127.0.0.1:8000", description="where browsers reach the portal; stands in the links of e-mails")
    link_secret: str = Field(min_length=32, description="signs the shoppers' links; whoever has it can open every order")
    previous_link_secret: str | None = Field(None, min_length=32, description="still accepted while links signed with it are in mailboxes")
    link_days: int = Field(90, ge=1, le=3_650, description="how long a link in an e-mail opens the order")
    shopper_changes: bool | Literal["lines"] = Field(
        True,
        description="what shoppers may change on their page: false nothing, true address and quantities, lines also which products",
    )
    catalogue_currency: Currency | None = Field(
        None,
        validate_default=True,
        description="currency of the product master's prices; shoppers add products only to orders in it, so lines needs it",
    )
    shop_name: str = Field("Ordermesh", min_length=1, max_length=80, description="whom shoppers believe they bought from")
    console_session_hours: float = Field(12.0, gt=0, le=168, description="how long an operator stays signed in")

    smtp_host: str | None = Field(None, description="mail server; without one notifications wait until there is one")
    smtp_port: int = Field(25, ge=1, le=65_535, description="port of the mail server")
    smtp_username: str | None = Field(None, description="user at the mail server, if it wants one")
    smtp_password: str | None = Field(None, description="password at the mail server")
    smtp_starttls: bool = Field(False, description="insist on encryption before sending")
    smtp_connections: int = Field(8, ge=1, le=50, description="connections to the mail server that are kept open")
    smtp_timeout_seconds: float = Field(15.0, gt=0, description="longest one step of a mail may take")
    mail_from: str = Field("orders@ordermesh.invalid", description="sender address of every mail")
    mail_give_up_hours: float = Field(96.0, gt=0, description="how long a mail is tried before it is given up")

    audit_database_url: str | None = Field(None, description="DSN of the read-only auditor role; GET /api/audit needs it")

    @field_validator("shopper_changes", mode="before")
    @classmethod
    def _in_one_word(cls, value: Any) -> bool | Literal["lines"]:
        if isinstance(value, str) and value.strip().lower() == "lines":
            return "lines"
        try:
            return _YES_OR_NO.validate_python(value)
        except ValidationError as error:
            raise ValueError("give true, false or lines") from error

    @field_validator("catalogue_currency")
    @classmethod
    def _named_where_products_are_added(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is None and others.data.get("shopper_changes") == "lines":
            raise ValueError("say in which currency the products' prices are (ORDERMESH_SHOPPER_CHANGES is lines)")
        return value
