"""Other threads at a network that is sealed, or about to be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from cnndsl.engines.live.seal import Seal
from tests.engines.live.twins import assert_follows, pair, picture, run


def test_threads_at_one_network() -> None:
    fast, plain = pair()
    plain.load_state_dict(fast.state_dict())
    with torch.no_grad():
        expected = plain(picture()).out

    def work(number: int) -> None:
        for i in range(40):
            with torch.no_grad():
                torch.testing.assert_close(fast(picture()).out, expected, rtol=1e-5, atol=1e-5)
            if i % 4 == number:
                assert fast.fc.weight.shape == (5, 8)

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(work, number) for number in range(3)]:
            future.result()
    assert len(fast._modules) == 6 and type(fast._modules) is dict
    run(fast, 200)
    assert fast._live.sealed


@pytest.mark.parametrize("act", ["holds", "writes", "trains"])
def test_what_another_thread_does_while_the_seal_is_set(
    act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the references are counted, and after the numbers were compared."""
    fast, plain = pair()
    held = []
    make = Seal.__init__

    def meanwhile(self: Seal, network: Any) -> None:
        monkeypatch.setattr(Seal, "__init__", make)
        part = network.fc
        if act == "holds":
            held.append(part)
        elif act == "writes":
            with torch.no_grad():
                part.weight.mul_(2)
        else:
            part.train()
        make(self, network)

    monkeypatch.setattr(Seal, "__init__", meanwhile)
    run(fast, 4)
    assert not fast._live.sealed
    run(fast, 1)
    if act == "trains":
        assert "training" in fast._live.refused
    else:
        assert_follows(fast, plain)


def test_who_looks_while_references_are_counted_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    fast, _ = pair()
    count = Seal.is_tight
    held = []

    def counted(self: Seal, *args: Any) -> bool:
        found = count(self, *args)
        held.append(fast.fc)
        return found

    monkeypatch.setattr(Seal, "is_tight", counted)
    run(fast)
    assert held and not fast._live.sealed
