"""A bundle's network as an MLflow model: a folder that ``mlflow.pyfunc.load_model`` loads, and MLflow's servers serve.

The flavour is MLflow's own for ONNX, so that loading runs no code of kdtrain, needs neither it nor PyTorch, and
unpickles nothing. In: uint8 (batch, 3, height, width) RGB, grey levels as decoded, images of one size. Out:
``probabilities``, calibrated where the bundle is, and ``logits``, float32 (batch, classes). MLflow itself is not
imported: MLmodel is YAML (https://mlflow.org/docs/latest/ml/model/).
"""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import Any

import numpy as np
import yaml

from kdtrain.bundle.document import BundleDocument
from kdtrain.bundle.onnx import answers_only
from kdtrain.bundle.runtime import Pixels
from kdtrain.bundle.runtime_onnx import OnnxRuntime
from kdtrain.errors import TrainingError
from kdtrain.evaluation.temperature import UNCHANGED

FOLDER = "mlflow"
"""In the bundle's."""
MODEL_FILE = "MLmodel"
GRAPH_FILE = "model.onnx"
_MOST_APART = 1e-5
"""Of probabilities: the graph divides by the temperature in float32, kdtrain in float64."""
PROBE_PX = (47, 33)
"""(height, width) of the images that both graphs are asked about."""


def mlflow_files(document: BundleDocument, graph: bytes) -> dict[str, bytes]:
    """Content of the folder by path in the bundle; the same for the same bundle and versions.

    Args:
        document: The bundle's bundle.json.
        graph: Its model.onnx.
    """
    python = platform.python_version()
    needed = [
        "mlflow>=3,<4",
        *(f"{name}=={metadata.version(name)}" for name in ("numpy", "onnx", "onnxruntime")),
    ]
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": needed}],
    }
    virtualenv = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    temperature = UNCHANGED if document.calibration is None else document.calibration.temperature
    content = {
        MODEL_FILE: _yaml(_model(document, python)),
        GRAPH_FILE: answers_only(graph, temperature),
        "requirements.txt": "".join(f"{line}\n" for line in needed).encode(),
        "conda.yaml": _yaml(conda),
        "python_env.yaml": _yaml(virtualenv),
    }
    return {f"{FOLDER}/{name}": data for name, data in content.items()}


def check_same(model: bytes, bundle: OnnxRuntime, images_BHWC: Pixels) -> None:
    """Ask both about the same images.

    Args:
        model: The MLflow folder's graph.
        bundle: The bundle's, with its temperature.
        images_BHWC: What to ask about.

    Raises:
        TrainingError: They answer differently.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    theirs_BK, _ = session.run(None, {"image": np.ascontiguousarray(images_BHWC.transpose(0, 3, 1, 2))})
    ours_BK = bundle.infer(images_BHWC).probabilities_BK
    apart = float(np.abs(theirs_BK - ours_BK).max())
    if not apart <= _MOST_APART:
        raise TrainingError(
            f"the MLflow model is not the network: probabilities differ by {apart:g} (at most {_MOST_APART:g} is "
            "accepted); nothing was written. Use the versions of onnx and onnxruntime in kdtrain's lock file"
        )


def _model(document: BundleDocument, python: str) -> dict[str, Any]:
    inputs = [_tensor(None, "uint8", [-1, 3, -1, -1])]
    outputs = [_tensor(name, "float32", [-1, len(document.classes)]) for name in ("probabilities", "logits")]
    return {
        "flavors": {
            "onnx": {
                "code": None,
                "data": GRAPH_FILE,
                "onnx_version": metadata.version("onnx"),
                # Of the onnxruntime that is asked for; another one is warned of at every start.
                "providers": ["CPUExecutionProvider"],
            },
            "python_function": {
                "data": GRAPH_FILE,
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.onnx",
                "python_version": python,
            },
        },
        # What it is and expects; the bundle around it says the rest.
        "metadata": {
            "name": document.name,
            "classes": list(document.classes),
            "magnification": document.input.magnification,
            "magnification_by": document.input.magnification_by,
            "min_side_px": document.architecture.min_side_px,
            "weights_sha256": document.files["model.safetensors"].sha256,
        },
        "signature": {
            "inputs": json.dumps(inputs, allow_nan=False),
            "outputs": json.dumps(outputs, allow_nan=False),
            "params": None,
        },
    }


def _tensor(name: str | None, dtype: str, shape: list[int]) -> dict[str, Any]:
    named = {} if name is None else {"name": name}
    return {**named, "type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}


def _yaml(content: Any) -> bytes:
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=True).encode()
