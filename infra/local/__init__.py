"""One laptop: `retune up`, `retune demo`, and the speech of both.

gcs_server/, pubsub_server/             Google's services as servers of this machine; emulator.py is Google's own Pub/Sub emulator
serve_functions.py                      every function in one process; functions_process.py starts and ends it
stack.py, state_folder.py               servers and functions together, over one folder of state
up.py, watch.py                         `retune up`, and what it tells
speech.py, corpus.py, traffic.py        voices, who says what, and calls with real errors
baseline/                               the small model that ships
demo/                                   the whole loop, measured
"""
