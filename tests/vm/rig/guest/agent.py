"""The guest's end of the control channel: one JSON request a line, one JSON answer a line, in order.

Runs what the host asks: a command to its end, a file to write or read, a question to the product's control socket, a
look at its journal.
Decides nothing and keeps nothing. Standard library only; it is the guest's own Python that runs it.
"""

import base64
import contextlib
import json
import socket
import sqlite3
import subprocess
from pathlib import Path
from typing import Any, Final

PORT: Final = "mesogun.control"


def port(name: str) -> Path:
    """Return the device of the virtio port `name`."""
    for entry in Path("/sys/class/virtio-ports").iterdir():
        if (entry / "name").read_text().strip() == name:
            return Path("/dev") / entry.name
    raise SystemExit(f"no virtio port {name}")


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what `request` asks and return the answer's fields."""
    match request["do"]:
        case "run":
            done = subprocess.run(
                request["command"],
                input=request.get("input", ""),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=request["within_s"],
                check=False,
            )
            return {"code": done.returncode, "out": done.stdout, "err": done.stderr}
        case "write":
            path = Path(request["path"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(request["content"]))
            path.chmod(request["mode"])
            return {}
        case "read":
            return {"content": base64.b64encode(Path(request["path"]).read_bytes()).decode()}
        case "records":
            # As `mesogun journal export`, without the start of an interpreter and its libraries for each look.
            with contextlib.closing(sqlite3.connect(f"file:{request['path']}?mode=ro", uri=True)) as journal:
                return {"records": journal.execute("SELECT kind, body FROM record ORDER BY seq").fetchall()}
        case "ask":
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(request["within_s"])
                connection.connect(request["path"])
                connection.sendall(json.dumps(request["request"]).encode() + b"\n")
                return {"line": connection.makefile("rb").readline().decode()}
        case "hello":
            return {}
        case _:
            return {"error": f"unknown request {request['do']}"}


def main() -> None:
    """Answer until the channel ends."""
    with port(PORT).open("r+b", buffering=0) as channel:
        waiting = b""
        while True:  # a service's main loop: ended by systemd
            waiting += channel.read(65536) or b""
            while b"\n" in waiting:
                line, waiting = waiting.split(b"\n", maxsplit=1)
                request = json.loads(line)
                try:
                    reply = answer(request)
                except (OSError, subprocess.SubprocessError, sqlite3.Error) as error:
                    reply = {"error": f"{type(error).__name__}: {error}"}
                data = memoryview(json.dumps({"id": request["id"], **reply}).encode() + b"\n")
                while data:
                    data = data[channel.write(data) or 0 :]


if __name__ == "__main__":
    main()
