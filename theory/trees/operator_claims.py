"""Statement 6, operators as derivations: linear neurons and the top node for all sizes, the Walsh form on a given tree.

``OP_mu = rho_{0mu}^2 (1 - rho_0^2) a_mu a_mu^T kron J_mu^T J_mu`` for linear neurons; at the top node J = I, for every
activation below it. The Walsh form is an induction over edges, and its sum is compared with the enumeration of a tree.
Source: arXiv 2010.00578, statement 6; the Walsh form goes beyond the paper.
"""

from itertools import product
from typing import Any

import sympy
from sympy import (
    Expr,
    Identity,
    Integer,
    KroneckerProduct,
    MatMul,
    MatrixSymbol,
    Mul,
    Rational,
    Symbol,
)

from hltm.base.checks import Node
from hltm.base.errors import InputError
from hltm.tree import HLTM
from theory.core.claim import Claim, equation
from theory.core.derivation import Derivation, Step, stated, zero_step
from theory.core.notation import dimension
from theory.core.quantity import quantity
from theory.core.reading import identity_reading
from theory.towers.dual_gradient import identity_step
from theory.trees.derivations import MARKOV, SLUG, gap_step, path_steps, reach_symbol, reached
from theory.trees.symbols import TreeSymbols, binary_table, internal, path_below, tree_symbols

OPERATOR_CLAIMS = ("operator", "walsh")
"""The claims about operators that can be derived."""
LEAF_LIMIT = 4  # 2^n values of a function are written out
_HALF = Rational(1, 2)


def derive_operator_claim(tree: HLTM | None, node: Node | None, claim: str) -> Derivation:
    """Derive "operator" at a node, or "walsh" on a tree; on a small tree where none is given."""
    chosen = small_tree() if tree is None else tree
    if tree is not None and node is None and claim == "operator":
        raise InputError(f"node=None of {SLUG!r}: must name a node with children of the tree")
    if not chosen.is_binary:
        raise InputError(f"claim={claim!r} of {SLUG!r}: needs a binary tree")
    symbols = tree_symbols(chosen)
    return (
        derive_walsh(symbols)
        if claim == "walsh"
        else derive_operator(symbols, chosen.latents[-1] if node is None else node)
    )


def small_tree() -> HLTM:
    """A root, one latent and two leaves below it; symmetric."""
    import networkx as nx

    graph: Any = nx.DiGraph([("0", "μ"), ("μ", "a"), ("μ", "b")])
    graph.nodes["0"]["prior"] = [0.5, 0.5]
    for edge in graph.edges:
        graph.edges[edge]["polarity"] = 0.5
    return HLTM(graph)


