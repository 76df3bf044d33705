"""Parts of pages that are written by the code they speak of, so that nothing is typed twice.

A fence ```` ```{statement} SLUG ```` in a page is replaced by Markdown when Sphinx reads the page; likewise
``checked``, ``not-covered``, ``kernel``, ``checking-modules``, ``derivation``, ``packs``, ``symbols``, ``relations``,
``measured`` and ``command-line``.
"""

import importlib
import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from docutils import nodes
from measured import measured
from sphinx.addnodes import desc_signature, pending_xref
from sphinx.application import Sphinx
from sphinx.util import logging

from verify.engine.statement import Check, Statement
from verify.registry import PACKS, REGISTRY, entry

LOGGER = logging.getLogger(__name__)
FENCE = re.compile(r"^```\{(?P<name>[a-z-]+)\}(?P<argument>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"\{py:(?:func|class|mod)\}`([\w.]+)`")
PACKAGES = ("hltm", "theory", "numeric", "verify")


def plain(text: str) -> str:
    """Text in which Markdown sees no markup."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|$~^-])", r"\\\1", " ".join(text.split()))


def named(path: str) -> Any:
    """The object of a dotted name; AttributeError or ImportError where there is none."""
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ImportError(f"no module in {path!r}")


def link(path: str) -> str:
    """A link to the reference of a module, or of something in it."""
    found = named(path)
    kind = "mod" if type(found).__name__ == "module" else "class" if isinstance(found, type) else "func"
    return f"{{py:{kind}}}`{path}`"


def checked(argument: str, body: str) -> str:
    """A formula with links: what checks it, parted by commas, and after a semicolon what computes it."""
    checks, computing = (", ".join(map(link, names)) for names in both(argument))
    told = f"Checked by {checks}." + (f" Computed by {computing}." if computing else "")
    return f"$$\n{body.strip()}\n$$\n\n{told}\n"


def both(argument: str) -> tuple[list[str], list[str]]:
    """The dotted names of what checks a formula, and of what computes it.

    Examples
    --------
    >>> both("a.b, c.d; e.f")
    (['a.b', 'c.d'], ['e.f'])
    """
    checks, _, computing = argument.partition(";")
    return [name.strip() for name in checks.split(",")], [name.strip() for name in computing.split(",") if name.strip()]


def running(check: Check) -> str:
    """The function that a check runs, as a dotted name; what a lambda calls, where it is one."""
    run: Any = check.run
    while isinstance(run, partial):
        run = run.func
    module, name = run.__module__, run.__name__
    if name != "<lambda>":
        name = run.__qualname__.split(".<locals>")[0]  # what made it, where it is made by a function
    else:
        known = vars(importlib.import_module(module))
        name = next((n for n in run.__code__.co_names if callable(known.get(n))), "")
        module, name = (known[name].__module__, known[name].__name__) if name else (module, "")
    return f"{module}.{name}" if name else module


def statement(argument: str, body: str) -> str:
    """A statement as the registry has it: claim, assumptions, evidence, mutants, what is not covered."""
    from theory.latex.render import for_browsers

    found = entry(argument.strip()).load()
    module = entry(argument.strip()).module
    lines = [
        "$$",
        for_browsers(found.claim),
        "$$",
        "",
        f"Checked by {link(str(module))}. Source: {plain(found.source)}.",
        "",
    ]
    lines += ["**Assumptions**", "", *(f"* {plain(text)}" for text in found.assumptions), ""]
    lines += ["**Not covered**", "", *(f"* {plain(text)}" for text in found.not_covered), ""]
    lines += ["**Evidence**", "", "| kind | instances from | function |", "|---|---|---|"]
    lines += [f"| {check.kind} | {plain(check.source)} | {link(running(check))} |" for check in found.checks]
    lines += ["", *proved_for_all_sizes(found.slug)]
    lines += ["", "**Mutants**, each of which the evidence has to refute", ""]
    lines += ["| name | the change | refuted by |", "|---|---|---|"]
    lines += [f"| `{v.name}` | {plain(v.change)} | {', '.join(v.caught_by)} |" for v in found.variants]
    return "\n".join([*lines, "", *dropped(found), *measuring(found)]) + "\n"


def proved_for_all_sizes(slug: str) -> list[str]:
    """The theorems of a statement as the files of the proof assistant have them."""
    from theory.kernel.theorems import NONE, THEOREMS

    covered = THEOREMS.get(slug, NONE)
    if not covered.theorems:
        return []
    lines = ["**Theorems for all sizes**, in Rocq (`make prove`)", ""]
    for theorem in covered.theorems:
        lines += [f"`{theorem.name}` in `theory/kernel/{theorem.file}.v`: {plain(theorem.says)}.", ""]
        lines += ["```coq", theorem.text, "```", ""]
    return [*lines, f"No theorem is about: {plain(covered.missing)}.", ""] if covered.missing else lines


def kernel(argument: str, body: str) -> str:
    """What a proof assistant checks of every statement: for all sizes, at given sizes, and not."""
    from theory.kernel.export import defaults
    from theory.kernel.theorems import THEOREMS

    lines = ["| statement | for all sizes | at given sizes | not |", "|---|---|---|---|"]
    for known in (*REGISTRY, *PACKS):
        covered = THEOREMS.get(known.slug)
        if covered is None:
            continue
        names = ", ".join(f"`{theorem.name}`" for theorem in covered.theorems)
        given = [
            ", ".join(f"{name}={value}" for name, value in one.items() if name != "tree") or "as stated"
            for one in defaults(known.slug)
        ]
        title, folder = (known.slug, "packs") if known.theorem is None else (known.heading, "mathematics")
        row = f"[{title}](/{folder}/{known.slug}.md) | {names} | {plain('; '.join(given))}"
        lines.append(f"| {row} | {plain(covered.missing or 'nothing')} |")
    return "\n".join(lines) + "\n"


def dropped(found: Statement) -> list[str]:
    """Assumptions that are dropped in turn, and what is expected without them."""
    if not found.drops:
        return []
    rows = [
        f"| {plain(a.name)} | {plain(a.dropped)} | {'a counterexample' if a.necessary else 'none: not needed'} |"
        for a in found.drops
    ]
    return [
        "**Assumptions dropped in turn** (`--assumptions`)", "",
        "| assumption | in its place | expected |", "|---|---|---|", *rows, "",
    ]  # fmt: skip


def measuring(found: Statement) -> list[str]:
    """What a replay of an instance calls."""
    rows = [f"* {kind}: {link(name)}" for kind, name in measures(found).items()]
    return ["**One instance is measured by**", "", *rows, ""] if rows else []


def measures(found: Statement) -> dict[str, str]:
    """Kind of evidence to the function that measures one instance, as a dotted name; lambdas have none."""
    names = {}
    for kind, measure in found.measures.items():
        run: Any = measure
        while isinstance(run, partial):
            run = run.func
        if run.__name__ != "<lambda>":
            names[kind] = f"{run.__module__}.{run.__qualname__}"
    return names


def not_covered(argument: str, body: str) -> str:
    """What no check reaches, statement by statement."""
    lines = []
    for known in REGISTRY:
        found = known.load()
        texts = "; ".join(plain(text) for text in found.not_covered)
        lines.append(f"* [{known.theorem}, {plain(found.title)}](/mathematics/{known.slug}.md): {texts}")
    missing = [known.slug for known in REGISTRY if known.module is None]
    return "\n".join([*lines, *(f"* `{slug}`: not covered at all" for slug in missing)]) + "\n"


def relations(argument: str, body: str) -> str:
    """The relation of every statement to the paper, as reports show it."""
    from verify.report.view import PAPER_NOTE

    lines = [
        PAPER_NOTE,
        "",
        "| statement | relation | what differs | known from | confidence |",
        "|---|---|---|---|---|",
    ]
    for known in REGISTRY:
        row = known.load().relation_to_paper
        if row is not None:
            texts = " | ".join(map(plain, (row.relation, row.difference, row.source, row.confidence)))
            lines.append(f"| [{known.heading}](/mathematics/{known.slug}.md) | {texts} |")
    return "\n".join(lines) + "\n"


def packs(argument: str, body: str) -> str:
    """The statements of other papers: title, source, and how much of each is checked."""
    from theory.registry import entry_of

    lines = ["| statement | what it says | formulas | mutants | source |", "|---|---|---|---|---|"]
    for known in PACKS:
        found, parts = known.load(), entry_of(known.slug).options["part"] or ()
        row = f"[`{known.slug}`](/packs/{known.slug}.md) | {plain(found.title)}"
        lines.append(f"| {row} | {len(parts)} | {len(found.variants)} | {plain(found.source)} |")
    return "\n".join(lines) + "\n"


def derivation(argument: str, body: str) -> str:
    """The derivation of a statement, step by step, as `theory.derive` gives it."""
    from theory import derive
    from theory.latex.render import for_browsers, rows

    found = derive(argument.strip())
    status = "proved" if found.proved else "not proved"
    links = " in ".join(map(link, reversed(deriving(found.slug))))
    lines = [f"Derived by {links} (`{found.slug}`), {len(found.steps)} steps, {status}:", ""]
    for number, step in enumerate(found.steps, start=1):
        tex = for_browsers(" \\\\\n".join(rows(step.expression)))
        aligned = f"\\begin{{aligned}}\n{tex}\n\\end{{aligned}}"
        lines += [f"{number}. {plain(step.justification)} ({plain(step.decision.method)})", "", "$$", aligned, "$$", ""]
    return "\n".join(lines)


def deriving(slug: str) -> tuple[str, str]:
    """What derives a statement: `theory.derive`, and the function that it calls."""
    from theory.registry import entry_of

    run: Any = entry_of(slug).derive
    if run.__module__ == "theory.registry":
        known = vars(importlib.import_module("theory.registry"))
        run = next(known[name] for name in run.__code__.co_names if callable(known.get(name)))
    return "theory.derive", f"{run.__module__}.{run.__name__}"


def symbols(argument: str, body: str) -> str:
    """What the symbols of the statements stand for, as reports have it."""
    from verify.report.view import SYMBOLS

    rows = [f"| ${one.tex}$ | {plain(one.meaning)} |" for one in SYMBOLS]
    return "\n".join(["| symbol | what it stands for |", "|---|---|", *rows]) + "\n"


def modules(pages: Path) -> list[str]:
    """Every module that holds something a page of the mathematics links to."""
    found: set[str] = set()
    for known in (*REGISTRY, *PACKS):
        loaded = known.load()
        found.add(str(known.module))
        targets = [running(check) for check in loaded.checks]
        targets += measures(loaded).values()
        found |= {module_of(target) for target in targets}
    found |= {module_of(name) for name in explained_in(pages)}
    return sorted(found - set(PACKAGES))


def module_of(path: str) -> str:
    """The module that a dotted name is looked up in."""
    while type(named(path)).__name__ != "module":
        path = path.rpartition(".")[0]
    return path


def checking_modules(pages: Path, argument: str, body: str) -> str:
    """Reference of the modules of one package that check something."""
    chosen = [name for name in modules(pages) if name.startswith(f"{argument.strip()}.")]
    return "\n".join(f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n" for name in chosen)


@lru_cache
def explained_in(pages: Path) -> dict[str, list[str]]:
    """What is linked from where: the dotted name of code to the pages of the mathematics that link to it."""
    found: dict[str, list[str]] = {}
    for page in sorted([*Path(pages).glob("mathematics/*.md"), *Path(pages).glob("packs/*.md")]):
        docname = f"{page.parent.name}/{page.stem}"
        text = page.read_text(encoding="utf-8")
        names: list[str] = INLINE.findall(text)
        for match in FENCE.finditer(text):
            if match["name"] == "checked":
                names += [name for part in both(match["argument"]) for name in part]
            if match["name"] == "derivation":
                names += deriving(match["argument"].strip())
            if match["name"] == "statement":
                known = entry(match["argument"].strip())
                loaded = known.load()
                names += [str(known.module), *map(running, loaded.checks), *measures(loaded).values()]
        for name in dict.fromkeys(names):
            found.setdefault(name, []).append(docname)
    return found


def command_line(argument: str, body: str) -> str:
    """The help of every command of a package, as the program prints it."""
    import typer

    package = argument.strip()
    command: Any = typer.main.get_command(importlib.import_module(f"{package}.cli").app)
    lines: list[str] = []

    def write(current: Any, name: str, level: int) -> None:
        context = type(current).context_class(current, info_name=name, max_content_width=100, terminal_width=100)
        lines.extend([f"{'#' * level} {name}", "", "```text", current.get_help(context).rstrip(), "```", ""])
        for child, inner in getattr(current, "commands", {}).items():
            write(inner, f"{name} {child}", level + 1)

    write(command, f"python -m {package}", 2)
    return "\n".join(lines)


def replace(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the fences of a page that is about to be read."""
    pages = Path(app.srcdir)
    generators: dict[str, Callable[[str, str], str]] = {
        "checked": checked,
        "checking-modules": partial(checking_modules, pages),
        "command-line": command_line,
        "derivation": derivation,
        "kernel": kernel,
        "measured": measured,
        "not-covered": not_covered,
        "packs": packs,
        "relations": relations,
        "statement": statement,
        "symbols": symbols,
    }

    def written(match: re.Match[str]) -> str:
        generator = generators.get(match["name"])
        return match[0] if generator is None else generator(match["argument"], match["body"])

    if Path(app.env.doc2path(docname)).suffix == ".md":
        source[0] = FENCE.sub(written, source[0])


def missing(app: Sphinx, env: object, node: pending_xref, content: nodes.Element) -> None:
    """Links that pages make must lead somewhere; docstrings may name what has no page of its own."""
    if node.get("refdomain") == "py" and not node["refdoc"].startswith("reference/"):
        LOGGER.warning("link to %r leads nowhere", node["reftarget"], location=node)


def anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Give what a package offers, and what its modules define, both names: pages of the source link to either."""
    for node in doctree.findall(desc_signature):
        module, name = node.get("module"), node.get("fullname")
        if module and name and node["ids"]:
            with suppress(AttributeError, ImportError):
                home = getattr(named(f"{module}.{name}"), "__module__", None) or module
                names = (f"{home}.{name}", f"{module.partition('.')[0]}.{name}")
                node["ids"] += [alias for alias in dict.fromkeys(names) if alias not in node["ids"]]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect what reads and what checks."""
    app.connect("source-read", replace)
    app.connect("missing-reference", missing)
    app.connect("doctree-read", anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
