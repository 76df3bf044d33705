r"""Identities and derivatives of a derivation as data for the reflexive checker of ``theory/kernel/Reflect*.v``.

A derivation is run with a record of what it decides; both sides of every scalar identity are written as expression
trees as the derivation handed them over, and the derivatives that it took by SymPy become certificates of their own.
Only printing is trusted: symbols become numbered variables, which a comment maps back. Square roots become variables
with the relation that defines them, and each ``exp(m/q)`` of a monomial m a variable, so that
``exp(a + b) = exp(a) exp(b)`` is used by the printing. Other functions, sums over a symbolic bound, moments, matrices
of symbolic size, signs, and what SymPy decided by other means than a normal form are left out, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import lcm
from pathlib import Path
from typing import Any

import sympy
from sympy import Expr, Indexed, Integer, Rational, Symbol

from hltm.base.errors import InputError
from hltm.base.userfile import run_file
from theory.core.decide import POLYNOMIAL
from theory.core.record import Derivative, Identity, Record, recorded

LIMIT = 200_000  # nodes of one identity
SHOWN = 2000  # letters of an identity in a comment
ROUNDS = 20  # how often the relations of roots are used

REAL, FIELD = "polynomial", "rational function"


class NotExportedError(Exception):
    """An expression that the checker has no constructor for."""


@dataclass(frozen=True)
class Lemma:
    """One lemma: its name, what it says in SymPy's words, its kind, and its text for the checker."""

    name: str
    says: str
    kind: str
    text: str


