"""Displayed relations between matrices and expectations hold for networks and populations that are written out here.

Nothing of `theory` computes a value: names of symbols are read, the sides of a relation are put to NumPy arrays, and
expectations are sums over the points and the augmentations. Sizes of a relation are all different where they may be.
"""

import itertools
import re
from functools import cache

import numpy as np
import pytest
import sympy
from sympy import MatrixSymbol, Symbol, preorder_traversal

import theory
from theory.core.notation import Expect

TOLERANCE = 1e-9
SIZES = {"n_{L}": 2, "n_{l}": 3, "n_{l-1}": 4, "n_{l+1}": 5, "n_{0}": 4, "n_{1}": 3, "n_{2}": 2}
GRADIENT = r"\mathbb{E}\left[\nabla_{W_{l}} L\right]"
LOSS_GRADIENT = GRADIENT.removesuffix(r"\right]")
POINTS, COPIES = 3, 2
CHANCE, SHARE = np.array([1, 2, 3]) / 6, np.array([1, 2]) / 3
# The point that an augmented input belongs to; any other place is a point itself.
POINT_OF = {"x_{1}": "x", "x_{+}": "x", "x_{2}": "x", "x_{-}": "x'", "x_{k-}": "x'_{k}", "x_{j-}": "x'_{j}"}
INPUTS = {"x", "x'", "x''", "y", "y'", "x'_{k}", "x'_{j}", *POINT_OF}
PLACED = re.compile(r"(?P<name>.*[^(])\((?P<places>[^()]*)\)")
INNER = re.compile(r"\\langle (?P<left>.*\)), (?P<right>.*\)) \\rangle")


@cache
def places(name):
    """The inputs that the name of a symbol mentions."""
    if name in (r"\xi", r"\xi_{k}"):
        return ["x", "x'_{k}"]
    found = INNER.fullmatch(name)
    if found:
        return [*places(found["left"]), *places(found["right"])]
    found = PLACED.fullmatch(name)
    named = found["places"].split(", ") if found else []
    return named if set(named) <= INPUTS else []


def outside(expression):
    """Symbols that no expectation holds."""
    walk = preorder_traversal(expression)
    for part in walk:
        if isinstance(part, Expect):
            walk.skip()
        elif isinstance(part, MatrixSymbol | Symbol):
            yield part.name


@cache
def shape_of(symbol):
    numbers = {Symbol(name, integer=True, positive=True): number for name, number in SIZES.items()}
    return tuple(int(size.subs(numbers)) for size in symbol.shape)


