"""Native MuJoCo simulates every built-in model as the embedded one does."""

import json
import pathlib
import subprocess
import unittest

import mujoco
import numpy as np

ROOT = pathlib.Path(__file__).parents[3]

# Both run the same solver in float64, but their compilers and math libraries differ in the last bit. Contacts amplify such
# differences: the largest measured over these 50 control steps was 5e-12.
TOLERANCE = 1e-9


def native(case):
    """Returns the states after each of T control steps, [T, nq + nv], and the final sensor values."""
    model = mujoco.MjModel.from_xml_string(case["mjcf"])
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = case["qpos"], case["qvel"]
    mujoco.mj_forward(model, data)
    states = []
    for control in case["controls"]:
        data.ctrl[:] = control
        for _ in range(case["substeps"]):
            mujoco.mj_step(model, data)
        states.append(np.concatenate([data.qpos, data.qvel]))
    mujoco.mj_forward(model, data)
    return np.array(states), data.sensordata.copy()


class NativeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        output = subprocess.run(
            ["node", ROOT / "test/interop/mujoco/trajectories.mjs"], stdout=subprocess.PIPE, check=True, timeout=120
        )
        cls.cases = json.loads(output.stdout)

    def test_versions_agree(self):
        package = json.loads((ROOT / "package.json").read_text())
        self.assertEqual(mujoco.__version__, package["dependencies"]["@mujoco/mujoco"])

    def test_trajectories_agree(self):
        for case in self.cases:
            with self.subTest(case["name"], seed=case["seed"]):
                states, sensors = native(case)
                np.testing.assert_allclose(case["states"], states, rtol=TOLERANCE, atol=TOLERANCE)
                np.testing.assert_allclose(case["sensors"], sensors, rtol=TOLERANCE, atol=TOLERANCE)

    def test_every_task_moves(self):
        for case in self.cases:
            with self.subTest(case["name"]):
                self.assertGreater(np.ptp(case["states"], axis=0).max(), 0.01)


if __name__ == "__main__":
    unittest.main()
