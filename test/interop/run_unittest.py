"""Runs the unittest suites of a folder and writes their results as JSON, in the format of scripts/results.mjs.

Usage: python run_unittest.py FOLDER RESULTS.json
"""

import json
import pathlib
import sys
import unittest


def main() -> int:
    folder, results = sys.argv[1:]
    # Python puts the folder of this file first, where suites such as `vllm` would pass for packages of that name.
    sys.path.remove(str(pathlib.Path(__file__).resolve().parent))
    suite = unittest.defaultTestLoader.discover(folder, pattern="test_*.py", top_level_dir=folder)
    outcome = unittest.TextTestRunner(verbosity=2).run(suite)
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