class Model:
    """Values of the names: constants, and functions of points and augmentations."""

    def __init__(self, constants, at_points=None, at_copies=None, scalars=None):
        self.constants, self.scalars = constants, scalars or {}
        self.at_points, self.at_copies = at_points or {}, at_copies or {}

    def placed(self, name, draw):
        if found := INNER.fullmatch(name):
            left, right = (self.placed(found[side], draw) for side in ("left", "right"))
            return (left.T @ right)[0, 0]
        if name in (r"\xi", r"\xi_{k}"):
            return self.scalars[r"\xi"][draw["x"], draw["x'_{k}"]]
        found = PLACED.fullmatch(name)
        if found and found["name"] in self.scalars:
            return self.scalars[found["name"]][tuple(draw[place] for place in found["places"].split(", "))]
        if found and found["places"] in POINT_OF:
            point = draw[POINT_OF[found["places"]]]
            return self.at_copies[found["name"]][point][draw[found["places"]]]
        return self.at_points[found["name"]][draw[found["places"]]]

    def named(self, name, draw):
        if name.startswith(LOSS_GRADIENT):  # of the loss at hand, whatever it is called
            name = GRADIENT
        return self.placed(name, draw) if places(name) else self.constants[name]

    def mean(self, expression):
        """The expectation over all inputs that are mentioned outside of another expectation."""
        if isinstance(expression, sympy.MatAdd):
            return sum(self.mean(part) for part in expression.args)
        copies = sorted({place for name in outside(expression) for place in places(name) if place in POINT_OF})
        points = {place for name in outside(expression) for place in places(name) if place not in POINT_OF}
        points = sorted(points | {POINT_OF[copy] for copy in copies})
        total = 0
        for choice in itertools.product(range(POINTS), repeat=len(points)):
            for drawn in itertools.product(range(COPIES), repeat=len(copies)):
                weight = np.prod(CHANCE[list(choice)]) * np.prod(SHARE[list(drawn)])
                draw = dict(zip(points, choice, strict=True)) | dict(zip(copies, drawn, strict=True))
                total = total + weight * self.value(expression, draw)
        return total

    def value(self, part, draw):
        if isinstance(part, Expect):
            return self.mean(part.args[0])
        if isinstance(part, MatrixSymbol):
            found = self.named(part.name, draw)
            assert found.shape == shape_of(part), part
            return found
        if isinstance(part, Symbol):
            return SIZES[part.name] if part.name in SIZES else self.named(part.name, draw)
        if isinstance(part, sympy.ZeroMatrix):
            return 0.0
        if isinstance(part, sympy.Identity):
            return np.eye(int(self.value(part.shape[0], draw)))
        if isinstance(part, sympy.MatrixBase):
            return np.array(part.tolist(), dtype=object).astype(float) if not part.free_symbols else np.array(
                [[self.value(entry, draw) for entry in row] for row in part.tolist()], dtype=float)  # fmt: skip
        values = [self.value(argument, draw) for argument in part.args]
        if isinstance(part, sympy.MatAdd | sympy.Add):
            return sum(values)
        if isinstance(part, sympy.MatMul | sympy.Mul):
            product = values[0]
            for factor in values[1:]:
                product = product @ factor if np.ndim(product) and np.ndim(factor) else product * factor
            return product
        if isinstance(part, sympy.Transpose):
            return values[0].T
        if type(part).__name__ == "SumOver":  # over the one neuron of the model
            return values[0]
        if isinstance(part, sympy.KroneckerProduct):
            return np.kron(*values)
        if type(part).__name__ == "Vec":
            return values[0].reshape(-1, 1, order="F")
        if isinstance(part, sympy.Pow):
            return values[0] ** values[1]
        assert part.is_number, part
        return float(part)

    def knows(self, relation):
        """Whether every name has a value here and every operation too; a claim may define names of other models."""
        for part in preorder_traversal(relation):
            if isinstance(part, sympy.Limit | sympy.Order) or type(part).__name__ == "Rate":
                return False
            if isinstance(part, MatrixSymbol | Symbol) and part.name not in (*self.constants, *SIZES):
                found = PLACED.fullmatch(part.name)
                placed = found and found["name"] in (*self.at_points, *self.at_copies, *self.scalars)
                if not (placed or part.name.startswith(LOSS_GRADIENT) or (self.scalars and places(part.name))):
                    return False
        return isinstance(relation, sympy.Eq)

    def agree(self, relation):
        assert isinstance(relation, sympy.Eq)
        left, right = (np.asarray(self.mean(side)) for side in relation.args)
        assert left.shape == right.shape or relation.rhs == 0 or isinstance(relation.rhs, sympy.ZeroMatrix), relation
        assert np.allclose(left, right, rtol=TOLERANCE, atol=TOLERANCE), relation
        return left


def claims(derivation, model):
    """The relations of the statement whose names the model knows; several stand in a tuple."""
    shown = derivation.statement.expression
    return [part for part in (shown if isinstance(shown, sympy.Tuple) else (shown,)) if model.knows(part)]


def check(derivation, model, skip=()):
    """All relations of a derivation but those whose names the model does not know, which are given."""
    for relation in (*claims(derivation, model), *(step.expression for step in derivation.steps)):
        names = {p.name for p in preorder_traversal(relation) if isinstance(p, Symbol | MatrixSymbol)}
        if not any(re.search(pattern, name) for pattern in skip for name in names):
            model.agree(relation)


# Towers.


