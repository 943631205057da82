"""Collects what production reports into the ledger of the open cycle."""
