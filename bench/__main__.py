"""`python -m bench [--quick]`: prints the tables of all benchmarks."""

from __future__ import annotations

import argparse

from bench import parse

QUICK, FULL = 0.3, 2.0  # seconds a row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Prints the tables of all benchmarks.")
    parser.add_argument("--quick", action="store_true", help="the short form, a few seconds in all")
    seconds = QUICK if parser.parse_args().quick else FULL
    print(parse.run(seconds))


if __name__ == "__main__":
    main()
