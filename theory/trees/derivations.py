"""Statement 6 as derivations: activation covariance, the update of a node, all losses, decay with depth.

Conditional means are followed edge by edge with general tables (an offset m beside rho), then varied over z_0.
Source: arXiv 2010.00578, statement 6; the update, the losses and the categorical form go beyond the paper.
"""

from collections.abc import Mapping
from typing import Any

import sympy
from sympy import (
    Basic,
    Expr,
    Identity,
    ImmutableDenseMatrix,
    Integer,
    MatAdd,
    MatMul,
    MatrixExpr,
    Mul,
    Rational,
    Symbol,
    Transpose,
)

from hltm.base.checks import Node
from hltm.base.errors import InputError
from hltm.tree import HLTM
from theory.core.claim import Claim, Reading, equation, reading, undecided
from theory.core.decide import POINT, POLYNOMIAL, Decision, decide_zero, describe, exact_points
from theory.core.derivation import Derivation, Step, stated, zero_step
from theory.core.expectation import Law, Letter, Moment, letter
from theory.core.notation import Vec, dimension, reals
from theory.core.quantity import Ranges, has_slack, quantity, slack_symbol
from theory.core.reading import Meaning, defined_reading, explicit_reading, moment_reading
from theory.towers.dual_gradient import identity_step
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


def _covariance(symbols: TreeSymbols, node: Node, size: int) -> MatrixExpr:
    """That covariance as a symbol."""
    return quantity("activation covariance", _name(symbols, node), size, size, where={"node": symbols.texts[node]})


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
    steps += path_steps(symbols, node)
    gaps = [_normal((high - low) / 2) for low, high in conditional]
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
    relations = factored(symbols, node)
    text = "V_{z_0}[E[f | z_0]] = o_mu a_mu a_mu^T, o_mu = rho_{0mu}^2 (1 - rho_0^2), a_mu = [rho_{mu nu} s_nu]"
    needs = (MARKOV, "binary nodes, any tables")
    left, target = cross(symbols.prior, means, means), _covariance(symbols, node, claim.rows)
    meanings = {
        _gaps(symbols, node, claim.rows): ImmutableDenseMatrix(gaps),
        reach_symbol(symbols, node): reached(symbols, node),
        relations[1].lhs: reached(symbols, node) ** 2 * 4 * Mul(*symbols.prior),
    }
    read = defined_reading(target, left, meanings)
    steps.append(_multiplied_out(relations, claim))
    return _conclude(Claim(text, relations, needs), steps, left, claim, target, read, symbols.ranges)


def _gaps(symbols: TreeSymbols, node: Node, size: int) -> MatrixExpr:
    return quantity(
        "selectivity along edges", f"a_{{{symbols.texts[node]}}}", size, 1, where={"node": symbols.texts[node]}
    )


def reach_symbol(symbols: TreeSymbols, node: Node) -> Expr:
    """``rho_{0 mu}``, for a node that is not the root; with one edge it is that of the edge."""
    root, mu = symbols.texts[symbols.tree.root], symbols.texts[node]
    return quantity("polarity of a path", rf"\rho_{{{root}\to {mu}}}", where={"from": root, "to": mu})


def reached(symbols: TreeSymbols, node: Node) -> Expr:
    """``P(z_mu=1|z_0=1) - P(z_mu=1|z_0=0)`` by the law of total probability, edge by edge."""
    low, high = Integer(0), Integer(1)
    for place in path_below(symbols.tree, node):
        table = general_table(symbols, place)
        low, high = (_normal((1 - q) * table[0][1] + q * table[1][1]) for q in (low, high))
    return _normal(high - low)


def factored(symbols: TreeSymbols, node: Node) -> tuple[Basic, ...]:
    """What is claimed at a node of two states: ``V = o_mu a_mu a_mu^T``, o_mu, rho_{0 mu} below two edges, a_mu."""
    mu = symbols.texts[node]
    way = [symbols.polarity(place) for place in path_below(symbols.tree, node)]
    entries = gap_vector(symbols, node)
    o = quantity("strength", f"o_{{{mu}}}", where={"node": mu}, nonnegative=True)
    a = _gaps(symbols, node, len(entries))
    reach = reach_symbol(symbols, node) if len(way) > 1 else Mul(*way)
    return (
        equation(_covariance(symbols, node, len(entries)), MatMul(o, a, Transpose(a))),
        equation(o, Mul(reach**2, 1 - symbols.root_polarity**2)),
        *([equation(reach, Mul(*way))] if len(way) > 1 else []),
        equation(a, ImmutableDenseMatrix(entries)),
    )


