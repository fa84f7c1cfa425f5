"""The distillation loss, eq. 1 to 3 of the paper, as pure functions of both models' outputs.

Logits and feature maps in, scalars out; labels play no part. Gradients reach the student only. Everything is
computed in float32 at least, whatever autocast gave, because a KL divergence of near-equal distributions and a mean
over a large map lose their meaning in 8 bits of mantissa.

Legend: B images of a batch, C channels, H and W rows and columns of a feature map, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own abbreviation

Resize = Literal["maxpool", "bicubic"]

MapName = Resize | Literal["laid"]
"""A teacher's map of the student's size: resized by a way of eq. 3, or laid on the student's grid (kdtrain.sources)."""

Hint = Literal["mse", "cosine", "attention"]
"""How two feature maps of one size are compared; "mse" is eq. 3."""

RESIZES: dict[str, tuple[Resize, ...]] = {
    "none": (),
    "maxpool": ("maxpool",),
    "bicubic": ("bicubic",),
    "maxpool+bicubic": ("maxpool", "bicubic"),
}
"""The four variants of the paper's ablation (KD, KD+MP, KD+INT, KD+MP+INT); the last is the one it chose."""


class DistillationLoss(NamedTuple):
    """Scalars of a batch.

    Attributes:
        total: alpha · soft + beta · pixel, eq. 1: what is minimised.
        soft: Eq. 2, before its weight; 0 where the teacher has no logits.
        pixel: Eq. 3, before its weight; 0 with ``none``.
    """

    total: Tensor
    soft: Tensor
    pixel: Tensor


