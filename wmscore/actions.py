"""What a model's scores say about actions, in records and in sentences."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from wmscore.functional import Lag, Reason, VectorRecovery
from wmscore.scores import Scores
from wmscore.stats import mean_interval

__all__ = ["action_records", "action_sentences", "action_summary", "takes_no_actions"]

_CURVES = (
    *("agreement", "cosine", "gain", "leak", "script_match"),
    *("delta_psnr", "delta_psnr_noop", "delta_psnr_oracle", "controllability"),
    *("motion", "motion_cosine", "motion_ratio", "flow_agreement"),
)

# What the panel lacks, not the model.
_NOT_ASKED = ("no_excitation", "no_response")


_SURE = 0.05
"""P-value from which an effect is there."""

_PART, _TRACE = 0.25, 0.1
"""Sizes of an effect, relative to the reference's: of one that counts, and of none at all."""

_FEW = 0.005
"""Share that is not worth telling."""

_CLEAR = 0.5
"""Correlation below which a lag explains less than a quarter of the response."""


def action_summary(scores: Scores) -> dict[str, Any] | None:
    """Numbers of a whole panel, ready for JSON; None where it has no axis action_response.

    `curves`: mean over scenarios of each measure (over their defined steps and seeds, signed, not
    cut off at 0) with the 95 % interval of Student's t over scenarios. `chance`: p-value of the
    response to scripts. `latency`: of the model behind the reference, and of either behind the
    commands. `recovery`: of actions by a linear probe or the network given, its own on the
    reference (`ceiling`) and the ratio; `vector_recovery` of continuous ones. What is undefined is
    None.
    """
    if scores.chance is None:
        return None
    curves = {}
    for name in _CURVES:
        if name in scores.measures:
            found = mean_interval(_of_scenarios(scores, scores.measures[name].values))
            curves[name] = {
                "mean": _number(found.mean),
                "low": _number(found.low),
                "high": _number(found.high),
                "scenarios": int(found.scenarios),
            }
    chance = scores.chance
    summary: dict[str, Any] = {
        "model": scores.model,
        "actions": list(scores.panel.contract.actions.names),
        "curves": curves,
        "chance": {
            "agreement": _number(chance.agreement),
            "p_value": _number(chance.p_value),
            "smallest_p_value": _number(chance.smallest),
            "scenarios": int(chance.scenarios),
        },
    }
    report = scores.actions
    if report is None:
        return summary
    summary["latency"] = {
        name: _lag(getattr(report.latency, name).pooled)
        for name in ("excess", "reference", "generated")
    }
    if report.recovery is not None and report.ceiling is not None:
        names = ("score", "balanced_accuracy", "kappa", "macro_f1", "accuracy", "majority_accuracy")
        missed = int(report.recovery.unrecognised.sum())
        steps = missed + int(report.recovery.confusion.sum())
        summary["recovery"] = {
            "recogniser": scores.provenance.get("inverse dynamics", "a linear probe"),
            "lost": missed / max(1, steps),
            **{name: _number(getattr(report.recovery, name)) for name in names},
            "ceiling": {name: _number(getattr(report.ceiling, name)) for name in names},
            "share_of_ceiling": _number(report.recovered.value) if report.recovered else None,
            "confusion": report.recovery.confusion.tolist(),
            "unrecognised": report.recovery.unrecognised.tolist(),
            "score_per_step": [_number(value) for value in report.recovery.per_step.score],
        }
    if report.vectors is not None and report.vectors_ceiling is not None:
        summary["vector_recovery"] = {
            **_vectors(report.vectors),
            "ceiling": _vectors(report.vectors_ceiling),
        }
    return summary


def action_records(scores: Scores) -> list[dict[str, Any]]:
    """One flat record per discrete action: its effect, motion and recovery. Empty where undefined.

    `effect_*` is the effect against no-op (`functional.effect_table`), `motion_*` the motion of the
    picture under the action (`functional.motion_by_action`), `recall` and `precision` those of the
    action's recovery, beside the ceiling's. `confused_with` is the action whose effect in the
    reference is nearest to this one's in the generated rollouts.
    """
    report, names = scores.actions, scores.panel.contract.actions.names
    if report is None or report.motion is None:
        return []
    effects = report.effects.records(names) if report.effects is not None else []
    lines = []
    for a, name in enumerate(names):
        line: dict[str, Any] = {"model": scores.model, "action": name}
        line["steps"] = int(report.motion.steps[a])
        effect = effects[a] if effects else {}
        for field in ("target_size", "preds_size", "target_p", "preds_p", "cosine", "gain"):
            line[f"effect_{field}"] = _cell(effect.get(field))
        line["confused_with"] = effect.get("confused_with") or ""
        line["effect_share"] = _share(effect)
        reason = effect.get("reason", "")
        line["effect_reason"] = "" if reason == "DEFINED" else str(reason).lower()
        for field in ("direction", "cosine", "ratio"):
            line[f"motion_{field}"] = _cell(float(getattr(report.motion, field)[a]))
        for prefix, found in (("", report.recovery), ("ceiling_", report.ceiling)):
            for field in ("recall", "precision"):
                value = None if found is None else float(getattr(found, field)[a])
                line[f"{prefix}{field}"] = _cell(value)
        lines.append(line)
    return lines


