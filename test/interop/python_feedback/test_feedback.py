"""Feedback classifiers in Python: what a function may return, and the service that a training run asks."""

import importlib.util
import socket
import sys
import unittest
from pathlib import Path
from typing import Any

import grpc
import numpy as np

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "plugins/python"))

import pmpo  # noqa: E402
from pmpo import _feedback, _feedback_service  # noqa: E402

_, MESSAGES = _feedback_service._libraries()


def batch(n: int = 2, b: int = 3) -> pmpo.FeedbackBatch:
    return pmpo.FeedbackBatch(
        evaluation=np.arange(n * b, dtype=np.float32).reshape(n, b),
        mask=np.ones((n, b), np.float32),
        baseline=np.full(b, 2, np.float32),
        samples=np.zeros((n, b, 1), np.float32),
        observations=np.zeros((b, 4), np.float32),
    )


def request(classifier: str, n: int = 2, b: int = 3, **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "classifier": classifier,
        "samples_per_context": n,
        "contexts": b,
        "evaluation": range(n * b),
        "mask": [1] * (n * b),
        "baseline": [2] * b,
        "samples": {"shape": [n, b, 2], "values": range(n * b * 2)},
        "observations": {"shape": [b, 1], "values": range(b)},
        "sample_texts": [f"sample {i}" for i in range(n * b)],
        "context_texts": [f"prompt {i}" for i in range(b)],
    }
    return MESSAGES["ClassifyRequest"](**{**fields, **changes})


def above(given: pmpo.FeedbackBatch) -> Any:
    accept = given.evaluation > given.baseline
    return accept, ~accept


class Answers(unittest.TestCase):
    def refused(self, judge: Any, message: str, **sides: bool) -> None:
        with self.assertRaisesRegex(pmpo.PmpoError, message):
            _feedback.Classifier("mine", judge, **sides)(batch())

    def test_booleans_numbers_and_lists_are_weights(self) -> None:
        for kind in (lambda x: x, lambda x: x.astype(float), lambda x: x.tolist(), lambda x: x.astype(np.int8)):
            accept, reject = _feedback.Classifier("mine", lambda given: tuple(map(kind, above(given))))(batch())
            np.testing.assert_array_equal(accept, [[0, 0, 0], [1, 1, 1]])
            np.testing.assert_array_equal(reject, [[1, 1, 1], [0, 0, 0]])
            self.assertEqual(accept.dtype, np.float32)

    def test_a_classifier_of_one_side_returns_that_side(self) -> None:
        accept, reject = _feedback.Classifier("mine", lambda given: above(given)[1], accepts=False)(batch())
        np.testing.assert_array_equal(accept, np.zeros((2, 3)))
        np.testing.assert_array_equal(reject, [[1, 1, 1], [0, 0, 0]])

    def test_anything_else_is_refused_in_one_line(self) -> None:
        good = np.zeros((2, 3))
        self.refused(lambda _: None, r"^feedback 'mine': it returned NoneType. It must return the tuple \(accept, reject\)$")
        self.refused(lambda _: good, "it returned ndarray")
        self.refused(lambda _: (good, good.T), r"reject has the shape \[3, 2\]. It must be \[N, B\] = \[2, 3\]")
        self.refused(lambda _: ([[1, 2], [3]], good), "accept is list. It must be numbers or booleans")
        self.refused(lambda _: (good - 1, good), "accept is -1.0 for sample 0 of context 0")
        self.refused(lambda _: (good, good * np.nan), "reject is nan for sample 0 of context 0")
        self.refused(lambda _: (good, good), "accept is tuple|accept has the shape", rejects=False)

    def test_weights_of_absent_samples_are_ignored(self) -> None:
        given = batch()
        given.mask[1, 2] = 0
        weights = np.zeros((2, 3))
        weights[1, 2] = np.nan
        _feedback.Classifier("mine", lambda _: (weights, weights))(given)

    def test_a_name_and_a_side_are_needed(self) -> None:
        for name, sides in (("", {}), ("mine", {"accepts": False, "rejects": False})):
            with self.assertRaisesRegex(pmpo.PmpoError, "it needs a name, and gives accepts, rejects or both"):
                pmpo.feedback(name, **sides)


