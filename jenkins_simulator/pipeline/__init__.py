"""Running Jenkinsfiles: a reader of the Groovy that they use, and their steps."""