def derive_operator(symbols: TreeSymbols, node: Node) -> Derivation:
    """``OP_mu`` of linear neurons, or of the top node with any activation below it."""
    internal(symbols.tree, node, f"{SLUG!r}")
    mu, top = symbols.texts[node], node == symbols.tree.root
    n_top, n, m = dimension("L"), dimension("mu"), dimension("ch")
    n = n_top if top else n
    where = {"node": mu}
    a = quantity("selectivity along edges", f"a_{{{mu}}}", m, 1, where=where)
    jac = quantity("Jacobian", f"J_{{{mu}}}", n_top, n, where=where)
    operator = quantity("covariance operator", f"OP_{{{mu}}}", m * n, m * n, where=where)
    low, high, gap = (MatrixSymbol(name, m, 1) for name in ("f_{0}", "f_{1}", "g"))
    p = Symbol("p", real=True)
    spread = 1 - symbols.root_polarity**2
    way = [symbols.polarity(place) for place in path_below(symbols.tree, node)]
    reach = reach_symbol(symbols, node) if len(way) > 1 else Mul(*way)
    moved = KroneckerProduct(gap, jac.T)
    steps = [
        *path_steps(symbols, node),
        identity_step(
            KroneckerProduct((1 - p) * low + p * high, jac.T),
            (1 - p) * KroneckerProduct(low, jac.T) + p * KroneckerProduct(high, jac.T),
            "J_mu is constant (linear neurons; I at the top node): the mean of K = f kron J^T is that of f, kron J^T",
        ),
        gap_step(symbols),
        identity_step(moved * moved.T, KroneckerProduct(gap * gap.T, jac.T * jac),
                      "mixed product: (g kron J^T)(g kron J^T)^T = g g^T kron J^T J"),
        _selectivity_step(),
    ]  # fmt: skip
    relations = [
        equation(operator, MatMul(reach**2 * spread, KroneckerProduct(a * a.T, Identity(n) if top else jac.T * jac))),
        *([equation(reach, Mul(*way))] if len(way) > 1 else []),
    ]
    # The means of the children differ by 2 a_mu between the states of mu, hence by 2 rho_0mu a_mu between those of z_0.
    difference = 2 * reached(symbols, node) * a
    meanings: dict[Any, Any] = {
        operator: Rational(1, 4) * spread * KroneckerProduct(difference, jac.T) * KroneckerProduct(difference, jac.T).T,
        **({reach: reached(symbols, node)} if len(way) > 1 else {}),
        **({jac: Identity(n_top)} if top else {}),
    }
    read = identity_reading(meanings)
    steps.append(stated(relations[0], "(1 - rho_0^2)/4 DK DK^T with DK = 2 rho_0mu a_mu kron J_mu^T", read))
    text = "OP_mu = rho_{0mu}^2 (1 - rho_0^2) a_mu a_mu^T kron J_mu^T J_mu"
    text += ", J = I at the top node, any activation below it" if top else ", linear neurons"
    needs = (MARKOV, "binary nodes, any tables", "no activation on the top node" if top else "linear neurons")
    return Derivation(
        SLUG, Claim(text, tuple(relations), needs, "one-branch"), tuple(steps), None, read, symbols.ranges
    )


def _selectivity_step() -> Step:
    """``s_mu = W_mu a_mu``: selectivities of linear neurons, going up."""
    n, m = dimension("mu"), dimension("ch")
    weight = MatrixSymbol(r"W_{\mu}", n, m)
    low, high, a = (MatrixSymbol(name, m, 1) for name in ("f_{0}", "f_{1}", "a"))
    return identity_step(
        _HALF * (weight * high - weight * low), weight * a,
        "linear neurons: s_mu = 1/2 (E[W f|z_mu=1] - E[W f|z_mu=0]) = W_mu a_mu, from the leaves upwards",
        {a: _HALF * (high - low)},
    )  # fmt: skip


# The Walsh form.


def derive_walsh(symbols: TreeSymbols) -> Derivation:
    """``E[g|z_0=1] - E[g|z_0=0] = 2 sum_{|S| odd} ghat(S) prod_{e in T(S)} rho_e`` for every g."""
    tree = symbols.tree
    if not tree.is_symmetric:
        raise InputError(f"claim='walsh' of {SLUG!r}: needs symmetric tables")
    if len(tree.leaves) > LEAF_LIMIT:
        raise InputError(f"claim='walsh' of {SLUG!r}: {len(tree.leaves)} leaves: must have at most {LEAF_LIMIT}")
    signs = list(product((-1, 1), repeat=len(tree.leaves)))
    values = {x: Symbol(f"g_{{{''.join('1' if s > 0 else '0' for s in x)}}}", real=True) for x in signs}
    sets = [chosen for chosen in product((0, 1), repeat=len(tree.leaves)) if sum(chosen) % 2]
    hats = {s: quantity("Walsh coefficient", rf"\hat{{g}}_{{{''.join(map(str, s))}}}", where={"set": s}) for s in sets}
    given = [_mean(symbols, values, state) for state in (0, 1)]
    target = quantity("difference of means", r"(\mathbb{E}[g \mid z_{0}=1] - \mathbb{E}[g \mid z_{0}=0])")
    terms = [2 * hats[s] * Mul(*(symbols.polarity(edge) for edge in _odd_edges(tree, s))) for s in sets]
    relation = equation(target, sympy.Add(*terms))
    meanings = {target: given[1] - given[0]}
    for chosen, hat in hats.items():
        total = sympy.Add(*(Mul(*(s for s, c in zip(x, chosen, strict=True) if c)) * g for x, g in values.items()))
        meanings[hat] = total / 2 ** len(tree.leaves)
    read = identity_reading(meanings)
    steps = [*_parity_steps(), stated(relation, "all functions of the leaves of this tree, by enumeration", read)]
    text = "E[g|z_0=1] - E[g|z_0=0] = 2 sum over odd S of ghat(S) prod_{e in T(S)} rho_e, on this tree"
    needs = (MARKOV, "symmetric binary tables", "T(S): the edges with an odd number of leaves of S below")
    return Derivation(SLUG, Claim(text, (relation,), needs), tuple(steps), None, read, symbols.ranges)


