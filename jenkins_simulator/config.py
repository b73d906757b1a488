"""Former place of these names: import them from `jenkins_simulator`."""

from jenkins_simulator import DEFAULT_API_TOKEN as DEFAULT_API_TOKEN
