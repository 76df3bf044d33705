"""What a paper may do to a formula without its display showing it: never called unchanged, nor another look."""

from fractions import Fraction

import pytest

import hltm
from theory.latex.names import macros
from theory.paper.export import drift, formula

TREE = hltm.complete_tree(depth=2, branching=2, polarity=Fraction(4, 5))
SHOWN = formula(TREE, 1)
TWICE = r"\renewcommand{\covopgap}[1]{2a_{#1}}"
PLAIN = r"\renewcommand{\covopgap}[1]{a_{#1}}"
START = r"\covopgap{1} &= "


def paper(before, body=SHOWN):
    head = "\\documentclass{article}\n\\usepackage{amsmath}\n"
    return f"{head}{macros()}{before}\\begin{{document}}\n{body}\n\\end{{document}}\n"


def with_factor(text):
    assert START in SHOWN
    return SHOWN.replace(START, START + text)


def ended(text):
    return SHOWN.replace("\n\\end{aligned}", text + "\n\\end{aligned}")


HIDDEN = {
    "a macro that redefines ours": (r"\newcommand{\go}{\renewcommand{\covopgap}[1]{2a_{##1}}}\go ", SHOWN),
    "by def": (r"\newcommand{\go}{\def\covopgap##1{2a_{##1}}}\go ", SHOWN),
    "by let": (r"\newcommand{\go}{\let\covopgap\covopselectivity}\go ", SHOWN),
    "in a hook": (r"\newcommand{\go}{\renewcommand{\covopgap}[1]{2a_{##1}}}\AtBeginDocument{\go}", SHOWN),
    "renewrobustcmd": (r"\renewrobustcmd{\covopgap}[1]{2a_{#1}}", SHOWN),
    "pretocmd": (r"\pretocmd{\covopgap}{2}{}{}", SHOWN),
    "patchcmd": (r"\patchcmd{\covopgap}{a}{2a}{}{}", SHOWN),
    "RenewCommandCopy": (r"\RenewCommandCopy{\covopgap}{\covopselectivity}", SHOWN),
    "LetLtxMacro": (r"\LetLtxMacro\covopgap\covopselectivity ", SHOWN),
    "renewcommandx": (r"\renewcommandx{\covopgap}[1]{2a_{#1}}", SHOWN),
    "RenewExpandableDocumentCommand": (r"\RenewExpandableDocumentCommand{\covopgap}{m}{2a_{#1}}", SHOWN),
    "csdef": (r"\csdef{covopgap}#1{2a_{#1}}", SHOWN),
    "namedef": (r"\makeatletter\@namedef{covopgap}#1{2a_{#1}}\makeatother ", SHOWN),
    "csname": (r"\expandafter\def\csname covopgap\endcsname#1{2a_{#1}}", SHOWN),
    "cs_set": (r"\ExplSyntaxOn\cs_set:Npn \covopgap #1 {2a_{#1}}\ExplSyntaxOff ", SHOWN),
    "mathchardef": (r"\mathchardef\top=0202 ", SHOWN),
    "DeclareMathSymbol": (r'\DeclareMathSymbol{\top}{\mathbin}{symbols}{"00}', SHOWN),
    "the right one in a bgroup": (TWICE + rf"\bgroup{PLAIN}\egroup ", SHOWN),
    "the right one between dollars": (TWICE + f"${PLAIN}$ ", SHOWN),
    "a second newcommand, which is an error": (TWICE + PLAIN.replace("renew", "new"), SHOWN),
    "a hook of an environment": (r"\AtBeginEnvironment{aligned}{-}", SHOWN),
    "another one": (r"\AddToHook{env/aligned/begin}{-}", SHOWN),
    "everydisplay": (r"\everydisplay{-}", SHOWN),
    "an environment as a command": (r"\renewcommand{\aligned}{-}", SHOWN),
    "an active character": (r"\catcode`\-=\active\def-{+}", SHOWN),
    "mathcode": (r'\mathcode`\-="202B ', SHOWN),
    "a tie": (r"\def~{-}", SHOWN.replace("1 - ", "1 ~ - ")),
    "a parent in the index": (r"\renewcommand{\covopgap}[1]{a_{\mathrm{pa}(#1)}}", SHOWN),
    "a permutation in the index": (r"\renewcommand{\covopgap}[1]{a_{\pi(#1)}}", SHOWN),
    "one more index": (r"\renewcommand{\covopgap}[1]{a_{#1,k}}", SHOWN),
    "a look-alike": (r"\renewcommand{\covopgap}[1]{\mathnormal{s}_{#1}}", SHOWN),
    "indices without a comma": (r"\renewcommand{\covopedge}[2]{#1#2}", SHOWN),
    "a switch in a macro": (
        r"\newif\ifdraft\drafttrue\newcommand{\final}{\draftfalse}",
        with_factor(r"\ifdraft 2\fi "),
    ),
    "a switch in a group": (r"\newif\ifdraft{\drafttrue}", with_factor(r"\ifdraft\else 2\fi ")),
    "a switch by let in a group": (r"{\let\ifdraft\iffalse}", with_factor(r"\ifdraft 2\fi ")),
    "if0 with a macro": (r"\newcommand{\blind}{0}", with_factor(r"\if0\blind 2\fi ")),
    "if0 with a 0": ("", with_factor(r"\if00 2\fi ")),
    "an argument that is not set": (r"\newcommand{\gobble}[1]{}", rf"\gobble{{{SHOWN}}}"),
    "an excluded environment": (r"\excludecomment{hide}", rf"\begin{{hide}}{SHOWN}\end{{hide}}"),
    "a factor behind a line break": ("", SHOWN.replace(", \\\\\n", " \\\\ [\\covoprootpolarity]\n", 1)),
    "a letter behind a line break": ("", SHOWN.replace(", \\\\\n", " \\\\ [\\alpha]\n", 1)),
    "the power T of a number": ("", SHOWN.replace(r"{}^{2}\bigr)", r"{}^{2}\bigr)^T")),
    "units": ("", ended(r",\quad\text{in units of } 4")),
    "a prefactor": ("", ended(r",\quad\text{with prefactor } 2")),
    "sides that are exchanged": ("", ended(r",\quad\text{with sides exchanged}")),
    "a side that is doubled": ("", ended(r",\quad\text{where the right-hand side is doubled}")),
}
OPEN = {
    "as exported": ("", SHOWN),
    "a bold letter": (r"\renewcommand{\covopgap}[1]{\boldsymbol{g}_{#1}}", SHOWN),
    "other definitions in groups": (r"{\it a} \newcommand{\x}[1]{y} {\renewcommand{\x}{z}} $a$ \bgroup\egroup ", SHOWN),
    "a preamble with internals": (
        r"\makeatletter\@namedef{x}{y}\catcode`\@=11\makeatother\let\oldsection\section ",
        SHOWN,
    ),
    "room behind a line break": ("", SHOWN.replace(", \\\\\n", ", \\\\[2pt]\n", 1)),
    "a register behind a line break": ("", SHOWN.replace(", \\\\\n", ", \\\\[0.5\\jot]\n", 1)),
    "a switch by let": (r"\let\ifdraft\iffalse ", r"\ifdraft not set \begin{equation*}\fi" + SHOWN),
    "if0 with a text": ("", r"\if0 not set \begin{equation*}\fi" + SHOWN),
    "its own alias": (r"\newcommand{\gap}{\covopgap}", SHOWN.replace(r"\covopgap", r"\gap")),
    "a definition in a group behind an environment": (
        "",
        "\\begin{center}x\\end{center}{\\renewcommand{\\covopgap}[1]{2a_{#1}}}" + SHOWN,
    ),
    "another environment before a group": ("", "\\begin{center}x\\end{center}{\\small " + SHOWN + "}"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_change_is_no_look(name):
    before, body = HIDDEN[name]
    assert (before, body) != ("", SHOWN)
    assert drift(paper(before, body), TREE, 1) is not None


@pytest.mark.parametrize("name", OPEN)
def test_what_hides_nothing_is_read(name):
    assert drift(paper(*OPEN[name]), TREE, 1) is None
