"""The plain PyTorch form of a network: nested modules whose paths are the text's labels."""

from __future__ import annotations

import keyword
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from torch import Tensor, nn

from cnndsl.backends.torch.training import Steps, as_usual
from cnndsl.engines.live.training import Freedom
from cnndsl.engines.live.watch import is_called_plainly


class Call:
    """One step of a namespace: which child or function, on which values."""

    __slots__ = (
        "alone", "child", "function", "lends", "outside", "path", "reads", "release", "train",
        "writes",
    )  # fmt: skip

    def __init__(
        self,
        path: tuple[str, ...],
        function: Callable[..., Any] | None,
        reads: tuple[int, ...],
        writes: tuple[int, ...],
        release: tuple[int, ...],
        train: bool,
        outside: bool = False,
        alone: tuple[int, ...] = (),
        lends: bool = False,
    ) -> None:
        self.path, self.function, self.outside = path, function, outside
        self.reads, self.writes, self.release, self.train = reads, writes, release, train
        self.alone, self.lends = alone, lends
        self.child = path[0] if len(path) == 1 and function is None and not outside else ""

    def prepared(
        self, owner: Block, values: dict[int, Any]
    ) -> tuple[Callable[..., Any], list[Any]]:
        """What is called, on what. Looked up each time: a replaced child is the one that runs."""
        arguments = list(map(values.get, self.reads))
        if self.function is not None and not self.path:
            return self.function, arguments
        # Most call a child of their own namespace, whatever it is now.
        child = owner._modules.get(self.child)
        if child is not None:
            return child, arguments
        found: Any = owner._network[0] if self.outside else owner
        for name in self.path:
            # Ten times as fast as `getattr`; other modules may keep theirs in another way.
            part = found._modules.get(name) if isinstance(found, Block) else None
            found = getattr(found, name) if part is None else part
        if self.function is not None:  # a bare weight
            return self.function, [*arguments, found]
        return found, arguments

    def store(self, values: dict[int, Any], result: Any) -> None:
        if len(self.writes) == 1:
            values[self.writes[0]] = result
        else:
            values.update(zip(self.writes, result, strict=True))


class Block(nn.Module):
    """A namespace: its children by label or position, and the order in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[Call] = []
        self._reads: tuple[int, ...] | None = None
        self._writes: tuple[int, ...] = ()
        # Where `again` finds modules of other namespaces; in a tuple, it is no submodule.
        self._network: tuple[nn.Module, ...] = ()

    def forward(self, *inputs: Tensor) -> Any:
        return self._by_layers(inputs)

    def _by_layers(self, inputs: Sequence[Tensor], free: Freedom = Freedom.NONE) -> Any:
        """Calls children from this very frame: nested modules are bounded by Python's stack."""
        values, steps = self._given(inputs), Steps(layouts=free is Freedom.LAYOUTS)
        for call in self._calls:
            if self.training or not call.train:
                target, arguments = call.prepared(self, values)
                if free is Freedom.NONE:
                    found = target(*arguments)
                elif type(target) is Block and is_called_plainly(target):
                    found = target._by_layers(arguments, free)
                else:
                    found = steps.run(call, target, arguments)
                call.store(values, found)
            for i in call.release:  # also of a step that was left out
                values.pop(i, None)
        return self._result(list(map(values.get, self._writes)))

    def _given(self, inputs: Sequence[Tensor]) -> dict[int, Any]:
        if self._reads is None:
            raise TypeError("nothing in this namespace is needed for an output of the network")
        if len(inputs) != len(self._reads):
            raise TypeError(f"{len(self._reads)} inputs are needed, got {len(inputs)}")
        return dict(zip(self._reads, inputs, strict=True))

    def _result(self, values: list[Any]) -> Any:
        return values[0] if len(values) == 1 else tuple(values)

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

    def __init__(
        self,
        name: str,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        in_eval: tuple[bool, ...],
    ) -> None:
        super().__init__()
        self._title = name
        self._input_names, self._output_names, self._in_eval = inputs, outputs, in_eval
        self._draw: Any = None
        self._live: Any = None
        self._output = output_type(name, outputs) if len(outputs) > 1 else None

    def __getstate__(self) -> dict[str, Any]:
        """Without the named tuple's type, which no other process can import; nor what `compile()`
        made, which calls this very module."""
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return state | {"_output": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        names = self._output_names
        self._output = output_type(self._title, names) if len(names) > 1 else None

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        if named:
            inputs = self._in_order(inputs, named)
        if self._draw is not None and self.training:
            self._draw.start()
        found = self._optimized(inputs)
        if found is not None:
            return self._result(found)
        live, free = self._live, Freedom.NONE
        if self.training and live is not None:
            free = live.freedom(self, inputs)
        trained = self._by_layers(inputs, free)
        if free is Freedom.NONE:
            return trained
        return as_usual(trained, layouts=free is Freedom.LAYOUTS)

    def _result(self, values: list[Any]) -> Any:
        return values[0] if self._output is None else self._output(*values)

    def _optimized(self, inputs: tuple[Tensor, ...]) -> list[Any] | None:
        """What the engine makes of it in eval mode; None where the plain layers have to run."""
        live = self._live
        if live is None or self.training or len(inputs) != len(self._input_names):
            return None
        own = live.of(self)
        if own is not live:
            self.__dict__["_live"] = live = own
        found: list[Any] | None = live.run(self, inputs)
        if found is None or False not in self._in_eval:
            return found
        values = iter(found)  # without the heads that are emitted in training
        return [next(values) if kept else None for kept in self._in_eval]

    def train(self, mode: bool = True) -> Network:
        """As of any module, but that a sealed one, whose parts are all in eval mode, stays so."""
        live = self._live
        if live is not None and mode is not self.training:
            live.doubt()  # what is switched is trained, perhaps by parts
        elif live is not None and not mode and live.sealed and live.of(self) is live:
            return self
        return super().train(mode)

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

    # A result may be called `in`, as the wire that it is; Python has another use for that.
    named = tuple(f"{field}_" if keyword.iskeyword(field) else field for field in fields)
    kind: Any = namedtuple(f"{name}Output", named)  # type: ignore[misc]

    def reduce(self: Any) -> Any:
        return _output, (name, fields, tuple(self))

    kind.__reduce__ = reduce  # type: ignore[method-assign]
    _pytree._register_namedtuple(
        kind, serialized_type_name=f"cnndsl.{name}Output({','.join(kind._fields)})"
    )
    return kind


def _output(name: str, fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    """What a pickled result becomes."""
    return output_type(name, fields)(*values)
