"""Operators decide from where and by which rules orders ship: locations, and drafts, versions and trials of the routing rules."""

from services.routing import handlers, pages, rule_pages
from shared.contracts import fulfillment, routing_rules
from shared.contracts.base import Message
from shared.service import consume, get, post

CONSUMES = [
    consume(fulfillment.LocationRegistrationRequested, handlers.register_locations),
    consume(routing_rules.RoutingRulesSaveRequested, handlers.save_rules),
    consume(routing_rules.RoutingRulesPublishRequested, handlers.publish_rules),
]
PUBLISHES: list[type[Message]] = [
    *(fulfillment.LocationRegistered, fulfillment.LocationRegistrationRejected),
    *(routing_rules.RoutingRulesSaved, routing_rules.RoutingRulesRejected),
    *(routing_rules.RoutingRulesPublished, routing_rules.RoutingRulesPublishRejected),
]
ROUTES = [
    get("/locations", pages.list_locations),
    get("/rules", rule_pages.list_rules),
    get("/rules/{version}", rule_pages.read_rules_of_version),
    post("/rules/try", rule_pages.try_rules),
]
