"""Models for MLServer: a scikit-learn reward model of texts, a reward model of tokens, and a faulty model.

    python runtimes.py FOLDER

writes a model repository for `mlserver start FOLDER`. Reads texts as JSON from standard input, and prints their scores by
the text model as JSON.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

GOOD = ["a short answer", "brief and kind", "yes, thank you", "it is so 🎉"]
BAD = ["no no no no no", "a rude and endless answer, which goes on and on", "NEVER", "weiß nicht"]


def reward_model():
    model = make_pipeline(HashingVectorizer(analyzer="char_wb", ngram_range=(1, 3), n_features=512), Ridge())
    return model.fit(GOOD + BAD, [1.0] * len(GOOD) + [-1.0] * len(BAD))


class TextReward(MLModel):
    """A ridge regression on character n-grams."""

    async def load(self) -> bool:
        self._model = reward_model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = StringCodec.decode_input(payload.inputs[0])
        scores = self._model.predict(texts).astype(np.float64).reshape(-1, 1)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("score", scores)])


class TokenReward(MLModel):
    """Returns, for each sample, the mean of its unmasked tokens and their number."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensors = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        mask = tensors["attention_mask"]
        counts = mask.sum(axis=1)
        means = (tensors["input_ids"] * mask).sum(axis=1) / counts
        scores = np.stack([means, counts], axis=1).astype(np.float32)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("logits", scores)])


class WrongShape(MLModel):
    """Returns scores of shape [1, 7] whatever the number of samples."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        scores = np.zeros((1, 7), dtype=np.float32)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("score", scores)])


TEXT = [{"name": "text", "datatype": "BYTES", "shape": [-1, 1]}]
TOKENS = [{"name": name, "datatype": "INT64", "shape": [-1, -1]} for name in ("input_ids", "attention_mask")]
MODELS = {
    "text-reward": (TextReward, TEXT, [{"name": "score", "datatype": "FP64", "shape": [-1, 1]}]),
    "token-reward": (TokenReward, TOKENS, [{"name": "logits", "datatype": "FP32", "shape": [-1, 2]}]),
    "wrong-shape": (WrongShape, TEXT, [{"name": "score", "datatype": "FP32", "shape": [-1, 1]}]),
}


def main(folder: Path) -> None:
    for name, (runtime, inputs, outputs) in MODELS.items():
        (folder / name).mkdir(parents=True)
        shutil.copy(__file__, folder / name / "runtimes.py")
        settings = {
            "name": name,
            "implementation": f"runtimes.{runtime.__name__}",
            "inputs": inputs,
            "outputs": outputs,
            "parameters": {"version": "v1"},
        }
        (folder / name / "model-settings.json").write_text(json.dumps(settings))
    texts = json.load(sys.stdin)
    json.dump(reward_model().predict(texts).tolist(), sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
