"""`scripts/bench`: one benchmark, one JSON object on standard output."""

from __future__ import annotations

import argparse
import json
import signal
import sys

from benchmarks import api, provision, queue
from benchmarks.report import machine

_BENCHMARKS = {"provision": provision, "api": api, "queue": queue}


def main() -> None:
    """Run the benchmark that is named, and print what it found."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure a promise of the platform.")
    commands = parser.add_subparsers(dest="name", required=True)
    for name, module in _BENCHMARKS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        module.add_options(commands.add_parser(name, help=summary, description=summary))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    found = _BENCHMARKS[options.name].run(options)
    json.dump({"benchmark": options.name, **found, "machine": machine()}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
