"""A listening UNIX socket: made or adopted, accepted from without ever stopping, removed only if it is ours."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import stat
import struct
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager, suppress

from pysaslauthd.errors import StartError
from pysaslauthd.model import Peer

MAX_CONNECTIONS = 4096
"""Most connections open at once on one listener. Each costs a descriptor and at most one request of memory;
a mail server with more logins waiting than this has a problem that more waiting does not solve."""

BACKLOG = 4096
"""Connections that the kernel holds until they are accepted; it lowers this to net.core.somaxconn."""

ACCEPTS_PER_WAKE = 64
"""Most connections accepted before the event loop's other work gets its turn: about 1 ms."""

ACCEPT_PAUSE = 0.1
"""Seconds without accepting after accept failed, so that the open connections can end and give back what ran out."""

_LONGEST_PATH = 107  # sockaddr_un.sun_path without its final NUL (unix(7))
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)
# Plain integers: the socket module's own are members of an enum, which cost more than the calls they go into.
_AF_UNIX = int(socket.AF_UNIX)
_SOCK_STREAM = int(socket.SOCK_STREAM)
_SOL_SOCKET = int(socket.SOL_SOCKET)
_SO_PEERCRED = int(getattr(socket, "SO_PEERCRED", 17))  # the number on x86 and Arm; PyPy 7.3.19 lacks the name

logger = logging.getLogger(__name__)


def peer_of(connection: socket.SocketType) -> Peer:
    """The process that made this connection, as it was then (unix(7), SO_PEERCRED)."""
    # Not Peer(*…), which is a call of Python: this is done for every login.
    return tuple.__new__(Peer, _PEER.unpack(connection.getsockopt(_SOL_SOCKET, _SO_PEERCRED, _PEER.size)))


