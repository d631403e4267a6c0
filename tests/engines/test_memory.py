"""What is remembered between runs: damage is a miss, an unsafe folder means no memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cnndsl.engines import memory

KEY = {"flow": "abc", "shapes": [[1, 3, 8, 8]]}
VALUE = {"engine": "torch"}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNNDSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


def entry(place: Path) -> Path:
    (found,) = place.iterdir()
    return found


def test_remembers(place: Path) -> None:
    assert memory.recall(KEY) is None
    assert memory.remember(KEY, VALUE)
    assert memory.recall(KEY) == VALUE
    assert memory.recall({**KEY, "flow": "other"}) is None
    assert place.stat().st_mode & 0o077 == 0
    assert memory.remember(KEY, {"engine": "openvino"})
    assert memory.recall(KEY) == {"engine": "openvino"}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "[" * 100_000, '{"key": 1}', " " * 100_000, "\udcff"],
    ids=range(8),
)
def test_damage_is_a_miss(place: Path, text: str) -> None:
    memory.remember(KEY, VALUE)
    entry(place).write_text(text, encoding="utf-8", errors="surrogateescape")
    assert memory.recall(KEY) is None


def test_a_changed_value_is_a_miss(place: Path) -> None:
    memory.remember(KEY, VALUE)
    content = json.loads(entry(place).read_text())
    content["value"] = {"engine": "other"}
    entry(place).write_text(json.dumps(content))
    assert memory.recall(KEY) is None


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_folder_that_others_write_to_is_not_used(place: Path, mode: int) -> None:
    memory.remember(KEY, VALUE)
    place.chmod(mode)
    assert memory.recall(KEY) is None
    assert not memory.remember(KEY, VALUE)


@pytest.mark.skipif(os.name != "posix", reason="owners are POSIX's")
def test_a_folder_of_another_user_is_not_used(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.remember(KEY, VALUE)
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    assert memory.recall(KEY) is None
    assert not memory.remember(KEY, VALUE)


@pytest.mark.skipif(os.name != "posix", reason="links are POSIX's")
def test_a_link_is_not_followed(place: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    real.mkdir(mode=0o700)
    place.parent.mkdir(parents=True)
    place.symlink_to(real)
    assert not memory.remember(KEY, VALUE)
    assert not list(real.iterdir())


def test_no_folder_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CNNDSL_CACHE", str(tmp_path / "file"))
    assert not memory.remember(KEY, VALUE)
    assert memory.recall(KEY) is None
