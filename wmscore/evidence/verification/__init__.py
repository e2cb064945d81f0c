"""Whether an evidence folder is what was written, and says what its scores and frames say."""

from wmscore.evidence.verification.findings import Verification
from wmscore.evidence.verification.verify import verify_evidence

__all__ = ["Verification", "verify_evidence"]
