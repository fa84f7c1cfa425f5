"""The losses against float64 references written from the paper's formulas."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from kdtrain.losses import (
    RESIZES,
    Hint,
    attention_hint,
    cosine_hint,
    distillation_loss,
    distillation_loss_of_targets,
    pixel_loss,
    pixel_loss_of_targets,
    resize_map,
    soft_loss,
    teacher_targets,
)

Array = npt.NDArray[np.float64]

# (teacher, student): the paper's N = 2 and 4, ratios that are no whole numbers, and a student with the finer map.
SIZES = [
    ((8, 8), (4, 4)),
    ((12, 8), (3, 2)),
    ((7, 10), (3, 4)),
    ((13, 5), (5, 2)),
    ((3, 4), (7, 8)),
    ((1, 1), (2, 3)),
    ((9, 4), (5, 6)),
]


def _numpy_soft(teacher: Array, student: Array, temperature: float) -> float:
    def softmax(x: Array) -> Array:
        e = np.exp(x / temperature)
        result: Array = e / e.sum(axis=1, keepdims=True)
        return result

    p, q = softmax(teacher), softmax(student)
    return float((p * np.log(p / q)).sum(axis=1).mean() * temperature**2)


def _numpy_maxpool(x: Array, size: tuple[int, int]) -> Array:
    """The maximum over the cells that each new cell overlaps."""
    (rows, columns), (height, width) = x.shape[2:], size
    result = np.empty((*x.shape[:2], height, width))
    for i in range(height):
        for j in range(width):
            top, bottom = i * rows // height, -(-(i + 1) * rows // height)
            left, right = j * columns // width, -(-(j + 1) * columns // width)
            result[:, :, i, j] = x[:, :, top:bottom, left:right].max(axis=(2, 3))
    return result


def _keys(distance: float, a: float = -0.75) -> float:
    """Keys' cubic convolution kernel."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def _bicubic_matrix(n_in: int, n_out: int) -> Array:
    """Weights of the old cells in each new one: centres aligned, cells beyond the edge repeat the edge's."""
    matrix = np.zeros((n_out, n_in))
    for i in range(n_out):
        centre = (i + 0.5) * n_in / n_out - 0.5
        for tap in range(math.floor(centre) - 1, math.floor(centre) + 3):
            matrix[i, min(max(tap, 0), n_in - 1)] += _keys(tap - centre)
    return matrix


def _numpy_bicubic(x: Array, size: tuple[int, int]) -> Array:
    rows, columns = (_bicubic_matrix(n, m) for n, m in zip(x.shape[2:], size, strict=True))
    result: Array = np.einsum("hi,bcij,wj->bchw", rows, x, columns)
    return result


_NUMPY = {"maxpool": _numpy_maxpool, "bicubic": _numpy_bicubic}


def _numpy_pixel(teacher: Array, student: Array, resize: str) -> float:
    """Eq. 3, with the mean-squared error for the norm and the mean over the chosen resizes."""
    size = (student.shape[2], student.shape[3])
    losses = [float(((_NUMPY[how](teacher, size) - student) ** 2).mean()) for how in RESIZES[resize]]
    return sum(losses) / len(losses) if losses else 0.0


