"""run_suite.py [MODULE...]: builds the images if they are not of these sources, then runs these test modules, in this order.

Without an engine it ends with 77, which ctest shows as skipped.
"""

import signal
import sys
import unittest

import images

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is removed
images.require_engine()
images.build_images()
if len(sys.argv) > 1:
    suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:])
    sys.exit(not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful())
