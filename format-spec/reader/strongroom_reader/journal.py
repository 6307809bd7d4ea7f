"""Opening a repository and folding its journal (sealing.md, "Opening"; journal.md)."""

import hmac
import os
import re
from types import SimpleNamespace

from . import crypto
from . import objects as o
from .cbor import decode
from .errors import Damaged, Refused, Unknown, require

GAP_LIMIT = 1024  # entries behind a longer gap are none: anybody may have put them there


class Store:
    """A folder of objects."""

    def __init__(self, root):
        self._root = root

    def _path(self, name):
        require(re.fullmatch(r"[0-9a-z]+(/[0-9a-z]+)*", name), f"{name} is not the name of an object")
        return os.path.join(self._root, name)

    def read(self, name, limit, start=0, length=None):
        try:
            with open(self._path(name), "rb") as file:
                require(os.fstat(file.fileno()).st_size <= limit, f"{name} is larger than {limit} bytes")
                file.seek(start)
                data = file.read() if length is None else file.read(length)
        except FileNotFoundError:
            raise Damaged(f"{name} is missing") from None
        require(length is None or len(data) == length, f"{name} is cut short")
        return data

    def has(self, name):
        return os.path.exists(self._path(name))

    def time_ms(self, name):
        return os.stat(self._path(name)).st_mtime_ns // 1_000_000

    def list(self, folder):
        """The names directly below a folder, sorted."""
        try:
            return sorted(name for name in os.listdir(self._path(folder)) if re.fullmatch("[0-9a-z]+", name))
        except FileNotFoundError:
            return []


class Keys:
    """Unwraps keys: with the credential, or with a vault that the credential opens."""

    def __init__(self, store, repository, credential):
        self._store, self._repository, self._credential, self._opened = store, repository, credential, {}

    def read(self, key_id, recipient):
        """A key object and its signed bytes and signature; the signature is not verified."""
        signed = o.SIGNED_KEY(decode(self._store.read(f"keys/{key_id}/{recipient}", o.KEY_LIMIT)))
        body = o.decode_key_body(signed.body)
        names = (body.key.hex(), body.recipient.hex())
        require(names == (key_id, recipient), "a key object lies under another's name")
        if body.type == o.AWS_KMS:
            crypto.check_kms(body)
        return body, signed

    def open(self, key_id, purpose, commitment=None):
        if (key_id, purpose) not in self._opened:
            self._opened[key_id, purpose] = self._unwrap(key_id.hex(), purpose)
        key = self._opened[key_id, purpose]
        found = crypto.key_commitment(key, self._repository, key_id, purpose)
        if commitment is not None and not hmac.compare_digest(found, commitment):
            raise Damaged(f"key {key_id.hex()} is not the one that was committed to")
        return key

    def _unwrap(self, key_id, purpose):
        """Wraps for the credential itself come before those for a vault that it opens."""
        why, vaults = "no recipient that the credential is for", []
        for recipient in self._store.list(f"keys/{key_id}"):
            try:
                body = self._body(key_id, recipient, purpose)
                key = self._credential.unwrap(body, self._repository)
                if key is not None:
                    return key
                if body.type == o.X25519 and purpose != o.PURPOSE_VAULT:
                    vaults.append(body)
            except Refused as error:
                why = error
        for body in vaults:
            try:
                return crypto.unwrap_x25519(body, self._repository, self.open(body.recipient, o.PURPOSE_VAULT))
            except Refused as error:
                why = error
        raise Damaged(f"key {key_id} does not open: {why}")

    def _body(self, key_id, recipient, purpose):
        body, _ = self.read(key_id, recipient)
        require(body.purpose == purpose, "it is for another purpose")
        return body

    def compare_vault(self, key_id, commitment, public):
        """A vault that was opened is the policy's; whoever only lists may have no right to it."""
        if any(purpose == o.PURPOSE_VAULT for _, purpose in self._opened):
            private = self.open(key_id, o.PURPOSE_VAULT, commitment)
            require(crypto.x25519_public(private) == public, "the vault has another public key than the policy says")

    def metadata(self, key_id, commitment=None):
        secret = self.open(key_id, o.PURPOSE_METADATA, commitment)
        return crypto.MetadataKey(key_id, self._repository, secret)


