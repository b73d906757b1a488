"""Recordings that the simulator does not reproduce, and why.

At most five of the first Jenkins (folders 01 to 10) and a tenth of the second (11 to 15).
"""

EXCEPTIONS: dict[str, str] = {
    "09-restart/while-starting-503-post.json": (
        "one POST got 500 from a Jenkins that had already started, and nothing else shows why;"
        " its replay injects a fault that says the same, which proves nothing"
    ),
    "11-identity/b-again-3-groovy.json": (
        "the script console is not simulated; the story starts the build again by itself"
    ),
    "14-answers/200-favicon.json": "an icon of Jenkins, for which no program asks",
}
