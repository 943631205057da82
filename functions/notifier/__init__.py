"""Tells people of verdicts, deployments and rollbacks, through webhooks.

Reads the report behind a verdict and writes nothing. `notices` has the words, `webhooks` is the one file that sends. Imports no other
function.
"""
