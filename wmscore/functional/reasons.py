"""Why a value is undefined: one code per frame, step or rollout, stored beside each NaN."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Reason"]


class Reason(IntEnum):
    """Code that explains a NaN; ``DEFINED`` (0) where the value stands.

    Results carry it as a ``uint8`` tensor of the value's shape; ``Reason(code).description`` is the
    sentence for a person.
    """

    DEFINED = 0
    NO_FRAME = 1
    NON_FINITE = 2
    NO_OBJECT = 3
    NO_LABELS = 4
    NO_BRANCH = 5
    NO_RESPONSE = 6
    NO_GENERATED_RESPONSE = 7
    MISSING = 8
    DUPLICATE_ROW = 9
    SHORT = 10
    RESET_MISMATCH = 11
    CONSTANT = 12
    OUT_OF_RANGE = 13
    TOO_SMALL = 14
    NO_PREVIOUS = 15
    NO_REGION = 16
    NON_FINITE_FEATURES = 17
    NO_LATENTS = 18
    NO_HEADROOM = 19
    TOO_FEW_STEPS = 20
    NO_SCALE = 21
    NO_DRIFT = 22
    NO_ERROR = 23
    TOO_FEW_SAMPLES = 24
    UNDETERMINED = 25
    HIDDEN = 26
    LOST = 27
    TOO_FEW_PIXELS = 28
    TWIN = 29
    CAMOUFLAGED = 30
    SURROUNDINGS = 31
    UNCLEAR = 32
    TOO_PLAIN = 33
    NO_PEAK = 34
    NO_EXCITATION = 35
    NO_LAG = 36
    TOO_FEW_ACTIONS = 37
    NO_EFFECT = 38
    NO_MATCH = 39
    BRANCH_APART = 40
    MODEL_ERROR = 41
    WRONG_ANSWER = 42
    NO_ACTIONS = 43
    NO_RETURN = 44
    NO_MOTION = 45
    STILL_REFERENCE = 46
    WRONG_TIMING = 47
    WRONG_SIZE = 48
    WRONG_SCRIPT = 49
    WRONG_CHANNELS = 50

    @property
    def description(self) -> str:
        """One line for a person who reads a table or a log."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Reason.DEFINED: "the value is defined",
    Reason.NO_FRAME: "the step has no frame: it is padded or marked invalid",
    Reason.NON_FINITE: "the frame holds NaN or infinite values",
    Reason.NO_OBJECT: "no object is visible in the reference at this step",
    Reason.NO_LABELS: "no label maps were given for the rollout or for its reference",
    Reason.NO_BRANCH: "the counterfactual branch of this rollout or of its reference is absent",
    Reason.NO_RESPONSE: "the reference does not react to the change of actions at this step",
    Reason.NO_GENERATED_RESPONSE: "the generated frames are the same under all action scripts, "
    "so their response has no direction",
    Reason.MISSING: "the row that the panel asks for never arrived",
    Reason.DUPLICATE_ROW: "the row arrived more than once",
    Reason.SHORT: "the rollout ends before its reference does",
    Reason.RESET_MISMATCH: "frame 0 is not the initial observation that was given",
    Reason.OUT_OF_RANGE: "a floating-point frame has values outside 0..1",
    Reason.CONSTANT: "all pixels of the generated frame are equal while the reference's are not",
    Reason.TOO_SMALL: "the frame is smaller than the smallest on which the value is defined",
    Reason.NO_PREVIOUS: "no frame before this one was given to compare it with",
    Reason.NO_REGION: "no pixel lies in the region",
    Reason.NON_FINITE_FEATURES: "a latent, or a feature of a finite frame, is NaN or infinite",
    Reason.NO_LATENTS: "no latents were given for the rollout or for its reference",
    Reason.NO_HEADROOM: "the frozen baseline is as close to the reference as the oracle, so that "
    "there is nothing to gain",
    Reason.TOO_FEW_STEPS: "fewer defined steps than the value needs",
    Reason.NO_SCALE: "what the value is relative to is zero: the length of a latent or an "
    "embedding, or a quality of the given frames",
    Reason.NO_DRIFT: "the curve does not rise by more than noise would, or not for good, so that "
    "no drift sets in",
    Reason.TOO_FEW_SAMPLES: "fewer samples of a distribution than its estimate needs",
    Reason.UNDETERMINED: "whether the objects that should be visible are still themselves cannot "
    "be told",
    Reason.HIDDEN: "the object may be hidden behind another that is not in its own place",
    Reason.LOST: "the carried label of the object is not sure enough of where it is",
    Reason.TOO_FEW_PIXELS: "too few pixels of the object are away from its edge",
    Reason.TWIN: "another visible object looks the same, so that a swap would not show",
    Reason.CAMOUFLAGED: "the background beside the object looks the same, so that its "
    "disappearance would not show",
    Reason.SURROUNDINGS: "the surroundings of the object are not those of the reference",
    Reason.UNCLEAR: "neither that the object is itself nor that it is not is clear enough",
    Reason.TOO_PLAIN: "too little texture to tell one displacement from others",
    Reason.NO_PEAK: "no displacement of the whole picture makes the two frames alike",
    Reason.NO_EXCITATION: "the commands do not vary, so that no response to them can be told",
    Reason.NO_LAG: "no lag within the window explains the response above chance",
    Reason.TOO_FEW_ACTIONS: "the action, or what it is told apart from, is commanded too seldom to "
    "be judged",
    Reason.NO_EFFECT: "the action does nothing in the reference that could be told from chance",
    Reason.NO_MATCH: "no displacement within reach makes this part of two frames alike",
    Reason.BRANCH_APART: "the references of the scripts of one scenario do not begin with the same "
    "frame",
    Reason.MODEL_ERROR: "the model raised an error",
    Reason.WRONG_ANSWER: "the model answered something else than was asked",
    Reason.NO_ACTIONS: "the model takes no actions, so that it cannot be asked for a response",
    Reason.NO_RETURN: "the reference does not come back here to anything that it showed before",
    Reason.NO_MOTION: "the generated frames never leave what they would have to come back to",
    Reason.STILL_REFERENCE: "the reference does not move, so that a photograph would be perfect",
    Reason.WRONG_TIMING: "the rollout has another frame rate than the panel asks for",
    Reason.WRONG_SIZE: "the frames have another size than the panel asks for",
    Reason.WRONG_SCRIPT: "the rollout was made with other actions than the panel commands",
    Reason.WRONG_CHANNELS: "the colour channels are in another order than the reference's",
    Reason.NO_ERROR: "the one-step predictions are exact, so that nothing can be a multiple of "
    "their error",
}
