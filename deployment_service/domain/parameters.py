"""Validation of the names and values of parameters, of deployments and of runs. Pure.

Jenkins reads parameters from a form and passes them to builds as environment variables. So some names have a meaning
to Jenkins, to a shell or to a loader, independent of the job.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from deployment_service.domain.errors import InvalidArgument

RUN_ID_PARAMETER = "DEPLOYMENT_RUN_ID"

MAX_PARAMETERS = 100
MAX_PARAMETER_NAME_CHARS = 200
MAX_PARAMETER_VALUE_BYTES = 32 * 1024
# Linux limits the arguments and environment of a process to 2 MiB. Each of a build's four webhooks also contains all
# values.
MAX_PARAMETERS_BYTES = 512 * 1024

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
# Characters that XML 1.0 or PostgreSQL cannot store.
UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Fields that Jenkins' forms and `buildWithParameters` read themselves: quiet period, remote trigger, submitted form,
# kind of answer, and crumb.
FORM_NAMES = frozenset(
    {
        "Jenkins-Crumb",
        "Submit",
        "_charset_",
        "cause",
        "crumb",
        "delay",
        "json",
        "redirectTo",
        "statusCode",
        "token",
    }
)
# Variables that shells, loaders and tools evaluate independent of the job's steps: they run code, load libraries or
# read configuration from the place that the value names.
ENVIRONMENT_NAMES = frozenset(
    {
        # shells
        *("BASHOPTS", "BASH_ENV", "CDPATH", "ENV", "FPATH", "GLOBIGNORE", "HOME", "IFS", "PATH"),
        *("PATHEXT", "COMSPEC", "PROMPT_COMMAND", "PS4", "SHELL", "SHELLOPTS", "ZDOTDIR"),
        *("EDITOR", "PAGER", "VISUAL", "SSH_ASKPASS", "SUDO_ASKPASS", "XDG_CONFIG_HOME"),
        # loaders and the C library
        *("GCONV_PATH", "HOSTALIASES", "LOCPATH", "NLSPATH", "RES_OPTIONS"),
        # git
        *("GIT_ASKPASS", "GIT_EDITOR", "GIT_EXEC_PATH", "GIT_EXTERNAL_DIFF", "GIT_PAGER"),
        *("GIT_PROXY_COMMAND", "GIT_SEQUENCE_EDITOR", "GIT_TEMPLATE_DIR", "GIT_ALLOW_PROTOCOL"),
        # JVMs and their tools
        *("CLASSPATH", "JAVA_OPTS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"),
        *("ANT_ARGS", "ANT_OPTS", "GRADLE_OPTS", "MAVEN_ARGS", "MAVEN_OPTS", "SBT_OPTS"),
        # interpreters
        *("NODE_OPTIONS", "NODE_PATH", "PERL5DB", "PERL5LIB", "PERL5OPT", "PERLLIB"),
        *("PYTHONHOME", "PYTHONINSPECT", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS"),
        *("RUBYLIB", "RUBYOPT"),
    }
)
ENVIRONMENT_PREFIXES = ("BASH_FUNC_", "DYLD_", "GIT_CONFIG", "GIT_SSH", "LD_")


def check_parameters(
    parameters: Mapping[str, str], *, field: str, declared: bool = False
) -> dict[str, str]:
    """Return the parameters, sorted by name.

    ``declared``: they become part of a deployment's definition. Names that Jenkins' form reserves are then rejected
    too. A run may pass such names to a job whose owner declares them in Jenkins.

    Raises:
        InvalidArgument: Jenkins cannot accept these parameters.
    """
    if len(parameters) > MAX_PARAMETERS:
        raise InvalidArgument(field, f"has more than {MAX_PARAMETERS} entries")
    for name, value in parameters.items():
        check_name(name, field=field)
        if declared:
            check_form_name(name, field=field)
        check_value(value, field=f"{field}[{name}]")
    check_size(parameters, field=field)
    return dict(sorted(parameters.items()))


def check_name(name: str, *, field: str) -> None:
    """Check the name of a parameter.

    Raises:
        InvalidArgument: no parameter of a deployment or run may have this name.
    """
    if len(name) > MAX_PARAMETER_NAME_CHARS:
        raise InvalidArgument(
            field, f"the name {_shown(name)} has more than {MAX_PARAMETER_NAME_CHARS} characters"
        )
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            field, f"the name {_shown(name)} must match [A-Za-z_][A-Za-z0-9_.-]*, as variables do"
        )
    # On Windows environment variables are case-insensitive.
    if name.upper() == RUN_ID_PARAMETER:
        raise InvalidArgument(
            field,
            f"{RUN_ID_PARAMETER} is reserved: the service sets it for each run. Leave it out",
            reason="PARAMETER_RESERVED",
        )


def check_form_name(name: str, *, field: str) -> None:
    """Check that Jenkins' form has no field with this name.

    Raises:
        InvalidArgument: Jenkins reserves the name.
    """
    if name in FORM_NAMES:
        raise InvalidArgument(
            field,
            f"Jenkins reserves the name '{name}' in the form that starts a build. Choose another one",
            reason="PARAMETER_RESERVED",
        )


def check_value(value: str, *, field: str) -> None:
    """Check the value of a parameter.

    Raises:
        InvalidArgument: the value is too long, or has a character that no job can store.
    """
    found = UNSTORABLE.search(value)
    if found:
        raise InvalidArgument(
            field, f"has a character that no job can hold: U+{ord(found.group()):04X}"
        )
    if len(value.encode()) > MAX_PARAMETER_VALUE_BYTES:
        raise InvalidArgument(field, "is longer than 32 KiB")


def check_size(parameters: Mapping[str, str], *, field: str) -> None:
    """Check the total size of all parameters.

    Raises:
        InvalidArgument: they do not fit into the environment of a build.
    """
    size = sum(len(name) + len(value.encode()) + 2 for name, value in parameters.items())
    if size > MAX_PARAMETERS_BYTES:
        raise InvalidArgument(
            field,
            f"all names and values together take {size} bytes; at most {MAX_PARAMETERS_BYTES} fit into the "
            "environment of a build. Pass a file or a URL instead",
        )


def is_environment_name(name: str) -> bool:
    """Return whether shells, loaders, JVMs or git evaluate a variable with this name; ignores case."""
    upper = name.upper()
    return upper in ENVIRONMENT_NAMES or upper.startswith(ENVIRONMENT_PREFIXES)


def check_environment_name(name: str, *, field: str) -> None:
    """Check that no common program evaluates a variable with this name.

    Raises:
        InvalidArgument: the name has a meaning to shells, loaders, JVMs or git.
    """
    if is_environment_name(name):
        raise InvalidArgument(
            field,
            f"'{name}' has a meaning to shells, loaders, JVMs or git, so that its value could run code. "
            "Choose another name",
            reason="PARAMETER_RESERVED",
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