def tower(rng, name):
    """Two towers' values at a generic layer l; two layers above it, gates of any kind."""
    top, here, below, above = (SIZES[n] for n in ("n_{L}", "n_{l}", "n_{l-1}", "n_{l+1}"))
    weight, previous = rng.normal(size=(here, below)), rng.normal(size=(below, 1))
    gate, upper = np.diag(rng.normal(size=here)), rng.normal(size=(above, here))
    last, last_gate = rng.normal(size=(top, above)), np.diag(rng.normal(size=above))
    p = weight @ previous
    change = rng.normal(size=weight.shape)
    values = {
        "W_{#,l}": weight, "f_{#,l-1}": previous, "D_{#,l}": gate, "W_{#,l+1}": upper, "J_{#,l+1}": last @ last_gate,
        "J_{#,L}": np.eye(top), "J_{#,l}": last @ last_gate @ upper @ gate, "p_{#,l}": p, "f_{#,l}": gate @ p,
        "p_{#,l+1}": upper @ gate @ p, "u_{#}": last @ last_gate @ upper @ gate @ p, "dW_{#,l}": change,
        "dp_{#,l}": change @ previous, "dp_{#,l+1}": upper @ gate @ change @ previous,
    }  # fmt: skip
    values["p_{#,L}"] = values["u_{#}"]
    values["dp_{#,L}"] = values["du_{#}"] = values["J_{#,l}"] @ change @ previous
    return {key.replace("#", name): array for key, array in values.items()}


def towers(normalized, seed=3):
    rng = np.random.default_rng(seed)
    values = {**tower(rng, "1"), **tower(rng, "2"), "t": 0.7, "df_{1,L}": rng.normal(size=(SIZES["n_{L}"], 1))}
    for name in "12":
        raw, jac = values[f"u_{{{name}}}"], values[f"J_{{{name},l}}"]
        norm = np.sqrt((raw.T @ raw)[0, 0])
        values[rf"\nu_{{{name}}}"], out = norm, raw / norm if normalized else raw
        values[f"f_{{{name},L}}"] = out
        values[f"J^{{f}}_{{{name},l}}"] = jac / norm
        values[f"J^{{b}}_{{{name},l}}"] = (np.eye(len(out)) - out @ out.T) @ jac / norm
        for mark in ("", "^{f}", "^{b}"):
            values[f"K{mark}_{{{name},l}}"] = np.kron(values[f"f_{{{name},l-1}}"], values[f"J{mark}_{{{name},l}}"].T)
    gap = values["f_{1,L}"] - values["f_{2,L}"]
    values["r"] = gap.T @ gap / 2
    values[r"\frac{\partial r}{\partial W_{1,l}}"] = slope(values, normalized)
    return Model(values)


def slope(values, normalized):
    """dr/dW_{1,l} entry by entry, by a step into the complex numbers."""
    found = np.zeros(values["W_{1,l}"].shape)
    for place in np.ndindex(found.shape):
        moved = values["W_{1,l}"].astype(complex)
        moved[place] += 1e-40j
        out = values["J_{1,l}"] @ moved @ values["f_{1,l-1}"]
        out = out / np.sqrt((out.T @ out)[0, 0]) if normalized else out
        gap = out - values["f_{2,L}"]
        found[place] = ((gap.T @ gap)[0, 0] / 2).imag / 1e-40
    return found


@pytest.mark.parametrize("output", ["linear", "normalized"])
def test_relations_of_statement_1_hold_in_two_towers(output):
    derivation = theory.derive("dual-gradient", output=output)
    check(derivation, towers(output == "normalized"))
    names = {p.name for s in derivation.steps for p in preorder_traversal(s.expression) if isinstance(p, MatrixSymbol)}
    assert {"D_{1,l}", "J_{1,l+1}"} & names == {"J_{1,l+1}"}


