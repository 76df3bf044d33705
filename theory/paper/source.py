r"""The text of a paper and of the files that it takes in: ``\input``, ``\include``, ``\subfile``, its own packages.

Files are looked for in the folder of the paper, then in that of the file that takes them in; a package, in the folder
of the paper alone. Source: statement 6 (arXiv 2010.00578).
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from hltm.base.errors import InputError
from theory.paper.tokens import Visible, words

FILES, DEPTH, TOTAL = 500, 20, 64 * 2**20
"""At most so many files, one inside of another, and characters of all files together."""
_INPUTS = {"\\input", "\\include", "\\subfile", "\\subfileinclude"}
_IMPORTS = {"\\import", "\\subimport"}
_PACKAGES = {"\\usepackage": "sty", "\\RequirePackage": "sty", "\\documentclass": "cls", "\\LoadClass": "cls"}

Read = Callable[[Path], str]


class Source:
    """The tokens of a paper; `notes` has a line for each file that is not read."""

    def __init__(self, path: Path | None = None, read: Read | None = None) -> None:
        self.notes: list[str] = []
        self._path, self._read = path, read
        self._visible = Visible()
        self._files, self._size = 0, 0
        self._open: list[tuple[Path, Iterator[str]]] = []

    def words(self, text: str) -> list[str]:
        """The tokens of the paper's text, with those of files in their places."""
        result: list[str] = []
        self._open = [(self._path or Path("paper.tex"), words(text))]
        self._size = len(text)
        while self._open and not self._visible.ended:
            word = next(self._open[-1][1], None)
            if word is None:
                self._open.pop()
            elif not self._visible.visible(word):
                continue
            elif word == "\\endinput":
                self._open.pop()
            elif word in _INPUTS or word in _IMPORTS:
                self._input(word, result)
            elif word in _PACKAGES:
                self._package(word, result)
            else:
                result.append(word)
        return result

    def _next(self) -> str:
        return next((word for word in self._open[-1][1] if self._visible.visible(word)), "")

    def _input(self, command: str, result: list[str]) -> None:
        r"""Open the file of an ``\\input``, whose name is one token between braces."""
        brace = self._next()
        if brace != "{":
            result.extend(filter(None, (command, brace)))
            return
        name = self._next()
        if name != "}" and self._next() != "}":
            name += "..."
        if self._path is None or name == "}":
            return
        file = None if command in _IMPORTS or name.endswith("...") else self._found(name.strip(), "tex")
        if file is None:
            self.notes.append(f"{command}{{{name}}} is not read: there is no such file beside the paper")
        else:
            self._enter(file, f"{command}{{{name}}}")

    def _package(self, command: str, result: list[str]) -> None:
        r"""Open the packages of a ``\\usepackage`` that lie in the folder of the paper."""
        read = [command]
        while len(read) < 1000 and (word := self._next()):
            read.append(word)
            if word == "}" or (len(read) == 2 and word not in "[{"):
                break
        result.extend(read)
        if self._path is None or "{" not in read:
            return
        start = len(read) - 1 - read[::-1].index("{")
        for name in reversed("".join(read[start + 1 : -1]).split(",")):
            file = self._beside(self._path.parent, f"{name}.{_PACKAGES[command]}") if name else None
            if file:
                self._enter(file, f"{command}{{{name}}}", package=True)

    def _found(self, name: str, suffix: str) -> Path | None:
        assert self._path is not None  # noqa: S101
        folders = (self._path.parent, self._open[-1][0].parent)
        names = (f"{name}.{suffix}", name)
        return next((file for folder in folders for n in names if (file := self._beside(folder, n))), None)

    @staticmethod
    def _beside(folder: Path, name: str) -> Path | None:
        """A regular file by a relative name."""
        try:
            path = folder / name
            return path if name and not Path(name).is_absolute() and path.is_file() else None
        except (OSError, ValueError):  # a null byte, or a name too long
            return None

    def _enter(self, file: Path, place: str, package: bool = False) -> None:
        assert self._read is not None  # noqa: S101
        resolved = file.resolve()
        if any(resolved == path.resolve() for path, _ in self._open):
            self.notes.append(f"{place} is not read again inside of itself")
            return
        if len(self._open) >= DEPTH or self._files >= FILES:
            raise InputError(f"{place}: a paper must have at most {FILES} files, {DEPTH} inside of each other")
        try:
            text = self._read(file)
        except InputError as error:
            self.notes.append(f"{place} is not read: {error}")
            return
        self._files += 1
        self._size += len(text)
        if self._size > TOTAL:
            raise InputError(f"{place}: the files of a paper must have at most {TOTAL} characters together")
        self._open.append((file, words(text, package)))
