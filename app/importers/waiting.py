"""Standard input, read so that a program that is told to end does end: a thread that waits for a silent pipe cannot be
stopped from outside.
"""

import io
import os
import select
from typing import Any


class Waiting(io.RawIOBase):
    """The bytes of a descriptor, which stays its owner's. They are at their end when `stop` is called, whoever waits
    for more.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._woken, self._wake = os.pipe()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        ready, _, _ = select.select([self._descriptor, self._woken], [], [])
        if self._woken in ready:
            return 0
        data = os.read(self._descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def stop(self) -> None:
        if not self.closed:
            os.write(self._wake, b".")

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._woken)
            os.close(self._wake)
