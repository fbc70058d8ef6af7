"""This project's own daemon, as a process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

import pysaslauthd
from rig.mux import MuxServer
from rig.programs import Program, folder
from rig.saslauthd import conf_text

ROOT = Path(__file__).resolve().parents[2]
"""The clone."""

ENVIRONMENT = {
    "PYTHONPATH": str(Path(pysaslauthd.__file__).parents[1]),
    # pyasn1 >= 0.6.1 warns of its own old names when ldap3 imports them; otherwise a warning is an error
    "PYTHONWARNINGS": "error,ignore:tagMap is deprecated,ignore:typeMap is deprecated",
    **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
}
"""For a process that runs the very package that is tested, be it the clone's or an installed one, and that is measured
where the tests are.
"""


class Daemon(MuxServer):
    """``python -m pysaslauthd -f -a ldap`` in a folder of its own."""

    python: ClassVar[str] = sys.executable
    """The interpreter; the benchmark may take another one."""

    def __init__(self, folder: Path, program: Program) -> None:
        self.folder = folder
        self.program = program
        self.mux = folder / "mux"
        self.conf = folder / "saslauthd.conf"

    @classmethod
    @contextmanager
    def running(
        cls,
        conf: Mapping[str, str] | str,
        *flags: str,
        files: Mapping[str, str | bytes] | None = None,
        within: Sequence[str] = (),
    ) -> Iterator[Self]:
        """Start it with a configuration and further flags, wait until its mux accepts, end it when the context ends.

        :param files: further files to write into the daemon's folder first, or into folders in it. In all texts,
            ``{folder}`` is that folder.
        :param within: a command that starts the daemon's, by becoming it.
        """
        with folder("daemon") as path:
            for name, content in (files or {}).items():
                (path / name).parent.mkdir(exist_ok=True)
                text = content.replace("{folder}", str(path)).encode() if isinstance(content, str) else content
                (path / name).write_bytes(text)
            file = path / "saslauthd.conf"
            file.write_text(conf_text(conf).replace("{folder}", str(path)))
            command = [cls.python, "-m", "pysaslauthd", "-f", "-a", "ldap", "-O", file, "-m", path]
            program = Program(
                [*command, *(flag.replace("{folder}", str(path)) for flag in flags)],
                log=path / "log",
                ready=lambda: any(said in program.said for said in (": serving ", ':"serving ')),
                env=ENVIRONMENT,
            ).within(*within)
            program.start()
            try:
                yield cls(path, program)
            finally:
                program.stop()
