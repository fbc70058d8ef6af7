"""The real saslauthd, to compare with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rig.mux import MuxServer
from rig.programs import Program, answers, find, folder


def conf_text(conf: Mapping[str, str] | str) -> str:
    """saslauthd.conf from key to value; a text passes unchanged."""
    return conf if isinstance(conf, str) else "".join(f"{key}: {value}\n" for key, value in conf.items())


class Saslauthd(MuxServer):
    """saslauthd -a ldap in a folder of its own."""

    def __init__(self, folder: Path, program: Program) -> None:
        self.folder = folder
        self.program = program
        self.mux = folder / "mux"

    @classmethod
    @contextmanager
    def running(cls, conf: Mapping[str, str] | str, *flags: str) -> Iterator[Self]:
        """Start it with a configuration and further flags; it is ended when the context ends."""
        with folder("saslauthd") as path:
            file = path / "saslauthd.conf"
            file.write_text(conf_text(conf))
            # -d is the only way for 2.1.28 to stay in the foreground.
            command = [find("saslauthd"), "-d", "-a", "ldap", "-O", file, "-m", path, "-n", "2", *flags]
            program = Program(command, log=path / "log", ready=lambda: answers(path / "mux"))
            program.start()
            try:
                yield cls(path, program)
            finally:
                program.stop()
