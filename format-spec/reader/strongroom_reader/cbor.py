"""Deterministic CBOR (RFC 8949 section 4.2.1), the subset of objects.md, and checks of what was decoded."""

from types import SimpleNamespace

from .errors import Refused, Unknown, require

DEPTH_LIMIT = 16
FIRST_IGNORABLE_KEY = 128
SMALLEST = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}


def decode(data):
    """The one value that data holds."""
    value, at = _value(data, 0, 0)
    require(at == len(data), "bytes follow the end of a CBOR value")
    return value


def decode_many(data, count):
    """Exactly count values, one after another."""
    values, at = [], 0
    for _ in range(count):
        value, at = _value(data, at, 0)
        values.append(value)
    require(at == len(data), "bytes follow the last CBOR value")
    return values


def _take(data, at, length):
    require(len(data) - at >= length, "CBOR is cut short")
    return data[at : at + length], at + length


def _head(data, at):
    first, at = _take(data, at, 1)
    major, value = first[0] >> 5, first[0] & 31
    require(major < 6, "a tag, float or simple value")
    if value >= 24:
        require(value in SMALLEST, "an indefinite length or reserved head")
        smallest = SMALLEST[value]
        extra, at = _take(data, at, 1 << (value - 24))
        value = int.from_bytes(extra, "big")
        require(value >= smallest, "an integer is not in its shortest form")
    return major, value, at


def _value(data, at, depth):
    major, value, at = _head(data, at)
    if major == 0:
        return value, at
    if major == 1:
        require(value < 1 << 63, "an integer beyond 63 bits")
        return -1 - value, at
    if major == 2:
        raw, at = _take(data, at, value)
        return bytes(raw), at
    if major == 3:
        raw, at = _take(data, at, value)
        try:
            return bytes(raw).decode("utf-8"), at
        except UnicodeDecodeError:
            raise Refused("text is not UTF-8") from None
    require(depth < DEPTH_LIMIT, "CBOR is nested deeper than 16")
    if major == 4:
        items = []
        for _ in range(value):
            item, at = _value(data, at, depth + 1)
            items.append(item)
        return items, at
    fields, last = {}, -1
    for _ in range(value):
        key_major, key, at = _head(data, at)
        require(key_major == 0, "a map key is not an unsigned integer")
        require(key > last, "map keys are not in ascending order, or one is there twice")
        fields[key], at = _value(data, at, depth + 1)
        last = key
    return fields, at


# Checks: each takes a decoded value and gives what it stands for, or refuses it.

def uint(value, limit=(1 << 64) - 1):
    require(type(value) is int and 0 <= value <= limit, f"an unsigned integer up to {limit} is expected")
    return value


def u32(value):
    return uint(value, (1 << 32) - 1)


def u8(value):
    return uint(value, 255)


def sint(value):
    require(type(value) is int and -(1 << 63) <= value < 1 << 63, "an integer of 64 bits is expected")
    return value


def blob(value):
    require(type(value) is bytes, "a byte string is expected")
    return value


def sized(length):
    def check(value):
        require(len(blob(value)) == length, f"a byte string of {length} bytes is expected")
        return value

    return check


def text(value):
    require(type(value) is str, "a text is expected")
    return value


def known(what, *numbers):
    def check(value):
        if uint(value) not in numbers:
            raise Unknown(f"{what} {value} is not known")
        return value

    return check


def many(check):
    def check_all(value):
        require(type(value) is list, "an array is expected")
        return [check(item) for item in value]

    return check_all


def row(*checks):
    def check_each(value):
        require(type(value) is list and len(value) == len(checks), f"an array of {len(checks)} is expected")
        return tuple(check(item) for check, item in zip(checks, value))

    return check_each


def maybe(check):
    """A field that need not be there, and is then None."""
    return check, False


def record(what, **fields):
    """A map with the keys 1, 2, 3, ... in the order of the fields, each a check."""
    table = {}
    for key, (name, check) in enumerate(fields.items(), 1):
        table[key] = (name, *(check if type(check) is tuple else (check, True)))

    def check_map(value):
        require(type(value) is dict, f"{what} is not a map")
        found = SimpleNamespace(**dict.fromkeys(fields))
        for key, item in value.items():
            if key in table:
                name, check, _ = table[key]
                setattr(found, name, check(item))
            elif key < FIRST_IGNORABLE_KEY:
                raise Unknown(f"{what} has the field {key}, which is not known and must not be ignored")
        for key, (name, _, needed) in table.items():
            require(not needed or key in value, f"{what} lacks its {name}")
        return found

    return check_map
