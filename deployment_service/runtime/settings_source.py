"""Base class of all settings: from the environment only, without the values that Kubernetes sets."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from deployment_service.runtime.service_links import ignored_settings, is_service_link


class EnvironmentSettings(BaseSettings):
    """Settings from the environment. Variables that Kubernetes sets are ignored, and files are not read."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of settings, the highest priority first."""
        return init_settings, _Environment(settings_cls)

    @classmethod
    def ignored(cls) -> list[str]:
        """Return the names of settings that are ignored because Kubernetes set them, for the log."""
        prefix = cls.model_config.get("env_prefix", "")
        return ignored_settings((prefix + name for name in cls.model_fields), os.environ)


class _Environment(EnvSettingsSource):
    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {
            name: value
            for name, value in super()._load_env_vars().items()
            if value is None or not is_service_link(value)
        }
