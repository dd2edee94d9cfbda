"""`python -m bench.hashing SECONDS`: how often two threads verify a password, with nothing around them. What signing in
can reach at most.
"""

from __future__ import annotations

import json
import sys
import threading
from time import perf_counter, process_time

from argon2 import PasswordHasher

from app.accounts.passwords import MOST_THREADS
from bench.data import PASSWORD, PASSWORD_HASH


def main() -> None:
    until = perf_counter() + float(sys.argv[1])
    began, used = perf_counter(), process_time()
    latencies: list[float] = []
    threads = [threading.Thread(target=_verify, args=(until, latencies)) for _ in range(MOST_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump({"seconds": perf_counter() - began, "cpu": process_time() - used, "latencies": latencies}, sys.stdout)


def _verify(until: float, latencies: list[float]) -> None:
    hasher = PasswordHasher()  # the parameters stand in the hash
    while (now := perf_counter()) < until:
        hasher.verify(PASSWORD_HASH, PASSWORD)
        latencies.append(perf_counter() - now)


if __name__ == "__main__":
    main()
