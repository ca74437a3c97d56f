"""What all widgets share: the wire, the text twin, the exported page. Knows no model and no record type."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import numpy as np
import traitlets

from llmwidgets.widgets.page import write_page

STATIC = Path(__file__).parent.parent / "static"


def bundle(stem: str) -> Path:
    """Return the built front end of one widget; raise `ImportError` that says how to build it."""
    path = STATIC / f"{stem}.js"
    if not path.exists():
        raise ImportError(f"{path} is not built. Install the project first: pip install -e .")
    return path


def pack(value: Any, _widget: object = None) -> Any:
    """Turn each array inside `value` into `{dtype, shape, data}`, which travels as one binary buffer."""
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        return {"dtype": array.dtype.name, "shape": list(array.shape), "data": memoryview(array.tobytes())}
    if isinstance(value, dict):
        return {key: pack(item) for key, item in value.items()}
    if isinstance(value, list):
        return [pack(item) for item in value]
    return value


class Figure(anywidget.AnyWidget):
    """A picture of a record.

    Public traits come first in each subclass, each with its meaning, unit and allowed values below it;
    names with an underscore are the wire to the front end.
    """

    stem: ClassVar[str]  # names the bundle: static/<stem>.js

    badge = traitlets.Enum(["MEASURED", "COUNTED", "MODELLED", "RECORDED", "GIVEN"], "GIVEN").tag(sync=True)
    """Where the numbers come from; GIVEN for arrays that the caller passed in."""

    _kernel = traitlets.Bool(True).tag(sync=True)  # an exported page answers False: nobody to ask

    def __init_subclass__(cls, **options: Any) -> None:
        if "stem" in vars(cls):  # not in the nameless subclasses that traitlets makes for an instance
            cls._esm = bundle(cls.stem)
        super().__init_subclass__(**options)

    def __init__(self, **traits: Any) -> None:
        known = self.trait_names()
        for name in traits:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = (
                    f"; did you mean {close[0]!r}?"
                    if close
                    else f"; it has {', '.join(self.public_traits())}"
                )
                raise TypeError(f"{type(self).__name__} has no trait {name!r}{hint}")
        super().__init__(**traits)

    def send_state(self, key: Any = None) -> None:
        """Send traits to the front end; as ipywidgets does, but safe while another thread sets one more."""
        super().send_state(set(key) if isinstance(key, set) else key)

    @classmethod
    def public_traits(cls) -> list[str]:
        """Return the names of the traits that a user may read, set and link."""
        own = [name for base in cls.__mro__ if issubclass(base, Figure) for name in vars(base)]
        traits = cls.class_traits()
        return [name for name in dict.fromkeys(own) if name in traits and not name.startswith("_")]

    def complete(self) -> None:
        """Fill in what the front end would have asked the kernel for; a page without a kernel needs it."""

    def to_text(self) -> str:
        """Return the figure in words, for a terminal or a reader who cannot see it."""
        raise NotImplementedError

    def to_html(self, path: str | Path | None = None, *, title: str = "llmwidgets") -> str:
        """Return one page that draws this figure without kernel or network; write it to `path` if given."""
        return write_page([self], path, title=title)

    def wire_state(self) -> dict[str, Any]:
        """Return what the front end draws from: plain values, with arrays packed as bytes."""
        self.complete()
        private = {"layout", "tabbable", "tooltip", "comm", "keys", "log"}
        keys = [key for key in self.keys if key not in private and key not in ("_esm", "_css")]
        state = self.get_state(keys)
        return {
            key: value for key, value in state.items() if not key.startswith(("_model", "_view_", "_dom"))
        }

    def _repr_mimebundle_(self, **options: Any) -> Any:
        made = super()._repr_mimebundle_(**options)
        if made is None:
            return None
        data, metadata = made if isinstance(made, tuple) else (made, {})
        return {**data, "text/plain": self.to_text()}, metadata


class RecordFigure(Figure):
    """A figure of one record; setting `record` draws another in the same place."""

    record: Any

    def __init__(self, record: Any, **traits: Any) -> None:
        super().__init__(**traits)
        self.record = record

    def foresee(self, arguments: dict[str, Any]) -> None:
        """Show what follows at once from new arguments of the record's function; the new record comes later.

        By default nothing follows at once.
        """
