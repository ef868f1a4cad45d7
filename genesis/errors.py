"""What a founding document or statement may get wrong, each with a stable code."""


class GenesisError(Exception):
    """Root of the room's errors; the text names the file or the organisation."""

    code: str = "genesis.error"


class GenesisDamaged(GenesisError):
    """The file is missing, unreadable, or not the one spelling of a founding document."""

    code = "genesis.damaged"


class GenesisSignature(GenesisError):
    """A founder's key did not sign what the document says about it."""

    code = "genesis.signature"


class GenesisConflict(GenesisError):
    """Two founders claim the same name, key, index or address, or nobody founds at all."""

    code = "genesis.conflict"


class GenesisInvitation(GenesisError):
    """A statement answers another invitation than the document's."""

    code = "genesis.invitation"
