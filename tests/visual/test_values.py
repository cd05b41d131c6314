"""Numbers as a textbook prints them, and arrays too large for that."""

import base64
import struct
import zlib

import numpy as np
import pytest

from symgraph.visual.values import NOT_A_NUMBER, ZERO, array_text, heat_map, norm, number, png, shape_text, shown


@pytest.mark.parametrize("value, text", [
    (0.7310585786300049, "0.731"), (0.11920292202211755, "0.119"), (3.0592782829894367, "3.06"),
    (0.035969, "0.0360"), (0.0058656, "0.00587"), (-0.24608, "-0.246"), (3.0, "3"), (-2.0, "-2"), (0.0, "0"),
    (-0.0, "0"), (0.1, "0.1"), (0.5, "0.5"), (0.125, "0.125"), (0.1 + 0.2, "0.300"), (1.0 / 3, "0.333"),
    (99.96, "100"), (999.7, "1000"), (123.4, "123"), (1234.6, "1235"), (1234.0, "1234"), (0.9996, "1.00"),
    (99.94, "99.9"), (999999.0, "999999"), (1e6, "1e6"), (1.5e6, "1.5e6"), (1.23456e8, "1.23e8"),
    (1e-4, "0.0001"), (1.2345e-5, "1.23e-5"), (-1e-300, "-1e-300"), (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.80e308"), (float("nan"), "nan"), (float("inf"), "inf"), (-float("inf"), "-inf"),
    (np.float32(0.1), "0.1"), (np.float32(1) / np.float32(3), "0.333"), (np.float32(3e38), "3e38"),
    (True, "True"), (np.bool_(False), "False"), (12345678, "12345678"), (np.uint8(255), "255"),
    (np.int64(-(2**63)), "-9223372036854775808"),
])
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_right_to_three_digits(seed):
    rng = np.random.default_rng(seed)
    for value in rng.normal(size=200) * 10.0 ** rng.integers(-12, 12, 200):
        assert float(number(value)) == pytest.approx(value, rel=0.00501)


@pytest.mark.parametrize("array, text", [
    (3.0, "3"), ([1.0, 0.5], "(1, 0.5)"), ([[3.0, 2.0], [4.0, 3.0]], "((3, 2), (4, 3))"), ([True], "(True)"),
    ([[[1], [2]]], "(((1), (2)))"),
])
def test_small_arrays_are_written_out(array, text):
    assert array_text(np.array(array)) == text
    assert shown(np.array(array)).text == text


def test_small_matrices_come_in_rows():
    assert shown(np.array([[0.5, 2.0], [-4.0, 3.0]])).rows == (("0.5", "2"), ("-4", "3"))
    assert shown(np.array([1.0, 2.0])).rows == ()


def test_six_elements_are_written_out_and_seven_are_not():
    assert shown(np.arange(6.0)).heat is None
    seven = shown(np.arange(7.0))
    assert seven.text == f"7  norm {np.linalg.norm(np.arange(7.0)):.2f}"
    assert seven.heat.shape == (1, 7)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 4)])
def test_empty_arrays(shape):
    assert shown(np.zeros(shape)).text == f"empty, {shape_text(shape)}"


def test_shapes():
    assert shape_text((60, None, 784)) == "60 × ? × 784"


@pytest.mark.parametrize("array, expected", [
    (np.full(100, 3.0), 30.0), (np.full(4, 1e200), 2e200), (np.full(4, 5e-324), 1e-323), (np.zeros(9), 0.0),
    (np.full(4, np.iinfo("int64").min), 2.0**64), (np.ones(9, bool), 3.0), (np.array([1.0, -np.inf]), np.inf),
])
def test_norms(array, expected):
    assert norm(array) == pytest.approx(expected)


def test_the_norm_of_not_a_number_is_none():
    assert np.isnan(norm(np.array([1.0, np.nan])))


def test_heat_maps_are_means_of_blocks():
    array = np.random.default_rng(0).normal(size=(48, 7))
    np.testing.assert_allclose(heat_map(array), array.reshape(24, 2, 7).mean(axis=1))
    np.testing.assert_allclose(heat_map(array.T), array.T.reshape(7, 24, 2).mean(axis=2))
    np.testing.assert_allclose(heat_map(np.full((1000, 37), 2.5)), np.full((24, 24), 2.5))
    np.testing.assert_allclose(heat_map(np.arange(25.0)), [[*range(23), 23.5]])


def test_heat_maps_of_higher_rank_join_all_axes_but_the_last():
    array = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(heat_map(array), array.reshape(6, 4))


def pixels(url):
    """The pixels of a PNG in a data URL, the checksum of each chunk verified."""
    data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at:at + 4])
        kind, body = data[at + 4:at + 8], data[at + 8:at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length:at + 12 + length]) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (8, 2)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, 3)


def test_colours_tell_sign_and_size():
    found = pixels(png(np.array([[-2.0, -1.0, 0.0, 1.0, 2.0, np.nan, np.inf, -np.inf]]))).astype(int)[0]
    assert tuple(found[2]) == ZERO
    assert tuple(found[5]) == NOT_A_NUMBER
    assert found[0][2] > found[0][0] and found[4][0] > found[4][2]
    assert (found[6] == found[4]).all() and (found[7] == found[0]).all()
    assert found[1].sum() > found[0].sum() and found[3].sum() > found[4].sum()


@pytest.mark.parametrize("value", [0, np.nan, np.inf, 1e308, 5e-324])
def test_extreme_heat_maps(value):
    heat = np.full((3, 2), float(value))
    assert pixels(png(heat)).shape == (*heat.shape, 3)
