"""A seed job: it writes its own version of a job's config.xml, again and again."""

from __future__ import annotations

from jenkins_simulator.core.conditions import SeedJob
from jenkins_simulator.core.controller import Controller
from jenkins_simulator.core.jobxml import parse_xml
from jenkins_simulator.core.model import Folder, add_item


async def keep_writing(controller: Controller, seed: SeedJob) -> None:
    """Overwrite the job now and every `every_s` seconds, until cancelled."""
    while True:
        await controller.until_up()
        _write(controller, seed)
        await controller.clock.sleep(seed.every_s)


def _write(controller: Controller, seed: SeedJob) -> None:
    item = controller.find(seed.job)
    if item is not None:
        item.update(*parse_xml(seed.config_xml))
        return
    above, _, name = seed.job.rpartition("/")
    parent = controller.find(above) if above else controller.root
    if isinstance(parent, Folder):
        add_item(parent, name, seed.config_xml)
