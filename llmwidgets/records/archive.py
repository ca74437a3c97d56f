"""The file format of records: a zip with `record.json` and one `.npy` member for each array.

Nothing in a file is executed or looked up by import: class names are those of `llmwidgets.records`,
values are checked against the classes' own annotations, sizes before anything is allocated.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from dataclasses import MISSING, fields
from functools import cache
from importlib import import_module
from os import PathLike
from pathlib import Path
from pkgutil import iter_modules
from types import NoneType, UnionType
from typing import Any, BinaryIO, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.record import Record

FORMAT = "llmwidgets-record"
VERSION = 1
MAX_JSON_BYTES = 64 * 2**20
MAX_ARRAY_BYTES = 2 * 2**30  # of all arrays together, uncompressed
MAX_MEMBERS = 100_000
_KINDS = "biuf"  # numpy's kinds: booleans, integers, floats


def write_record(record: Record, path: str | PathLike[str]) -> None:
    """Write a record beside its final place, then rename, so that no reader sees half a file."""
    target = Path(path)
    arrays: list[NDArray[Any]] = []
    schema: dict[str, list[str]] = {}
    header = {"format": FORMAT, "version": VERSION, "schema": schema, "root": _encode(record, arrays, schema)}
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("record.json", json.dumps(header))
            for index, array in enumerate(arrays):
                with archive.open(f"arrays/{index}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        os.replace(name, target)
    except BaseException:  # an interrupt too leaves no half file behind
        os.unlink(name)
        raise


def read_record(path: str | PathLike[str]) -> Record:
    """Read and check a record; see `load_record`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if len(members) > MAX_MEMBERS or sum(m.file_size for m in members.values()) > MAX_ARRAY_BYTES:
                raise ValueError(f"holds more than {MAX_MEMBERS} members or {MAX_ARRAY_BYTES} bytes")
            header = _read_header(archive, members)
            record = _Reader(archive, members, header["schema"]).decode(header["root"], Record)
    except (ValueError, RecursionError, zipfile.BadZipFile, EOFError, NotImplementedError, KeyError) as error:
        raise ValueError(f"{os.fspath(path)!r} cannot be read as a saved record: {error}") from error
    except (RuntimeError, OverflowError, MemoryError) as error:  # an encrypted member; absurd numbers
        raise ValueError(f"{os.fspath(path)!r} cannot be read as a saved record: {error}") from error
    except Exception as error:
        if type(error).__module__ == "zlib":  # zlib.error has no other base than Exception
            raise ValueError(f"{os.fspath(path)!r} is damaged: {error}") from error
        raise
    assert isinstance(record, Record)  # noqa: S101  # decode checked it against Record
    return record


