"""Bounds, shares and the line through step times."""

import numpy as np
import pytest

from llmwidgets.records.roofline import Ceilings, RooflinePoint, RooflineSweep, fit_step_time

CEILINGS = Ceilings("a desk", "float32", 2, 1e11, 2e10)


def point(flops, nbytes, seconds=None, batch_size=1):
    return RooflinePoint(
        "decode", batch_size, batch_size, 8, flops, 0, nbytes, 0, 0, seconds, seconds, seconds
    )


def test_a_bound_is_the_slower_of_reading_and_computing():
    sweep = RooflineSweep("tiny", CEILINGS, (point(10**9, 10**9, 0.1), point(10**11, 10**9, 1.25)), 1)
    memory, arithmetic = sweep.points
    assert CEILINGS.ridge_point == 5
    assert sweep.predicted_seconds(memory) == 1 / 20
    assert sweep.predicted_seconds(arithmetic) == 1
    assert sweep.share_of_bound(memory) == 0.5
    assert sweep.share_of_bound(arithmetic) == 0.8
    assert CEILINGS.attainable(1) == 2e10
    assert CEILINGS.attainable(500) == 1e11


@pytest.mark.parametrize("intensity", [0.1, 5.0, 80.0])
def test_time_and_rate_say_the_same(intensity):
    nbytes = 10**9
    assert intensity * nbytes / CEILINGS.seconds(intensity * nbytes, nbytes) == pytest.approx(
        CEILINGS.attainable(intensity)
    )


def test_a_line_through_times_is_found_with_its_error():
    sizes = [1, 2, 4, 8]
    fit = fit_step_time(sizes, [0.01 + 0.002 * size for size in sizes])
    assert (fit.base, fit.per_sequence) == (pytest.approx(0.01), pytest.approx(0.002))
    assert fit.largest_error == pytest.approx(0, abs=1e-12)
    noisy = np.array([0.012, 0.013, 0.019, 0.026])
    fit = fit_step_time(sizes, noisy)
    slope, intercept = np.polyfit(sizes, noisy, 1)
    assert fit.largest_error == pytest.approx(
        np.max(np.abs(intercept + slope * np.array(sizes) - noisy) / noisy)
    )


def test_a_sweep_fits_measured_times_and_bounds_where_nothing_ran():
    timed = RooflineSweep("m", CEILINGS, (point(1, 10**9, 0.2, 1), point(1, 2 * 10**9, 0.3, 2)), 1)
    assert timed.fit_decode().base == pytest.approx(0.1)
    bounds = RooflineSweep("m", CEILINGS, (point(1, 10**9, None, 1), point(1, 2 * 10**9, None, 2)), 1)
    assert bounds.fit_decode().per_sequence == pytest.approx(0.05)
    assert bounds.modelled


def test_one_batch_size_makes_no_line():
    with pytest.raises(ValueError, match=r"batch_sizes=\[4, 4\] is not allowed; a line needs two different"):
        fit_step_time([4, 4], [1.0, 1.1])