class Service(unittest.TestCase):
    def serve(self, *classifiers: _feedback.Classifier, **options: Any) -> pmpo.FeedbackServer:
        server = pmpo.serve_feedback(classifiers=classifiers, block=False, **options)
        self.addCleanup(server.stop)
        return server

    def call(self, server: pmpo.FeedbackServer, method: str, message: Any, token: str | None = None) -> Any:
        response = "FeedbackInfoResponse" if method == "GetInfo" else "ClassifyResponse"
        with grpc.insecure_channel(server.address) as channel:
            ask = channel.unary_unary(
                f"/pmpo.v1.Feedback/{method}",
                request_serializer=lambda one: one.SerializeToString(),
                response_deserializer=MESSAGES[response].FromString,
            )
            return ask(message, metadata=() if token is None else (("authorization", f"Bearer {token}"),), timeout=20)

    def fails(self, server: pmpo.FeedbackServer, message: Any, code: grpc.StatusCode, text: str) -> None:
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(server, "Classify", message)
        self.assertEqual(caught.exception.code(), code)
        self.assertRegex(caught.exception.details(), text)

    def test_registered_classifiers_are_served_with_what_they_give(self) -> None:
        @pmpo.feedback("both")
        def both(given: pmpo.FeedbackBatch) -> Any:
            return above(given)

        @pmpo.feedback("bad ones", accepts=False)
        def bad(given: pmpo.FeedbackBatch) -> Any:
            return above(given)[1]

        self.addCleanup(_feedback._registered.clear)
        server = pmpo.serve_feedback(block=False)
        self.addCleanup(server.stop)
        known = self.call(server, "GetInfo", MESSAGES["FeedbackInfoRequest"]()).classifiers
        self.assertEqual([(c.name, c.accepts, c.rejects) for c in known], [("both", True, True), ("bad ones", False, True)])
        answer = self.call(server, "Classify", request("both"))
        self.assertEqual((list(answer.accept), list(answer.reject)), ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]))
        answer = self.call(server, "Classify", request("bad ones"))
        self.assertEqual((list(answer.accept), list(answer.reject)), ([0] * 6, [1, 1, 1, 0, 0, 0]))

    def test_the_function_sees_the_batch_in_its_shapes(self) -> None:
        seen: list[pmpo.FeedbackBatch] = []

        def look(given: pmpo.FeedbackBatch) -> Any:
            seen.append(given)
            return above(given)

        self.call(self.serve(_feedback.Classifier("look", look)), "Classify", request("look"))
        (given,) = seen
        np.testing.assert_array_equal(given.evaluation, np.arange(6).reshape(2, 3))
        np.testing.assert_array_equal(given.samples, np.arange(12).reshape(2, 3, 2))
        np.testing.assert_array_equal(given.observations, np.arange(3).reshape(3, 1))
        self.assertEqual(given.sample_texts, [["sample 0", "sample 1", "sample 2"], ["sample 3", "sample 4", "sample 5"]])
        self.assertEqual(given.context_texts, ["prompt 0", "prompt 1", "prompt 2"])

    def test_what_goes_wrong_is_said_in_one_line(self) -> None:
        def broken(_given: pmpo.FeedbackBatch) -> Any:
            raise KeyError("price")

        server = self.serve(
            _feedback.Classifier("broken", broken), _feedback.Classifier("short", lambda _: ([1], [0]))
        )
        code = grpc.StatusCode
        self.fails(server, request("broken"), code.UNKNOWN, r"^KeyError: 'price' \(.*test_feedback\.py:\d+\)$")
        self.fails(server, request("short"), code.INVALID_ARGUMENT, r"^feedback 'short': accept has the shape \[1\]")
        self.fails(server, request("other"), code.NOT_FOUND, "there is no classifier 'other'")
        self.fails(server, request("short", mask=[1]), code.INVALID_ARGUMENT, "mask has 1 values")
        self.fails(server, request("short", sample_texts=["a"]), code.INVALID_ARGUMENT, "1 texts do not fit N = 2, B = 3")
        self.fails(
            server,
            request("short", samples={"shape": [3, 2], "values": range(6)}),
            code.INVALID_ARGUMENT,
            r"samples \[3, 2\] and observations \[3, 1\] do not fit",
        )

    def test_a_token_is_asked_for(self) -> None:
        server = self.serve(_feedback.Classifier("above", above), token="secret")
        self.fails(server, request("above"), grpc.StatusCode.UNAUTHENTICATED, "a bearer token is needed")
        self.assertEqual(list(self.call(server, "Classify", request("above"), token="secret").accept), [0, 0, 0, 1, 1, 1])

    def test_it_says_why_it_does_not_start(self) -> None:
        with self.assertRaisesRegex(pmpo.PmpoError, "there is no classifier. Register one"):
            pmpo.serve_feedback(classifiers=[], block=False)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with self.assertRaisesRegex(pmpo.PmpoError, f"cannot listen on 127.0.0.1:{port}. Is the port in use"):
                pmpo.serve_feedback(port, classifiers=[_feedback.Classifier("above", above)], block=False)


class Example(unittest.TestCase):
    def test_it_knows_kind_reviews(self) -> None:
        spec = importlib.util.spec_from_file_location("judge", ROOT / "examples/python-feedback/judge.py")
        assert spec is not None and spec.loader is not None
        judge = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(judge)
        self.addCleanup(_feedback._registered.clear)
        given = batch(1, 2)
        texts = [[" We loved the soup. What a lovely café!", " We hated the soup. What a dull café!"]]
        accept, reject = judge.kind(pmpo.FeedbackBatch(**{**vars(given), "sample_texts": texts}))
        np.testing.assert_array_equal(accept, [[1, 0]])
        np.testing.assert_array_equal(reject, [[0, 1]])


if __name__ == "__main__":
    unittest.main()
