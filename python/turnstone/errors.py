"""What goes wrong, said with the place in the user's source."""

from __future__ import annotations

import re

from torch.fx import Node

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)\n\s*(.*)')
_LIBRARY = re.compile(r"[/\\]torch[/\\]|[/\\]turnstone[/\\](forms|interpret|recognise|export)\.py")


class Unrecognised(Exception):
    """A module that cannot be onboarded: which piece of its graph, from which line, and what would be needed.

    Attributes: `node` (the fx node), `where` ("file:line in function"), `source` (that line), `graph` (the piece), `needed`.
    """

    def __init__(self, node: Node | None, what: str, needed: str):
        self.node = node
        self.needed = needed
        self.where, self.source = source_of(node)
        self.module = module_of(node)
        self.graph = piece(node)
        lines = [what]
        if self.where:
            lines.append(f"  at {self.where}" + (f" ({self.module})" if self.module else ""))
            lines.append(f"      {self.source}")
        if self.graph:
            lines.append("  graph:")
            lines += [f"      {line}" for line in self.graph]
        lines.append(f"  needed: {needed}")
        super().__init__("\n".join(lines))


class NotTheSame(Exception):
    """Turnstone's logits differ from PyTorch's: nothing was written."""


def source_of(node: Node | None) -> tuple[str, str]:
    """("file:line in function", the line) of the innermost frame that is not PyTorch's or this package's."""
    trace = node.meta.get("stack_trace") if node is not None else None
    frames = [f for f in _FRAME.findall(trace or "") if not _LIBRARY.search(f[0])]
    if not frames:
        return "", ""
    file, line, function, text = frames[-1]
    return f"{file}:{line} in {function}", text.strip()


def module_of(node: Node | None) -> str:
    """Name of the module whose forward made the node, as in `named_modules()`."""
    stack = node.meta.get("nn_module_stack") if node is not None else None
    path = list(stack.values())[-1][0] if stack else ""
    return re.sub(r"^module\.?", "", path)


def piece(node: Node | None, depth: int = 2) -> list[str]:
    """The node and what feeds it, as the graph prints them."""
    if node is None:
        return []
    seen: dict[Node, None] = {}

    def visit(n: Node, left: int) -> None:
        if n in seen or n.op in ("placeholder", "get_attr"):
            return
        if left > 0:
            for i in n.all_input_nodes:
                visit(i, left - 1)
        seen[n] = None

    visit(node, depth)
    return [_line(n) for n in list(seen)[-6:]]


def _line(n: Node) -> str:
    args = ", ".join(str(a) for a in n.args)
    shape = getattr(n.meta.get("val"), "shape", None)
    return f"{n.name}{list(shape) if shape is not None else ''} = {getattr(n.target, '__name__', n.target)}({args})"