def _normal(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_loss_is_eq_2(temperature: float) -> None:
    """KL(σ(t/T) ‖ σ(s/T)) · T², averaged over 5 samples of 3 classes, equals numpy's to 1e-12."""
    teacher, student = _normal(5, 3, seed=1, scale=3), _normal(5, 3, seed=2, scale=3)
    expected = _numpy_soft(teacher.numpy(), student.numpy(), temperature)
    assert soft_loss(teacher, student, temperature=temperature).item() == pytest.approx(expected, rel=1e-12)


def test_soft_loss_of_a_case_done_by_hand() -> None:
    """A teacher of (3/4, 1/4) and a student of (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2) = 0.1308."""
    teacher, student = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert expected == pytest.approx(0.1308, abs=1e-4)
    assert soft_loss(teacher, student, temperature=1.0).item() == pytest.approx(expected, rel=1e-6)


def test_soft_loss_of_certain_teacher_is_finite() -> None:
    """Probabilities that underflow to 0 give a finite loss: teacher and student each sure of another class, 1000."""
    teacher, student = torch.tensor([[1000.0, 0.0]]), torch.tensor([[0.0, 1000.0]])
    assert soft_loss(teacher, student, temperature=1.0).item() == pytest.approx(1000)


@pytest.mark.parametrize(("teacher_size", "student_size"), SIZES)
@pytest.mark.parametrize("how", ["maxpool", "bicubic"])
def test_resizes_are_as_defined(
    teacher_size: tuple[int, int], student_size: tuple[int, int], how: str
) -> None:
    """g1 and g2 equal numpy's at whole and fractional ratios, shrinking and growing, to 1e-12."""
    x = _normal(2, 3, *teacher_size)
    given = resize_map(x, student_size, "maxpool" if how == "maxpool" else "bicubic").numpy()
    np.testing.assert_allclose(given, _NUMPY[how](x.numpy(), student_size), rtol=0, atol=1e-12)


def test_maxpool_of_a_row_done_by_hand() -> None:
    """Five cells to two: each covers 2.5 cells, so the middle one, the largest, counts in both."""
    row = torch.tensor([[[[1.0, 2.0, 9.0, 4.0, 3.0]]]])
    assert resize_map(row, (1, 2), "maxpool").flatten().tolist() == [9, 9]
    assert resize_map(row, (1, 5), "maxpool").flatten().tolist() == [1, 2, 9, 4, 3]


@pytest.mark.parametrize("resize", list(RESIZES))
@pytest.mark.parametrize(("teacher_size", "student_size"), SIZES)
def test_total_loss_is_eq_1_in_every_variant(
    resize: str, teacher_size: tuple[int, int], student_size: tuple[int, int]
) -> None:
    """Soft, pixel and weighted total equal numpy's at T = 2, for each variant and size ratio."""
    maps = _normal(2, 4, *teacher_size, seed=1), _normal(2, 4, *student_size, seed=2)
    logits = _normal(2, 3, seed=3), _normal(2, 3, seed=4)
    loss = distillation_loss(
        teacher_map_BCHW=maps[0],
        teacher_logits_BK=logits[0],
        student_map_BCHW=maps[1],
        student_logits_BK=logits[1],
        resize=resize,
        temperature=2.0,
        alpha=0.5,
        beta=3.0,
    )
    soft = _numpy_soft(logits[0].numpy(), logits[1].numpy(), 2.0)
    pixel = _numpy_pixel(maps[0].numpy(), maps[1].numpy(), resize)
    assert loss.soft.item() == pytest.approx(soft, rel=1e-12)
    assert loss.pixel.item() == pytest.approx(pixel, rel=1e-12, abs=1e-15)
    assert loss.total.item() == pytest.approx(0.5 * soft + 3 * pixel, rel=1e-12)


@pytest.mark.parametrize("resize", list(RESIZES))
def test_targets_kept_for_later_give_the_same_loss(resize: str) -> None:
    """A loss of maps resized before equals that of the teacher's map, to the bit, in each variant."""
    maps = {"teacher_map_BCHW": _normal(2, 4, 7, 6, seed=1), "student_map_BCHW": _normal(2, 4, 2, 3, seed=2)}
    logits = {"teacher_logits_BK": _normal(2, 3, seed=3), "student_logits_BK": _normal(2, 3, seed=4)}
    online = distillation_loss(**maps, **logits, resize=resize, temperature=2.0, alpha=0.5, beta=3.0)
    kept = teacher_targets(maps.pop("teacher_map_BCHW"), (2, 3), RESIZES[resize])
    later = distillation_loss_of_targets(targets=kept, **maps, **logits, temperature=2.0, alpha=0.5, beta=3.0)
    assert [x.item() for x in later] == [x.item() for x in online]
    assert [tuple(target.shape) for target in kept.values()] == [(2, 4, 2, 3)] * len(RESIZES[resize])


def test_both_resizes_give_the_mean_of_their_losses_and_one_is_not_halved() -> None:
    """maxpool+bicubic is the mean of maxpool alone and bicubic alone: 4 cells of 0 to 3 against a student of 0."""
    teacher, student = torch.arange(4.0).view(1, 1, 2, 2), torch.zeros(1, 1, 1, 1)
    pooled = pixel_loss(teacher, student, ("maxpool",)).item()
    blended = pixel_loss(teacher, student, ("bicubic",)).item()
    assert pooled == 3.0**2
    assert blended == pytest.approx(1.5**2)
    both = pixel_loss(teacher, student, ("maxpool", "bicubic")).item()
    assert both == pytest.approx((9 + 2.25) / 2)


def test_gradients_reach_the_student_only() -> None:
    """With both models' outputs requiring gradients, the student's get some everywhere and the teacher's none."""
    teacher = [_normal(2, 4, 5, 5, seed=1).requires_grad_(), _normal(2, 3, seed=2).requires_grad_()]
    student = [_normal(2, 4, 2, 3, seed=3).requires_grad_(), _normal(2, 3, seed=4).requires_grad_()]
    distillation_loss(
        teacher_map_BCHW=teacher[0],
        teacher_logits_BK=teacher[1],
        student_map_BCHW=student[0],
        student_logits_BK=student[1],
    ).total.backward()
    assert all(x.grad is None for x in teacher)
    assert all(x.grad is not None and (x.grad != 0).all() for x in student)


def test_soft_gradient_is_the_difference_of_the_distributions() -> None:
    """The student's gradient is T · (σ(s/T) - σ(t/T)) / B: the T² leaves one T, which tends to a constant pull."""
    teacher, student = _normal(2, 3, seed=1), _normal(2, 3, seed=2).requires_grad_()
    soft_loss(teacher, student, temperature=3.0).backward()
    expected = 3.0 * ((student / 3).softmax(1) - (teacher / 3).softmax(1)).detach() / 2
    assert student.grad is not None
    torch.testing.assert_close(student.grad, expected, rtol=1e-12, atol=1e-14)


def test_without_resize_the_map_gets_no_gradient() -> None:
    """Variant none has a pixel loss of exactly 0 and a total equal to the soft loss, whatever the maps hold."""
    student_map = _normal(1, 2, 3, 3).requires_grad_()
    student_logits = _normal(1, 3, seed=1).requires_grad_()
    loss = distillation_loss(
        teacher_map_BCHW=_normal(1, 2, 6, 6),
        teacher_logits_BK=_normal(1, 3, seed=2),
        student_map_BCHW=student_map,
        student_logits_BK=student_logits,
        resize="none",
    )
    loss.total.backward()
    assert loss.pixel.item() == 0
    assert loss.total.item() == loss.soft.item() > 0
    assert student_map.grad is None and student_logits.grad is not None


def test_half_precision_outputs_are_compared_in_float32() -> None:
    """bfloat16 logits and maps, as autocast gives them, yield the float32 loss of the same numbers."""
    logits = _normal(4, 3, seed=1).bfloat16(), _normal(4, 3, seed=2).bfloat16()
    maps = _normal(1, 2, 7, 7, seed=1).bfloat16(), _normal(1, 2, 3, 3, seed=2).bfloat16()
    soft = soft_loss(*logits, temperature=2.0)
    pixel = pixel_loss(*maps, RESIZES["maxpool+bicubic"])
    assert soft.dtype == pixel.dtype == torch.float32
    assert soft.item() == soft_loss(logits[0].float(), logits[1].float(), temperature=2.0).item()
    assert pixel.item() == pixel_loss(maps[0].float(), maps[1].float(), RESIZES["maxpool+bicubic"]).item()


def test_identical_models_have_no_loss() -> None:
    """A student that equals its teacher on maps of one size has soft and pixel loss 0."""
    feature_map, logits = _normal(2, 4, 5, 5), _normal(2, 3)
    loss = distillation_loss(
        teacher_map_BCHW=feature_map,
        teacher_logits_BK=logits,
        student_map_BCHW=feature_map,
        student_logits_BK=logits,
    )
    assert loss.total.item() == pytest.approx(0, abs=1e-15)


def test_outputs_that_do_not_belong_together_are_refused() -> None:
    """Other class counts, channels, temperatures or resize names are refused with what was given."""
    with pytest.raises(ValueError, match=r"one shape \(B, K\), got \(2, 3\) and \(2, 4\)"):
        soft_loss(torch.zeros(2, 3), torch.zeros(2, 4), temperature=1)
    with pytest.raises(ValueError, match=r"must be > 0, got 0"):
        soft_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0)
    with pytest.raises(ValueError, match=r"\(1, 256, 1, 1\) and \(1, 512, 1, 1\); put a projector"):
        pixel_loss(torch.zeros(1, 256, 2, 2), torch.zeros(1, 512, 1, 1), ("maxpool",))
    with pytest.raises(ValueError, match=r"no resize 'area'; choose one of none, maxpool"):
        distillation_loss(
            teacher_map_BCHW=torch.zeros(1, 2, 2, 2),
            teacher_logits_BK=torch.zeros(1, 2),
            student_map_BCHW=torch.zeros(1, 2, 1, 1),
            student_logits_BK=torch.zeros(1, 2),
            resize="area",
        )


