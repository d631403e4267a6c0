"""Files and their imports: everything is read once, below one folder, within limits."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cnndsl.diagnostics import Collector
from cnndsl.diagnostics.suggest import did_you_mean
from cnndsl.limits import Limits, Stopwatch, unhurried
from cnndsl.semantics import errors
from cnndsl.semantics.values import Definition, Scope
from cnndsl.source import Source, Span
from cnndsl.syntax import ast
from cnndsl.syntax.parser import parse


class ReadError(Exception):
    """A file that may not or cannot be read; the message is for people."""

    def __init__(self, message: str, escapes: bool = False) -> None:
        super().__init__(message)
        self.message, self.escapes = message, escapes


@dataclass
class Library:
    """The files of one program. ``main`` is the scope of the first."""

    main: Scope
    module: ast.Module
    scopes: dict[str, Scope] = field(default_factory=dict)
    modules: dict[str, ast.Module] = field(default_factory=dict)

    @property
    def nets(self) -> tuple[str, ...]:
        return tuple(d.name.text for d in self.module.declarations if d.kind == "net")


def read_below(root: Path, relative: str, limits: Limits) -> str:
    """A file below ``root``, without following any link on the way."""
    parts = relative.split("/")
    if relative.startswith("/") or "\\" in relative or ":" in relative or "\0" in relative:
        raise ReadError("only relative paths with `/` are imported", escapes=True)
    if any(part in ("", ".", "..") for part in parts):
        raise ReadError("the path has an empty part, `.` or `..`", escapes=True)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = _open(part, folder, os.O_DIRECTORY)
            os.close(folder)
            folder = inner
        file = _open(parts[-1], folder, getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(file, "rb") as stream:
            return _decode(stream.fileno(), stream.read(limits.file_bytes + 1), limits)
    except OSError as error:
        raise ReadError(_words(error)) from None
    finally:
        os.close(folder)


def _open(part: str, folder: int, flags: int) -> int:
    if stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
        raise ReadError(f"`{part}` is a symbolic link", escapes=True)
    return os.open(part, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=folder)


def _decode(descriptor: int, data: bytes, limits: Limits) -> str:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ReadError("it is not a regular file")
    if len(data) > limits.file_bytes:
        raise ReadError(f"it is larger than the limit of {limits.file_bytes:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadError(f"it is not UTF-8 text (byte {error.start})") from None


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


class Loader:
    """Reads a program's files. Problems are collected, never raised.

    ``given`` are files by import path that are not read again. When the time of ``watch`` is
    up, no further file is read.
    """

    def __init__(
        self,
        root: Path | None,
        limits: Limits,
        found: Collector,
        given: Mapping[str, Source] | None = None,
        watch: Stopwatch | None = None,
    ) -> None:
        self.root, self.limits, self.found = root, limits, found
        self.given = given or {}
        self.watch = watch or unhurried()
        self.scopes: dict[str, Scope] = {}
        self.modules: dict[str, ast.Module] = {}
        self._loading: list[str] = []
        self._bytes = self._tokens = 0

    def load(self, source: Source) -> Library:
        """The program whose first file is ``source``."""
        scope, module = self._scope(source, source.name)
        return Library(scope, module, self.scopes, self.modules)

    def _scope(self, source: Source, key: str) -> tuple[Scope, ast.Module]:
        module, problems = parse(source, self.limits, self.watch)
        self.found.extend(problems)
        scope = Scope(source)
        self.scopes[key], self.modules[key] = scope, module
        scope.missing.update(module.broken)
        self._bytes += len(source.text)
        self._tokens += module.tokens
        self._loading.append(key)
        places: dict[str, Span] = {}
        for tree in module.imports:
            self._import(tree, scope, places)
        for declared in module.declarations:
            name = declared.name.text
            if self._fresh(name, declared.name.span, scope, places):
                scope.names[name] = Definition(declared, scope)
        self._loading.pop()
        return scope, module

    def _fresh(self, name: str, span: Span, scope: Scope, places: dict[str, Span]) -> bool:
        from cnndsl.ops import built_in

        # plug-ins are not asked: a text means the same whatever is installed
        if built_in(name) or name in ("oneof", "floor", "ceil", "round", "min"):
            self.found.add(errors.shadows_operator(span, name))
            scope.missing.add(name)
            return False
        if name in places:
            self.found.add(errors.declared_twice(span, places[name], name))
            return False
        places[name] = span
        return True

    def _import(self, tree: ast.Import, scope: Scope, places: dict[str, Span]) -> None:
        imported = self._file(tree)
        for identifier in tree.names:
            name = identifier.text
            own = [n for n, d in imported.names.items() if d.scope is imported] if imported else []
            if imported is None or name not in own:
                scope.missing.add(name)
                if imported is not None and not self._broken(tree.path, name):
                    self.found.add(errors.not_exported(identifier.span, name, tree.path, own))
            elif self._fresh(name, identifier.span, scope, places):
                scope.names[name] = imported.names[name]

    def _broken(self, path: str, name: str) -> bool:
        """Whether a syntax error, or too little time, may have swallowed the declaration."""
        if self.watch.over:
            return True
        source = self.scopes[path].source
        return any(
            d.span is not None and d.span.source is source and d.code.startswith("E01")
            for d in self.found.all
        )

    def _file(self, tree: ast.Import) -> Scope | None:
        path, span = tree.path, tree.path_span
        if path in self._loading:
            chain = [*self._loading[self._loading.index(path) :], path]
            self.found.add(errors.import_cycle(span, chain))
            return None
        if path in self.scopes:
            return self.scopes[path]
        if self.watch.over:
            return None
        problem = refusal = self._refusal(path)
        if problem is None:
            if path in self.given:
                return self._scope(self.given[path], path)[0]
            try:
                text = read_below(self.root, path, self.limits)  # type: ignore[arg-type]
                return self._scope(Source(path, text), path)[0]
            except ReadError as error:
                if error.escapes:
                    self.found.add(errors.import_escapes(span, path, error.message))
                    return None
                problem = error.message
        near = did_you_mean(path, self._siblings(path)) if refusal is None else None
        self.found.add(errors.cannot_import(span, path, problem, near))
        return None

    def _refusal(self, path: str) -> str | None:
        if self.root is None and path not in self.given:
            return "a text without a file has no folder to import from"
        if len(self.scopes) >= self.limits.files:
            return f"a program has at most {self.limits.files} files"
        if self._bytes > self.limits.total_bytes:
            return f"a program has at most {self.limits.total_bytes:,} bytes in all"
        if self._tokens > self.limits.tokens:
            return f"a program has at most {self.limits.tokens:,} words and signs in all"
        return None

    def _siblings(self, path: str) -> list[str]:
        """Files that the author may have meant: same folder, ours by ending."""
        folder = path.rpartition("/")[0]
        try:
            below = (self.root or Path()) / folder
            names = sorted(p.name for p in below.iterdir() if p.suffix == ".cnn")[:200]
        except OSError:
            return []
        return [f"{folder}/{name}" if folder else name for name in names]
