"""What fields mean, taken from the docstrings under the type aliases of ``shared/contracts`` (``Sku``, ``Cents``, ``Code`` ...).

Python forgets those docstrings when it runs, so they are read from the source, and given to every field that is annotated with the alias.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from shared.contracts import base, channels, feeds, fulfillment, holds, orders, returns, rules, stock

MODULES: tuple[ModuleType, ...] = (base, orders, channels, stock, feeds, holds, rules, fulfillment, returns)


@cache
def field_meanings() -> dict[str, dict[str, str]]:
    """Class name -> field name -> what the field's type means; fields whose type has no docstring are left out."""
    trees = [ast.parse(inspect.getsource(module)) for module in MODULES]
    aliases = {name: text for tree in trees for name, text in _documented_aliases(tree)}
    classes = {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
    return {name: dict(_inherited_fields(node, classes, aliases)) for name, node in classes.items()}


def as_markdown(docstring: str | None) -> str:
    """A docstring as CommonMark: code in single backticks, no indentation."""
    return inspect.cleandoc(docstring or "").replace("``", "`")


def _documented_aliases(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(following, ast.Expr):
            match following.value:
                case ast.Constant(value=str(text)):
                    yield node.targets[0].id, as_markdown(text)


def _inherited_fields(node: ast.ClassDef, classes: dict[str, ast.ClassDef], aliases: dict[str, str]) -> Iterator[tuple[str, str]]:
    for base_class in node.bases:
        if isinstance(base_class, ast.Name) and base_class.id in classes:
            yield from _inherited_fields(classes[base_class.id], classes, aliases)
    yield from _documented_fields(node, aliases)


def _documented_fields(node: ast.ClassDef, aliases: dict[str, str]) -> Iterator[tuple[str, str]]:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            named = statement.annotation.left if isinstance(statement.annotation, ast.BinOp) else statement.annotation
            if isinstance(named, ast.Name) and named.id in aliases:
                yield statement.target.id, aliases[named.id]
