"""Cloud Functions: collector, launcher, validator, deployer and sweeper. No torch here."""
