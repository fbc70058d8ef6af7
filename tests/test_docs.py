from __future__ import annotations

import re
import runpy
from collections import defaultdict

import pytest
from test_house import PACKAGE, ROOT, ROWS, modules

from pysaslauthd import __version__, config

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*DOCS.rglob("*.md"), *ROOT.glob("*.md")))


def test_the_page_of_keys_is_what_the_code_says() -> None:
    text = (DOCS / "configuration.md").read_text()
    page = runpy.run_path(str(DOCS / "configuration.py"))["page"]
    assert page(text) == text, "stale: run python docs/configuration.py"
    with pytest.raises(ValueError, match="marks"):
        page(text.replace("<!-- keys -->", ""))


def test_every_key_and_alias_is_on_its_page() -> None:
    text = (DOCS / "configuration.md").read_text()
    for name, key in config.KEYS.items():
        for each in (name, *key.aliases):
            assert f"| `{each}`" in text or f", `{each}`" in text


def test_the_rows_that_the_architecture_draws_are_the_real_ones() -> None:
    text = (DOCS / "architecture.md").read_text()
    table = re.search(r"<!-- rows -->(.*)<!-- end of rows -->", text, re.DOTALL)
    assert table
    drawn = {
        int(row): set(re.findall(r"`(\w+)`", names))
        for row, names in re.findall(r"^\| (\d) \| (.*) \|$", table[1], re.MULTILINE)
    }
    real = defaultdict(set)
    for name in {module.partition(".")[0] for module, _ in modules(ROOT)} - {"__init__"}:
        real[ROWS[name]].add(name)
    assert drawn == real


@pytest.mark.parametrize("page", PAGES)
def test_a_page_leads_to_what_is_there(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if not target.startswith("https://"):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_no_key_that_is_none(page: str) -> None:
    known = {each for name, key in config.KEYS.items() for each in (name, *key.aliases)}
    named = set(re.findall(r"\bldap_[a-z_]+", (ROOT / page).read_text()))
    assert named <= known, named - known


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(
        r"^## \[(.*)\] - (unreleased|\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert headings[0][0] == __version__


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


def test_the_shipped_configuration_has_nothing_to_be_warned_of() -> None:
    path = ROOT / PACKAGE / "demo" / "saslauthd.conf"
    assert config.parse(path.read_bytes(), str(path)).warnings == ()


@pytest.mark.parametrize("page", ["README.md", f"{PACKAGE}/demo/saslauthd.conf"])
def test_a_configuration_that_is_shown_can_be_used(page: str) -> None:
    lines = re.findall(r"^ *(?:# +)?(ldap_\w+: .*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert len(lines) > 6
    settings, *_ = config.parse("\n".join(lines).encode(), page)
    assert settings.filter == "(&(objectclass=mailRecipient)(mail=%U@%d))"