@pytest.mark.parametrize(("widths", "output"), [((2, 3, 1), "linear"), ((2, 2), "normalized"), ((1, 2, 2), "linear")])
def test_relations_of_written_out_towers_hold(widths, output):
    rng, layers = np.random.default_rng(5), len(widths) - 1
    values = {}
    for name in "12":
        weights = [rng.normal(size=shape) for shape in zip(widths[1:], widths, strict=False)]
        gates = [np.diag(rng.normal(size=n)) for n in widths[1:-1]] + [np.eye(widths[-1])]
        acts = [rng.normal(size=(widths[0], 1))]
        for weight, gate in zip(weights, gates, strict=True):
            acts.append(gate @ weight @ acts[-1])
        norm = np.sqrt((acts[-1].T @ acts[-1])[0, 0])
        out = acts[-1] / norm if output == "normalized" else acts[-1]
        jac = np.eye(widths[-1])
        for layer in range(layers, 0, -1):
            after = jac if layer == layers else jac @ weights[layer] @ gates[layer - 1]
            jac = after
            values |= {f"W_{{{name},{layer}}}": weights[layer - 1], f"f_{{{name},{layer - 1}}}": acts[layer - 1],
                       f"J_{{{name},{layer}}}": jac, f"K_{{{name},{layer}}}": np.kron(acts[layer - 1], jac.T)}  # fmt: skip
            back = (np.eye(len(out)) - out @ out.T) @ jac / norm
            values[f"K^{{f}}_{{{name},{layer}}}"] = np.kron(acts[layer - 1], jac.T / norm)
            values[f"K^{{b}}_{{{name},{layer}}}"] = np.kron(acts[layer - 1], back.T)
        values[f"f_{{{name},{layers}}}"] = out
    gap = values[f"f_{{1,{layers}}}"] - values[f"f_{{2,{layers}}}"]
    values["r"] = gap.T @ gap / 2
    for layer in range(1, layers + 1):
        at = {"W_{1,l}": f"W_{{1,{layer}}}", "J_{1,l}": f"J_{{1,{layer}}}", "f_{1,l-1}": f"f_{{1,{layer - 1}}}",
              "f_{2,L}": f"f_{{2,{layers}}}"}  # fmt: skip
        found = slope({key: values[name] for key, name in at.items()}, output == "normalized")
        values[rf"\frac{{\partial r}}{{\partial W_{{1,{layer}}}}}"] = found
    check(theory.derive("dual-gradient", widths=widths, output=output), Model(values))


# Populations.


def population(convention, form, single, homogeneous=True, seed=7):
    """Connections and outputs at 3 points with 2 augmentations of unequal chances, and weights of pairs."""
    rng = np.random.default_rng(seed)
    size, top = SIZES["n_{l}"] * SIZES["n_{l-1}"], SIZES["n_{L}"]
    weights = rng.normal(size=(SIZES["n_{l}"], SIZES["n_{l-1}"]))
    column = weights.reshape(-1, 1, order="F")
    k = rng.normal(size=(POINTS, COPIES, size, top))
    f = np.array([[a.T @ column for a in row] for row in k])
    if form == "general" or not homogeneous:
        f = rng.normal(size=f.shape)
    k_mean, f_mean = (np.einsum("a,pa...->p...", SHARE, part) for part in (k, f))
    pair, triple = (POINTS, POINTS), (POINTS, POINTS, POINTS)
    xi, even, odd, d_xi = (rng.normal(size=pair) for _ in range(4))
    even, odd = even + even.T, odd - odd.T
    if single:
        xi, d_xi = xi + xi.T, d_xi + d_xi.T
    scalars = {r"\xi": xi, r"\xi'": d_xi, r"\xi'_{kj}": rng.normal(size=triple), r"\xi^{s}": even, r"\xi^{a}": odd,
               "w_{+}": rng.normal(size=pair)}  # fmt: skip
    at_points = {r"\bar{K}_{l}": k_mean, r"\bar{f}_{L}": f_mean, "b": rng.normal(size=f_mean.shape)}
    at_copies = {"K_{l}": k, "f_{L}": f, r"\kappa_{l}": k - k_mean[:, None], r"\varphi": f - f_mean[:, None]}
    center_k, center_f = (np.einsum("p,p...->...", CHANCE, part) for part in (k_mean, f_mean))
    variance = sum(c * a @ a.T for c, a in zip(CHANCE, k_mean, strict=True)) - center_k @ center_k.T
    covariance = sum(c * a @ b for c, a, b in zip(CHANCE, k_mean, f_mean, strict=True)) - center_k @ center_f
    constants = {"W_{l}": weights, r"\mathbb{V}_{x}\left[\bar{K}_{l}(x)\right]": variance,
                 r"\operatorname{Cov}_{x}\left[\bar{K}_{l}(x), \bar{f}_{L}(x)\right]": covariance}  # fmt: skip
    return Model(constants, at_points, at_copies, scalars)


