"""The projector: a student's map in the teacher's channels while it learns, and never after."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own abbreviation

from kdtrain.model.projector import ProjectedModel, Projection, build_projected, without_projector
from kdtrain.model.resnet import Model, ModelSpec, build_from

HALF = ModelSpec(name="resnet10", n_classes=3, output_stride=8, width=0.5)

TO_256 = Projection(channels=256)


def _image() -> torch.Tensor:
    return torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(7))


def test_a_student_is_projected_only_where_channels_differ() -> None:
    """128 channels for a teacher of 256 take a projector, for one of 128 none."""
    for width, kind in ((1.0, ProjectedModel), (0.5, Model)):
        teacher = ModelSpec(name="resnet10", n_classes=3, width=width)
        projection = Projection.to_network(HALF, teacher)
        assert type(build_projected(HALF, projection, seed=0)) is kind


def test_another_kind_of_teacher_always_takes_a_projector() -> None:
    """Vectors of as many channels as the student's map are projected too, with a constant each that begins at 0."""
    model = build_projected(HALF, Projection.to_vectors(128), seed=0)
    added = {name: tuple(x.shape) for name, x in model.state_dict().items() if name.startswith("projector")}
    assert added == {"projector.weight": (128, 128, 1, 1), "projector.bias": (128,)}
    assert not model.state_dict()["projector.bias"].any()
    alone = build_from(HALF, seed=0).state_dict()
    assert all(torch.equal(model.state_dict()[name], alone[name]) for name in alone)
    assert without_projector(model.state_dict()).keys() == alone.keys()


def test_the_projector_is_a_product_of_matrices_at_every_place() -> None:
    """In float64, each place of the projected map is the (256, 128) weight times the student's 128 values there."""
    model = build_projected(HALF, TO_256, seed=0).double()
    alone = build_from(HALF, seed=0).double()
    with torch.no_grad():
        projected, own = model(_image().double()), alone(_image().double())
    weight_DC = model.state_dict()["projector.weight"].flatten(1)
    expected = torch.einsum("dc,bchw->bdhw", weight_DC, own.feature_map_BCHW)
    assert projected.feature_map_BCHW.shape == (2, 256, 5, 7)
    assert (projected.feature_map_BCHW - expected).abs().max() < 1e-12


def test_the_network_without_its_projector_gives_the_same_logits() -> None:
    """What is left after a training step fits the network alone, and its logits are the same to the last bit."""
    model = build_projected(HALF, TO_256, seed=0)
    output = model(_image())
    (
        F.mse_loss(output.feature_map_BCHW, torch.ones(2, 256, 5, 7)) + output.logits_BK.square().mean()
    ).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter -= 0.01 * parameter.grad
    alone = build_from(HALF, seed=1)
    alone.load_state_dict(without_projector(model.state_dict()))
    with torch.no_grad():
        assert torch.equal(model(_image()).logits_BK, alone(_image()).logits_BK)


def test_a_projector_changes_no_first_weight() -> None:
    """A student begins with the weights that it has without one, and the same seed draws the same projector."""
    weights = build_projected(HALF, TO_256, seed=3).state_dict()
    alone = build_from(HALF, seed=3).state_dict()
    assert weights.keys() - alone.keys() == {"projector.weight"}
    assert all(torch.equal(weights[name], alone[name]) for name in alone)
    again = build_projected(HALF, TO_256, seed=3).state_dict()["projector.weight"]
    assert torch.equal(again, weights["projector.weight"])
