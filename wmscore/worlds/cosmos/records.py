"""Write a panel as inputs of Cosmos 3 forward dynamics."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from wmscore.files import atomic_folder
from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.timeline import Converter, Loss, Timeline, loss_sentences
from wmscore.worlds.cosmos.domains import cosmos_domain
from wmscore.worlds.cosmos.rows import (
    CosmosExport,
    all_rows,
    first_frames,
    write_images,
    write_json,
    write_lines,
)
from wmscore.worlds.given import continued

__all__ = ["write_cosmos3_jsonl"]


def write_cosmos3_jsonl(
    panel: Panel,
    truth: Rollouts,
    folder: str | Path,
    *,
    domain: str,
    converter: Converter[Tensor] | None = None,
    chunk: int | None = None,
    fps: float | None = None,
    image_size: int = 480,
    view_point: str = "ego_view",
    prompt: str | None = None,
    root: str | Path | None = None,
) -> CosmosExport:
    """Write `inputs.jsonl`, one record per row, with its actions, first frames and the panel.

    The records are what `cosmos_framework.scripts.inference -i inputs.jsonl` takes (Cosmos 3, 2026)
    and its videos come out as `NAME/vision.mp4`. One record is one chunk: scripts are continued to
    its end by the no-op (by the last action, without one); frames past the horizon are not scored.

    Args:
        panel: the panel.
        truth: its true rollouts, for the first frames.
        folder: where to write; an older folder there is replaced once the new one is whole.
        domain: the embodiment (`COSMOS_DOMAINS`).
        converter: from the panel's actions to `[N, width]`; None takes vectors of that width.
        chunk: actions per record; by default as published for the domain.
        fps: frames per second, where the panel leaves it open.
        image_size: the resolution tier.
        view_point: where the camera is.
        prompt: text of scenarios without one; by default the domain's, where it has one.
        root: where the folder will lie on the machine that runs the model; by default where it is
            written. Paths in the records begin with it.

    Returns:
        Path, names and losses.

    Raises:
        ValueError: the horizon is longer than a chunk, actions of another width, no prompt, or
            scenarios that are missing in the truth or clash in their names.
    """
    known = cosmos_domain(domain)
    size = chunk or known.chunk
    if size is None:
        raise ValueError(f"chunk: none is published for {domain!r}, expected one")
    horizon = panel.contract.horizon
    if horizon > size:
        raise ValueError(
            f"contract.horizon: {horizon} steps do not fit into one chunk of {size} actions; "
            "Cosmos3Model goes on chunk after chunk, or choose a shorter horizon"
        )
    folder = Path(folder)
    base = Path(root) if root is not None else folder.resolve()
    records, names, losses = [], [], []
    frames = first_frames(panel, truth)
    with atomic_folder(folder) as draft:
        images = write_images(draft, panel, frames)
        (draft / "actions").mkdir()
        for scenario, seed, branch, name in all_rows(panel):
            line = Timeline.of_panel(panel, scenario, branch, fps=fps)
            vectors, lost = _vectors(line, converter, size)
            if vectors.ndim != 2 or vectors.shape[1] != known.width:
                raise ValueError(
                    f"scenarios[{scenario}].actions: {domain!r} takes {known.width} numbers per "
                    f"action ({known.parts}), got {list(vectors.shape)}"
                )
            text = panel.scenarios[scenario].prompt or prompt or known.prompt
            if text is None:
                raise ValueError(
                    f"prompt: scenario {panel.scenarios[scenario].id!r} has none, and none is "
                    f"published for {domain!r}"
                )
            write_json(draft / "actions" / f"{name}.json", vectors.tolist())
            if seed == panel.seeds[0]:
                losses.append(lost)
            names.append(name)
            records.append(
                {
                    "name": name,
                    "model_mode": "forward_dynamics",
                    "domain_name": domain,
                    "action_chunk_size": size,
                    "action_path": str(base / "actions" / f"{name}.json"),
                    "vision_path": str(base / images[scenario]),
                    "fps": int(line.fps) if line.fps.is_integer() else line.fps,
                    "image_size": image_size,
                    "view_point": view_point,
                    "prompt": text,
                    "seed": seed,
                }
            )
        write_lines(draft / "inputs.jsonl", records)
        found = loss_sentences(losses)
        write_json(draft / "losses.json", found)
        panel.save(draft / "panel.json")
    return CosmosExport(folder / "inputs.jsonl", tuple(names), found)


def _vectors(
    line: Timeline, converter: Converter[Tensor] | None, size: int
) -> tuple[Tensor, tuple[Loss, ...]]:
    """The vectors of a script that is continued to `size` actions, and the script's own losses."""
    longer = continued(line, size)
    if converter is None:
        line.need("continuous", "a domain without a converter")
        return longer.actions, ()
    return converter(longer).value, converter(line).losses
