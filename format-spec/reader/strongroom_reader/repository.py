"""From a journal's state to contents: index objects, frames, trees (objects.md, sealing.md, tree.md)."""

from collections import OrderedDict

from . import crypto
from . import objects as o
from .errors import Damaged, Refused, require

CACHE_BYTES = 128 << 20


class Pack:
    """A pack as one index object describes it. Another may say otherwise, so nothing rests on which came first."""

    def __init__(self, pack_id, kind, header, footer):
        self.id, self.kind, self.header, self.footer = pack_id, kind, header, footer


class Repository:
    def __init__(self, journal):
        self.journal, self._store, self._keys = journal, journal.store, journal.keys
        self.packs, self._places, self.warnings = {}, {}, []
        self._cache, self._cached_bytes = OrderedDict(), 0
        for index_id, source_tag, length in journal.indexes.values():
            self._try(f"index {index_id.hex()}", self._load_index, index_id, source_tag, length)
        for pack_id in journal.packs.keys() - {pack_id for pack_id, _ in self.packs}:
            self._try(f"pack {pack_id.hex()}", self._load_footer, pack_id)

    def _try(self, what, action, *values):
        try:
            action(*values)
        except Refused as error:
            self.warnings.append(f"{what}: {error}")

    # Index objects and packs

    def signer(self, signer_id):
        require(signer_id in self.journal.signers, "its signer was never listed")
        return self.journal.signers[signer_id]

    def _load_index(self, index_id, source_tag, length):
        data = self._store.read(f"index/{source_tag.hex()}/{index_id.hex()}", o.INDEX_LIMIT)
        require(len(data) == length and crypto.digest(data) == index_id, "its name is not its hash")
        body = o.decode_body(self._keys.metadata(o.decode_header(data).key).open(o.INDEX, "", data))
        signed = data[: o.HEADER_LENGTH] + body.signed
        crypto.verify_object(self.signer(body.signer), o.INDEX, signed, body.signature)
        tag, packs = o.decode_index(body.content)
        require(tag == source_tag, "it lies in another source's folder")
        for pack_id, header, footer in packs:
            if pack_id in self.journal.packs:  # nothing counts that no entry names
                self._try(f"pack {pack_id.hex()} in index {index_id.hex()}", self._add_pack, pack_id, header, footer)

    def _load_footer(self, pack_id):
        """What no index object describes is found in the packs themselves."""
        header, encoded, _ = self.read_footer(pack_id)
        self._add_pack(pack_id, header, encoded)
        self.warnings.append(f"pack {pack_id.hex()}: no index object describes it")

    def _add_pack(self, pack_id, header, encoded):
        footer = o.Footer(encoded)
        kind, length = self.journal.packs[pack_id]
        require(footer.length == len(encoded), "bytes follow the footer")
        require(footer.pack_length == length, "it has another length than its entry says")
        require(o.decode_header(header).kind == kind, "it is of another kind than its entry says")
        crypto.verify_object(self.signer(footer.signer), kind, header + footer.signed, footer.signature)
        require(kind == o.DATA_PACK or not footer.bases, "a frame of nodes has bases")
        if (pack_id, encoded) not in self.packs:
            pack = self.packs[pack_id, encoded] = Pack(pack_id, kind, header, footer)
            for frame in footer.frames:
                for chunk_id, _ in footer.chunks_of(frame):
                    self._places.setdefault((kind, chunk_id), []).append((pack, frame))

    def pack_name(self, pack_id):
        folder = "packs" if self.journal.packs[pack_id][0] == o.DATA_PACK else "meta"
        return f"{folder}/{pack_id.hex()[:2]}/{pack_id.hex()}"

    def read_footer(self, pack_id):
        """Header and footer of a pack, read from the pack itself, and the key of its padding."""
        name, (kind, length) = self.pack_name(pack_id), self.journal.packs[pack_id]
        require(length <= o.PACK_LIMIT, "a pack is beyond the limit")
        trailer = self._store.read(name, length, length - o.TRAILER_LENGTH, o.TRAILER_LENGTH)
        start, end = o.footer_range(trailer, length)
        header = self._store.read(name, length, 0, o.HEADER_LENGTH)
        _, key = self._keys.metadata(o.decode_header(header).key).object_key(kind, header)
        plain = crypto.open_pack_part(key, 4, self._store.read(name, length, start, end - start))
        footer = o.Footer(plain)
        require(footer.footer_start == start, "a footer does not lie where it says")
        return header, footer.encoded, key

    # Frames

    def _frame(self, pack, frame):
        """The chunks (or nodes) of a frame: ID -> bytes."""
        place = (pack, frame.start)
        if place in self._cache:
            self._cache.move_to_end(place)
            return self._cache[place]
        chunks = self._open_frame(pack, pack.footer, frame)
        self._cache[place] = chunks
        self._cached_bytes += sum(map(len, chunks.values()))
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= sum(map(len, dropped.values()))
        return chunks

    def _open_frame(self, pack, footer, frame):
        key_id, commitment = footer.keys[frame.key]
        if pack.kind == o.DATA_PACK:
            subkey = crypto.derive("seal frame", self._keys.open(key_id, o.PURPOSE_DATA, commitment))
            name_of = self.journal.identity.chunk_id
        else:
            subkey = self._keys.metadata(key_id, commitment).node_subkey
            name_of = self.journal.identity.node_id
        sealed = self._store.read(self.pack_name(pack.id), o.PACK_LIMIT, frame.start, frame.sealed)
        aad = crypto.frame_aad(*footer.bound(frame))
        plain = crypto.open_frame(subkey, self.journal.repository, key_id, aad, sealed)
        if frame.codec == 1:
            bases = footer.bases_of(frame)
            prefix = b"".join(self.chunk(*base, below_depth=frame.depth) for base in bases)
            plain = crypto.decompress(plain, frame.plain, prefix)
        require(len(plain) == frame.plain, "a frame has another length than its record says")
        chunks, at = {}, 0
        for chunk_id, length in footer.chunks_of(frame):
            chunk = plain[at : at + length]
            require(name_of(chunk) == chunk_id, "a chunk's bytes do not hash to its ID")
            chunks[chunk_id], at = chunk, at + length
        return chunks

    def _find(self, kind, chunk_id, below_depth=9):
        """The bytes of a chunk or node, from the first place that opens."""
        why = "no index names a place"
        for pack, frame in self._places.get((kind, chunk_id), []):
            if frame.depth < below_depth:
                try:
                    return self._frame(pack, frame)[chunk_id]
                except Refused as error:
                    why = f"pack {pack.id.hex()}, bytes from {frame.start}: {error}"
        raise Damaged(f"{chunk_id.hex()} is not to be had: {why}")

    def chunk(self, chunk_id, length, **depth):
        chunk = self._find(o.DATA_PACK, chunk_id, **depth)
        require(len(chunk) == length, "a chunk has another length than its record says")
        return chunk

    # Trees

    def _leaves(self, node_id, kind, level, count, size, last=None):
        """The items below a node; what the parent says of it must be so."""
        node = o.decode_node(self._find(o.METADATA_PACK, node_id))
        require((node.kind, node.level) == (kind, level), "a node is of another kind or level than its parent says")
        require(node.items or last is None and count == 0, "a node without items is not a root")
        seen_count = seen_size = 0
        final = None
        for item in node.items:
            if level > 0:
                yield from self._leaves(item.node, kind, level - 1, item.count, item.bytes, item.last)
                seen_count, seen_size, final = seen_count + item.count, seen_size + item.bytes, item.last
            else:
                yield item
                is_entry = kind == o.ENTRIES
                seen_count, seen_size = seen_count + 1, seen_size + (content_size(item) if is_entry else item[1])
                final = item.path if is_entry else None
        require((seen_count, seen_size) == (count, size), "a node's counts are not those of what is below it")
        require(last is None or final == last, "a node's last path is not the one its parent says")

    def entries(self, snapshot):
        """The snapshot's entries in order. Nothing lies in what is not a folder."""
        before, folder_of = None, None
        root, level, count, size = snapshot.manifest.tree
        for entry in self._leaves(root, o.ENTRIES, level, count, size):
            order = o.path_order(entry.path)
            require(before is None or before < order, "paths do not ascend")
            if folder_of and entry.path.startswith(folder_of + b"/"):
                raise Refused(f"{entry.path!r} lies in what is not a folder")
            if entry.kind != o.DIRECTORY:
                folder_of = entry.path
            before = order
            yield entry

    def content(self, entry):
        """The chunk records of a file or stream, holes among them."""
        kind, *rest = entry.content
        if kind == "inline":
            return rest[0]
        root, level, size, count = rest
        return self._leaves(root, o.CHUNKS, level, count, size)

    def facts(self, snapshot):
        node_id, size = snapshot.manifest.facts
        node = o.decode_node(self._find(o.METADATA_PACK, node_id))
        require(node.kind == o.BLOB and len(node.items) == size, "the facts are not a blob of their length")
        return node.items


def content_size(entry):
    if entry.content is None:
        return 0
    return sum(length for _, length in entry.content[1]) if entry.content[0] == "inline" else entry.content[3]
