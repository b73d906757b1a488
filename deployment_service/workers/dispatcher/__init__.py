"""The story of a trigger: claim a run, send its request once, settle the answer or search for it."""
