"""Quantization records: arrays against the engine's own codes, histograms, tours, and files."""

import numpy as np
import pytest

import llmwidgets as lw
from llmwidgets.records.perplexity import Perplexity
from llmwidgets.records.quantization_scheme import QuantizationScheme
from llmwidgets.records.quantize_array import quantize_array
from llmwidgets.records.record import load_record
from llmwidgets.records.weight_histogram import weight_histogram
from tests.records.test_record import same

SCHEMES = [
    QuantizationScheme.of("rtn", bits, size, symmetric, clip=clip)
    for bits in (2, 3, 4, 8)
    for size, symmetric, clip in ((16, True, 1.0), (32, False, 1.0), (-1, True, 0.8), (16, False, 0.7))
] + [
    QuantizationScheme.of("int8"),
    QuantizationScheme.of("int8", clip=0.9),
    QuantizationScheme.of("nf4", group_size=32),
    QuantizationScheme.of("fp4"),
    QuantizationScheme.of("nf4", clip=0.8),
]
NAME = "layers.0.mlp.up_proj"


def by_engine(engine, scheme, **knobs):
    return engine.quantize_layer(
        NAME, scheme.method, scheme.bits, scheme.group_size, scheme.symmetric, clip=scheme.clip, **knobs
    ).layers[0]


@pytest.fixture(scope="module")
def weights(engine):
    return engine.model.get_submodule(f"model.{NAME}").weight.detach().numpy()


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.label)
def test_an_array_is_quantized_as_the_engine_does(engine, weights, scheme):
    mine, theirs = quantize_array(weights, scheme).layers[0], by_engine(engine, scheme)
    assert np.array_equal(mine.codes, theirs.codes)
    assert np.array_equal(mine.scales, theirs.scales)
    assert (
        (mine.zero_points is None)
        == (theirs.zero_points is None)
        == (scheme.symmetric or scheme.has_codebook)
    )
    if mine.zero_points is not None:
        assert np.array_equal(mine.zero_points, theirs.zero_points)
    assert np.array_equal(mine.quantized, theirs.quantized)
    assert np.array_equal(mine.rounded, theirs.rounded)
    assert mine.nbytes == theirs.nbytes


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.label)
def test_histograms_count_every_weight_where_it_lies(engine, weights, scheme):
    layer = quantize_array(weights, scheme).layers[0]
    errors = layer.quantized - weights
    for histogram, numbers in ((layer.before, weights), (layer.errors, errors)):
        counts, _ = np.histogram(numbers.astype(np.float64), histogram.edges.astype(np.float64))
        assert np.abs(histogram.counts - counts).sum() <= 4  # on an edge, float32 may round the other way
        assert histogram.counts.sum() == weights.size
    squares = np.square(layer.before.errors.astype(np.float64)) * layer.before.counts
    assert squares.sum() == pytest.approx(np.square(errors.astype(np.float64)).sum(), rel=1e-4)
    assert layer.after.sum() == weights.size
    assert layer.code_counts.sum() == weights.size
    assert len(layer.code_counts) == len(layer.marks) == len(scheme.levels)
    assert np.allclose(layer.column_errors, np.sqrt(np.square(errors).mean(axis=0)), rtol=1e-4)
    if scheme.method in (
        "rtn",
        "int8",
    ):  # between two levels, as many numbers go to each side as the codes say
        by_place = layer.steps.counts.reshape(len(scheme.levels) + 2, -1).sum(axis=1)
        # What lies past the ends is clipped; the least weight of a group may lie just between two levels.
        found = [by_place[:3].sum(), *by_place[3:-2], by_place[-2:].sum()]
        codes = layer.code_counts
        assert np.abs(np.array(found) - [codes[:2].sum(), *codes[2:]]).sum() <= 0.002 * weights.size


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.label)
def test_a_group_is_followed_step_by_step(weights, scheme):
    layer = quantize_array(weights, scheme).layers[0]
    group = layer.group(5, layer.scales.shape[1] - 1)
    columns = slice(*group.columns)
    assert np.array_equal(group.weights, weights[5, columns])
    assert np.array_equal(group.codes, layer.codes[5, columns])
    assert np.array_equal(group.quantized, layer.quantized[5, columns])
    steps = {step.name: step.values for step in group.steps}
    assert next(iter(steps)) == "value"
    assert list(steps)[-2:] == ["level", "error"]
    assert np.array_equal(steps["level"], group.quantized)
    assert np.allclose(steps["value"] + steps["error"], steps["level"], atol=1e-7)
    nearest = np.abs(group.rounded[:, None] - group.levels).min(axis=1)
    assert np.allclose(np.abs(steps["level"] - group.rounded), nearest, atol=1e-6)
    assert group.to_text().splitlines()[1].lstrip().startswith("value")


def test_gptq_and_awq_show_what_they_did_before_rounding(engine):
    tokens = [(7 + 31 * i + i * i) % 256 for i in range(256)]
    for method, name in (("gptq", "corrected"), ("awq", "scaled")):
        layer = engine.quantize_layer("layers.0.self_attn.q_proj", method, 3, 32, calibration=tokens).layers[
            0
        ]
        group = layer.group(2, 1)
        steps = {step.name: step.values for step in group.steps}
        assert np.array_equal(steps[name], layer.rounded[2, 32:])
        assert not np.array_equal(layer.rounded, layer.weights)
        assert np.allclose(group.quantized - group.weights, steps["error"])
        if method == "awq" and layer.alpha:
            assert np.allclose(steps["scaled"], group.weights * layer.input_scales[32:], rtol=1e-5)
            assert np.allclose(steps["undone"], steps["level"] / layer.input_scales[32:], rtol=1e-5)


