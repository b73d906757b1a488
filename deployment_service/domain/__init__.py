"""Pure rules: the order of statuses, runs, events, names, errors. No I/O."""