# Other ways to compare maps


def _maps(channels: int = 5) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    return rng.random((2, 5, 3, 4)), rng.normal(size=(2, channels, 3, 4))


def test_the_cosine_hint_against_float64() -> None:
    """1 - t·s / (|t| |s|) at each of 24 places, by loops; the same for maps of ten times the size."""
    teacher, student = _maps()
    places = [(b, i, j) for b in range(2) for i in range(3) for j in range(4)]
    expected = np.mean(
        [
            1 - t @ s / (np.sqrt(t @ t) * np.sqrt(s @ s))
            for t, s in ((teacher[b, :, i, j], student[b, :, i, j]) for b, i, j in places)
        ]
    )
    for scale in (1, 10):
        got = cosine_hint(torch.from_numpy(teacher), torch.from_numpy(scale * student))
        assert abs(float(got) - expected) < 1e-12


@pytest.mark.parametrize("channels", [5, 3])
def test_the_attention_hint_against_float64(channels: int) -> None:
    """Squares summed over channels, divided by their norm, subtracted, squared and summed: for other channels too."""
    teacher, student = _maps(channels)
    squared = []
    for t, s in zip(teacher, student, strict=True):
        qt, qs = (t**2).sum(axis=0).ravel(), (s**2).sum(axis=0).ravel()
        squared.append(((qt / np.sqrt(qt @ qt) - qs / np.sqrt(qs @ qs)) ** 2).sum())
    got = attention_hint(torch.from_numpy(teacher), torch.from_numpy(student))
    assert abs(float(got) - np.mean(squared)) < 1e-12


