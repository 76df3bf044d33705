r"""The tokens of a LaTeX text, as far as comparing formulas needs them.

A token is a command (``\rho``, ``\\``), or one character. White space is no token, nor is anything that TeX does not
typeset: comments, comment and verbatim environments, ``\iffalse ... \fi``, and what follows ``\end{document}``.
"""

import re
from collections.abc import Sequence

Tokens = Sequence[str]

_TOKEN = re.compile(
    r"(?P<opaque>\\begin\{(?P<kind>comment|verbatim\*?|lstlisting)\}.*?(?:\\end\{(?P=kind)\}|\Z))"
    r"|(?P<verb>\\verb\*?(?P<mark>[^A-Za-z\s*])[^\n]*?(?P=mark))"
    r"|(?P<token>\\(?:[A-Za-z]+|[\s\S])|[^%\s])|%[^\n]*|\s+",
    re.DOTALL,
)


def tokens(text: str) -> list[str]:
    r"""The tokens of a text.

    Parameters
    ----------
    text
        LaTeX.

    Returns
    -------
    list of str
        Commands with their backslash, else single characters; a control space or line break is ``\ ``.

    Source
    ------
    The conventions of plain category codes; no command is expanded.

    Examples
    --------
    >>> tokens(r"1-\rho a\\% a comment")
    ['1', '-', '\\rho', 'a', '\\\\']
    >>> tokens(r"100\% \iffalse x \fi y")
    ['1', '0', '0', '\\%', 'y']
    """
    found = [match["token"] for match in _TOKEN.finditer(text) if match["token"]]
    return _seen([r"\ " if len(t) == 2 and t[1].isspace() else t for t in found])


def _seen(found: list[str]) -> list[str]:
    r"""Without ``\iffalse ... \fi``, conditionals inside it included, and without what follows the document."""
    end = ["\\end", *"{document}"]
    seen: list[str] = []
    hidden = 0
    for word in found:
        if hidden:
            hidden += (word.startswith("\\if") and word != "\\iff") - (word == "\\fi")
            if hidden == 1 and word == "\\else":
                hidden = 0
        elif word == "\\iffalse":
            hidden = 1
        else:
            seen.append(word)
            if word == "}" and seen[-len(end) :] == end:
                break
    return seen


def argument(found: Tokens, at: int) -> tuple[list[str], int]:
    """The argument that starts at a place, a group without its braces or one token, and the place behind it.

    A group that is not closed ends with the text.

    Examples
    --------
    >>> argument(tokens("{a{b}}c"), 0)
    (['a', '{', 'b', '}'], 6)
    """
    if at >= len(found) or found[at] != "{":
        return list(found[at : at + 1]), at + 1
    depth = 0
    for end in range(at, len(found)):
        depth += (found[end] == "{") - (found[end] == "}")
        if depth == 0:
            return list(found[at + 1 : end]), end + 1
    return list(found[at + 1 :]), len(found)


def option(found: Tokens, at: int) -> tuple[list[str] | None, int]:
    """The content of ``[...]`` at a place, or None, and the place behind it."""
    if at >= len(found) or found[at] != "[":
        return None, at
    end = next((i for i in range(at, len(found)) if found[i] == "]"), len(found))
    return list(found[at + 1 : end]), end + 1


def without_single_groups(found: Tokens) -> list[str]:
    """The tokens without braces around one token: ``x^{2}`` is ``x^2``.

    Examples
    --------
    >>> "".join(without_single_groups(tokens("x^{2}_{ab}")))
    'x^2_{ab}'
    """
    result: list[str] = []
    for word in found:
        if word == "}" and len(result) >= 2 and result[-2] == "{" and result[-1] not in "{}":
            result[-2:] = [result[-1]]
        else:
            result.append(word)
    return result


def joined(found: Tokens) -> str:
    r"""The tokens as LaTeX again, spaced only where a command would swallow a letter.

    Examples
    --------
    >>> joined(tokens(r"\rho  a + \mu_1"))
    '\\rho a+\\mu_1'
    """
    text = ""
    for word in found:
        text += (" " if word[0].isalpha() and re.search(r"\\[A-Za-z]+\Z", text) else "") + word
    return text
