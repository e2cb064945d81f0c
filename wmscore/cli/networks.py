"""The networks that options name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from wmscore.cli.options import LpipsName

if TYPE_CHECKING:
    from wmscore.manifest import Panel

__all__ = ["load_networks"]


def load_networks(
    panel: Panel,
    lpips: LpipsName | None,
    trunk: str | None,
    device: str,
    factories: dict[str, str | None],
) -> dict[str, Any]:
    """Arguments of `Scorer`: LPIPS where an option asks for it, and what factories give."""
    from wmscore.networks import LpipsNetwork
    from wmscore.worlds.load import call_factory

    networks: dict[str, Any] = {}
    wanted = next((s.measure for s in panel.axes if s.measure.startswith("lpips_")), "lpips_alex")
    if lpips or trunk:
        networks["lpips"] = LpipsNetwork.load(
            lpips or cast(LpipsName, wanted.removeprefix("lpips_")), trunk=trunk, device=device
        )
    for role, name in factories.items():
        if name:
            networks[role] = call_factory(name, f"--{role.replace('_', '-')}")
    return networks
