"""hottest.csv: where each strip is hottest; and what `prepare` says of strips."""

from anotwin.domains.protocol import Checked, Written
from anotwin.report.listing import Listing
from anotwin.report.table import scan_scores


class HottestSquares:
    def __init__(self, job):
        self.job, self.rows = job, {}

    def unfinished(self, done):
        return [index for index, item in enumerate(self.job.source.items) if item.id not in done]

    def wants(self, finding):
        return True  # the heat of every strip is needed, also with --no-pictures

    def take(self, index, finding):
        if finding.heatmap is not None:
            self.rows[finding.id] = int(finding.heatmap.max(axis=0).argmax())

    def finish(self, shown, table):
        scored = {row["image"] for row in scan_scores(table) if not row["error"]} if table else set()
        for finding in self.job.again(scored - self.rows.keys()):
            self.take(0, finding)
        names = sorted(self.rows, reverse="upside-down" in self.job.options)
        path = self.job.out / "hottest.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name},{self.rows[name]}\n" for name in names))
        cells = tuple((name, str(self.rows[name])) for name in names[:3])
        return [Written(path, "hottest columns", Listing(("strip", "column"), cells, len(names), frozenset({"strip"})))]


def check(source, out, limit, watch):
    rows = [(item.id, str(source.read(index).shape[1])) for index, item in enumerate(source.items)][:limit]
    table = out / "checked.csv"
    table.write_text("".join(f"{name},{width}\n" for name, width in rows))
    return Checked((Written(table, "widths"),), f"{len(rows)} strips", {"table": str(table), "strips": len(rows)})
