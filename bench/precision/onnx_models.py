"""Makes what ort_runner.py runs, in ONNX Runtime's own environment (bench/peers): MiniLM in fp32 as bench/peers/raw.py
exports it, and quantised by ONNX Runtime's dynamic quantisation, with a scale per tensor and per channel of a weight.

    build/peers/onnxruntime/bin/python bench/precision/onnx_models.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "peers"))
import raw  # noqa: E402
from ort import QUANTISED  # noqa: E402


def main() -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if not raw.ONNX.exists() or raw.ONNX.stat().st_mtime < raw.SOURCE.stat().st_mtime:
        raw.export()
    for kind, file in QUANTISED.items():
        if not file.exists() or file.stat().st_mtime < raw.ONNX.stat().st_mtime:
            quantize_dynamic(raw.ONNX, file, weight_type=QuantType.QInt8, per_channel=kind == "int8c")
        print(file)


if __name__ == "__main__":
    main()
