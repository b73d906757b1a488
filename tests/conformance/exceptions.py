"""Recordings that the simulator does not reproduce, and why; no more than a tenth of them."""

EXCEPTIONS: dict[str, str] = {
    "09-restart/while-starting-503-post.json": (
        "one POST hit the moment between the start-up page and a Jenkins at work; "
        "all others got 503, and so does every request here"
    ),
}