@pytest.mark.parametrize("hint", ["cosine", "attention"])
def test_hints_are_0_for_equal_maps_and_averaged_over_resizes(hint: Hint) -> None:
    """A map is like itself and like itself doubled; two targets give the mean of the losses of each."""
    teacher, student = (torch.from_numpy(x) for x in _maps())
    equal = pixel_loss_of_targets({"maxpool": teacher}, 2 * teacher, hint=hint)
    assert abs(float(equal)) < 1e-12
    one = pixel_loss_of_targets({"maxpool": teacher}, student, hint=hint)
    other = pixel_loss_of_targets({"bicubic": teacher.flip(3)}, student, hint=hint)
    both = pixel_loss_of_targets({"maxpool": teacher, "bicubic": teacher.flip(3)}, student, hint=hint)
    assert torch.allclose(both, (one + other) / 2, atol=1e-12, rtol=0)


def test_channels_may_differ_for_attention_alone() -> None:
    """MSE and cosine compare channel by channel."""
    teacher, student = (torch.from_numpy(x) for x in _maps(3))
    assert pixel_loss_of_targets({"maxpool": teacher}, student, hint="attention") > 0
    for hint in ("mse", "cosine"):
        with pytest.raises(ValueError, match="must agree in images and channels"):
            pixel_loss_of_targets({"maxpool": teacher}, student, hint=hint)


