"""What can go wrong, by who must act."""


class RetuneClientError(Exception):
    """Root of every error that this package raises itself."""


class InvalidEventError(RetuneClientError):
    """The caller's utterance, reference or correction cannot be reported: a field is missing or out of bounds."""


class SpoolFullError(RetuneClientError):
    """The spool on disk has no room for more: Pub/Sub has been away for long."""


class ObjectMissingError(RetuneClientError):
    """The bucket has no such object."""


class InvalidDocumentError(RetuneClientError):
    """The production alias or a manifest does not have the form that this package knows."""


class ModelRefusedError(RetuneClientError):
    """A model's files are not those that its manifest promises."""


class NoModelError(RetuneClientError):
    """No model has been loaded yet, so nothing can be served."""
