"""Counterfactual response: do the generated frames change with the action script as they should."""

from wmscore.functional.response.agreement import (
    MIN_RESPONSE,
    ScriptResponse,
    counterfactual_response,
    script_response,
    windowed_response,
)
from wmscore.functional.response.chance import (
    ScriptCross,
    ScriptMatch,
    ScriptTest,
    script_cross,
    script_match,
    script_test,
)
from wmscore.functional.response.genie import (
    DeltaPsnr,
    controllability,
    delta_metric,
    delta_psnr,
    script_delta_psnr,
)
from wmscore.functional.response.products import MOST_SCRIPTS, ScriptProducts, script_products
from wmscore.functional.response.start import check_shared_start, start_difference

__all__ = [
    "MIN_RESPONSE",
    "MOST_SCRIPTS",
    "DeltaPsnr",
    "ScriptCross",
    "ScriptMatch",
    "ScriptProducts",
    "ScriptResponse",
    "ScriptTest",
    "check_shared_start",
    "controllability",
    "counterfactual_response",
    "delta_metric",
    "delta_psnr",
    "script_cross",
    "script_delta_psnr",
    "script_match",
    "script_products",
    "script_response",
    "script_test",
    "start_difference",
    "windowed_response",
]
