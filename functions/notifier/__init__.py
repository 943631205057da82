"""Tells people of verdicts, deployments and rollbacks, through webhooks."""
