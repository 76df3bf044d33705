"""The reflexive checker against the tactic `ring`, on the identities of statement 1 at (3, 3, 2, 2), files compiled whole.

Both sides get the same unexpanded expressions: as data for the checker, as terms over the rationals for the tactic. That
they agree is that the compiler accepts both, and rejects both when one coefficient is changed.
"""

import re
import sys
import tempfile
from pathlib import Path

from measure import Result, best_times

from theory import derive
from theory.kernel import rocq
from theory.kernel.export import HEADER, REAL, export

WIDTHS = (3, 3, 2, 2)
LARGEST = 12
RING = "From Coq Require Import QArith.\nOpen Scope Q_scope.\n"


def term(tree: str) -> str:
    """A tree of the checker as a term over the rationals."""
    words = re.findall(r"[()]|-?\w+", tree)

    def read(at: int) -> tuple[str, int]:
        if words[at] == "(":
            inner, at = read(at + 1)
            return (inner, at + 1) if at < len(words) and words[at] == ")" else (inner, at)
        head = words[at]
        if head == "X":
            return f"x{words[at + 1]}", at + 2
        if head == "K":
            number, at = (words[at + 2], at + 4) if words[at + 1] == "(" else (words[at + 1], at + 2)
            return f"(({number}) # {words[at]})", at + 1
        left, at = read(at + 1)
        if head == "P":
            return f"({left} ^ {words[at]})", at + 1
        right, at = read(at)
        return f"({left} {'+' if head == 'A' else '*'} {right})", at

    return read(0)[0]


def by_ring(text: str) -> str:
    """A lemma of the checker as one that `ring` proves."""
    name = re.search(r"Lemma (\w+)", text)
    left, right = (line.strip().removesuffix(" = true.")[1:-1] for line in text.split("\n") if line.startswith("  ("))
    count = max(int(number) for number in re.findall(r"X (\d+)", text))
    variables = " ".join(f"x{number}" for number in range(1, count + 1))
    goal = f"forall {variables} : Q, {term(left)} == {term(right)}"
    return f"Lemma {name[1] if name else 'a'} : {goal}.\nProof. intros; ring. Qed.\n"


def run() -> list[Result]:
    """One result: the time of `ring` over that of the checker."""
    found = rocq.compiler()
    if found is None:
        sys.stderr.write(f"kernel: not measured, there is no compiler ({rocq.INSTALL})\n")
        return []
    place, ready = rocq.library(found, rocq.CHECKER)
    exported = export("bench", lambda: derive("dual-gradient", widths=WIDTHS))
    polynomials = [lemma for lemma in exported.lemmas if lemma.kind == REAL]
    chosen = sorted(polynomials, key=lambda lemma: len(lemma.text))[-LARGEST:]
    texts = {
        "checker": HEADER.format(title="bench", imports="") + "\n".join(lemma.text for lemma in chosen),
        "ring": RING + "\n".join(by_ring(lemma.text) for lemma in chosen),
    }
    # The last variable of the last identity is another one.
    wrong = {
        "checker": re.sub(r"X \d+(?!.*X \d)", "X 1", texts["checker"], flags=re.DOTALL),
        "ring": re.sub(r"x\d+(?!.*x\d)", "x1", texts["ring"], flags=re.DOTALL),
    }
    with tempfile.TemporaryDirectory() as folder:
        for side in texts:
            Path(folder, f"{side}.v").write_text(texts[side])
            Path(folder, f"{side}_wrong.v").write_text(wrong[side])

        def accepted(name: str) -> bool:
            return rocq.compile_file(found, Path(folder), name, place).status == "accepted"

        agree = all(accepted(f"{side}.v") and not accepted(f"{side}_wrong.v") for side in texts)
        times = best_times({side: lambda side=side: accepted(f"{side}.v") for side in texts}, 2)
    detail = {"lemmas": len(chosen), "seconds": times["checker"], "ring_seconds": times["ring"]}
    ratio, name = times["ring"] / times["checker"], f"reflexive checker, {len(chosen)} identities at {WIDTHS}"
    residual = 0.0 if agree and ready.status == "accepted" else 1.0
    return [Result(name, residual, 0.0, ratio, "times as fast as ring", 8.0, detail=detail)]
