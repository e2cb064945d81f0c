"""Object identity persistence: which object stopped being itself, when and how."""

from wmscore.functional.identity.agreement import BreakAgreement, break_agreement
from wmscore.functional.identity.alone import lone_identity
from wmscore.functional.identity.carried import (
    APPEARANCE_MIN_SIDE,
    SENSITIVITY,
    carried_identity,
)
from wmscore.functional.identity.events import IdentityEvents, identity_events
from wmscore.functional.identity.labels import object_identity
from wmscore.functional.identity.own_ids import share_ids
from wmscore.functional.identity.result import ObjectIdentity
from wmscore.functional.identity.stability import IdStability, id_stability
from wmscore.functional.identity_state import IdentityState

__all__ = [
    "APPEARANCE_MIN_SIDE",
    "SENSITIVITY",
    "BreakAgreement",
    "break_agreement",
    "carried_identity",
    "IdStability",
    "IdentityEvents",
    "IdentityState",
    "ObjectIdentity",
    "id_stability",
    "identity_events",
    "lone_identity",
    "object_identity",
    "share_ids",
]