def pairs(model, convention):
    """E[(K_1 - K_-)(f_1 - f_-)] - E[(K_1 - K_+)(f_1 - f_+)], or K_1 in the place of the difference of connections."""
    k, f = model.at_copies["K_{l}"], model.at_copies["f_{L}"]
    total = 0
    for x, y in itertools.product(range(POINTS), repeat=2):
        for a, b, c in itertools.product(range(COPIES), repeat=3):
            chance = CHANCE[x] * CHANCE[y] * SHARE[a] * SHARE[b] * SHARE[c]
            near, far = ((k[x, a] - other if convention == "shared" else k[x, a]) for other in (k[x, b], k[y, c]))
            total = total + chance * (far @ (f[x, a] - f[y, c]) - near @ (f[x, a] - f[x, b]))
    return total


@pytest.mark.parametrize("form", ["operator", "general"])
@pytest.mark.parametrize("convention", ["shared", "one-branch"])
def test_relations_of_statement_3_hold_in_a_population(convention, form):
    model = population(convention, form, single=True)
    model.constants[GRADIENT] = -pairs(model, convention)
    model.constants |= towers(False).constants
    derivation = theory.derive("covariance-operator", convention=convention, form=form)
    check(derivation, model)
    assert np.any(model.agree(claims(derivation, model)[0]) != 0)


WEIGHTED = [(c, f, d, h) for c in ("shared", "one-branch") for f in ("operator", "general") for d in ("means", "points")
            for h in (1, 2, None)]  # fmt: skip


def leading(model, convention, single):
    """E[xi_k (Kbar - Kbar_k)(fbar - fbar_k)] or E[xi_k Kbar (fbar - fbar_k)], for one negative."""
    k, f, xi = model.at_points[r"\bar{K}_{l}"], model.at_points[r"\bar{f}_{L}"], model.scalars[r"\xi"]
    total = 0
    for x, y in itertools.product(range(POINTS), repeat=2):
        left = k[x] - k[y] if convention == "shared" else k[x]
        total = total + CHANCE[x] * CHANCE[y] * xi[x, y] * left @ (f[x] - f[y])
    return total


@pytest.mark.parametrize(("convention", "form", "distances", "negatives"), WEIGHTED)
def test_relations_of_statement_4_hold_in_a_population(convention, form, distances, negatives):
    single = negatives == 1
    model = population(convention, form, single)
    model.constants |= towers(False).constants
    # Every negative alike: the sum over H of them is H times one.
    model.constants[GRADIENT] = -leading(model, convention, single) * (1 if single else 3)
    model.constants |= {r"\theta": np.zeros(model.constants[GRADIENT].shape), r"\sum_{k=1}^{H}": 3.0}
    options = {"convention": convention, "form": form, "distances": distances, "negatives": negatives}
    derivation = theory.derive("weighted-covariance-operator", loss="infonce", **options)
    checked = [s.expression for s in derivation.steps if s.expression.has(Expect)]
    assert len(checked) >= 3 + (form == "operator")
    # Slopes and weights of the loss itself are scalars; they have a test of their own.
    scalar = [s for s in derivation.steps if not s.expression.lhs.is_Matrix]
    assert all(not s.expression.has(MatrixSymbol) for s in scalar)
    for relation in (*claims(derivation, model), *(step.expression for step in derivation.steps)):
        if relation.lhs.is_Matrix:
            model.agree(relation)


