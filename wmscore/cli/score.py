"""`wmscore score`: recorded rollouts into an evidence folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files, complete_panels
from wmscore.cli.networks import load_networks
from wmscore.cli.options import (
    Device,
    EncoderFactory,
    InverseDynamicsFactory,
    JsonFlag,
    LatentEncoderFactory,
    LpipsNet,
    LpipsTrunk,
)
from wmscore.cli.output import console, print_results, print_sentences
from wmscore.cli.progress import Ticker
from wmscore.cli.reading import check_device, import_from_here, read_panel
from wmscore.cli.results import results_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wmscore.ladder import Ladder
    from wmscore.recordings import Recording
    from wmscore.scores import Scores

__all__ = ["score"]


def score(
    rollouts: Annotated[
        list[str],
        typer.Argument(
            metavar="ROLLOUTS...",
            help="folders written by `wmscore replay` or `wmscore ingest`; a model's shards are "
            "joined",
            autocompletion=complete_files,
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="FOLDER", help="evidence folder", autocompletion=complete_files
        ),
    ],
    panel: Annotated[
        str | None,
        typer.Option(
            "--panel",
            metavar="PANEL",
            help="judge by the axes and ignored boxes of this one (default: those that the "
            "rollouts were made for); refused where it asks anything else of a model",
            autocompletion=complete_panels,
        ),
    ] = None,
    device: Device = "cpu",
    lpips: LpipsNet = None,
    lpips_trunk: LpipsTrunk = None,
    encoder: EncoderFactory = None,
    latent_encoder: LatentEncoderFactory = None,
    inverse_dynamics: InverseDynamicsFactory = None,
    oracle: Annotated[
        str | None,
        typer.Option(
            "--oracle",
            metavar="FOLDER",
            help="recorded re-run that a skill takes for 1",
            autocompletion=complete_files,
        ),
    ] = None,
    no_codec_floor: Annotated[
        bool,
        typer.Option(
            "--no-codec-floor",
            help="do not score the truth after the compression of lossy clips",
        ),
    ] = False,
    stress: Annotated[
        str | None,
        typer.Option(
            "--stress",
            metavar="FOLDER",
            help="take the ladder of `wmscore stress --out` into the evidence",
            autocompletion=complete_files,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="replace evidence of another panel or of other models"),
    ] = False,
    as_json: JsonFlag = False,
) -> Answer:
    """Score replayed rollouts and write their evidence folder.

    An older folder is replaced as a whole, once the new one is complete; one of another panel, or
    that has a model which would be lost, only with --force.
    """
    from wmscore.evidence import check_folder, codec_lines, conversion_lines, write_evidence
    from wmscore.recordings import Recording, join_recordings
    from wmscore.scorer import score_recording

    check_folder(out)
    check_device(device)
    wanted = read_panel(panel) if panel else None
    recordings = join_recordings(rollouts, wanted)
    if not force:
        _check_replaced(Path(out), recordings)
    ladder = None if stress is None else _ladder(stress)
    import_from_here()
    networks = load_networks(
        recordings[0].panel,
        lpips,
        lpips_trunk,
        device,
        {
            "encoder": encoder,
            "latent_encoder": latent_encoder,
            "inverse_dynamics": inverse_dynamics,
        },
    )
    with Ticker(evidence="parts") as ticker:

        def scored(recording: Recording, name: str, **options: Any) -> Scores:
            return score_recording(
                recording,
                device=device,
                progress=lambda done, total: ticker.report(name, done, total),
                **networks,
                **options,
            )

        best = None
        if oracle:
            best = scored(Recording(oracle, wanted), "oracle", codec_floor=False)
        results = [
            scored(recording, recording.model, codec_floor=not no_codec_floor, oracle=best)
            for recording in recordings
        ]
        by_model = {s.model: r for s, r in zip(results, recordings, strict=True)}
        roles = {r.model: r.role for r in recordings if r.role != "model"}
        write_evidence(
            out,
            results,
            lambda name, s, seed: by_model[name].row(s, seed),
            roles=roles,
            ladder=ladder,
            progress=lambda done, total: ticker.report("evidence", done, total),
        )
    lost = [line for recording in recordings for line in recording.summary()]

    def show() -> None:
        print_results(console(), results, roles)
        print_sentences(console(), lost)
        print_sentences(console(), [*conversion_lines(results), *codec_lines(results)])
        console().print(f"Evidence: {out}", highlight=False)
        console().print(f"Report: {Path(out) / 'report.html'}", highlight=False)

    return Answer({"evidence": out, **results_document(results, roles), "lost": lost}, show)


def _check_replaced(folder: Path, recordings: Sequence[Recording]) -> None:
    """Refuse to replace evidence that the new one does not cover.

    Raises:
        ValueError: it is of another panel, or of a model that is not scored again.
    """
    from wmscore.evidence import read_scores

    if not (folder / "scores").is_dir():
        return
    try:
        old = read_scores(folder)
    except (ValueError, OSError):  # of another version: it cannot be told what would be lost
        raise ValueError(
            f"--out: {folder} holds evidence that cannot be read; --force replaces it"
        ) from None
    before, now = old.results[0].panel, recordings[0].panel
    if before.fingerprint != now.fingerprint:
        raise ValueError(
            f"--out: {folder} holds evidence of the panel {before.name!r} "
            f"({before.fingerprint[:12]}), not of {now.name!r} ({now.fingerprint[:12]}); choose "
            "another folder, or --force"
        )
    lost = sorted({s.model for s in old.results} - {r.model for r in recordings})
    if lost:
        raise ValueError(
            f"--out: {folder} holds evidence of {', '.join(lost)}, which is not scored now; name "
            "those rollouts too, choose another folder, or --force"
        )


def _ladder(folder: str) -> Ladder:
    from wmscore.evidence.stress import read_stress

    found = read_stress(folder)
    if found is None:
        raise ValueError(f"--stress: expected a folder of `wmscore stress --out`, got {folder}")
    return found
