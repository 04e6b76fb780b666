"""A scikit-learn model that judges reviews for a training run.

It learns from the labelled reviews of examples/language/labels.jsonl which words are kind, and then accepts the policy's completions
that it takes for kind and rejects the others.

    pip install './plugins/python[feedback]' scikit-learn
    python examples/python-feedback/judge.py 50060
"""

import json
import pathlib
import sys

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import pmpo

LABELS = pathlib.Path(__file__).resolve().parents[1] / "language" / "labels.jsonl"

rows = [json.loads(line) for line in LABELS.read_text(encoding="utf-8").splitlines()]
model = make_pipeline(CountVectorizer(), LogisticRegression())
model.fit([row["completion"] for row in rows], [row["label"] for row in rows])


@pmpo.feedback("kind")
def kind(batch: pmpo.FeedbackBatch) -> tuple[np.ndarray, np.ndarray]:
    """Accepts completions that are kind with a probability above one half; [N, B] each."""
    texts = [text for row in batch.sample_texts for text in row]
    probability = model.predict_proba(texts)[:, 1].reshape(batch.evaluation.shape)
    return probability > 0.5, probability <= 0.5


if __name__ == "__main__":
    pmpo.serve_feedback(int(sys.argv[1]))
