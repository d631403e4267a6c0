"""The plain PyTorch form of a network: nested modules whose paths are the text's labels."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from torch import Tensor, nn


class Call:
    """One step of a namespace: which child or function, on which values."""

    __slots__ = ("function", "path", "reads", "release", "train", "writes")

    def __init__(
        self,
        path: tuple[str, ...],
        function: Callable[..., Any] | None,
        reads: tuple[int, ...],
        writes: tuple[int, ...],
        release: tuple[int, ...],
        train: bool,
    ) -> None:
        self.path, self.function = path, function
        self.reads, self.writes, self.release, self.train = reads, writes, release, train

    def target(self, owner: nn.Module) -> Callable[..., Any]:
        """What is called. Looked up each time, so that a replaced child is the one that runs."""
        if self.function is not None and not self.path:
            return self.function
        module: Any = owner
        for name in self.path:
            module = getattr(module, name)
        return module  # type: ignore[no-any-return]


class Block(nn.Module):
    """A namespace: its children by label or position, and the order in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[Call] = []
        self._reads: tuple[int, ...] | None = None
        self._writes: tuple[int, ...] = ()

    def forward(self, *inputs: Tensor) -> Any:
        values = self._run(inputs)
        results = tuple(values.get(i) for i in self._writes)
        return results[0] if len(results) == 1 else results

    def _run(self, inputs: tuple[Tensor, ...]) -> dict[int, Any]:
        if self._reads is None:
            raise TypeError("nothing in this namespace is needed for an output of the network")
        if len(inputs) != len(self._reads):
            raise TypeError(f"{len(self._reads)} inputs are needed, got {len(inputs)}")
        values: dict[int, Any] = dict(zip(self._reads, inputs, strict=True))
        for call in self._calls:
            if self.training or not call.train:
                self._step(call, values)
            for i in call.release:  # also of a step that was left out
                values.pop(i, None)
        return values

    def _step(self, call: Call, values: dict[int, Any]) -> None:
        arguments = [values.get(i) for i in call.reads]
        target = call.target(self)
        if call.function is not None and call.path:  # a bare weight
            result = call.function(*arguments, target)
        else:
            result = target(*arguments)
        if len(call.writes) == 1:
            values[call.writes[0]] = result
        else:
            values.update(zip(call.writes, result, strict=True))

    def __getitem__(self, index: int | str) -> nn.Module:
        """A child by position among the children, as in ``nn.Sequential``, or by name."""
        if isinstance(index, str):
            return self._modules[index]  # type: ignore[return-value]
        return list(self.children())[index]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.children())


class Network(Block):
    """A compiled net.

    ``forward`` takes one tensor ``[N, C, H, W]`` per input, in order or by name, and returns
    a tensor, or a named tuple when the text has several results or an ``emit``; heads
    emitted in training only are None in eval mode.
    """

    def __init__(self, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self._title = name
        self._input_names, self._output_names = inputs, outputs
        self._draw: Any = None

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        if named:
            inputs = self._in_order(inputs, named)
        if self._draw is not None and self.training:
            self._draw.start()
        values = self._run(inputs)
        results = [values.get(i) for i in self._writes]
        if len(results) == 1:
            return results[0]
        return output_type(self._title, self._output_names)(*results)

    def _in_order(self, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> tuple[Any, ...]:
        rest = self._input_names[len(inputs) :]
        if set(rest) != set(named):
            raise TypeError(f"inputs are {', '.join(self._input_names)}; got {', '.join(named)}")
        return (*inputs, *(named[name] for name in rest))

    def extra_repr(self) -> str:
        return self._title


@cache
def output_type(name: str, fields: tuple[str, ...]) -> Any:
    """The named tuple that a net of this name returns; known to ``torch.export``."""
    from torch.utils import _pytree

    kind = namedtuple(f"{name}Output", fields, rename=True)  # type: ignore[misc]
    _pytree._register_namedtuple(
        kind, serialized_type_name=f"cnndsl.{name}Output({','.join(kind._fields)})"
    )
    return kind
