"""How the simulated 3PLs behave, and where they find their broker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.config import load_partners
from shared.errors import BadConfiguration

Rate = Annotated[float, Field(ge=0, le=1)]
Delay = Annotated[float, Field(ge=0, le=86_400)]


class Behaviour(BaseModel):
    """What a 3PL does with what it is asked. Rates are shares of commands; delays are seconds since the step before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accept_delay_seconds: Delay = 0.05
    label_delay_seconds: Delay = 0.1
    ship_delay_seconds: Delay = 0.2
    deliver_delay_seconds: Delay | None = Field(1.0, description="null: the carrier reports no deliveries")
    jitter: Rate = Field(0.2, description="every delay varies by up to this share, up or down")
    reports_labels: bool = Field(True, description="whether it says label_printed before shipped")
    reject_rate: Rate = Field(0.0, description="pick lists refused for lack of capacity")
    short_pick_rate: Rate = Field(0.0, description="accepted pick lists of which some units are not found")
    silent_rate: Rate = Field(0.0, description="commands that get no answer; the next attempt is drawn again")
    duplicate_rate: Rate = Field(0.0, description="answers said twice, half of them under a new event id")
    cancel_until: Literal["accepted", "labelled"] = Field(
        "accepted", description="the step from which a cancellation is refused; accepted is the contract's cutoff"
    )
    interceptions: Literal["succeed", "too_late", "silent"] = Field(
        "succeed", description="succeed: a parcel that has not left is held back when asked; too_late: it leaves; silent: no answer"
    )
    stock: Literal["unlimited", "counted"] = Field(
        "unlimited", description="counted: units it was never told of are not found; unlimited: it ships whatever it is told to"
    )


class SimulatorSettings(BaseSettings):
    """Read from the environment, names in upper case behind ``ORDERMESH_``."""

    model_config = SettingsConfigDict(env_prefix="ORDERMESH_", extra="ignore", frozen=True)

    partner_amqp_urls: dict[str, str] = Field(description='JSON: the broker URL of each 3PL\'s own user, {"west": "amqp://..."}')
    third_party_codes: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="which 3PLs to play, comma separated; empty: those of the partners file, else those that have a URL"
    )
    partners_file: Path | None = None
    third_party_behaviour: Behaviour = Field(Behaviour(), description="JSON of the starting behaviour of every 3PL")
    seed: int = Field(1, description="same seed, same commands in the same order: same decisions")
    prefetch: int = Field(5_000, ge=1, le=50_000, description="commands the broker hands over ahead of acknowledgement")
    state_file: Path | None = Field(None, description="journal that lets it go on after a crash; without it it forgets")
    http_host: str = "127.0.0.1"
    http_port: int = Field(8090, ge=0, le=65_535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def codes(self) -> tuple[str, ...]:
        """The 3PLs to play.

        Raises:
            BadConfiguration: there are none, or one has no broker URL.
        """
        named = self.third_party_codes or tuple(partner.code for partner in load_partners(self.partners_file).third_party_logistics)
        codes = named or tuple(self.partner_amqp_urls)
        if not codes:
            raise BadConfiguration("ORDERMESH_THIRD_PARTY_CODES: no 3PL to play; name one, or give ORDERMESH_PARTNERS_FILE")
        without_url = [code for code in codes if code not in self.partner_amqp_urls]
        if without_url:
            raise BadConfiguration(f"ORDERMESH_PARTNER_AMQP_URLS: no broker URL for {', '.join(without_url)}")
        return codes