def _multiplied_out(relations: tuple[Basic, ...], claim: ImmutableDenseMatrix) -> Step:
    """The step that puts the factors of a claim together."""
    product, strength, *_, vector = (relation.rhs for relation in relations)
    reaches = {relation.lhs: relation.rhs for relation in relations[2:-1]}
    o = strength.xreplace(reaches)
    result = decide_zero(matrix((o * vector * vector.T - claim).tolist()))
    return Step(equation(product, claim), "both factors multiplied out", result)


def _difference(event: str, node: str) -> Symbol:
    """What is conditioned on both states of a node, as one symbol that prints as the difference."""
    high, low = (rf"{event} \mid z_{{{node}}}={i}]" for i in (1, 0))
    return Symbol(f"({high} - {low})", real=True)


def _normal(expr: Expr) -> Expr:
    """A polynomial multiplied out, so that nested means stay short."""
    return sympy.Poly(expr, *sorted(expr.free_symbols, key=str)).as_expr() if expr.free_symbols else expr


def path_steps(symbols: TreeSymbols, node: Node) -> list[Step]:
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
    claim: Claim,
    steps: list[Step],
    left: ImmutableDenseMatrix,
    formula: ImmutableDenseMatrix,
    target: MatrixExpr,
    read: Reading,
    ranges: Ranges,
) -> Derivation:
    """The derivation of a claim about the covariance `target`, which is `left`; the formula is its closed form."""
    why = "conditional means of all children, varied over z_0, entry by entry"
    steps = [*steps, stated(equation(target, formula), why, explicit_reading({target: left}))]
    residual = sympy.ImmutableDenseMatrix.zeros(*formula.shape) if steps[-1].proved else left - formula
    return Derivation(SLUG, claim, tuple(steps), residual, read, ranges)


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
    formula = activation_covariance(tree, node)
    below, path = _means_below(symbols, node), _path_table(symbols, node)
    means = below
    for place in reversed(path_below(tree, node)):  # law of total expectation, from the node up to the root
        means = sympy.Matrix(symbols.table(place)) * means
    left = cross(symbols.prior, means.tolist(), means.tolist())
    text = "V_{z_0}[E[f | z_0]] = F^T T_{0mu}^T (diag pi - pi pi^T) T_{0mu} F, of rank at most m_0 - 1"
    needs = (MARKOV, "finitely many states")
    relations, chain, rank = _product(symbols, node, formula.rows)
    target, weights = relations[0].lhs, sympy.Matrix(symbols.prior)
    meanings = dict(zip(chain, (below, path) if node != tree.root else (below,), strict=False))
    meanings[chain[-1]] = ImmutableDenseMatrix(sympy.diag(*weights) - weights * weights.T)
    ranks = _rank_reading(rank, left, len(states) - 1)
    read = summing_to_one(
        symbols.sums, target, left, {key: ImmutableDenseMatrix(value) for key, value in meanings.items()}, ranks
    )
    return _conclude(Claim(text, relations, needs), steps, left, formula, target, read, symbols.ranges)


def summing_to_one(
    sums: Mapping[Expr, Expr], target: Any, value: Any, meanings: Mapping[Any, Any], others: Reading
) -> Reading:
    """`defined_reading` where the entries of every law sum to one, in the claim and in what was derived."""
    given = {key: meaning.xreplace(sums) for key, meaning in meanings.items()}
    inner = defined_reading(target, value.xreplace(sums), given, others)
    return lambda claim: inner(claim.replace(relations=tuple(one.xreplace(sums) for one in claim.relations)))


def _rank_reading(rank: Expr, value: ImmutableDenseMatrix, most: int) -> Reading:
    """``rank V <= n``: true from m_0 - 1 on, by the kernel; refuted by the rank at an exact point."""

    def decide(relation: Basic) -> Decision:
        if not (isinstance(relation, sympy.LessThan) and relation.lhs == rank and relation.rhs.is_Integer):
            return undecided(relation)
        if relation.rhs >= most:
            return Decision(True, POLYNOMIAL, "the kernel has rank m_0 - 1 at most")
        generic, _ = next(iter(exact_points(sympy.Add(*value))))
        found = value.xreplace(generic).rank()
        if found > relation.rhs:
            return Decision(False, POINT, f"at a generic point the rank is {found}")
        return undecided(relation)

    return reading(decide)


