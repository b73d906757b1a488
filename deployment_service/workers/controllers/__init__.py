"""One client for each controller, with its breaker, its slots and the budget of its origin."""
