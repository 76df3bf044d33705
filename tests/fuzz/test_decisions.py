"""Random relations, half of them true by construction, half false with a numerical witness: no wrong proof or refutation.

A relation is a tree of ours. Its true partner comes from sound rewriting (distributivity, transposes of products,
cyclic traces, mixed Kronecker products, inverses); a false one from a change whose effect is seen in integers. Trees are
evaluated with numpy on fractions, which shares no code with `theory`. FUZZ_EXAMPLES sets how many of each kind.
"""

import os
import time
from fractions import Fraction
from functools import reduce
from random import Random

import numpy as np
import pytest
import sympy

import theory
from theory.core.notation import Vec

EXAMPLES = min(int(os.environ.get("FUZZ_EXAMPLES", "500")), 4000)
"""Relations of each of five kinds: 20,000 in `make fuzz`."""
SECONDS = 20.0  # a decision takes milliseconds; the machine may be busy
SHAPES = {
    "A": "nn", "B": "nn", "C": "nn", "D": "mm", "E": "mm", "U": "nm", "W": "nm", "V": "mn", "Z": "mn",
}  # fmt: skip
SQUARE = {"n": "ABC", "m": "DE"}


class SingularError(Exception):
    """An instance has no value."""


# Trees: (operation, shape, *parts); the shape of a scalar is "".


def symbol(name):
    return ("symbol", SHAPES[name], name)


def identity(size):
    return ("identity", size + size)


def random_matrix(rng, rows, columns, depth, inverses=True):
    """A tree of a shape."""
    names = [name for name, shape in SHAPES.items() if shape == rows + columns]
    if depth == 0 or rng.random() < 0.15:
        if rows == columns and rng.random() < 0.1:
            return identity(rows)
        return symbol(rng.choice(names))
    shape = rows + columns
    kind = rng.choice(["add", "mul", "mul", "mul", "transpose", "scale", "hadamard", "inverse"])
    if kind == "add":
        return ("add", shape, *(random_matrix(rng, rows, columns, depth - 1, inverses) for _ in range(2)))
    if kind == "mul":
        inner = rng.choice("nm")
        parts = (random_matrix(rng, *ends, depth - 1, inverses) for ends in ((rows, inner), (inner, columns)))
        return ("mul", shape, *parts)
    if kind == "transpose":
        return ("transpose", shape, random_matrix(rng, columns, rows, depth - 1, inverses))
    if kind == "scale":
        return (
            "scale",
            shape,
            rng.choice([2, -1, 3, Fraction(1, 2)]),
            random_matrix(rng, rows, columns, depth - 1, inverses),
        )
    if kind == "hadamard" and rng.random() < 0.5:
        return ("hadamard", shape, *(random_matrix(rng, rows, columns, depth - 1, inverses) for _ in range(2)))
    if kind == "inverse" and rows == columns and inverses:
        arg = symbol(rng.choice(SQUARE[rows]))
        choice = rng.random()
        if choice < 0.3:
            arg = ("add", shape, arg, identity(rows))
        elif choice < 0.5:
            arg = ("mul", shape, arg, symbol(rng.choice(SQUARE[rows])))
        return ("inverse", shape, arg)
    return symbol(rng.choice(names))


def random_root(rng, depth, inverses=True):
    """A tree under a trace, determinant, vec or Kronecker product, or without any."""
    kind = rng.choice(["plain", "plain", "trace", "trace", "determinant", "vec", "kronecker"])
    rows, columns = rng.choice("nm"), rng.choice("nm")
    if kind == "plain":
        return random_matrix(rng, rows, columns, depth, inverses)
    if kind == "trace":
        return ("trace", "", random_matrix(rng, rows, rows, depth, inverses))
    if kind == "determinant":
        a, b = (random_matrix(rng, rows, rows, depth - 2, inverses) for _ in range(2))
        return ("determinant", "", ("mul", rows + rows, a, b))
    if kind == "vec":
        inner = [rng.choice("nm") for _ in range(2)]
        a, x, b = (
            random_matrix(rng, *ends, depth - 2, False)
            for ends in ((rows, inner[0]), (inner[0], inner[1]), (inner[1], columns))
        )
        product = ("mul", rows + columns, ("mul", rows + inner[1], a, x), b)
        return ("vec", "v", product)
    a, b = (random_matrix(rng, size, size, depth - 2, inverses) for size in "nm")
    c, d = (random_matrix(rng, size, size, depth - 2, inverses) for size in "nm")
    return ("mul", "kk", ("kronecker", "kk", a, b), ("kronecker", "kk", c, d))


