"""Gold transcripts: asks an LLM or a speech model for them, and decides which of its answers to believe."""
