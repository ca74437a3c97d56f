"""`Roofline`: what travels for each device, what is refused, what it says."""

import pytest

from llmwidgets.records.device_card import DEVICE_CARDS
from llmwidgets.records.roofline import Ceilings, RooflinePoint, RooflineSweep
from llmwidgets.widgets.roofline import Roofline

CEILINGS = Ceilings("a desk", "float32", 2, 1e11, 2e10)  # ridge at 5 FLOP/byte
GIVEN = {"intensity": [1, 10], "flops_per_second": [1e9, 5e9], "peak": 1e10, "bandwidth": 2e9}


def sweep(ceilings=CEILINGS, parameter_bytes=80_000_000, timed=True):
    points = (
        RooflinePoint("prefill", 1, 256, 0, 10**10, 10**9, 84_000_000, 4_000_000, 4_000_000, *((0.2,) * 3)),
        RooflinePoint("decode", 1, 1, 128, 4 * 10**7, 10**6, 80_000_000, 2_000_000, 16_000, *((0.01,) * 3)),
        RooflinePoint(
            "decode", 8, 8, 128, 32 * 10**7, 10**7, 80_100_000, 16_000_000, 128_000, *((0.02,) * 3)
        ),
    )
    if not timed:
        return RooflineSweep("tiny", ceilings, points, parameter_bytes).on(DEVICE_CARDS[0])
    return RooflineSweep("tiny", ceilings, points, parameter_bytes)


def test_points_lie_where_counts_and_times_put_them():
    roof = Roofline(sweep())._roofline["roofs"][0]
    prefill, one, eight = roof["steps"]
    assert prefill["intensity"] == 1.1e10 / 92e6
    assert prefill["flops_per_second"] == pytest.approx(1.1e10 / 0.2)
    assert [step["label"] for step in roof["steps"]] == ["T=256", "B=1", "B=8"]
    assert one["name"] == "Decode of 1 sequence, 128 tokens in its cache"
    assert eight["seconds"] == 0.02
    assert (roof["flops_per_second"], roof["bytes_per_second"]) == (1e11, 2e10)


def test_each_device_has_its_own_bounds_and_no_times():
    widget = Roofline(sweep())
    _, *others = widget._roofline["roofs"]
    assert [roof["name"] for roof in others] == [card.name for card in DEVICE_CARDS]
    for roof, card in zip(others, DEVICE_CARDS, strict=True):
        assert roof["flops_per_second"] == card.flops_per_second["bfloat16"]
        assert card.source in roof["source"]
        assert all(step["flops_per_second"] is None for step in roof["steps"])
        assert roof["steps"][1]["intensity"] == pytest.approx(2 * 4.1e7 / 82_016_000)


def test_the_badge_is_modelled_as_long_as_another_device_is_shown():
    widget = Roofline(sweep())
    assert widget.badge == "MEASURED"
    widget.device = "NVIDIA L4"
    assert widget.badge == "MODELLED"
    widget.device = ""
    assert widget.badge == "MEASURED"
    assert Roofline(sweep(timed=False)).badge == "MODELLED"
    assert Roofline(sweep(), badge="RECORDED", device="NVIDIA L4").badge == "MODELLED"
    assert Roofline(sweep(), badge="RECORDED").badge == "RECORDED"
    assert Roofline.from_arrays(**GIVEN).badge == "GIVEN"


def test_a_device_that_is_too_small_is_left_out_and_says_why():
    widget = Roofline(sweep(parameter_bytes=60 * 10**9))
    names = [roof["name"] for roof in widget._roofline["roofs"][1:]]
    assert names == ["NVIDIA H100 SXM", "NVIDIA H200 SXM", "NVIDIA A100 SXM 80 GB"]
    with pytest.raises(ValueError, match=r"takes 30\.0 GB; NVIDIA L4 holds 24 GB"):
        widget.device = "NVIDIA L4"
    assert widget.device == ""


def test_another_record_in_the_same_place_keeps_what_it_can():
    widget = Roofline(sweep(), device="NVIDIA L4", selected_point=2)
    widget.record = sweep(parameter_bytes=60 * 10**9)
    assert (widget.device, widget.badge, widget.selected_point) == ("", "MEASURED", 2)
    widget.record = Roofline.from_arrays(**GIVEN).record
    assert widget.selected_point is None
    assert widget.badge == "GIVEN"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"intensity": [0, 1]}, "intensity holds numbers that are not above zero"),
        ({"flops_per_second": [1e9]}, "flops_per_second has 1 entries, but intensity has 2"),
        ({"flops_per_second": [1e9, float("nan")]}, "flops_per_second holds numbers"),
        ({"peak": -1}, "peak holds numbers that are not above zero"),
        ({"bandwidth": float("inf")}, "bandwidth holds numbers"),
        ({"intensity": [], "flops_per_second": []}, "intensity has the shape"),
        ({"labels": ["a"]}, "labels has 1 entries, but intensity has 2"),
        ({"intensity": [1] * 201, "flops_per_second": [1] * 201}, "at most 200"),
        ({"selected_point": 2}, "selected_point=2 is not in the record; allowed: None, 0 to 1"),
        ({"device": "NVIDIA L4"}, "given points lie under one roof"),
    ],
)
def test_bad_input_is_refused_by_name(bad, message):
    with pytest.raises(ValueError, match=message):
        Roofline.from_arrays(**(GIVEN | bad))


def test_an_unknown_device_or_trait_is_refused():
    with pytest.raises(ValueError, match="there is no device card 'H100'"):
        Roofline(sweep(), device="H100")
    with pytest.raises(TypeError, match="did you mean 'device'"):
        Roofline(sweep(), devise="NVIDIA L4")


def test_the_text_twin_says_which_limit_binds_and_how_far_a_step_got():
    lines = Roofline(sweep()).to_text().splitlines()
    assert lines[0] == "Roofline of tiny on a desk float32"
    assert "ridge at 5 FLOP/byte (measured)" in lines[1]
    assert lines[2].endswith("bound by arithmetic at 100 GFLOP/s, 55% of it")
    assert lines[3].endswith("0.5 FLOP/byte, bound by memory at 10 GFLOP/s, 41% of it")
    other = Roofline(sweep(), device="NVIDIA H100 SXM").to_text()
    assert "computes 989 TFLOP/s, reads 3.35 TB/s, ridge at 295 FLOP/byte (modelled)" in other
    assert other.endswith("not run")


def test_the_repr_is_short():
    assert repr(Roofline(sweep(), device="NVIDIA L4")) == "Roofline(device='NVIDIA L4', points=3)"


def test_a_record_draws_itself():
    shown = sweep()._repr_mimebundle_()
    data = shown[0] if isinstance(shown, tuple) else shown
    assert data["text/plain"].startswith("Roofline of tiny")
