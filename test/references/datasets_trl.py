"""Writes trl-pairs.json: pairs without a prompt, and what TRL's `extract_prompt` makes of them.

    .venvs/trl/bin/python test/references/datasets_trl.py
"""

import json
from pathlib import Path

from trl.data_utils import extract_prompt


def turn(role: str, content: str) -> dict:
    return {"role": role, "content": content}


def chat(*contents: str) -> list[dict]:
    return [turn(("user", "assistant")[i % 2], content) for i, content in enumerate(contents)]


PAIRS = [
    ("The sky is blue.", "The sky is green."),
    ("The sky is blue.", "The sky is black."),
    ("Two and two are four", "Two and two are four, I think"),
    ("1 + 1 = 2", "1 + 1 = 3"),
    ("naïve: 🌤 yes", "naïve: 🌧 no"),
    ("a b", "a c"),
    (chat("What color is the sky?", "Blue."), chat("What color is the sky?", "Green.")),
    (chat("A?", "A.", "B?", "Good."), chat("A?", "A.", "B?", "Bad.")),
    (chat("A?", "A.", "B?", "Good."), chat("A?", "B.", "C?", "Bad.")),
    ([turn("system", "Be kind."), *chat("Hi", "Hello")], [turn("system", "Be kind."), *chat("Hi", "No")]),
]

if __name__ == "__main__":
    rows = [
        {"chosen": chosen, "rejected": rejected, "expected": extract_prompt({"chosen": chosen, "rejected": rejected})}
        for chosen, rejected in PAIRS
    ]
    file = Path(__file__).resolve().parent / "trl-pairs.json"
    file.write_text(json.dumps(rows, ensure_ascii=False, indent=2) + "\n")
