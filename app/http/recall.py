"""What was made of requests before and serves those that come after, all of it bounded."""

from __future__ import annotations

from typing import Any

from app.query.driver import Lru, Size
from app.query.parser import Parser
from app.settings import Limits


class Plans:
    """`exact` ones by the query string as it stands and all that its meaning depends on, `shapes` by its shape, whose
    values are read anew. `apart` are those whose documents were too heavy or too slow to be read together.
    """

    def __init__(self, limits: Limits) -> None:
        self.parse = Parser(limits, limits.shapes)
        self.exact: Lru[Any] = Lru(limits.shapes)
        self.shapes: Lru[Any] = Lru(limits.shapes)
        self.apart: Lru[bool] = Lru(limits.shapes)

    def sizes(self) -> dict[str, Size]:
        parsed = {f"parsed {name}": size for name, size in self.parse.sizes().items()}
        own = {"plans": self.exact.size(), "plans by shape": self.shapes.size(), "apart": self.apart.size()}
        return own | parsed
