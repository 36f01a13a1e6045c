from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from sk_denoise.preprocessing import Augmenter, flip, quarter_turn, shift, zoom_and_rotate

FILLS = ["edge", "reflect", 0.0, 0.25]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int, dtype: torch.dtype = torch.float32, channels_last: bool = False) -> torch.Tensor:
    x = torch.rand(shape, generator=generator(), dtype=torch.float64).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


def ones(n: int) -> torch.Tensor:
    return torch.ones(n)


def zeros(n: int) -> torch.Tensor:
    return torch.zeros(n)


def global_states() -> tuple[object, ...]:
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002 - it is this state that is at stake
    return random.getstate(), keys.tolist(), position, torch.get_rng_state().tolist()


def ramp(height: int, width: int, down: float, right: float) -> torch.Tensor:
    """Return one image that rises by so much for each row and each column."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    return (down * rows + right * columns)[None, None].float()


# Movements that copy pixels ------------------------------------------------------------------------------


@pytest.mark.parametrize("channels_last", [False, True])
def test_flips_are_those_of_numpy_for_each_image(channels_last):
    x = images(4, 3, 5, 7, channels_last=channels_last)
    flipped = flip(x, torch.tensor([False, True, False, True]), torch.tensor([False, False, True, True]))
    for image, original, axes in zip(flipped, x, [(), (2,), (1,), (1, 2)], strict=True):
        np.testing.assert_array_equal(image, np.flip(original.numpy(), axes))


@pytest.mark.parametrize("channels_last", [False, True])
def test_quarter_turns_are_those_of_numpy_for_each_image(channels_last):
    x = images(7, 2, 5, 5, channels_last=channels_last)
    turns = torch.tensor([0, 1, 2, 3, 4, -1, 6])
    for image, original, turn in zip(quarter_turn(x, turns), x, turns.tolist(), strict=True):
        np.testing.assert_array_equal(image, np.rot90(original.numpy(), turn, axes=(1, 2)))


def test_quarter_turns_refuse_images_that_are_not_square():
    with pytest.raises(ValueError, match="needs square images, got images of 5 x 7 pixels"):
        quarter_turn(images(1, 2, 5, 7), torch.tensor([1]))


def padded(image: np.ndarray, pad: int, fill: float | str) -> np.ndarray:
    if isinstance(fill, str):
        return np.pad(image, ((0, 0), (pad, pad), (pad, pad)), mode=fill)
    return np.pad(image, ((0, 0), (pad, pad), (pad, pad)), constant_values=fill)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("fill", FILLS)
def test_shifts_are_windows_of_images_padded_by_numpy(fill, channels_last):
    rows, columns = torch.tensor([0, 1, -2, 4, 17, -30]), torch.tensor([0, -3, 2, 6, -23, 40])
    x = images(6, 2, 5, 7, channels_last=channels_last)
    moved = shift(x, rows, columns, fill=fill)
    for image, original, down, right in zip(moved, x, rows.tolist(), columns.tolist(), strict=True):
        wide = padded(original.numpy(), 40, fill)
        np.testing.assert_array_equal(image, wide[:, 40 - down : 45 - down, 40 - right : 47 - right])


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("sides", [(1, 1), (1, 2), (3, 1)])
def test_images_with_a_side_of_one_pixel_are_shifted_too(sides, fill):
    x = images(2, 1, *sides)
    moved = shift(x, torch.tensor([0, 1]), torch.tensor([0, -1]), fill=fill)
    wide = padded(x[1].numpy(), 1, fill)
    np.testing.assert_array_equal(moved[0], x[0])
    np.testing.assert_array_equal(moved[1], wide[:, : sides[0], 2 : 2 + sides[1]])


# Movements that interpolate ------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("sides", [(6, 9), (1, 5), (5, 1), (1, 1)])
def test_a_zoom_of_one_without_rotation_gives_the_image_back(sides, fill):
    x = images(3, 2, *sides)
    torch.testing.assert_close(zoom_and_rotate(x, ones(3), zeros(3), fill=fill), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("zoom", [0.5, 0.8, 1.0, 1.6, 3.0])
@pytest.mark.parametrize("sides", [(24, 24), (20, 31)])
def test_a_zoomed_ramp_is_a_ramp_of_another_slope(zoom, sides):
    height, width = sides
    x = ramp(height, width, down=0.3, right=-0.7)
    zoomed = zoom_and_rotate(x, torch.tensor([zoom]), zeros(1))
    center = x.mean()
    expected = center + (x - center) / zoom
    seen = slice(height // 4 + 1, -height // 4 - 1), slice(width // 4 + 1, -width // 4 - 1)
    torch.testing.assert_close(zoomed[..., *seen], expected[..., *seen], atol=1e-4, rtol=0)


@pytest.mark.parametrize("degrees", [-130.0, -20.0, 33.0, 90.0])
def test_rotation_turns_the_slope_of_a_ramp_in_images_that_are_not_square(degrees):
    height, width = 20, 32
    angle = np.deg2rad(degrees)
    x = ramp(height, width, down=0.0, right=1.0)
    turned = zoom_and_rotate(x, ones(1), torch.tensor([degrees]), fill="edge")
    # counter-clockwise: what rose to the right by one now rises by cos to the right and by sin upwards
    expected = ramp(height, width, down=-np.sin(angle), right=np.cos(angle))
    expected = expected - expected.mean() + x.mean()
    torch.testing.assert_close(turned[..., 6:14, 12:20], expected[..., 6:14, 12:20], atol=1e-4, rtol=0)


@pytest.mark.parametrize("turn", [-1, 1, 2, 3])
@pytest.mark.parametrize("fill", FILLS)
def test_rotation_by_right_angles_is_quarter_turns(turn, fill):
    x = images(2, 3, 15, 15)
    rotated = zoom_and_rotate(x, ones(2), torch.full((2,), 90.0 * turn), fill=fill)
    expected = quarter_turn(x, torch.full((2,), turn))
    torch.testing.assert_close(rotated[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-4, rtol=0)


def test_rotation_of_any_image_by_half_a_turn_is_two_flips():
    x = images(2, 3, 9, 14)
    both = torch.tensor([True, True])
    rotated = zoom_and_rotate(x, ones(2), torch.tensor([180.0, -180.0]))
    torch.testing.assert_close(rotated, flip(x, both, both), atol=1e-4, rtol=0)


def test_each_image_is_zoomed_and_rotated_by_its_own_amount():
    x = images(1, 2, 9, 9).repeat(3, 1, 1, 1)
    zoom, degrees = torch.tensor([1.0, 1.5, 0.7]), torch.tensor([0.0, 30.0, -80.0])
    together = zoom_and_rotate(x, zoom, degrees)
    for i in range(3):
        torch.testing.assert_close(
            together[i : i + 1], zoom_and_rotate(x[:1], zoom[i : i + 1], degrees[i : i + 1])
        )
    assert not torch.allclose(together[1], together[2], atol=0.05)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("sides", [(7, 7), (5, 9)])
def test_an_image_made_smaller_is_surrounded_by_the_fill(fill, sides):
    x = images(1, 2, *sides)
    smaller = zoom_and_rotate(x, torch.tensor([1 / 3]), zeros(1), fill=fill)
    pad = max(sides)
    wide = padded(x[0].numpy(), pad, fill)
    rows, columns = (pad + (np.arange(side) - side // 2) * 3 + side // 2 for side in sides)
    np.testing.assert_allclose(smaller[0], wide[:, rows][:, :, columns], atol=1e-5)


@pytest.mark.parametrize(
    "move",
    [
        lambda x, fill: shift(x, zeros(1).long(), zeros(1).long(), fill=fill),
        lambda x, fill: zoom_and_rotate(x, ones(1), zeros(1), fill=fill),
    ],
)
def test_the_error_for_an_unknown_fill_has_the_known_ones(move):
    with pytest.raises(ValueError, match=r"Unknown fill 'edges'. Did you mean 'edge'"):
        move(images(1, 1, 3, 3), "edges")


MOVES = {
    "flip": lambda x: flip(x, torch.tensor([True, False]), torch.tensor([False, True])),
    "quarter_turn": lambda x: quarter_turn(x, torch.tensor([1, 2])),
    "shift": lambda x: shift(x, torch.tensor([1, 2]), torch.tensor([0, -2])),
    "shift, constant": lambda x: shift(x, torch.tensor([1, 2]), torch.tensor([0, -2]), fill=0.5),
    "zoom_and_rotate": lambda x: zoom_and_rotate(x, torch.tensor([1.3, 0.6]), torch.tensor([40.0, -9.0])),
    "zoom_and_rotate, constant": lambda x: zoom_and_rotate(x, ones(2), torch.tensor([40.0, -9.0]), fill=0.5),
    "augment": lambda x: Augmenter(
        shift=0.3, flip="both", quarter_turns=True, zoom=(0.8, 1.2), rotation=20, fill=0.5
    ).augment(x, generator()),
    "augment, nothing": lambda x: Augmenter(flip=None).augment(x, generator()),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_movements_are_pure_and_keep_shape_and_type(move, dtype):
    x = images(2, 3, 6, 6, dtype=dtype)
    before, states = x.clone(), global_states()
    moved = move(x)
    assert torch.equal(x, before)
    assert moved.data_ptr() != x.data_ptr()
    assert moved.shape == x.shape
    assert moved.dtype == dtype
    assert global_states() == states


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_double_precision_is_moved_as_single_precision_is(move):
    single, double = (move(images(2, 3, 6, 6, dtype=t)) for t in (torch.float32, torch.float64))
    torch.testing.assert_close(single.double(), double, atol=1e-5, rtol=0)
