"""One target under atheris: ``python -m fuzz.harness TARGET [ARGUMENT OF LIBFUZZER...]``. Ends at the first finding."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main() -> None:
    """Fuzz until libFuzzer has enough."""
    atheris: Any = importlib.import_module("atheris")  # installed by scripts/fuzz alone, and without types
    target, *arguments = sys.argv[1:]
    # Before anything of ours, ldap3's and pyasn1's is imported: imports are what gets the counters.
    with atheris.instrument_imports(include=["pysaslauthd", "ldap3", "pyasn1"]):
        targets = importlib.import_module("fuzz.targets")
    atheris.Setup([sys.argv[0], *arguments], targets.TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
