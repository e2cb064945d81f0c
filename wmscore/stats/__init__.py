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
from wmscore.stats.cluster import (
    cluster_restricted_mean,
    cluster_survival,
)
from wmscore.stats.competing import (
    CumulativeIncidence,
    cumulative_incidence,
)
from wmscore.stats.conformal import (
    ConformalThreshold,
    conformal_threshold,
    joint_conformal_threshold,
    scenarios_for,
)
from wmscore.stats.curve_bands import (
    CurveBand,
    mean_band,
    quantile_band,
)
from wmscore.stats.dominance import (
    WinRate,
    cliffs_delta,
    win_rate,
)
from wmscore.stats.energy import (
    EnergyTest,
    energy_test,
)
from wmscore.stats.holm import (
    holm,
)
from wmscore.stats.interquartile import (
    interquartile_interval,
    interquartile_mean,
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
from wmscore.stats.kendall import (
    kendall_tau,
)
from wmscore.stats.log_rank import (
    LogRankTest,
    log_rank_test,
)
from wmscore.stats.paired_t import (
    PairedTTest,
    paired_t_test,
)
from wmscore.stats.power import (
    detectable_difference,
    paired_power,
    scenarios_needed,
)
from wmscore.stats.ranking import (
    RankShares,
    rank_shares,
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
    table_shares,
)
from wmscore.stats.sign_flip import (
    EXACT_SCENARIOS,
    SignFlipTest,
    sign_flip_norm_test,
    sign_flip_test,
)
from wmscore.stats.sign_flip_joint import (
    JointSignFlipTest,
    joint_sign_flip_test,
)
from wmscore.stats.student import (
    student_quantile,
    student_two_sided,
)
from wmscore.stats.survival_draws import (
    SurvivalDraws,
    survival_draws,
)
from wmscore.stats.uniform import (
    UniformityTest,
    uniformity_test,
)
from wmscore.stats.variance import (
    PairedVariance,
    paired_variance,
    seeds_needed,
)
from wmscore.stats.wilcoxon import (
    SignedRankTest,
    signed_rank_test,
)

__all__ = [
    "BootstrapMeans",
    "ConformalThreshold",
    "CumulativeIncidence",
    "CurveBand",
    "EXACT_SCENARIOS",
    "EnergyTest",
    "Hazard",
    "Interval",
    "JointSignFlipTest",
    "KaplanMeier",
    "LogRankTest",
    "MeanInterval",
    "PairedTTest",
    "PairedVariance",
    "RankShares",
    "RestrictedMean",
    "RiskTable",
    "SignFlipTest",
    "SignedRankTest",
    "SurvivalDraws",
    "SurvivalQuantile",
    "UniformityTest",
    "WinRate",
    "bca_interval",
    "bootstrap_interval",
    "bootstrap_t_interval",
    "cliffs_delta",
    "cluster_bootstrap",
    "cluster_restricted_mean",
    "cluster_survival",
    "conformal_threshold",
    "cumulative_incidence",
    "detectable_difference",
    "energy_test",
    "hazard",
    "holm",
    "interquartile_interval",
    "interquartile_mean",
    "joint_conformal_threshold",
    "joint_sign_flip_test",
    "kaplan_meier",
    "kendall_tau",
    "log_rank_test",
    "mean_band",
    "mean_interval",
    "nested_bootstrap",
    "paired_power",
    "paired_t_test",
    "paired_variance",
    "percentile_interval",
    "pool_tables",
    "quantile_band",
    "quantile_of_draws",
    "rank_shares",
    "resample_counts",
    "restricted_mean",
    "risk_table",
    "scenarios_for",
    "scenarios_needed",
    "seeds_needed",
    "sign_flip_norm_test",
    "sign_flip_test",
    "signed_rank_test",
    "student_quantile",
    "student_two_sided",
    "survival_draws",
    "survival_quantile",
    "table_shares",
    "uniformity_test",
    "win_rate",
]
