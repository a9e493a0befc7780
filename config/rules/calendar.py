"""The calendar: at every minute of the week one party has the machines."""

from collections.abc import Iterator

from config.calendar import DAYS, MINUTES_A_DAY, CalendarUse
from config.finding import Finding
from config.site import Site


def check_calendar(site: Site) -> Iterator[Finding]:
    """Periods have unique names, do not overlap, and give the cluster some time."""
    if site.calendar is None:
        return
    names: dict[str, int] = {}
    taken: list[tuple[int, int, str]] = []
    for index, period in enumerate(site.calendar.periods):
        path = ("calendar", "periods", index)
        if names.setdefault(period.name, index) != index:
            yield Finding(
                (*path, "name"), f"is also the name of periods[{names[period.name]}]", "give each a different name"
            )
        for start, end in period.week_minutes():
            clash = next(
                (other for other in taken if other[0] < end and start < other[1] and other[2] != period.name), None
            )
            if clash:
                rule = f"overlaps {clash[2]} on {_format_minute(max(start, clash[0]))}"
                yield Finding(path, rule, "end one when the other starts", value=period.name)
                break
        taken += [(start, end, period.name) for start, end in period.week_minutes()]
    if all(period.use is CalendarUse.OWNERS for period in site.calendar.periods):
        remedy = "add a period with `use: cluster`; the owners have the machines outside all periods"
        yield Finding(("calendar", "periods"), "have no period for the cluster", remedy, value=None)


def _format_minute(minute: int) -> str:
    day, rest = divmod(minute, MINUTES_A_DAY)
    return f"{DAYS[day]} {rest // 60:02d}:{rest % 60:02d}"
