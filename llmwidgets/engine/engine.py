"""`Engine`: a Transformers causal LM, unmodified, behind methods that return records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from llmwidgets.engine.attend import attend
from llmwidgets.engine.batch import LayerFacts
from llmwidgets.engine.context_length import check_reach, trained_length
from llmwidgets.engine.generate import Run, finish, stream
from llmwidgets.engine.probe import choose_forward
from llmwidgets.engine.prompt import Prompt, encode
from llmwidgets.engine.quantization.perplexity import perplexity
from llmwidgets.engine.quantization.progress import Progress
from llmwidgets.engine.roofline import roofline
from llmwidgets.engine.rotate import rotate
from llmwidgets.engine.rotate_plan import plan_rotate
from llmwidgets.engine.serve import ServingIterator, serve
from llmwidgets.records.attention import Attention
from llmwidgets.records.generation import Generation, GenerationDelta
from llmwidgets.records.kv_shape import KVCacheDtype, KVCacheScale, KVShape
from llmwidgets.records.perplexity import Perplexity
from llmwidgets.records.quantization import Quantization
from llmwidgets.records.quantization_scheme import Method, QuantizationScheme
from llmwidgets.records.request import Request
from llmwidgets.records.roofline import Ceilings, RooflineSweep
from llmwidgets.records.rotation import Rotation
from llmwidgets.records.sampling_params import SamplingParams, stop_strings
from llmwidgets.records.serving import Serving

if TYPE_CHECKING:
    from llmwidgets.engine.quantization.calibration import Calibration
    from llmwidgets.engine.quantization.quantized_engine import QuantizedEngine


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
        trained = trained_length(config)
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
        probed = choose_forward(model, self.vocab_size, min(trained, self.max_model_len))
        self.forward, self.layers = probed.forward, probed.layers
        self.kv_shape = _kv_shape(self.layers)
        if self.max_model_len > trained:
            check_reach(self.forward, config, self.max_model_len)

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
        kv_cache_dtype: KVCacheDtype = "auto",
        kv_cache_scale: KVCacheScale = "head",
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
            kv_cache_dtype: how keys and values are held: `"auto"` as they are, `"int8"` or `"int4"` as codes.
            kv_cache_scale: what shares a grid of codes: one `"head"` of a token, or the whole `"token"`.

        Raises:
            ValueError: for a value that is not allowed, before any work.
        """
        params = SamplingParams(
            max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty,
            frequency_penalty, seed, stop_strings(stop), ignore_eos, sampler_order,
        )  # fmt: skip
        shape = self.kv_shape.held_as(kv_cache_dtype, kv_cache_scale)
        token_ids = encode(self, prompt, max_tokens)
        return finish(Run(self, token_ids, params, use_cache, output_prefix=output_prefix, kv_shape=shape))

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
        kv_cache_dtype: KVCacheDtype = "auto",
        kv_cache_scale: KVCacheScale = "head",
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
        shape = self.kv_shape.held_as(kv_cache_dtype, kv_cache_scale)
        return stream(Run(self, encode(self, prompt, max_tokens), params, use_cache, kv_shape=shape))

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

    def rotate(
        self,
        prompt: Prompt,
        *,
        layers: int | Sequence[int] | None = None,
        heads: int | Sequence[int] | None = None,
        scalings: str | Sequence[str] = ("none", "linear", "dynamic", "yarn"),
        factor: float | None = None,
        max_distance: int | None = None,
        text: Prompt | None = None,
        max_position: int | None = None,
        bucket_size: int | None = None,
        num_windows: int = 1,
    ) -> Rotation:
        """Show how the model turns positions into angles (RoPE, Su et al. 2021), and what lies past them.

        Args:
            prompt: text, or token ids as they are, whose queries and keys are kept as they were before they
                were turned.
            layers: which layers to keep; by default all that turn by the same frequencies.
            heads: which query heads to keep; by default all.
            scalings: what stretches the frequencies: `"linear"` (position interpolation, Chen et al. 2023),
                `"dynamic"` (dynamic NTK) and `"yarn"` (both Peng et al. 2023); `"none"` is always there.
            factor: by how much, at least 1; by default what max_position (or max_distance, without a text)
                needs.
            max_distance: how far apart queries and keys are looked at; by default four trained lengths.
            text: also measure how well this is predicted, by position, with each scaling. That takes a pass
                over max_position tokens for each scaling and window, and several for `"dynamic"`.
            max_position: how many positions the text is run over, at most and by default max_model_len.
            bucket_size: positions whose loss is averaged; by default a quarter of the trained length.
            num_windows: pieces of the text, spread evenly over it, that are run and averaged.

        Raises:
            ValueError: for a value that is not allowed, or a model without a rotary embedding.
        """
        plan = plan_rotate(
            self, prompt, layers, heads, scalings, factor, max_distance, text, max_position, bucket_size,
            num_windows,
        )  # fmt: skip
        return rotate(self, plan)

    @property
    def path(self) -> Literal["packed", "compatible"]:
        """How the model runs: its attention taken over, or left to itself, one sequence at a time."""
        return self.forward.path

    def serve(
        self, requests: Iterable[Request], *, record: Literal["steps", "summary"] = "steps", **knobs: Any
    ) -> Serving:
        """Run a workload with vLLM's scheduler over one pool of KV blocks, and keep every step.

        Args:
            requests: what is asked; `Request.arrival` counts engine steps.
            record: `"steps"` keeps each step; `"summary"` only outputs and metrics, for large workloads.
            **knobs: fields of `ServingConfig` (`block_size=16`, `num_gpu_blocks=64`, `max_num_seqs=8`,
                `max_num_batched_tokens=64`, `enable_prefix_caching=True`, ...), and the sampling arguments
                of `generate` as defaults, over which a `Request`'s own go. `max_model_len` is by default
                the engine's; `kv_cache_dtype` and `kv_cache_scale` are as in `generate`. Child i of a
                request with `n` above 1 has the seed `seed + i`.

        Returns:
            A `Serving` whose times are in seconds.

        Raises:
            ValueError: before anything runs, with what was given and what is allowed: an unknown knob, equal
                ids, a request that could never finish.
        """
        return serve(self, requests, record, knobs)

    def serve_steps(self, requests: Iterable[Request], **knobs: Any) -> ServingIterator:
        """Run a workload as `serve` does, and yield each step when it has run.

        Returns:
            An iterator of `ServingStep`, with `abort(request_id)` between two steps, `serving()` for the
            record so far, and `close()` to leave early.

        Raises:
            ValueError: as `serve`, before anything runs.
        """
        return ServingIterator(self, requests, "steps", knobs)

    def roofline(
        self,
        prompt_lengths: Sequence[int] = (16, 64, 256),
        batch_sizes: Sequence[int] = (1, 2, 4, 8, 16, 32),
        context: int = 128,
        ceilings: Ceilings | None = None,
    ) -> RooflineSweep:
        """Time prefill and decode steps, and hold them against what this machine could do at best.

        FLOPs and bytes are counted from the model's shapes (`flops.WorkCounter`), and the FLOPs checked once
        against PyTorch's own counter; times are means of several steps, without sampling.

        Args:
            prompt_lengths: tokens of each prefill of one sequence.
            batch_sizes: sequences of each decode step, one new token each.
            context: tokens that each sequence of a decode step has in the cache.
            ceilings: the machine's limits, from an earlier sweep on the same machine; by default they are
                measured, which takes about a second.

        Raises:
            ValueError: for a length out of reach, before any work; for a model that cannot be counted, such
                as a mixture of experts.
        """
        return roofline(self, prompt_lengths, batch_sizes, context, ceilings)

    def quantize(
        self,
        method: Method,
        bits: int | None = None,
        group_size: int | None = None,
        symmetric: bool = True,
        act_order: bool = False,
        calibration: Prompt | Calibration | None = None,
        layers: str | Sequence[str] | None = None,
        *,
        clip: float = 1.0,
        threshold: float | None = None,
        double_quant: bool = False,
        progress: Progress | None = None,
    ) -> QuantizedEngine:
        """Return another engine whose linear layers hold codes of fewer bits; this one stays as it is.

        Embeddings, norms and the output head stay in float.

        Args:
            method: `"rtn"`, `"int8"` (LLM.int8), `"nf4"`, `"fp4"`, `"gptq"` or `"awq"`.
            bits: of a code: 2 to 8 for `"rtn"`, `"gptq"` and `"awq"`, by default 4; others have their own.
            group_size: neighbouring weights of a row that share a scale, a divisor of the columns; -1 for the
                whole row; by default 64, for `"int8"` the row.
            symmetric: whether code 0 stands for 0; else each group has a zero point.
            act_order: whether GPTQ takes columns with large inputs first.
            calibration: text or token ids whose inputs the layers are fitted and measured with, or what
                `lw.calibrate` returned; by default the shipped text for `"gptq"` and `"awq"`, else none.
            layers: names such as `"layers.3.mlp.down_proj"`, or patterns such as `"layers.*.mlp.*"`.
            clip: share of a group's largest weight that the levels reach to; above 0, at most 1.
            threshold: LLM.int8 computes columns with an input of at least this size in float; by default 6.
            double_quant: whether the scales of `"nf4"` and `"fp4"` are quantized too.
            progress: called with the share done, 0 to 1, and what is worked on; it returns False to stop.

        Raises:
            ValueError: for a value that is not allowed, before any work.
            Stopped: if `progress` returned False.
        """
        from llmwidgets.engine.quantization.quantize import quantize  # which imports this module

        scheme = QuantizationScheme.of(
            method, bits, group_size, symmetric, act_order, clip, threshold, double_quant
        )
        return quantize(self, scheme, calibration, layers, progress)

    def quantize_layer(
        self,
        name: str,
        method: Method = "rtn",
        bits: int | None = None,
        group_size: int | None = None,
        symmetric: bool = True,
        act_order: bool = False,
        calibration: Prompt | Calibration | None = None,
        *,
        clip: float = 1.0,
        threshold: float | None = None,
        double_quant: bool = False,
        progress: Progress | None = None,
    ) -> Quantization:
        """Quantize one linear layer to look at; the model stays as it is. Other arguments as in `quantize`.

        Args:
            name: such as `"layers.3.mlp.down_proj"`.

        Returns:
            The record, with the layer's weights.

        Raises:
            ValueError: for an unknown name, with the nearest, and as `quantize`.
        """
        from llmwidgets.engine.quantization.quantize import quantize_layer  # which imports this module

        scheme = QuantizationScheme.of(
            method, bits, group_size, symmetric, act_order, clip, threshold, double_quant
        )
        return quantize_layer(self, name, scheme, calibration, progress)

    def perplexity(
        self,
        text: Prompt,
        window: int | None = None,
        num_windows: int | None = None,
        kv_cache_dtype: KVCacheDtype = "auto",
        kv_cache_scale: KVCacheScale = "head",
        progress: Progress | None = None,
    ) -> Perplexity:
        """Measure how well a text is predicted, in windows one after the other.

        Args:
            text: text or token ids.
            window: tokens of a window, the begin token included; by default 1024, or `max_model_len` if less.
            num_windows: how many, spread evenly over the text; by default all.
            kv_cache_dtype: as in `generate`.
            kv_cache_scale: the same.
            progress: as in `quantize`.

        Raises:
            ValueError: for a value that is not allowed, or a text of no more than one token.
            Stopped: if `progress` returned False.
        """
        return perplexity(self, text, window, num_windows, kv_cache_dtype, kv_cache_scale, progress)

    def __repr__(self) -> str:
        """Return one line with name, size and place, and the path if it is not the packed one."""
        path = "" if self.path == "packed" else f", {self.path} path"
        return (
            f"Engine({self.name!r}, {len(self.layers)} layers, max_model_len={self.max_model_len}, "
            f"{str(self.model.dtype).removeprefix('torch.')}, {self.forward.device}{path})"
        )


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
