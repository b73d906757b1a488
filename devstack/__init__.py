"""The embedded stack and the Jenkins simulator; not part of the production image."""