def subtrees(tree, place=()):
    """Places of the nodes of a tree."""
    yield place
    for number, part in enumerate(tree[2:], start=2):
        if isinstance(part, tuple):
            yield from subtrees(part, (*place, number))


def node_at(tree, place):
    return reduce(lambda node, number: node[number], place, tree)


def replaced(tree, place, new):
    if not place:
        return new
    return (*tree[: place[0]], replaced(tree[place[0]], place[1:], new), *tree[place[0] + 1 :])


def flipped(shape):
    return shape[::-1] if len(shape) == 2 else shape


def equivalents(t, rng):
    """Trees that are equal to a tree whatever its symbols are."""
    op, shape, *parts = t
    result = []
    first = parts[0] if parts and isinstance(parts[0], tuple) else None
    if op == "add":
        a, b = parts
        result.append(("add", shape, b, a))
        if a[0] == "add":
            result.append(("add", shape, a[2], ("add", shape, a[3], b)))
        if a == b:
            result.append(("scale", shape, 2, a))
    if op == "mul":
        a, b = parts
        if a[0] == "mul" and shape != "v":
            result.append(("mul", shape, a[2], ("mul", a[3][1][0] + b[1][1], a[3], b)))
        if b[0] == "mul" and shape != "v":
            result.append(("mul", shape, ("mul", a[1][0] + b[2][1][1], a, b[2]), b[3]))
        if a[0] == "add":
            result.append(("add", shape, ("mul", shape, a[2], b), ("mul", shape, a[3], b)))
        if b[0] == "add":
            result.append(("add", shape, ("mul", shape, a, b[2]), ("mul", shape, a, b[3])))
        if a[0] == "scale":
            result.append(("scale", shape, a[2], ("mul", shape, a[3], b)))
        if b[0] == "scale":
            result.append(("scale", shape, b[2], ("mul", shape, a, b[3])))
        if a[0] == "identity":
            result.append(b)
        if a[0] == "kronecker" and b[0] == "kronecker":
            pairs = [("mul", a[i][1][0] + b[i][1][1], a[i], b[i]) for i in (2, 3)]
            result.append(("kronecker", shape, *pairs))
    if op == "transpose":
        turned = {
            "transpose": lambda: first[2],
            "mul": lambda: ("mul", shape, *(("transpose", flipped(p[1]), p) for p in (first[3], first[2]))),
            "add": lambda: ("add", shape, *(("transpose", shape, p) for p in first[2:])),
            "hadamard": lambda: ("hadamard", shape, *(("transpose", shape, p) for p in first[2:])),
            "scale": lambda: ("scale", shape, first[2], ("transpose", shape, first[3])),
            "inverse": lambda: ("inverse", shape, ("transpose", shape, first[2])),
            "kronecker": lambda: ("kronecker", shape, *(("transpose", flipped(p[1]), p) for p in first[2:])),
            "identity": lambda: first,
        }
        if first[0] in turned:
            result.append(turned[first[0]]())
    if op == "inverse":
        if first[0] == "mul":
            result.append(("mul", shape, *(("inverse", shape, p) for p in (first[3], first[2]))))
        if first[0] == "inverse":
            result.append(first[2])
        if first[0] == "scale":
            result.append(("scale", shape, 1 / Fraction(first[2]), ("inverse", shape, first[3])))
        if first[0] == "transpose":
            result.append(("transpose", shape, ("inverse", shape, first[2])))
        if first[0] == "add":
            result.append(("inverse", shape, ("add", shape, first[3], first[2])))
    if op == "hadamard":
        a, b = parts
        result.append(("hadamard", shape, b, a))
        if b[0] == "add":
            result.append(("add", shape, ("hadamard", shape, a, b[2]), ("hadamard", shape, a, b[3])))
    if op == "scale" and parts[1][0] == "add":
        result.append(("add", shape, *(("scale", shape, parts[0], p) for p in parts[1][2:])))
    if op == "kronecker" and parts[0][0] == "add":
        a, b = parts
        result.append(("add", shape, ("kronecker", shape, a[2], b), ("kronecker", shape, a[3], b)))
    if op == "trace":
        if first[0] == "mul" and first[1] != "kk":
            a, b = first[2:]
            result.append(("trace", "", ("mul", b[1][0] + a[1][1], b, a)))
        if first[0] == "add":
            result.append(("plus", "", ("trace", "", first[2]), ("trace", "", first[3])))
        if first[0] == "scale":
            result.append(("times", "", ("number", "", first[2]), ("trace", "", first[3])))
        result.append(("trace", "", ("transpose", first[1], first)))
    if op == "determinant":
        if first[0] == "mul":
            result.append(("times", "", *(("determinant", "", p) for p in first[2:] if p[1][0] == p[1][1])))
            if len(result[-1]) < 4:
                result.pop()
        if first[0] == "transpose":
            result.append(("determinant", "", first[2]))
        result.append(("determinant", "", ("transpose", first[1], first)))
    if op == "vec" and first[0] == "mul" and first[2][0] == "mul":
        a, x, b = first[2][2], first[2][3], first[3]
        result.append(("mul", "v", ("kronecker", "k", ("transpose", flipped(b[1]), b), a), ("vec", "v", x)))
    if op in ("plus", "times"):
        result.append((op, shape, parts[1], parts[0]))
    if len(shape) == 2 and shape in ("nn", "mm", "nm", "mn"):
        result.append(("transpose", shape, ("transpose", flipped(shape), t)))
        result.append(("mul", shape, identity(shape[0]), t))
        s = symbol(rng.choice(SQUARE[shape[0]]))
        if rng.random() < 0.5:
            result.append(("mul", shape, ("mul", s[1], s, ("inverse", s[1], s)), t))
        other = symbol(rng.choice([name for name, kind in SHAPES.items() if kind == shape]))
        result.append(("add", shape, t, ("add", shape, other, ("scale", shape, -1, other))))
    return result


