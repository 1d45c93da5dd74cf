"""What the routing service can be told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.routing.decide.deadlines import Deadlines
from services.routing.decide.guidance import Objective
from services.routing.postal_areas import PostalAreaError, load_postal_areas
from services.routing.service_price_files import ServicePriceError, load_service_prices
from services.routing.tariff_files import ONLY_CARRIER, SHIPPED_RATE_CARDS, load_tariffs
from services.routing.tariff_tables import RateCardError
from shared.config import Settings


class MapSettings(BaseSettings):
    """Where postal codes are, beside those of the US. Environment names are the field names in upper case behind ``ORDERMESH_``."""

    model_config = SettingsConfigDict(env_prefix="ORDERMESH_", extra="ignore", frozen=True)

    postal_areas: Path | None = Field(None, description="file that says where postal codes of other countries are; see postal_areas.py")

    @field_validator("postal_areas")
    @classmethod
    def _postal_areas_are_readable(cls, file: Path | None) -> Path | None:
        try:
            if file is not None:
                load_postal_areas(file)
        except PostalAreaError as error:
            raise ValueError(str(error)) from error
        return file


class PlanningSettings(MapSettings):
    """How to plan and how long to wait."""

    partners_file: Path | None = Field(None, description="JSON file naming the channels and 3PLs")
    routing_objective: Objective = Field(
        "cheapest",
        description="where no rule says otherwise: cheapest plan that keeps the promise, closest locations, fastest arrival, "
        "or forward_looking: the cheapest counting what the stock is worth to later orders",
    )
    handling_cents: int = Field(150, ge=0, le=1_000_000, description="our cost of one parcel beside the carrier's price")
    pick_cents: int = Field(35, ge=0, le=1_000_000, description="our cost of picking one SKU of a parcel, however many units")
    split_cents: int = Field(
        0, ge=0, le=1_000_000, description="what it is worth to send a customer one parcel less, beyond what the parcel costs"
    )
    capacity_cents: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="what the last slot of a location that limits its work counts in the choice; less while more are free",
    )
    replanning_window_seconds: int = Field(
        0,
        ge=0,
        le=86_400,
        description="new orders wait at most so long, and never past a cutoff, to be planned together with their neighbours; 0: not at all",
    )
    stock_prices_seconds: float = Field(
        3_600.0, ge=0, description="how often it is worked out anew what scarce stock is worth to later orders; 0: never"
    )
    stock_prices_history_days: float = Field(28.0, ge=1, le=400, description="orders of so many days tell what will be ordered")
    stock_prices_horizon_days: float = Field(
        14.0, gt=0, le=400, description="for how many days the stock has to last; usually until more comes"
    )
    stock_prices_oldest_seconds: float = Field(
        21_600.0, gt=0, description="older prices are not used: plans that look ahead are then merely the cheapest"
    )
    rate_cards: Path = Field(
        SHIPPED_RATE_CARDS,
        description="folder with the carrier's rate cards and, optionally, transit_days.csv, zones.csv and dimensional.csv; "
        "or with such a folder for each of several carriers, named after it",
    )
    carrier: str = Field(ONLY_CARRIER, min_length=1, max_length=120, description="name of an only carrier; several are named by folder")
    answer_seconds: float = Field(300.0, gt=0, description="before a silent 3PL is asked again; doubles each time")
    answer_requests: int = Field(5, ge=1, le=20, description="how often a 3PL is asked before a person is")
    short_pick_seconds: float = Field(60.0, gt=0, description="how long an incomplete parcel waits for its short pick")
    allocation_seconds: float = Field(600.0, gt=0, description="before allocation's answer counts as overdue")
    attention_seconds: float = Field(14_400.0, gt=0, description="within which a person must decide")
    payment_seconds: float = Field(
        0.0, ge=0, le=604_800, description="how long an edit that costs more waits for channel.payment_collected; 0 refuses such edits"
    )
    service_prices: Path | None = Field(
        None, description="CSV of what service levels cost customers (currency,service_level,price_cents); without it a change is free"
    )
    consent_seconds: float = Field(259_200.0, gt=0, description="least time a customer has to answer whether to wait (72 hours)")
    shipment_grace_seconds: float = Field(86_400.0, gt=0, description="after ship_by, before somebody should look why nothing left")
    most_rejections: int = Field(3, ge=0, le=100, description="3PL rejections of one order before a person must look")
    most_refused_plans: int = Field(8, ge=1, le=100, description="plans that allocation may refuse in a row")

    @field_validator("rate_cards")
    @classmethod
    def _rate_cards_are_readable(cls, folder: Path, info: ValidationInfo) -> Path:
        try:
            load_tariffs(folder, handling_cents=0)
        except RateCardError as error:
            raise ValueError(str(error)) from error
        return folder

    @field_validator("service_prices")
    @classmethod
    def _service_prices_are_readable(cls, file: Path | None) -> Path | None:
        try:
            if file is not None:
                load_service_prices(file)
        except ServicePriceError as error:
            raise ValueError(str(error)) from error
        return file

    def replanning_window(self) -> timedelta:
        """How long new orders wait for each other; zero: not at all."""
        return timedelta(seconds=self.replanning_window_seconds)

    def deadlines(self) -> Deadlines:
        """How long to wait for whom."""
        return Deadlines(
            allocation=timedelta(seconds=self.allocation_seconds),
            answer=timedelta(seconds=self.answer_seconds),
            requests=self.answer_requests,
            shipment=timedelta(seconds=self.shipment_grace_seconds),
            short_pick=timedelta(seconds=self.short_pick_seconds),
            attention=timedelta(seconds=self.attention_seconds),
            consent=timedelta(seconds=self.consent_seconds),
            payment=timedelta(seconds=self.payment_seconds),
            plans=self.most_refused_plans,
            rejections=self.most_rejections,
        )


class RoutingSettings(PlanningSettings, Settings):
    """Everything the routing service can be told; checked once at start."""
