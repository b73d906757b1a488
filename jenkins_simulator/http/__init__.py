"""What a Jenkins answers over HTTP, from a request to the bytes of an answer."""
