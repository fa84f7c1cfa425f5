"""What a piece of Python could say: its source in, the sentences that it builds out, with ``<holes>`` for what varies.

A small interpreter over ``ast``. It follows assignments, branches, loops and calls of functions whose source it was
given, keeps every path's variables apart, and notes each construction of an error with the sentences that its
arguments can be. Nothing is imported or run. What it cannot follow becomes a hole named after the variable.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from python_source import (
    Module,
    Templates,
    World,
    defaults,
    hole,
    label,
    loop_rows,
    parameters,
    says_something,
)

MOST_WORLDS = 64
DEEPEST_CALL = 5


@dataclass(frozen=True, kw_only=True)
class Site:
    """The construction of something that carries a message.

    Attributes:
        module: Dotted name of the module.
        line: Where in it.
        kind: Name of what is called: "UsageError", "Failure", "append" of a list of warnings.
        arguments: Sentences of each argument; the positional ones are named "0", "1" and so on.
    """

    module: str
    line: int
    kind: str
    arguments: Mapping[str, Templates]


class Interpreter:
    """Walks every function of some modules.

    Args:
        modules: By name.
        kinds: Names whose calls are noted.

    Attributes:
        alone: What was noted where a function was walked by itself, its parameters being holes.
        called: The same where it was walked with the arguments of a call.
    """

    def __init__(self, modules: Mapping[str, Module], kinds: Iterable[str]) -> None:
        self._modules = modules
        self._kinds = frozenset(kinds)
        self._stack: list[tuple[Module, ast.FunctionDef]] = []
        self.alone: list[Site] = []
        self.called: list[Site] = []

    def walk(self, module: Module, function: ast.FunctionDef) -> Templates:
        """Walk a function by itself; what it can return or yield."""
        return self._enter(module, function, {name: (f"<{name}>",) for name in parameters(function)})

    def _enter(self, module: Module, function: ast.FunctionDef, world: World) -> Templates:
        self._stack.append((module, function))
        returned: list[str] = []
        try:
            _Body(self, module, returned).block(function.body, [world])
        finally:
            self._stack.pop()
        return tuple(dict.fromkeys(returned))

    def note(self, module: Module, node: ast.Call, kind: str, arguments: Mapping[str, Templates]) -> None:
        """Keep a construction."""
        site = Site(module=module.name, line=node.lineno, kind=kind, arguments=arguments)
        (self.alone if len(self._stack) == 1 else self.called).append(site)

    def wants(self, kind: str) -> bool:
        """Whether calls of this name are noted."""
        return kind in self._kinds

    def constant(self, module: Module, name: str) -> str | None:
        """A module's literal, also where it is imported from another."""
        if name in module.constants:
            return module.constants[name]
        where, original = module.imports.get(name, ("", ""))
        return self._modules[where].constants.get(original) if where in self._modules else None

    def call(self, module: Module, name: str, given: Sequence[tuple[str | None, Templates]]) -> Templates:
        """What a function of ours can return for these arguments; nothing where it is not ours."""
        home, original = module, name
        if name not in module.functions:
            where, original = module.imports.get(name, ("", ""))
            home = self._modules.get(where, module)
        function = home.functions.get(original)
        if function is None or len(self._stack) >= DEEPEST_CALL or (home, function) in self._stack:
            return ()
        names = [one for one in parameters(function) if one not in ("self", "cls")]
        world = {name: (f"<{name}>",) for name in parameters(function)} | defaults(function)
        positional = iter(names)
        for keyword, templates in given:
            target = keyword if keyword in names else next(positional, None) if keyword is None else None
            if target is not None:
                world[target] = templates
        return self._enter(home, function, world)


