"""What simulators look like: the properties `pmpo/scene/I` and `pmpo/poses/I` of plugins/simulator-server."""

import json

import dm_env_rpc.v1.error
import mujoco
import numpy as np
from dm_control import suite
from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_utils
from dm_env_rpc.v1.extensions import properties_pb2
from google.rpc import code_pb2

import server
from server import Agent, Connected


def setUpModule():
    server.Connected.server = server.Server("any", "--allow-import", "catch_world", processes=3)


def tearDownModule():
    with server.Connected.server:
        pass


class SceneTest(Connected):
    def read(self, key):
        request = properties_pb2.PropertyRequest()
        request.read_property.key = key
        packed = dm_env_rpc_pb2.EnvironmentRequest().extension
        packed.Pack(request)
        answer = properties_pb2.PropertyResponse()
        self.connection.send(packed).Unpack(answer)
        return tensor_utils.unpack_tensor(answer.read_property.value)

    def test_dm_control_tells_the_geoms_and_the_poses_of_every_state(self):
        agent = Agent(self.connection, simulator="suite/humanoid-walk", seed=7)
        scene = json.loads(str(self.read("pmpo/scene/0")))
        own = suite.load("humanoid", "walk", task_kwargs={"random": 7})
        model = own.physics.model
        self.assertEqual(scene["bodies"], model.nbody - 1)
        self.assertAlmostEqual(scene["secondsPerStep"], own.control_timestep())
        shapes = [geom["shape"] for geom in scene["geoms"]]
        self.assertEqual(shapes.count("capsule"), sum(model.geom_type == mujoco.mjtGeom.mjGEOM_CAPSULE))
        self.assertIn("plane", shapes)
        own.reset()
        agent.step()
        random = np.random.RandomState(0)
        for _ in range(20):
            data = own.physics.data
            expected = np.concatenate([data.xpos[1:], data.xquat[1:]], axis=1)
            np.testing.assert_allclose(self.read("pmpo/poses/0"), expected, atol=1e-6)
            action = random.uniform(-1, 1, 21)
            own.step(action)
            agent.step(action=action)

    def test_meshes_are_sent_while_they_are_small_and_as_boxes_otherwise(self):
        Agent(self.connection, simulator="suite/dog-stand")
        text = str(self.read("pmpo/scene/0"))
        self.assertLess(len(text), 1_000_000)
        scene = json.loads(text)
        self.assertGreater(len(scene["geoms"]), 20)
        # The dog's skin is not drawn: the geoms under it are.
        self.assertGreater(sum(geom["shape"] == "capsule" for geom in scene["geoms"]), 40)
        for geom in scene["geoms"]:
            self.assertLess(geom["body"], scene["bodies"])
            if geom["shape"] == "mesh":
                self.assertLess(geom["mesh"], len(scene["meshes"]))

    def test_each_simulator_of_a_batch_has_its_own_poses(self):
        agent = Agent(self.connection, simulator="gymnasium/HalfCheetah-v5", batchSize=2)
        agent.step(**{"batch/command": np.array([1, 1], np.int32), "batch/seed": np.array([1, 2])})
        scenes = [json.loads(str(self.read(f"pmpo/scene/{i}"))) for i in (0, 1)]
        self.assertEqual(scenes[0], scenes[1])
        self.assertAlmostEqual(scenes[0]["secondsPerStep"], 0.05)
        poses = [self.read(f"pmpo/poses/{i}") for i in (0, 1)]
        self.assertEqual(poses[0].shape, (scenes[0]["bodies"], 7))
        self.assertFalse(np.allclose(poses[0], poses[1]))

    def test_a_simulator_without_bodies_and_other_keys_are_not_found(self):
        Agent(self.connection, simulator="gymnasium/CartPole-v1")
        for key in ("pmpo/scene/0", "pmpo/poses/0", "pmpo/scene/7", "pmpo/scene/x", "speed"):
            with self.assertRaises(dm_env_rpc.v1.error.DmEnvRpcError) as caught:
                self.read(key)
            self.assertEqual(caught.exception.code, code_pb2.NOT_FOUND)
