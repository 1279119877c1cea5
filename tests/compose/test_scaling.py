"""`--scale`, up and down, under load: not one request is lost."""

import sys
import time
import unittest

from load import Load
from running_compose import the_mesh

ONE = {"worker": 2, "cache": 1, "scheduler": 1, "gateway": 1}
MANY = {"worker": 4, "cache": 3, "scheduler": 2, "gateway": 2}


class Scaling(unittest.TestCase):
    def test_up_and_down_under_load(self) -> None:
        mesh = the_mesh()
        self.addCleanup(mesh.scale, **ONE)
        mesh.wait_until_healthy(**ONE)
        with Load() as load:
            time.sleep(2)
            for wanted in (MANY, ONE):
                begin = time.monotonic()
                mesh.scale(**wanted)
                mesh.wait_until_healthy(**wanted)
                print(f"scaled to {wanted} in {time.monotonic() - begin:.1f} s", file=sys.stderr)
                time.sleep(5)
        print(f"answered {load.answered}, sent again {load.repeated}, lost {len(load.lost)}", file=sys.stderr)
        self.assertEqual(load.lost, [])
        for door, answered in load.answered.items():
            self.assertGreater(answered, 100, door)


if __name__ == "__main__":
    unittest.main()
