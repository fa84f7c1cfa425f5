"""What slideprep advises in a build, as advice for a prediction: whoever predicts has other options. Pure.

In: a sentence of slideprep's about a slide, a region or a setting. Out: the same fact, with a remedy that ``kdtrain
predict`` has. How images are made is the bundle's to say, so of what a build could choose often nothing is left to do
but to leave the slide out.
"""

from __future__ import annotations

import re

_BY_LABELS = r"give it by --labels labels.csv, in a column '\1'"
_REMEDIES = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (
            r"; leave \S+ out of --magnifications or leave this slide out",
            ", and the network saw images at that magnification; leave this slide out, or correct its objective or "
            "mpp by --labels labels.csv",
        ),
        (
            r"magnifications are physical \(--magnification-by mpp\)",
            "the network's magnification is physical",
        ),
        (r"; --magnification-by mpp makes slides of different scanners comparable", ""),
        (r", or use --magnification-by mpp", ""),
        (r"; choose values in simple ratios", ""),
        (r"fill the column '(objective|mpp)' of labels\.csv", _BY_LABELS),
        (
            r"fill the column 'objective' \(or 'mpp'\) of labels\.csv",
            "give it by --labels labels.csv, in a column 'objective' (or 'mpp')",
        ),
        (r"; look at it in preview\.html, and use ", "; use "),
        (r"; look at it in preview\.html\.", "."),
        (
            r"use --image-format [a-z]+(?: or [a-z]+)?(?:, or leave that magnification out)?",
            "the network's images are encoded so, and one of a lower magnification takes the slide",
        ),
        (r"; to keep it, leave the lowest magnifications out", ""),
        (r"--exclude-class removed", "of classes that training left out"),
        (r"--exclude-class leaves out", "the classes that training left out are those of"),
        (
            r"(?:--)?(exclude.class|mask.outside) applies to annotated regions; .*?FOLDER",
            r"\1 applies to annotated regions",
        ),
        (r"--magnifications (?=\S+ have no)", "magnifications "),
        (r"give a folder of your own with --scratch", "set TMPDIR to a folder of your own"),
    )
)


def for_predict(sentence: str) -> str:
    """The sentence with remedies that are options of ``kdtrain predict``, where they were a build's."""
    for pattern, words in _REMEDIES:
        sentence = pattern.sub(words, sentence)
    return sentence
