"""Every signature and hash that needs no data key, and checkpoints against the folded journal."""

from . import crypto
from . import objects as o
from .cbor import decode
from .errors import Refused, require


class Checkpoints:
    """Compares each checkpoint with the state that folding gives at its entry."""

    def __init__(self, report):
        self.count, self._report = 0, report

    def after_entry(self, journal):
        name = f"checkpoints/{(1 << 64) - 1 - journal.number:016x}"
        if journal.store.has(name):
            self.count += 1
            try:
                self._compare(journal, name, journal.store.read(name, o.CHECKPOINT_LIMIT))
            except Refused as error:
                self._report(f"{name}: {error}")

    def _compare(self, journal, name, data):
        key = journal.keys.metadata(o.decode_header(data).key)
        body = o.decode_body(key.open(o.CHECKPOINT, name, data))
        signer = next((s for s in journal.policy.signers if s.id == body.signer and s.roles & o.MAINTAIN), None)
        require(signer, "its signer is not listed, or lacks the role")
        crypto.verify_object(signer.public, o.CHECKPOINT, data[: o.HEADER_LENGTH] + body.signed, body.signature)
        found = o.CHECKPOINT_FIELDS(decode(body.content))
        if journal.damaged or journal.settled_damage:  # over damage, a checkpoint may know more than the journal
            return
        head = (journal.number, journal.entry_hash, journal.chain)
        require((found.number, found.entry_hash, found.chain) == head, "it is of another entry")
        snapshots = [
            (s.number, s.id, s.signer.id, s.entry_hash, s.time_ms, s.encoded, s.keys, sorted(s.tags),
             sorted(s.holds.items(), key=lambda hold: hold[0].encode()))
            for s in journal.snapshots.values()
        ]
        require(found.snapshots == snapshots, "its snapshots are not the journal's")
        require(sorted(found.indexes) == sorted(journal.indexes.values()), "its index objects are not the journal's")
        packs = sorted(
            ((kind, pack_id, length), journal.brought_by[pack_id]) for pack_id, (kind, length) in journal.packs.items()
        )
        require(sorted(found.packs) == packs, "its packs are not the journal's")
        require([number for number, _ in found.voids] == [number for number, _ in journal.voids], "its void entries")
        attested = sorted(((pack_id, description), last) for pack_id, (description, last) in journal.attested.items())
        require(found.attested == attested, "its attested packs are not the journal's")
        require(found.forgotten == sorted(journal.forgotten), "its forgotten snapshots are not the journal's")
        require(found.retired == sorted(journal.retired.items()), "its retired packs are not the journal's")
        require(found.retired_keys == sorted(journal.retired_keys.items()), "its retired keys are not the journal's")
        expired = sorted((*log, ranges) for log, ranges in journal.expired.items() if ranges)
        require((found.expired or []) == expired, "what is expired is not what the journal says")
        require(found.policies == journal.policies, "its policies are not the journal's")


def check(repository, report):
    """Counts of key objects, packs and frames; what is wrong goes to report."""
    journal, frames = repository.journal, 0
    keys = [(k, r) for k in journal.store.list("keys") for r in journal.store.list(f"keys/{k}")]
    for key_id, recipient in keys:
        with Reporting(report, f"keys/{key_id}/{recipient}"):
            body, signed = journal.keys.read(key_id, recipient)
            crypto.verify_object(repository.signer(body.signer), crypto.KIND_KEY, journal.repository + signed.body, signed.signature)
    for warning in repository.warnings:
        report(warning)
    for pack_id in journal.packs:
        with Reporting(report, repository.pack_name(pack_id)):
            frames += check_pack(repository, pack_id)
    return len(keys), len(journal.packs), frames


def check_pack(repository, pack_id):
    header, encoded, key = repository.read_footer(pack_id)
    pack = repository.packs.get((pack_id, encoded))
    require(pack and pack.header == header, "no index object describes it as it is")
    description = crypto.digest(header + encoded)
    require(repository.journal.attested.get(pack_id, (description,))[0] == description, "a verifier attested another description of it")
    footer = pack.footer
    data = repository.journal.store.read(repository.pack_name(pack_id), o.PACK_LIMIT)
    require(crypto.digest(data) == pack_id, "its name is not its hash")
    require(crypto.digest(data[: footer.footer_start]) == footer.content_hash, "its content hash does not match")
    if footer.padding:
        padding = data[footer.padding_start : footer.footer_start]
        require(not any(crypto.open_pack_part(key, 3, padding)), "its padding is not zeros")
    for frame in footer.frames:
        author = repository.signer(footer.authors[frame.author])
        sealed = data[frame.start : frame.start + frame.sealed]
        crypto.verify_author(author, crypto.frame_aad(*footer.bound(frame)), sealed)
    return len(footer.frames)


class Reporting:
    """Reports a refusal, and goes on."""

    def __init__(self, report, name):
        self._report, self._name = report, name

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _traceback):
        if isinstance(error, Refused):
            self._report(f"{self._name}: {error}")
            return True
        return False
