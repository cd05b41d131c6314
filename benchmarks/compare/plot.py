"""The figure: how much slower each peer is than symgraph, and how near symgraph is to the machine's limit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from benchmarks.compare.report import LIMIT, OWN, Row

MARKS = "osD^vP*X<>h"


def plot(rows: Sequence[Row], names: Sequence[str], title: str, path: Path) -> None:
    """Write it as SVG or PNG, by the ending of the path."""
    rows = [r for r in rows if not r.refused and r.own is not None]
    if not rows:
        return
    places = list(range(len(rows)))[::-1]
    figure, (ratios, shares) = plt.subplots(
        1, 2, sharey=True, figsize=(12, 2.5 + 0.26 * len(rows)), width_ratios=(3, 1), layout="constrained"
    )
    colors = plt.get_cmap("tab10").colors
    for k, name in enumerate(n for n in names if n not in (*OWN, LIMIT)):
        points = [(t / r.own, y) for r, y in zip(rows, places) if (t := r.time(name)) is not None and r.own]
        if points:
            ratios.plot(*zip(*points), MARKS[k % len(MARKS)], ms=5, alpha=0.8, color=colors[k % 10], label=name)
    ratios.axvline(1, color="black", lw=1)
    ratios.set_xscale("log")
    ratios.set_xlabel("time of a call over symgraph's: right of the line symgraph is faster")
    ratios.set_yticks(places, [r.workload.name for r in rows], fontsize=8)
    ratios.grid(axis="x", alpha=0.3)
    labels = ratios.get_legend_handles_labels()
    if labels[0]:
        figure.legend(*labels, loc="outside lower center", ncol=6, fontsize=8, frameon=False)
    ratios.set_ylim(-1, len(rows))
    shares.barh(places, [100 * (r.share or 0) for r in rows], color="0.6")
    shares.axvline(85, color="black", lw=1, ls=":")
    shares.set_xlim(0, 105)
    shares.set_xlabel("of the machine's limit, %")
    for y, (above, below) in zip(places, pairwise(rows)):
        if above.workload.group != below.workload.group:
            for axes in (ratios, shares):
                axes.axhline(y - 0.5, color="0.8", lw=0.8)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=130)
    plt.close(figure)
