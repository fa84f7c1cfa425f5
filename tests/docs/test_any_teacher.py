"""docs/any-teacher.md works as it stands: its files are written, and its commands run in their order."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from docs.pages import DOCS, blocks, command_lines
from docs.running import run
from fixtures.features import write_folder
from fixtures.slides import picture, write_svs
from fixtures.training_runs import write_training_set
from slideprep import ReadSettings

PAGE = DOCS / "any-teacher.md"
QUICK = "--epochs 1 --accumulate 4 --logger none"
MORE = {
    "cache-teacher": "--workers 0",
    "distill": f"--workers 0 {QUICK}",
    "finetune": f"--workers 0 {QUICK}",
    "evaluate": "--workers 0 --iterations 50",
    "features": "--workers 0",
}
"""What makes a command one of a second; nothing that the page is about."""
SLIDES = [
    f"{split}-{n}.svs" for split, count in (("aux1", 3), ("added", 2), ("dev", 2)) for n in range(count)
]


class Vit(nn.Module):
    """What timm's networks are, as far as the page asks: patches of 16 px to four numbers, a class token in front."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 4, kernel_size=16, stride=16)

    def forward_features(self, tiles: Tensor) -> Tensor:
        tokens: Tensor = self.patches(tiles).flatten(2).transpose(1, 2)
        return torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1)


def create_model(name: str, **_: object) -> Vit:
    """As timm has it; its name and options are not looked at."""
    torch.manual_seed(0)
    return Vit()


def write_encoder(path: Path) -> None:
    """An ONNX file of tiles of 32 px: their means over 16 x 16 px."""
    node = helper.make_node("AveragePool", ["tiles"], ["map"], kernel_shape=[16, 16], strides=[16, 16])
    tiles, found = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("tiles", ["n", 3, 32, 32]), ("map", ["n", 3, 2, 2]))
    )
    graph = helper.make_graph([node], "encoder", [tiles], [found])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command, with few epochs, on a set at 20x and 2.5x; of timm and its weights a stand-in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    read = ReadSettings(tissue="whole").model_dump(mode="json") | {"magnifications": [20, 2.5]}

    def as_built(index: dict[str, Any]) -> None:
        index["config"] |= read

    write_training_set(tmp_path / "shards" / "mine", magnifications=(20, 2.5), edit_index=as_built)
    write_folder(tmp_path / "features" / "uni", SLIDES)
    write_encoder(tmp_path / "encoder.onnx")
    (tmp_path / "weights").mkdir()
    torch.save(Vit().state_dict(), tmp_path / "weights" / "uni.bin")
    (tmp_path / "slides").mkdir()
    write_svs(tmp_path / "slides" / "case7.svs", picture(320, 256))
    torch.set_num_threads(1)
    ran = []
    for block in blocks(PAGE):
        if block.language == "python":
            (name,) = re.findall(r"write `(\w+\.py)`", block.before)
            (tmp_path / name).write_text(block.text)
        elif block.language == "sh":
            for line in command_lines(block):
                command = line.split()[1]
                run(f"{line} {MORE[command]}")
                ran.append(command)
    assert ran.count("cache-teacher") == 4
    assert {"distill", "finetune", "evaluate", "features"} < set(ran)
    assert (tmp_path / "runs" / "classifier" / "evaluation-test" / "metrics.json").is_file()
    assert not (tmp_path / "caches" / "vit").exists(), "--dry-run writes nothing"
    assert len(list((tmp_path / "features" / "student").glob("*.h5"))) == 18
