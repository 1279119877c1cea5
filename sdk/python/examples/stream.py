"""asyncio: answers as they come, from a source that takes its time, and a deadline for each: `stream.py [ADDRESS...]`."""

import asyncio
import sys

import numpy as np
import shoal


async def readings():
    """What a sensor gives."""
    for n in range(20):
        await asyncio.sleep(0.005)
        yield {"x": np.full((1, 4), n, np.float32)}


async def main() -> None:
    async with shoal.connect(*sys.argv[1:]) as mesh:
        async for index, answer in mesh.stream("identity", readings(), deadline=2.0):
            print(f"reading {index}: {answer['y'][0, 0]:g}, {answer.queue_time * 1e6:.0f} us in the queue")


asyncio.run(main())
