"""The words of a page that a reader may not know; docs/glossary.md has them all."""

from __future__ import annotations

TERMS: tuple[tuple[str, str], ...] = (
    (
        "Region",
        "A box around a piece of tissue. The network answers for each; the slide's confidence is their mean.",
    ),
    ("Field size", "Width and height of a region on the glass."),
    (
        "Confidence",
        "The share, 0 to 100 %, that the network gives a class; all classes together have 100 %. Tables and files "
        "call it probability; it is none of disease.",
    ),
    (
        "Calibrated",
        "Adjusted on slides whose class is known, so that of answers given with 80 % about 80 % were right there.",
    ),
    (
        "Synthetic slides",
        "Drawn by a program for trying things out. A network trained on them knows nothing of tissue.",
    ),
    (
        "Unlike the training slides",
        "Beyond the range of the training slides in magnification, field size or stain. A network is as sure of itself "
        "there, and its answer may be worth nothing.",
    ),
    (
        "Stain numbers",
        "Optical density is how much light the stain takes away in red, green or blue; hue is a colour's share of it.",
    ),
    (
        "Occlusion",
        "A map made by blurring one patch after the other and asking again: where confidence falls, it mattered.",
    ),
    (
        "Grad-CAM",
        "A map read from inside the network: what each place adds to a class. It misses more often in small regions.",
    ),
    (
        "Score, log-odds",
        "Confidence before it is brought to 0 to 100 %. Log-odds that fall by 0.7 halve the odds of the class.",
    ),
    (
        "Maps agree",
        "Whether both maps put the places of a region in the same order (rank correlation): 1 the same, 0 by chance, "
        "-1 opposite.",
    ),
    (
        "Focus",
        "Fine structure over coarse: 0.6 to 1 in sharp H&E, 0.4 blurred by 1 µm, 0.26 by 2 µm. Mucus, fat: less.",
    ),
    (
        "Ink, folds, bubbles",
        "Shares of a region under marker ink, of its tissue in folds, of it in air bubbles.",
    ),
    ("Magnification", "10x is about 1 µm per pixel, 2.5x about 4 µm, whatever the objective of the scan."),
    ("Full resolution, level 0", "The finest pixels in the file. Places on this page are counted in them."),
)
"""Term and meaning, in the order of the page."""
