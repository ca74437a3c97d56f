"""`Engine`: a Transformers causal LM, unmodified, behind methods that return records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from llmwidgets.engine.attend import attend
from llmwidgets.engine.batch import LayerFacts
from llmwidgets.engine.forward import PackedForward
from llmwidgets.engine.generate import Run, finish, stream
from llmwidgets.engine.probe import check_reach, probe
from llmwidgets.engine.prompt import Prompt, encode
from llmwidgets.records.attention import Attention
from llmwidgets.records.generation import Generation, GenerationDelta
from llmwidgets.records.kv_shape import KVShape
from llmwidgets.records.sampling_params import SamplingParams, stop_strings

_UNSTATED_LENGTH = 2048  # for families without a trained length in their config, such as those with ALiBi


class Engine:
    """Runs one model; methods may be called from any thread, and passes of one model take turns."""

    def __init__(self, model: Any, tokenizer: Any = None, max_model_len: int | None = None) -> None:
        """Take over a model that is in memory.

        Args:
            model: a causal LM of Transformers, on any one device, in any dtype; it is put in `eval` and stays
                usable as it is.
            tokenizer: a tokenizer of Transformers; without one, prompts are token ids and texts are empty.
            max_model_len: the most tokens of prompt and output together; by default what the model was
                trained for.

        Raises:
            ValueError: if the model's family cannot run here, or max_model_len is out of its reach.
        """
        config = model.config.get_text_config()
        trained = _trained_length(config)
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.max_model_len = trained if max_model_len is None else max_model_len
        if (
            isinstance(self.max_model_len, bool)
            or not isinstance(self.max_model_len, int)
            or self.max_model_len < 2
        ):
            raise ValueError(
                f"max_model_len={max_model_len!r} is not allowed; allowed is an integer of at least 2"
            )
        self.name: str = model.name_or_path or type(model).__name__
        self.vocab_size: int = config.vocab_size
        self.eos_token_ids = _eos_token_ids(model)
        self.forward = PackedForward(model)
        self.layers = probe(self.forward, self.vocab_size, min(trained, self.max_model_len))
        self.kv_shape = _kv_shape(self.layers)
        if self.max_model_len > trained:
            check_reach(self.forward, self.max_model_len)

    def generate(
        self,
        prompt: Prompt,
        max_tokens: int = 64,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        seed: int = 0,
        stop: str | Sequence[str] | None = None,
        ignore_eos: bool = False,
        sampler_order: Literal["vllm", "transformers"] = "vllm",
        use_cache: bool = True,
        output_prefix: Sequence[int] = (),
    ) -> Generation:
        """Continue a prompt; the same arguments give the same tokens.

        Args:
            prompt: text, or token ids as they are.
            max_tokens: the most new tokens, at least 1.
            temperature: logits are divided by it; 0 takes the most probable token.
            top_k: how many of the most probable tokens stay; 0 keeps all.
            top_p: the smallest set of tokens that reaches this probability stays; above 0, up to 1.
            min_p: tokens below this share of the top probability go; 0 to 1.
            repetition_penalty: above 1, tokens of prompt and output become less probable; above 0.
            presence_penalty: taken off the logit of each token of the output; -2 to 2.
            frequency_penalty: taken off once for each time that a token is in the output; -2 to 2.
            seed: of the request's own random numbers, at least 0.
            stop: a string or strings that end the text, which leaves them out.
            ignore_eos: go on past the model's end token.
            sampler_order: `"vllm"`, or `"transformers"`, which applies min-p last.
            use_cache: False computes the whole sequence again for each token, to compare.
            output_prefix: token ids that the output begins with, whatever the model would have chosen; they
                count among `max_tokens`.

        Raises:
            ValueError: for a value that is not allowed, before any work.
        """
        params = SamplingParams(
            max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty,
            frequency_penalty, seed, stop_strings(stop), ignore_eos, sampler_order,
        )  # fmt: skip
        run = Run(self, encode(self, prompt, max_tokens), params, use_cache, output_prefix=output_prefix)
        return finish(run)

    def stream(
        self,
        prompt: Prompt,
        max_tokens: int = 64,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        seed: int = 0,
        stop: str | Sequence[str] | None = None,
        ignore_eos: bool = False,
        sampler_order: Literal["vllm", "transformers"] = "vllm",
        use_cache: bool = True,
    ) -> Iterator[GenerationDelta]:
        """Continue a prompt token by token; arguments as in `generate`, checked at once.

        Returns:
            One delta a token; the last one holds the whole `Generation`. All texts together are its text.
            Whoever stops early drops the iterator, and the blocks go with it.
        """
        params = SamplingParams(
            max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty,
            frequency_penalty, seed, stop_strings(stop), ignore_eos, sampler_order,
        )  # fmt: skip
        return stream(Run(self, encode(self, prompt, max_tokens), params, use_cache))

    def attend(
        self,
        prompt: Prompt,
        max_tokens: int = 0,
        edit: tuple[int, str | int] | None = None,
        layers: int | Sequence[int] | None = None,
        heads: int | Sequence[int] | None = None,
    ) -> Attention:
        """Run a prompt and keep queries and keys, from which any head's weights follow.

        Args:
            prompt: text, or token ids as they are.
            max_tokens: new tokens to generate greedily. With 0 each position of the prompt is a query; else
                the queries are those that produced the new tokens, and keys all positions computed.
            edit: (position, token): also run the prompt with that token there, and say which positions'
                outputs moved. The weights are those of the prompt as given.
            layers: which layers to keep; by default all.
            heads: which query heads to keep; by default all.

        Raises:
            ValueError: for a value that is not allowed, before any work.
        """
        return attend(self, prompt, max_tokens, edit, layers, heads)

    def __repr__(self) -> str:
        """Return one line with name, size and place."""
        return (
            f"Engine({self.name!r}, {len(self.layers)} layers, max_model_len={self.max_model_len}, "
            f"{str(self.model.dtype).removeprefix('torch.')}, {self.forward.device})"
        )


def _trained_length(config: Any) -> int:
    names = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
    found = [getattr(config, name, None) for name in names]
    return next((length for length in found if isinstance(length, int)), _UNSTATED_LENGTH)


def _kv_shape(layers: Sequence[LayerFacts]) -> KVShape:
    return KVShape(
        num_heads=tuple(layer.num_heads for layer in layers),
        num_kv_heads=tuple(layer.num_kv_heads for layer in layers),
        key_size=tuple(layer.key_size for layer in layers),
        value_size=tuple(layer.value_size for layer in layers),
        bytes_per_number=layers[0].bytes_per_number,
    )


def _eos_token_ids(model: Any) -> frozenset[int]:
    """Return the tokens at which `model.generate` would stop."""
    given = getattr(model.generation_config, "eos_token_id", None)
    if given is None:
        return frozenset()
    return frozenset([given] if isinstance(given, int) else given)
