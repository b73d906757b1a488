"""What a Jenkins answers while it starts."""

from __future__ import annotations

from dataclasses import dataclass

from jenkins_simulator.core.clock import Clock
from jenkins_simulator.http import answers
from jenkins_simulator.http.answers import Answer

# Parts of the time from the first answer to the first good one, as recorded.
_CRUMBS_AFTER = 0.2
_CRUMBS_LOADED = 0.75


@dataclass
class StartUp:
    """The start of a Jenkins: reads are answered 503 all the time, writes are not.

    A POST first gets 500, because the crumb issuer is missing; then it is held until extensions are
    loaded and gets 403 "No valid crumb", whatever its credentials; then 503. None of these carries
    X-Jenkins, and none of them has done anything.
    """

    clock: Clock
    takes_s: float
    began_at: float

    async def answer(self, method: str) -> Answer:
        """Return the answer to any request."""
        if method != "POST":
            return answers.starting_up()
        passed = (self.clock.now() - self.began_at) / self.takes_s
        if passed < _CRUMBS_AFTER:
            return answers.crumbs_missing()
        if passed < _CRUMBS_LOADED:
            await self.clock.sleep_until(self.began_at + self.takes_s * _CRUMBS_LOADED)
            raise answers.no_crumb()
        return answers.starting_up()
