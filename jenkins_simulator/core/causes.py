"""Why builds are started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """Why something is in the queue: a user, a remote host, another build or the clock."""

    user: str | None = None
    remote_address: str | None = None
    note: str | None = None
    upstream: Upstream | None = None
    by_timer: bool = False

    @property
    def by_build_step(self) -> bool:
        """Whether the `build` step of a Pipeline started it."""
        return self.upstream is not None and self.upstream.by_build_step

    @property
    def text(self) -> str:
        """As the first lines of the console show it."""
        if self.by_timer:
            return "Started by timer"
        if self.upstream is not None:
            return (
                f'Started by upstream project "{self.upstream.project}"'
                f" build number {self.upstream.number}"
            )
        if self.remote_address is not None:
            by_host = f"Started by remote host {self.remote_address}"
            return f"{by_host} with note: {self.note}" if self.note else by_host
        return f"Started by user {self.user}"


@dataclass(frozen=True)
class Upstream:
    """The build that started another one."""

    project: str
    number: int
    url: str
    causes: tuple[Cause, ...] = ()
    by_build_step: bool = False
