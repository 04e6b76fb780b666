"""Writes text_diversity_nltk.json: self-BLEU, distinct-n and seq-rep-n of texts by NLTK, the reference for
src/core/text-diversity.test.ts.

    $(node scripts/venv.mjs nltk) test/references/text_diversity_nltk.py
"""

from fixtures import Draws, write
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from nltk.util import ngrams

VOCABULARY = ["the", "soup", "was", "warm", "we", "loved", "waiter", "it's", "café", "7"]


def self_bleu(texts):
    smooth = SmoothingFunction().method1
    scores = [
        sentence_bleu(texts[:i] + texts[i + 1 :], text, (0.25, 0.25, 0.25, 0.25), smooth) for i, text in enumerate(texts)
    ]
    return float(sum(scores) / len(scores))


def distinct(texts, n):
    grams = [gram for text in texts for gram in ngrams(text, n)]
    return len(set(grams)) / len(grams)


def repetition(texts, n):
    grams = [list(ngrams(text, n)) for text in texts if len(text) >= n]
    return sum(1 - len(set(own)) / len(own) for own in grams) / len(grams)


def main() -> None:
    draws = Draws(5)
    corpora = [
        # Few words, so that n-grams recur between texts and within them; lengths that differ, so that some are penalised.
        [[VOCABULARY[i] for i in draws.integers(words, length)] for length in lengths]
        for words, lengths in (
            (3, [6, 8, 8, 5]),
            (4, [9, 12, 7, 7, 20, 15]),
            (10, [4, 5, 11, 30, 2, 3, 8]),
            (10, [1, 9, 9, 4]),
            (2, [5, 5]),
        )
    ]
    said = "we loved the waiter we loved the waiter".split()
    corpora += [[said, said], [said, "the soup was warm".split()], [["soup"] * 6, "we loved it's café".split()]]
    cases = [
        {
            "texts": [" ".join(text) for text in texts],
            "distinct": [distinct(texts, n) for n in (1, 2)],
            "repetition": repetition(texts, 4),
            "selfBleu": self_bleu(texts),
        }
        for texts in corpora
    ]
    write(__file__, {"cases": cases})


if __name__ == "__main__":
    main()