def rewritten(tree, rng, steps):
    """A tree after some sound rewriting."""
    for _ in range(steps):
        place = rng.choice(list(subtrees(tree)))
        choices = equivalents(node_at(tree, place), rng)
        if choices:
            tree = replaced(tree, place, rng.choice(choices))
    return tree


def changed(tree, rng):
    """A tree with one change of meaning, most often."""
    place = rng.choice(list(subtrees(tree)))
    t = node_at(tree, place)
    op, shape, *parts = t
    if op == "symbol":
        others = [n for n, kind in SHAPES.items() if kind == shape and n != parts[0]]
        return replaced(tree, place, symbol(rng.choice(others)))
    if op == "mul" and all(isinstance(p, tuple) and p[1] == shape for p in parts):
        return replaced(tree, place, ("mul", shape, parts[1], parts[0]))
    if op == "transpose" and shape == parts[0][1]:
        return replaced(tree, place, parts[0])
    if op in ("scale", "number"):
        return replaced(tree, place, (op, shape, parts[0] + 1, *parts[1:]))
    if op in ("add", "plus"):
        return replaced(tree, place, rng.choice(parts))
    if op == "hadamard" and shape[0] == shape[1]:
        return replaced(tree, place, ("mul", shape, *parts))
    if len(shape) == 2 and shape[0] == shape[1] and shape != "kk":
        return replaced(tree, place, ("transpose", shape, t))
    if shape in ("nn", "mm", "nm", "mn"):
        return replaced(tree, place, ("scale", shape, 2, t))
    return replaced(tree, place, ("times", "", ("number", "", 2), t)) if shape == "" else tree


