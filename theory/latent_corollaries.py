"""What follows from statement 6: the update of a node, one operator for all losses, decay with depth.

Each is a chain of checked identities in generic symbols, for networks and trees of every size. Source:
statement 6, with the general forms of statements 3 and 4 (arXiv 2010.00578).
"""

import sympy
from sympy import Expr, Integer, MatAdd, MatMul, MatrixSymbol, Mul, Rational, Symbol

from hltm.base.checks import Node
from hltm.base.errors import InputError
from theory.core.decide import POLYNOMIAL, Decision, combine, decide_zero
from theory.core.derivation import Derivation, Statement, Step, equation, together, verdict, zero_step
from theory.core.notation import Vec
from theory.trees.symbols import TreeSymbols, path_below

SLUG = "activation-covariance"
MARKOV = "every node is independent of its non-descendants given its parent"


def _symbols(names: str) -> list[Symbol]:
    return list(sympy.symbols(names, real=True))


def _matrices(name: str, rows: int, columns: int) -> sympy.Matrix:
    return sympy.Matrix(rows, columns, lambda i, j: Symbol(f"{name}_{{{i}{j}}}", real=True))


def _connection(inputs: sympy.Matrix, jacobian: sympy.Matrix) -> sympy.Matrix:
    return sympy.kronecker_product(inputs, jacobian.T)


def derive_update(symbols: TreeSymbols, node: Node) -> Derivation:
    """``2 Cov_x[Kbar_mu, fbar_L] = 2 sum_mu' Cov[Kbar_mu, Kbar_mu'] vec W_mu'`` over the nodes of a cut."""
    tree = symbols.tree
    whole = all(len(tree.children(above)) == 1 for above in tree.path(tree.root, node)[:-1])
    parts = []
    for i in range(1 if whole else 2):
        x, w = _matrices(f"x^{{{i}}}", 2, 1), _matrices(f"W^{{{i}}}", 2, 2)
        jacobian = sympy.eye(2) if node == tree.root else _matrices(f"J^{{{i}}}", 2, 2)
        parts.append((_connection(x, jacobian), jacobian * w * x, sympy.Matrix(4, 1, list(w.T))))
    steps = [_cut_step([symbols.texts[node], r"\nu"], parts), *_bilinear_steps(parts)]
    if tree.cardinality(tree.root) == 2:
        steps.append(_gap_step(symbols))
    end = (
        "every leaf is below this node, so that the diagonal block is the whole update"
        if whole
        else "siblings add cross terms, so that the diagonal block alone is not the update"
    )
    steps.append(_update_step([symbols.texts[node], r"\nu"][: len(parts)], steps))
    text = f"2 Cov_x[Kbar_mu, fbar_L] = 2 sum_mu' Cov_x[Kbar_mu, Kbar_mu'] vec W_mu' (shared); {end}"
    needs = (
        MARKOV,
        "statement 3: the update is 2 Cov_x[Kbar_mu, fbar_L]",
        "piecewise-linear homogeneous activation, no biases",
    )
    statement = Statement(text, steps[-1].expression, "shared")
    return Derivation(SLUG, statement, needs, tuple(steps), Integer(0), verdict(steps, steps[-1].decision))


def _cut_step(names: list[str], parts: list[tuple[sympy.Matrix, sympy.Matrix, sympy.Matrix]]) -> Step:
    """``f_L = sum K^T vec W`` over a cut of one node or of a node and a sibling, 2 x 2 blocks in symbols."""
    residual = sympy.zeros(2, 1)
    for k, f, w in parts:
        residual += k.T * w - f
    letters = [(MatrixSymbol(f"K_{{{n}}}", 4, 2), Vec(MatrixSymbol(f"W_{{{n}}}", 2, 2))) for n in names[: len(parts)]]
    products = [MatMul(k.T, w) for k, w in letters]
    shown = products[0] if len(products) == 1 else MatAdd(*products)
    reason = "vec identity at every node of a cut, a leaf with the columns that read it: f_L = sum of J W f = K^T vec W"
    return Step(equation(MatrixSymbol("f_{L}", 2, 1), shown), reason, decide_zero(sympy.ImmutableDenseMatrix(residual)))


