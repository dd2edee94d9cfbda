"""T24, clocks: what a clock that is wrong, or jumps, does to the service. In every zone of process and database,
instants come back as they were given. Cursors, tokens, scheduled posts, keys and rates go by the service's clock and
recover from its steps, and no duration is negative.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import make_url

from app.data.base import UtcTime
from tests.reliability import jumps
from tests.reliability.guards import recompiled, replaced
from tests.reliability.instants import (
    ZONES,
    Service,
    check_instants,
    check_unlikely,
    found_elsewhere,
    opened,
    process_zone,
)
from tests.reliability.migrators import administer
from tests.reliability.trial import Conditions, Figures, Trial

CONVERSION = "the conversion of times to UTC"
NUMBER = {"short": 8, "long": 800, "broken": 0}  # random instants in each zone
STEPS = {"short": 40, "long": 2000, "broken": 0}  # of the clock while rates are counted
ELSEWHERE = ("Pacific/Kiritimati", "Etc/GMT+12")


async def work(conditions: Conditions) -> Figures:
    figures, chance = Figures(), random.Random(conditions.seed)
    form = "broken" if conditions.without else "long" if conditions.long else "short"
    if conditions.backend == "postgresql":  # what sessions have that do not say otherwise
        name = make_url(conditions.url).database
        await administer(conditions.url, f"ALTER DATABASE \"{name}\" SET timezone TO 'Pacific/Kiritimati'")
    async with opened(conditions.folder, conditions.url) as service:
        with jumps.measured(chance, figures):
            figures.counts["instants"] = await check_zones(service, chance, NUMBER[form], figures)
            if not conditions.without:
                await check_unlikely(service, figures)
                await check_jumps(service, chance, STEPS[form], figures)
    elsewhere = () if conditions.without else ELSEWHERE
    found = (found_elsewhere(conditions.folder, conditions.url, conditions.seed, zone) for zone in elsewhere)
    figures.violations += itertools.chain.from_iterable(await asyncio.gather(*found))
    return figures


@contextmanager
def naive() -> Generator[None]:
    """Times are bound as they were given, but for their zone."""

    def bind(self: UtcTime, value: datetime | None, dialect: object) -> datetime | None:
        return None if value is None else value.replace(tzinfo=None)

    with recompiled(), replaced(UtcTime, "process_bind_param", bind):
        yield


CLOCKS = Trial("T24", "clocks", work, {CONVERSION: naive})


async def check_zones(service: Service, chance: random.Random, number: int, figures: Figures) -> int:
    """How many instants went through, in all zones."""
    instants = 0
    for zone in ZONES:
        with process_zone(zone):
            instants += await check_instants(service, chance, number, figures)
    return instants


async def check_jumps(service: Service, chance: random.Random, steps: int, figures: Figures) -> None:
    await jumps.check_schedule(service, figures)
    await jumps.check_pages(service, chance, figures)
    await jumps.check_tokens(service, figures)
    await jumps.check_keys(service, figures)
    await jumps.check_rates(service, chance, steps, figures)
    await jumps.check_metrics(service, figures)
