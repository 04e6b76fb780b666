"""Runs the unittest suites of a folder and writes their results as JSON, in the format of scripts/results.mjs. Prints the slowest tests.

Usage: python run_unittest.py FOLDER RESULTS.json
"""

import json
import pathlib
import sys
import time
import unittest


class TimedResult(unittest.TextTestResult):
    """Keeps the seconds of each test and of each group's preparation, which unittest runs between two tests."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seconds = []
        self._stopped = time.monotonic()

    def startTest(self, test):
        self._started = time.monotonic()
        self.seconds.append((self._started - self._stopped, f"before {test.id()}"))
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        self._stopped = time.monotonic()
        self.seconds.append((self._stopped - self._started, test.id()))

    def slowest(self, count=8, least=3.0):
        return [f"{seconds:6.1f} s  {what}" for seconds, what in sorted(self.seconds, reverse=True)[:count] if seconds >= least]


def main() -> int:
    folder, results = sys.argv[1:]
    # Python puts the folder of this file first, where suites such as `vllm` would pass for packages of that name.
    sys.path.remove(str(pathlib.Path(__file__).resolve().parent))
    suite = unittest.defaultTestLoader.discover(folder, pattern="test_*.py", top_level_dir=folder)
    outcome = unittest.TextTestRunner(verbosity=2, resultclass=TimedResult).run(suite)
    print("\n".join(outcome.slowest()), file=sys.stderr)
    # The last line of a traceback is the error message.
    failures = [f"{test.id()}: {text.strip().splitlines()[-1]}" for test, text in outcome.failures + outcome.errors]
    failures += [f"{test.id()}: passed unexpectedly" for test in outcome.unexpectedSuccesses]
    skipped = len(outcome.skipped)
    # Failures to import a module or to set up a class are errors that `testsRun` does not count.
    passed = max(outcome.testsRun - len(failures) - skipped, 0)
    with open(results, "w", encoding="utf-8") as file:
        json.dump({"passed": passed, "skipped": skipped, "failures": failures}, file)
    return 0 if outcome.wasSuccessful() and passed + skipped > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
