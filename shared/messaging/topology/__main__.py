"""The one administrator's step on the broker: ``python -m shared.messaging.topology apply | check | show``.

apply   creates and corrects exchanges, queues, bindings, users and rights; safe to repeat at any time
check   compares the live broker with what should be there; exits 1 and names each difference
show    prints queues, keys and rights

AMQP_URL                  the administrator's AMQP address (amqp://user:password@host:5672/)
RABBITMQ_MANAGEMENT_URL   the administrator's address of the management API (http://user:password@host:15672);
                          without it users and rights can neither be created nor compared
ORDERMESH_SECRETS_FILE    JSON: {"broker_users": {user: password}}
ORDERMESH_PARTNERS_FILE   JSON: {"channels": [{"code", "base_url"}], "third_party_logistics": [{"code"}]}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from aio_pika.exceptions import AMQPError

from shared.errors import BadConfiguration, OrdermeshError
from shared.messaging.topology.broker import apply, apply_over_amqp
from shared.messaging.topology.check import differences
from shared.messaging.topology.management import Management
from shared.messaging.topology.plan import Topology, topology, unheard
from shared.messaging.topology.tables import configured_partners, load_services


def read_passwords(file: str | None) -> dict[str, str]:
    """The passwords of the broker's users, from the secrets file.

    Raises:
        BadConfiguration: no file is named, or it has no ``broker_users``.
    """
    if not file:
        raise BadConfiguration('ORDERMESH_SECRETS_FILE is not set: name a JSON file with "broker_users": {user: password}')
    try:
        users: dict[str, Any] = json.loads(Path(file).read_text())["broker_users"]
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise BadConfiguration(f'ORDERMESH_SECRETS_FILE: {file} must be JSON with "broker_users": {{user: password}} ({error})') from error
    return {str(user): str(password) for user, password in users.items()}


def vhost_of(amqp_url: str) -> str:
    """The virtual host of an AMQP address; ``/`` when it names none."""
    return unquote(urlsplit(amqp_url).path.removeprefix("/")) or "/"


def show(planned: Topology) -> None:
    """Prints the topology as a table."""
    reader = {queue: user.name for user in planned.users for queue in user.reads}
    source = {binding.queue: f"{binding.exchange}  {binding.key}" for binding in planned.bindings}
    width = max(len(queue.name) for queue in planned.queues)
    for queue in planned.queues:
        print(f"{queue.name:<{width}}  {reader.get(queue.name, '(must stay empty)'):<24}  {source[queue.name]}")
    for user in planned.users:
        print(f"\n{user.name} may publish")
        for right in user.writes:
            print(f"  {right.exchange}: {', '.join(right.keys)}")
    print(f"\n{len(planned.exchanges)} exchanges, {len(planned.queues)} queues, {len(planned.users)} users")


async def _run(command: str, *, keep_guest: bool, consumers_expected: bool) -> int:
    services = load_services()
    planned = topology(services, configured_partners())
    if command == "show":
        show(planned)
        return 0
    amqp_url = os.environ.get("AMQP_URL")
    if not amqp_url:
        raise BadConfiguration("AMQP_URL is not set: give the AMQP address of a broker administrator")
    management_url = os.environ.get("RABBITMQ_MANAGEMENT_URL")
    async with AsyncExitStack() as stack:
        management = await stack.enter_async_context(Management(management_url, vhost_of(amqp_url))) if management_url else None
        if command == "check":
            found = [*unheard(services), *await differences(planned, amqp_url, management, consumers_expected=consumers_expected)]
            for difference in found:
                print(difference)
            not_compared = "" if management else " (exchanges, bindings and rights not compared: RABBITMQ_MANAGEMENT_URL is not set)"
            print(f"{len(found)} differences{not_compared}" if found else f"the broker is as it should be{not_compared}")
            return 1 if found else 0
        if management is None:
            await apply_over_amqp(planned, amqp_url)
            print("RABBITMQ_MANAGEMENT_URL is not set: users, rights and the delivery limit cannot be set over AMQP and were left alone")
        else:
            passwords = read_passwords(os.environ.get("ORDERMESH_SECRETS_FILE"))
            await apply(planned, passwords, management, amqp_url, keep_guest=keep_guest)
    print(f"{len(planned.exchanges)} exchanges, {len(planned.queues)} queues, each with a leader, {len(planned.users)} users")
    return 0


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.messaging.topology", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["apply", "check", "show"])
    parser.add_argument("--keep-guest", action="store_true", help="do not remove the user guest (a broker that others use as well)")
    parser.add_argument("--without-consumers", action="store_true", help="the services are stopped on purpose")
    arguments = parser.parse_args()
    try:
        return asyncio.run(_run(arguments.command, keep_guest=arguments.keep_guest, consumers_expected=not arguments.without_consumers))
    except BadConfiguration as error:
        print(error, file=sys.stderr)
        return 2
    except (OrdermeshError, OSError, TimeoutError, AMQPError, aiohttp.ClientError) as error:
        print(f"topology: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
