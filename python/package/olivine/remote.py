"""A remote client of a node: `python -m olivine.remote`.

It connects to `HOST_IP_ADDR` and `HOST_PORT`, of the environment or of a file `.env` beside it (localhost and 7000 where they
say nothing), sends each line that is typed, `GET key` or `PUT key value`, and shows the answer. `exit` or the end of the
input ends it. Commands may be given as arguments too: `python -m olivine.remote GET name`.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Mapping, Sequence, TextIO

_NAMES = ("HOST_IP_ADDR", "HOST_PORT")
_TIMEOUT = 30.0


def settings(path: str = ".env", environment: Mapping[str, str] = os.environ) -> tuple[str, int]:
    """Where the node is: the environment says it before the file does."""
    known: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                name, equals, value = line.partition("=")
                name = name.strip().removeprefix("export ").strip()
                if equals and name in _NAMES:
                    known[name] = value.split(" #", 1)[0].strip().strip("\"'")
    except FileNotFoundError:
        pass
    known.update((name, environment[name]) for name in _NAMES if environment.get(name))
    host, port = known.get("HOST_IP_ADDR", "localhost"), known.get("HOST_PORT", "7000")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SystemExit(f"error: HOST_PORT is {port!r}, and a port is a number from 1 to 65535")
    return host, int(port)


def talk(host: str, port: int, lines: TextIO | Sequence[str], out: TextIO, prompt: str = "") -> int:
    """Sends lines, one after the other, and writes the answers. The exit code is 1 if one was an error."""
    try:
        connection = socket.create_connection((host, port), timeout=_TIMEOUT)
    except OSError as error:
        print(
            f"error: cannot connect to {host}:{port}: {error}; is the node there? HOST_IP_ADDR and HOST_PORT say where",
            file=sys.stderr,
        )
        return 4
    failed = 0
    with connection, connection.makefile("r", encoding="utf-8", newline="\n") as answers:
        out.write(prompt)
        out.flush()
        for line in lines:
            line = line.strip("\r\n")
            if line.strip().lower() in ("exit", "quit"):
                break
            if line.strip():
                try:
                    connection.sendall(line.encode() + b"\n")
                    answer = answers.readline()
                except OSError as error:
                    print(f"error: the connection broke: {error}", file=sys.stderr)
                    return 4
                if not answer:
                    print("error: the node closed the connection", file=sys.stderr)
                    return 4
                failed |= answer.startswith("ERROR")
                out.write(answer)
            out.write(prompt)
            out.flush()
    return int(failed)


def main(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    host, port = settings()
    if arguments:
        return talk(host, port, [" ".join(arguments)], sys.stdout)
    is_typed = sys.stdin.isatty()
    if is_typed:
        print(f"connected to {host}:{port}; GET key, PUT key value, DELETE key, PING, exit")
    return talk(host, port, sys.stdin, sys.stdout, "> " if is_typed else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
