"""Statement 6 as derivations: activation covariance, the update of a node, all losses, decay with depth.

Conditional means are followed edge by edge with general tables (an offset m beside rho), then varied over z_0.
Source: arXiv 2010.00578, statement 6; the update, the losses and the categorical form go beyond the paper.
"""

from typing import Any

import sympy
from sympy import (
    Basic,
    Expr,
    ImmutableDenseMatrix,
    Integer,
    MatAdd,
    MatMul,
    MatrixSymbol,
    Mul,
    Rational,
    Symbol,
    Transpose,
)

from hltm.base.checks import Node
from hltm.base.errors import InputError
from hltm.tree import HLTM
from theory.core.decide import POLYNOMIAL, Decision, combine, decide_zero
from theory.core.derivation import Derivation, Statement, Step, equation, together, verdict, zero_step
from theory.core.notation import Vec, reals
from theory.trees.activation import activation_covariance, gap_vector, is_binary_at, selectivity
from theory.trees.means import cross
from theory.trees.symbols import ROW_LIMIT, TreeSymbols, binary_table, internal, matrix, path_below, tree_symbols

SLUG = "activation-covariance"
MARKOV = "every node is independent of its non-descendants given its parent"
CLAIMS = ("activation", "update", "losses", "depth")
"""The claims that can be derived."""
CHILD_LIMIT, PATH_LIMIT = 24, 64
_HALF = Rational(1, 2)


def derive_latent(tree: HLTM | None = None, node: Node | None = None, claim: str = "activation") -> Derivation:
    """Derive a claim of statement 6 at a node; without a tree, on a small one with general tables."""
    chosen = _small_tree() if tree is None else tree
    symbols = tree_symbols(chosen)
    if node is None:
        if tree is not None:
            raise InputError("node=None of 'activation-covariance': must name a node with children of the tree")
        node = chosen.latents[-1]
    internal(chosen, node, f"{SLUG!r}")
    if claim == "update":
        return derive_update(symbols, node)
    if claim == "losses":
        return derive_losses(symbols, node)
    _check_size(chosen, node)
    if not is_binary_at(chosen, node):
        if claim == "depth":
            raise InputError(f"claim='depth' at node {node!r}: needs binary nodes on the way and below")
        return _derive_categorical(symbols, node)
    return derive_depth(symbols, node) if claim == "depth" else _derive_binary(symbols, node)


def _small_tree() -> HLTM:
    import networkx as nx

    graph: Any = nx.DiGraph([("0", "μ"), ("μ", "a"), ("μ", "b")])
    graph.nodes["0"]["prior"] = [0.5, 0.5]
    for edge in graph.edges:
        graph.edges[edge]["transition"] = [[0.75, 0.25], [0.5, 0.5]]
    return HLTM(graph)


def _check_size(tree: HLTM, node: Node) -> None:
    for name, result, limit in (
        ("children", len(tree.children(node)), CHILD_LIMIT),
        ("edges from the root", len(path_below(tree, node)), PATH_LIMIT),
    ):
        if result > limit:
            # The formula of one node is a matrix, which has a limit of its own.
            small = len(tree.children(node)) <= ROW_LIMIT
            way = "activation_covariance gives the formula" if small else "activation_covariances gives its factors"
            raise InputError(
                f"{SLUG!r} at node {node!r} with {result} {name}: must have at most {limit} to be written out step by "
                f"step; theory.{way}"
            )


def _name(symbols: TreeSymbols, node: Node) -> str:
    """LaTeX of the covariance over z_0 of the mean activations of the neurons that the node reads."""
    root = symbols.texts[symbols.tree.root]
    group = rf"\mathcal{{N}}_{{{symbols.texts[node]}}}^{{\mathrm{{ch}}}}"
    return rf"\mathbb{{V}}_{{z_{{{root}}}}}\left[\mathbb{{E}}[f_{{{group}}} \mid z_{{{root}}}]\right]"


def along_edge(mean: Expr, gap: Expr, table: list[list[Expr]]) -> list[Expr]:
    """Law of total expectation along a binary edge: E[f | parent = i] from E[f | child] = mean -+ gap."""
    return [law[0] * (mean - gap) + law[1] * (mean + gap) for law in table]


def general_table(symbols: TreeSymbols, node: Node) -> list[list[Expr]]:
    """A binary table with an offset, whether or not the user's table is symmetric."""
    return binary_table(symbols.polarity(node), Symbol(f"m_{{{symbols.edge(node)}}}", real=True))


