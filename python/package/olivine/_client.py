"""A client of the JSON door: one object a line asks, one object a line answers."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
import time
from typing import Any, Iterable, Iterator, Sequence, Union

from .errors import Error, ServerError, Timeout, Unanswered, Unreachable

Data = Union[bytes, bytearray, str]

#: Commands that change nothing, which may be asked twice.
_READS = frozenset(("get", "get_range", "batch_get", "scan", "info", "ping", "stats", "auth"))
#: Codes after which the same may succeed a little later.
_MAY_PASS = frozenset(("busy", "disk_full"))
_PAUSE_FIRST, _PAUSE_MOST = 0.01, 0.5


#: The members that are a key or a value, and those that are lists of them.
_HELD = ("key", "value", "start_key", "end_key", "prefix", "after")
_LISTED = ("keys", "values")


def _is_bytes(value: Any) -> bool:
    return isinstance(value, (bytes, bytearray, memoryview))


def _encoded(value: Any) -> Any:
    """A key or a value in base64; what is JSON otherwise stays as it is."""
    if isinstance(value, str):
        value = value.encode()
    return base64.b64encode(value).decode() if _is_bytes(value) else value


def _line(command: str, members: dict[str, Any]) -> bytes:
    members = {name: value for name, value in members.items() if value is not None}
    listed = [item for name in _LISTED for item in members.get(name, ())]
    if any(map(_is_bytes, listed)) or any(_is_bytes(members.get(name)) for name in _HELD):
        for name in _HELD:
            if name in members:
                members[name] = _encoded(members[name])
        for name in _LISTED:
            if name in members:
                members[name] = [_encoded(item) for item in members[name]]
        members["encoding"] = "base64"
    asked = {"command": command, **members}
    return json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class _Connection:
    def __init__(self, client: Client, ends: float) -> None:
        patience = min(client._connect_timeout, max(ends - time.monotonic(), 0.001))
        at = (client.host, client.port)
        try:
            self._socket = socket.create_connection(at, timeout=patience)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if client._tls is not None:
                self._socket = client._tls.wrap_socket(self._socket, server_hostname=client.host)
        except OSError as error:
            raise Unreachable(
                f"cannot connect to {client.host}:{client.port}: {error}; is the server there? `olivine serve` starts it"
            ) from error
        self._input = bytearray()
        if client._login is not None:
            try:
                _checked(self.ask([_line("auth", client._login)], ends)[0])
            except BaseException:
                self.close()
                raise

    def is_stale(self) -> bool:
        """Whether the server has closed it while nobody asked anything."""
        if self._input:
            return True
        if isinstance(self._socket, ssl.SSLSocket):
            return False
        try:
            self._socket.setblocking(False)
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def ask(self, lines: Sequence[bytes], ends: float) -> list[dict[str, Any]]:
        """Sends lines, as many at a time as sockets hold, and returns the answers."""
        answers: list[dict[str, Any]] = []
        at = 0
        while at < len(lines):
            size, count = 0, 0
            while at + count < len(lines) and (count == 0 or size + len(lines[at + count]) <= 32 << 10):
                size += len(lines[at + count])
                count += 1
            try:
                self._wait(ends)
                self._socket.sendall(b"".join(lines[at : at + count]))
                answers.extend(json.loads(self._next(ends)) for _ in range(count))
            except TimeoutError as error:
                raise Timeout("no answer came in time; a write may have been carried out") from error
            except OSError as error:
                raise Unanswered(
                    f"the connection broke before the answer came ({error}); a write may have been carried out"
                ) from error
            except ValueError as error:
                raise ServerError(f"the answer is none of Olivine's: {error}", "strange") from error
            at += count
        return answers

    def _wait(self, ends: float) -> None:
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def _next(self, ends: float) -> bytes:
        looked_at = 0
        while True:
            end = self._input.find(b"\n", looked_at)
            if 0 <= end:
                line = bytes(self._input[:end])
                del self._input[: end + 1]
                return line
            looked_at = len(self._input)
            self._wait(ends)
            more = self._socket.recv(256 << 10)
            if not more:
                raise ConnectionResetError("it was closed by the server")
            self._input += more

    def close(self) -> None:
        self._socket.close()


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    status = answer.get("status")
    if status in ("ok", "not_found"):
        return answer
    if status != "error":
        raise ServerError(f"the answer is none of Olivine's: its status is {status!r}", "strange")
    message, detail = answer.get("message", ""), answer.get("detail")
    raise ServerError(f"{message}: {detail}" if detail else message, answer.get("code", "failed"))


def _value(answer: dict[str, Any], value: Any) -> Any:
    """A value as it was stored: text, bytes, or what JSON has otherwise."""
    if isinstance(value, str) and answer.get("encoding") == "base64":
        held = base64.b64decode(value)
        try:
            return held.decode()
        except UnicodeDecodeError:
            return held
    return value


class Client:
    """A client of a server, which threads may share.

    Values come back as str where they are text, as bytes where they are not, and as what they are where they were
    stored as JSON. Connections are made when they are needed, kept, and made again when they break. What reads is asked
    again until there is an answer or no time; a write that may have been carried out is not: `Unanswered` or `Timeout`.

    Arguments: `host`, `port`; `timeout`, the seconds that a call may take; `connections_max`; `token`, or `user` and
    `password`; `tls`, True for whom the system trusts, or an `ssl.SSLContext`; `ca`, a file with the certificate of who
    vouches for the server.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 9999,
        *,
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
        connections_max: int = 8,
        token: str | None = None,
        user: str | None = None,
        password: str | None = None,
        tls: bool | ssl.SSLContext = False,
        ca: str | None = None,
    ) -> None:
        if connections_max < 1:
            raise ValueError("`connections_max` is at least 1")
        self.host, self.port = host, int(port)
        self._timeout, self._connect_timeout = timeout, connect_timeout
        self._login: dict[str, Any] | None = None
        if token is not None:
            self._login = {"token": token}
        elif user is not None:
            self._login = {"user": user, "password": password or ""}
        self._tls: ssl.SSLContext | None = None
        if isinstance(tls, ssl.SSLContext):
            self._tls = tls
        elif tls or ca is not None:
            self._tls = ssl.create_default_context(cafile=ca)
        self._idle: list[_Connection] = []
        self._places = threading.BoundedSemaphore(connections_max)
        self._closed = False

    def _with(self, lines: Sequence[bytes], ends: float) -> list[dict[str, Any]]:
        if self._closed:
            raise Error("the client was closed")
        if not self._places.acquire(timeout=max(ends - time.monotonic(), 0)):
            raise Timeout("no connection was free in time; raise `connections_max`")
        try:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = None
            if connection is not None and connection.is_stale():
                connection.close()
                connection = None
            if connection is None:
                connection = _Connection(self, ends)
            try:
                answers = connection.ask(lines, ends)
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
            if self._closed:
                # Closed meanwhile by another thread.
                self.close()
            return answers
        finally:
            self._places.release()

    def _ask(self, command: str, **members: Any) -> dict[str, Any]:
        line, is_read = [_line(command, members)], command in _READS
        ends, pause = time.monotonic() + self._timeout, _PAUSE_FIRST
        while True:
            try:
                return _checked(self._with(line, ends)[0])
            except (Unreachable, Unanswered, ServerError) as error:
                passes = isinstance(error, Unreachable)
                passes |= isinstance(error, ServerError) and error.code in _MAY_PASS
                passes |= is_read and (isinstance(error, Unanswered) or getattr(error, "code", "") == "unavailable")
                if not passes or ends - time.monotonic() <= pause:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _PAUSE_MOST)

    def get(self, key: Data, default: Any = None) -> Any:
        """The value of a key, or `default`."""
        answer = self._ask("get", key=key)
        return default if answer["status"] == "not_found" else _value(answer, answer["value"])

    def put(
        self,
        key: Data,
        value: Any,
        *,
        ttl: float | None = None,
        if_absent: bool = False,
        if_present: bool = False,
        if_revision: str | None = None,
    ) -> bool:
        """Stores a value: text, bytes, or what JSON has otherwise. False if the condition did not hold."""
        try:
            self._ask(
                "put",
                key=key,
                value=value,
                ttl_ms=None if ttl is None else max(1, round(ttl * 1000)),
                if_absent=if_absent or None,
                if_present=if_present or None,
                if_revision=if_revision,
            )
        except ServerError as error:
            if error.code == "condition":
                return False
            raise
        return True

    def delete(self, key: Data) -> bool:
        """Takes a key away, whether or not it is there."""
        self._ask("delete", key=key)
        return True

    def batch_put(self, keys: Iterable[Data], values: Iterable[Any]) -> int:
        """Stores values under keys: all of them or none. How many."""
        keys, values = list(keys), list(values)
        message = self._ask("batch_put", keys=keys, values=values)["message"]
        return int(message.split(" ", 1)[0])

    def batch_get(self, keys: Iterable[Data]) -> list[Any]:
        """The values of keys, in their order, None for those that are not there."""
        answer = self._ask("batch_get", keys=list(keys))
        return [_value(answer, value) for value in answer["values"]]

    def get_range(self, start_key: Data, end_key: Data) -> list[tuple[Any, Any]]:
        """Keys from `start_key` to `end_key`, which both belong to it, with their values."""
        answer = self._ask("get_range", start_key=start_key, end_key=end_key)
        return [(_value(answer, key), _value(answer, value)) for key, value in answer["data"]]

    def scan(
        self,
        start_key: Data | None = None,
        end_key: Data | None = None,
        *,
        prefix: Data | None = None,
        reverse: bool = False,
        page: int = 1000,
    ) -> Iterator[tuple[Any, Any]]:
        """Goes through keys with their values, a page at a time."""
        after: Data | None = None
        while True:
            answer = self._ask(
                "scan",
                start_key=start_key,
                end_key=end_key,
                prefix=prefix,
                after=after,
                reverse=reverse or None,
                limit=page,
            )
            for key, value in answer["data"]:
                yield _value(answer, key), _value(answer, value)
            if answer["next"] is None:
                return
            after = _value(answer, answer["next"])

    def pipeline(self, requests: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Sends requests of the protocol together, and returns their answers as they are; nothing is asked twice."""
        lines = []
        for request in requests:
            members = dict(request)
            lines.append(_line(members.pop("command"), members))
        return self._with(lines, time.monotonic() + self._timeout)

    def ping(self) -> bool:
        self._ask("ping")
        return True

    def stats(self) -> dict[str, int]:
        """The server's figures, by their names."""
        return self._ask("stats")["data"]

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<olivine.Client {self.host}:{self.port}>"
