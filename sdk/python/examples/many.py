"""A thousand inferences, 32 of them in flight, with a line of progress: `many.py [ADDRESS...]`.

With several addresses the requests are spread over the gateways, and go on at the others when one is lost.
"""

import sys

import numpy as np
import shoal

COUNT = 1000


def inputs():
    for n in range(COUNT):
        yield {"x": np.full((1, 8), n, np.float32)}


with shoal.connect_sync(*sys.argv[1:]) as mesh:
    total = failed = 0
    for outcome in mesh.map("identity", inputs(), window=32, return_errors=True, progress=True):
        if isinstance(outcome, shoal.ShoalError):
            failed += 1
            print(f"{outcome.code.name}: {outcome}", file=sys.stderr)
        else:
            total += int(outcome["y"][0, 0])
    print(f"the answers sum up to {total}, {failed} failed, {mesh.counts().get('retries', 0)} were tried again")