def _derive_binary(symbols: TreeSymbols, node: Node) -> Derivation:
    tree = symbols.tree
    steps, conditional = [], []
    for child in tree.children(node):
        mean = Symbol(f"c_{{{symbols.texts[child]}}}", real=True) if tree.children(child) else _HALF
        s = selectivity(symbols, child)
        low, high = along_edge(mean, s, general_table(symbols, child))
        reason = "law of total expectation along an edge: E[f|z_mu=1] - E[f|z_mu=0] = 2 rho s for any table"
        shown = _difference(rf"\mathbb{{E}}[f_{{{symbols.texts[child]}}}", symbols.texts[node])
        right = 2 * symbols.polarity(child) * s
        steps.append(Step(equation(shown, right), reason, decide_zero(high - low - right)))
        conditional.append((low, high))
    steps += _path_steps(symbols, node)
    for place in reversed(path_below(tree, node)):
        table = general_table(symbols, place)
        conditional = [
            tuple(_normal(value) for value in along_edge((low + high) / 2, (high - low) / 2, table))
            for low, high in conditional
        ]
    means = [[pair[i] for pair in conditional] for i in (0, 1)]
    claim = activation_covariance(tree, node)
    steps += _variance_steps(symbols)
    if claim.rows > 1:
        pairs = [(j, k) for j in range(claim.rows) for k in range(j)]
        below = range(1, claim.rows)
        minors = [claim[0, j] * claim[i, k] - claim[0, k] * claim[i, j] for i in below for j, k in pairs]
        relation = sympy.Le(Symbol(rf"\operatorname{{rank}} {_name(symbols, node)}", real=True), 1, evaluate=False)
        reason = "rank one at most: all 2 x 2 minors with the first row vanish"
        steps.append(Step(relation, reason, decide_zero(matrix([minors]))))
    factored, steps_factored = _factors(symbols, node, claim)
    text = "V_{z_0}[E[f | z_0]] = o_mu a_mu a_mu^T, o_mu = rho_{0mu}^2 (1 - rho_0^2), a_mu = [rho_{mu nu} s_nu]"
    needs = (MARKOV, "binary nodes, any tables")
    left, named = cross(symbols.prior, means, means), Statement(text, factored)
    return _conclude(named, needs, steps + steps_factored, left, claim, _name(symbols, node))


def _factors(symbols: TreeSymbols, node: Node, claim: ImmutableDenseMatrix) -> tuple[Basic, list[Step]]:
    """``V = o_mu a_mu a_mu^T`` with both factors, and the step that multiplies them out."""
    root, mu = symbols.texts[symbols.tree.root], symbols.texts[node]
    way, entries = [symbols.polarity(place) for place in path_below(symbols.tree, node)], gap_vector(symbols, node)
    spread, path = 1 - symbols.root_polarity**2, Mul(*way)
    reach = Symbol(rf"\rho_{{{root}\to {mu}}}", real=True) if len(way) > 1 else path
    o, a = Symbol(f"o_{{{mu}}}", nonnegative=True), MatrixSymbol(f"a_{{{mu}}}", len(entries), 1)
    column = ImmutableDenseMatrix(entries)
    product = MatMul(o, a, Transpose(a))
    relations = [
        equation(MatrixSymbol(_name(symbols, node), *claim.shape), product),
        equation(o, Mul(reach**2, spread)),
        *([equation(reach, path)] if len(way) > 1 else []),
        equation(a, column),
    ]
    result = decide_zero(matrix((path**2 * spread * column * column.T - claim).tolist()))
    return together(relations), [Step(equation(product, claim), "both factors multiplied out", result)]


def _difference(event: str, node: str) -> Symbol:
    """What is conditioned on both states of a node, as one symbol that prints as the difference."""
    high, low = (rf"{event} \mid z_{{{node}}}={i}]" for i in (1, 0))
    return Symbol(f"({high} - {low})", real=True)


def _normal(expr: Expr) -> Expr:
    """A polynomial multiplied out, so that nested means stay short."""
    return sympy.Poly(expr, *sorted(expr.free_symbols, key=str)).as_expr() if expr.free_symbols else expr


def _path_steps(symbols: TreeSymbols, node: Node) -> list[Step]:
    """``rho_{0v} = rho_{0u} rho_{uv}``, one step an edge, with any law of u given z_0."""
    start = Symbol("p", real=True)
    reach: Expr = Integer(1)
    steps = []
    for place in path_below(symbols.tree, node):
        table, rho = general_table(symbols, place), symbols.polarity(place)
        high, low = ((1 - q) * table[0][1] + q * table[1][1] for q in (start + reach, start))
        reason = "product along the path: P(z_v=1|z_0=1) - P(z_v=1|z_0=0) by the law of total probability"
        shown = _difference(rf"\mathbb{{P}}[z_{{{symbols.texts[place]}}}=1", symbols.texts[symbols.tree.root])
        steps.append(Step(equation(shown, reach * rho), reason, decide_zero(high - low - reach * rho)))
        reach = Mul(reach, rho)
    return steps


