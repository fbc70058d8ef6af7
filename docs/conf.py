"""Sphinx's settings: the pages as HTML and as manual pages. ``scripts/docs`` builds both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pysaslauthd import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "pysaslauthd"
release = version = __version__
language = "en"

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True
smartquotes = False  # "--json" is an option, not a dash

html_theme = "furo"
html_title = f"pysaslauthd {release}"
html_show_sourcelink = False

_PROGRAMS = {
    "pysaslauthd.8": "answer saslauthd's clients from an LDAP directory",
    "testpysaslauthd.8": "ask saslauthd or pysaslauthd whether a login is right",
    "pysaslauthctl.8": "look after pysaslauthd",
    "pysaslauthd.conf.5": "configuration of pysaslauthd",
}
man_pages = [(f"reference/{page}", page[:-2], description, "", page[-1]) for page, description in _PROGRAMS.items()]
man_make_section_directory = True

_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:]+)[^)]*\)")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _unlink)


def _unlink(app: Sphinx, page: str, source: list[str]) -> None:
    """Leave the text alone of links to folders and to files beside docs: the pages are read without the clone, too."""
    docs = Path(app.srcdir)

    def unlinked(link: re.Match[str]) -> str:
        target = (docs / page).parent.joinpath(link[2]).resolve()
        return link[0] if target.is_file() and target.is_relative_to(docs) else link[1]

    source[0] = _LINK.sub(unlinked, source[0])
