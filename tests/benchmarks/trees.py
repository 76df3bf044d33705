"""Statement 6: closed forms of every node of a large tree, polarities against pgmpy and pyAgrum, Walsh operators.

The peers compute P(leaf | root) for both states of the root; the difference of its two rows is the polarity. They are
in the extra ``interop``; without them the comparison is left out, and the table says so.
"""

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sympy
from matrix_free import peak_memory
from measure import Result, best_times

import hltm
import theory

EPS = float(np.finfo(np.float64).eps)
NODES = (0, 5, 100)  # besides the last one: where the forms of the large mapping are compared


def closed_forms() -> list[Result]:
    """Activation covariances of all nodes of 1,023 and 16,383 nodes."""
    trees = {depth: hltm.complete_tree(depth, 2, (0.5, 1.0), seed=1) for depth in (9, 13)}
    residual = 0.0
    found = theory.activation_covariances(trees[9])
    written: dict[Any, Any] = {}
    for shared, product in found.definitions.items():  # parents first
        written[shared] = product.xreplace(written)
    for node in (*NODES, trees[9].latents[-1]):
        form, single = found[node], theory.activation_covariance(trees[9], node)
        vector = sympy.Matrix(form.vector)
        for claimed in (form.matrix(), form.factor * vector * vector.T, found.written_out(node) * vector * vector.T):
            gap = claimed.xreplace(written) - single
            residual = max(residual, float(any(entry.expand() != 0 for entry in gap)))
    times = {depth: min(cold(tree, parts) for _ in range(4)) for depth, tree in trees.items()}
    matrices = min(cold(trees[13], theory.trees.activation.ActivationCovariance.matrix) for _ in range(2))
    detail = {"seconds at 1,023 nodes": times[9], "seconds at 16,383 nodes": times[13], "with matrix()": matrices}
    growth = times[13] / times[9]
    return [
        Result("closed forms, 16,383 nodes", residual, 0.0, times[13], "seconds", 3.0, True, detail),
        Result("closed forms, growth from 1,023", residual, 0.0, growth, "times as long", 20.0, True, detail),
        Result("matrices written, 16,383 nodes", residual, 0.0, matrices, "seconds", None, True, detail),
    ]


def parts(form: Any) -> tuple[Any, Any]:
    """``o_mu`` and ``a_mu``."""
    return form.factor, form.vector


def cold(tree: hltm.HLTM, made: Callable[[Any], Any]) -> float:
    """Seconds to have the closed form of every node, SymPy's cache empty: it would hold a small tree and no large one.

    All forms are kept, as who asks for all of them does; the collector then has them to walk through.
    """
    sympy.core.cache.clear_cache()
    start = time.perf_counter()
    kept = [made(form) for form in theory.activation_covariances(tree).values()]
    seconds = time.perf_counter() - start
    del kept
    return seconds


def polarities() -> list[Result]:
    """Root-to-leaf polarities of 1,023 nodes against exact inference of two outside libraries."""
    # Multiples of 1/8: pyAgrum reads BIF numbers in single precision, which these survive.
    rng = np.random.default_rng(0)
    tree = hltm.complete_tree(9, 2, lambda _a, _b: float(rng.choice([0.75, 0.875, 1.0, -0.875])))
    ours = hltm.root_polarities(tree)
    mine = best_times({"hltm": lambda: hltm.root_polarities(tree)}, 5)["hltm"]
    results = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SWIG's import warnings
        path = Path(folder) / "tree.bif"
        hltm.save(tree, path)
        peers = (
            ("pyAgrum", "LazyPropagation", by_pyagrum, 100.0),
            ("pyAgrum", "ShaferShenoyInference", by_pyagrum, None),
            ("pgmpy", "VariableElimination", by_pgmpy, 100.0),
        )
        for name, method, peer, bar in peers:
            ask = peer(str(path), tree, method)  # without the extra interop there is nothing to compare with
            rows = ask()
            residual = max(abs(rows[1][leaf] - rows[0][leaf] - ours[leaf]) for leaf in tree.leaves)
            seconds = best_times({name: ask}, 5)[name]
            detail = {"hltm seconds": mine, f"{name} seconds": seconds, "how": "all leaves, shortest time of each side"}
            # Products of nine polarities, and sums of products of as many tables, none above one.
            title = f"polarities, {name} {method}"
            results.append(Result(title, residual, 64 * EPS, seconds / mine, "times as fast", bar, False, detail))
    return results


def by_pyagrum(path: str, tree: hltm.HLTM, method: str) -> Callable[[], list[dict[Any, float]]]:
    """P(leaf = 1 | root) for every leaf, a row a state of the root; only the leaves are targets."""
    import pyagrum

    network, root = pyagrum.loadBN(path), f"z{tree.root}"

    def ask() -> list[dict[Any, float]]:
        inference = getattr(pyagrum, method)(network)
        inference.eraseAllTargets()
        for leaf in tree.leaves:
            inference.addTarget(f"z{leaf}")
        inference.addEvidence(root, 0)
        rows = []
        for state in (0, 1):
            inference.chgEvidence(root, state)
            inference.makeInference()
            rows.append({leaf: float(inference.posterior(f"z{leaf}")[1]) for leaf in tree.leaves})
        return rows

    return ask


