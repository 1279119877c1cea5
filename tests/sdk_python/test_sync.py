"""The blocking client: the same answers and errors, from any thread."""

import concurrent.futures
import os
import threading
import unittest

import numpy as np
import shoal
from fake_gateway import FakeGateway, Request, echo

X = np.arange(6, dtype=np.int64)


def silence(gateway: FakeGateway, request: Request) -> None:
    """Never answers."""


class SyncTest(unittest.TestCase):
    def connected(self, answer=echo, **kwargs) -> tuple[FakeGateway, shoal.SyncMesh]:
        gateway = self.enterContext(FakeGateway(answer))
        return gateway, self.enterContext(shoal.connect_sync(gateway.address, **kwargs))

    def test_it_infers_and_tells_about_the_mesh(self):
        _, mesh = self.connected()
        result = mesh.infer("m", {"x": X}, deadline=2.0)
        np.testing.assert_array_equal(result["y"], X)
        self.assertEqual(mesh.models()[0].name, "identity")
        self.assertEqual(mesh.status()[0].figures, {"answered": 1.0})
        self.assertEqual(mesh.counts(), {})

    def test_errors_are_raised_where_the_call_was_made(self):
        _, mesh = self.connected(lambda gateway, request: gateway.fail(request, 2, "no such model"))
        with self.assertRaisesRegex(shoal.NotFound, "no such model"):
            mesh.infer("m", {"x": X})
        with self.assertRaises(shoal.InvalidArgument):
            mesh.infer("m", {"x": object()})

    def test_the_deadline_holds_without_an_answer(self):
        _, mesh = self.connected(silence)
        with self.assertRaises(shoal.DeadlineExceeded):
            mesh.infer("m", {"x": X}, deadline=0.05)

    def test_threads_share_one_connection(self):
        gateway, mesh = self.connected()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda n: mesh.infer("m", {"x": np.array([n])}), range(100)))
        self.assertEqual([int(result["y"][0]) for result in results], list(range(100)))
        self.assertEqual(len(gateway.hellos), 1)

    def test_many_are_kept_in_flight_by_submitting(self):
        _, mesh = self.connected()
        futures = [mesh.submit("m", {"x": np.array([n])}) for n in range(50)]
        self.assertEqual([int(future.result()["y"][0]) for future in futures], list(range(50)))

    def test_cancelling_a_submitted_request_cancels_it_at_the_mesh(self):
        gateway, mesh = self.connected(silence)
        future = mesh.submit("m", {"x": X})
        gateway.wait_for(lambda: bool(gateway.requests))
        self.assertTrue(future.cancel())
        gateway.wait_for(lambda: gateway.cancelled == [gateway.requests[0].id])

    def test_closing_ends_what_waits_and_the_thread(self):
        gateway, mesh = self.connected(silence)
        future = mesh.submit("m", {"x": X})
        gateway.wait_for(lambda: bool(gateway.requests))
        mesh.close()
        mesh.close()
        with self.assertRaises(shoal.Unavailable):
            future.result()
        with self.assertRaisesRegex(shoal.InvalidArgument, "closed"):
            mesh.infer("m", {"x": X})
        self.assertNotIn("shoal", [thread.name for thread in threading.enumerate()])

    def test_a_failed_opening_leaves_no_thread(self):
        gateway = FakeGateway()
        gateway.stop()
        with self.assertRaises(shoal.Unavailable):
            shoal.connect_sync(gateway.address, timeout=0.1)
        self.assertNotIn("shoal", [thread.name for thread in threading.enumerate()])

    def test_a_forked_child_is_told_to_open_its_own(self):
        gateway, mesh = self.connected()
        mesh.infer("m", {"x": X})
        child = os.fork()
        if child == 0:
            code = 1
            try:
                mesh.infer("m", {"x": X})
            except shoal.InvalidArgument:
                with shoal.connect_sync(gateway.address) as own:
                    code = 0 if own.infer("m", {"x": X})["y"][5] == 5 else 2
            finally:
                os._exit(code)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        mesh.infer("m", {"x": X})


if __name__ == "__main__":
    unittest.main()