def _product(symbols: TreeSymbols, node: Node, size: int) -> tuple[tuple[Basic, ...], list[MatrixExpr], Expr]:
    """``F^T T_{0mu}^T (diag pi - pi pi^T) T_{0mu} F``, F the children's means given z_mu; its symbols; its rank."""
    tree, root, mu = symbols.tree, symbols.texts[symbols.tree.root], symbols.texts[node]
    states, own = tree.cardinality(tree.root), tree.cardinality(node)
    chain = [quantity("means given a latent", f"F_{{{mu}}}", own, size, where={"node": mu})]
    if node != tree.root:
        chain.append(quantity("path table", rf"T_{{{root}\to {mu}}}", states, own, where={"from": root, "to": mu}))
    kernel = quantity("kernel", r"\left(\operatorname{diag} \pi - \pi \pi^{T}\right)", states, states)
    rank = quantity("rank", rf"\operatorname{{rank}} {_name(symbols, node)}", where={"node": mu})
    product = MatMul(*(Transpose(part) for part in chain), kernel, *reversed(chain))
    relations = (
        equation(_covariance(symbols, node, size), product),
        sympy.Le(rank, states - 1, evaluate=False),
    )
    return relations, [*chain, kernel], rank


def _kernel_step(kernel: sympy.Matrix) -> Step:
    ones = sympy.ones(kernel.cols, 1)
    relation = equation(Symbol(r"(\operatorname{diag} \pi - \pi \pi^T) 1", real=True), Integer(0))
    reason = "the kernel sends the constant vector to 0, so that the rank is at most m_0 - 1"
    result: Decision = decide_zero(sympy.ImmutableDenseMatrix(kernel * ones))
    return Step(relation, reason, result)


def _path_table(symbols: TreeSymbols, node: Node) -> sympy.Matrix:
    """``T_{0mu}``: tables multiplied from the root downwards."""
    law = sympy.eye(symbols.tree.cardinality(symbols.tree.root))
    for place in path_below(symbols.tree, node):
        law = law * sympy.Matrix(symbols.table(place))
    return law


def _means_below(symbols: TreeSymbols, node: Node) -> sympy.Matrix:
    """``F``: means of the children's neurons given the node, one column each."""
    tree, columns = symbols.tree, []
    for child in tree.children(node):
        states = range(tree.cardinality(child))
        name = symbols.texts[child]
        values = [Symbol(f"e_{{{name};{j}}}", real=True) if tree.children(child) else Integer(j) for j in states]
        columns.append(sympy.Matrix(symbols.table(child)) * sympy.Matrix(values))
    return sympy.Matrix.hstack(*columns)


# Consequences: the update of a node, one operator for all losses, decay with depth.


def derive_update(symbols: TreeSymbols, node: Node) -> Derivation:
    """``2 Cov_x[Kbar_mu, fbar_L] = 2 sum_mu' Cov[Kbar_mu, Kbar_mu'] vec W_mu'`` over the nodes of a cut."""
    tree = symbols.tree
    whole = all(len(tree.children(above)) == 1 for above in tree.path(tree.root, node)[:-1])
    names = [symbols.texts[node], *([] if whole else [r"\nu"])]
    steps = cut_steps()
    if tree.cardinality(tree.root) == 2:
        steps.append(gap_step(symbols))
    end = (
        "every leaf is below this node, so that the diagonal block is the whole update"
        if whole
        else "siblings add cross terms, so that the diagonal block alone is not the update"
    )
    relation, read = _update(names)
    reason = "both together: the update, one term a node of the cut; covariances of all sizes by the moment algebra"
    steps.append(stated(relation, reason, read))
    text = f"2 Cov_x[Kbar_mu, fbar_L] = 2 sum_mu' Cov_x[Kbar_mu, Kbar_mu'] vec W_mu' (shared); {end}"
    needs = (
        MARKOV,
        "statement 3: the update is 2 Cov_x[Kbar_mu, fbar_L]",
        "piecewise-linear homogeneous activation, no biases",
    )
    return Derivation(SLUG, Claim(text, (relation,), needs, "shared"), tuple(steps), None, read)


