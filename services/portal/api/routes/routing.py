"""The operations on routing rules."""

from __future__ import annotations

from services.portal.api import models, routing
from services.portal.api.operation import Operation, Parameter
from services.portal.api.routes.parameters import CHANGES, REPEATED
from shared.contracts.routing_rules import RuleSetVersion

VERSION = Parameter("version", "path", RuleSetVersion, "The version: a whole number; 0 is no rules.")
BEFORE_VERSION = Parameter("before", "query", RuleSetVersion, "Begin before this version: next_before of the page before.")

ROUTING: tuple[Operation, ...] = (
    Operation(
        "GET",
        "/api/routing-rules",
        "Routing",
        "List versions of the routing rules",
        routing.list_routing_rules,
        models.Document,
        parameters=(BEFORE_VERSION,),
        errors=(422, 503),
    ),
    Operation(
        "POST",
        "/api/routing-rules",
        "Routing",
        "Save a draft of the routing rules",
        routing.save_routing_rules,
        models.Outcome,
        status=201,
        request=models.SaveRoutingRules,
        errors=(409, 422, 503),
        idempotent=True,
        more_statuses=REPEATED,
    ),
    Operation(
        "GET",
        "/api/routing-rules/{version}",
        "Routing",
        "Read a version of the routing rules",
        routing.read_routing_rules,
        models.Document,
        parameters=(VERSION,),
        errors=(404, 422, 503),
    ),
    Operation(
        "POST",
        "/api/routing-rules/{version}/publish",
        "Routing",
        "Publish a version, or roll back to it",
        routing.publish_routing_rules,
        models.Outcome,
        request=models.PublishRoutingRules,
        parameters=(VERSION,),
        errors=CHANGES,
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/routing-rules/try",
        "Routing",
        "Try routing rules on an order",
        routing.try_routing_rules,
        models.Document,
        request=models.TryRoutingRules,
        errors=(404, 409, 422, 503),
    ),
)
