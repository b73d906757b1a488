"""Former place of these names: import them from `jenkins_simulator`."""

from jenkins_simulator import NotificationFault as NotificationFault
from jenkins_simulator import RequestFault as RequestFault
