"""Turnstone's own programs, in a Node process that is started once and answers calls over its stdin and stdout."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import struct
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_DTYPES = {"f32": np.float32, "u8": np.uint8, "i8": np.int8, "u16": np.uint16, "u32": np.uint32}
_NAMES = {np.dtype(v): k for k, v in _DTYPES.items()}


class TurnstoneError(RuntimeError):
    """What Turnstone's programs answered when they could not."""


def home() -> Path:
    """Turnstone's repository: TURNSTONE_HOME, the one this package lies in or was installed from, or one above the working directory.

    Raises TurnstoneError when none is found.
    """
    named = os.environ.get("TURNSTONE_HOME")
    here = Path(__file__).resolve().parent
    installed = here / "_home.txt"
    tried = (
        [Path(named)] if named else [here.parents[1], Path(installed.read_text().strip()) if installed.exists() else here, *[Path.cwd(), *Path.cwd().parents]]
    )
    for folder in tried:
        if (folder / "python" / "bridge" / "main.ts").exists():
            return folder
    raise TurnstoneError("Turnstone's repository was not found: set TURNSTONE_HOME to its folder (in it, run `npm install` once)")


class Bridge:
    """One Node process. Calls from several threads take turns."""

    def __init__(self) -> None:
        root = home()
        node = shutil.which("node")
        if node is None:
            raise TurnstoneError("Node was not found on the PATH; Turnstone needs Node 20 or later")
        if not (root / "node_modules" / "tsx").exists():
            raise TurnstoneError(f"Turnstone's packages are not installed: run `npm install` in {root}")
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [node, "--import", "tsx", str(root / "python" / "bridge" / "main.ts")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root
        )

    def call(self, name: str, args: dict[str, Any] | None = None, arrays: Sequence[Tensor | np.ndarray] = ()) -> tuple[Any, list[Tensor]]:
        """Calls a function of python/bridge. Gives its value and arrays; raises TurnstoneError with its message."""
        data = [_array(a) for a in arrays]
        described = [{"dtype": _NAMES[a.dtype], "shape": list(a.shape)} for a in data]
        head = json.dumps({"call": name, "args": args or {}, "arrays": described}).encode()
        with self._lock:
            pipe_in, pipe_out = self._process.stdin, self._process.stdout
            assert pipe_in is not None and pipe_out is not None
            try:
                pipe_in.write(struct.pack("<I", len(head)) + head)
                for a in data:
                    pipe_in.write(a.reshape(-1).view(np.uint8).data)
                pipe_in.flush()
                size = struct.unpack("<I", self._read(4))[0]
                answer = json.loads(bytes(self._read(size)))
                received = [self._receive(a) for a in answer["arrays"]]
            except (BrokenPipeError, EOFError) as e:
                raise TurnstoneError(f"Turnstone's process ended during {name} (exit {self._process.poll()}); its output is above") from e
        if not answer["ok"]:
            raise TurnstoneError(answer["error"])
        return answer["value"], received

    def _read(self, n: int) -> bytearray:
        assert self._process.stdout is not None
        out = bytearray(n)
        view, at = memoryview(out), 0
        while at < n:
            got = self._process.stdout.readinto(view[at:])  # type: ignore[attr-defined]
            if not got:
                raise EOFError
            at += got
        return out

    def _receive(self, a: dict[str, Any]) -> Tensor:
        dtype = np.dtype(_DTYPES[a["dtype"]])
        raw = self._read(int(np.prod(a["shape"])) * dtype.itemsize)
        return torch.from_numpy(np.frombuffer(raw, dtype=dtype).reshape(a["shape"])) if raw else torch.empty(a["shape"])

    def close(self) -> None:
        if self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(10)


def _array(a: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(a, Tensor):
        a = a.detach().contiguous().cpu().numpy()
    return np.ascontiguousarray(a)


_bridge: Bridge | None = None


def bridge() -> Bridge:
    """This process's bridge, started when first asked for and ended with it."""
    global _bridge
    if _bridge is None or _bridge._process.poll() is not None:
        _bridge = Bridge()
        atexit.register(_bridge.close)
    return _bridge
