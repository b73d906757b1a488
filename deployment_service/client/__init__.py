"""What other services import: channel, retries, resumable watch; and deployctl."""