# Evaluation with numpy on fractions.


def random_values(rng, n, m):
    sizes = {"n": n, "m": m}
    draw = lambda *shape: np.array([[Fraction(rng.randint(-3, 3)) for _ in range(shape[1])] for _ in range(shape[0])])  # noqa: E731
    return {name: draw(sizes[shape[0]], sizes[shape[1]]) for name, shape in SHAPES.items()} | {"sizes": sizes}


def minor_determinant(a):
    if len(a) == 0:
        return Fraction(1)
    rest = [np.delete(a[1:], j, axis=1) for j in range(len(a))]
    return sum((Fraction((-1) ** j) * a[0, j] * minor_determinant(rest[j]) for j in range(len(a))), Fraction(0))


def cofactor_inverse(a):
    value = minor_determinant(a)
    if value == 0:
        raise SingularError
    size = len(a)
    minors = [[np.delete(np.delete(a, i, axis=0), j, axis=1) for i in range(size)] for j in range(size)]
    return np.array(
        [
            [Fraction((-1) ** (i + j)) * minor_determinant(minors[i][j]) / value for j in range(size)]
            for i in range(size)
        ]
    )


def evaluate(t, values):
    op, shape, *parts = t
    if op == "symbol":
        return values[parts[0]]
    if op == "identity":
        return np.array(
            [
                [Fraction(int(i == j)) for j in range(values["sizes"][shape[0]])]
                for i in range(values["sizes"][shape[0]])
            ]
        )
    if op == "number":
        return Fraction(parts[0])
    if op == "scale":
        return Fraction(parts[0]) * evaluate(parts[1], values)
    args = [evaluate(part, values) for part in parts]
    match op:
        case "add" | "plus":
            return args[0] + args[1]
        case "mul":
            return args[0] @ args[1]
        case "times" | "hadamard":
            return args[0] * args[1]
        case "transpose":
            return args[0].T
        case "inverse":
            return cofactor_inverse(args[0])
        case "kronecker":
            return np.kron(*args)
        case "trace":
            return np.trace(args[0])
        case "determinant":
            return minor_determinant(args[0])
        case "vec":
            return args[0].T.reshape(-1, 1)
    raise AssertionError(op)


def told_apart(left, right, rng, sizes):
    """Whether some instance has different values; None if none has any."""
    tried = 0
    for attempt in range(12):
        values = random_values(rng, *sizes[attempt % len(sizes)])
        try:
            a, b = evaluate(left, values), evaluate(right, values)
        except SingularError:
            continue
        tried += 1
        if np.any(np.asarray(a != b)):
            return True
        if tried >= 4:
            return False
    return False if tried else None


def to_sympy(t, symbols):
    op, shape, *parts = t
    if op == "symbol":
        return symbols[parts[0]]
    if op == "identity":
        return symbols["I" + shape[0]]
    if op == "number":
        return rational(parts[0])
    if op == "scale":
        part = to_sympy(parts[1], symbols)
        return (
            sympy.MatMul(rational(parts[0]), part) if isinstance(part, sympy.MatrixExpr) else rational(parts[0]) * part
        )
    args = [to_sympy(part, symbols) for part in parts]
    match op:
        case "add" | "mul" if isinstance(args[0], sympy.MatrixExpr):  # without SymPy's own rewriting
            return {"add": sympy.MatAdd, "mul": sympy.MatMul}[op](*args)
        case "add" | "plus":
            return args[0] + args[1]
        case "mul" | "times":
            return args[0] * args[1]
        case "hadamard":
            return sympy.HadamardProduct(*args)
        case "transpose":
            return sympy.Transpose(args[0])
        case "inverse":
            return (
                args[0] ** -1
                if isinstance(args[0], sympy.Expr) and not isinstance(args[0], sympy.MatrixExpr)
                else sympy.Inverse(args[0])
            )
        case "kronecker":
            return sympy.KroneckerProduct(*args)
        case "trace":
            return sympy.Trace(args[0])
        case "determinant":
            return sympy.Determinant(args[0])
        case "vec":
            return Vec(args[0])
    raise AssertionError(op)


