"""`SlotUse`: what the token slots of a KV cache hold, and why the others hold nothing."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llmwidgets.records.record import Record


@dataclass(frozen=True, slots=True, repr=False)
class SlotUse(Record):
    """Token slots at one step, or over steps, by what became of them (Kwon et al. 2023, figure 2)."""

    used: int
    """Hold the key and value of a token; a slot that several requests share counts once."""
    reserved: int
    """Empty, and filled before their request ends."""
    internal: int
    """Empty, and given to a request that never fills them."""
    external: int
    """Free, and of no use to the first waiting request, since they do not lie in a row."""
    free: int
    """Free; cached blocks without references are among them."""

    @property
    def total(self) -> int:
        """All slots."""
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def wasted(self) -> int:
        """Slots that are taken or blocked, and hold nothing."""
        return self.reserved + self.internal + self.external
