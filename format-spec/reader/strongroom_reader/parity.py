"""Recovery blocks beside a pack, and how they heal it (objects.md#parity): as it is written there, and so slow."""

import functools
import struct

from .crypto import digest
from .errors import Damaged, require
from .objects import PACK_LIMIT

HEADER = struct.Struct("<8sHBBIIIQ32s")
HASH_LENGTH = 16
# What stands for a number of 16 bits: the sum of those of its bits.
BASIS = (
    0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012, 0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E,
)
POLYNOMIAL, ORDER = 0x1002D, (1 << 16) - 1


class Field:
    """The elements that numbers stand for, and their logarithms to the base x."""

    def __init__(self):
        self.exp, self.log = [0] * ORDER, {}
        element = 1
        for power in range(ORDER):
            self.exp[power], self.log[element] = element, power
            element <<= 1
            if element > ORDER:
                element ^= POLYNOMIAL
        self.element = [0]
        for bit in BASIS:
            self.element += [element ^ bit for element in self.element]
        self.number = {element: number for number, element in enumerate(self.element)}

    def multiply(self, a, b):
        return self.exp[(self.log[a] + self.log[b]) % ORDER] if a and b else 0

    def divide(self, a, b):
        return self.exp[(self.log[a] - self.log[b]) % ORDER] if a else 0


@functools.cache
def field():
    return Field()


class Shape:
    def __init__(self, pack_length, recovery_blocks):
        require(1 <= pack_length <= PACK_LIMIT, "parity of a pack beyond the limits")
        self.block_bytes = -(-max(1024, -(-pack_length // 1024)) // 64) * 64
        self.data_blocks = -(-pack_length // self.block_bytes)
        self.recovery_blocks = recovery_blocks
        require(1 <= recovery_blocks <= self.data_blocks, "the number of recovery blocks is beyond the limits")
        self.head_length = HEADER.size + HASH_LENGTH * (self.data_blocks + recovery_blocks) + 32
        self.length = 2 * self.head_length + recovery_blocks * self.block_bytes

    def blocks(self, data):
        """Blocks, the last one filled up with zeros."""
        starts = range(0, self.data_blocks * self.block_bytes, self.block_bytes)
        return [data[at : at + self.block_bytes].ljust(self.block_bytes, b"\0") for at in starts]


def recovery_count(pack_length, percent):
    return -(-Shape(pack_length, 1).data_blocks * percent // 100)


def symbols(block):
    """The elements that a block's symbols stand for."""
    element = field().element
    groups = (block[at : at + 64] for at in range(0, len(block), 64))
    return [element[group[i] | group[32 + i] << 8] for group in groups for i in range(32)]


def block_of(elements):
    out = bytearray()
    for at in range(0, len(elements), 32):
        numbers = [field().number[element] for element in elements[at : at + 32]]
        out += bytes(number & 0xFF for number in numbers) + bytes(number >> 8 for number in numbers)
    return bytes(out)


def coefficients(shape, recovery):
    """What each data block is multiplied by in the sum that is this recovery block: Lagrange's polynomials at a point."""
    f, width = field(), 1 << (shape.recovery_blocks - 1).bit_length()
    found = []
    for block in range(shape.data_blocks):
        first = block - block % width
        points = [f.element[width + first + t] for t in range(width)]
        own, value = points[block % width], 1
        for point in points:
            if point != own:
                value = f.divide(f.multiply(value, f.element[recovery] ^ point), own ^ point)
        found.append(value)
    return found


def add_multiple(into, factor, elements):
    f = field()
    if factor:
        log = f.log[factor]
        for at, element in enumerate(elements):
            if element:
                into[at] ^= f.exp[(log + f.log[element]) % ORDER]


def encode(kind, pack, recovery_blocks):
    """The parity object of a pack."""
    shape = Shape(len(pack), recovery_blocks)
    data = shape.blocks(pack)
    recovery = []
    for number in range(recovery_blocks):
        total = [0] * (shape.block_bytes // 2)
        for factor, block in zip(coefficients(shape, number), data):
            add_multiple(total, factor, symbols(block))
        recovery.append(block_of(total))
    counts = (shape.block_bytes, shape.data_blocks, recovery_blocks)
    head = HEADER.pack(b"STRNGPR1", 1, kind, 0, *counts, len(pack), digest(pack))
    head += b"".join(digest(block)[:HASH_LENGTH] for block in data + recovery)
    head += digest(head)
    return head + b"".join(recovery) + head


def decode_head(data, pack_id):
    """Shape, length of the pack, and the hashes of all blocks."""
    require(len(data) >= HEADER.size, "a head is cut short")
    magic, version, kind, zero, block_bytes, data_blocks, recovery_blocks, length, of = HEADER.unpack_from(data)
    require(magic == b"STRNGPR1" and version == 1 and zero == 0 and kind in (1, 2), "it is no head of a parity object")
    shape = Shape(length, recovery_blocks)
    require((block_bytes, data_blocks) == (shape.block_bytes, shape.data_blocks), "it has other blocks than its pack")
    require(of == pack_id, "it is of another pack")
    head = data[: shape.head_length]
    require(len(head) == shape.head_length and digest(head[:-32]) == head[-32:], "the hash of a head does not hold")
    hashes = head[HEADER.size : -32]
    return shape, length, [hashes[at : at + HASH_LENGTH] for at in range(0, len(hashes), HASH_LENGTH)]


def heal(found, parity, pack_id):
    """The pack as it was, from what is left of it and its parity object, of which the first head is whole."""
    shape, length, hashes = decode_head(parity, pack_id)

    def good(block, at):
        return len(block) == shape.block_bytes and digest(block)[:HASH_LENGTH] == hashes[at]

    data = shape.blocks(found[:length])
    bad = [at for at, block in enumerate(data) if not good(block, at)]
    starts = [shape.head_length + at * shape.block_bytes for at in range(shape.recovery_blocks)]
    recovery = {at: parity[start : start + shape.block_bytes] for at, start in enumerate(starts)}
    usable = [at for at, block in recovery.items() if good(block, shape.data_blocks + at)][: len(bad)]
    if len(usable) < len(bad):
        raise Damaged("more blocks are bad than can be healed")
    # What each usable recovery block says of the bad ones alone, and then elimination.
    rows = []
    for at in usable:
        factors, total = coefficients(shape, at), symbols(recovery[at])
        for block in set(range(shape.data_blocks)) - set(bad):
            add_multiple(total, factors[block], symbols(data[block]))
        rows.append([factors[block] for block in bad] + total)
    for column in range(len(bad)):
        pivot = next(row for row in rows[column:] if row[column])
        rows.remove(pivot)
        pivot = [field().divide(element, pivot[column]) for element in pivot]
        rows.insert(column, pivot)
        for row in rows:
            if row is not pivot:
                add_multiple(row, row[column], pivot)
    for block, row in zip(bad, rows):
        data[block] = block_of(row[len(bad) :])
    healed = b"".join(data)[:length]
    require(digest(healed) == pack_id, "what was healed does not hash to the pack's name")
    return healed
