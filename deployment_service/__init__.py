"""The deployment service: deployments through Jenkins, with a certain end for every run."""
