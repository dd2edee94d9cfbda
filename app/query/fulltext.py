"""Four ways of writing a full-text query -> one small tree. Pure, iterative.

    fts.async & (loops | !django) & 'event loop' & prog:*        wfts."event loop" -django or trio

Words are what stands between SEPARATORS, in NFC. Source: dialect 1.8 and PostgreSQL's `to_tsquery`, `plainto_tsquery`,
`phraseto_tsquery` and `websearch_to_tsquery`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from app.errors import BadQuery

LONGEST = 500  # characters of a query: a word is at most 2,000 bytes then, and PostgreSQL takes 2,046
WORDS = 64
DEPTH = 16  # open parentheses
LANGUAGES = (None, "simple", "english")

# What parts words, as ranges that Python and PostgreSQL read alike. PostgreSQL's column `search` was made with the same
# ones (migrations/search_objects.py; a test compares): its own parser would make one word of `example.com` or of `3-4`.
SEPARATORS = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    r"\u02c2-\u02c5\u02d2-\u02df\u0589-\u058f\u05be\u05f3-\u060f\u061b-\u061f\u066a-\u066d\u06d4\u0964-\u0965"
    r"\u2000-\u206f\u207a-\u207e\u208a-\u208e\u20a0-\u20c0\u2190-\u244a\u249c-\u24e9\u2500-\u2775\u2794-\u2bff"
    r"\u2e00-\u2e2e\u2e30-\u3004\u3008-\u3020\u3030\u303d-\u303f\u30a0\u30fb\ue000-\uf8ff\ufe10-\ufe19\ufe30-\ufe6b"
    r"\ufeff-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffff\U0001f000-\U0001faff"
)
PARTING = re.compile(f"[{SEPARATORS}]+")

# ---- the tree -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words in a row, often one alone. With `prefix` the last is only the beginning of a word."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    term: Phrase | And | Or


@dataclass(frozen=True, slots=True)
class And:
    terms: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Or:
    terms: tuple[Tree, ...]


Tree = Phrase | Not | And | Or


# ---- reading --------------------------------------------------------------------------------------------------------


def tree_of(operator: str, text: str, language: str | None) -> Tree | None:
    """The operand of `fts`, `plfts`, `phfts` or `wfts`; None where it holds no word.

    Raises BadQuery: 42704 for a language, 42601 for bad syntax, 54000 over the limits.
    """
    if language not in LANGUAGES:
        hint = "Leave the language out: there is one configuration, without stemming."
        raise BadQuery(f'text search configuration "{language}" does not exist', code="42704", hint=hint)
    if len(text) > LONGEST:  # before: the time of normalising grows with the square of the marks in a row
        raise _too_much(f"a full-text query has at most {LONGEST} characters")
    tree = _read(operator, unicodedata.normalize("NFC", text))
    if sum(1 for _ in _phrases(tree)) > WORDS:
        raise _too_much(f"a full-text query has at most {WORDS} words")
    return tree


def _read(operator: str, text: str) -> Tree | None:
    match operator:
        case "plfts":
            return _joined(And, [Phrase((word,)) for word in _words(text)])
        case "phfts":
            return _phrase(text)
        case "wfts":
            return _websearch(text)
        case _:
            return _TsQuery(text).read()


def _words(text: str) -> list[str]:
    return [word for word in PARTING.split(text) if word]


def _phrase(text: str, *, prefix: bool = False) -> Phrase | None:
    words = tuple(_words(text))
    return Phrase(words, prefix) if words else None


def _phrases(tree: Tree | None) -> Iterator[str]:
    match tree:
        case Phrase(words):
            yield from words
        case Not(term):
            yield from _phrases(term)
        case And(terms) | Or(terms):
            for each in terms:
                yield from _phrases(each)


def _not(term: Tree | None) -> Tree | None:
    if term is None:
        return None
    return term.term if isinstance(term, Not) else Not(term)


def _joined(kind: type[And] | type[Or], terms: Iterable[Tree | None]) -> Tree | None:
    """A term without words is left out, as PostgreSQL leaves out stop words; equal operators become one level."""
    kept: list[Tree] = []
    for term in terms:
        if isinstance(term, kind):
            kept += term.terms
        elif term is not None:
            kept.append(term)
    return kind(tuple(kept)) if len(kept) > 1 else kept[0] if kept else None


WEB = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')

OR = re.compile(f"[{SEPARATORS}]*or[{SEPARATORS}]*", re.IGNORECASE)


def _websearch(text: str) -> Tree | None:
    """As typed into a search box: never a syntax error. `or` between two terms binds less than what stands side by
    side; anywhere else it is a word.
    """
    chunks = [(sign, quoted, plain) for sign, quoted, plain in WEB.findall(text) if _words(quoted or plain)]
    branches: list[list[Tree | None]] = [[]]
    for number, (sign, quoted, plain) in enumerate(chunks, 1):
        if OR.fullmatch(plain) and not sign and branches[-1] and number < len(chunks):
            branches.append([])
            continue
        term = _phrase(quoted or plain)
        branches[-1].append(_not(term) if sign else term)
    return _joined(Or, [_joined(And, branch) for branch in branches])


# ---- PostgreSQL's own syntax ----------------------------------------------------------------------------------------

TOKEN = re.compile(
    r"\s*(?:(?P<sign>[&|!()])|<(?P<distance>-|\d+)>|'(?P<quoted>(?:[^'\\]|''|\\.)*)'|(?P<plain>[^\s&|!()<>:']"
    r"[^\s&|!()<>:]*))(?P<flags>:[*A-Da-d]*)?",
    re.DOTALL,
)
BINDING = {"|": 1, "&": 2, "<->": 3, "!": 4}


class _TsQuery:
    """Operators by precedence, with two stacks: `|`, `&`, `<->`, `!`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.terms: list[Tree | None] = []
        self.operators: list[str] = []

    def read(self) -> Tree | None:
        if not self.text.strip():
            return None
        at, open_, behind = 0, 0, False  # whether a term stands to the left
        end = len(self.text.rstrip())
        while at < end:
            found = TOKEN.match(self.text, at)
            if found is None:
                self.refuse()
            at = found.end()
            sign = "<->" if found["distance"] else found["sign"]
            opens = sign in ("!", "(", None)
            if opens is behind or (sign is not None and found["flags"]):
                self.refuse()
            if found["distance"] not in (None, "-", "1"):
                _not_available(f"the distance <{found['distance']}> between words")
            match sign:
                case None:
                    self.terms.append(_operand(found))
                case "(":
                    open_ += 1
                    self.operators.append("(")
                case ")":
                    open_ -= 1
                    self.close()
                case _:
                    self.push(sign)
            behind = sign in (None, ")")
            if open_ > DEPTH:
                raise _too_much(f"a full-text query has at most {DEPTH} levels")
        if not behind:
            self.refuse("no operand")
        if open_:
            self.refuse()
        while self.operators:
            self.apply()
        (tree,) = self.terms
        return tree

    def push(self, sign: str) -> None:
        if sign != "!":
            while self.operators and BINDING.get(self.operators[-1], 0) >= BINDING[sign]:
                self.apply()
        elif self.operators[-1:] == ["!"]:  # twice is not at all
            self.operators.pop()
            return
        self.operators.append(sign)

    def close(self) -> None:
        while self.operators and self.operators[-1] != "(":
            self.apply()
        if not self.operators:
            self.refuse()
        self.operators.pop()

    def apply(self) -> None:
        sign = self.operators.pop()
        right = self.terms.pop()
        match sign:
            case "!":
                self.terms.append(_not(right))
            case "<->":
                self.terms.append(_in_a_row(self.terms.pop(), right))
            case _:
                self.terms.append(_joined(And if sign == "&" else Or, [self.terms.pop(), right]))

    def refuse(self, what: str = "syntax error") -> NoReturn:
        raise BadQuery(f'{what} in tsquery: "{self.text}"', code="42601", hint="wfts takes words as typed.")


def _operand(found: re.Match[str]) -> Tree | None:
    flags = found["flags"] or ""
    if flags.strip(":*"):
        _not_available("a weight behind a word")
    quoted = found["quoted"]
    text = found["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted.replace("''", " "), flags=re.DOTALL)
    return _phrase(text, prefix="*" in flags)


def _in_a_row(left: Tree | None, right: Tree | None) -> Tree | None:
    if left is None or right is None:
        return right if left is None else left
    if not (isinstance(left, Phrase) and isinstance(right, Phrase)) or left.prefix:
        _not_available("<-> between anything but whole words")
    return Phrase(left.words + right.words, right.prefix)


def _not_available(what: str) -> NoReturn:
    raise BadQuery("Feature not implemented", code="PGRST127", details=f"{what} is not available")


def _too_much(message: str) -> BadQuery:
    return BadQuery(message, code="54000")
