"""The command line, deployctl: one module for each group of commands."""
