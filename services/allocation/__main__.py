"""The allocation service: who has which units, what waits, what each channel may sell. Run with ``python -m services.allocation``.

Its table of contents has five chapters: messages in -> handler, messages out, schedules and routes of each.
"""

from services.allocation.chapters import auditing, keeping, orders, shelves, supply
from shared.service import Service

SERVICE = Service(
    name="allocation",
    consumes=[*orders.CONSUMES, *keeping.CONSUMES, *supply.CONSUMES, *shelves.CONSUMES, *auditing.CONSUMES],
    publishes=[*orders.PUBLISHES, *keeping.PUBLISHES, *supply.PUBLISHES, *shelves.PUBLISHES, *auditing.PUBLISHES],
    schedules=[*orders.SCHEDULES, *keeping.SCHEDULES, *supply.SCHEDULES, *shelves.SCHEDULES, *auditing.SCHEDULES],
    routes=[*orders.ROUTES, *keeping.ROUTES, *supply.ROUTES, *shelves.ROUTES, *auditing.ROUTES],
    gauges=[*shelves.GAUGES, *auditing.GAUGES],
)
if __name__ == "__main__":
    SERVICE.main()
