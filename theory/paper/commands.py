r"""Commands of a paper by what they do to a formula; one that is in no list makes the formula undecided.

Source: statement 6 (arXiv 2010.00578).
"""

import re

SPACES = {
    "\\,", "\\;", "\\:", "\\>", "\\!", "\\ ", "~", "\\quad", "\\qquad", "\\enspace", "\\enskip", "\\thinspace",
    "\\medspace", "\\thickspace", "\\negthinspace", "\\negmedspace", "\\negthickspace", "\\hfill", "\\hfil",
    "\\space",
}  # fmt: skip
IGNORED = {
    "\\displaystyle", "\\textstyle", "\\scriptstyle", "\\scriptscriptstyle", "\\tiny", "\\scriptsize",
    "\\footnotesize", "\\small", "\\normalsize", "\\large", "\\Large", "\\allowdisplaybreaks", "\\allowbreak",
    "\\nobreak", "\\nonumber", "\\notag", "\\limits", "\\nolimits", "\\relax", "\\strut", "\\mathstrut",
    "\\hidewidth", "\\centering", "\\noindent", "\\IEEEnonumber", "\\IEEEyesnumber", "\\IEEEeqnarraynumspace",
    "\\IEEEyessubnumber", "\\null", "\\qedhere", "$", "\\left", "\\right", "\\middle", "\\begingroup",
    "\\endgroup", "\\bgroup", "\\egroup", "{", "}", "\\normalfont", "\\mathversion", "\\bf", "\\rm", "\\it",
    "\\sf", "\\boldmath", "\\(", "\\)", "\\displaybreak",
} | {f"\\{size}{side}" for size in ("big", "Big", "bigg", "Bigg") for side in ("", "l", "r", "m")}  # fmt: skip
# Commands whose arguments (and option) only change the looks.
DROPPED = {
    "\\hspace": 1, "\\vspace": 1, "\\phantom": 1, "\\hphantom": 1, "\\vphantom": 1, "\\tag": 1, "\\label": 1,
    "\\color": 1, "\\fontsize": 2, "\\selectfont": 0, "\\setlength": 2, "\\MoveEqLeft": 0, "\\mspace": 1,
    "\\linespread": 1, "\\footnotemark": 0,
}  # fmt: skip
# Commands that set their last argument, with how many arguments before it.
SHOWN = {
    "\\smash": 0, "\\mathclap": 0, "\\mathllap": 0, "\\mathrlap": 0, "\\clap": 0, "\\boxed": 0, "\\ensuremath": 0,
    "\\mathopen": 0, "\\mathclose": 0, "\\mathrel": 0, "\\mathbin": 0, "\\mathord": 0, "\\mathinner": 0, "\\mathop": 0,
    "\\textcolor": 1, "\\lefteqn": 0, "\\colorbox": 1, "\\IEEEeqnarraymulticol": 2, "\\multicolumn": 2,
    "\\mathpunct": 0, "\\shoveleft": 0, "\\shoveright": 0, "\\MakeLowercase": 0,
}  # fmt: skip
STARRED = {"\\tag", "\\hspace", "\\vspace"}
OPTIONAL = {"\\smash", "\\color", "\\textcolor", "\\colorbox", "\\footnotemark", "\\MoveEqLeft"}
BOXES = {"\\resizebox": 2, "\\scalebox": 1, "\\mbox": 0, "\\hbox": 0, "\\fbox": 0, "\\makebox": 0}
PROSE = {
    "\\text", "\\textrm", "\\textup", "\\textnormal", "\\textit", "\\textbf", "\\textsf", "\\intertext",
    "\\shortintertext",
}  # fmt: skip
MATH_FONTS = {
    "\\mathbf", "\\boldsymbol", "\\bm", "\\mathsf", "\\mathit", "\\mathrm", "\\mathcal", "\\mathbb",
    "\\mathfrak", "\\mathscr", "\\mathtt", "\\pmb", "\\mathnormal", "\\symbf", "\\symbfit", "\\symsf",
    "\\symrm", "\\bold", "\\operatorname",
}  # fmt: skip
ACCENTS = {
    "\\hat", "\\widehat", "\\tilde", "\\widetilde", "\\bar", "\\overline", "\\underline", "\\vec", "\\dot",
    "\\ddot", "\\check", "\\breve", "\\acute", "\\grave", "\\mathring", "\\overrightarrow",
}  # fmt: skip
FONTS = MATH_FONTS | PROSE
LETTERS = {
    "\\alpha", "\\beta", "\\gamma", "\\delta", "\\epsilon", "\\varepsilon", "\\zeta", "\\eta", "\\theta",
    "\\vartheta", "\\iota", "\\kappa", "\\varkappa", "\\lambda", "\\mu", "\\nu", "\\xi", "\\pi", "\\varpi",
    "\\rho", "\\varrho", "\\sigma", "\\varsigma", "\\tau", "\\upsilon", "\\phi", "\\varphi", "\\chi", "\\psi",
    "\\omega", "\\Gamma", "\\Delta", "\\Theta", "\\Lambda", "\\Xi", "\\Pi", "\\Sigma", "\\Upsilon", "\\Phi",
    "\\Psi", "\\Omega", "\\ell", "\\hbar", "\\imath", "\\jmath", "\\nabla", "\\partial", "\\infty",
    "\\emptyset", "\\varnothing", "\\aleph", "\\Re", "\\Im", "\\wp", "\\top", "\\bot", "\\mho", "\\eth",
    "\\digamma",
}  # fmt: skip
RELATIONS = {
    "\\neq", "\\ne", "\\approx", "\\equiv", "\\sim", "\\simeq", "\\cong", "\\propto", "\\leq", "\\le", "\\geq",
    "\\ge", "\\leqslant", "\\geqslant", "\\ll", "\\gg", "\\lt", "\\gt", "\\in", "\\notin", "\\ni", "\\subset",
    "\\subseteq", "\\to", "\\rightarrow", "\\leftarrow", "\\Rightarrow", "\\implies", "\\iff", "\\mapsto",
    "\\prec", "\\succ", "\\preceq", "\\succeq", "\\doteq", "\\asymp", "\\perp", "\\parallel", "<", ">",
}  # fmt: skip
EQUALS = {"\\coloneqq", "\\coloneq", "\\triangleq", "\\eqdef", "\\defeq", "\\colonequals"}
OTHER = {
    "\\odot", "\\oplus", "\\ominus", "\\circ", "\\ast", "\\star", "*", "\\pm", "\\mp", "\\wedge", "\\vee",
    "\\cap", "\\cup", "\\bullet", "\\div", "\\setminus", "\\boxtimes", "\\oslash", "\\bigotimes", "\\diamond",
}  # fmt: skip
OPENING = {
    "(": "(", "[": "(", "\\{": "{", "\\lbrace": "{", "\\lbrack": "(", "\\lvert": "|", "\\lVert": "\\|", "\\langle": "<",
    "\\lfloor": "f", "\\lceil": "c", "\\lparen": "(",
}  # fmt: skip
CLOSING = {
    ")": "(", "]": "(", "\\}": "{", "\\rbrace": "{", "\\rbrack": "(", "\\rvert": "|", "\\rVert": "\\|", "\\rangle": "<",
    "\\rfloor": "f", "\\rceil": "c", "\\rparen": "(",
}  # fmt: skip
MATRICES = {f"{kind}{small}matrix{star}" for kind in "pb" for small in ("", "small") for star in ("", "*")}
BARE = {"matrix", "smallmatrix", "array"}
LAYOUT = {"aligned", "split", "gathered", "multlined", "alignedat", "IEEEeqnarraybox"}
HEADS = {"array", "IEEEeqnarray", "IEEEeqnarray*"}
FRACTIONS = {"\\frac", "\\tfrac", "\\dfrac", "\\cfrac", "\\nicefrac", "\\sfrac", "\\flatfrac"}
TRANSPOSE = {("\\top",), ("T",), ("\\intercal",)}
BETWEEN = {"\\limits", "\\nolimits", "\\displaystyle", "\\relax"}
ALIKE = {"\\rightarrow": "\\to", "\\lt": "<", "\\gt": ">", "\\vert": "\\mid", "|": "\\mid", "\\ldots": "\\dots"}
LENGTH = re.compile(r"-?(?:[0-9]*\.?[0-9]+(?:pt|em|ex|mm|cm|in|mu|pc|bp|sp)|(?:[0-9]*\.?[0-9]*)\\[A-Za-z]+)")
# Room behind a line break, in brackets: what is no length there is set.
ROOM = re.compile(
    r"-?[0-9]*\.?[0-9]+(?:pt|em|ex|mm|cm|in|mu|pc|bp|sp)"
    r"|-?[0-9]*\.?[0-9]*\\(?:jot|(?:normal)?(?:baseline|line)skip|(?:small|med|big)skipamount|(?:above|below)displayskip"
    r"|(?:par|col)skip|parindent|columnsep|lineskip|textheight|textwidth|linewidth|columnwidth)"
)
PLACES = {"t", "b", "c", "l", "r"}
DIMENSION = {"\\hskip", "\\kern", "\\mkern", "\\mskip", "\\vskip"}
BINARY = {
    "+": "PLUS", "-": "MINUS", "\\cdot": "TIMES", "\\times": "TIMES", "/": "SLASH", "\\otimes": "KRON",
    "\u2212": "MINUS", "\u00b7": "TIMES",
}  # fmt: skip
BIG = {"\\prod": "product", "\\sum": "sum"}
DOTS = {"\\dots", "\\ldots", "\\cdots", "\\dotsc"}