def _variance_steps(symbols: TreeSymbols) -> list[Step]:
    """Covariance over a binary z_0 of two means ``c + (2 z_0 - 1) g``."""
    c, d, g, h = (Symbol(name, real=True) for name in ("c_k", "c_l", "g_k", "g_l"))
    low, high = symbols.prior
    joint = low * (c - g) * (d - h) + high * (c + g) * (d + h)
    apart = (low * (c - g) + high * (c + g)) * (low * (d - h) + high * (d + h))
    reason = "covariance over z_0 of two means that differ by 2 g_k and 2 g_l between z_0 = 1 and z_0 = 0"
    return [zero_step(joint - apart, (1 - symbols.root_polarity**2) * g * h, reason)]


def _conclude(
    statement: Statement,
    needs: tuple[str, ...],
    steps: list[Step],
    left: ImmutableDenseMatrix,
    claim: ImmutableDenseMatrix,
    name: str,
) -> Derivation:
    """The derivation of a statement that ends in ``left = claim``."""
    decision = decide_zero(left - claim)
    relation = equation(MatrixSymbol(name, *claim.shape), claim)
    steps = [*steps, Step(relation, "conditional means of all children, varied over z_0, entry by entry", decision)]
    residual = sympy.ImmutableDenseMatrix.zeros(*claim.shape) if decision.value else left - claim
    return Derivation(SLUG, statement, needs, tuple(steps), residual, verdict(steps, decision))


def _derive_categorical(symbols: TreeSymbols, node: Node) -> Derivation:
    tree = symbols.tree
    states = range(tree.cardinality(tree.root))
    prior = [Symbol(rf"\pi_{{{i}}}", real=True) for i in states[:-1]]
    prior.append(1 - sympy.Add(*prior))
    x, y = ([Symbol(f"{name}_{{{i}}}", real=True) for i in states] for name in ("x", "y"))
    kernel = sympy.diag(*prior) - sympy.Matrix(prior) * sympy.Matrix(prior).T
    joint = sympy.Add(*(p * a * b for p, a, b in zip(prior, x, y, strict=True)))
    apart = Mul(*(sympy.Add(*(p * a for p, a in zip(prior, v, strict=True))) for v in (x, y)))
    form = (sympy.Matrix(x).T * kernel * sympy.Matrix(y))[0]
    steps = [
        zero_step(joint - apart, form, "covariance over z_0 of two conditional means: x^T (diag pi - pi pi^T) y"),
        _kernel_step(kernel),
    ]
    claim = activation_covariance(tree, node)
    left = _by_paths(symbols, node)
    text = "V_{z_0}[E[f | z_0]] = F^T T_{0mu}^T (diag pi - pi pi^T) T_{0mu} F, of rank at most m_0 - 1"
    needs = (MARKOV, "finitely many states")
    return _conclude(
        Statement(text, _product(symbols, node, claim.rows)), needs, steps, left, claim, _name(symbols, node)
    )


def _product(symbols: TreeSymbols, node: Node, size: int) -> Basic:
    """``F^T T_{0mu}^T (diag pi - pi pi^T) T_{0mu} F``, F the means of the children given z_mu, and its rank."""
    tree, root, mu = symbols.tree, symbols.texts[symbols.tree.root], symbols.texts[node]
    states, own = tree.cardinality(tree.root), tree.cardinality(node)
    chain = [MatrixSymbol(f"F_{{{mu}}}", own, size)]
    if node != tree.root:
        chain.insert(0, MatrixSymbol(rf"T_{{{root}\to {mu}}}", states, own))
    kernel = MatrixSymbol(r"\left(\operatorname{diag} \pi - \pi \pi^{T}\right)", states, states)
    name = _name(symbols, node)
    rank = sympy.Le(Symbol(rf"\operatorname{{rank}} {name}", real=True), states - 1, evaluate=False)
    product = MatMul(*(Transpose(part) for part in reversed(chain)), kernel, *chain)
    return together([equation(MatrixSymbol(name, size, size), product), rank])


def _kernel_step(kernel: sympy.Matrix) -> Step:
    ones = sympy.ones(kernel.cols, 1)
    relation = equation(Symbol(r"(\operatorname{diag} \pi - \pi \pi^T) 1", real=True), Integer(0))
    reason = "the kernel sends the constant vector to 0, so that the rank is at most m_0 - 1"
    result: Decision = decide_zero(sympy.ImmutableDenseMatrix(kernel * ones))
    return Step(relation, reason, result)