@pytest.mark.parametrize("negatives", [1, None])
@pytest.mark.parametrize("convention", ["shared", "one-branch"])
def test_coefficients_of_the_spread_are_those_of_the_pairs_themselves(convention, negatives):
    """Before any expectation: w_k (K_1 - K_k)(f_1 - f_k), expanded in s at every draw."""
    single = negatives == 1
    model = population(convention, "general", single)
    derivation = theory.derive(4, loss="infonce", convention=convention, form="general", negatives=negatives)
    shown = [s.expression.lhs.args[0] for s in derivation.steps if isinstance(s.expression.lhs, Expect)]
    zeroth, first = shown[0], next(e for e in shown if any("varphi" in name for name in outside(e)))
    rng = np.random.default_rng(2)
    k, f = model.at_points[r"\bar{K}_{l}"], model.at_points[r"\bar{f}_{L}"]
    kappa, phi = model.at_copies[r"\kappa_{l}"], model.at_copies[r"\varphi"]
    for _ in range(6):
        x, y, z = rng.integers(POINTS, size=3)
        a, b, c = rng.integers(COPIES, size=3)
        draw = {"x": x, "x'_{k}": y, "x'_{j}": z, "x_{1}": a, "x_{k-}": b, "x_{j-}": c}

        def inner(point, moved, x=x):
            return ((f[x] - f[point]).T @ moved)[0, 0]

        weight = [model.scalars[r"\xi"][x, y], model.scalars[r"\xi'"][x, y] * inner(y, phi[x, a] - phi[y, b])]
        if not single:
            weight[1] += model.scalars[r"\xi'_{kj}"][x, y, z] * inner(z, phi[x, a] - phi[z, c])
        left = [k[x] - k[y], kappa[x, a] - kappa[y, b]] if convention == "shared" else [k[x], kappa[x, a]]
        right = [f[x] - f[y], phi[x, a] - phi[y, b]]
        assert np.allclose(model.value(zeroth, draw), weight[0] * left[0] @ right[0])
        order = weight[1] * left[0] @ right[0] + weight[0] * (left[1] @ right[0] + left[0] @ right[1])
        assert np.allclose(model.value(first, draw), order)


@pytest.mark.parametrize("negatives", [1, None])
@pytest.mark.parametrize("convention", ["shared", "one-branch"])
def test_what_remains_of_unaugmented_points(convention, negatives):
    """-sum_j xi'_kj <Delta_j, b - b_j> (Kbar - Kbar_k)(fbar - fbar_k), half of it where xi is symmetric and one branch counts."""
    single = negatives == 1
    model = population(convention, "general", single)
    derivation = theory.derive(4, loss="infonce", convention=convention, form="general", distances="points",
                               negatives=negatives)  # fmt: skip
    (shift,) = (s for s in derivation.steps if s.justification.startswith("r of points is r of means"))
    k, f, b = (model.at_points[name] for name in (r"\bar{K}_{l}", r"\bar{f}_{L}", "b"))
    total = 0
    for x, y, z in itertools.product(range(POINTS), repeat=3):
        moved = model.scalars[r"\xi'"][x, y] * ((f[x] - f[y]).T @ (b[x] - b[y]))[0, 0]
        if not single:
            moved += model.scalars[r"\xi'_{kj}"][x, y, z] * ((f[x] - f[z]).T @ (b[x] - b[z]))[0, 0]
        left = k[x] - (k[y] if convention == "shared" else 0)
        total = total - CHANCE[x] * CHANCE[y] * CHANCE[z] * moved * left @ (f[x] - f[y])
    assert np.allclose(model.agree(shift.expression), total)


# Two layers.


