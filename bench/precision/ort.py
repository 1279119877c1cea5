"""Where ONNX Runtime's environment and its models are (onnx_models.py makes them)."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "build/peers/onnxruntime/bin/python"
FP32 = ROOT / "build/peers/minilm.onnx"
QUANTISED = {"int8": FP32.with_suffix(".int8.onnx"), "int8c": FP32.with_suffix(".int8c.onnx")}  # per tensor, per channel


def runner() -> list:
    """What is spoken to as bench_executor is."""
    return [PYTHON, Path(__file__).parent / "ort_runner.py"]
