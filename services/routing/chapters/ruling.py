"""Operators decide by which rules orders are routed: drafts, versions, what is in force, trials."""

from services.routing import handlers, rule_pages
from shared.contracts import routing_rules
from shared.contracts.base import Message
from shared.service import consume, get, post

CONSUMES = [
    consume(routing_rules.RoutingRulesSaveRequested, handlers.save_rules),
    consume(routing_rules.RoutingRulesPublishRequested, handlers.publish_rules),
]
PUBLISHES: list[type[Message]] = [
    *(routing_rules.RoutingRulesSaved, routing_rules.RoutingRulesRejected),
    *(routing_rules.RoutingRulesPublished, routing_rules.RoutingRulesPublishRejected),
]
ROUTES = [
    get("/rules", rule_pages.list_rules),
    get("/rules/{version}", rule_pages.read_rules_of_version),
    post("/rules/try", rule_pages.try_rules),
]
