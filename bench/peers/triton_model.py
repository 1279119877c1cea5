"""MiniLM and the identity for Triton's Python backend; triton_server.py links it into the repository as model.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import triton_python_backend_utils as pb_utils

sys.path.insert(0, str(Path(__file__).resolve().parent))  # Triton's Python looks neither here nor at PYTHONPATH
from served_models import load  # noqa: E402


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.run = load(config["name"], config["parameters"]["setting"]["string_value"])

    def execute(self, requests: list) -> list:
        answers = self.run(
            [{n: pb_utils.get_input_tensor_by_name(r, n).as_numpy() for n in self.inputs} for r in requests]
        )
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in answer.items()])
            for answer in answers
        ]
