"""Turnstone for PyTorch: onboard a module by its graph, see what it costs on the simulated accelerator, use the server's kernels as ops."""

from . import ops
from .bridge import TurnstoneError
from .compiler import Report, backend, report, reset, simulate
from .device_ops import device_op
from .errors import NotTheSame, Unrecognised
from .export import Exported, export

__all__ = ["Exported", "NotTheSame", "Report", "TurnstoneError", "Unrecognised", "backend", "device_op", "export", "ops", "report", "reset", "simulate"]
