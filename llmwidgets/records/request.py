"""`Request` and `ServingConfig`: what is asked of a serving engine, and with which knobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from llmwidgets.records.record import Record

SchedulingPolicy = Literal["fcfs", "priority"]


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


@dataclass(frozen=True, repr=False)
class ServingConfig(Record):
    """The knobs of a serving engine, with vLLM's names.

    Raises:
        ValueError: for a value outside what its field allows, with the name, the value and the limit.
    """

    block_size: int = 16
    """Tokens whose keys and values one block holds."""
    num_gpu_blocks: int = 64
    """Blocks of the pool, the null block included: 64 leaves 63 to use."""
    max_num_seqs: int = 8
    """The most requests that run in one step."""
    max_num_batched_tokens: int = 64
    """The most tokens that are computed in one step."""
    max_model_len: int | None = None
    """The most tokens of a sequence; None leaves the pool as the only limit."""
    enable_prefix_caching: bool = True
    """Whether full blocks are found again by their tokens."""
    enable_chunked_prefill: bool = True
    """Whether a prompt may be computed over several steps."""
    scheduling_policy: SchedulingPolicy = "fcfs"
    """`"fcfs"`: first come, first served; `"priority"`: the lowest `Request.priority` first."""

    def __post_init__(self) -> None:
        """Refuse what a field does not allow."""
        require_integer("block_size", self.block_size, 1)
        require_integer("num_gpu_blocks", self.num_gpu_blocks, 2)
        require_integer("max_num_seqs", self.max_num_seqs, 1)
        require_integer("max_num_batched_tokens", self.max_num_batched_tokens, 1)
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens={self.max_num_batched_tokens} is not allowed; "
                f"allowed is at least max_num_seqs={self.max_num_seqs}"
            )
        if self.max_model_len is not None:
            require_integer("max_model_len", self.max_model_len, 1)
        for name in ("enable_prefix_caching", "enable_chunked_prefill"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r} is not allowed; allowed is True or False")
        if self.scheduling_policy not in ("fcfs", "priority"):
            raise ValueError(
                f"scheduling_policy={self.scheduling_policy!r} is not allowed; "
                "allowed is 'fcfs' or 'priority'"
            )

    @classmethod
    def of(cls, **knobs: Any) -> ServingConfig:
        """Return the config with these knobs; an unknown name is a ValueError that lists the known ones."""
        known = [field.name for field in fields(cls)]
        for name in knobs:
            if name not in known:
                raise ValueError(f"{name}={knobs[name]!r} is not a knob; knobs are {', '.join(known)}")
        return cls(**knobs)

    @property
    def pool_tokens(self) -> int:
        """Tokens that fit in the whole pool."""
        return (self.num_gpu_blocks - 1) * self.block_size

    def check(self, request: Request) -> None:
        """Refuse a request that could never finish.

        Args:
            request: with an id, token ids and `max_tokens`.

        Raises:
            ValueError: if prompt and `max_tokens` together pass the pool, `max_model_len`, or, without
                chunked prefill, `max_num_batched_tokens`.
        """
        if isinstance(request.prompt, str) or request.max_tokens is None:
            raise ValueError(f"request {request.request_id!r} needs token ids and max_tokens here")
        total = len(request.prompt) + request.max_tokens
        limits = {
            "max_model_len": self.max_model_len,
            "the pool's (num_gpu_blocks - 1) * block_size": self.pool_tokens,
        }
        if not self.enable_chunked_prefill:
            limits["max_num_batched_tokens without chunked prefill"] = self.max_num_batched_tokens
        for name, limit in limits.items():
            if limit is not None and total > limit:
                raise ValueError(
                    f"prompt + max_tokens = {len(request.prompt)} + {request.max_tokens} = {total} "
                    f"of request {request.request_id!r} is not allowed; allowed is at most {limit}, {name}"
                )


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
