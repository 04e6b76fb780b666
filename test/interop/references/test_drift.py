"""Runs the scripts of test/references/ again and compares their output with the committed files.

A difference means that rlax, distrax or torch now compute something else than when the operators were compared with them.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

REFERENCES = pathlib.Path(__file__).resolve().parents[2] / "references"
TOLERANCE = 1e-8


def differences(path, committed, now):
    """Yields a description of each difference between two JSON documents."""
    if isinstance(committed, dict) and isinstance(now, dict):
        if committed.keys() != now.keys():
            yield f"{path}: keys {sorted(committed)} became {sorted(now)}"
        for key in committed.keys() & now.keys():
            yield from differences(f"{path}.{key}", committed[key], now[key])
    elif isinstance(committed, list) and isinstance(now, list):
        if len(committed) != len(now):
            yield f"{path}: {len(committed)} entries became {len(now)}"
        for index, (old, new) in enumerate(zip(committed, now)):
            yield from differences(f"{path}[{index}]", old, new)
    elif isinstance(committed, float) or isinstance(now, float):
        # The negated comparison counts NaN as a difference.
        if not abs(committed - now) <= TOLERANCE * max(1, abs(committed)):
            yield f"{path}: {committed} became {now}"
    elif committed != now:
        yield f"{path}: {committed} became {now}"


class Drift(unittest.TestCase):
    def check(self, name, venv):
        with tempfile.TemporaryDirectory() as folder:
            output = pathlib.Path(folder) / "now.json"
            python = os.environ[f"PMPO_PYTHON_{venv}"]
            script = REFERENCES / f"{name}.py"
            subprocess.run([python, "-B", script, output], check=True, timeout=240)
            now = json.loads(output.read_text(encoding="utf-8"))
        committed = json.loads((REFERENCES / f"{name}.json").read_text(encoding="utf-8"))
        found = list(differences(name, committed, now))
        self.assertEqual(found[:20], [], f"{len(found)} numbers differ")

    def test_mpo_of_rlax(self):
        self.check("mpo_rlax", "JAX")

    def test_pmpo_in_jax(self):
        self.check("pmpo_jax", "JAX")

    def test_distributions_of_torch(self):
        self.check("distributions_torch", "TORCH")

    def test_dpo_in_torch(self):
        self.check("dpo_torch", "TORCH")

    def test_llama_of_transformers(self):
        self.check("llama_transformers", "TRANSFORMERS")

    def test_chat_templates_of_transformers(self):
        self.check("jinja_transformers", "TRANSFORMERS")

    def test_operators_in_torch(self):
        self.check("operators_torch", "TORCH")

    def test_kto_in_torch(self):
        self.check("kto_torch", "TORCH")

    def test_benchmark_functions_of_cma(self):
        self.check("benchmark_functions_cma", "CMA")

    def test_text_diversity_of_nltk(self):
        self.check("text_diversity_nltk", "NLTK")

    def test_differences_are_detected(self):
        document = {"a": [1.0, {"b": 2.0}]}
        self.assertEqual(list(differences("x", document, document)), [])
        for other in ({"a": [1.0, {"b": 2.1}]}, {"a": [1.0]}, {"a": [float("nan"), {"b": 2.0}]}, {"c": []}):
            self.assertNotEqual(list(differences("x", document, other)), [])


if __name__ == "__main__":
    unittest.main()
