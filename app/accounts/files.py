"""Files of secrets: readable by their owner alone, complete or absent."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_once(path: Path, content: bytes) -> None:
    """The file appears complete or not at all, and never in place of another: a hard link refuses an existing name.
    Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = _written(path, content)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)


def replace(path: Path, content: bytes) -> None:
    """The new content in place of the old, at once. Raises OSError, and then leaves nothing behind."""
    name = _written(path, content)
    try:
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise


def _written(path: Path, content: bytes) -> str:
    """A complete file beside this one, on the disk."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # O_EXCL, mode 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return name