@dataclass(frozen=True)
class Exported:
    """What was written of a derivation: the file, its lemmas, and what was left out, with the reasons."""

    name: str
    text: str
    lemmas: tuple[Lemma, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def reasons(self) -> list[str]:
        """Why something was left out, each reason once."""
        return list(dict.fromkeys(reason for _, reason in self.left_out))


@dataclass
class Writer:
    """Expression trees over numbered variables."""

    numbers: dict[Expr, int] = field(default_factory=dict)
    roots: dict[int, Expr] = field(default_factory=dict)
    units: Mapping[Expr, int] = field(default_factory=dict)
    nodes: int = 0

    def variable(self, atom: Expr) -> str:
        """The variable of a symbol, of a root, or of the exponential of a monomial."""
        return f"X {self.numbers.setdefault(atom, len(self.numbers) + 1)}"

    def write(self, expr: Expr) -> str:
        """The tree of an expression."""
        self.nodes += 1
        if self.nodes > LIMIT:
            raise NotExportedError(f"more than {LIMIT} nodes")
        if isinstance(expr, Rational):
            return constant(expr)
        if isinstance(expr, Symbol | Indexed):
            if expr.is_zero:
                return constant(Integer(0))
            if not expr.is_commutative:
                raise NotExportedError(f"{expr} does not commute")
            return self.variable(expr)
        if expr.is_Add or expr.is_Mul:
            return balanced("A" if expr.is_Add else "M", [self.write(part) for part in expr.args])
        if isinstance(expr, sympy.exp):
            return self._exponential(expr)
        if expr.is_Pow:
            return self._power(expr.base, expr.exp)
        raise NotExportedError(f"{type(expr).__name__} is none of its operations")

    def _power(self, base: Expr, exponent: Expr) -> str:
        if not exponent.is_Rational:
            raise NotExportedError(f"the exponent {exponent} is no number")
        if exponent.q == 1:
            text = self.write(base)
        elif exponent.q == 2:
            text = self.root(base)
        else:
            raise NotExportedError(f"a root of order {exponent.q}")
        return power(text, int(exponent.p))

    def root(self, base: Expr) -> str:
        """The variable that stands for the square root of a polynomial."""
        if base.has(sympy.exp) or any(not p.exp.is_Integer or p.exp.is_negative for p in base.atoms(sympy.Pow)):
            raise NotExportedError("a root of what is no polynomial")
        inner = Writer(dict(self.numbers))
        inner.write(base)
        for atom in inner.numbers:
            self.variable(atom)
        text = self.variable(sympy.sqrt(base))
        self.roots[self.numbers[sympy.sqrt(base)]] = base
        return text

    def _exponential(self, expr: Expr) -> str:
        factors = []
        for monomial, coefficient in terms(expr.args[0]):
            if not coefficient.is_Rational:
                raise NotExportedError(f"the exponent {coefficient} is no rational")
            unit = sympy.exp(monomial / self.units[monomial], evaluate=False)
            factors.append(power(self.variable(unit), int(coefficient * self.units[monomial])))
        return balanced("M", factors) if factors else constant(Integer(1))


def constant(number: Rational) -> str:
    """A rational as a constructor."""
    return f"K {signed(int(number.p))} {int(number.q)}"


def signed(number: int) -> str:
    """An integer, in brackets where it is negative."""
    return str(number) if number >= 0 else f"({number})"


def power(text: str, exponent: int) -> str:
    """An integer power of a tree."""
    if exponent < 0:
        return f"D ({power(text, -exponent)})"
    return text if exponent == 1 else f"P ({text}) {exponent}"


def balanced(constructor: str, parts: Sequence[str]) -> str:
    """A sum or product as a balanced tree, whose depth no parser overflows on."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    first, second = balanced(constructor, parts[:middle]), balanced(constructor, parts[middle:])
    return f"{constructor} ({first}) ({second})"


def terms(exponent: Expr) -> list[tuple[Expr, Expr]]:
    """Monomials of an exponent with their coefficients."""
    return list(sympy.expand(exponent).as_coefficients_dict().items())


def units_of(expressions: Sequence[Expr]) -> dict[Expr, int]:
    """Of every monomial in an exponent the common denominator of its coefficients."""
    result: dict[Expr, int] = {}
    for expression in expressions:
        for exponential in expression.atoms(sympy.exp):
            for monomial, coefficient in terms(exponential.args[0]):
                denominator = int(coefficient.q) if coefficient.is_Rational else 1
                result[monomial] = lcm(result.get(monomial, 1), denominator)
    return result


def divisors(text: str) -> list[str]:
    """Every d of every ``D (d)`` in a tree, word for word, each once."""
    found: dict[str, None] = {}
    start = text.find("D (")
    while start >= 0:
        depth, at = 1, start + 3
        while depth:
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        found.setdefault(text[start + 3 : at - 1])
        start = text.find("D (", start + 1)
    return list(found)


def _left_out(what: str) -> Lemma:
    raise NotExportedError(what)


def identity_lemma(name: str, identity: Identity) -> Lemma:
    """The lemma of an identity."""
    if identity.method != POLYNOMIAL:
        raise NotExportedError(f"decided by {identity.method}")
    writer = Writer(units=units_of((identity.left, identity.right)))
    left, right = writer.write(identity.left), writer.write(identity.right)
    says = f"{sympy.sstr(identity.left)} = {sympy.sstr(identity.right)}"
    if writer.roots or "D (" in left + right:
        relations = [f"(P (X {number}) 2, {writer.write(base)})" for number, base in writer.roots.items()]
        divided = list(dict.fromkeys(divisors(left) + divisors(right)))
        call = f"check_field {ROUNDS if relations else 0} {listed(relations)} {listed(divided)}"
        kind = FIELD
    else:
        call, kind = "check", REAL
    return Lemma(name, says, kind, lemma(name, f"{call}\n  ({left})\n  ({right})", writer, says))


def derivative_lemma(name: str, derivative: Derivative) -> Lemma:
    """The lemma that a derivative is one."""
    writer = Writer()
    if derivative.function.has(sympy.exp):
        raise NotExportedError("the derivative of an exponential")
    function, value = writer.write(derivative.function), writer.write(derivative.value)
    variable = writer.variable(derivative.variable).removeprefix("X ")
    says = f"d/d{derivative.variable} of {sympy.sstr(derivative.function)} is {sympy.sstr(derivative.value)}"
    if writer.roots or "D (" in function + value:
        roots = [f"({number}%positive, {writer.write(base)})" for number, base in writer.roots.items()]
        divided = [*divisors(function), *divisors(value), *(f"M (K 2 1) (X {number})" for number in writer.roots)]
        call = f"check_gradient {ROUNDS} {listed(roots)} {listed(list(dict.fromkeys(divided)))} {variable}"
        kind = FIELD
    else:
        call, kind = f"check_derivative {variable}", REAL
    return Lemma(
        name, says, f"derivative of a {kind}", lemma(name, f"{call}\n  ({function})\n  ({value})", writer, says)
    )


def listed(items: Sequence[str]) -> str:
    """A list of the checker's language."""
    return f"[{'; '.join(items)}]"


def lemma(name: str, call: str, writer: Writer, says: str) -> str:
    """The text of a lemma: what it says, its variables, and its proof by computation."""
    named = comment(", ".join(f"X {number} = {sympy.sstr(atom)}" for atom, number in writer.numbers.items()))
    head = f"(* {shortened(comment(says))}\n   {named} *)\n"
    return f"{head}Lemma {name} : {call} = true.\nProof. vm_compute; reflexivity. Qed.\n"


def comment(text: str) -> str:
    """Text inside a comment: nothing opens or ends one, or a string."""
    return text.replace("(*", "( *").replace("*)", "* )").replace('"', "'")


def shortened(text: str) -> str:
    """The beginning of what is only there to be read."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


HEADER = """(* Identities that the derivation of {title} decides, exported by python -m theory kernel export.
   The format is that of Reflect.v; only this printing is trusted. *)
From Coq Require Import List.
From Covop Require Import Reflect{imports}.
Import ListNotations.
Open Scope list_scope.

"""


_COMMENT = re.compile(r"\(\*.*?\*\)", re.DOTALL)
_LEMMA = re.compile(
    r"Lemma (\w+) : check(?:_field|_derivative|_gradient)?\s[\w\s()\[\];,%-]+ = true\.\s+"
    r"Proof\. vm_compute; reflexivity\. Qed\.\s*"
)
_OPENING = re.compile(
    r"\s*From Coq Require Import List\.\s+From Covop Require Import Reflect( ReflectReals ReflectField)?\.\s+"
    r"Import ListNotations\.\s+Open Scope list_scope\.\s*"
)


def lemmas_of(text: str, place: str) -> list[str]:
    """Names of the lemmas of an exported file; InputError for a file with anything else in it.

    The compiler accepts what is admitted, and runs what a file tells it to load.
    """
    # Comments nest, and a string in one may hide its end: what is exported has neither.
    plain = '"' not in text and text.count("(*") == text.count("*)")
    plain = plain and not any("(*" in found[0][2:] for found in _COMMENT.finditer(text))
    code = _COMMENT.sub("", text)
    opening = _OPENING.match(code) if plain else None
    names, at = [], opening.end() if opening else 0
    while opening and (found := _LEMMA.match(code, at)):
        names.append(found[1])
        at = found.end()
    if opening is None or at < len(code) or not names:
        near = code[at : at + 60].split("\n")[0]
        raise InputError(f"file {place!r}: must hold what `kernel export` writes, and nothing else; got {near!r}")
    return names


def defaults(slug: str) -> list[dict[str, Any]]:
    """The options of the derivations of a statement that are exported."""
    from hltm import complete_tree

    tree = complete_tree(depth=2, branching=2, polarity=0.5)
    below = tree.children(tree.root)[0]
    options: dict[str, list[dict[str, Any]]] = {
        "dual-gradient": [
            {"widths": (3, 2, 2)},
            {"widths": (3, 3, 2, 2)},
            {"widths": (1, 2, 2), "output": "normalized"},
        ],
        "contrastive-losses": [{"loss": "triplet", "negatives": 1}, {"loss": "infonce", "negatives": 3}],
        "covariance-operator": [],  # decided by moments
        "weighted-covariance-operator": [{"loss": "triplet"}, {"loss": "infonce"}],
        "two-layer-dynamics": [{"widths": (2, 2, 1)}, {"claim": "ring"}],
        "activation-covariance": [
            {}, {"tree": tree, "node": below}, {"claim": "operator"}, {"claim": "walsh"}, {"claim": "losses"},
        ],
        "lucky-nodes": [{"claim": claim} for claim in ("gap", "existence", "strength", "law")],
    }  # fmt: skip
    from theory.registry import PACKS, entry_of

    if slug in PACKS:
        return [{"part": part} for part in entry_of(slug).options["part"] or ()]
    return options[slug]


def exports(slug: str) -> list[Exported]:
    """The files of a statement, at the sizes that are exported by default."""
    from theory.registry import derive

    def run(options: dict[str, Any]) -> Any:
        return derive(slug, **options).decision

    return [export(titled(slug, options), partial(run, options)) for options in defaults(slug)]


def exports_of_file(path: Path) -> list[Exported]:
    """The identities that the symbolic claims of a user's statements come down to; the file is run.

    A statement (``verify.user_statement``) is what has a slug and checks; that of kind "symbolic" decides its claims.
    """
    values = list(vars(run_file(path)).values())
    found = {one.slug: one for one in values if hasattr(one, "slug") and hasattr(one, "checks")}
    runs = {slug: check.run for slug, one in found.items() for check in one.checks if check.kind == "symbolic"}
    if not runs:
        raise InputError(f"file {str(path)!r}: defines no statement with symbolic claims")
    return [export(slug, partial(run, None)) for slug, run in runs.items()]


def titled(slug: str, options: Mapping[str, Any]) -> str:
    """A derivation in words."""
    words = [f"{name}={value}" for name, value in options.items() if name != "tree"]
    return ", ".join([slug, *words])


def export(title: str, run: Callable[[], Any]) -> Exported:
    """Run a derivation and write what it decides."""
    with recorded() as record:
        run()
    return written(title, record)


def written(title: str, record: Record) -> Exported:
    """The file of a record."""
    lemmas: list[Lemma] = []
    left_out: list[tuple[str, str]] = []
    for says, make in _candidates(record):
        try:
            lemmas.append(make())
        except NotExportedError as reason:
            left_out.append((says, str(reason)))
    reals = any(one.kind != REAL for one in lemmas)
    header = HEADER.format(title=comment(title), imports=" ReflectReals ReflectField" if reals else "")
    text = header + "\n".join(one.text for one in lemmas)
    return Exported(title, text, tuple(lemmas), tuple(left_out))


def _candidates(record: Record) -> Iterator[tuple[str, Callable[[], Lemma]]]:
    for what, count in record.others.items():
        for _ in range(count):
            yield what, partial(_left_out, what)
    for number, derivative in enumerate(record.derivatives, start=1):
        yield f"d/d{derivative.variable}", partial(derivative_lemma, f"derivative_{number}", derivative)
    for number, identity in enumerate(record.identities, start=1):
        if identity.proved:
            yield sympy.sstr(identity.left)[:80], partial(identity_lemma, f"identity_{number}", identity)
