"""A Cloud Storage server for one laptop: the JSON API that Google's clients speak, over folders that `DirStore` keeps.

server.py     sockets and connections [io]
routes.py     which request does what
uploads.py    media, multipart and resumable uploads
batch.py      many requests in one
resources.py  records as the API describes them, and preconditions
wire.py       HTTP as values. Pure
"""

from infra.local.gcs_server.server import GcsServer

__all__ = ["GcsServer"]
