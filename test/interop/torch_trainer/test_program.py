"""The program as a user would start it: security, errors for bad options, stopping, and the state after a kill."""

import contextlib
import io
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
import warnings

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving import FOLDER, HERE, MODELS, PLUGIN, Case, Client, Program

from pmpo_torch_trainer.__main__ import main

SERVING = health_pb2.HealthCheckResponse.SERVING


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


class Security(Case):
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

    def test_mutual_tls_token_and_health(self):
        files = ["--tls-certificate", self.folder / "server.pem", "--tls-key", self.folder / "server.key"]
        files += ["--tls-client-ca", self.folder / "ca.pem", "--token-file", self.folder / "token"]
        with Program(*files) as running:
            ours = grpc.ssl_channel_credentials(self.read("ca.pem"), self.read("client.key"), self.read("client.pem"))
            token = (("authorization", "Bearer open sesame"),)
            self.assertEqual(Client(running.address, token, ours).trainer("GetInfo").architecture, "LlamaForCausalLM")
            for wrong in ((), (("authorization", "Bearer guess"),), (("authorization", "open sesame"),)):
                client = Client(running.address, wrong, ours)
                self.refused("UNAUTHENTICATED", "missing or wrong", lambda: client.trainer("GetInfo"))
                self.refused("UNAUTHENTICATED", "missing or wrong", lambda: client.generate([1], max_tokens=1))
            strangers = [
                grpc.ssl_channel_credentials(self.read("stranger.pem"), self.read("client.key"), self.read("client.pem")),
                grpc.ssl_channel_credentials(self.read("ca.pem")),
                grpc.ssl_channel_credentials(self.read("ca.pem"), self.read("stranger.key"), self.read("stranger.pem")),
                None,
            ]
            for credentials in strangers:
                client = Client(running.address, token, credentials)
                with self.assertRaisesRegex(grpc.RpcError, "UNAVAILABLE"):
                    client.trainer("GetInfo")
            with grpc.secure_channel(running.address, ours) as channel:
                health = health_pb2_grpc.HealthStub(channel)
                for service in ("", "pmpo.v1.Trainer", "vllm.grpc.engine.VllmEngine"):
                    answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
                    self.assertEqual(answer.status, SERVING)
            self.assertEqual(running.stop(), 0)
            self.assertNotIn("sesame", running.errors())


class Start(Case):
    def complains(self, pattern, *arguments, code=1, model=MODELS["llama"]):
        """Asserts that the program fails with this message. Runs it in this process, because starting another takes seconds."""
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with contextlib.redirect_stderr(io.StringIO()) as errors, warnings.catch_warnings():
            try:
                ended = main(["--model", str(model), "--port", "0", *map(str, arguments)])
            except SystemExit as error:
                ended = error.code
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        self.assertEqual(ended, code)
        self.assertRegex(errors.getvalue(), pattern)
        if code == 1:
            self.assertEqual(len(errors.getvalue().strip().split("\n")), 1)

    def test_errors_are_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            empty = pathlib.Path(folder)
            self.complains(r"pmpo-torch-trainer: --model .*: config.json is missing", model=empty)
            (empty / "config.json").write_text("{}")
            self.complains(r"pmpo-torch-trainer: --model .*: cannot read the model in this folder", model=empty)
            for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
                (empty / name).write_bytes((MODELS["llama"] / name).read_bytes())
            self.complains(r"cannot read the causal language model in this folder", model=empty)
            (empty / "model.safetensors").write_bytes(b"nonsense")
            self.complains(r"cannot read the causal language model in this folder", model=empty)
        self.complains(r"--lora-targets: .*nothing_like_it", "--lora-rank", 2, "--lora-targets", "nothing_like_it")
        self.complains(r"--adapter .*: adapter_config.json is missing", "--adapter", FOLDER)
        self.complains(r"--context-length 65: it must be at most 64", "--context-length", 65)
        self.complains(r"--token-file: .*No such file", "--token-file", FOLDER / "none")
        self.complains(r"--folder .*: the folder does not exist", "--folder", FOLDER / "none")

    def test_invalid_options_and_combinations(self):
        for pattern, arguments in [
            ("--tls-certificate and --tls-key must be given together", ["--tls-key", "x"]),
            ("--lora-alpha and --lora-targets need --lora-rank", ["--lora-alpha", 2]),
            ("--lora-rank must be above 0", ["--lora-rank", 0]),
            ("--adapter determines the rank", ["--adapter", "x", "--lora-rank", 2]),
            ("--port must be", ["--port", 70000]),
        ]:
            self.complains(pattern, *arguments, code=2)

    def test_a_port_in_use_is_reported_before_the_model_is_loaded(self):
        own = self.local("llama")
        self.complains(r"cannot listen on 127.0.0.1:\d+: Address already in use", "--port", own.server.port, model=FOLDER / "none")