class _Body:
    """Walks statements and expressions of one function."""

    def __init__(self, interpreter: Interpreter, module: Module, returned: list[str]) -> None:
        self._interpreter = interpreter
        self._module = module
        self._returned = returned

    # Statements

    def block(self, statements: Sequence[ast.stmt], worlds: list[World]) -> list[World]:
        """The worlds in which the end of the block is reached."""
        for statement in statements:
            if worlds:
                worlds = _distinct(self._statement(statement, worlds))
        return worlds

    def _statement(self, statement: ast.stmt, worlds: list[World]) -> list[World]:
        match statement:
            case (
                ast.Return(value=value)
                | ast.Expr(value=ast.Yield(value=value))
                | ast.Expr(value=ast.YieldFrom(value=value))
            ):
                for world in worlds:
                    self._returned += self.say(value, world) if value is not None else ()
                return [] if isinstance(statement, ast.Return) else worlds
            case ast.Raise(exc=raised):
                for world in worlds:
                    self.say(raised, world) if raised is not None else ()
                return []
            case (
                ast.Assign(targets=[target], value=value)
                | ast.AnnAssign(target=target, value=ast.expr() as value)
            ):
                return [after for world in worlds for after in self._assign(target, value, world)]
            case ast.AugAssign(target=ast.Name(id=name), value=value):
                self._extended(name, value, worlds)
                return [
                    world | {name: _joined([world.get(name, ("",)), self.say(value, world)])}
                    for world in worlds
                ]
            case ast.If(test=test, body=body, orelse=orelse):
                self._look(test, worlds)
                return self.block(body, _copies(worlds)) + self.block(orelse, _copies(worlds))
            case ast.For(target=target, iter=iterated, body=body, orelse=orelse):
                self._look(iterated, worlds)
                inside = [world | bound for world in worlds for bound in loop_rows(target, iterated)]
                return self.block(orelse, worlds + self.block(body, inside))
            case ast.While(body=body):
                return worlds + self.block(body, _copies(worlds))
            case ast.With(items=items, body=body):
                for item in items:
                    self._look(item.context_expr, worlds)
                return self.block(body, worlds)
            case ast.Try():
                return self._try(statement, worlds)
            case ast.Match(cases=cases):
                return worlds + [after for one in cases for after in self.block(one.body, _copies(worlds))]
            case ast.FunctionDef(body=body):
                self.block(body, _copies(worlds))
                return worlds
            case ast.Continue() | ast.Break():
                return []
            case ast.Expr(value=value):
                self._look(value, worlds)
        return worlds

    def _extended(self, name: str, value: ast.expr, worlds: list[World]) -> None:
        """``notes += [...]`` says what ``notes.append(...)`` says."""
        if self._interpreter.wants(f"{name}.append"):
            call = ast.copy_location(ast.Call(func=ast.Name(id=name), args=[value], keywords=[]), value)
            for world in worlds:
                self._interpreter.note(self._module, call, f"{name}.append", {"0": self.say(value, world)})

    def _try(self, statement: ast.Try, worlds: list[World]) -> list[World]:
        after = self.block([*statement.body, *statement.orelse], _copies(worlds))
        for handler in statement.handlers:
            bound = {handler.name: (f"<{handler.name}>",)} if handler.name else {}
            after += self.block(handler.body, [world | bound for world in worlds])
        return self.block(statement.finalbody, after)

    def _assign(self, target: ast.expr, value: ast.expr, world: World) -> Iterator[World]:
        match target, value:
            case ast.Name(id=name), _:
                said = self.say(value, world)
                for one in said if says_something(said) else (f"<{name}>",):
                    yield world | {name: (one,)}
            case ast.Tuple(elts=targets), ast.Tuple(elts=values) if len(targets) == len(values):
                worlds = [world]
                for place, given in zip(targets, values, strict=True):
                    worlds = [after for before in worlds for after in self._assign(place, given, before)]
                yield from worlds
            case _:
                self.say(value, world)
                names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
                yield world | {name: (f"<{name}>",) for name in names}

    def _look(self, node: ast.expr, worlds: list[World]) -> None:
        """Walk an expression for the calls in it."""
        for world in worlds:
            self.say(node, world)

    # Expressions

    def say(self, node: ast.expr, world: World) -> Templates:
        """Every sentence that an expression can be."""
        match node:
            case ast.Constant(value=str(value)):
                return (value,)
            case ast.JoinedStr(values=values):
                return _joined([self._part(value, world) for value in values])
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _joined([self.say(left, world), self.say(right, world)])
            case ast.IfExp(body=body, orelse=orelse):
                return tuple(dict.fromkeys((*self.say(body, world), *self.say(orelse, world))))
            case ast.BoolOp(values=values):
                return tuple(dict.fromkeys(one for value in values for one in self.say(value, world)))
            case ast.Name(id=name):
                constant = self._interpreter.constant(self._module, name)
                return world.get(name) or ((constant,) if constant is not None else hole(node))
            case ast.Call(func=ast.Attribute(attr="join"), args=[inner]):
                return self._listed(inner, world)
            case ast.Call():
                return self._call(node, world)
            case ast.List(elts=elts) | ast.Tuple(elts=elts) if elts:
                return tuple(dict.fromkeys(one for elt in elts for one in self.say(elt, world)))
            case ast.Starred(value=inner) | ast.Await(value=inner):
                return self.say(inner, world)
            case ast.NamedExpr(value=inner):
                return self.say(inner, world)
            case ast.GeneratorExp() | ast.ListComp():
                return self._listed(node, world)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self.say(child, world)
                return hole(node)

    def _part(self, part: ast.expr, world: World) -> Templates:
        if not isinstance(part, ast.FormattedValue):
            return self.say(part, world)
        said = self.say(part.value, world)
        if part.conversion == ord("r") and says_something(said):
            return tuple(f"'{one}'" for one in said)
        return said if isinstance(part.value, ast.Name) or says_something(said) else hole(part.value)

    def _listed(self, inner: ast.expr, world: World) -> Templates:
        if isinstance(inner, ast.GeneratorExp | ast.ListComp):
            bound: World = {}
            for one in inner.generators:
                for within in loop_rows(one.target, one.iter):
                    bound |= within
            said = self.say(inner.elt, world | bound)
            return said if says_something(said) else hole(inner.generators[0].iter)
        said = self.say(inner, world)
        return said if says_something(said) else hole(inner)

    def _call(self, node: ast.Call, world: World) -> Templates:
        given: list[tuple[str | None, Templates]] = [(None, self.say(one, world)) for one in node.args]
        given += [(one.arg or "", self.say(one.value, world)) for one in node.keywords]
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = label(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        kind = f"{owner}.{name}" if self._interpreter.wants(f"{owner}.{name}") else name
        if self._interpreter.wants(kind):
            numbered = {keyword or str(place): said for place, (keyword, said) in enumerate(given)}
            self._interpreter.note(self._module, node, kind, numbered)
            return hole(node)
        if name == "str" and given:
            return given[0][1]
        local = isinstance(node.func, ast.Name) or owner in ("self", "cls")
        returned = self._interpreter.call(self._module, name, given) if local else ()
        return returned if says_something(returned) else hole(node)


def _copies(worlds: list[World]) -> list[World]:
    return [dict(world) for world in worlds]


def _distinct(worlds: list[World]) -> list[World]:
    unique: list[World] = []
    for world in worlds:
        if world not in unique:
            unique.append(world)
    return unique[:MOST_WORLDS]


def _joined(parts: Sequence[Templates]) -> Templates:
    return tuple(dict.fromkeys("".join(chosen) for chosen in product(*parts)))[:MOST_WORLDS]
