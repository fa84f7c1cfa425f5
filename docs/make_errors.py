"""Write docs/errors.md: every message of both packages, from their source, so that a pasted one is found.

``python docs/make_errors.py`` writes the page; with ``--check`` it only compares, and exits 1 where the page is stale.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from message_templates import Interpreter, Site
from python_source import Module, parse_module, says_something

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "errors.md"
COMMAND = "python docs/make_errors.py"
PACKAGES = ("slideprep", "kdtrain")

USAGE, FAILED, LISTED, PYTHON = "usage", "failed", "listed", "python"
LEFT_OUT, FAULT, WARNING = "left-out", "fault", "warning"
ROOTS = {
    "UsageError": USAGE,
    "TrainingError": FAILED,
    "OutputError": FAILED,
    "ClusterError": FAILED,
    "InputError": LISTED,
    "SlideError": LISTED,
    "ShardError": FAILED,
    "ValueError": PYTHON,
    "OSError": PYTHON,
}
"""What becomes of an exception and of those derived from it."""
CALLS = {
    "_stop": ("0", FAILED),
    "Failure": ("reason", LISTED),
    "Rejected": ("reason", LISTED),
    "PlannedSlide": ("left_out", LEFT_OUT),
    "Fault": ("message", FAULT),
    "_fault": ("1", FAULT),
    "warnings.append": ("0", WARNING),
    "notes.append": ("0", WARNING),
}
"""Other calls that carry a message: in which argument, and where it is shown."""
HOLE = r"<[^<>]*>"
RETURNS = {
    ("slideprep.regions.layout", "refusal"): LEFT_OUT,
    ("slideprep.units", "_disagreement"): WARNING,
    ("kdtrain.predict.task", "_refused"): LISTED,
    ("kdtrain.bundle.training_data", "_size_outside"): WARNING,
    ("kdtrain.bundle.training_data", "_stain_outside"): WARNING,
    ("kdtrain.bundle.training_data", "_mpp_outside"): WARNING,
    ("kdtrain.bundle.training_data", "_objective_outside"): WARNING,
}
"""Functions whose answer is a message."""

SECTIONS = (
    (USAGE, "Exit code 2: wrong usage", "Printed as `error: ...` before any work. Nothing was written."),
    (
        FAILED,
        "Exit code 1: failed",
        "Printed as `error: ...`. What was finished is kept: put right what the message names, and run the same "
        "command again. A rule such as `F09` is explained in [SHARD_FORMAT.md](../shards/SHARD_FORMAT.md).",
    ),
    (
        LISTED,
        "Exit code 3: some inputs failed",
        "In `failures.csv` of the shard set and in `preview.html`; the other slides were built. "
        "`slideprep inspect`, which has one slide only, prints them and exits 1.",
    ),
    (
        LEFT_OUT,
        "left_out.csv: left out by rule",
        "No fault, and no exit code: a rule or an option left these out.",
    ),
    (
        FAULT,
        "What slideprep verify finds",
        "Printed after the rule and the file; exit code 1. Build the set again: finished shards that verify are kept. "
        "The rules are in [SHARD_FORMAT.md](../shards/SHARD_FORMAT.md).",
    ),
    (
        WARNING,
        "Warnings",
        "Printed as `warning: ...`, and in `slides.csv` where they are of one slide. The work goes on.",
    ),
    (
        PYTHON,
        "From Python",
        "For callers of the modules. A command shows them inside one of the messages above, as its `<error>`.",
    ),
)


@dataclass(frozen=True, kw_only=True, order=True)
class Message:
    """One sentence that a program can say.

    Attributes:
        section: Key of SECTIONS.
        module: Dotted name of the module that says it.
        line: Where.
        text: With ``<holes>``.
    """

    section: str
    module: str
    line: int
    text: str


def load_modules(packages: Path) -> dict[str, Module]:
    """Parse both packages, in the order of their names."""
    modules = {}
    for package in PACKAGES:
        source = packages / package / "src"
        for file in sorted((source / package).rglob("*.py")):
            name = ".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
            modules[name] = parse_module(name, file.read_text(encoding="utf-8"))
    assert modules, f"there is no package in {packages}"
    return modules


def error_sections(packages: Path) -> dict[str, str]:
    """Section of every exception class, by its name.

    Raises:
        SystemExit: A class derives from none of ROOTS, so nobody said what becomes of it.
    """
    sections, bases = dict(ROOTS), {}
    for file in sorted(packages.glob("*/src/**/*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.bases and isinstance(node.bases[0], ast.Name):
                bases[node.name] = node.bases[0].id
    for name in bases:
        chain = [name]
        while chain[-1] in bases and chain[-1] not in ROOTS:
            chain.append(bases[chain[-1]])
        if chain[-1] in ROOTS:
            sections[name] = ROOTS[chain[-1]]
        elif chain[-1] in ("Exception", "RuntimeError") and not name.startswith("_"):
            raise SystemExit(
                f"{name} derives from none of {', '.join(ROOTS)}; say in ROOTS what becomes of it"
            )
    return sections


def collect(packages: Path) -> list[Message]:
    """Every message, sorted."""
    modules, errors = load_modules(packages), error_sections(packages)
    interpreter = Interpreter(modules, {*errors, *CALLS})
    messages: set[Message] = set()
    for module in modules.values():
        for function in module.functions.values():
            returned = interpreter.walk(module, function)
            section = RETURNS.get((module.name, function.name))
            if section is not None:
                line = function.lineno
                messages |= {
                    Message(section=section, module=module.name, line=line, text=text) for text in returned
                }
    alone, called = (_by_place(sites, errors, modules) for sites in (interpreter.alone, interpreter.called))
    for place in sorted({*alone, *called}):
        section, module_name, line = place
        for text in _pruned(alone.get(place, set()), called.get(place, set())):
            messages.add(Message(section=section, module=module_name, line=line, text=text))
    return sorted(message for message in messages if says_something((message.text,)))


def _by_place(
    sites: Iterable[Site], errors: Mapping[str, str], modules: Mapping[str, Module]
) -> dict[tuple[str, str, int], set[str]]:
    places: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for site in sites:
        for section, text in _texts(site, errors, modules):
            places[section, site.module, site.line].add(re.sub(r"\s+", " ", text).strip())
    return places


def _texts(site: Site, errors: Mapping[str, str], modules: Mapping[str, Module]) -> Iterator[tuple[str, str]]:
    """Sections and sentences of one construction."""
    if site.kind in CALLS:
        argument, section = CALLS[site.kind]
        if section == WARNING and not site.module.startswith("slideprep."):
            return
        for text in site.arguments.get(argument, ()):
            yield section, text
    elif site.kind == "ShardError":
        yield from _shard_texts(site)
    else:
        section = errors[site.kind]
        # A validator's ValueError becomes a UsageError that begins with the setting's name.
        if site.kind == "ValueError" and any(
            where == "pydantic" for where, _ in modules[site.module].imports.values()
        ):
            section = USAGE
        for text in site.arguments.get("0", ()):
            yield section, text


VERIFY = "run 'slideprep verify' on the folder; it lists every fault"


def _shard_texts(site: Site) -> Iterator[tuple[str, str]]:
    """As ``kdtrain.shards.error.ShardError`` puts its arguments together."""
    given = site.arguments
    where = ["<path>, <member>"] if "member" in given or "3" in given else ["<path>"]
    rules, reasons = given.get("0", ("<rule>",)), given.get("2", ("<reason>",))
    remedies = given.get("remedy") or given.get("4") or (VERIFY,)
    for rule, place, reason, remedy in product(rules, where, reasons, remedies):
        if says_something((reason,)):
            section = USAGE if rule == "request" else FAILED
            yield section, f"{place}: {reason} (rule {rule}); {remedy}"


def _pruned(alone: set[str], called: set[str]) -> set[str]:
    """Without those that say no more than another: the same with holes of other names, or with a short word filled in.

    Where calls fill a hole by sentences, the filled ones are kept and the one with the hole goes, unless a call leaves
    it open as well.
    """
    kept = alone | called
    open_in_calls = {_shape(text) for text in called}
    for general in sorted(kept):
        pattern = re.compile(".+".join(map(re.escape, re.split(HOLE, general))))
        special = {text for text in kept if text != general and pattern.fullmatch(text)}
        fuller = {text for text in special if _words(text) >= _words(general) + 2}
        if general not in kept or not special:
            continue
        kept -= special - fuller
        if fuller and _shape(general) not in open_in_calls:
            kept.discard(general)
    return kept


def _shape(text: str) -> str:
    return re.sub(HOLE, "<>", text)


def _words(text: str) -> int:
    return sum(any(map(str.isalpha, word)) for word in re.sub(HOLE, "", text).split())


def render(messages: Iterable[Message], modules: Mapping[str, Module]) -> str:
    """The page."""
    grouped: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for message in messages:
        texts = grouped[message.section][message.module]
        if message.text not in texts:
            texts.append(message.text)
    lines = [
        "# Error messages",
        "",
        f"Made from the source by `{COMMAND}`; do not edit. Search this page for a few words of a message. `<path>`",
        "and the like stand for what varies. What to do is in the message itself, mostly after its last semicolon;",
        "[troubleshooting](troubleshooting.md) tells more of the frequent ones.",
        "",
    ]
    for key, title, about in SECTIONS:
        if not grouped[key]:
            continue
        lines += [f"## {title}", "", about, ""]
        for name in sorted(grouped[key], key=lambda name: (PACKAGES.index(name.split(".")[0]), name)):
            lines += [f"**{name}**: {modules[name].summary}", ""]
            lines += [f"- {_code(text)}" for text in grouped[key][name]] + [""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def page(packages: Path = DOCS.parent / "packages") -> str:
    """The content that docs/errors.md should have."""
    return render(collect(packages), load_modules(packages))


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` compare it."""
    new = page()
    if arguments == ["--check"]:
        stale = not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != new
        print(f"{PAGE.name} is {'stale: run ' + COMMAND if stale else 'up to date'}")
        return int(stale)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