def _update_step(names: list[str], steps: list[Step]) -> Step:
    """``2 Cov_x[Kbar_mu, fbar_L]``, f_L written as the sum over the cut."""

    def covariance(other: str, columns: int) -> MatrixSymbol:
        first = rf"\bar{{K}}_{{{names[0]}}}"
        return MatrixSymbol(rf"\operatorname{{Cov}}_{{x}}\left[{first}, {other}\right]", 4, columns)

    terms = [MatMul(2, covariance(rf"\bar{{K}}_{{{n}}}", 4), Vec(MatrixSymbol(f"W_{{{n}}}", 2, 2))) for n in names]
    left = MatMul(2, covariance(r"\bar{f}_{L}", 1))
    reason = "both together, for every entry and augmentation mean: the update, one term a node of the cut"
    decision = combine([step.decision for step in steps])
    return Step(equation(left, terms[0] if len(terms) == 1 else MatAdd(*terms)), reason, decision)


def _bilinear_steps(parts: list[tuple[sympy.Matrix, sympy.Matrix, sympy.Matrix]]) -> list[Step]:
    """Cov[k, sum K^T w] by linearity, two states of x with any law, entries of K at either state."""
    p = Symbol("p", real=True)
    low, high = _symbols("k_0 k_1")
    terms, total = [], [Integer(0), Integer(0)]
    for i in range(len(parts)):
        a, b = _symbols(f"h^{{{i}}}_0 h^{{{i}}}_1")
        w = Symbol(f"w^{{{i}}}", real=True)
        terms.append(_cov(p, (low, high), (a, b)) * w)
        total = [total[0] + a * w, total[1] + b * w]
    left = _cov(p, (low, high), (total[0], total[1]))
    reason = "covariance is linear in its second argument: one term a node of the cut, the diagonal block among them"
    return [zero_step(left, sympy.Add(*terms), reason)]


def _cov(p: Expr, left: tuple[Expr, Expr], right: tuple[Expr, Expr]) -> Expr:
    """Covariance of two functions of a state that is 1 with probability p."""
    a, b = left
    c, d = right
    return (1 - p) * a * c + p * b * d - ((1 - p) * a + p * b) * ((1 - p) * c + p * d)


def _gap_step(symbols: TreeSymbols) -> Step:
    low, high, first, second = _symbols("k_0 k_1 f_0 f_1")
    left = _cov(symbols.prior[1], (low, high), (first, second))
    right = Mul(Rational(1, 4), 1 - symbols.root_polarity**2, (high - low) * (second - first))
    return zero_step(left, right, "binary root: Cov_{z_0}[k, f] = (1 - rho_0^2)/4 (k_1 - k_0)(f_1 - f_0)")


def derive_losses(symbols: TreeSymbols, node: Node) -> Derivation:
    """``V^xi_{x,x'}[Kbar(x) - Kbar(x')] = 2 xi(r(0,1)) OP_mu`` for a binary root."""
    if symbols.tree.cardinality(symbols.tree.root) != 2:
        raise InputError("claim='losses' of 'activation-covariance': needs a root with two states")
    low, high = symbols.prior
    spread = 1 - symbols.root_polarity**2
    k, h, f, g = (_symbols(f"{name}_0 {name}_1") for name in "khfg")
    same, apart = _symbols(r"\xi(0) \xi(r_{01})")
    pairs = [(i, j, p * q) for i, p in enumerate((low, high)) for j, q in enumerate((low, high))]

    def weighted(a: list[Symbol], b: list[Symbol]) -> Expr:
        return sympy.Add(*(w * (same if i == j else apart) * (a[i] - a[j]) * (b[i] - b[j]) for i, j, w in pairs))

    def gaps(a: list[Symbol], b: list[Symbol]) -> Expr:
        return Mul(Rational(1, 4), spread, (a[1] - a[0]) * (b[1] - b[0]))

    operator = Symbol(rf"OP_{{{symbols.texts[node]};kh}}", real=True)
    steps = [
        zero_step(_cov(high, (k[0], k[1]), (h[0], h[1])), gaps(k, h),
                  "one entry of OP_mu = V_x[Kbar_mu]: (1 - rho_0^2)/4 DK DK^T over a binary z_0"),
        zero_step(weighted(k, h), 2 * apart * gaps(k, h),
                  "four pairs (z, z'): equal states give Kbar(x) - Kbar(x') = 0, the others share xi(r(0,1))"),
        zero_step(weighted(f, g), 2 * apart * gaps(f, g),
                  "the same for E[xi (Kbar - Kbar')(fbar - fbar')], the general form of statement 4"),
    ]  # fmt: skip
    decision = decide_zero(weighted(k, h) - 2 * apart * _cov(high, (k[0], k[1]), (h[0], h[1])))
    relation = equation(Symbol(rf"V^{{\xi}}_{{{symbols.texts[node]};kh}}", real=True), 2 * apart * operator)
    reason = "both steps together: one operator for the whole family, up to the factor xi(r(0,1))"
    steps.append(Step(relation, reason, decision))
    text = "V^xi_{x,x'}[Kbar_mu(x) - Kbar_mu(x')] = 2 xi(r(0,1)) OP_mu: losses differ in speed only, up to theta"
    needs = (MARKOV, "binary root, augmentation below it", "r between augmentation means, one negative")
    return Derivation(SLUG, Statement(text, relation), needs, tuple(steps), Integer(0), verdict(steps, decision))


