"""Python source as data: a module's functions, constants and imports, and a name for what an expression gives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

Templates: TypeAlias = tuple[str, ...]
"""Every sentence that something can be, with ``<holes>``."""
World: TypeAlias = dict[str, Templates]
"""One path through a function: what its variables can say there."""


@dataclass(kw_only=True)
class Module:
    """A parsed module.

    Attributes:
        name: Dotted name.
        summary: First line of its docstring.
        functions: By name; methods among them.
        constants: Literal values by name.
        imports: Where a name comes from: (module, name there).
    """

    name: str
    summary: str
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)


def parse_module(name: str, source: str) -> Module:
    """Read a module's functions, literal constants and imports."""
    tree = ast.parse(source)
    summary = (ast.get_docstring(tree) or name).splitlines()[0]
    module = Module(name=name, summary=summary)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            module.functions[node.name] = node
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                module.imports[alias.asname or alias.name] = (node.module, alias.name)
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    module.constants[target.id] = str(statement.value.value)
    return module


def label(node: ast.expr) -> str:
    """A name for what an expression gives: "path" for ``self.path``, "n" for ``len(...)``."""
    match node:
        case ast.Name(id=name):
            return name.strip("_").lower()
        case ast.Attribute(attr=name):
            return name.strip("_").lower()
        case ast.Subscript(slice=ast.Constant(value=str(key))):
            return key
        case ast.Call(func=ast.Name(id="len" | "sum")):
            return "n"
        case ast.Call(func=ast.Attribute(value=ast.Constant()), args=[first, *_]):
            return label(first)
        case ast.Call(func=ast.Attribute(value=inner)):
            return label(inner)
        case ast.Call(args=[first, *_]):
            return label(first)
        case ast.Call(func=inner) | ast.Subscript(value=inner) | ast.IfExp(body=inner):
            return label(inner)
        case ast.BinOp(left=inner) | ast.UnaryOp(operand=inner) | ast.Starred(value=inner):
            return label(inner)
        case ast.GeneratorExp(elt=inner) | ast.ListComp(elt=inner):
            return label(inner)
        case _:
            return "value"


def hole(node: ast.expr) -> Templates:
    """The hole that stands for an expression."""
    return (f"<{label(node)}>",)


def says_something(templates: Templates) -> bool:
    """Whether there are words outside the holes."""
    return any(letter.isalpha() for template in templates for letter in re.sub(r"<[^<>]*>", "", template))


def parameters(function: ast.FunctionDef) -> list[str]:
    """Names of a function's parameters."""
    arguments = function.args
    return [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def defaults(function: ast.FunctionDef) -> World:
    """Those of its parameters that are text if they are left out."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(reversed(positional), reversed(arguments.defaults), strict=False)]
    pairs += [
        (one, default)
        for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default
    ]
    return {
        one.arg: (default.value,)
        for one, default in pairs
        if isinstance(default, ast.Constant) and isinstance(default.value, str)
    }


def loop_rows(target: ast.expr, iterated: ast.expr) -> Iterator[World]:
    """What a loop's variables are: the literal rows of a table, or holes."""
    names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
    rows = iterated.elts if isinstance(iterated, ast.Tuple | ast.List) else []
    tables = [row.elts for row in rows if isinstance(row, ast.Tuple) and len(row.elts) == len(names)]
    if rows and len(tables) == len(rows):
        for table in tables:
            yield {name: _literal(name, cell) for name, cell in zip(names, table, strict=True)}
    else:
        yield {name: (f"<{name}>",) for name in names}


def _literal(name: str, cell: ast.expr) -> Templates:
    is_text = isinstance(cell, ast.Constant) and isinstance(cell.value, str)
    return (str(cell.value),) if is_text and isinstance(cell, ast.Constant) else (f"<{name}>",)
