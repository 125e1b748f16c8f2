"""The paper, its settings, and what its claims share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.score_statistics.attention_maps import MapSetting, OwnKeySetting, ScoreSetting
from attnlab.simulators.score_statistics.attention_rows import AttentionRowSetting, LogNormalRowSetting

TITLE = "Linear Log-Normal Attention with Unbiased Concentration"
paper = Paper(
    key="lln_lognormal",
    title=TITLE,
    sources=[
        Source(
            authors="Yury Nahshan, Joseph Kampeas, Emir Haleva",
            year=2024,
            arxiv="2311.13541",
            title=TITLE,
            venue="International Conference on Learning Representations",
        )
    ],
    statements={
        1: "For moderate queries and keys and many keys ln P is normal with mean -ln N - sigma^2 / 2 and variance sigma^2 = "
        "sq^2 sk^2 + C, C the covariance of the squared coordinates.",
        2: "The entropy of the rows rises with the temperature 1 / sigma; in the log-normal model it is ln N - sigma^2 / 2.",
        3: "N^2 Var(P) = e^(sigma^2) - 1, which falls with the temperature.",
        4: "The spectral gap 1 - |lambda_2| rises with the temperature; N Var(P) controls |lambda_2|^2. Low entropy with a "
        "large gap is unbiased concentration, with all rows on the same columns biased.",
        5: "Weights of linear log-normal attention are sums of log-normal numbers and nearly log-normal; their log-variance "
        "grows linearly in a^2 sq^2 + b^2 sk^2 in the useful range.",
        6: "The scales a and b are chosen so that the log-variance is that of softmax, by a line fitted once.",
        7: "Linear log-normal attention alone dilutes interactions of near tokens; its average with softmax in diagonal blocks "
        "does not.",
    },
)

SCORES = Scales(smoke=ScoreSetting(n=512, n_replicas=16), desk=ScoreSetting(n_replicas=64), paper=ScoreSetting(4096))
ROWS = Scales(
    smoke=AttentionRowSetting(n_rows=2000, n_replicas=16),
    desk=AttentionRowSetting(n_rows=4000, n_replicas=96),
    paper=AttentionRowSetting(n_rows=16000, n_replicas=64),
)
MAPS = Scales(smoke=MapSetting(n=128, n_replicas=16), desk=MapSetting(n_replicas=48), paper=MapSetting(n=512))
_SPECTRA = MapSetting(
    n=128, spreads=(0.25, 0.5, 0.75), n_replicas=256
)  # many maps, as an extreme eigenvalue scatters by 6 %
SPECTRA = Scales(_SPECTRA, replace(_SPECTRA, n_replicas=512), replace(_SPECTRA, n_replicas=2048))
TIED = Scales(
    *[replace(each, weights="tied", spreads=(0.01, 0.05)) for each in (SPECTRA.smoke, SPECTRA.desk, SPECTRA.paper)]
)
LOG_NORMAL_MAPS = Scales(
    *[
        replace(each, weights="log_normal", spreads=(0.35, 0.5, 0.7), n_replicas=each.n_replicas // 2)
        for each in (SPECTRA.smoke, SPECTRA.desk, SPECTRA.paper)
    ]
)
LOG_NORMAL_ROWS = Scales(
    smoke=LogNormalRowSetting(scales=(0.5, 1.0, 4.0), n_rows=16, n_replicas=16),
    desk=LogNormalRowSetting(scales=(0.5, 1.0, 4.0), n_rows=40),
    paper=LogNormalRowSetting(scales=(0.5, 1.0, 4.0), n_rows=256),
)
# variances over few keys are unbiased too, and many queries are what their mean needs
MATCHED = Scales(
    smoke=LogNormalRowSetting(n_keys=256, scales=(0.25, 1.0), n_rows=256, n_replicas=16),
    desk=LogNormalRowSetting(n_keys=256, scales=(0.25, 1.0), n_rows=1024),
    paper=LogNormalRowSetting(n_keys=256, scales=(0.25, 1.0), n_rows=8192),
)
OWN = Scales(smoke=OwnKeySetting(n_replicas=16), desk=OwnKeySetting(n_replicas=64), paper=OwnKeySetting(n=2048))
paper.scales(smoke=MAPS.smoke, desk=MAPS.desk, paper=MAPS.paper)
