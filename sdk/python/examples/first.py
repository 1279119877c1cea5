"""One inference: `first.py [ADDRESS]`, by default that of `shoal up`."""

import sys

import numpy as np
import shoal

address = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:8002"
try:
    with shoal.connect_sync(address) as mesh:
        answer = mesh.infer("identity", {"x": np.array([[1, 2, 3]], np.float32)}, deadline=2.0)
        print(answer["y"], f"after {answer.compute_time * 1e6:.0f} us of computing")
except shoal.ShoalError as error:
    sys.exit(f"{error.code.name}: {error}")