def cut_steps() -> list[Step]:
    """``f_L = sum K_nu^T vec W_nu`` over every cut of every tree: from the top node, a node replaced by its children.

    Two children are shown, the others are alike; a leaf stays as a term of its own, with the columns that read it.
    """
    n_top, n, m_a, m_b, m = (dimension(name) for name in ("L", "\\mu", "a", "b", "\\nu"))
    top, output = matrix_symbol("J_{0}", n_top, n_top), matrix_symbol("f_{L}", n_top, 1)
    first, jac = matrix_symbol("p_{0}", n_top, 1), matrix_symbol(r"J_{\mu}", n_top, n)
    sums, parts = [], []
    definitions: dict[MatrixExpr, MatrixExpr] = {}
    for name, size in (("a", m_a), ("b", m_b)):
        weight, gate = matrix_symbol(f"W_{{{name}}}", n, size), matrix_symbol(f"D_{{{name}}}", size, size)
        below, active, out = (matrix_symbol(f"{letter_}_{{{name}}}", *shape) for letter_, shape in
                              (("p", (size, 1)), ("f", (size, 1)), ("J", (n_top, size))))  # fmt: skip
        sums.append(weight * active)
        parts.append(out * below)
        definitions |= {active: gate * below, out: jac * weight * gate}
    node, weight = matrix_symbol(r"f_{\nu}", m, 1), matrix_symbol(r"W_{\nu}", n, m)
    above = matrix_symbol(r"J_{\nu}", n_top, n)
    return [
        identity_step(top * first, output, "the top node alone is a cut: no activation, so J_0 = I and f_L = p_0",
                      {top: Identity(n_top), output: first}),
        identity_step(jac * MatAdd(*sums), MatAdd(*parts),
                      "a node replaced by its children, p_mu = sum W_nu f_nu, f_nu = D_nu p_nu, J_nu = J_mu W_nu D_nu: "
                      "J_mu p_mu = sum J_nu p_nu, so that f_L is the sum of J p over every cut", definitions),
        identity_step(sympy.KroneckerProduct(node, above.T).T * Vec(weight), above * weight * node,
                      "vec identity at every node of the cut: K_nu^T vec W_nu = J_nu W_nu f = J_nu p_nu"),
    ]  # fmt: skip


def matrix_symbol(name: str, rows: Expr, columns: Expr) -> MatrixExpr:
    """A matrix symbol of a tree network."""
    return sympy.MatrixSymbol(name, rows, columns)


def _update(names: list[str]) -> tuple[Basic, Reading]:
    """``2 Cov_x[Kbar_mu, fbar_L]`` with ``f_L`` the sum over the cut: the relation, and what its symbols stand for."""
    children = dimension("ch")  # neurons that a node reads
    sizes = [dimension(name) * children for name in names]
    law = Law(means={})
    shapes = {
        "f": (2, 1),
        **{f"K{i}": (3, 2) for i in range(len(names))},
        **{f"w{i}": (3, 1) for i in range(len(names))},
    }
    first = rf"\bar{{K}}_{{{names[0]}}}"

    def covariance(other: str, columns: Expr) -> MatrixExpr:
        name = rf"\operatorname{{Cov}}_{{x}}\left[{first}, {other}\right]"
        return quantity("covariance of connections", name, sizes[0], columns, where={"node": names[0], "other": other})

    def between(other: str) -> Moment:
        here = letter("K0", "x")
        return here * letter(other, "x").transposed() - here * letter(other, "y").transposed()

    weights = [
        Vec(quantity("weights", f"W_{{{name}}}", dimension(name), children, where={"node": name})) for name in names
    ]
    blocks = [covariance(rf"\bar{{K}}_{{{name}}}", size) for name, size in zip(names, sizes, strict=True)]
    output = covariance(r"\bar{f}_{L}", 1)
    meanings: dict[Any, Meaning] = {block: (between(f"K{i}"), True) for i, block in enumerate(blocks)}
    meanings |= {weight: (Moment.of(Letter(f"w{i}")), False) for i, weight in enumerate(weights)}
    update = Moment({})
    for i in range(len(names)):  # the cut put into the second argument, before the covariance is taken
        update = update + between(f"K{i}") * Moment.of(Letter(f"w{i}"))
    meanings[output] = (update, True)
    terms = [MatMul(2, block, weight) for block, weight in zip(blocks, weights, strict=True)]
    relation = equation(MatMul(2, output), terms[0] if len(terms) == 1 else MatAdd(*terms))
    return relation, moment_reading(meanings.get, law, shapes)


def _cov(p: Expr, left: tuple[Expr, Expr], right: tuple[Expr, Expr]) -> Expr:
    """Covariance of two functions of a state that is 1 with probability p."""
    a, b = left
    c, d = right
    return (1 - p) * a * c + p * b * d - ((1 - p) * a + p * b) * ((1 - p) * c + p * d)


