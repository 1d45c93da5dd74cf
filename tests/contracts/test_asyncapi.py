"""The AsyncAPI documents: valid by the official schema, complete, and told from each application's side."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from shared.contracts.base import Kind
from shared.contracts.generate.__main__ import documents
from shared.contracts.registry import MESSAGES
from shared.messaging.topology import ServiceMessages, queue_of
from shared.messaging.topology.tables import load_services

ROOT = Path(__file__).resolve().parents[2]
Document = dict[str, Any]
DOCUMENTS: dict[str, Document] = {
    path.removesuffix(".asyncapi.json"): json.loads(content) for path, content in documents().items() if path.endswith(".asyncapi.json")
}
EVERY_DOCUMENT = pytest.mark.parametrize("name", DOCUMENTS)
SERVICES: dict[str, ServiceMessages] = load_services()
EVERY_SERVICE = pytest.mark.parametrize("service", SERVICES)


def operations(document: Document, action: str) -> dict[str, Document]:
    return {key: operation for key, operation in document["operations"].items() if operation["action"] == action}


def types_of(document: Document, operation: Document) -> set[str]:
    channel = document["channels"][operation["channel"]["$ref"].removeprefix("#/channels/")]
    return set(channel["messages"])


@EVERY_DOCUMENT
def test_the_document_is_valid_by_the_official_schema(name: str, asyncapi_schema: Document) -> None:
    problems = [
        f"{'/'.join(map(str, error.path))}: {error.message}" for error in Draft7Validator(asyncapi_schema).iter_errors(DOCUMENTS[name])
    ]
    assert problems == []


def test_the_official_schema_finds_mistakes(asyncapi_schema: Document) -> None:
    document = copy.deepcopy(DOCUMENTS["partner-3pl"])
    document["channels"]["3pl.commands"]["bindings"]["amqp"]["is"] = "topic"
    document["operations"]["receive.3pl.commands"]["action"] = "subscribe"
    places = {error.path[0] for error in Draft7Validator(asyncapi_schema).iter_errors(document)}
    assert places == {"channels", "operations"}


@EVERY_DOCUMENT
def test_every_reference_leads_somewhere(name: str) -> None:
    document = DOCUMENTS[name]

    def follow(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                reference = node["$ref"]
                if reference.startswith("./"):
                    assert (ROOT / "contracts" / reference).is_file(), reference
                else:
                    target: Any = document
                    for part in reference.removeprefix("#/").split("/"):
                        target = target[part]
            for value in node.values():
                follow(value)
        elif isinstance(node, list):
            for value in node:
                follow(value)

    follow(document)


@EVERY_SERVICE
def test_a_service_receives_exactly_what_it_consumes_and_tells_by_which_exchange(service: str) -> None:
    document = DOCUMENTS[service]
    received = {types for operation in operations(document, "receive").values() for types in types_of(document, operation)}
    assert received == {message.type for message in SERVICES[service].consumes}
    for message in SERVICES[service].consumes:
        channel = document["channels"][queue_of(service, message)]
        assert channel["x-ordermesh-source"]["exchange"].startswith("oms.")
        assert channel["bindings"]["amqp"]["queue"]["name"] == queue_of(service, message)


@EVERY_SERVICE
def test_a_service_sends_everything_its_outbox_sends(service: str) -> None:
    document = DOCUMENTS[service]
    sent = {types for operation in operations(document, "send").values() for types in types_of(document, operation)}
    assert sent == {message.type for message in SERVICES[service].publishes if message.kind is not Kind.ANSWER}
    assert all(operation["bindings"]["amqp"]["deliveryMode"] == 2 for operation in operations(document, "send").values())


@pytest.mark.parametrize("kind", ["3pl", "channel"])
def test_a_partner_hears_what_our_services_send_it_and_says_what_they_read(kind: str) -> None:
    document = DOCUMENTS[f"partner-{kind}"]
    [reading] = operations(document, "receive").values()
    sent_to_it = {
        message.type
        for service in SERVICES.values()
        for message in service.publishes
        if message.kind is Kind.PARTNER_COMMAND and (message.type.startswith("channel.") == (kind == "channel"))
    }
    assert types_of(document, reading) == sent_to_it
    assert document["channels"][f"{kind}.commands"]["address"] == f"{kind}.{{code}}.commands"
    said = {types for operation in operations(document, "send").values() for types in types_of(document, operation)}
    assert said == {
        message.type
        for service in SERVICES.values()
        for message in service.consumes
        if message.kind is Kind.INBOUND and message.type.startswith(f"{kind}.")
    }


def test_between_them_the_documents_tell_every_message_that_travels() -> None:
    told = {name for document in DOCUMENTS.values() for name in document["components"]["messages"]}
    assert told == {name for name, message in MESSAGES.items() if message.kind is not Kind.ANSWER}
