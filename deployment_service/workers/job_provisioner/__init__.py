"""The story of a job: create it, adopt it, repair it, delete it."""
