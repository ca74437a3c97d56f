"""`Request`: one prompt, and how it is to be continued."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmwidgets.records.record import Record


@dataclass(frozen=True, repr=False)
class Request(Record):
    """One prompt and how it is to be continued; arguments left at None take the values given to `serve`.

    Raises:
        ValueError: for a value outside what its field allows, with the name, the value and the limit.
    """

    prompt: str | tuple[int, ...]
    """Text, or token ids; any sequence of ids is taken and kept as a tuple."""
    max_tokens: int | None = None
    """The most new tokens, at least 1."""
    request_id: str | None = None
    """Its name; None becomes `"r"` and the request's number in the list."""
    arrival: int = 0
    """The engine step before which it is added, at least 0."""
    n: int = 1
    """How many continuations; above 1, the children are called `"0_ID"`, `"1_ID"`, ..."""
    priority: int = 0
    """Under `scheduling_policy="priority"`, lower goes first."""
    temperature: float | None = None
    """As in `SamplingParams`, as are the fields below."""
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | tuple[str, ...] | None = None
    ignore_eos: bool | None = None

    def __post_init__(self) -> None:
        """Take any sequence of ids, and refuse what a field does not allow."""
        if not isinstance(self.prompt, str):
            object.__setattr__(self, "prompt", _token_ids("prompt", self.prompt))
        if self.stop is not None and not isinstance(self.stop, str):
            object.__setattr__(self, "stop", tuple(self.stop))
        if len(self.prompt) == 0:
            raise ValueError(f"prompt={self.prompt!r} is not allowed; allowed is at least one token")
        if self.request_id is not None and not (isinstance(self.request_id, str) and self.request_id):
            raise ValueError(f"request_id={self.request_id!r} is not allowed; allowed is a non-empty string")
        if self.max_tokens is not None:
            require_integer("max_tokens", self.max_tokens, 1)
        require_integer("arrival", self.arrival, 0)
        require_integer("n", self.n, 1)
        if not isinstance(self.priority, int) or isinstance(self.priority, bool):
            raise ValueError(f"priority={self.priority!r} is not allowed; allowed is an integer")

    @property
    def sequence_ids(self) -> tuple[str, ...]:
        """Ids of what is scheduled: the request's own, or its children's where `n` is above 1."""
        if self.request_id is None:
            raise ValueError("request_id=None has no sequences yet; give it an id")
        if self.n == 1:
            return (self.request_id,)
        return tuple(f"{index}_{self.request_id}" for index in range(self.n))


def number_requests(requests: Iterable[Request]) -> tuple[Request, ...]:
    """Return the requests with an id each.

    Raises:
        ValueError: if two requests, or their children, have the same id.
    """
    named: list[Request] = []
    seen: set[str] = set()
    for index, request in enumerate(requests):
        if not isinstance(request, Request):
            raise ValueError(f"requests[{index}]={request!r} is not allowed; allowed is a Request")
        name = f"r{index}" if request.request_id is None else request.request_id
        request = replace(request, request_id=name) if request.request_id is None else request
        for taken in {name, *request.sequence_ids}:
            if taken in seen:
                raise ValueError(f"request_id={taken!r} is not allowed; it is taken: ids must differ")
            seen.add(taken)
        named.append(request)
    return tuple(named)


def require_integer(name: str, value: object, minimum: int) -> None:
    """Raise ValueError unless `value` is an integer of at least `minimum`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name}={value!r} is not allowed; allowed is an integer of at least {minimum}")


def _token_ids(name: str, value: Sequence[int] | Any) -> tuple[int, ...]:
    try:
        ids = tuple(value)
        if all(type(token) is int for token in ids):
            return ids
        return tuple(token if type(token) is int else token.__index__() for token in ids)
    except (TypeError, AttributeError):
        raise ValueError(f"{name}={value!r} is not allowed; allowed is text or token ids") from None
