"""Every exception of the package, in one tree.

::

    PysaslauthdError
    ├── ConfigError            a configuration that cannot be used; exit status 2
    ├── StartError             the daemon cannot start here and now; exit status 1
    ├── ProtocolError          a peer broke its protocol; that connection ends, no other
    ├── CommandError           a command of the control socket is not done; its client is told why
    ├── StoredPasswordError    a stored password value that cannot be checked
    └── DirectoryError         the directory gave no usable answer: always UNAVAILABLE
        ├── ConnectionLost     the connection broke under the request; it may be asked again
        ├── DirectoryTimeout   no answer within the operation's time-out
        ├── DirectoryOverloaded  more is asked than the directory answers in time
        ├── DirectoryDown      no server can be reached
        └── DirectoryRefused   a result code that says nothing about the user
            └── ServiceBindRefused   the service account itself was refused

A library's exceptions end at the module that adapts the library; nothing outside sees them.
No message ever holds a password.
"""

from __future__ import annotations

import os
import traceback

from pysaslauthd.model import Reason


class PysaslauthdError(Exception):
    """Root of the tree."""


class ConfigError(PysaslauthdError):
    """A configuration value that cannot be used.

    :param reason: what is wrong and what to do, one line.
    :param file: path of the file, or None for a command line.
    :param line: line number from 1, or None where the whole file is meant.
    :param key: the key, or None where no single key is to blame.
    """

    def __init__(
        self, reason: str, *, file: str | None = None, line: int | None = None, key: str | None = None
    ) -> None:
        self.reason = reason
        self.file = file
        self.line = line
        self.key = key
        where = [] if file is None else [file if line is None else f"{file}:{line}"]
        super().__init__(": ".join([*where, *([key] if key else []), reason]))


class StartError(PysaslauthdError):
    """The daemon cannot start: a socket is taken, a folder is missing, a right is lacking."""


class ProtocolError(PysaslauthdError):
    """A peer sent bytes that its protocol does not allow; its connection must be ended."""


class CommandError(PysaslauthdError):
    """A command of the control socket that is not done.

    :param kind: the stable word: ``bad-request``, ``unknown-command``, ``not-permitted`` or ``failed``.
    :param message: why, one line for people.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        self.message = message
        super().__init__(f"{kind}: {message}")


class StoredPasswordError(PysaslauthdError):
    """A stored password value cannot be checked.

    :param reason: the outcome's reason (unknown scheme, malformed value, too costly, no support).
    :param scheme: the scheme's name as found, upper case, without braces; never any of the value.
    :param hint: what to do, where that is known.
    """

    def __init__(self, reason: Reason, scheme: str, hint: str = "") -> None:
        self.reason = reason
        self.scheme = scheme
        self.hint = hint
        super().__init__(f"{reason.value}: {{{scheme}}}" + (f", {hint}" if hint else ""))

    @property
    def detail(self) -> str:
        """Scheme and hint, for an outcome's detail."""
        return f"scheme {self.scheme}" + (f", {self.hint}" if self.hint else "")


class DirectoryError(PysaslauthdError):
    """The directory gave no usable answer. Says nothing about any password."""


class ConnectionLost(DirectoryError):
    """The connection ended or broke before the answer came; asking again is allowed."""


class DirectoryTimeout(DirectoryError):
    """No answer within the operation's time-out.

    :param silent: whether the server said nothing at all meanwhile, and so is hung rather than slow.
    """

    def __init__(self, text: str, *, silent: bool) -> None:
        self.silent = silent
        super().__init__(text)


class DirectoryOverloaded(DirectoryError):
    """More is asked of the directory than it can answer in time. It works; who asks a lot brings this about."""


class DirectoryDown(DirectoryError):
    """No configured server can be reached."""


class DirectoryRefused(DirectoryError):
    """A result code that is about the server or the service account, not about the user.

    :param code: LDAP result code (RFC 4511 section 4.1.9, appendix A).
    :param text: what was asked, and the result as ``wire.ldap.codes`` tells it, for the log.
    """

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class ServiceBindRefused(DirectoryRefused):
    """The directory refused the bind of the service account (ldap_bind_dn, ldap_id)."""


def fault(error: BaseException) -> str:
    """A fault of the program for the log: its kind and where it happened, not its text, which may hold anything."""
    frames = traceback.extract_tb(error.__traceback__)
    where = " ".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in frames)
    return f"internal error: {type(error).__name__} at {where}"
