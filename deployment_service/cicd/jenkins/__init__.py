"""Jenkins behind the port: requests, answers, and the XML of its jobs."""
