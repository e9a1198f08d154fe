"""Ops that somebody else brings: a PyTorch custom op and, for the device, a module that registers its tile program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bridge import bridge


@dataclass
class DeviceOp:
    """How calls of a PyTorch op become calls of a device op."""

    #: Name under which the module registers it: `package.op`.
    name: str
    #: Names of the program's arguments for the op's tensor arguments, in their order.
    args: tuple[str, ...]
    #: Name of the argument that the result is stored in.
    out: str
    #: The op's shape (JSON), from the fake tensors and other arguments of the call.
    shape: Callable[..., dict[str, Any]]


registered: dict[str, DeviceOp] = {}


def device_op(op: str, *, module: str | Path, name: str, args: tuple[str, ...], shape: Callable[..., dict[str, Any]], out: str = "y") -> None:
    """Tells the compiler that `op` ("namespace::name") runs on the device as `name`, which `module` (a .ts or .mjs file) registers.

    Tensors are f32 there, contiguous. `shape(*args)` gets the arguments of the call (tensors without data) and gives what the module's
    `compile` gets. A module may come from any package; docs/pytorch.md has an example.
    """
    bridge().call("device.use", {"module": str(Path(module).resolve())})
    registered[op] = DeviceOp(name, args, out, shape)
