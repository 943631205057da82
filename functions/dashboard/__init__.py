"""The console: pages for people about everything that the records tell."""
