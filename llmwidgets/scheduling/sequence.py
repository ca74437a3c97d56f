"""`Sequence`: a request, or one of its children, while it waits and runs."""

from __future__ import annotations

from llmwidgets.scheduling.block_pool import Block
from llmwidgets.scheduling.prefix import Prefix


class Sequence:
    """What the scheduler knows of one token sequence."""

    __slots__ = (
        "block_table",
        "max_tokens",
        "num_computed_tokens",
        "num_hashed_blocks",
        "num_preemptions",
        "num_prompt_tokens",
        "order",
        "prefixes",
        "priority",
        "request_id",
        "token_ids",
    )

    def __init__(
        self,
        request_id: str,
        prompt_token_ids: tuple[int, ...],
        max_tokens: int,
        priority: int = 0,
        order: int = 0,
    ) -> None:
        self.request_id = request_id
        self.token_ids = list(prompt_token_ids)
        """Prompt and output."""
        self.num_prompt_tokens = len(prompt_token_ids)
        self.max_tokens = max_tokens
        self.priority = priority
        """Lower goes first."""
        self.order = order
        """Its number of arrival, among equals in priority the lower goes first."""
        self.num_computed_tokens = 0
        """Tokens whose keys and values are in the blocks, those of the step under way included."""
        self.block_table: list[Block] = []
        self.num_hashed_blocks = 0
        """Blocks of the table that were shared or cached."""
        self.num_preemptions = 0
        self.prefixes: list[Prefix] = []
        """Of the full blocks of `token_ids`, as far as they were needed."""

    @property
    def num_output_tokens(self) -> int:
        """Tokens sampled so far."""
        return len(self.token_ids) - self.num_prompt_tokens

    def prefix(self, index: int, block_size: int) -> Prefix:
        """Return the tokens up to the end of full block `index`."""
        while len(self.prefixes) <= index:
            parent = self.prefixes[-1] if self.prefixes else None
            start = len(self.prefixes) * block_size
            self.prefixes.append(Prefix(parent, tuple(self.token_ids[start : start + block_size])))
        return self.prefixes[index]