def rational(value):
    return sympy.Rational(Fraction(value).numerator, Fraction(value).denominator)


def matrix_symbols(n, m):
    sizes = {"n": sympy.sympify(n), "m": sympy.sympify(m)}
    named = {name: sympy.MatrixSymbol(name, sizes[shape[0]], sizes[shape[1]]) for name, shape in SHAPES.items()}
    return named | {"I" + letter: sympy.Identity(size) for letter, size in sizes.items()}


N, M = sympy.symbols("n m", integer=True, positive=True)
ANY_SIZE = matrix_symbols(N, M)
ANY_SIZES = [(2, 3), (3, 2), (2, 2), (1, 2)]


def pair(rng, make, sizes):
    """Two trees and whether they are equal; the false ones are told apart by an instance."""
    true = rng.random() < 0.5
    for _ in range(50):
        left = make()
        right = rewritten(left, rng, rng.randint(1, 7))
        if not true:
            right = changed(right, rng)
        seen = told_apart(left, right, rng, sizes)
        if true:
            assert seen is not True, ("the rewriting is wrong", left, right)
        if seen is (not true):
            return left, right, true
    raise AssertionError("no relation was found")


class Tally:
    """Outcomes of one kind."""

    def __init__(self):
        self.true = self.false = self.open_true = self.open_false = 0
        self.slowest = 0.0
        self.wrong = []

    def add(self, seed, true, decide, shown):
        start = time.perf_counter()
        decision = decide()
        self.slowest = max(self.slowest, time.perf_counter() - start)
        self.true += true
        self.false += not true
        self.open_true += true and decision.value is None
        self.open_false += (not true) and decision.value is None
        if decision.value is (not true) or "disagree" in decision.detail:  # an instance hides a wrong proof
            self.wrong.append(f"seed {seed}, {'true' if true else 'false'}: {shown}: {decision}")
        if decision.value is False:
            assert " = " in decision.detail or " is " in decision.detail, decision

    def report(self, kind):
        print(
            f"{kind}: {self.true} true ({self.open_true} open), {self.false} false ({self.open_false} open), "
            f"slowest {self.slowest:.2f} s"
        )
        assert not self.wrong, "\n".join(self.wrong[:5])
        assert min(self.true, self.false) > EXAMPLES / 3
        assert self.slowest < SECONDS


def test_matrices_of_any_size():
    tally = Tally()
    for seed in range(EXAMPLES):
        rng = Random(f"any {seed}")
        left, right, true = pair(rng, lambda rng=rng: random_root(rng, rng.randint(2, 3)), ANY_SIZES)
        sides = [to_sympy(side, ANY_SIZE) for side in (left, right)]
        tally.add(seed, true, lambda sides=sides: theory.decide_equal(*sides), sides)
    tally.report("matrices of any size")
    assert tally.open_true <= 0.2 * tally.true


def test_matrices_of_given_size():
    tally = Tally()
    for seed in range(EXAMPLES):
        rng = Random(f"given {seed}")
        sizes = rng.choice([(2, 2), (2, 3), (3, 2), (1, 2), (3, 1)])
        given = matrix_symbols(*sizes)
        if rng.random() < 0.1:
            sides, true = cayley_hamilton(rng, given, sizes[0])
        else:
            left, right, true = pair(rng, lambda rng=rng: random_root(rng, rng.randint(2, 3)), [sizes])
            sides = [to_sympy(side, given) for side in (left, right)]
        tally.add(seed, true, lambda sides=sides: theory.decide_equal(*sides), sides)
    tally.report("matrices of given size")
    assert tally.open_true <= 0.2 * tally.true