def _encode(value: Any, arrays: list[NDArray[Any]], schema: dict[str, list[str]]) -> Any:
    """Return `value` as JSON: lists for tuples, one-key objects for all that JSON has no name for."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, tuple):
        return [_encode(item, arrays, schema) for item in value]
    if isinstance(value, dict):
        return {"dict": [[str(key), _encode(item, arrays, schema)] for key, item in value.items()]}
    if isinstance(value, np.ndarray) and value.dtype.kind in _KINDS:
        arrays.append(np.ascontiguousarray(value).reshape(value.shape))
        return {"array": len(arrays) - 1}
    name = type(value).__name__
    if isinstance(value, Record) and classes().get(name) is type(value):
        # Field names stand once in the schema: thousands of small step records stay small.
        names = schema.setdefault(name, [field.name for field in fields(value)])  # type: ignore[arg-type]  # each subclass is a dataclass
        return {name: [_encode(getattr(value, field), arrays, schema) for field in names]}
    raise ValueError(f"a record cannot hold a {type(value).__name__}")


def _read_header(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> dict[str, Any]:
    if "record.json" not in members:
        raise ValueError("it has no record.json")
    if members["record.json"].file_size > MAX_JSON_BYTES:
        raise ValueError(f"its record.json is larger than {MAX_JSON_BYTES} bytes")
    header = json.loads(archive.read("record.json"))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    if header.get("version") != VERSION:
        raise ValueError(f"it has version {header.get('version')!r}; this llmwidgets reads version {VERSION}")
    if not isinstance(header.get("schema"), dict) or "root" not in header:
        raise ValueError("it has no schema or no root")
    return header


class _Reader:
    """Turns JSON back into records, each value checked against its field's annotation."""

    def __init__(self, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], schema: Any) -> None:
        self.archive, self.members, self.schema = archive, members, schema
        self.hints: dict[str, dict[str, Any]] = {}  # evaluated annotations by class name

    def decode(self, value: Any, annotation: Any) -> Any:
        """Return the value that `value` encodes.

        Raises:
            ValueError: if it is not of the type `annotation`.
        """
        if get_origin(annotation) in (Union, UnionType):
            return self._decode_union(value, get_args(annotation))
        if get_origin(annotation) is Literal:
            if value in get_args(annotation):
                return value
        elif annotation in (NoneType, bool, str, int):
            if type(value) is annotation:
                return value
        elif annotation is float:
            if type(value) in (int, float):
                return float(value)
        elif get_origin(annotation) is tuple and isinstance(value, list):
            return self._decode_tuple(value, get_args(annotation))
        elif isinstance(value, dict) and len(value) == 1:
            ((kind, content),) = value.items()
            if get_origin(annotation) is dict and kind == "dict":
                return {key: self.decode(item, get_args(annotation)[1]) for key, item in _pairs(content)}
            if get_origin(annotation) is np.ndarray and kind == "array":
                return self._array(content, annotation)
            if isinstance(annotation, type) and issubclass(annotation, Record):
                return self._record(kind, content, annotation)
        raise ValueError(f"{str(value)[:60]!r} stands where {annotation} belongs")

    def _decode_union(self, value: Any, choices: tuple[Any, ...]) -> Any:
        if value is None and NoneType in choices:
            return None
        reasons = []
        for choice in choices:
            if choice is not NoneType:
                try:
                    return self.decode(value, choice)
                except ValueError as error:
                    reasons.append(str(error))
        raise ValueError("; ".join(reasons) or "None is not allowed here")

    def _decode_tuple(self, value: list[Any], items: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(items) == 2 and items[1] is Ellipsis:
            return tuple(self.decode(item, items[0]) for item in value)
        if len(items) != len(value):
            raise ValueError(f"{len(value)} values stand where {len(items)} belong")
        return tuple(self.decode(item, of) for item, of in zip(value, items, strict=True))

    def _record(self, name: str, values: Any, annotation: type[Record]) -> Record:
        known = classes()
        if name not in known:
            raise ValueError(f"unknown record class {name!r}; known are {', '.join(sorted(known))}")
        cls = known[name]
        names = self.schema.get(name)
        if not issubclass(cls, annotation):
            raise ValueError(f"a {name} stands where a {annotation.__name__} belongs")
        if not isinstance(names, list) or not isinstance(values, list) or len(names) != len(values):
            raise ValueError(f"the values of a {name} do not match its schema")
        given = dict(zip(map(str, names), values, strict=True))
        wanted = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]  # each subclass is a dataclass
        if unknown := given.keys() - wanted.keys():
            raise ValueError(f"{name} has no field {', '.join(sorted(unknown))}")
        for field in wanted.values():  # fields with a default may be younger than the file
            if field.name not in given and field.default is MISSING and field.default_factory is MISSING:
                raise ValueError(f"the field {field.name} of {name} is missing")
        if name not in self.hints:
            self.hints[name] = get_type_hints(cls)
        hints = self.hints[name]
        return cls(**{key: self.decode(item, hints[key]) for key, item in given.items()})

    def _array(self, index: Any, annotation: Any) -> NDArray[Any]:
        name = f"arrays/{index}.npy"
        if type(index) is not int or name not in self.members:
            raise ValueError(f"the array {index!r} is missing")
        with self.archive.open(name) as member:
            array = _read_array(member, self.members[name].file_size)  # type: ignore[arg-type]  # IO[bytes]
        wanted = np.dtype(get_args(get_args(annotation)[1])[0])
        if array.dtype != wanted and not (wanted.kind == array.dtype.kind == "f"):
            raise ValueError(f"an array of {array.dtype} stands where {wanted} belongs")
        return array


def _pairs(content: Any) -> list[tuple[str, Any]]:
    if not isinstance(content, list):
        raise ValueError("a dict is not a list of pairs")
    for pair in content:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ValueError("a dict is not a list of pairs")
    return [(key, item) for key, item in content]


def _read_array(member: BinaryIO, file_size: int) -> NDArray[Any]:
    """Read a `.npy` member whose header must agree with its size before anything is allocated."""
    version = np.lib.format.read_magic(member)
    if version != (1, 0):
        raise ValueError(f"an array has .npy version {version}; allowed is (1, 0)")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(member)
    if dtype.kind not in _KINDS or dtype.hasobject or dtype.fields is not None or fortran_order:
        raise ValueError(f"an array holds {dtype}; allowed are C-ordered booleans, integers and floats")
    size = dtype.itemsize
    for length in shape:  # Python integers: no overflow
        if length < 0:
            raise ValueError(f"an array has shape {shape}")
        size *= length
    if size != file_size - member.tell():
        raise ValueError(
            f"an array of shape {shape} needs {size} bytes; {file_size - member.tell()} are there"
        )
    array = np.frombuffer(member.read(size), dtype).reshape(shape)  # read-only, as it lies over bytes
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


@cache
def classes() -> dict[str, type[Record]]:
    """Return the record classes that a file may name: those of `llmwidgets.records`, by class name."""
    package = import_module("llmwidgets.records")
    for module in iter_modules(package.__path__, package.__name__ + "."):
        import_module(module.name)
    found: dict[str, type[Record]] = {}
    waiting: list[type[Record]] = [Record]
    while waiting:
        for cls in waiting.pop().__subclasses__():
            waiting.append(cls)
            if cls.__module__.startswith(package.__name__ + "."):
                found[cls.__name__] = cls
    return found
