"""The house: who may import whom, where third parties may be used, how long a module may be.

Each rule is tried on the package, and on a small planted package that breaks it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "pysaslauthd"

# A module imports only from rows below its own, and from its own package.
ROWS = {
    "__main__": 8,
    "cli": 7,
    "daemon": 6,
    "inspection": 6,
    "server": 5,
    "mechanisms": 5,
    "auth": 4,
    "directory": 4,
    "wire": 3,
    "passwords": 3,
    "cache": 3,
    "pace": 3,
    "throttle": 3,
    "metrics": 3,
    "log": 3,
    "systemd": 3,
    "detach": 3,
    "privileges": 3,
    "config": 3,
    "errors": 2,
    "questions": 2,
    "model": 1,
    "flow": 1,
    "fingerprint": 1,
    "freshness": 1,
    "__init__": 0,
}
FENCES = {
    "ldap3": ("wire.ldap", "directory"),
    "pyasn1": ("wire.ldap", "directory"),  # ldap3's own codec
    "cachetools": ("cache",),
    "click": ("cli",),
    "argon2": ("passwords",),
    "dns": ("directory.srv",),
    "prometheus_client": ("server.exposition",),
    "h11": ("server.metrics",),
}
MOST_LINES = 300
# Paths under these are somebody's machine; files that a package installs lie elsewhere.
MACHINE = re.compile(r"(?<![\w.$}])/(?:root|home/\w+|Users/\w+|work)/")


class Import(NamedTuple):
    """One import: the importing module and the imported one, without the package's name where it is ours."""

    module: str
    imported: str
    ours: bool
    where: str


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Name within the package, and file."""
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root / PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts), path


def imports(root: Path) -> Iterator[Import]:
    for module, path in modules(root):
        tree = ast.parse(path.read_text(), str(path))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: a relative import"
                source = node.module or ""
                # ``from pysaslauthd import model`` imports a module, ``from pysaslauthd import __version__`` does not.
                names = [f"{source}.{alias.name}" for alias in node.names] if source == PACKAGE else [source]
            else:
                continue
            for name in names:
                top, _, rest = name.partition(".")
                ours = top == PACKAGE
                if ours and rest.partition(".")[0] not in ROWS:
                    rest = "__init__"
                yield Import(module, rest if ours else top, ours, f"{path.relative_to(root)}:{node.lineno}")


def row_faults(root: Path) -> list[str]:
    faults = [f"{module} has no row" for module, _ in modules(root) if module.partition(".")[0] not in ROWS]
    for found in imports(root):
        mine, theirs = found.module.partition(".")[0], found.imported.partition(".")[0]
        if not found.ours or mine == theirs or mine not in ROWS:
            continue
        if ROWS[theirs] >= ROWS[mine]:
            faults.append(f"{found.where}: {mine} (row {ROWS[mine]}) imports {theirs} (row {ROWS[theirs]})")
    return faults


def fence_faults(root: Path) -> list[str]:
    faults = []
    for found in imports(root):
        if found.ours or found.imported in sys.stdlib_module_names:
            continue
        allowed = FENCES.get(found.imported, ())
        if not any(found.module == place or found.module.startswith(place + ".") for place in allowed):
            faults.append(f"{found.where}: {found.imported} outside {' and '.join(allowed) or 'any fence'}")
    return faults


def length_faults(root: Path) -> list[str]:
    lengths = [(path, len(path.read_text().splitlines())) for _, path in modules(root)]
    return [f"{path.relative_to(root)}: {lines} lines" for path, lines in lengths if lines > MOST_LINES]


def path_faults(root: Path) -> list[str]:
    folders = (PACKAGE, "tests", "scripts", "systemd", "docs", ".ci")
    files = [path for folder in folders for path in (root / folder).rglob("*") if "__pycache__" not in path.parts]
    files += [path for path in root.glob("*") if path.suffix in {".md", ".toml", ".lock"}]
    return [
        f"{path.relative_to(root)}: {found.group()}"
        for path in files
        if path.is_file()
        for found in MACHINE.finditer(path.read_text(errors="replace"))
    ]


RULES = {"rows": row_faults, "fences": fence_faults, "lengths": length_faults, "paths": path_faults}


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps_its_rule(rule: str) -> None:
    assert RULES[rule](ROOT) == []


@pytest.mark.parametrize(
    ("rule", "file", "text", "fault"),
    [
        ("rows", "model.py", "from pysaslauthd.wire import mux", "model (row 1) imports wire (row 3)"),
        ("rows", "server/mux.py", "import pysaslauthd.mechanisms.ldap", "server (row 5) imports mechanisms (row 5)"),
        ("rows", "auth.py", "def f():\n    from pysaslauthd import daemon", "auth (row 4) imports daemon (row 6)"),
        ("rows", "wire/a.py", "if TYPE_CHECKING:\n    from pysaslauthd.auth import A", "wire (row 3) imports auth"),
        ("rows", "model.py", "from pysaslauthd.errors import StartError", "model (row 1) imports errors (row 2)"),
        ("rows", "helpers.py", "", "helpers has no row"),
        ("fences", "auth.py", "import ldap3.utils.conv", "ldap3 outside wire.ldap and directory"),
        ("fences", "wire/ldapish.py", "from ldap3 import Server", "ldap3 outside wire.ldap and directory"),
        ("fences", "daemon.py", "import click", "click outside cli"),
        ("fences", "auth.py", "from cachetools import TTLCache", "cachetools outside cache"),
        ("fences", "auth.py", "import requests", "requests outside any fence"),
        ("lengths", "model.py", "\n" * 301, "model.py: 301 lines"),
        ("paths", "model.py", "FOLDER = '/" + "home/somebody/x'", "somebody/"),
    ],
)
def test_a_planted_fault_is_found(rule: str, file: str, text: str, fault: str, tmp_path: Path) -> None:
    planted = tmp_path / PACKAGE / file
    planted.parent.mkdir(parents=True)
    planted.write_text(text + "\n" if text.strip() else text)
    (found,) = RULES[rule](tmp_path)
    assert fault in found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("errors.py", "if TYPE_CHECKING:\n    from pysaslauthd.model import Reason"),
        (
            "server/mux.py",
            "from pysaslauthd.server.listener import Listener\nfrom pysaslauthd import auth, __version__",
        ),
        ("wire/ldap/search.py", "import ldap3.protocol"),
        ("wire/ldap.py", "import ldap3.protocol\nimport asyncio.events"),
    ],
)
def test_what_is_allowed_is_no_fault(file: str, text: str, tmp_path: Path) -> None:
    planted = tmp_path / PACKAGE / file
    planted.parent.mkdir(parents=True)
    planted.write_text(text + "\n")
    assert [rule(tmp_path) for rule in RULES.values()] == [[], [], [], []]
