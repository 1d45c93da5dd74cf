"""What sync can be told beside the settings every service has."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from pydantic import Field

from shared.config import ChannelPartner, load_partners
from shared.config import Settings as SharedSettings


class Settings(SharedSettings):
    """Settings of sync; environment names as in ``shared.config``."""

    channel_timeout_seconds: float = Field(5.0, gt=0, le=60, description="longest a channel may take to answer one call")
    channel_concurrency: int = Field(16, ge=1, le=200, description="most calls under way at one channel at a time")
    webhook_body_limit_bytes: int = Field(1024 * 1024, ge=1_024, le=4 * 1024 * 1024, description="largest order a webhook may carry")


@cache
def channels_in(partners_file: Path | None) -> Mapping[str, ChannelPartner]:
    """The channels of the partners file by code, read once per process.

    Raises:
        BadConfiguration: the file is missing or wrong.
    """
    return MappingProxyType({channel.code: channel for channel in load_partners(partners_file).channels})