def _parity_steps() -> list[Step]:
    """Induction over edges: the mean of a product of leaf signs given a node is a number times its sign or times 1."""
    rho, sign, one, other = (Symbol(name, real=True) for name in ("rho", "z", "c_{1}", "c_{2}"))
    up, down = (1 + rho) / 2, (1 - rho) / 2
    square = {sign**2: Integer(1)}
    return [
        zero_step(up * one * sign + down * one * (-sign), rho * one * sign,
                  "an edge below which S has an odd number of leaves: a mean c z_nu becomes rho c z_mu"),
        zero_step(up * one + down * one, one, "an edge below which it has an even number: a mean c stays c"),
        zero_step(sympy.expand(one * sign * other * sign).xreplace(square), one * other,
                  "two children with an odd number each: z_mu^2 = 1, the product is even; parities add"),
        zero_step(one * 1 - one * (-1), 2 * one, "S odd at the root: c z_0 moves by 2 c; S even: it does not move"),
    ]  # fmt: skip


def _mean(symbols: TreeSymbols, values: dict[tuple[int, ...], Symbol], state: int) -> Expr:
    """``E[g|z_0]`` by the law of all leaves given the root, edge by edge."""
    tree = symbols.tree

    def law(node: Node, given: int) -> dict[tuple[int, ...], Expr]:
        """Probability of the signs of the leaves below a node given its state."""
        if not tree.children(node):
            return {(2 * given - 1,): Integer(1)}
        result: dict[tuple[int, ...], Expr] = {(): Integer(1)}
        for child in tree.children(node):
            table = binary_table(symbols.polarity(child), Integer(0))
            below: dict[tuple[int, ...], Expr] = {}
            for z in (0, 1):
                for x, chance in law(child, z).items():
                    below[x] = below.get(x, Integer(0)) + table[given][z] * chance
            result = {x + y: p * q for (x, p), (y, q) in product(result.items(), below.items())}
        return result

    order = _below(tree, tree.root)
    place = [order.index(leaf) for leaf in tree.leaves]
    return sympy.Add(*(p * values[tuple(x[i] for i in place)] for x, p in law(tree.root, state).items()))


def _below(tree: HLTM, node: Node) -> list[Node]:
    """Leaves below a node, in the order of its children."""
    children = tree.children(node)
    return [leaf for child in children for leaf in _below(tree, child)] if children else [node]


def _odd_edges(tree: HLTM, chosen: tuple[int, ...]) -> list[Node]:
    """Edges, by their lower ends, with an odd number of chosen leaves below."""
    inside = {leaf for leaf, taken in zip(tree.leaves, chosen, strict=True) if taken}
    return [node for node in tree.nodes if node != tree.root and len(inside & set(_below(tree, node))) % 2]
