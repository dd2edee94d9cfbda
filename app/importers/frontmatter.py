"""Front matter of Markdown files: TOML between `+++` lines, YAML between `---` lines.

YAML scalars stay text (`no` is a word, 2019-13-45 a text that the date check refuses), but for null. Refused are
anchors and aliases (a few lines of them expand to gigabytes), deep nesting, and front matter over 64 KiB.
"""

import re
import tomllib
from dataclasses import dataclass

import yaml

from app.importers.records import Refused

SIZE = 64 * 1024  # bytes
_DEPTH = 16
_FIRST_LINE = 2  # of the front matter within the file

_FENCE = re.compile(r"(\+\+\+|---)[ \t]*(?:\n|\Z)")
_CLOSING = {
    "+++": re.compile(r"^\+\+\+[ \t]*$\n?", re.MULTILINE),
    "---": re.compile(r"^(?:---|\.\.\.)[ \t]*$\n?", re.MULTILINE),
}
_TOML_LOCATION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
# A key of 32,000 parts keeps tomllib busy for 19 s (measured on Python 3.11): it is quadratic in the parts.
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){33}""")


@dataclass(frozen=True, slots=True)
class Document:
    """A Markdown file in two parts. `front` is None in a file that begins with no fence."""

    front: dict[str, object] | None
    body: str
    source: str = ""

    def line_of(self, key: str) -> int:
        """The first line of the file that looks like this key of the front matter, else 1."""
        for number, line in enumerate(self.source.split("\n"), _FIRST_LINE):
            if re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[:=]""", line):
                return number
        return 1


def parse(text: str) -> Document:
    """Split a file and read its front matter. Raises Refused with the line of the error."""
    opening = _FENCE.match(text)
    if not opening:
        return Document(None, text)
    closing = _CLOSING[opening[1]].search(text, opening.end())
    if not closing:
        raise Refused(f"the front matter has no closing {opening[1]}", 1)
    source = text[opening.end() : closing.start()]
    if len(source.encode()) > SIZE:
        raise Refused(f"the front matter is larger than {SIZE >> 10} KiB", 1)
    front = _toml(source) if opening[1] == "+++" else _yaml(source)
    return Document(front, text[closing.end() :].lstrip("\n"), source)


def _toml(source: str) -> dict[str, object]:
    long_key = _LONG_KEY.search(source)
    if long_key:
        raise Refused("a key of the front matter has too many parts", _line(source, long_key.start()))
    try:
        return tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        location = _TOML_LOCATION.search(message)
        line = int(location[1]) + _FIRST_LINE - 1 if location and location[1] else _line(source, len(source))
        raise Refused(f"the front matter is no TOML: {_TOML_LOCATION.sub('', message)}", line) from error
    except ValueError as error:  # an integer of more than 4,300 digits
        raise Refused("the front matter is no TOML: a number is out of range") from error
    except RecursionError as error:
        raise Refused("the front matter is nested too deeply") from error


def _yaml(source: str) -> dict[str, object]:
    try:
        front = yaml.load(source, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + _FIRST_LINE if mark else None
        raise Refused(f"the front matter is no YAML: {error.problem or error.context}", line) from error
    except yaml.reader.ReaderError as error:
        raise Refused("the front matter is no YAML: " + error.reason, _line(source, error.position)) from error
    if front is None:
        return {}
    if not isinstance(front, dict):
        raise Refused("the front matter is no table of keys and values", _FIRST_LINE)
    return front


def _line(source: str, position: int) -> int:
    return source.count("\n", 0, position) + _FIRST_LINE


class _Loader(yaml.BaseLoader):
    """Builds text, lists, tables and None, whatever tag a value carries: no document chooses a Python type."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave the parser untyped
        line = event.start_mark.line + _FIRST_LINE if event.start_mark else None
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            raise Refused("anchors and aliases are not allowed in front matter", line)
        if self.depth == _DEPTH:
            raise Refused("the front matter is nested too deeply", line)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _null(loader: yaml.BaseLoader, node: yaml.Node) -> None:
    return None


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_Loader.add_constructor("tag:yaml.org,2002:null", _null)
