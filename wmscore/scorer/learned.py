"""The networks behind a scorer's learned measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Encoder
from wmscore.manifest import AxisSpec, Panel
from wmscore.scorer.axes import Curves, blank
from wmscore.scorer.groups import Groups

if TYPE_CHECKING:
    from wmscore.networks import LpipsNetwork

__all__ = ["Learned", "describe_network"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """LPIPS and an encoder, where a panel asks for them or a user brought them.

    Attributes:
        lpips: the network of the measure `lpips_<net>`, or None.
        encoder: the encoder of the measures `feature_cosine` and `feature_l2`, or None.
    """

    lpips: LpipsNetwork | None = None
    encoder: Encoder | None = None

    @classmethod
    def of(
        cls,
        panel: Panel,
        device: torch.device,
        lpips: LpipsNetwork | None,
        encoder: Encoder | None,
    ) -> Learned:
        """What the panel's measure needs: given, or LPIPS loaded with the weights found here.

        Raises:
            FileNotFoundError: the panel asks for LPIPS whose weights are not here.
            ValueError: another network or encoder than the panel's, no encoder, or LPIPS for a
                panel without perceptual_drift.
        """
        spec = next((spec for spec in panel.axes if spec.axis == "perceptual_drift"), None)
        wanted = "" if spec is None else spec.measure
        if spec is None and lpips is not None:
            raise ValueError("lpips: the panel has no axis perceptual_drift to measure it for")
        if wanted.startswith("lpips_"):
            net = wanted.removeprefix("lpips_")
            if lpips is None:
                from wmscore.networks import LpipsNetwork

                lpips = LpipsNetwork.load(net, device=device)  # type: ignore[arg-type]
            elif (lpips.net, lpips.version, lpips.linear) != (net, "0.1", True):
                raise ValueError(
                    f"lpips: the panel's measure is {wanted!r}, that is net {net!r}, version 0.1 "
                    f"with its heads; got {lpips.name!r}"
                )
        for spec in panel.axes:
            if spec.encoder is not None:
                _check_encoder(spec, encoder)
        return cls(lpips=lpips, encoder=encoder)

    def measures(self) -> tuple[str, ...]:
        """Names of the measures that the networks at hand give."""
        names = () if self.lpips is None else (f"lpips_{self.lpips.net}",)
        return names if self.encoder is None else (*names, "feature_cosine")

    def is_too_small(self, measure: str, height: int, width: int) -> bool:
        """Whether a network cannot take frames of this size."""
        network = self.lpips if measure.startswith("lpips") else self.encoder
        smallest = getattr(network, "min_size", None)
        return smallest is not None and min(height, width) < smallest

    def distance(self, measure: str, preds: Tensor, target: Tensor, index: Tensor) -> Tensor:
        """One measure of frames `[G, T, C, H, W]` against `target[index]`, `[G, T]`."""
        if measure.startswith("lpips"):
            assert self.lpips is not None
            return F.lpips(preds, target, self.lpips, target_index=index)
        assert self.encoder is not None
        distance = {"feature_cosine": F.feature_cosine, "feature_l2": F.feature_l2}[measure]
        return distance(preds, target, self.encoder, target_index=index)

    def similarities(self, groups: Groups) -> Curves:
        """How alike generated frames stay to the given one and to the one before; no reference.

        Step t of `similarity_lag` is the mean over all pairs of frames that lie t steps apart.
        """
        if self.encoder is None or self.is_too_small("feature", *groups.preds.shape[-2:]):
            return {}
        rollouts = groups.commanded
        embeddings = F.embed(rollouts.frames, self.encoder)
        first = F.first_frame_similarity(embeddings, valid=rollouts.valid)
        before = F.adjacent_similarity(embeddings, valid=rollouts.valid)
        lags = F.similarity_by_lag(embeddings, range(1, rollouts.horizon + 1), valid=rollouts.valid)
        curves: Curves = {"similarity_lag": (lags.values, lags.reason)}
        for name, found in (("first", first), ("previous", before)):
            reason = torch.where(groups.reason == 0, found.reason, groups.reason)
            curves[f"similarity_{name}"] = (blank(found.values, reason), reason)
        return curves

    def provenance(self) -> dict[str, str]:
        """What made the numbers: names and checksums of the weights."""
        about = {}
        for role, network in (("lpips", self.lpips), ("encoder", self.encoder)):
            if network is not None:
                about[role] = describe_network(network)
        if self.lpips is not None:
            about |= {f"lpips {part}": sum for part, sum in self.lpips.checksums.items()}
        return about


def describe_network(network: Encoder) -> str:
    """Name and fingerprint, for a record."""
    return f"{network.name}, fingerprint {getattr(network, 'fingerprint', 'unknown')}"


def _check_encoder(spec: AxisSpec, encoder: Encoder | None) -> None:
    if encoder is None:
        raise ValueError(
            f"encoder: the panel's measure {spec.measure!r} needs the encoder {spec.encoder!r}; "
            "pass it as Scorer(panel, encoder=...)"
        )
    name, _, mark = (spec.encoder or "").partition("#")
    own = str(getattr(encoder, "fingerprint", ""))
    if encoder.name != name or not own.startswith(mark):
        raise ValueError(
            f"encoder: the panel asks for {spec.encoder!r}, got {encoder.name!r} with the "
            f"fingerprint {own[:12] or 'unknown'!r}"
        )
