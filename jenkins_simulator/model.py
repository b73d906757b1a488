"""Former place of these names: import them from `jenkins_simulator`."""

from jenkins_simulator import Build as Build
from jenkins_simulator import Cause as Cause
from jenkins_simulator import Job as Job
from jenkins_simulator import Result as Result
