"""The fields of an event by their names, for whoever tells what happened."""

from ledger.receipts import Event, EventValue


class Fields:
    """An event's fields by name; a name may occur several times."""

    __slots__ = ("_fields",)

    def __init__(self, event: Event) -> None:
        self._fields = event.fields

    def all(self, name: str) -> list[EventValue]:
        """Return every value under `name`, in order."""
        return [value for one, value in self._fields if one == name]

    def has(self, name: str) -> bool:
        return bool(self.all(name))

    def identifier(self, name: str) -> bytes:
        """Return the bytes under `name`; empty if there are none."""
        found = self.all(name)
        return found[0] if found and isinstance(found[0], bytes) else b""

    def text(self, name: str) -> str:
        """Return the text under `name`, several joined; empty if there is none."""
        return ", ".join(value for value in self.all(name) if isinstance(value, str))

    def number(self, name: str) -> int:
        """Return the number under `name`; 0 if there is none."""
        found = self.all(name)
        return found[0] if found and isinstance(found[0], int) else 0
