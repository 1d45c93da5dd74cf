"""Settings: from the environment or secret files, each with a documented default, checked once at start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.contracts.base import Code
from shared.errors import BadConfiguration

SECRETS_DIRECTORY = Path("/run/secrets")
"""Where container platforms mount secrets as files."""


class Settings(BaseSettings):
    """What every service can be told. Environment names are the field names in upper case behind ``ORDERMESH_``.

    A file of that name in lower case under ``/run/secrets`` works as well, so that secrets need not stand in the environment.
    """

    model_config = SettingsConfigDict(
        env_prefix="ORDERMESH_", extra="ignore", frozen=True, secrets_dir=SECRETS_DIRECTORY if SECRETS_DIRECTORY.is_dir() else None
    )

    database_url: str = Field(description="Postgres DSN of this service's own role")
    amqp_url: str = Field(description="RabbitMQ URL of this service's own user")
    http_host: str = Field("127.0.0.1", description="address the HTTP side listens on (0.0.0.0 in a container)")
    http_port: int = Field(8000, ge=0, le=65_535, description="port of the HTTP side; 0 takes a free one")
    operator_token: str = Field(min_length=16, description="bearer token of operators and of the portal")
    partners_file: Path | None = Field(None, description="JSON file naming the channels and 3PLs")

    pool_size: int = Field(6, ge=2, le=100, description="database connections of one process")
    command_timeout_seconds: float = Field(30.0, gt=0, description="longest a statement may take")
    batch_messages: int = Field(200, ge=1, le=1_000, description="most messages in one transaction")
    prefetch_batches: int = Field(3, ge=1, le=10, description="how many batches the broker may hand over ahead of acknowledgement")
    consumer_driver: Literal["aio_pika", "faststream"] = Field("aio_pika", description="who feeds the batcher; see docs/decisions")
    shutdown_seconds: float = Field(20.0, gt=0, description="time to drain on SIGTERM")
    error_attempts: int = Field(8, ge=1, le=100, description="tries before a message whose handler fails is parked")
    deferral_seconds: float = Field(3600.0, gt=0, description="how long a message may wait for what it builds on before it is parked")
    relay_batch: int = Field(500, ge=1, le=5_000, description="outbox rows published at a time")
    relay_poll_seconds: float = Field(1.0, gt=0, description="fallback poll of the outbox; commits wake the relay at once")
    publish_timeout_seconds: float = Field(10.0, gt=0, description="longest a broker may take to confirm")
    retention_days: int = Field(7, ge=2, le=90, description="days that handled inbox and sent outbox rows are kept")
    clock_offset_seconds: float = Field(0.0, description="moves this process's clock; for rehearsals and tests")
    trace_sample_ratio: float = Field(1.0, ge=0, le=1, description="share of new traces that are recorded when an exporter is configured")
    otlp_endpoint: str | None = Field(None, description="OTLP/HTTP traces endpoint; no exporter runs without it")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least severe log line that is written")


class ChannelPartner(BaseModel):
    """One sales channel: where its API is and how its webhooks are signed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: Code
    base_url: str
    webhook_secrets: Annotated[tuple[str, ...], Field(max_length=2)] = ()
    requests_per_second: Annotated[float, Field(gt=0)] = 50.0
    listings_per_call: Annotated[int, Field(ge=1, le=1_000)] = 100
    """How many listings' numbers it takes in one call."""


class ThirdPartyPartner(BaseModel):
    """One 3PL; it gets its own queue and a broker user that may use nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: Code


class Partners(BaseModel):
    """Everybody outside who talks with us."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: tuple[ChannelPartner, ...] = ()
    third_party_logistics: tuple[ThirdPartyPartner, ...] = ()


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def _complaint(prefix: str, error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        problems.append(f"{prefix}{name.upper() if prefix else name}: {problem['msg']}")
    return "; ".join(problems)


def load_settings(settings: type[SettingsT]) -> SettingsT:
    """Reads the settings of one service.

    Raises:
        BadConfiguration: one line that names every wrong or missing setting.
    """
    try:
        return settings()
    except ValidationError as error:
        raise BadConfiguration(f"bad configuration: {_complaint('ORDERMESH_', error)}") from error


def load_partners(path: Path | None) -> Partners:
    """Reads the partners file; no file means no partners.

    Raises:
        BadConfiguration: the file is missing, no JSON, or names a wrong field.
    """
    if path is None:
        return Partners()
    try:
        return Partners.model_validate(json.loads(path.read_text()))
    except OSError as error:
        raise BadConfiguration(f"ORDERMESH_PARTNERS_FILE: cannot read {path}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise BadConfiguration(f"ORDERMESH_PARTNERS_FILE: {path} is no JSON: {error}") from error
    except ValidationError as error:
        raise BadConfiguration(f"ORDERMESH_PARTNERS_FILE: {_complaint('', error)}") from error