def cayley_hamilton(rng, given, size):
    """Of 2 x 2 matrices ``A^2 = tr(A) A - det(A) I``, of 1 x 1 and 3 x 3 ones this is false, and so is another sign."""
    a, sign = given["A"], rng.choice([1, -1])
    left, right = a * a, sympy.Trace(a) * a - sign * sympy.Determinant(a) * given["In"]
    return (left, right), size == 2 and sign == 1


def test_noncommutative_symbols():
    names = dict(zip("ABC", sympy.symbols("a b c", commutative=False), strict=True)) | {"In": sympy.S.One}
    tally = Tally()

    def make(rng, depth):
        kind = rng.choice(["add", "mul", "mul", "scale", "inverse", "leaf"]) if depth else "leaf"
        if kind == "leaf":
            return symbol(rng.choice("ABC"))
        if kind == "scale":
            return ("scale", "nn", rng.choice([2, -1, 3]), make(rng, depth - 1))
        if kind == "inverse":
            return ("inverse", "nn", make(rng, 0) if rng.random() < 0.6 else ("add", "nn", make(rng, 0), identity("n")))
        return (kind, "nn", make(rng, depth - 1), make(rng, depth - 1))

    def plain(tree):
        return not any(node_at(tree, place)[0] == "transpose" for place in subtrees(tree))

    for seed in range(EXAMPLES):
        rng = Random(f"free {seed}")
        for _ in range(200):
            left, right, true = pair(rng, lambda rng=rng: make(rng, rng.randint(2, 3)), [(2, 1), (3, 1)])
            if plain(right):
                break
        sides = [to_sympy(side, names) for side in (left, right)]
        tally.add(seed, true, lambda sides=sides: theory.decide_equal(*sides), sides)
    tally.report("non-commutative symbols")
    assert tally.open_true <= 0.2 * tally.true


# Scalars: trees over x, y, z with max, min and abs, evaluated in fractions.

X = dict(zip("xyz", sympy.symbols("x y z", real=True), strict=True))


def random_scalar(rng, depth, pieces):
    if depth == 0 or rng.random() < 0.15:
        return rng.choice(["x", "y", "z", rng.randint(-3, 3)])
    kind = rng.choice(["+", "+", "*", "*", "-", "square", "/", *(["max", "min", "abs"] if pieces else [])])
    if kind == "square":
        return ("*", *[random_scalar(rng, depth - 1, pieces)] * 2)
    if kind == "abs":
        return ("abs", random_scalar(rng, depth - 1, False))
    if kind == "/":
        return ("/", random_scalar(rng, depth - 1, False), ("+", rng.choice("xyz"), rng.randint(1, 4)))
    inside = pieces and kind not in ("max", "min")
    return (kind, *(random_scalar(rng, depth - 1, inside) for _ in range(2)))


def scalar_equivalents(t, rng):
    if not isinstance(t, tuple):
        return [("+", t, ("-", "x", "x")), ("*", t, 1)]
    op, *p = t
    result = [("+", t, ("-", p[0], p[0]))]
    if op in ("+", "*", "max", "min"):
        result.append((op, p[1], p[0]))
    if op == "*" and isinstance(p[0], tuple) and p[0][0] in "+-":
        result.append((p[0][0], ("*", p[0][1], p[1]), ("*", p[0][2], p[1])))
    if op == "max":
        result.append(("/", ("+", ("+", p[0], p[1]), ("abs", ("-", p[0], p[1]))), 2))
        result.append(("-", ("+", p[0], p[1]), ("min", p[0], p[1])))
    if op == "min":
        result.append(("-", 0, ("max", ("-", 0, p[0]), ("-", 0, p[1]))))
    if op == "abs":
        result.append(("max", p[0], ("-", 0, p[0])))
        result.append(("abs", ("-", 0, p[0])))
    if op == "-":
        result.append(("+", p[0], ("*", -1, p[1])))
    if op == "/" and isinstance(p[0], tuple) and p[0][0] in "+-":
        result.append((p[0][0], ("/", p[0][1], p[1]), ("/", p[0][2], p[1])))
    return result