def soft_loss(teacher_logits_BK: Tensor, student_logits_BK: Tensor, *, temperature: float) -> Tensor:
    """Eq. 2: KL(σ(t / T) ‖ σ(s / T)) · T², averaged over the batch.

    The teacher's distribution is the first argument of the divergence, so the student is pulled wherever the
    teacher sees something. T² undoes what the temperature does to the size of the gradients.

    Args:
        teacher_logits_BK: (B, K); no gradient flows to it.
        student_logits_BK: (B, K).
        temperature: T > 0.

    Raises:
        ValueError: The shapes differ, or the temperature is not positive.
    """
    if teacher_logits_BK.shape != student_logits_BK.shape or teacher_logits_BK.ndim != 2:
        shapes = f"{tuple(teacher_logits_BK.shape)} and {tuple(student_logits_BK.shape)}"
        raise ValueError(f"logits of teacher and student must be of one shape (B, K), got {shapes}")
    if not temperature > 0:
        raise ValueError(f"the temperature divides the logits and must be > 0, got {temperature}")
    log_teacher_BK = F.log_softmax(_wide(teacher_logits_BK.detach()) / temperature, dim=1)
    log_student_BK = F.log_softmax(_wide(student_logits_BK) / temperature, dim=1)
    divergence = F.kl_div(log_student_BK, log_teacher_BK, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def resize_map(map_BCHW: Tensor, size: tuple[int, int], how: Resize) -> Tensor:
    """Bring a feature map to (H, W) = size: g₁ or g₂ of the paper.

    ``maxpool`` is adaptive max-pooling: a cell of the result is the maximum over the cells of the map that it
    overlaps, also in part, so non-integer ratios need no rounding. ``bicubic`` is Keys' convolution with a = -0.75
    at the cells' centres (align_corners false), edge cells repeated outwards, and without smoothing when it shrinks,
    as in the published code. Both are defined where the result is larger than the map: a student with a lower
    output stride may have the finer one.

    Raises:
        ValueError: There is no such way.
    """
    if how == "maxpool":
        return F.adaptive_max_pool2d(map_BCHW, size)
    if how == "bicubic":
        return F.interpolate(map_BCHW, size=size, mode="bicubic", align_corners=False)
    raise ValueError(f"no resize {how!r}; choose 'maxpool' or 'bicubic'")


def teacher_targets(
    map_BCHW: Tensor, size: tuple[int, int], resizes: tuple[Resize, ...]
) -> dict[MapName, Tensor]:
    """g(F_t) of eq. 3 for each of the resizes: what the student's map is compared with, and what a cache keeps.

    Args:
        map_BCHW: (B, C, any H, any W), the teacher's; no gradient flows to it.
        size: (H, W) of the student's map.
        resizes: A value of RESIZES.

    Returns:
        (B, C, H, W) by resize, float32 at least.
    """
    wide_BCHW = _wide(map_BCHW.detach())
    return {how: resize_map(wide_BCHW, size, how) for how in resizes}


def over_valid_cells(loss_BHW: Tensor, valid_BHW: Tensor) -> Tensor:
    """Mean over images of the mean over each one's cells that count; an image without any adds 0.

    By image first, so that what a sample weighs depends neither on its neighbours in the batch nor on how much of it
    its teacher saw.

    Args:
        loss_BHW: Of every cell; finite, also where it does not count.
        valid_BHW: (B, H, W) bool.
    """
    kept_BHW = torch.where(valid_BHW, loss_BHW, 0.0)
    return (kept_BHW.sum(dim=(1, 2)) / valid_BHW.sum(dim=(1, 2)).clamp(min=1)).mean()


def cosine_hint(target_BCHW: Tensor, student_map_BCHW: Tensor, valid_BHW: Tensor | None = None) -> Tensor:
    """1 - cos(F_t, F_s) of the channels at a place, mean over images and places: 0 to 2, whatever the maps' scale.

    What students of foundation models learn their maps by (Ranzinger et al. 2024, arXiv 2312.06709, section 3.4). A
    place where a map is all zeros counts 1 and teaches nothing.

    Args:
        target_BCHW: (B, C, H, W), the teacher's.
        student_map_BCHW: (B, C, H, W).
        valid_BHW: The places that count, as for over_valid_cells; None for all.
    """
    loss_BHW = 1 - F.cosine_similarity(student_map_BCHW, target_BCHW, dim=1)
    return loss_BHW.mean() if valid_BHW is None else over_valid_cells(loss_BHW, valid_BHW)


def attention_hint(target_BCHW: Tensor, student_map_BCHW: Tensor, valid_BHW: Tensor | None = None) -> Tensor:
    """‖Q_t / ‖Q_t‖ - Q_s / ‖Q_s‖‖², mean over images, with Q the sum over channels of F² at every place: 0 to 2.

    Attention transfer (Zagoruyko and Komodakis 2017, arXiv 1612.03928, eq. 2 with p = 2): where the teacher looks, not
    what it sees, so the two may have other channels.

    Args:
        target_BCHW: (B, D, H, W), the teacher's.
        student_map_BCHW: (B, C, H, W).
        valid_BHW: None: what is strong is so beside all other places.

    Raises:
        ValueError: Only some places count.
    """
    if valid_BHW is not None:
        raise ValueError(
            "attention is compared over whole maps; a map of which some cells count needs mse or cosine"
        )
    target_BL, student_BL = (
        F.normalize(map_BCHW.square().sum(dim=1).flatten(1), dim=1)
        for map_BCHW in (target_BCHW, student_map_BCHW)
    )
    return (target_BL - student_BL).square().sum(dim=1).mean()


def _mse(target_BCHW: Tensor, student_map_BCHW: Tensor, valid_BHW: Tensor | None = None) -> Tensor:
    if valid_BHW is not None:
        return over_valid_cells((student_map_BCHW - target_BCHW).square().mean(dim=1), valid_BHW)
    # The student's map first: its layout in memory, which is the same wherever targets come from, decides the order in
    # which differences are added up, and with it the last bit.
    return F.mse_loss(student_map_BCHW, target_BCHW)


_HINTS: dict[Hint, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "mse": _mse,
    "cosine": cosine_hint,
    "attention": attention_hint,
}


def pixel_loss_of_targets(
    targets: Mapping[MapName, Tensor],
    student_map_BCHW: Tensor,
    *,
    hint: Hint = "mse",
    valid_BHW: Tensor | None = None,
) -> Tensor:
    """Eq. 3: mean over the resizes g of MSE(g(F_t), F_s), and MSE over all elements of the student's map.

    The mean over the chosen ones gives the ½ of eq. 3 for two, and for one the loss of the ablation, unhalved.

    Args:
        targets: (B, C, H, W) by resize, as teacher_targets gives them, or one laid map; none gives 0.
        student_map_BCHW: (B, C, H, W); of other channels for the hint "attention" alone.
        hint: Another comparison in the place of MSE: cosine_hint or attention_hint.
        valid_BHW: Cells that count, as for over_valid_cells; None for all.

    Raises:
        ValueError: The shapes differ.
    """
    compared = [0, 2, 3] if hint == "attention" else [0, 1, 2, 3]
    for target_BCHW in targets.values():
        if any(target_BCHW.shape[axis] != student_map_BCHW.shape[axis] for axis in compared):
            shapes = f"{tuple(target_BCHW.shape)} and {tuple(student_map_BCHW.shape)}"
            raise ValueError(
                f"feature maps of teacher and student must agree in images and channels, got {shapes}; "
                "put a projector between them"
            )
    student_BCHW = _wide(student_map_BCHW)
    compare = _HINTS[hint]
    losses = [compare(_wide(target_BCHW), student_BCHW, valid_BHW) for target_BCHW in targets.values()]
    return torch.stack(losses).mean() if losses else student_BCHW.new_zeros(())


def pixel_loss(teacher_map_BCHW: Tensor, student_map_BCHW: Tensor, resizes: tuple[Resize, ...]) -> Tensor:
    """Eq. 3 from both maps: the teacher's is resized to the student's size first.

    Args:
        teacher_map_BCHW: (B, C, any H, any W); no gradient flows to it.
        student_map_BCHW: (B, C, H, W).
        resizes: A value of RESIZES; empty gives 0.

    Raises:
        ValueError: Images or channels of the two differ.
    """
    size = (student_map_BCHW.shape[2], student_map_BCHW.shape[3])
    return pixel_loss_of_targets(teacher_targets(teacher_map_BCHW, size, resizes), student_map_BCHW)


def distillation_loss(
    *,
    teacher_map_BCHW: Tensor,
    teacher_logits_BK: Tensor,
    student_map_BCHW: Tensor,
    student_logits_BK: Tensor,
    resize: str = "maxpool+bicubic",
    temperature: float = 1.0,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> DistillationLoss:
    """Eq. 1: alpha · soft loss + beta · pixel loss; the paper has no weights, hence the defaults of 1.

    Args:
        teacher_map_BCHW: Feature map of the teacher.
        teacher_logits_BK: Logits of the teacher.
        student_map_BCHW: Feature map of the student.
        student_logits_BK: Logits of the student.
        resize: A name of RESIZES.
        temperature: T of eq. 2; 1 in the published code.
        alpha: Weight of the soft loss.
        beta: Weight of the pixel loss.

    Raises:
        ValueError: As soft_loss and pixel_loss; or an unknown resize.
    """
    if resize not in RESIZES:
        raise ValueError(f"no resize {resize!r}; choose one of {', '.join(RESIZES)}")
    size = (student_map_BCHW.shape[2], student_map_BCHW.shape[3])
    return distillation_loss_of_targets(
        targets=teacher_targets(teacher_map_BCHW, size, RESIZES[resize]),
        teacher_logits_BK=teacher_logits_BK,
        student_map_BCHW=student_map_BCHW,
        student_logits_BK=student_logits_BK,
        temperature=temperature,
        alpha=alpha,
        beta=beta,
    )


def distillation_loss_of_targets(
    *,
    targets: Mapping[MapName, Tensor],
    teacher_logits_BK: Tensor | None,
    student_map_BCHW: Tensor,
    student_logits_BK: Tensor,
    temperature: float = 1.0,
    alpha: float = 1.0,
    beta: float = 1.0,
    hint: Hint = "mse",
    valid_BHW: Tensor | None = None,
) -> DistillationLoss:
    """Eq. 1 where the teacher's map has the student's size, since just now or since a cache was written.

    Args:
        targets: As teacher_targets gives them.
        teacher_logits_BK: As for distillation_loss, and so the rest; None where the teacher gives none.
        student_map_BCHW: Feature map of the student.
        student_logits_BK: Logits of the student.
        temperature: T of eq. 2.
        alpha: Weight of the soft loss.
        beta: Weight of the pixel loss.
        hint: As for pixel_loss_of_targets.
        valid_BHW: Likewise.

    Raises:
        ValueError: As soft_loss and pixel_loss_of_targets.
    """
    pixel = pixel_loss_of_targets(targets, student_map_BCHW, hint=hint, valid_BHW=valid_BHW)
    if teacher_logits_BK is None:
        return DistillationLoss(total=beta * pixel, soft=torch.zeros_like(pixel), pixel=pixel)
    soft = soft_loss(teacher_logits_BK, student_logits_BK, temperature=temperature)
    return DistillationLoss(total=alpha * soft + beta * pixel, soft=soft, pixel=pixel)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
