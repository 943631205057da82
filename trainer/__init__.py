"""The GPU container: data, fine-tuning, evaluation and export. The only place with torch."""
