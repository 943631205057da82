"""One laptop: the local Cloud Storage and Pub/Sub servers, the stack that runs the functions, and the demo."""
