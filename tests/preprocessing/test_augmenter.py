from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sk_denoise.preprocessing import Augmentation, Augmenter


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int, channels_last: bool = False) -> torch.Tensor:
    x = torch.rand(shape, generator=generator(), dtype=torch.float32)
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


def ramp(side: int) -> torch.Tensor:
    """Return one image that rises by one for each column."""
    return torch.arange(side).float().expand(1, 1, side, side)


EVERYTHING = Augmenter(shift=3, flip="both", quarter_turns=True, zoom=(0.7, 1.5), rotation=180, fill="edge")
STEPS = {
    "flip": Augmenter(flip="both"),
    "quarter_turns": Augmenter(flip=None, quarter_turns=True),
    "shift": Augmenter(flip=None, shift=0.2),
    "zoom": Augmenter(flip=None, zoom=(0.5, 2.0)),
    "rotation": Augmenter(flip=None, rotation=45),
    "everything": EVERYTHING,
}


@pytest.fixture(params=STEPS.values(), ids=STEPS)
def augmenter(request) -> Augmenter:
    return clone(request.param)


def repeated(n: int, *shape: int) -> torch.Tensor:
    """Return the same image n times."""
    return images(1, *shape).repeat(n, 1, 1, 1)


def test_each_image_gets_its_own_movement(augmenter):
    moved = augmenter.augment(repeated(40, 1, 12, 12), generator())
    assert len(torch.unique(moved.flatten(1), dim=0)) >= 4


def test_the_same_seed_gives_the_same_movements_and_another_draw_others(augmenter):
    x, source = images(20, 2, 9, 9), generator(3)
    first = augmenter.augment(x, source)
    assert torch.equal(first, augmenter.augment(x, generator(3)))
    assert not torch.equal(first, augmenter.augment(x, source))


