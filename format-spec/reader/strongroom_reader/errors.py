"""Why a reader refuses stored bytes."""


class Refused(Exception):
    """The bytes are not what the specification allows."""


class Unknown(Refused):
    """A version, number or feature that this reader does not know: a newer program wrote it."""


class Damaged(Refused):
    """Something that must be there is missing, or no copy of it opens."""


def require(holds, message):
    if not holds:
        raise Refused(message)
