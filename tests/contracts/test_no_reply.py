"""Nobody may make us publish: FastStream answers ``reply_to`` with our credentials unless told not to (traps, number 5)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("services", "shared", "simulators")


def reply_hazards(source: str, name: str = "source") -> Iterator[str]:
    """Where a source file registers a subscriber that may answer, or looks at a message's ``reply_to``."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="subscriber") | ast.Name(id="subscriber"), keywords=keywords):
                chosen = [keyword.value for keyword in keywords if keyword.arg == "no_reply"]
                if not (chosen and isinstance(chosen[0], ast.Constant) and chosen[0].value is True):
                    yield f"{name}:{node.lineno}: subscriber without no_reply=True"
            case ast.Attribute(attr="reply_to"):
                yield f"{name}:{node.lineno}: reads reply_to"
            case ast.keyword(arg="reply_to"):
                yield f"{name}:{node.value.lineno}: asks for a reply"
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value="reply_to"), *_]):
                yield f"{name}:{node.lineno}: reads reply_to"


def test_no_subscriber_in_the_tree_answers() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert len(files) > 20
    assert [hazard for file in files for hazard in reply_hazards(file.read_text(), str(file.relative_to(ROOT)))] == []


def test_the_tree_has_a_subscriber_to_check() -> None:
    sources = (file.read_text() for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    assert any("no_reply=True" in source for source in sources)


@pytest.mark.parametrize(
    "planted",
    [
        "broker.subscriber('queue')(handle)",
        "@broker.subscriber('queue', no_reply=False)\nasync def handle(message): ...",
        "@router.subscriber('queue', no_reply=flag)\nasync def handle(message): ...",
        "subscriber('queue')",
        "await exchange.publish(answer, routing_key=message.reply_to)",
        "await broker.publish(question, 'queue', reply_to='mine')",
        "await exchange.publish(answer, routing_key=getattr(message, 'reply_to'))",
    ],
)
def test_the_lint_finds(planted: str) -> None:
    source = "async def outer(broker, router, exchange, message):\n" + "\n".join(f"    {line}" for line in planted.splitlines())
    assert list(reply_hazards(source)) != []


def test_the_lint_lets_through_what_never_answers() -> None:
    assert list(reply_hazards("broker.subscriber('queue', no_reply=True)(handle)\nexchange.publish(event, 'order.placed.v1')")) == []