def scalar_places(t, place=()):
    yield place
    if isinstance(t, tuple):
        for number, part in enumerate(t[1:], start=1):
            yield from scalar_places(part, (*place, number))


def scalar_rewritten(t, rng, steps):
    for _ in range(steps):
        place = rng.choice(list(scalar_places(t)))
        t = replaced(t, place, rng.choice(scalar_equivalents(node_at(t, place), rng)))
    return t


def scalar_changed(t, rng):
    place = rng.choice(list(scalar_places(t)))
    node = node_at(t, place)
    if isinstance(node, tuple) and node[0] in ("+", "max"):
        return replaced(t, place, ({"+": "-", "max": "min"}[node[0]], *node[1:]))
    if isinstance(node, tuple) and node[0] == "abs":
        return replaced(t, place, node[1])
    return replaced(t, place, ("+", node, rng.choice([1, "x"])))


def scalar_value(t, values):
    if not isinstance(t, tuple):
        return values[t] if isinstance(t, str) else Fraction(t)
    args = [scalar_value(part, values) for part in t[1:]]
    match t[0]:
        case "+":
            return args[0] + args[1]
        case "-":
            return args[0] - args[1]
        case "*":
            return args[0] * args[1]
        case "/":
            if args[1] == 0:
                raise SingularError
            return args[0] / args[1]
        case "max":
            return max(args)
        case "min":
            return min(args)
        case "abs":
            return abs(args[0])
    raise AssertionError(t)


def scalar_to_sympy(t):
    if not isinstance(t, tuple):
        return X[t] if isinstance(t, str) else sympy.Integer(t)
    args = [scalar_to_sympy(part) for part in t[1:]]
    match t[0]:
        case "+":
            return args[0] + args[1]
        case "-":
            return args[0] - args[1]
        case "*":
            return args[0] * args[1]
        case "/":
            return args[0] / args[1]
        case "max":
            return sympy.Max(*args)
        case "min":
            return sympy.Min(*args)
    return sympy.Abs(args[0])


def scalar_points(rng, count=12):
    for _ in range(count):
        yield {name: Fraction(rng.randint(-12, 12), rng.choice((1, 1, 2, 3))) for name in "xyz"}


def scalars_differ(left, right, rng):
    for values in scalar_points(rng):
        try:
            if scalar_value(left, values) != scalar_value(right, values):
                return True
        except SingularError:
            continue
    return False


def test_scalars():
    tally = Tally()
    for seed in range(EXAMPLES):
        rng = Random(f"scalar {seed}")
        true = rng.random() < 0.5
        for _ in range(50):
            left = random_scalar(rng, 3, rng.random() < 0.5)
            right = scalar_rewritten(left, rng, rng.randint(1, 5))
            right = right if true else scalar_changed(right, rng)
            different = scalars_differ(left, right, rng)
            assert not (true and different), ("the rewriting is wrong", left, right)
            if different is (not true):
                break
        sides = [scalar_to_sympy(side) for side in (left, right)]
        if any(side.has(sympy.nan, sympy.zoo) for side in sides):
            continue
        tally.add(seed, true, lambda sides=sides: theory.decide_equal(*sides), sides)
    tally.report("scalars")
    assert tally.open_true <= 0.2 * tally.true


# Inequalities: sums of squares and nonnegative terms; and these with a negative term that a point shows to matter.


def nonnegative_scalar(rng):
    kind = rng.choice(["squares", "squares", "abs", "max", "product", "mean"])
    a, b = (random_polynomial(rng) for _ in range(2))
    match kind:
        case "squares":
            return ("+", ("*", a, a), ("*", b, b))
        case "abs":
            return ("-", ("+", ("abs", "x"), ("abs", "y")), ("abs", ("+", "x", "y")))
        case "max":
            return ("-", ("max", a, b), rng.choice([a, b]))
        case "product":
            return ("*", ("*", a, a), ("+", ("*", "y", "y"), 1))
    return ("-", ("*", 2, ("+", ("*", a, a), ("*", b, b))), ("*", ("+", a, b), ("+", a, b)))


