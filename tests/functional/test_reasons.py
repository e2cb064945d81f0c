"""Reason codes are stored in files: their numbers and texts are a contract."""

from __future__ import annotations

from wmscore.functional import Reason


def test_codes_are_stable() -> None:
    assert [reason.name for reason in sorted(Reason)] == [
        "DEFINED",
        "NO_FRAME",
        "NON_FINITE",
        "NO_OBJECT",
        "NO_LABELS",
        "NO_BRANCH",
        "NO_RESPONSE",
        "NO_GENERATED_RESPONSE",
        "MISSING",
        "DUPLICATE_ROW",
        "SHORT",
        "RESET_MISMATCH",
        "CONSTANT",
        "OUT_OF_RANGE",
        "TOO_SMALL",
        "NO_PREVIOUS",
        "NO_REGION",
        "NON_FINITE_FEATURES",
        "NO_LATENTS",
        "NO_HEADROOM",
        "TOO_FEW_STEPS",
        "NO_SCALE",
        "NO_DRIFT",
        "NO_ERROR",
        "TOO_FEW_SAMPLES",
        "UNDETERMINED",
        "HIDDEN",
        "LOST",
        "TOO_FEW_PIXELS",
        "TWIN",
        "CAMOUFLAGED",
        "SURROUNDINGS",
        "UNCLEAR",
        "TOO_PLAIN",
        "NO_PEAK",
        "NO_EXCITATION",
        "NO_LAG",
        "TOO_FEW_ACTIONS",
        "NO_EFFECT",
        "NO_MATCH",
        "BRANCH_APART",
        "MODEL_ERROR",
        "WRONG_ANSWER",
        "NO_ACTIONS",
        "NO_RETURN",
        "NO_MOTION",
        "STILL_REFERENCE",
        "WRONG_TIMING",
        "WRONG_SIZE",
        "WRONG_SCRIPT",
        "WRONG_CHANNELS",
    ]
    assert [int(reason) for reason in sorted(Reason)] == list(range(51))


def test_each_reason_has_its_own_line() -> None:
    lines = [reason.description for reason in Reason]
    assert len(set(lines)) == len(lines)
    assert all(line and "\n" not in line for line in lines)
