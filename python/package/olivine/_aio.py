"""The client for tasks of asyncio: all tasks share one connection, and their requests go together."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import deque
from typing import Any, AsyncIterator, Iterable

from ._client import _MAY_PASS, _PAUSE_FIRST, _PAUSE_MOST, _READS, Data, _checked, _line, _value
from .errors import Error, ServerError, Timeout, Unanswered, Unreachable

#: The longest answer that is read.
_ANSWER_BYTES_MAX = 256 << 20


class _Link:
    """One connection; answers are handed out in the order of the requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._waiting: deque[asyncio.Future[dict[str, Any]]] = deque()
        self.is_broken = False
        self._task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        error: Exception = ConnectionResetError("it was closed by the server")
        try:
            while line := await self._reader.readline():
                if not line.endswith(b"\n"):
                    break
                answer = self._waiting.popleft()
                try:
                    told = json.loads(line)
                    if not isinstance(told, dict):
                        raise ValueError("it is no object")
                except ValueError as strange:
                    if not answer.done():
                        answer.set_exception(ServerError(f"the answer is none of Olivine's: {strange}", "strange"))
                    break
                # Whoever asked may have gone away.
                if not answer.done():
                    answer.set_result(told)
        except (OSError, ValueError, IndexError) as broken:
            error = broken
        finally:
            self.close(error)

    def close(self, error: Exception | None = None) -> None:
        self.is_broken = True
        self._writer.close()
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                text = f"the connection broke before the answer came ({error}); a write may have been carried out"
                answer.set_exception(Unanswered(text))

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._writer.wait_closed()
        except OSError:
            pass

    async def ask(self, line: bytes) -> dict[str, Any]:
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._writer.write(line)
        try:
            await self._writer.drain()
        except OSError as error:
            self.close(error)
        return await answer


class AsyncClient:
    """What `Client` is, for tasks of asyncio; its calls have the same names and the same results.

    Arguments: `host`, `port`; `timeout`, the seconds that a call may take; `token`, or `user` and `password`; `tls`, True
    for whom the system trusts, or an `ssl.SSLContext`; `ca`, a file with the certificate of who vouches for the server.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 9999,
        *,
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
        token: str | None = None,
        user: str | None = None,
        password: str | None = None,
        tls: bool | ssl.SSLContext = False,
        ca: str | None = None,
    ) -> None:
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
        self._link: _Link | None = None
        self._linking = asyncio.Lock()
        self._closed = False

    async def _linked(self) -> _Link:
        async with self._linking:
            if self._closed:
                raise Error("the client was closed")
            if self._link is not None and not self._link.is_broken:
                return self._link
            if self._link is not None:
                await self._link.end()
                self._link = None
            opening = asyncio.open_connection(self.host, self.port, ssl=self._tls, limit=_ANSWER_BYTES_MAX)
            try:
                reader, writer = await asyncio.wait_for(opening, self._connect_timeout)
            except (OSError, asyncio.TimeoutError) as error:
                raise Unreachable(
                    f"cannot connect to {self.host}:{self.port}: {error}; is the server there? `olivine serve` starts it"
                ) from error
            link = _Link(reader, writer)
            if self._login is not None:
                try:
                    _checked(await link.ask(_line("auth", self._login)))
                except BaseException:
                    link.close()
                    await link.end()
                    raise
            self._link = link
            return link

    async def _once(self, line: bytes) -> dict[str, Any]:
        return _checked(await (await self._linked()).ask(line))

    async def _ask(self, command: str, **members: Any) -> dict[str, Any]:
        line, is_read = _line(command, members), command in _READS
        ends, pause = time.monotonic() + self._timeout, _PAUSE_FIRST
        while True:
            try:
                return await asyncio.wait_for(self._once(line), max(ends - time.monotonic(), 0.001))
            except asyncio.TimeoutError as error:
                if self._link is not None:
                    # A server that says nothing may be gone: who asks next asks over another connection.
                    self._link.close(error)
                raise Timeout("no answer came in time; a write may have been carried out") from error
            except (Unreachable, Unanswered, ServerError) as error:
                passes = isinstance(error, Unreachable)
                passes |= isinstance(error, ServerError) and error.code in _MAY_PASS
                passes |= is_read and (isinstance(error, Unanswered) or getattr(error, "code", "") == "unavailable")
                if not passes or ends - time.monotonic() <= pause:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_MOST)

    async def get(self, key: Data, default: Any = None) -> Any:
        answer = await self._ask("get", key=key)
        return default if answer["status"] == "not_found" else _value(answer, answer["value"])

    async def put(
        self,
        key: Data,
        value: Any,
        *,
        ttl: float | None = None,
        if_absent: bool = False,
        if_present: bool = False,
        if_revision: str | None = None,
    ) -> bool:
        try:
            await self._ask(
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

    async def delete(self, key: Data) -> bool:
        await self._ask("delete", key=key)
        return True

    async def batch_put(self, keys: Iterable[Data], values: Iterable[Any]) -> int:
        message = (await self._ask("batch_put", keys=list(keys), values=list(values)))["message"]
        return int(message.split(" ", 1)[0])

    async def batch_get(self, keys: Iterable[Data]) -> list[Any]:
        answer = await self._ask("batch_get", keys=list(keys))
        return [_value(answer, value) for value in answer["values"]]

    async def get_range(self, start_key: Data, end_key: Data) -> list[tuple[Any, Any]]:
        answer = await self._ask("get_range", start_key=start_key, end_key=end_key)
        return [(_value(answer, key), _value(answer, value)) for key, value in answer["data"]]

    async def scan(
        self,
        start_key: Data | None = None,
        end_key: Data | None = None,
        *,
        prefix: Data | None = None,
        reverse: bool = False,
        page: int = 1000,
    ) -> AsyncIterator[tuple[Any, Any]]:
        after: Data | None = None
        while True:
            answer = await self._ask(
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

    async def ping(self) -> bool:
        await self._ask("ping")
        return True

    async def stats(self) -> dict[str, int]:
        return (await self._ask("stats"))["data"]

    async def close(self) -> None:
        self._closed = True
        if self._link is not None:
            self._link.close()
            await self._link.end()
            self._link = None

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
