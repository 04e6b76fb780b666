"""TLS, mutual TLS, bearer tokens and the health service of plugins/simulator-server."""

import pathlib
import subprocess
import tempfile
import unittest

import grpc
from dm_env_rpc.v1 import dm_env_rpc_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

import server
from server import Agent

RUNNING = dm_env_rpc_pb2.EnvironmentStateType.RUNNING


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


class SecurityTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        for name in ("ca", "stranger"):
            openssl(cls.folder, "req", "-x509", *new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
        for name in ("server", "client"):
            openssl(cls.folder, "req", *new[:-2], "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
            (cls.folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
            signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
            openssl(cls.folder, "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
        (cls.folder / "token").write_text("open sesame\n")

    def read(self, name):
        return (self.folder / name).read_bytes()

    def path(self, name):
        return str(self.folder / name)

    def can_step(self, address, credentials, metadata=()):
        with server.connect(address, credentials, metadata) as connection:
            agent = Agent(connection, simulator="gymnasium/CartPole-v1")
            return agent.step()[0] == RUNNING

    def test_mutual_tls_and_token(self):
        files = ["--tls-certificate", self.path("server.pem"), "--tls-key", self.path("server.key")]
        files += ["--tls-client-ca", self.path("ca.pem"), "--token-file", self.path("token")]
        with server.Server("gymnasium", *files) as running:
            ours = grpc.ssl_channel_credentials(self.read("ca.pem"), self.read("client.key"), self.read("client.pem"))
            token = (("authorization", "Bearer open sesame"),)
            self.assertTrue(self.can_step(running.address, ours, token))
            for wrong in ((), (("authorization", "Bearer guess"),)):
                with self.assertRaisesRegex(grpc.RpcError, "(?s)UNAUTHENTICATED.*missing or wrong"):
                    self.can_step(running.address, ours, wrong)
            strangers = [
                grpc.ssl_channel_credentials(self.read("stranger.pem"), self.read("client.key"), self.read("client.pem")),
                grpc.ssl_channel_credentials(self.read("ca.pem")),
                grpc.ssl_channel_credentials(
                    self.read("ca.pem"), self.read("stranger.key"), self.read("stranger.pem")
                ),
                None,
            ]
            for credentials in strangers:
                with self.assertRaisesRegex(grpc.RpcError, "UNAVAILABLE"):
                    self.can_step(running.address, credentials, token)
            with grpc.secure_channel(running.address, ours) as channel:
                health = health_pb2_grpc.HealthStub(channel)
                answer = health.Check(health_pb2.HealthCheckRequest(service="dm_env_rpc.v1.Environment"), timeout=10)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
            running.stop()
            self.assertNotIn("sesame", running.errors())

    def test_tls_alone(self):
        files = ("--tls-certificate", self.path("server.pem"), "--tls-key", self.path("server.key"))
        with server.Server("gymnasium", *files) as running:
            self.assertTrue(self.can_step(running.address, grpc.ssl_channel_credentials(self.read("ca.pem"))))
            for credentials in (grpc.ssl_channel_credentials(self.read("stranger.pem")), None):
                with self.assertRaisesRegex(grpc.RpcError, "UNAVAILABLE"):
                    self.can_step(running.address, credentials)

    def test_a_token_alone(self):
        with server.Server("gymnasium", "--token-file", self.path("token")) as running:
            self.assertTrue(self.can_step(running.address, None, (("authorization", "Bearer open sesame"),)))
            for wrong in ((), (("authorization", "open sesame"),), (("authorization", "Bearer open"),)):
                with self.assertRaisesRegex(grpc.RpcError, "UNAUTHENTICATED"):
                    self.can_step(running.address, None, wrong)

    def test_a_key_of_another_certificate(self):
        files = ("--tls-certificate", self.path("server.pem"), "--tls-key", self.path("client.key"))
        with server.Server("gymnasium", *files) as refused:
            self.assertEqual(refused.process.wait(timeout=30), 1)
            self.assertRegex(refused.errors(), "not a matching certificate and key")
