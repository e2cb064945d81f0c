"""What to know of a model on a panel before its rollouts are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wmscore.manifest import Panel
    from wmscore.worlds import WorldModel

__all__ = ["advice"]


def advice(panel: Panel, model: WorldModel) -> list[str]:
    """Sentences on gating axes that this model gives nothing to judge; none where all is well.

    Each says how the same rollouts are judged by something else: nothing has to run again.

    Example:
        >>> from wmscore.manifest import Panel
        >>> from wmscore.worlds import SpriteWorld
        >>> advice(Panel.packaged("sprites"), SpriteWorld())
        []
    """
    able, lines = model.capabilities, []
    how = "; `wmscore score --panel` judges the same rollouts by another panel's axes"
    for spec in panel.axes:
        if not spec.gate:
            continue
        who = f"{model.name} on {panel.name}, {spec.axis}:"
        if (
            spec.axis == "identity_persistence"
            and not spec.measure.startswith("carried")
            and not able.labels
        ):
            lines.append(
                f"{who} the measure {spec.measure!r} needs object labels, which the model does not "
                f'give, so that every row will be an evaluation fault (no_labels); "measure": '
                f'"carried" does without them (`wmscore panel new --from PANEL --measure '
                f'{spec.axis}=carried`), "gate": false lets the axis end no horizon{how}.'
            )
        if spec.axis == "action_response" and able.actions == "none":
            lines.append(
                f"{who} the model takes no actions, so that it is n/a and there is no usable "
                f'horizon; "gate": false lets the axis end no horizon{how}.'
            )
    return lines