def two_layers(hidden, seed=9, decoupled=False):
    """A network with one hidden layer: neurons j = 0 and k = the last; gates by point, augmentation and neuron."""
    rng = np.random.default_rng(seed)
    n, top = SIZES["n_{0}"], SIZES["n_{2}"]
    first, second = rng.normal(size=(hidden, n)), rng.normal(size=(top, hidden))
    x, gates = rng.normal(size=(POINTS, COPIES, n, 1)), rng.normal(size=(POINTS, COPIES, hidden))
    gated = x[:, :, None] * gates[..., None, None]
    means = np.einsum("a,pahnc->phnc", SHARE, gated)
    acts = np.einsum("hn,pahnc->pahc", first, gated)
    act_means = np.einsum("a,pahc->phc", SHARE, acts)

    def block(a, b):
        left, right = means[:, a, :, 0], means[:, b, :, 0]
        return np.einsum("p,pi,pj->ij", CHANCE, left, right) - np.outer(CHANCE @ left, CHANCE @ right)

    one, other = 0, hidden - 1
    unit = np.eye(hidden)[:, :1]
    here, gate = x[0, 0], np.diag(gates[0, 0])
    error, d_own, d_out = rng.normal(size=(top, 1)), rng.normal(size=(n, 1)), rng.normal(size=(top, 1))
    values = {
        "W_{1}": first, "W_{2}": second, "w_{1j}": first[[one]].T, "w_{1k}": first[[other]].T, "w_{2j}": second[:, [one]],
        "w_{2k}": second[:, [other]], "e_{j}": unit, "D": gate, "x": here, r"\tilde{x}_{j}": gates[0, 0, one] * here,
        "K_{j}": gates[0, 0, one] * here @ second[:, [one]].T, "dw_{1j}": d_own, "t": 0.3, "A_{jk}": block(one, other),
        "A_{jj}": block(one, one), "u": error, "f_{1j}": gates[0, 0, one] * first[[one]] @ here,
        r"\dot{w}_{1j}": d_own, r"\dot{w}_{2j}": d_out,
    }  # fmt: skip
    if decoupled:
        values["A_{jk}"] = np.zeros((n, n))
    at_copies = {r"\tilde{x}_{j}": gated[:, :, one], r"\tilde{x}_{k}": gated[:, :, other], "f_{1}": acts}
    at_points = {r"\bar{x}_{j}": means[:, one], r"\bar{x}_{k}": means[:, other], r"\bar{f}_{1}": act_means}
    return Model(values, at_points, at_copies), gated, first, second


def test_relations_of_the_block_form_hold_in_a_network():
    """And what is averaged is A_jk w_1k (w_2j^T w_2k), and W_2 Cov_x[E_aug f_1]: a sum of the same words is not."""
    model, *_ = two_layers(SIZES["n_{1}"])
    derivation = theory.derive("two-layer-dynamics", claim="block")
    averaged = []
    for step in derivation.steps:
        if r"\nabla_{W_{l}} L" not in str(step.expression):
            found = model.agree(step.expression)
            averaged += [found] if step.expression.has(Expect) else []
    values, means = model.constants, model.at_points[r"\bar{f}_{1}"][:, :, 0]
    block = values["A_{jk}"] @ values["w_{1k}"] @ values["w_{2j}"].T @ values["w_{2k}"]
    center = CHANCE @ means
    hidden = np.einsum("p,pi,pj->ij", CHANCE, means, means) - np.outer(center, center)
    assert len(averaged) == 2
    for found, wanted in zip(averaged, (block, values["W_{2}"] @ hidden), strict=True):
        assert np.allclose(found, wanted)


def test_the_block_form_is_the_one_branch_update():
    """One hidden neuron, so that the sum over k has one term; the update by enumeration of x, x' and augmentations."""
    model, gated, first, second = two_layers(1)
    derivation = theory.derive("two-layer-dynamics", claim="block")
    total = 0
    for x, y in itertools.product(range(POINTS), repeat=2):
        for a, b, c in itertools.product(range(COPIES), repeat=3):
            chance = CHANCE[x] * CHANCE[y] * SHARE[a] * SHARE[b] * SHARE[c]
            here, plus, minus = (gated[place][0] for place in ((x, a), (x, b), (y, c)))
            out = [second @ first @ g for g in (here, plus, minus)]
            total = total + chance * here @ second.T @ ((out[0] - out[2]) - (out[0] - out[1]))
    model.constants[r"\dot{w}_{1j}"] = total
    assert np.any(np.abs(model.agree(claims(derivation, model)[0])) > 1e-3)


