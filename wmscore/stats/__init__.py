"""Statistics over scenarios, the unit that generalises: tests, intervals, corrections."""

from __future__ import annotations

from wmscore.stats.bootstrap import (
    BootstrapMeans,
    cluster_bootstrap,
    nested_bootstrap,
)
from wmscore.stats.bootstrap_intervals import (
    Interval,
    bca_interval,
    bootstrap_interval,
    bootstrap_t_interval,
    percentile_interval,
    quantile_of_draws,
)
from wmscore.stats.competing import (
    CumulativeIncidence,
    cumulative_incidence,
)
from wmscore.stats.holm import (
    holm,
)
from wmscore.stats.intervals import (
    MeanInterval,
    mean_interval,
)
from wmscore.stats.kaplan_meier import (
    Hazard,
    KaplanMeier,
    SurvivalQuantile,
    hazard,
    kaplan_meier,
    survival_quantile,
)
from wmscore.stats.log_rank import (
    LogRankTest,
    log_rank_test,
)
from wmscore.stats.resampling import (
    resample_counts,
)
from wmscore.stats.restricted_mean import (
    RestrictedMean,
    restricted_mean,
)
from wmscore.stats.risk import (
    RiskTable,
    pool_tables,
    risk_table,
)
from wmscore.stats.sign_flip import (
    EXACT_SCENARIOS,
    SignFlipTest,
    sign_flip_norm_test,
    sign_flip_test,
)
from wmscore.stats.student import (
    student_quantile,
    student_two_sided,
)
from wmscore.stats.wilcoxon import (
    SignedRankTest,
    signed_rank_test,
)

__all__ = [
    "BootstrapMeans",
    "CumulativeIncidence",
    "EXACT_SCENARIOS",
    "Hazard",
    "Interval",
    "KaplanMeier",
    "LogRankTest",
    "MeanInterval",
    "RestrictedMean",
    "RiskTable",
    "SignFlipTest",
    "SignedRankTest",
    "SurvivalQuantile",
    "bca_interval",
    "bootstrap_interval",
    "bootstrap_t_interval",
    "cluster_bootstrap",
    "cumulative_incidence",
    "hazard",
    "holm",
    "kaplan_meier",
    "log_rank_test",
    "mean_interval",
    "nested_bootstrap",
    "percentile_interval",
    "pool_tables",
    "quantile_of_draws",
    "resample_counts",
    "restricted_mean",
    "risk_table",
    "sign_flip_norm_test",
    "sign_flip_test",
    "signed_rank_test",
    "student_quantile",
    "student_two_sided",
    "survival_quantile",
]