class Ending(Refused):
    """No reason for an entry to be void: it ends the reading."""

    def __init__(self, cause, error):
        super().__init__(str(error))
        self.cause = cause


class Journal:
    """The state after the last entry: policy, signers, snapshots, index objects and packs that count."""

    def __init__(self, store, credential, fingerprint=None, after_entry=lambda journal: None):
        self.store = store
        config = store.read("config", o.CONFIG_LIMIT)
        self.fingerprint = crypto.digest(config)[:16].hex()
        require(fingerprint in (None, self.fingerprint), f"the repository's fingerprint is {self.fingerprint}")
        self.config = o.CONFIG(decode(config))
        self.repository = self.config.repository
        self.keys = Keys(store, self.repository, credential)
        self.policy, self.policies, self.signers = None, [], {}
        self.snapshots, self.seen, self.indexes, self.packs, self.brought_by = {}, set(), {}, {}, {}
        self.attested, self.voids, self.damaged, self._waiting = {}, [], [], []
        self.forgotten, self.retired, self.retired_keys, self.expired = set(), {}, {}, {}
        self.number, self.entry_hash, self.chain = -1, None, crypto.digest(config)
        self.settled_damage = False
        self._chained = -1  # the entry up to which a signer followed the chain
        if not store.has(f"journal/{0:016x}"):
            raise Damaged("there is no journal/0000000000000000: the repository was never finished")
        head = self._listed_head()
        while store.has(f"journal/{self.number + 1:016x}") or self.number < head:
            self._take()
            after_entry(self)
        self.strays = [name for name in store.list("journal") if not re.fullmatch("[0-9a-f]{16}", name) or int(name, 16) > self.number]

    def _listed_head(self):
        """The highest number among the names, short of a gap that no damage makes."""
        head = 0
        for name in self.store.list("journal"):
            if re.fullmatch("[0-9a-f]{16}", name) and int(name, 16) - head <= GAP_LIMIT:
                head = int(name, 16)
        return head

    def _take(self):
        """Folds the next entry; one that breaks a rule of journal.md is void."""
        self.number += 1
        name = f"journal/{self.number:016x}"
        if self.number > 0 and not self.store.has(name):
            self.entry_hash = bytes(32)
            self.damaged.append((self.number, "it is missing"))
            self.chain = crypto.chain(self.chain, self.entry_hash)
            return
        data = self.store.read(name, 1 << 40)
        self.entry_hash = crypto.digest(data)
        body = signer = None
        try:
            body = self._opened(name, data)
            signer = self._signer_of(data, body) if self.number else None
        except Refused as error:
            if self.number == 0:
                raise Damaged(f"{name}: {error}") from None
            self.damaged.append((self.number, str(error)))
        try:
            if self.number == 0:
                self._apply(body, self._signer_of(data, body))
            elif signer:
                self._apply(body, signer)
        except Ending as error:
            raise error.cause(f"{name}: {error}") from None
        except Refused as error:
            if self.number == 0:
                raise type(error)(f"{name}: {error}") from None
            self._void(self.number, str(error))
        self.chain = crypto.chain(self.chain, self.entry_hash)

    def _void(self, number, why):
        self.voids = sorted([*self.voids, (number, why)])

    def _opened(self, name, data):
        require(len(data) <= o.ENTRY_LIMIT, "it is larger than an entry may be")
        header = o.decode_header(data)
        if self.number == 0:
            self.metadata = self.keys.metadata(header.key)
        require(header.key == self.metadata.id, "it is sealed under a key that was not in force")
        return o.decode_body(self.metadata.open(o.ENTRY, name, data))

    def _signer_of(self, data, body):
        """The signer, if the policy before lists it and its signature holds."""
        if self.number == 0:  # the root key vouches for the first policy, and that for its signer
            entry = o.decode_entry(body.content)
            require(entry.kind == o.POLICY, "the first entry is not a policy")
            signers = self._next_policy(entry.body).signers
        else:
            signers = self.policy.signers
        signer = next((signer for signer in signers if signer.id == body.signer), None)
        require(signer, "its signer is not listed")
        crypto.verify_object(signer.public, o.ENTRY, data[: o.HEADER_LENGTH] + body.signed, body.signature)
        return signer

    def _apply(self, body, signer):
        entry = o.decode_entry(body.content)
        require((entry.number, entry.base) == (self.number, max(self.number - 1, 0)), "its number or base is wrong")
        follows = entry.previous == self.chain
        undecided = [item for item in self.damaged if item[0] > self._chained]
        require(follows or undecided, "it does not follow the entries before")
        if follows:  # its signer saw the very bytes that are there: they were garbage then already
            self._settle(undecided)
        self.chain, self._chained = entry.previous, self.number - 1
        role, apply = {
            o.POLICY: (o.ADMIN, self._policy), o.SNAPSHOT: (o.WRITE, self._snapshot), o.NOTE: (0, None),
            o.FORGET: (o.MAINTAIN, self._forget), o.REINDEX: (o.MAINTAIN, self._reindex),
            o.RETIRE: (o.MAINTAIN, self._retire), o.EXPIRE: (o.MAINTAIN, self._expire), o.ATTESTED: (o.VERIFY, self._attested), o.TAG: (0, self._tag), o.HOLD: (0, self._hold),
        }[entry.kind]
        require(signer.roles & role == role, "its signer lacks the role")
        if apply:
            apply(entry, signer)
        for snapshot in self._waiting:
            snapshot.time_ms = entry.previous_time_ms
        self._waiting = [self.snapshots[self.number]] if entry.kind == o.SNAPSHOT else []

    def _settle(self, items):
        """Entries that do not open or verify turn out to be garbage, or are declared to be."""
        for number, why in items:
            self._void(number, why)
        self.damaged = [item for item in self.damaged if item not in items]

    def _next_policy(self, body):
        before = self.policy
        root, sequence = (before.root, before.sequence + 1) if before else (self.config.root, 0)
        crypto.verify_object(root, crypto.KIND_POLICY, self.repository + body.policy, body.root_signature)
        try:
            policy = o.decode_policy(body.policy)
        except Unknown as error:
            raise Ending(Unknown, error) from None
        require(policy.sequence == sequence, "the policy's sequence does not follow")
        require(before or policy.root == root, "the first policy names another root key than config")
        require(not before or policy.identity == before.identity, "the policy changes the identity secret")
        return policy

    def _policy(self, entry, _signer):
        policy = self._next_policy(entry.body)
        self._require_none_held(policy.forgotten)
        try:
            self.metadata = self.keys.metadata(*policy.metadata)
            self.keys.compare_vault(*policy.vault, policy.vault_public)
            identity, commitment = policy.identity
            self.identity = crypto.Identity(self.keys.open(identity, o.PURPOSE_IDENTITY, commitment))
        except Refused as error:
            raise Ending(Damaged, error) from None
        self.policy = policy
        settled = [item for item in self.damaged if item[0] <= (policy.settled or 0)]
        self.settled_damage = self.settled_damage or bool(settled)
        self._settle(settled)
        self.policies.append((entry.number, entry.body.policy, entry.body.root_signature))
        self.signers.update({signer.id: signer.public for signer in policy.signers})
        self.seen.update(policy.forgotten)
        self.snapshots = {n: s for n, s in self.snapshots.items() if s.id not in policy.forgotten}

    def _snapshot(self, entry, signer):
        body = entry.body
        manifest = o.MANIFEST(decode(body.manifest))
        require({"*", manifest.source} & set(signer.sources), "its signer may not write that source")
        snapshot_id = self.identity.snapshot_id(body.manifest)
        require(snapshot_id not in self.seen, "a snapshot of that ID was there before")
        self.seen.add(snapshot_id)
        self.snapshots[entry.number] = SimpleNamespace(
            number=entry.number, id=snapshot_id, entry_hash=self.entry_hash, time_ms=0, signer=signer,
            manifest=manifest, encoded=body.manifest, tags=set(manifest.tags), holds={},
            keys=[key for key in body.keys if key[0] not in self.retired_keys],
        )
        self._bring(body, signer)

    def _bring(self, body, signer):
        for kind, pack_id, length in body.packs:  # what an earlier entry said of it stays
            if pack_id not in self.retired:
                self.packs.setdefault(pack_id, (kind, length))
                self.brought_by.setdefault(pack_id, signer.id)
        for index in body.indexes:
            self.indexes.setdefault(index[0], index)

    def _forget(self, entry, _signer):
        gone = set(entry.body.snapshots)
        require(gone <= {s.id for s in self.snapshots.values()}, "it forgets a snapshot that is not there")
        self._require_none_held(gone)
        self.snapshots = {n: s for n, s in self.snapshots.items() if s.id not in gone}
        self.forgotten |= gone

    def _require_none_held(self, gone):
        held = [s for s in self.snapshots.values() if s.holds and s.id in gone]
        require(not held, "it forgets a snapshot that is under a hold")

    def _reindex(self, entry, _signer):
        removed = set(entry.body.removed)
        require(removed <= self.indexes.keys(), "it removes an index object that does not count")
        self.indexes = {index_id: index for index_id, index in self.indexes.items() if index_id not in removed}
        for index in entry.body.added:
            self.indexes.setdefault(index[0], index)

    def _retire(self, entry, signer):
        body = entry.body
        self._bring(body, signer)
        for pack_id in body.retired:
            self.retired.setdefault(pack_id, entry.number)
            for of_packs in (self.packs, self.brought_by, self.attested):
                of_packs.pop(pack_id, None)
        for key_id in body.retired_keys:
            self.retired_keys.setdefault(key_id, entry.number)
        for snapshot in self.snapshots.values():
            kept = [key for key in snapshot.keys if key[0] not in body.retired_keys]
            if len(kept) < len(snapshot.keys):
                taken = {key_id for key_id, _ in kept} | self.retired_keys.keys()
                for key in body.keys:
                    if key[0] not in taken:
                        taken.add(key[0])
                        kept.append(key)
                snapshot.keys = kept

    def _expire(self, entry, _signer):
        known = self.expired.setdefault((entry.body.source, entry.body.system), [])
        for timeline, first, last in entry.body.ranges:
            for _, begin, end, _ in sorted(item for item in known if item[0] == timeline):
                if end < first or begin > last:
                    continue
                if begin > first:
                    known.append((timeline, first, begin - 1, entry.number))
                first = end + 1
            if first <= last:
                known.append((timeline, first, last, entry.number))
        known.sort()

    def _attested(self, entry, _signer):
        for pack_id, description in entry.body.packs:
            if pack_id in self.packs and self.attested.get(pack_id, (description,))[0] == description:
                self.attested[pack_id] = description, entry.number

    def _tag(self, entry, _signer):
        snapshot = next((s for s in self.snapshots.values() if s.id == entry.body.snapshot), None)
        require(snapshot, "it tags a snapshot that is not there")
        snapshot.tags = (snapshot.tags - set(entry.body.remove)) | set(entry.body.add)

    def _hold(self, entry, signer):
        body = entry.body
        require(body.on or signer.roles & o.ADMIN, "its signer lacks the role to take a hold off")
        named = set(body.snapshots)
        found = [s for s in self.snapshots.values() if s.id in named and (body.on or body.name in s.holds)]
        require(len(found) == len(named), "it names a snapshot or a hold that is not there")
        for snapshot in found:
            if body.on:
                snapshot.holds.setdefault(body.name, entry.number)
            else:
                del snapshot.holds[body.name]