def _by_paths(symbols: TreeSymbols, node: Node) -> ImmutableDenseMatrix:
    """The same covariance with every product of tables taken from the root downwards."""
    tree = symbols.tree
    law = sympy.eye(tree.cardinality(tree.root))
    for place in path_below(tree, node):
        law = law * sympy.Matrix(symbols.table(place))
    columns = []
    for child in tree.children(node):
        states = range(tree.cardinality(child))
        name = symbols.texts[child]
        values = [Symbol(f"e_{{{name};{j}}}", real=True) if tree.children(child) else Integer(j) for j in states]
        columns.append(law * sympy.Matrix(symbols.table(child)) * sympy.Matrix(values))
    means = sympy.Matrix.hstack(*columns)
    prior = sympy.Matrix(symbols.prior)
    result: ImmutableDenseMatrix = sympy.ImmutableDenseMatrix(means.T * (sympy.diag(*prior) - prior * prior.T) * means)
    return result


# Consequences: the update of a node, one operator for all losses, decay with depth.


def _matrices(name: str, rows: int, columns: int) -> sympy.Matrix:
    return sympy.Matrix(rows, columns, lambda i, j: Symbol(f"{name}_{{{i}{j}}}", real=True))


def derive_update(symbols: TreeSymbols, node: Node) -> Derivation:
    """``2 Cov_x[Kbar_mu, fbar_L] = 2 sum_mu' Cov[Kbar_mu, Kbar_mu'] vec W_mu'`` over the nodes of a cut."""
    tree = symbols.tree
    whole = all(len(tree.children(above)) == 1 for above in tree.path(tree.root, node)[:-1])
    names = [symbols.texts[node], *([] if whole else [r"\nu"])]
    parts = []
    for i in range(len(names)):
        x, w = _matrices(f"x^{{{i}}}", 2, 1), _matrices(f"W^{{{i}}}", 2, 2)
        jacobian = sympy.eye(2) if node == tree.root else _matrices(f"J^{{{i}}}", 2, 2)
        parts.append((sympy.kronecker_product(x, jacobian.T), jacobian * w * x, sympy.Matrix(4, 1, list(w.T))))
    steps = [_cut_step(names, parts), _bilinear_step(len(parts))]
    if tree.cardinality(tree.root) == 2:
        steps.append(_gap_step(symbols))
    end = (
        "every leaf is below this node, so that the diagonal block is the whole update"
        if whole
        else "siblings add cross terms, so that the diagonal block alone is not the update"
    )
    steps.append(_update_step(names, steps))
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
    residual = sum((k.T * w - f for k, f, w in parts), start=sympy.zeros(2, 1))
    products = [MatMul(MatrixSymbol(f"K_{{{n}}}", 4, 2).T, Vec(MatrixSymbol(f"W_{{{n}}}", 2, 2))) for n in names]
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


def _bilinear_step(count: int) -> Step:
    """Cov[k, sum K^T w] by linearity, two states of x with any law, entries of K at either state."""
    p = Symbol("p", real=True)
    low, high = reals("k_0 k_1")
    terms, total = [], [Integer(0), Integer(0)]
    for i in range(count):
        a, b = reals(f"h^{{{i}}}_0 h^{{{i}}}_1")
        w = Symbol(f"w^{{{i}}}", real=True)
        terms.append(_cov(p, (low, high), (a, b)) * w)
        total = [total[0] + a * w, total[1] + b * w]
    left = _cov(p, (low, high), (total[0], total[1]))
    reason = "covariance is linear in its second argument: one term a node of the cut, the diagonal block among them"
    return zero_step(left, sympy.Add(*terms), reason)


def _cov(p: Expr, left: tuple[Expr, Expr], right: tuple[Expr, Expr]) -> Expr:
    """Covariance of two functions of a state that is 1 with probability p."""
    a, b = left
    c, d = right
    return (1 - p) * a * c + p * b * d - ((1 - p) * a + p * b) * ((1 - p) * c + p * d)


def _gap_step(symbols: TreeSymbols) -> Step:
    low, high, first, second = reals("k_0 k_1 f_0 f_1")
    left = _cov(symbols.prior[1], (low, high), (first, second))
    right = Mul(Rational(1, 4), 1 - symbols.root_polarity**2, (high - low) * (second - first))
    return zero_step(left, right, "binary root: Cov_{z_0}[k, f] = (1 - rho_0^2)/4 (k_1 - k_0)(f_1 - f_0)")


def derive_losses(symbols: TreeSymbols, node: Node) -> Derivation:
    """``V^xi_{x,x'}[Kbar(x) - Kbar(x')] = 2 xi(r(0,1)) OP_mu`` for a binary root."""
    if symbols.tree.cardinality(symbols.tree.root) != 2:
        raise InputError("claim='losses' of 'activation-covariance': needs a root with two states")
    low, high = symbols.prior
    spread = 1 - symbols.root_polarity**2
    k, h, f, g = (reals(f"{name}_0 {name}_1") for name in "khfg")
    same, apart = reals(r"\xi(0) \xi(r_{01})")
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
    """A polynomial with coefficients of no negative sign in nonnegative symbols is nonnegative."""
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
