r"""Names of nodes in LaTeX: every letter against a table, different names different, and the way back."""

import re

import pytest

from hltm.base.errors import InputError
from theory.latex.names import in_unicode, node_texts, require_tex

SMALL = "α alpha β beta γ gamma δ delta ε epsilon ζ zeta η eta θ theta ι iota κ kappa λ lambda μ mu ν nu ξ xi π pi ρ rho " \
    "σ sigma τ tau υ upsilon φ phi χ chi ψ psi ω omega"  # fmt: skip
CAPITAL = "Γ Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Υ Upsilon Φ Phi Ψ Psi Ω Omega"
LISTED = f"{SMALL} {CAPITAL}".split()
GREEK = dict(zip(LISTED[::2], LISTED[1::2], strict=True))
WRITTEN = {
    0: "0", 17: "17", "7": "7", "x": "x", "Q": "Q", "ab": r"\mathrm{ab}", "A_1": r"\mathrm{A\_1}", "Zz9": r"\mathrm{Zz9}",
    "": r"\text{''}", "a,b": r"\text{'a,b'}", ("a", 2): "(a,2)", ("a", ("b", "c_d")): r"(a,(b,\mathrm{c\_d}))",
    "a b": r"\text{a\ b}", "50%": r"\text{50\%}", "a&b": r"\text{a\&b}", "$": r"\text{\$}", "#": r"\text{\#}", "_": r"\mathrm{\_}",
    "{}": r"\text{\{\}}", "a\\b": r"\text{a\textbackslash{}b}", "^": r"\text{\textasciicircum{}}", "~": r"\text{\textasciitilde{}}",
    "<|>": r"\text{\textless{}\textbar{}\textgreater{}}", "straße": r"\text{stra\ss{}e}", "Ærø": r"\text{\AE{}r\o{}}",
    "Łódź": r"\text{\L{}\'{o}d\'{z}}", "ıœ": r"\text{\i{}\oe{}}", "Øæ": r"\text{\O{}\ae{}}", "łŒ": r"\text{\l{}\OE{}}",
    "àâãāăȧäåőčḍç": r"\text{\`{a}\^{a}\~{a}\={a}\u{a}\.{a}\"{a}\r{a}\H{o}\v{c}\d{d}\c{c}}", "u\u0308": r"\text{\"{u}}", "é": r"\text{\'{e}}",
    "a-α": r"\text{a-\ensuremath{\alpha}}", "Ωm": r"\text{\ensuremath{\Omega}m}",
}  # fmt: skip


@pytest.mark.parametrize("node", WRITTEN, ids=ascii)
def test_how_a_node_is_written(node):
    text = node_texts([node])[node]
    assert text == WRITTEN[node]
    require_tex({node: text}, [node])


@pytest.mark.parametrize("letter", GREEK)
def test_greek_letters(letter):
    assert node_texts([letter])[letter] == "\\" + GREEK[letter]
    pair = f"{letter}{letter}"
    text = node_texts([pair])[pair]
    assert text == r"\text{" + 2 * rf"\ensuremath{{\{GREEK[letter]}}}" + "}"
    assert in_unicode(re.fullmatch(r"\\text\{(.*)\}", text)[1]) == pair


@pytest.mark.parametrize("name", ["Łódź über straße", "50% & {x_1}", "a^~<|>$#\\", "Ærø Ωλ ı", "çäåő"])
def test_the_way_back(name):
    assert in_unicode(re.fullmatch(r"\\text\{(.*)\}", node_texts([name])[name])[1]) == name


def test_names_that_look_alike_are_quoted():
    texts = node_texts([1, "1", "x", ("1",), (1,)])
    assert texts[1] == "1"
    assert texts["1"] == r"\text{'1'}"
    assert texts["x"] == "x"
    assert len(set(texts.values())) == 5
    # A name that is already what a quoted one would be.
    clash = node_texts([1, "1", "'1'"])
    assert len(set(clash.values())) == 3
    decomposed = node_texts(["é", "e\u0301"])
    assert len(set(decomposed.values())) == 2
    assert all(text.isascii() for text in decomposed.values())


@pytest.mark.parametrize(
    "name", ["ο", "Α", "ς", "日", "a\u200b", "б", "x\x7f", "\t", "\u1e69"]
)  # omicron, capital alpha
def test_letters_that_tex_lacks_are_refused_where_latex_is_written(name):
    texts = node_texts([name, "x"])
    require_tex(texts, ["x"])
    with pytest.raises(InputError, match=r"in LaTeX: must be written in printable ASCII.*; rename the node"):
        require_tex(texts, ["x", name])


def test_every_printable_ascii_character_is_set():
    for code in range(32, 127):
        name = f"a{chr(code)}-"
        texts = node_texts([name])
        require_tex(texts, [name])
        assert in_unicode(re.fullmatch(r"\\text\{'?(.*?)'?\}", texts[name])[1]) == name
