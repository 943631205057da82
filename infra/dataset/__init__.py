"""Datasets for people: what a seal would make, what a cycle's holds, and an export that other tools read (`retune dataset`).

build.py      by the seal's own code, of what is collected or of recordings [io]
view.py       a dataset in numbers, for a terminal
export.py     a folder for other tools, each file verified [io]
manifests.py  what each tool reads beside the audio [io]
cli.py        the commands
"""
