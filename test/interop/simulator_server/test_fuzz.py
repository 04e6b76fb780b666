"""Fuzzed messages to both servers of this project, while an honest client uses them."""

import os
import unittest

import fuzz


class FuzzTest(unittest.TestCase):
    def check(self, kind, messages, program=None):
        with fuzz.started(kind, program) as (process, address, simulator):
            found = fuzz.fuzz(address, simulator, messages=messages, pid=process.pid)
            self.assertIsNone(process.poll(), f"the server has ended: {found}")
        self.assertEqual(found["problems"], [], found)
        self.assertGreaterEqual(found["messages"], messages)
        self.assertGreater(found["trajectories"], 0)
        self.assertLess(found["megabytesMost"] - found["megabytesBefore"], 600, found)

    def test_the_python_server_survives_a_hundred_thousand(self):
        self.check("python", 100_000)

    def test_the_embedded_server_survives_twenty_thousand(self):
        self.check("pmpo", 20_000, os.environ.get("PMPO_BIN"))
