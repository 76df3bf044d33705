"""One pass of expat over an XML document, linear in its length.

Entities are refused where they are declared, external ones are never fetched, and elements nest at most `DEPTH` deep.
"""

import xml.parsers.expat as expat

from hltm.base.checks import show
from hltm.base.errors import InputError

DEPTH = 64  # of nested elements
NAMESPACE = " "  # between the namespace of an element and its name


class XMLReader:
    """Handlers of one document: a subclass gives `start`, `end` and, where it allows one, `doctype`."""

    def __init__(self, separator: str | None = NAMESPACE) -> None:
        """Make a parser; with no separator names of elements keep their prefix instead of a namespace."""
        self.parser = expat.ParserCreate(namespace_separator=separator)
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.parser.EntityDeclHandler = self._entity
        self.parser.SkippedEntityHandler = self._entity
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.open: list[str] = []
        self._texts: list[list[str]] = []
        self._skipped = 0

    def parse(self, text: str) -> None:
        """Read a document; InputError where it is not well formed."""
        try:
            self.parser.Parse(text, True)
        except UnicodeEncodeError:
            raise InputError("not valid XML: a lone surrogate") from None
        except expat.ExpatError as error:
            raise InputError(f"not valid XML: {error}") from None

    @property
    def line(self) -> int:
        return self.parser.CurrentLineNumber

    def start(self, tag: str, attributes: dict[str, str]) -> bool:
        """Open an element, whose parents are `open`; return whether its contents are read."""
        raise NotImplementedError

    def end(self, tag: str, text: str) -> None:
        """Close an element; `text` is its own, without that of the elements inside."""

    def doctype(self, name: str, *_: object) -> None:
        raise InputError(f"<!DOCTYPE {show(name)}>: must not be given; document types and entities are not read")

    def _entity(self, name: str, *_: object) -> None:
        raise InputError(f"entity {show(name)}: must not be given; entities are not read")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._skipped or not self.start(tag, attributes):
            self._skipped += 1
        else:
            self.open.append(tag)
            self._texts.append([])
        if len(self.open) + self._skipped > DEPTH:
            raise InputError(f"element {show(tag)}, line {self.line}: nested too deeply, more than {DEPTH} elements")

    def _end(self, tag: str) -> None:
        if self._skipped:
            self._skipped -= 1
            return
        self.open.pop()
        self.end(tag, "".join(self._texts.pop()))

    def _characters(self, text: str) -> None:
        if not self._skipped and self._texts:
            self._texts[-1].append(text)