def by_pgmpy(path: str, tree: hltm.HLTM, method: str) -> Callable[[], list[dict[Any, float]]]:
    """The same by pgmpy, one query a leaf and state: a joint query of all leaves has 2^512 entries."""
    from pgmpy import inference as methods
    from pgmpy.readwrite import BIFReader

    inference, root = getattr(methods, method)(BIFReader(path).get_model()), f"z{tree.root}"

    def ask() -> list[dict[Any, float]]:
        rows = []
        for state in ("0", "1"):
            row = {}
            for leaf in tree.leaves:
                law = inference.query([f"z{leaf}"], evidence={root: state}, show_progress=False)
                row[leaf] = float(law.values[law.get_state_no(f"z{leaf}", "1")])
            rows.append(row)
        return rows

    return ask


def tree_network(depth: int, width: int) -> tuple[hltm.HLTM, dict[Any, Any]]:
    """A complete tree and rational weights of that many neurons a node."""
    rng = np.random.default_rng(3)
    tree = hltm.complete_tree(depth, 2, (0.5, 0.9), seed=2)
    weights = {}
    for node in tree.latents:
        columns = sum(width if child in tree.latents else 1 for child in tree.children(node))
        rows = width if node != tree.root else 1
        entries = rng.integers(-16, 16, size=(rows, columns), endpoint=True)
        weights[node] = sympy.Matrix(rows, columns, [sympy.Rational(int(e), 8) for e in entries.ravel()])
    return tree, weights


def walsh() -> list[Result]:
    """Eight leaves in symbols; sixteen leaves at 1,000 polarity vectors, in a process of their own for the memory."""
    tree, weights = tree_network(3, 2)
    node = tree.children(tree.root)[0]
    start = time.perf_counter()
    symbolic = theory.walsh_operator(tree, node, weights, 0).matrix()
    seconds = time.perf_counter() - start
    values = theory.parameter_values(tree)
    exact = theory.covariance_operator(tree, node, weights, 0, numbers=True)
    gap = symbolic.xreplace(values) - exact
    residual = float(max(abs(entry) for entry in gap))
    child = subprocess.run(
        [sys.executable, str(Path(__file__).resolve())], capture_output=True, text=True, check=True, timeout=600
    )
    sixteen = json.loads(child.stdout)
    detail = {**sixteen, "8 leaves seconds": seconds}
    return [
        Result("Walsh operator, 8 leaves, symbolic", residual, 0.0, seconds, "seconds", 2.0, True, detail),
        Result("Walsh, 16 leaves, 1,000 vectors", sixteen["residual"], sixteen["tolerance"], sixteen["seconds"],
               "seconds", 5.0, True, detail),
        Result("Walsh, 16 leaves, peak memory", sixteen["residual"], sixteen["tolerance"], sixteen["gigabytes"],
               "GB", 2.0, True, detail),
    ]  # fmt: skip


def sixteen_leaves() -> dict[str, float]:
    """Build and evaluate, then check one vector against torch on the enumerated population."""
    tree, weights = tree_network(4, 2)
    node = tree.children(tree.root)[0]
    rng = np.random.default_rng(5)
    start = time.perf_counter()
    operator = theory.walsh_operator(tree, node, weights, 0)
    own = [float(tree.polarity(*tree.path(tree.root, child)[-2:])) for child in operator.edges]
    vectors = np.vstack([[own], rng.uniform(-1, 1, size=(999, len(own)))])
    found = operator.evaluate(vectors, np.zeros(len(vectors)))
    seconds = time.perf_counter() - start
    gigabytes = peak_memory() / 1e9
    # Only now: what the check loads does not count.
    import numeric

    leaves = hltm.leaf_population(tree)
    population = numeric.FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)
    network = numeric.TreeNetwork.from_weights(
        tree, {n: np.array(w, dtype=float) for n, w in weights.items()}, slope=0.0
    )
    expected = numeric.tree_covariance_operator(network, population, node)[0].numpy()
    scale = float(np.abs(expected).max())
    # Sums over 65,536 configurations, weights summing to one.
    return {
        "seconds": seconds,
        "gigabytes": gigabytes,
        "residual": float(np.abs(found[0] - expected).max()),
        "tolerance": 65_536 * EPS * scale,
    }


def run() -> list[Result]:
    """All results of statement 6."""
    return [*closed_forms(), *polarities(), *walsh()]


if __name__ == "__main__":
    print(json.dumps(sixteen_leaves()))