def test_double_quantization_keeps_the_scales_codes(engine):
    layer = by_engine(engine, QuantizationScheme.of("nf4", group_size=32), double_quant=True)
    assert np.array_equal(layer.nested.dequantize(), layer.scales.reshape(-1))
    assert layer.nested.codes.dtype == np.uint8
    plain = by_engine(engine, QuantizationScheme.of("nf4", group_size=32))
    assert 0 < np.abs(layer.scales - plain.scales).max() < 0.05 * plain.scales.max()


def test_salient_and_outlier_columns(engine):
    plain = by_engine(engine, QuantizationScheme.of("rtn"))
    assert (len(plain.salient()), len(plain.outlier_columns), plain.output_error) == (0, 0, None)
    tokens = list(range(250)) * 2
    layer = by_engine(engine, QuantizationScheme.of("rtn"), calibration=tokens[:256])
    assert layer.input_mean.shape == (64,)
    assert layer.salient(4 / 64).tolist() == sorted(np.argsort(layer.input_mean)[-4:].tolist())
    assert 0 < layer.output_error < 1
    with pytest.raises(ValueError, match="at most 1"):
        layer.salient(2)


def test_the_record_of_a_model_is_small_where_it_travels_and_keeps_no_weights(engine):
    record = engine.quantize("rtn").quantization
    assert record.layer(NAME).weights is None
    with pytest.raises(ValueError, match="keeps no weights"):
        record.layer(NAME).group(0, 0)
    with pytest.raises(ValueError, match=r"is not a quantized layer; there are layers.0.self_attn.q_proj"):
        record.layer("nothing")
    assert record.nbytes == sum(layer.nbytes for layer in record.layers)
    assert record.bits_per_weight == pytest.approx(4.5)
    assert len(record.to_text().splitlines()) == 1 + 14
    for number, allowed in (((128, 0), "0 to 127"), ((0, 1), "0 to 0"), ((-1, 0), "0 to 127")):
        with pytest.raises(ValueError, match=allowed):
            quantize_array(np.ones((128, 64)), QuantizationScheme.of("rtn")).layers[0].group(*number)


def test_records_come_back_from_a_file(engine, tmp_path):
    tokens = list(range(250)) * 2
    records = [
        engine.quantize_layer(NAME, "awq", 3, 32, symmetric=False, calibration=tokens[:256]),
        engine.quantize_layer(NAME, "nf4", double_quant=True),
        engine.quantize("gptq", 3, group_size=-1, calibration=tokens[:256]).quantization,
        engine.quantize_layer(NAME, "rtn").layers[0].group(0, 0),
        engine.perplexity(tokens),
        engine.kv_shape.held_as("int4", "token"),
    ]
    for record in records:
        record.save(tmp_path / "record")
        assert same(record, load_record(tmp_path / "record"))


def test_arrays_are_read_only():
    layer = quantize_array(np.ones((2, 64)), QuantizationScheme.of("rtn")).layers[0]
    for array in (layer.codes, layer.scales, layer.weights, layer.before.counts, layer.column_errors):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_zeros_have_no_error():
    layer = quantize_array(np.zeros((2, 64)), QuantizationScheme.of("rtn", 3)).layers[0]
    assert (layer.weight_error, layer.max_error) == (0.0, 0.0)
    assert not layer.quantized.any()


@pytest.mark.parametrize(
    ("w", "scheme", "says"),
    [
        (np.ones(4), QuantizationScheme.of("rtn"), "allowed is a matrix"),
        (np.ones((0, 4)), QuantizationScheme.of("rtn"), "allowed is a matrix"),
        (np.full((2, 64), np.nan), QuantizationScheme.of("rtn"), "NaN or infinity"),
        (np.ones((2, 60)), QuantizationScheme.of("rtn"), "does not divide the 60 columns"),
        (np.ones((2, 64)), QuantizationScheme.of("gptq"), "engine.quantize_layer has them all"),
        (
            np.ones((2, 64)),
            QuantizationScheme.of("nf4", double_quant=True),
            "engine.quantize_layer has them all",
        ),
    ],
)
def test_what_cannot_be_quantized_is_refused(w, scheme, says):
    with pytest.raises(ValueError, match=says):
        quantize_array(w, scheme)


def test_a_histogram_puts_what_lies_outside_into_the_end_bins():
    histogram = weight_histogram(np.array([-5, 0.1, 0.2, 0.9, 7], np.float32), 0, 1, 4)
    assert histogram.counts.tolist() == [3, 0, 0, 2]
    assert histogram.errors is None


def test_reprs_are_short_and_the_same_each_time(engine):
    record = engine.quantize("rtn", 3, 32).quantization
    assert repr(record).startswith("Quantization('LlamaForCausalLM', rtn, 3 bits, groups of 32, 14 layers, ")
    assert repr(record.layers[0]).startswith(
        "QuantizedLayer('layers.0.self_attn.q_proj', 64 × 64, rtn, 3 bits"
    )
    assert repr(Perplexity("m", 2.0, 10, 1, 11)) == "Perplexity(7.3891, 'm', 10 tokens in 1 windows of 11)"


def test_names_are_public():
    assert lw.Quantization is not None
    assert lw.Perplexity is not None