def takes_no_actions(scores: Scores) -> bool:
    """Whether the panel asks for a response that the model has no way to give."""
    curve = scores.axes.get("action_response")
    return curve is not None and bool((curve.reason == int(Reason.NO_ACTIONS)).any())


def action_sentences(scores: Scores) -> list[str]:
    """What a person should know of a model's response to actions, one sentence each."""
    if takes_no_actions(scores):
        return [f"n/a, {Reason.NO_ACTIONS.description}"]
    summary = action_summary(scores)
    if summary is None:
        return []
    lines = []
    faulty = int((scores.fault != 0).sum())
    if faulty:
        lines.append(
            f"{faulty} of {len(scores)} rows are evaluation faults ({', '.join(scores.faults())}) "
            "and are not counted in what follows"
        )
    space = scores.panel.contract.actions
    agreement, chance = summary["curves"].get("agreement"), summary["chance"]
    if agreement and agreement["mean"] is not None:
        text = f"agreement with the reference's response {agreement['mean']:z.3f}"
        text += _interval(agreement)
        if chance["p_value"] is not None:
            text += f"; to scripts dealt out at random p = {_p(chance['p_value'])}"
            if chance["smallest_p_value"] > 0.05:
                text += (
                    f", but these scripts can give no p below {chance['smallest_p_value']:.2f}: "
                    "more scenarios or scripts would"
                )
        lines.append(text)
    else:
        lines.append(f"agreement with the reference's response: n/a, {_why_undefined(scores)}")
    measure = next(s.measure for s in scores.panel.axes if s.axis == "action_response")
    own = summary["curves"].get(measure)
    if measure != "agreement" and own and own["mean"] is not None:
        lines.append(f"the panel's measure {measure}: {own['mean']:z.3f}{_interval(own)}")
    if "latency" not in summary:
        return lines
    lines.append(_latency_text(summary["latency"]))
    recovery, vectors = summary.get("recovery"), summary.get("vector_recovery")
    if vectors is not None:
        parts = [
            f"{name} {_r2(own)} (reference {_r2(ceiling)})"
            for name, own, ceiling in zip(
                space.names, vectors["r2"], vectors["ceiling"]["r2"], strict=True
            )
        ]
        lines.append("R2 of recovered actions: " + ", ".join(parts))
    elif recovery is None:
        lines.append("recovery of actions: n/a, actions are not discrete")
    elif recovery["score"] is None:
        motion = scores.actions.motion if scores.actions is not None else None
        several = motion is not None and int((motion.steps > 0).sum()) >= 2
        why = "no other scenario to learn from shows two actions"
        why = why if several else "fewer than two actions are commanded"
        lines.append(f"recovery of actions: n/a, {why}")
    else:
        ceiling = recovery["ceiling"]["score"]
        lines.append(
            f"actions recovered {recovery['score']:z.2f} (0 = chance, 1 = all), on the reference "
            f"{'undefined' if ceiling is None else f'{ceiling:z.2f}'}; plain accuracy "
            f"{recovery['accuracy']:.2f}, always the most frequent action "
            f"{recovery['majority_accuracy']:.2f} (by {recovery['recogniser']}"
            + (
                f", which recognised nothing in {lost:.0%} of steps)"
                if (lost := recovery["lost"]) > _FEW
                else ")"
            )
        )
    records = action_records(scores)
    # A late action's effect is seen beside another action, so that it says nothing of itself.
    late = summary["latency"]["excess"]["steps"] not in (None, 0.0)
    known = (
        [] if late else [r for r in records if "" not in (r["effect_share"], r["effect_preds_p"])]
    )
    # What an action without a sure effect is nearest to is noise.
    wrong = [
        f"{line['action']} does what {line['confused_with']} should"
        for line in known
        if line["confused_with"] not in ("", line["action"])
        and line["effect_preds_p"] <= _SURE
        and line["effect_share"] >= _PART
    ]
    deaf = [line["action"] for line in known if line["effect_share"] < _TRACE]
    silent = [
        line["action"]
        for line in records
        if line["effect_reason"] == "no_effect" and line["action"] != space.noop
    ]
    if deaf:
        lines.append("without effect in the generated rollouts: " + ", ".join(deaf))
    if wrong:
        lines.append("confused: " + ", ".join(wrong))
    if silent:
        lines.append("left out, no effect in the reference: " + ", ".join(silent))
    return lines