def decide_nonnegative(expr: Expr) -> Decision:
    """A polynomial with coefficients of no negative sign in nonnegative symbols is nonnegative.

    Examples
    --------
    >>> t = Symbol("t", nonnegative=True)
    >>> decide_nonnegative((1 + t) ** 2 - 1).value, decide_nonnegative(t - 1).value is None
    (True, True)
    """
    generators = sorted(expr.free_symbols, key=str)
    poly = sympy.Poly(expr, *generators) if generators else sympy.Poly(expr, Symbol("t", nonnegative=True))
    proved = all(s.is_nonnegative for s in generators) and all(c.is_nonnegative for c in poly.coeffs())
    detail = f"coefficients of one sign in {len(generators)} nonnegative generators"
    return Decision(True, POLYNOMIAL, detail) if proved else Decision(None, "abstained", "no proof of the sign")


def derive_depth(symbols: TreeSymbols, node: Node) -> Derivation:
    """``o_mu <= c^(2 d)`` at depth d where no polarity on the way exceeds c < 1, so ``o_mu -> 0``."""
    depth = len(path_below(symbols.tree, node))
    size, room, before, slack = sympy.symbols(r"|\rho| t o_{d} u", nonnegative=True)
    bound = size + room
    first = Symbol(r"|\rho_{0}|", nonnegative=True)
    c, d = Symbol("c", nonnegative=True), Symbol("d", integer=True, nonnegative=True)
    t = Symbol("t", positive=True)
    o = Symbol(rf"o_{{{symbols.texts[node]}}}", nonnegative=True)
    after = Symbol("o_{d+1}", nonnegative=True)
    steps = [
        Step(sympy.Ge(1, 1 - first**2, evaluate=False), "depth 0: o_0 = 1 - rho_0^2 is at most 1",
             decide_nonnegative(first**2)),
        Step(sympy.Ge(c ** (2 * d + 2), after, evaluate=False),
             "one edge more, o_{d+1} = rho^2 o_d, |rho| = c - t, o_d = c^(2d) - u: the difference has no negative term",
             decide_nonnegative(sympy.expand(bound**2 * (before + slack) - size**2 * before))),
        Step(sympy.Ge((1 + t) ** (2 * d), 1 + 2 * d * t, evaluate=False),
             "c = 1/(1 + t), t > 0; Bernoulli by induction: (1 + t)^2 (1 + 2 d t) - 1 - 2 (d + 1) t is at least 0",
             decide_nonnegative(sympy.expand((1 + t) ** 2 * (1 + 2 * d * t) - (1 + 2 * (d + 1) * t)))),
    ]  # fmt: skip
    limit = sympy.limit(1 / (1 + 2 * d * t), d, sympy.oo)
    steps.append(zero_step(sympy.Limit(1 / (1 + 2 * d * t), d, sympy.oo).doit(), Integer(0),
                           "0 <= o_mu <= 1/(1 + 2 d t), which tends to 0 with the depth d"))  # fmt: skip
    bounded = sympy.Ge(c ** (2 * depth), o, evaluate=False)
    claimed = together([bounded, equation(sympy.Limit(c ** (2 * d), d, sympy.oo), Integer(0))])
    decision = combine([step.decision for step in steps])
    text = f"o_mu <= c^{2 * depth} at this node of depth {depth}, c^(2 d) -> 0 with the depth d"
    needs = (MARKOV, "every polarity on the way has absolute value at most c", "c < 1 for the limit")
    return Derivation(SLUG, Statement(text, claimed), needs, tuple(steps), limit, verdict(steps, decision))
