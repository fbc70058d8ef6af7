"""The test rig: real programs, and one fake, that tests start and own.

Everything listens on loopback ports or sockets in a folder of its own, is waited for by what it answers,
and is ended by its process id. ``rig.people`` says who lives in the directories.
"""

from rig.authority import Authority, Certificate
from rig.daemon import Daemon
from rig.directory import DirectoryServer
from rig.ds389 import Ds389
from rig.mux import MuxServer, Probe, probe
from rig.people import article
from rig.programs import MissingProgram, Program, find
from rig.saslauthd import Saslauthd
from rig.slapd import Slapd

__all__ = [
    "Authority",
    "Certificate",
    "Daemon",
    "DirectoryServer",
    "Ds389",
    "MissingProgram",
    "MuxServer",
    "Probe",
    "Program",
    "Saslauthd",
    "Slapd",
    "article",
    "find",
    "probe",
]
