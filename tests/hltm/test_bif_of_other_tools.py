"""BIF as JavaBayes, bnlearn, pgmpy, pyAgrum and HLTA write it: order of blocks, quotes, names, both orders of a table."""

import warnings

import pytest

import hltm

A = "variable A { type discrete [ 3 ] { dry, very wet, x_1 }; }"
B = "variable B { type discrete [ 2 ] { t, f }; }"
PRIOR = "probability ( A ) { table 0.5, 0.125, 0.375; }"
ROWS = "probability ( B | A ) { (dry) 0.5, 0.5; (very wet) 0.25, 0.75; (x_1) 1.0, 0.0; }"
QUOTED = 'variable "A" {{ //3 values\n  type discrete[3] {{ "dry" "very wet" "x_1" }};\n  property "position = (218, 195)" ;\n}}'

FORMS = {
    "bnlearn": "\n".join(["network unknown {\n}", A, B, PRIOR, ROWS]),
    "pgmpy": "\n".join(
        ["network unknown {\n}", A.replace("; }", ";\n    property weight = None ;\n}"), B, PRIOR, ROWS]
    ),
    "a table before its variables": "\n".join(["network x {}", ROWS, PRIOR, A, B]),
    "a table between": "\n".join([A, PRIOR, ROWS.replace("{ (dry)", '{ property "a } b" ; (dry)'), B]),
    "JavaBayes": "\n".join(
        [
            'network "Weather" { //2 variables and 2 probability distributions\n property "version = 1; x" ; }',
            QUOTED.replace("{{", "{").replace("}}", "}"),
            'variable "B" { //2 values\n type discrete[2] { "t" "f" };\n}',
            'probability ( "A" ) { //1 variable(s) and 3 values\n table 0.5 0.125 0.375 ;\n}',
            'probability ( "B" "A" ) { //2 variable(s) and 6 values\n table 0.5 0.25 1.0 0.5 0.75 0.0 ;\n}',
        ]
    ),
    "pyAgrum": "\n".join(
        [
            'network "x" {\n// written by aGrUM\n}\n',
            A.replace(" [ 3 ] ", "[3] "),
            B.replace(" [ 2 ] ", "[2] "),
            "probability (A) {\n   table 0.5 0.125 0.375;\n}",
            ROWS.replace(",", ""),
        ]
    ),
    "default": "\n".join([A, B, PRIOR, "probability ( B | A ) { default 0.5 0.5; (very wet) 0.25 0.75; (x_1) 1 0; }"]),
    "parent's state slowest": "\n".join([A, B, PRIOR, "probability ( B | A ) { table 0.5 0.5 0.25 0.75 1 0; }"]),
    "child's state slowest": "\n".join([A, B, PRIOR, "probability ( B | A ) { table 0.5 0.25 1 0.5 0.75 0; }"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_network_in_many_forms(tmp_path, form):
    path = tmp_path / "tree.bif"
    path.write_text(FORMS[form])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tree = hltm.load(path)
    assert tree.edges == (("A", "B"),)
    assert (tree.states("A"), tree.states("B")) == (("dry", "very wet", "x_1"), ("t", "f"))
    assert tree.exact_prior() == (0.5, 0.125, 0.375)
    assert tree.exact_table("B") == ((0.5, 0.5), (0.25, 0.75), (1, 0))
    said = [f"{path}: the table of 'B' has the parent's state slowest, since its rows sum to one only so"]
    assert [str(warning.message) for warning in caught] == (said if form.startswith("parent") else [])
    for suffix in (".json", ".graphml", ".bif"):
        hltm.save(tree, tmp_path / f"again{suffix}")
        assert hltm.load(tmp_path / f"again{suffix}") == tree


THREE = "variable {} {{ type discrete[3] {{ a, b, c }}; }}"
DOUBLY = "0.5 0.25 0.25 0 0.5 0.5 0.5 0.25 0.25"  # rows and columns sum to one


def doubly(more=""):
    text = "".join(THREE.format(name) for name in ("A", "X", *more))
    text += f"probability ( A ) {{ table 0.5 0.25 0.25; }}\nprobability ( X | A ) {{ table {DOUBLY}; }}\n"
    return text + "".join(f"probability ( {name} | A ) {{ table 0.5 0.25 0.25 1 0 0 0 1 0; }}" for name in more)


def test_a_table_that_fits_both_orders_follows_bif_unless_another_one_of_the_file_does_not(tmp_path):
    path = tmp_path / "tree.bif"
    path.write_text(doubly())
    assert hltm.load(path).exact_table("X") == ((0.5, 0, 0.5), (0.25, 0.5, 0.25), (0.25, 0.5, 0.25))
    path.write_text(doubly("Y"))
    for strict in (False, True):
        with pytest.raises(hltm.InputError) as caught:
            hltm.load(path, strict)
        assert "the table of 'X', line 2: its rows sum to one in both orders, and the table of 'Y' has" in str(
            caught.value
        )
    path.write_text(doubly("Y").replace(DOUBLY, "0.5 0.25 0.25 0.25 0.5 0.25 0.25 0.25 0.5"))
    with pytest.warns(hltm.TreeWarning, match="the table of 'Y' has the parent's state slowest"):
        assert hltm.load(path).exact_table("X")[1] == (0.25, 0.5, 0.25), "equal in both orders"


@pytest.mark.parametrize(("table", "order"), [("0.33 0.5 1 0.66 0.5 0", 0), ("0.33 0.66 0.5 0.5 1 0", 1)])
def test_the_order_of_a_rounded_table(tmp_path, table, order):
    path = tmp_path / "tree.bif"
    path.write_text("\n".join([A, B, PRIOR, f"probability ( B | A ) {{ table {table}; }}"]))
    with pytest.warns(hltm.TreeWarning) as caught:
        tree = hltm.load(path)
    assert tree.exact_table("B") == ((0.33 / 0.99, 0.66 / 0.99), (0.5, 0.5), (1, 0))
    assert len(caught) == 1 + order


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (A + B + PRIOR + "probability ( B | A ) { table 0.5 0.5 0.5 0.9 0.9 0.9; }", "row 0 of transition on edge ('A', 'B'), line 1: must sum to one, sums to 1.4; its digits explain"),
        (A + B + PRIOR + ROWS + "probability ( C | A ) { default 0.5 0.5; }", "line 1: 'C': must be a variable of the file"),
        (ROWS + A + B + "\n" + ROWS + PRIOR, "line 2: 'B': must not have two blocks 'probability'"),
        (A + B + PRIOR + "probability ( B | A, B ) { }", "node 'B' has parents 'A', 'B': a node of a tree has one parent"),
        (A + B + PRIOR + "probability ( D | A ) { (a", "must be '}'"),
        (A + B + PRIOR + ROWS.replace("0.25", "9" * 400), "must be finite in double precision"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, text, message):
    (tmp_path / "tree.bif").write_text(text)
    with pytest.raises(hltm.InputError) as caught:
        hltm.load(tmp_path / "tree.bif")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_tables_before_their_variables_take_linear_time(tmp_path):
    names = [f"v{i}" for i in range(4000)]
    tables = [f"probability ( {name} | r ) {{ (a) 0.5 0.5; (b) 0.25 0.75; }}" for name in names]
    kinds = [f"variable {name} {{ type discrete[2] {{ a, b }}; }}" for name in ("r", *names)]
    (tmp_path / "tree.bif").write_text("\n".join(["probability ( r ) { table 0.5 0.5; }", *tables, *kinds]))
    tree = hltm.load(tmp_path / "tree.bif")
    assert tree.children("r") == tuple(names)
    assert tree.exact_table("v77") == ((0.5, 0.5), (0.25, 0.75))


@pytest.mark.parametrize("table", ["0.51 0.49 0.50 0.50", "0.5001 0.4999 0.5 0.5"])
@pytest.mark.parametrize("prior", ["0.5 0.5", "0.33 0.66"])  # a rounded one makes the reader keep all digits
def test_an_order_that_fits_without_rounding_comes_first(tmp_path, table, prior):
    """The rows of the other order sum to one only if their digits are taken for rounded ones."""
    path = tmp_path / "flat.bif"
    heads = "variable A { type discrete [ 2 ] { a, b }; } variable B { type discrete [ 2 ] { t, f }; }"
    path.write_text(f"{heads} probability ( A ) {{ table {prior}; }} probability ( B | A ) {{ table {table}; }}")
    with pytest.warns(hltm.TreeWarning) as said:
        tree = hltm.load(path)
    assert any("parent's state slowest" in str(each.message) for each in said)
    assert [float(x) for row in tree.exact_table("B") for x in row] == [float(x) for x in table.split()]


def test_a_table_that_only_rounding_explains_follows_bif(tmp_path):
    path = tmp_path / "flat.bif"
    heads = "variable A { type discrete [ 2 ] { a, b }; } variable B { type discrete [ 3 ] { t, f, g }; }"
    table = "0.333 0.334 0.333 0.333 0.333 0.332"
    path.write_text(f"{heads} probability ( A ) {{ table 0.5 0.5; }} probability ( B | A ) {{ table {table}; }}")
    with pytest.warns(hltm.TreeWarning, match="rounded"):
        tree = hltm.load(path)
    assert tree.transition("A", "B")[1, 0] == pytest.approx(0.334, abs=1e-3)
    assert tree.transition("A", "B")[1, 0] > tree.transition("A", "B")[0, 0]
