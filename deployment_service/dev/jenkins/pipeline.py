"""stub"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model import Build, Result

if TYPE_CHECKING:
    from .controller import Controller


async def run_pipeline(controller: Controller, build: Build) -> Result:
    """stub"""
    return Result.SUCCESS
