"""`ServingConfig`: the knobs of a serving engine, with vLLM's names."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from llmwidgets.records.record import Record
from llmwidgets.records.request import Request, require_integer

SchedulingPolicy = Literal["fcfs", "priority"]
Batching = Literal["continuous", "static", "none"]
Cache = Literal["paged", "contiguous_max", "contiguous_pow2"]


@dataclass(frozen=True, repr=False)
class ServingConfig(Record):
    """How requests are batched and where their keys and values lie.

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
    """Whether full blocks are found again by their tokens; only a paged cache can share blocks."""
    enable_chunked_prefill: bool = True
    """Whether a prompt may be computed over several steps."""
    scheduling_policy: SchedulingPolicy = "fcfs"
    """`"fcfs"`: first come, first served; `"priority"`: the lowest `Request.priority` first."""
    batching: Batching = "continuous"
    """`"continuous"`: a request is admitted as soon as there is room (Yu et al. 2022, Orca); `"static"`: a
    batch of up to `max_num_seqs` is formed when the last one has ended; `"none"`: one request at a time."""
    cache: Cache = "paged"
    """`"paged"`: blocks as they are needed; `"contiguous_max"`: room in a row for `max_model_len` tokens from
    the start; `"contiguous_pow2"`: for the next power of two of prompt + `max_tokens` (the systems before
    paging in Kwon et al. 2023, section 6.1)."""

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
        kinds = {"scheduling_policy": SchedulingPolicy, "batching": Batching, "cache": Cache}
        for name, kind in kinds.items():
            if getattr(self, name) not in get_args(kind):
                known = " or ".join(map(repr, get_args(kind)))
                raise ValueError(f"{name}={getattr(self, name)!r} is not allowed; allowed is {known}")

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

    @property
    def shares_prefixes(self) -> bool:
        """Whether blocks can be found again; a contiguous cache gives each request blocks of its own."""
        return self.enable_prefix_caching and self.cache == "paged"

    def reserved_tokens(self, num_prompt_tokens: int, max_tokens: int) -> int:
        """Return for how many tokens a request gets room when it is admitted; 0 in a paged cache."""
        if self.cache == "paged":
            return 0
        if self.cache == "contiguous_max":
            return self.pool_tokens if self.max_model_len is None else self.max_model_len
        return 1 << (num_prompt_tokens + max_tokens - 1).bit_length()

    def check(self, request: Request) -> None:
        """Refuse a request that could never finish.

        Args:
            request: with an id, token ids and `max_tokens`.

        Raises:
            ValueError: if prompt and `max_tokens` together pass the pool, `max_model_len`, or, without
                chunked prefill, `max_num_batched_tokens`; or if the room for them passes the pool.
        """
        if isinstance(request.prompt, str) or request.max_tokens is None:
            raise ValueError(f"request {request.request_id!r} needs token ids and max_tokens here")
        total = len(request.prompt) + request.max_tokens
        limits = {
            "the pool's (num_gpu_blocks - 1) * block_size": self.pool_tokens,
            "max_model_len": self.max_model_len,
        }
        if not self.enable_chunked_prefill:
            limits["max_num_batched_tokens without chunked prefill"] = self.max_num_batched_tokens
        for name, limit in limits.items():
            if limit is not None and total > limit:
                raise ValueError(
                    f"prompt + max_tokens = {len(request.prompt)} + {request.max_tokens} = {total} "
                    f"of request {request.request_id!r} is not allowed; allowed is at most {limit}, {name}"
                )
        room = self.reserved_tokens(len(request.prompt), request.max_tokens)
        if room > self.pool_tokens:
            raise ValueError(
                f"cache={self.cache!r} gives request {request.request_id!r} room for {room} tokens, which is "
                f"not allowed; allowed is at most the pool's {self.pool_tokens}: raise num_gpu_blocks"
            )