def gap_step(symbols: TreeSymbols) -> Step:
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

    operator = quantity("operator entry", rf"OP_{{{symbols.texts[node]};kh}}", where={"node": symbols.texts[node]})
    steps = [
        zero_step(_cov(high, (k[0], k[1]), (h[0], h[1])), gaps(k, h),
                  "one entry of OP_mu = V_x[Kbar_mu]: (1 - rho_0^2)/4 DK DK^T over a binary z_0"),
        zero_step(weighted(k, h), 2 * apart * gaps(k, h),
                  "four pairs (z, z'): equal states give Kbar(x) - Kbar(x') = 0, the others share xi(r(0,1))"),
        zero_step(weighted(f, g), 2 * apart * gaps(f, g),
                  "the same for E[xi (Kbar - Kbar')(fbar - fbar')], the general form of statement 4"),
    ]  # fmt: skip
    varied = quantity(
        "weighted operator entry", rf"V^{{\xi}}_{{{symbols.texts[node]};kh}}", where={"node": symbols.texts[node]}
    )
    read = explicit_reading({varied: weighted(k, h), operator: _cov(high, (k[0], k[1]), (h[0], h[1]))})
    relation = equation(varied, 2 * apart * operator)
    reason = "both steps together: one operator for the whole family, up to the factor xi(r(0,1))"
    steps.append(stated(relation, reason, read))
    text = "V^xi_{x,x'}[Kbar_mu(x) - Kbar_mu(x')] = 2 xi(r(0,1)) OP_mu: losses differ in speed only, up to theta"
    needs = (MARKOV, "binary root, augmentation below it", "r between augmentation means, one negative")
    ranges = symbols.ranges | dict.fromkeys((same, apart), (Integer(0), Integer(1)))
    return Derivation(SLUG, Claim(text, (relation,), needs), tuple(steps), None, read, ranges)


def decide_nonnegative(expr: Expr) -> Decision:
    """A polynomial with coefficients of no negative sign in nonnegative symbols is nonnegative."""
    generators = sorted(expr.free_symbols, key=str)
    if not expr.is_polynomial(*generators):
        return Decision(None, "abstained", "no polynomial")
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
    o = quantity("strength", rf"o_{{{symbols.texts[node]}}}", where={"node": symbols.texts[node]}, nonnegative=True)
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
    steps.append(zero_step(sympy.Limit(1 / (1 + 2 * d * t), d, sympy.oo).doit(), Integer(0),
                           "0 <= o_mu <= 1/(1 + 2 d t), which tends to 0 with the depth d"))  # fmt: skip
    bounded = sympy.Ge(c ** (2 * depth), o, evaluate=False)
    vanishing = equation(sympy.Limit(c ** (2 * d), d, sympy.oo), Integer(0))
    text = f"o_mu <= c^{2 * depth} at this node of depth {depth}, c^(2 d) -> 0 with the depth d"
    needs = (MARKOV, "every polarity on the way has absolute value at most c", "c < 1 for the limit")
    # By the steps o_mu is a share of c^(2 d), from 0 to 1: 1 where each polarity of the way is c and rho_0 = 0.
    reached = c ** (2 * depth) / (1 + slack_symbol("v"))

    def decide(relation: Basic) -> Decision:
        """An inequality with o_mu as a share of c^(2 d); the limit as it was derived."""
        if isinstance(relation, sympy.Equality):
            known = relation.lhs == vanishing.lhs and relation.rhs.is_number
            return decide_zero(relation.rhs) if known else undecided(relation)
        if not isinstance(relation, sympy.GreaterThan | sympy.LessThan):
            strict = (
                isinstance(relation, sympy.StrictLessThan) and relation.lhs - relation.rhs == bounded.lhs - bounded.rhs
            )
            return (
                Decision(False, POINT, f"c = 1/2, o = {Rational(1, 4) ** depth / 2}") if strict else undecided(relation)
            )
        if has_slack(relation):
            return undecided(relation)
        difference = (relation.gts - relation.lts).xreplace({o: reached})
        top, bottom = sympy.fraction(sympy.together(difference))
        signs = [decide_nonnegative(sympy.expand(part)) for part in (top, bottom)]
        if all(signs):
            return signs[0]
        for point, value in exact_points(difference.xreplace({c: 1 / (1 + t)})):
            if value.is_negative:
                return Decision(False, POINT, f"{describe(point)}: the difference is {value}")
        return undecided(relation)

    return Derivation(
        SLUG, Claim(text, (bounded, vanishing), needs), tuple(steps), None, reading(decide), symbols.ranges
    )