def random_polynomial(rng):
    terms = [
        ("*", rng.randint(-3, 3), rng.choice(["x", "y", "z", 1, ("*", "x", "y")])) for _ in range(rng.randint(1, 3))
    ]
    return reduce(lambda a, b: ("+", a, b), terms)


def test_inequalities():
    tally = Tally()
    for seed in range(EXAMPLES):
        rng = Random(f"order {seed}")
        true = rng.random() < 0.5
        claim = semidefinite_claim(rng, true) if rng.random() < 0.25 else scalar_claim(rng, true)
        tally.add(seed, true, lambda claim=claim: theory.decide_order(claim), claim)
    tally.report("inequalities")


def scalar_claim(rng, true):
    while True:
        gap, strict = nonnegative_scalar(rng), rng.random() < 0.3
        if strict and true:
            gap = ("+", gap, 1)
        elif not true:
            gap = ("-", gap, rng.choice([1, "x", ("*", "x", "x"), ("*", 2, ("*", "x", "y"))]))
        if not true and not any(scalar_value(gap, v) < 0 for v in scalar_points(rng, 40)):
            continue
        assert not true or all(scalar_value(gap, v) >= 0 for v in scalar_points(rng, 5))
        moved = sympy.expand(scalar_to_sympy(random_polynomial(rng)))
        high, low = sympy.expand(scalar_to_sympy(gap)) + moved, moved
        relation = rng.choice([sympy.Gt, sympy.Lt] if strict else [sympy.Ge, sympy.Le])
        sides = (high, low) if relation in (sympy.Gt, sympy.Ge) else (low, high)
        return relation(*sides, evaluate=False)


def semidefinite_claim(rng, true):
    """``sum c X X^T`` of any size; with a negative coefficient or another order it is false at an instance."""
    while True:
        parts = []
        for _ in range(rng.randint(1, 2)):
            x = random_matrix(rng, "n", rng.choice("nm"), 1, False)
            square = ("mul", "nn", x, ("transpose", flipped(x[1]), x))
            parts.append(("scale", "nn", rng.randint(1, 3), square))
        if not true:
            x = random_matrix(rng, "n", rng.choice("nm"), 1, False)
            extra = ("mul", "nn", x, ("transpose", flipped(x[1]), x))
            parts.append(("scale", "nn", -1, extra) if rng.random() < 0.6 else symbol("A"))
        tree = reduce(lambda a, b: ("add", "nn", a, b), parts)
        if true or any(indefinite(evaluate(tree, random_values(rng, *sizes))) for sizes in ANY_SIZES * 3):
            return theory.PositiveSemidefinite(to_sympy(rewritten(tree, rng, 2), ANY_SIZE))


def indefinite(a):
    """Whether a matrix is not symmetric, or has a negative principal minor of order 1 or 2."""
    if np.any(a != a.T):
        return True
    size = range(len(a))
    return any(a[i, i] < 0 for i in size) or any(a[i, i] * a[j, j] < a[i, j] ** 2 for i in size for j in size if i < j)


def test_a_prover_that_commutes_would_be_seen():
    """At size 1 matrices commute: what holds there only is reported as a wrong proof."""
    tally, commuting = Tally(), matrix_symbols(1, 1)
    for seed in range(60):
        rng = Random(f"any {seed}")
        left, right, true = pair(rng, lambda rng=rng: random_root(rng, 2), ANY_SIZES)
        sides = [to_sympy(side, commuting) for side in (left, right)]
        tally.add(seed, true, lambda sides=sides: theory.decide_equal(*sides), sides)
    assert any("false" in text and "value=True" in text for text in tally.wrong)
    with pytest.raises(AssertionError, match="seed "):
        tally.report("matrices that commute")
