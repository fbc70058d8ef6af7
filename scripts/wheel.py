"""Takes the manual pages into a wheel, where scripts/docs has built them: to share/man of wherever it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPages(BuildHookInterface[Any]):
    """hatchling's hook."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the pages to the files of the wheel; hatchling calls it."""
        if version == "editable":
            return
        for page in sorted(Path(self.root, "docs/_build/man").glob("man?/*")):
            build_data["shared_data"][str(page)] = f"share/man/{page.parent.name}/{page.name}"