class End(Case):
    def test_stops_when_its_standard_input_closes(self):
        with Program("--until-stdin-closes", stdin=subprocess.PIPE) as running:
            Client(running.address).trainer("GetInfo")
            running.process.stdin.close()
            self.assertEqual(running.process.wait(timeout=30), 0)

    def test_stops_while_it_samples(self):
        with Program() as running:
            client = Client(running.address)
            stream = client.generate([1], stream=True, n=40, ignore_eos=True)
            next(stream)
            self.assertEqual(running.stop(signal.SIGINT), 0)

    def test_a_kill_during_a_step_leaves_the_last_checkpoint_intact(self):
        own = self.local("llama")
        folder = tempfile.mkdtemp(dir=FOLDER)
        name = pathlib.Path(folder).name
        # The program is killed while it trains and writes checkpoints, at a different moment in each run of this test.
        for moment in (0.05, 0.4):
            with Program() as running:
                client = Client(running.address)
                client.trainer("Save", folder=name)

                def train():
                    try:
                        while True:
                            client.forward_backward([{"log_prob": [-1.0]}] * 3)
                            client.trainer("OptimStep", learning_rate=0.01)
                            client.trainer("Save", folder=name)
                    except grpc.RpcError:
                        pass

                thread = threading.Thread(target=train)
                thread.start()
                threading.Event().wait(moment)
                self.assertEqual(running.stop(signal.SIGKILL), -signal.SIGKILL)
                thread.join()
            own.trainer("Load", folder=name)
            steps = own.trainer("GetInfo").steps
            own.forward_backward([{"log_prob": [-1.0]}] * 3)
            self.assertEqual(own.trainer("OptimStep", learning_rate=0.01).steps, steps + 1)
            # The next checkpoint removes the incomplete files of the killed program.
            own.trainer("Save", folder=name)
            self.assertEqual(len(list(pathlib.Path(folder).glob("data-*"))), 1)


class Sources(unittest.TestCase):
    def test_the_descriptions_match_the_proto_files(self):
        with tempfile.TemporaryDirectory() as folder:
            now = pathlib.Path(folder) / "services.binpb"
            subprocess.run([sys.executable, "-B", PLUGIN / "describe_services.py", now], check=True)
            self.assertEqual(now.read_bytes(), (PLUGIN / "pmpo_torch_trainer" / "services.binpb").read_bytes())

    def test_types(self):
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, "-m", "mypy", "--cache-dir", cache, "pmpo_torch_trainer", "describe_services.py"]
            run = subprocess.run(command, cwd=PLUGIN, capture_output=True, text=True, timeout=900)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_the_tested_versions_are_those_that_the_plugin_pins(self):
        def pins(path):
            lines = (line.split(";")[0].strip() for line in path.read_text().splitlines())
            return {line for line in lines if line and not line.startswith("#")}

        own = pins(PLUGIN / "requirements" / "trainer.txt") - {"numpy==2.2.6", "huggingface_hub==2.4.0"}
        self.assertEqual(own - pins(HERE.parent / "requirements" / "torch_trainer.txt"), set())


if __name__ == "__main__":
    unittest.main()
