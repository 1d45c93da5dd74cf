"""Everything sync asks of channels over the network: one errand per channel and kind of call, so that a slow channel delays nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.sync.channels.generic import GenericChannel
from services.sync.errands.calls import CallMetrics, ChannelCalls
from services.sync.errands.pushes import push_errand
from services.sync.errands.refunds import refund_errand
from services.sync.errands.shipments import notice_errand
from services.sync.settings import channels_in
from shared.service import Environment, Errand


def errands(environment: Environment) -> Sequence[Errand[Any, Any]]:
    """The errands of every channel in the partners file.

    Raises:
        BadConfiguration: the partners file is missing or wrong.
    """
    settings = environment.settings
    metrics = CallMetrics(environment.around.metrics.registry)
    found: list[Errand[Any, Any]] = []
    for partner in channels_in(settings.partners_file).values():
        calls = ChannelCalls(
            partner.code,
            GenericChannel(
                partner.base_url,
                environment.http,
                timeout_seconds=settings.channel_timeout_seconds,
                listings_per_call=partner.listings_per_call,
            ),
            requests_per_second=partner.requests_per_second,
            concurrency=settings.channel_concurrency,
            timeout_seconds=settings.channel_timeout_seconds,
            now=environment.now,
            metrics=metrics,
        )
        found += [push_errand(calls), refund_errand(calls), notice_errand(calls)]
    return found
