"""`wmscore score`: recorded rollouts into an evidence folder."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wmscore.cli.output import console, print_results, print_sentences
from wmscore.cli.parsing import Command, import_from_here, read_panel

if TYPE_CHECKING:
    from wmscore.manifest import Panel

__all__ = ["add"]


def add(command: Command) -> None:
    """Add it to the parser."""
    score = command("score", _score, "score replayed rollouts and write their evidence folder")
    score.add_argument(
        "rollouts",
        nargs="+",
        help="folders written by `wmscore replay` or `wmscore ingest`; a model's shards are joined",
    )
    score.add_argument(
        "--panel",
        help="judge by the axes and ignored boxes of this one (default: those that the rollouts "
        "were made for); refused where it asks anything else of a model",
    )
    score.add_argument("--out", required=True, help="evidence folder")
    score.add_argument("--device", default="cpu")
    score.add_argument("--lpips", choices=["alex", "vgg", "squeeze"], help="add it to the measures")
    score.add_argument(
        "--lpips-trunk", metavar="FILE", help="its trunk (default: where torch keeps it)"
    )
    score.add_argument("--encoder", metavar="MODULE:FACTORY", help="encoder of feature_ measures")
    score.add_argument("--latent-encoder", metavar="MODULE:FACTORY", help="encodes the reference")
    score.add_argument(
        "--inverse-dynamics", metavar="MODULE:FACTORY", help="recognises actions in frames"
    )
    score.add_argument(
        "--oracle", metavar="FOLDER", help="recorded re-run that a skill takes for 1"
    )
    score.add_argument(
        "--no-codec-floor",
        action="store_true",
        help="do not score the truth after the compression of lossy clips",
    )


def _score(args: argparse.Namespace) -> int:
    from wmscore.evidence import check_folder, codec_lines, conversion_lines, write_evidence
    from wmscore.recordings import Recording, join_recordings
    from wmscore.scorer import score_recording

    check_folder(args.out)
    panel = read_panel(args.panel) if args.panel else None
    recordings = join_recordings(args.rollouts, panel)
    import_from_here()
    networks = _networks(args, recordings[0].panel)

    oracle = None
    if args.oracle:
        oracle = score_recording(
            Recording(args.oracle, panel), codec_floor=False, device=args.device, **networks
        )
    results = [
        score_recording(
            recording,
            codec_floor=not args.no_codec_floor,
            device=args.device,
            oracle=oracle,
            **networks,
        )
        for recording in recordings
    ]
    by_model = {s.model: r for s, r in zip(results, recordings, strict=True)}
    roles = {r.model: r.role for r in recordings if r.role != "model"}
    write_evidence(
        args.out, results, lambda name, s, seed: by_model[name].row(s, seed), roles=roles
    )
    print_results(console(), results, roles)
    print_sentences(console(), [line for recording in recordings for line in recording.summary()])
    print_sentences(console(), [*conversion_lines(results), *codec_lines(results)])
    console().print(f"Evidence: {args.out}")
    return 0


def _networks(args: argparse.Namespace, panel: Panel) -> dict[str, Any]:
    """The networks that the options of `wmscore score` name."""
    from wmscore.networks import LpipsNetwork
    from wmscore.worlds.load import call_factory

    networks: dict[str, Any] = {}
    wanted = next((s.measure for s in panel.axes if s.measure.startswith("lpips_")), "lpips_alex")
    if args.lpips or args.lpips_trunk:
        networks["lpips"] = LpipsNetwork.load(
            args.lpips or wanted.removeprefix("lpips_"),  # type: ignore[arg-type]  # it checks
            trunk=args.lpips_trunk,
            device=args.device,
        )
    for role in ("encoder", "latent_encoder", "inverse_dynamics"):
        if name := getattr(args, role):
            networks[role] = call_factory(name, f"--{role.replace('_', '-')}")
    return networks