def bind(path: str, *, mode: int = 0o777, owner: int = -1, group: int = -1) -> Listener:
    """Make a listening socket at ``path``; its folder too (0755) where only that is missing.

    A socket that nobody listens on any more is replaced. Two daemons that start at the same moment on the
    same path are not told apart here: that is what the process-id file's lock is for.

    :param mode: permission bits. It never has any others, and accepts nothing before owner and group are set.
    :param owner: numeric user id, -1 to leave it.
    :param group: numeric group id, -1 to leave it.
    :raises StartError: the path is too long, in use by a living daemon, not a socket, or not permitted.
        Nothing has been deleted then.
    """
    length = len(os.fsencode(path))
    if length > _LONGEST_PATH:
        raise StartError(f"{path}: the path of a socket can have {_LONGEST_PATH} bytes, this one has {length}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made = None
    try:
        _make_folder(os.path.dirname(path))
        _remove_stale(path)
        with _umask(0o777 & ~mode):
            listening.bind(path)
        made = _file_id(path)
        if (owner, group) != (-1, -1):
            os.chown(path, owner, group)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        _remove_if_same(path, made)
        raise StartError(f"{path}: cannot make the socket: {error.strerror}") from error
    except StartError:
        listening.close()
        raise
    return Listener(listening, path, made)


def adopt(descriptor: int) -> Listener:
    """Take over a socket that already listens, as systemd passes it (sd_listen_fds(3)).

    It stays open elsewhere, so its path is left alone and what waits on it at the stop is the next daemon's.

    :raises StartError: the descriptor is not a listening UNIX stream socket.
    """
    try:
        listening = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartError(f"descriptor {descriptor}: not a socket: {error.strerror}") from error
    if (
        listening.family != socket.AF_UNIX
        or listening.type != socket.SOCK_STREAM
        or not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        listening.detach()
        raise StartError(f"descriptor {descriptor}: not a listening UNIX stream socket")
    listening.set_inheritable(False)
    name = listening.getsockname()
    return Listener(listening, name if isinstance(name, str) else os.fsdecode(name), None)


def one_by_one(serve: Callable[[socket.socket], None]) -> Callable[[list[socket.SocketType]], None]:
    """For :meth:`Listener.start`, where asyncio serves: each on its own, not blocking, in the class it wants."""

    def serve_all(accepted: list[socket.SocketType]) -> None:
        for each in accepted:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, each.detach())
            client.setblocking(False)
            serve(client)

    return serve_all


class Listener:
    """A listening socket and its accepting; made by :func:`bind` or :func:`adopt`.

    ``path`` is the socket's, for messages; ``refused`` counts the connections that were closed at once.
    """

    def __init__(self, listening: socket.socket, path: str, made: tuple[int, int] | None) -> None:
        listening.setblocking(False)
        self.path = path
        self.refused = 0
        self._socket = listening
        self._made = made
        waiting = select.poll()
        waiting.register(listening, select.POLLIN)
        self._waiting = waiting.poll
        self._started = False
        self._pause: asyncio.TimerHandle | None = None
        self._failing = False
        self._full = False

    def start(
        self,
        serve: Callable[[list[socket.SocketType]], None],
        connections: Sized,
        *,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """Accept on the running event loop from now on.

        :param serve: is given the connections that were accepted together and owns them from then on. They are in
            blocking mode, since that saves a system call: use MSG_DONTWAIT.
        :param connections: those that are open; only its length is read.
        :param max_connections: while that many are open, further ones are closed at once.
        """
        self._serve = serve
        self._connections = connections
        self._max_connections = max_connections
        self._started = True
        self._resume()

    def stop(self) -> None:
        """Accept what has connected already, then no more; remove the socket if it is still the one made here.

        May be called again, and without a start.
        """
        if self._socket.fileno() < 0:
            return
        try:
            _remove_if_same(self.path, self._made)
        except OSError as error:
            logger.warning("%s: cannot remove the socket: %s", self.path, error.strerror)
        if self._started:
            asyncio.get_running_loop().remove_reader(self._socket)
            if self._made is not None:
                # Nobody else will ever answer those who connected before the path was gone.
                while self._accept():
                    pass
        if self._pause is not None:
            self._pause.cancel()
        self._socket.close()

    def _accept(self) -> bool:
        """Serve who waits, all at once, until nobody does or the event loop's other work has its turn: then True."""
        connections, room = self._connections, self._max_connections
        if self._full:
            self._full = 2 * len(connections) >= room
        left = ACCEPTS_PER_WAKE
        while left > 0:
            # As many as there is room for: by the time that these are served, some of them have ended.
            accepted = self._accepted(min(left, max(room - len(connections), 1)))
            if not accepted:
                return False
            left -= len(accepted)
            if len(connections) < room:
                self._serve(accepted)
            else:
                self._refuse(accepted)
            if not self._waiting(0):
                if self._failing:
                    self._failing = False
                    logger.info("%s: accepting again", self.path)
                return False
        return True

    def _accepted(self, most: int) -> list[socket.SocketType]:
        """The next connections; none where nobody waits, or accepting fails and rests."""
        # What socket.accept() itself calls. The rest of it, a Python object around the connection with two
        # enum members inside, would cost an eighth of a cached login.
        accept = self._socket._accept  # type: ignore[attr-defined]  # not public, but in every Python since 3.0
        connection = socket.SocketType
        accepted: list[socket.SocketType] = []
        # To accept where nobody waits costs 8 µs, since the kernel makes a socket first; to ask it, half of one.
        while len(accepted) < most and (not accepted or self._waiting(0)):
            try:
                accepted.append(connection(_AF_UNIX, _SOCK_STREAM, 0, accept()[0]))
            except BlockingIOError:
                break
            except OSError as error:
                # Where descriptors lack, those of the connections accepted so far may soon be free.
                if not accepted:
                    self._rest(error)
                break
        return accepted

    def _rest(self, error: OSError) -> None:
        # EMFILE, ENFILE, ENOBUFS, ENOMEM, or something unheard of: the socket stays readable, so asking again
        # at once would only burn the processor. One line per episode, which ends when nobody waits any more.
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        self._pause = loop.call_later(ACCEPT_PAUSE, self._resume)
        if not self._failing:
            self._failing = True
            logger.error("%s: cannot accept: %s; trying again every %g s", self.path, error.strerror, ACCEPT_PAUSE)

    def _resume(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _refuse(self, accepted: list[socket.SocketType]) -> None:
        for connection in accepted:
            connection.close()
        self.refused += len(accepted)
        if not self._full:
            self._full = True
            logger.error("%s: %d connections are open; closing new ones", self.path, self._max_connections)


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _make_folder(folder: str) -> None:
    if folder and not os.path.isdir(folder):
        with _umask(0o022):
            os.mkdir(folder, 0o755)


def _remove_stale(path: str) -> None:
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        raise StartError(f"{path}: is not a socket; move it away or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(path)
        except ConnectionRefusedError:
            _remove_if_same(path, (there.st_dev, there.st_ino))
            return
        except BlockingIOError:
            who = "a process whose backlog is full"
        else:
            who = f"process {peer_of(client).pid}"
    raise StartError(f"{path}: {who} listens on it already; stop that daemon or choose another path")


def _file_id(path: str) -> tuple[int, int]:
    there = os.lstat(path)
    return there.st_dev, there.st_ino


def _remove_if_same(path: str, file_id: tuple[int, int] | None) -> None:
    with suppress(FileNotFoundError):
        if file_id == _file_id(path):
            os.unlink(path)