def test_tensors_that_belong_to_an_image_move_along(augmenter):
    x = images(20, 3, 9, 9)
    noisy, mask, clean = augmenter.augment(x + 1, generator(), x[:, :1].double(), x)
    torch.testing.assert_close(noisy, clean + 1, atol=1e-5, rtol=0)
    torch.testing.assert_close(mask.float(), clean[:, :1], atol=1e-5, rtol=0)
    assert mask.dtype == torch.float64
    assert noisy.dtype == torch.float32
    torch.testing.assert_close(clean, augmenter.augment(x, generator()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels_last", [False, True])
def test_how_images_lie_in_memory_changes_nothing(augmenter, channels_last):
    x = images(5, 3, 8, 8, channels_last=channels_last)
    torch.testing.assert_close(
        augmenter.augment(x, generator()), augmenter.augment(images(5, 3, 8, 8), generator())
    )


def test_movements_do_not_depend_on_the_default_type_of_torch(augmenter):
    x = images(5, 3, 8, 8)
    expected = augmenter.augment(x, generator())
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(augmenter.augment(x, generator()), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_with_all_steps_off_it_returns_equal_data_and_draws_nothing():
    x, source = images(5, 3, 8, 6), generator()
    state = source.get_state()
    nothing = Augmenter(flip=None)
    assert torch.equal(nothing.augment(x, source), x)
    assert all(torch.equal(a, b) for a, b in zip(nothing.augment(x, source, x + 1), (x, x + 1), strict=True))
    assert torch.equal(source.get_state(), state)


def test_by_default_half_of_the_images_are_mirrored_left_to_right():
    x = images(4000, 1, 3, 3)
    moved = Augmenter().augment(x, generator())
    mirrored = (moved == x.flip(-1)).flatten(1).all(1)
    assert ((moved == x).flatten(1).all(1) ^ mirrored).all()
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.05)  # six standard errors


@pytest.mark.parametrize(("name", "axes"), [("vertical", [(), (2,)]), ("both", [(), (2,), (3,), (2, 3)])])
def test_flips_are_equally_frequent(name, axes):
    x = images(4000, 1, 3, 3)
    moved = Augmenter(flip=name).augment(x, generator())
    shares = [(moved == x.flip(a)).flatten(1).all(1).float().mean().item() for a in axes]
    assert shares == pytest.approx([1 / len(axes)] * len(axes), abs=0.05)


def test_quarter_turns_are_equally_frequent():
    x = images(4000, 1, 3, 3)
    moved = Augmenter(flip=None, quarter_turns=True).augment(x, generator())
    shares = [(moved == x.rot90(k, (2, 3))).flatten(1).all(1).float().mean().item() for k in range(4)]
    assert shares == pytest.approx([0.25] * 4, abs=0.045)


@pytest.mark.parametrize(("largest", "most"), [(2, (2, 2)), (0.2, (2, 1)), (0.26, (3, 2))])
def test_all_shifts_up_to_the_largest_occur_equally_often(largest, most):
    x = torch.zeros(5000, 1, 10, 7)
    x[:, 0, 5, 3] = 1
    moved = Augmenter(flip=None, shift=largest, fill=0).augment(x, generator())
    spots = moved.flatten(1).argmax(1)
    offsets = torch.stack([spots // 7 - 5, spots % 7 - 3], 1)
    offset_kinds, counts = torch.unique(offsets, dim=0, return_counts=True)
    rows, columns = most
    assert len(offset_kinds) == (2 * rows + 1) * (2 * columns + 1)
    assert offset_kinds.abs().amax(0).tolist() == [rows, columns]
    assert (counts / len(x) * len(offset_kinds)).tolist() == pytest.approx(
        [1.0] * len(offset_kinds), abs=0.45
    )


def slopes(moved: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the slopes of images downwards and to the right, in their middle."""
    middle = moved[:, 0, 14:19, 14:19]
    return middle.diff(dim=1).mean((1, 2)), middle.diff(dim=2).mean((1, 2))


def test_zooms_are_uniform_on_a_logarithmic_scale():
    x = ramp(33).repeat(2000, 1, 1, 1)
    _, right = slopes(Augmenter(flip=None, zoom=(0.5, 2.0)).augment(x, generator()))
    zooms = -right.log2()
    assert zooms.min().item() == pytest.approx(-1, abs=0.02)
    assert zooms.max().item() == pytest.approx(1, abs=0.02)
    assert torch.quantile(zooms, torch.tensor([0.25, 0.5, 0.75])).tolist() == pytest.approx(
        [-0.5, 0, 0.5], abs=0.1
    )


@pytest.mark.parametrize("rotation", [10.0, 180])
def test_angles_are_uniform_in_both_directions(rotation):
    x = ramp(33).repeat(2000, 1, 1, 1)
    down, right = slopes(Augmenter(flip=None, rotation=rotation).augment(x, generator()))
    angles = torch.rad2deg(torch.atan2(-down, right)) / rotation
    assert angles.abs().max().item() == pytest.approx(1, abs=0.02)
    assert torch.quantile(angles, torch.tensor([0.25, 0.5, 0.75])).tolist() == pytest.approx(
        [-0.5, 0, 0.5], abs=0.1
    )


def test_steps_come_in_the_order_flip_quarter_turn_shift_interpolation():
    x = images(6, 1, 9, 9)
    all_at_once = EVERYTHING.augment(x, generator())
    source, moved = generator(), x
    for names in (["flip"], ["quarter_turns"], ["shift"], ["zoom", "rotation"]):
        off = {"flip": None, "fill": EVERYTHING.fill}
        step = Augmenter(**{**off, **{name: getattr(EVERYTHING, name) for name in names}})
        moved = step.augment(moved, source)
    assert torch.equal(all_at_once, moved)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"shift": 1.0}, r"'shift'.*float in the range \[0.0, 1.0\) or an int.*Got 1.0"),
        ({"shift": -1}, "'shift'.*Got -1"),
        ({"shift": 0.01}, "shift=0.01 is less than a pixel of images of 8 x 10 pixels. Raise it"),
        ({"shift": 8}, "shift=8 pixels can move all of an image.*smaller than both sides"),
        ({"flip": "sideways"}, "'flip'.*horizontal.*Got 'sideways'"),
        ({"quarter_turns": "yes"}, "'quarter_turns'.*bool.*Got 'yes'"),
        ({"quarter_turns": True}, "quarter_turns=True needs square images, got images of 8 x 10 pixels"),
        ({"zoom": 1.5}, "'zoom'.*tuple.*Got 1.5"),
        ({"zoom": (2.0, 1.0)}, r"zoom must be None or a pair \(low, high\).*got \(2.0, 1.0\)"),
        ({"zoom": (0.0, 1.0)}, r"0 < low <= high.*got \(0.0, 1.0\)"),
        ({"zoom": (1.0, float("inf"))}, "finite"),
        ({"zoom": (1.0, float("nan"))}, "finite"),
        ({"zoom": (1.0, "large")}, "finite"),
        ({"zoom": (1.0,)}, "pair"),
        ({"rotation": 181}, r"'rotation'.*\[0.0, 180.0\].*Got 181"),
        ({"rotation": -1.0}, "'rotation'.*Got -1.0"),
        ({"fill": "wrap"}, "'fill'.*edge.*Got 'wrap'"),
        ({"fill": float("nan")}, "'fill'.*Got nan"),
    ],
)
def test_a_parameter_out_of_range_is_a_clear_error(parameters, message):
    with pytest.raises(ValueError, match=message):
        Augmenter(**parameters).check((3, 8, 10))


@pytest.mark.parametrize("shape", [(64,), (1, 64), (2, 3, 8, 8)])
def test_samples_that_are_no_images_are_refused_with_a_remedy(shape):
    with pytest.raises(ValueError, match=r"Augmentation is for images.*pass stacks .*image_shape"):
        Augmenter().check(shape)


def test_parameters_that_suit_the_images_pass_the_check(augmenter):
    augmenter.check((3, 16, 16))
    Augmenter(shift=np.int64(7), zoom=[1, 2], rotation=np.float32(3), fill=0).check((1, 8, 10))


def test_an_integer_of_numpy_counts_pixels():
    x = images(30, 1, 9, 9)
    one, other = (Augmenter(shift=pixels).augment(x, generator()) for pixels in (4, np.int64(4)))
    assert torch.equal(one, other)


def test_its_parameters_can_be_searched_cloned_and_read():
    augmenter = Augmenter(zoom=(0.8, 1.25))
    assert clone(augmenter).get_params() == augmenter.get_params()
    assert augmenter.set_params(zoom=None, rotation=5.0).get_params() == {
        "shift": 0.0,
        "flip": "horizontal",
        "quarter_turns": False,
        "zoom": None,
        "rotation": 5.0,
        "fill": "reflect",
    }
    assert repr(augmenter) == "Augmenter(rotation=5.0)"


def test_anything_that_can_augment_is_an_augmentation():
    class Own:
        def augment(self, x, generator, *others):
            return x

    assert isinstance(Augmenter(), Augmentation)
    assert isinstance(Own(), Augmentation)
    assert not isinstance("flip", Augmentation)