def _latency_text(latency: dict[str, Any]) -> str:
    excess, own = latency["excess"], latency["reference"]
    if excess["steps"] is None:
        known = "n/a" if excess["reason"] in _NOT_ASKED else "undefined"
        text = f"latency: {known}, {excess['why']}"
        return text + (", or it lies beyond the longest lag tried" if excess["at_edge"] else "")
    steps = int(excess["steps"])
    when = f"{_steps(abs(steps))} {'late' if steps > 0 else 'early'}" if steps else "in time"
    text = f"latency: {when} against the reference"
    if abs(excess["correlation"]) < _CLEAR:
        text = (
            f"latency: no one lag explains the response; at the best, {when}, the correlation is "
            f"{excess['correlation']:.2f}"
        )
    if excess["p_value"] is None:
        text += " (too few scripts that could be exchanged for a p-value: random branches add some)"
    else:
        text += f" (p = {_p(excess['p_value'])})"
    if excess["polarity"] == -1:
        text += ", the wrong way round"
    text += f", gain {excess['gain']:.2f}"
    if own["steps"] is not None:
        text += f"; the reference itself answers {_after(int(own['steps']))} a command"
    if excess["ambiguous"]:
        text += "; another lag is nearly as likely"
    return text + ("; at the longest lag tried" if excess["at_edge"] else "")


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def _after(lag: int) -> str:
    return f"{_steps(abs(lag))} {'after' if lag > 0 else 'before'}" if lag else "in the step of"


def _why_undefined(scores: Scores) -> str:
    """Why most steps have no agreement."""
    found = scores.measures["agreement"].undefined() if "agreement" in scores.measures else {}
    if not found:
        return "no rollout has a step to judge"
    return Reason[max(found, key=lambda kind: found[kind]).upper()].description


def _interval(found: dict[str, Any]) -> str:
    if found["low"] is None:
        return ""
    return f" [{found['low']:z.3f}, {found['high']:z.3f}] over {found['scenarios']} scenarios"


def _share(effect: dict[str, Any]) -> float | str:
    """Size of the generated effect relative to the reference's; empty where that has none."""
    own, there = effect.get("preds_size"), effect.get("target_size")
    if effect.get("reason") not in ("DEFINED", "NO_GENERATED_RESPONSE"):
        return ""
    ratio = own / there if there else math.nan
    return ratio if math.isfinite(ratio) else ""


def _of_scenarios(scores: Scores, values: Tensor) -> Tensor:
    """Mean of each scenario's finite values, `[S]`, over rows without an evaluation fault."""
    sound = values.masked_fill((scores.fault != 0)[:, None], torch.nan)
    own = sound.view(len(scores.panel.scenarios), -1)
    return own.where(own.isfinite(), torch.nan).nanmean(1)


def _lag(lag: Lag) -> dict[str, Any]:
    reason = Reason(int(lag.reason))
    return {
        "steps": _number(lag.lag),
        "p_value": _number(lag.p_value),
        "polarity": _number(lag.polarity),
        "correlation": _number(lag.correlation),
        "gain": _number(lag.gain),
        "ambiguous": bool(lag.ambiguous),
        "at_edge": bool(lag.at_edge),
        "reason": reason.name.lower(),
        "why": "" if reason == Reason.DEFINED else reason.description,
    }


def _vectors(found: VectorRecovery) -> dict[str, list[float | None]]:
    """Of each component of a continuous action."""
    fields = ("r2", "correlation", "slope")
    return {field: [_number(value) for value in getattr(found, field)] for field in fields}


def _number(value: Tensor) -> float | None:
    number = float(value)
    return number if torch.isfinite(value) else None


def _cell(value: Any) -> Any:
    return "" if value is None or value != value else value


def _r2(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value < 0.01 else f"{value:.2f}"
