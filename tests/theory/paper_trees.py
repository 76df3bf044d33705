"""Trees whose formulas are hard to set: deep, wide, of many states, with long names."""

import networkx as nx

import hltm

LONG = [
    "the_root_of_all_of_these_names",
    "hippopotamus_moves_mostly_slow",
    "x_ray_summary_of_several_rooms",
    "another_name_of_thirty_letters",
    "more names, with a space & (c)",
]
FAMILY = [(LONG[0], LONG[1]), (LONG[1], LONG[2]), (LONG[2], "x"), (LONG[1], LONG[3]), (LONG[1], LONG[4])]
WEATHER = [
    ("Season", "Rain"), ("Rain", "Sprinkler"), ("Sprinkler", "Wet grass"), ("Sprinkler", "Slippery"),
    ("Rain", "Traffic jam"), ("Rain", "Umbrellas"),
]  # fmt: skip


def named(edges, symmetric=True, **states):
    """A tree over some edges; nodes with other than two states by name."""
    graph = nx.DiGraph(edges)
    for node, count in states.items():
        graph.nodes[node]["cardinality"] = count
    sizes = {v: states.get(v, 2) for v in graph}
    root = edges[0][0]
    graph.nodes[root]["prior"] = [1 / sizes[root]] * sizes[root]
    for u, v in graph.edges:
        if symmetric and sizes[u] == sizes[v] == 2:
            graph.edges[u, v]["polarity"] = 0.5
        else:
            law = [1.0, *[0.0] * (sizes[v] - 1)]
            graph.edges[u, v]["transition"] = [law[-i:] + law[:-i] if i < len(law) else law for i in range(sizes[u])]
    return hltm.HLTM(graph)


def lowest(tree):
    return max(tree.latents, key=lambda node: len(tree.path(tree.root, node)))


def family():
    """Name to a tree and a node."""
    many = [("r", "a"), *(("a", f"c{i}") for i in range(13))]
    trees = {
        "complete": (hltm.complete_tree(2, 2, 0.5), 1),
        "complete, deep": (hltm.complete_tree(6, 2, 0.5), 31),
        "complete, wide": (hltm.complete_tree(2, 12, 0.5), 1),
        "star": (hltm.star_tree(40, 0.5), 0),
        "caterpillar": (hltm.caterpillar_tree(5, 0.5), None),
        "caterpillar, long": (hltm.caterpillar_tree(30, 0.5), None),
        "random": (hltm.random_tree(20, seed=1), None),
        "asymmetric": (hltm.random_tree(5, seed=3, symmetric=False), None),
        "asymmetric, large": (hltm.random_tree(15, seed=4, symmetric=False), None),
        "categorical": (hltm.random_tree(4, seed=3, symmetric=False, cardinality=(3, 5)), None),
        "categorical, large": (hltm.random_tree(12, seed=6, symmetric=False, cardinality=(2, 8)), None),
        "long names": (named(FAMILY), LONG[1]),
        "long names, categorical": (named(FAMILY, False, **{LONG[0]: 3, LONG[3]: 5}), LONG[1]),
        "words": (named(WEATHER), "Sprinkler"),
        "12 states, 13 children": (named(many, **dict.fromkeys(["r", "a", "c0", "c1"], 12)), "a"),
    }
    return {name: (tree, lowest(tree) if node is None else node) for name, (tree, node) in trees.items()}