@pytest.mark.parametrize("hint", ["cosine", "attention"])
def test_a_map_of_zeros_gives_no_nan(hint: Hint) -> None:
    """A student that says nothing anywhere has a loss and gradients of numbers."""
    teacher, _ = _maps()
    silent = torch.zeros(2, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    loss = pixel_loss_of_targets({"maxpool": torch.from_numpy(teacher)}, silent, hint=hint)
    loss.backward()
    assert loss.isfinite()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()


# Where only some cells count


def _numpy_masked(teacher: Array, student: Array, valid: Array, hint: str) -> float:
    """Image by image, cell by cell."""
    images = []
    for target, own, counts in zip(teacher, student, valid, strict=True):
        cells = []
        for i, j in np.argwhere(counts):
            t, s = target[:, i, j], own[:, i, j]
            cosine = float(t @ s / np.sqrt((t @ t) * (s @ s)))
            cells.append(float(((t - s) ** 2).mean()) if hint == "mse" else 1 - cosine)
        images.append(sum(cells) / len(cells) if cells else 0.0)
    return sum(images) / len(images)


def _half_blind() -> torch.Tensor:
    """(3, 2, 4): one image whose first two columns count, one of which all does, one of which nothing does."""
    valid = torch.ones(3, 2, 4, dtype=torch.bool)
    valid[0, :, 2:] = False
    valid[2] = False
    return valid


@pytest.mark.parametrize("hint", ["mse", "cosine"])
def test_a_mask_leaves_cells_out(hint: Hint) -> None:
    """Mean over images of the mean over their valid cells, as numpy has it cell by cell; what is masked is not seen."""
    target, student, valid = _normal(3, 5, 2, 4, seed=1), _normal(3, 5, 2, 4, seed=2), _half_blind()
    loss = pixel_loss_of_targets({"laid": target}, student, hint=hint, valid_BHW=valid)
    expected = _numpy_masked(target.numpy(), student.numpy(), valid.numpy(), hint)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    hidden = torch.where(valid[:, None], target, 1e3)
    assert pixel_loss_of_targets({"laid": hidden}, student, hint=hint, valid_BHW=valid).item() == loss.item()
    everything = torch.ones_like(valid)
    unmasked = pixel_loss_of_targets({"laid": target}, student, hint=hint)
    masked = pixel_loss_of_targets({"laid": target}, student, hint=hint, valid_BHW=everything)
    assert masked.item() == pytest.approx(unmasked.item(), rel=1e-12)


@pytest.mark.parametrize("hint", ["mse", "cosine"])
def test_an_image_that_nothing_is_known_of_teaches_nothing(hint: Hint) -> None:
    """Of an all-invalid image the loss is 0 and so is every gradient, with maps of zeros too, and none is NaN."""
    target, valid = _normal(3, 5, 2, 4, seed=1), _half_blind()
    target = torch.where(valid[:, None], target, 0.0)
    student = torch.relu(_normal(3, 5, 2, 4, seed=2)).requires_grad_()
    pixel_loss_of_targets({"laid": target}, student, hint=hint, valid_BHW=valid).backward()
    assert student.grad is not None
    reached = student.grad.abs().sum(dim=1) > 0
    assert torch.equal(reached, valid)
    alone = pixel_loss_of_targets({"laid": target[2:]}, student[2:].detach(), hint=hint, valid_BHW=valid[2:])
    assert alone.item() == 0


def test_a_mask_of_two_cells_done_by_hand() -> None:
    """Squared differences of 1, 4 and 9, the last of which does not count: (1 + 4) / 2."""
    target, student = torch.zeros(1, 1, 1, 3), torch.tensor([[[[1.0, 2.0, 3.0]]]])
    valid = torch.tensor([[[True, True, False]]])
    assert pixel_loss_of_targets({"laid": target}, student, valid_BHW=valid).item() == 2.5


def test_without_logits_the_map_is_all_the_loss() -> None:
    """A teacher that gives none: beta times the pixel loss, and a soft loss of 0."""
    target, student = _normal(2, 3, 2, 2, seed=1), _normal(2, 3, 2, 2, seed=2)
    loss = distillation_loss_of_targets(
        targets={"laid": target},
        teacher_logits_BK=None,
        student_map_BCHW=student,
        student_logits_BK=torch.empty(2, 0),
        beta=3,
    )
    assert loss.soft.item() == 0
    assert loss.total.item() == pytest.approx(3 * float(((target - student) ** 2).mean()), rel=1e-12)


def test_attention_has_no_mask() -> None:
    """A map of which some cells count cannot be compared with by attention."""
    with pytest.raises(ValueError, match="needs mse or cosine"):
        attention_hint(_normal(1, 2, 2, 2), _normal(1, 2, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool))
