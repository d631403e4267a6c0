"""Graph to ``nn.Module``: every operator's own PyTorch form, at the path the text gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from cnndsl.backends.torch.module import Block, Call, Network
from cnndsl.backends.torch.plan import Scope, Step, plan
from cnndsl.graph.model import Graph, Node


def lower(graph: Graph) -> Network:
    """The plain module of a checked graph; its ``state_dict`` keys are the text's paths."""
    network = Network(
        graph.name,
        tuple(node.path for node in graph.inputs),
        tuple(output.name for output in graph.outputs),
        tuple(not output.train for output in graph.outputs),
    )
    lowering = _Lowering(graph, network)
    lowering.modules()
    lowering.calls(network, plan(graph))
    _share_draw(network)
    return network


class _Lowering:
    def __init__(self, graph: Graph, network: Network) -> None:
        self.graph, self.network = graph, network
        self.functions: dict[int, Callable[..., Any]] = {}
        self.paths: dict[int, str] = {}

    def modules(self) -> None:
        """Makes every module, in the order of the text."""
        for node in self.graph:
            if node.inputs and not node.shared:
                self._module(node)

    def _module(self, node: Node) -> None:
        types = self.graph.types_into(node)
        made = node.op.torch(*types)
        owner, _, name = node.path.rpartition(".")
        parent = self._block(owner)
        if isinstance(made, nn.Module):
            if node.op.join:
                name = _free(parent, name)
            parent.add_module(name, made)
            self.paths[node.id] = f"{owner}.{name}" if owner else name
            return
        self.functions[node.id] = made
        if any(weight.name == "" for weight in node.op.weights(*types)):
            initial = node.op.initial(*types)  # type: ignore[attr-defined]
            parent.register_parameter(name, nn.Parameter(initial))
            self.paths[node.id] = node.path

    def _block(self, path: str) -> nn.Module:
        module: nn.Module = self.network
        for name in path.split(".") if path else ():
            if name not in module._modules:
                module.add_module(name, Block())
            module = module._modules[name]  # type: ignore[assignment]
        return module

    def calls(self, block: Block, scope: Scope) -> None:
        """Gives a block its steps, and its children theirs."""
        block._reads, block._writes = tuple(scope.inputs), tuple(scope.outputs)
        for step in scope.steps:
            if step.scope is not None:
                inner = self._block(step.scope.path)
                assert isinstance(inner, Block)
                if not step.repeats:
                    self.calls(inner, step.scope)
            call = self._call(step, scope.path)
            if call.outside:
                block._network = (self.network,)
            block._calls.append(call)

    def _call(self, step: Step, here: str) -> Call:
        if step.node is None:
            assert step.scope is not None
            path, function = step.scope.path, None
        else:
            first = self._first(step.node)
            path = self.paths.get(first, "")
            function = self.functions.get(first)
        outside = bool(here) and not path.startswith(f"{here}.")
        relative = path if outside or not here else path[len(here) + 1 :]
        return Call(
            tuple(relative.split(".")) if relative else (),
            function,
            tuple(step.reads),
            tuple(step.writes),
            tuple(step.release),
            step.train,
            outside and bool(path),
            tuple(step.alone),
            step.lends,
        )

    def _first(self, node: Node) -> int:
        """The node that owns the module: itself, or the one whose weights it shares."""
        if not node.shared:
            return node.id
        return self._owners[node.path]

    @property
    def _owners(self) -> dict[str, int]:
        if not hasattr(self, "_owner_cache"):
            self._owner_cache = {
                node.path: node.id
                for node in self.graph
                if not node.shared and node.inputs and not node.op.join
            }
        return self._owner_cache


def _free(parent: nn.Module, name: str) -> str:
    taken = {*parent._modules, *parent._parameters}
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}{number}"
    return free


def _share_draw(network: Network) -> None:
    """One source of net-wide randomness for all modules that draw together."""
    drawing: list[Any] = [
        module
        for module in network.modules()
        # A block may have a child of this name.
        if not isinstance(module, Block) and getattr(module, "shares", False)
    ]
    if not drawing:
        return
    from cnndsl.ops.modules import NetDraw

    network._draw = NetDraw()
    for module in drawing:
        module.draw = network._draw