def test_relations_of_decoupled_and_conserved_neurons_hold():
    model, *_ = two_layers(SIZES["n_{1}"], decoupled=True)
    decoupled = theory.derive("two-layer-dynamics", claim="decoupled")
    named = [s.expression for s in decoupled.steps if "A_{1" not in str(s.expression)]
    assert len(named) == len(decoupled.steps) - 2
    own, out, block = (model.constants[name] for name in ("w_{1j}", "w_{2j}", "A_{jj}"))
    model.constants |= {r"\dot{w}_{1j}": (out.T @ out) * block @ own, r"\dot{w}_{2j}": (own.T @ block @ own) * out}
    assert claims(decoupled, model)
    for relation in (*claims(decoupled, model), *named):
        model.agree(relation)
    check(theory.derive("two-layer-dynamics", claim="conserved"), two_layers(SIZES["n_{1}"])[0])


def test_the_population_of_resampled_signs():
    """A_jk by enumeration: sizes of two values each, independent signs, neuron j reads input j with slope s."""
    rng = np.random.default_rng(4)
    slope, sizes = 0.3, rng.uniform(0.5, 2, size=(2, 2))
    means = []
    for one, two in itertools.product(sizes[0], sizes[1]):
        total = np.zeros((2, 2))
        for signs in itertools.product((1, -1), repeat=2):
            x = np.array(signs) * (one, two)
            total += [x * (1 if x[j] > 0 else slope) / 4 for j in range(2)]
        means.append(total)
    means = np.array(means)
    blocks = {f"A_{{{j + 1}{k + 1}}}": np.cov(means[:, j].T, means[:, k].T, bias=True)[:2, 2:]
              for j, k in itertools.product(range(2), repeat=2)}  # fmt: skip
    values = {"s": slope} | {f"a_{{{j + 1}{i + 1}}}": sizes[j, i] for j in range(2) for i in range(2)}
    derivation = theory.derive("two-layer-dynamics", claim="decoupled")
    shown = [s.expression for s in derivation.steps if "A_{1" in str(s.expression)]
    assert [relation.lhs.name for relation in shown] == ["A_{12}", "A_{11}"]
    found = [Model(blocks | values).agree(relation) for relation in shown]
    assert np.allclose(found[0], 0)
    assert np.abs(found[1]).max() > 1e-3
    names = {s: s.is_positive for relation in shown for s in relation.free_symbols if s.name.startswith("a_")}
    assert len(names) == 2
    assert all(names.values())


def test_relations_on_rings_hold():
    """Means of 11 and 101 and the neuron e_1 - e_2, by shifting; the value shown of w^T A_jj w is that of the sign."""
    rng = np.random.default_rng(6)
    column = rng.normal(size=(SIZES["n_{0}"], 1))
    values = {"a": 0.2, "b": 1.1, "p": 0.3, "o": 1.7, r"\bar{x}": column, r"\bar{x}'": column}
    derivation = theory.derive("two-layer-dynamics", claim="ring")
    check(derivation, Model(values), skip=(r"_\{11\}", r"_\{101\}", r"w\^"))
    rings = {}
    for place, step in enumerate(derivation.steps):
        found = re.search(r"^ring of (\d+): every", step.justification)
        if not found:
            continue
        size = int(found[1])
        patterns = [np.roll(np.isin(np.arange(size), ones).astype(float), s) for ones in ((0, 1), (0, 2))
                    for s in range(size)]  # fmt: skip
        values = {rf"\bar{{x}}_{{{name}}}": np.mean(part, axis=0)[:, None]
                  for name, part in (("11", patterns[:size]), ("101", patterns[size:]))}  # fmt: skip
        Model(values).agree(step.expression)
        acts = [np.mean([max(x[0] - x[1], 0) for x in part]) for part in (patterns[:size], patterns[size:])]
        sign, number = derivation.steps[place + 1 : place + 3]
        assert isinstance(sign.expression, sympy.Gt)
        assert sign.expression.lhs.name == rf"w^{{\top}} A_{{jj}} w|_{{d={size}}}"
        assert sign.expression.rhs == 0
        assert f"ring of {size}" in sign.justification
        assert float(number.expression.lhs) == pytest.approx(np.var(acts), abs=1e-15)
        assert float(number.expression.rhs) == pytest.approx(np.var(acts), abs=1e-15)
        rings[size] = True
    assert sorted(rings) == [4, 5, 6, 7, 8]
