"""Operators save drafts of the routing rules and put versions in force."""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Record

from services.routing import current
from services.routing.decide.publishing import publish
from services.routing.decide.rules import check_rules
from services.routing.queries import locations, rules
from services.routing.queries.rules import Publication, SavedRules
from shared.contracts.routing_rules import (
    RoutingRulesPublished,
    RoutingRulesPublishRejected,
    RoutingRulesPublishRequested,
    RoutingRulesRejected,
    RoutingRulesSaved,
    RoutingRulesSaveRequested,
)
from shared.messaging.message import Outgoing, Received, Transaction

MOST_PROBLEMS = 100
"""Faults that are told at once; whoever corrects these sees the rest."""


async def save_rules(tx: Transaction, messages: Sequence[Received[RoutingRulesSaveRequested]]) -> Sequence[Outgoing]:
    """Keeps drafts as new versions, or names what is wrong with them. The same draft told twice is one version."""
    await rules.lock_rules_in_force(tx.connection)
    known = {row["request_id"]: row for row in await rules.read_requests(tx.connection, [message.data.request_id for message in messages])}
    codes = await locations.read_codes(tx.connection)
    network = (await current.planner(tx.connection)).network
    version = (await rules.read_newest(tx.connection))["version"]
    answers: dict[object, RoutingRulesSaved] = {
        request_id: RoutingRulesSaved(request_id=request_id, version=row["version"], saved_at=row["at"])
        for request_id, row in known.items()
    }
    saved: list[SavedRules] = []
    outgoing = []
    for message in messages:
        draft = message.data
        answer: RoutingRulesSaved | RoutingRulesRejected | None = answers.get(draft.request_id)
        problems = check_rules(draft.rules, codes, network.locations) if answer is None else []
        if problems:
            detail = f"rules: {len(problems)} faults; correct what problems names and save again"
            answer = RoutingRulesRejected(request_id=draft.request_id, reason="invalid", problems=problems[:MOST_PROBLEMS], detail=detail)
        elif answer is None:
            version += 1
            document: dict[str, object] = {"rules": [rule.model_dump(mode="json", exclude_defaults=True) for rule in draft.rules]}
            saved.append(SavedRules(version, draft.request_id, document, draft.reason, draft.operator))
            answer = answers[draft.request_id] = RoutingRulesSaved(request_id=draft.request_id, version=version, saved_at=tx.now)
        outgoing.append(Outgoing(answer, because=message))
    if saved:
        await rules.insert_rule_sets(tx.connection, saved, tx.now)
    return outgoing


async def publish_rules(tx: Transaction, messages: Sequence[Received[RoutingRulesPublishRequested]]) -> Sequence[Outgoing]:
    """Puts versions in force, compare-and-set. Orders that are planned from now on follow them; what is planned already stays."""
    in_force = await rules.lock_rules_in_force(tx.connection)
    known = {row["request_id"]: row for row in await rules.read_requests(tx.connection, [message.data.request_id for message in messages])}
    newest = await rules.read_newest(tx.connection)
    publications: list[Publication] = []
    answers = {request_id: _published(row) for request_id, row in known.items()}
    outgoing = []
    for message in messages:
        wanted = message.data
        answer: RoutingRulesPublished | RoutingRulesPublishRejected | None = answers.get(wanted.request_id)
        if answer is None:
            answer = publish(wanted, in_force, newest["version"], tx.now)
        if isinstance(answer, RoutingRulesPublished) and wanted.request_id not in answers:
            answers[wanted.request_id] = answer
            in_force = answer.version
            publications.append(
                Publication(
                    wanted.request_id,
                    newest["publications"] + len(publications) + 1,
                    answer.version,
                    answer.replaced_version,
                    answer.change,
                    wanted.reason,
                    wanted.operator,
                )
            )
        outgoing.append(Outgoing(answer, because=message))
    if publications:
        await rules.insert_publications(tx.connection, publications, tx.now)
    return outgoing


def _published(row: Record) -> RoutingRulesPublished:
    return RoutingRulesPublished(
        request_id=row["request_id"],
        version=row["version"],
        replaced_version=row["replaced_version"],
        change=row["change"],
        published_at=row["at"],
    )
