"""Reads a Strongroom repository in a folder: python -m strongroom_reader REPO --key-file F list"""

import argparse
import datetime
import os
import sys

from . import crypto
from .check import Checkpoints, check
from .errors import Damaged, Refused
from .journal import Journal, Store
from .repository import Repository
from .restore import Restore, find_entry, write_content
from .wal import LogArchives, file_name


def warn(message):
    print(f"warning: {message}", file=sys.stderr)


def arguments():
    parser = argparse.ArgumentParser(prog="strongroom_reader", description=__doc__)
    parser.add_argument("repository", help="the folder of the repository")
    credential = parser.add_mutually_exclusive_group(required=True)
    credential.add_argument("--key-file", help="of either kind: symmetric, or an X25519 private key")
    credential.add_argument("--passphrase-file", help="its first line is the passphrase")
    parser.add_argument("--fingerprint", help="refuse a repository that has another")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="one snapshot a line: ID, time, source, entries, bytes, tags")
    for name, more in (("restore", "target"), ("cat", "path"), ("facts", None)):
        command = commands.add_parser(name)
        command.add_argument("id", help="a snapshot's ID, or the beginning of it, or latest")
        if more:
            command.add_argument(more)
    commands.add_parser("wal-list", help="one file of a log archive a line: source, system, name, bytes")
    command = commands.add_parser("wal-get", help="write a file of a log archive to standard output")
    command.add_argument("source")
    command.add_argument("system", type=int)
    command.add_argument("file")
    commands.add_parser("check-signatures", help="everything that can be checked without data keys")
    return parser.parse_args()


def credential_of(options):
    with open(options.key_file or options.passphrase_file, encoding="utf-8", newline="") as file:
        if options.key_file:
            return crypto.read_key_file(file.read())
        return crypto.Passphrase(file.readline().rstrip("\r\n"))


def find_snapshot(journal, wanted):
    found = [s for s in journal.snapshots.values() if wanted == "latest" or s.id.hex().startswith(wanted)]
    if not found or (len(found) > 1 and wanted != "latest"):
        raise Refused(f"{len(found)} snapshots have the ID {wanted}")
    return found[-1]


def show(journal):
    for snapshot in journal.snapshots.values():
        time_ms = snapshot.time_ms or journal.store.time_ms(f"journal/{snapshot.number:016x}")
        time = datetime.datetime.fromtimestamp(time_ms // 1000, datetime.timezone.utc).isoformat()
        manifest, tags = snapshot.manifest, ",".join(sorted(snapshot.tags))
        print(snapshot.id.hex(), time, manifest.source, manifest.tree[2], manifest.tree[3], tags)


def run(options):
    damage = []

    def report(message):
        damage.append(message)
        warn(message)

    checkpoints = Checkpoints(report)
    after_entry = checkpoints.after_entry if options.command == "check-signatures" else lambda journal: None
    fingerprint = "".join(c for c in options.fingerprint.lower() if c.isalnum()) if options.fingerprint else None
    journal = Journal(Store(options.repository), credential_of(options), fingerprint, after_entry)
    for number, why in journal.voids:
        if number > (journal.policy.settled or 0):  # the root key's holder knows of the others
            warn(f"journal/{number:016x} is void: {why}")
    for name in journal.strays:
        warn(f"journal/{name} is no entry of the journal")
    for number, why in journal.damaged:
        report(f"journal/{number:016x} is damaged: {why}")
    if options.command == "list":
        show(journal)
        return 0
    if options.command == "wal-list":
        heads, unreadable = LogArchives(journal).files()
        for head in sorted(heads, key=lambda head: (head.source, head.system, head.file, head.attempt)):
            print(head.source, head.system, head.file, head.file_bytes)
        for name, why in unreadable:
            report(f"{name}: {why}")
        return 4 if damage else 0
    if options.command == "wal-get":
        name = (options.source, options.system, file_name(options.file))
        if not LogArchives(journal).write(*name, sys.stdout.buffer):
            raise Refused(f"the archive does not have {options.file}")
        return 0
    repository = Repository(journal)
    if options.command == "check-signatures":
        keys, packs, frames = check(repository, report)
        counts = f"{journal.number + 1} entries, {len(journal.voids)} void, {checkpoints.count} checkpoints"
        print(f"{counts}, {keys} key objects, {len(journal.indexes)} index objects, {packs} packs, {frames} frames")
        return 4 if damage else 0
    for warning in repository.warnings:
        warn(warning)
    snapshot = find_snapshot(journal, options.id)
    if options.command == "restore":
        Restore(repository, options.target, warn).run(snapshot)
    elif options.command == "cat":
        entry = find_entry(repository, snapshot, os.fsencode(options.path))
        write_content(repository, entry, sys.stdout.buffer)
    else:
        sys.stdout.buffer.write(repository.facts(snapshot))
    return 0


def main():
    try:
        return run(arguments())
    except (Refused, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 4 if isinstance(error, Damaged) else 1


if __name__ == "__main__":
    sys.exit(main())
