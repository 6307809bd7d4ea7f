//! Poisoning: an index that lies to other writers.

use strongroom_format::entry::IndexRef;
use strongroom_format::index::{Index, IndexedPack};
use strongroom_format::manifest::Manifest;
use strongroom_format::pack::Footer;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{IndexId, SnapshotId};
use strongroom_keys::derive::content_hash;
use strongroom_keys::seal::sign_footer;
use strongroom_tests::noise::noise;

use super::Way;
use super::estate::Estate;
use super::fixtures::{auditor, dump, reader, snapshot_of};
use super::thief::Thief;

/// An index object and a snapshot of his that say where the next dump of `b` lies already: in a pack of his.
pub fn a_poisoned_index_deceives_no_writer(way: Way) {
    let Some(estate) = Estate::new(way, "poison") else { return };
    let (restore, audit) = (reader(&estate), auditor(&estate));
    // Each is one chunk.
    let [decoy, next] = [1, 2].map(|seed| noise(8192, seed));
    let (honest, _) = estate.db1.backup("a", &decoy);
    let thief = estate.thief();
    let poisonous = poison(&thief, &next);
    let (snapshot, report) = estate.db2.backup("b", &next);
    assert_eq!(report["new_bytes"], 8192, "{report}");
    restore.assert_restores(&snapshot, &next);
    restore.assert_restores(&honest, &decoy);
    estate.admin.assert_restores(&snapshot, &next);
    let found = audit.findings(&[]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((&found[0].kind[..], &found[0].severity[..]), ("contradiction", "suspicious"));
    // He says the true thing too, which nobody has attested: still it is not relied on.
    let (_, report) = estate.db1.backup("a", &dump(5));
    assert!(report["new_bytes"].as_u64().unwrap() > 0);
    let (again, report) = estate.db2.backup("b", &dump(5));
    assert_eq!(report["new_bytes"], dump(5).len());
    restore.assert_restores(&again, &dump(5));
    // Once a verifier has opened the pack, what is true of it is known.
    let _checked = restore.run(["check", "--read-data", "--no-cache"]).assert_says(["attested"]);
    let revoke = ["key", "revoke-writer", "db1", "--forget", &poisonous];
    let _revoked = estate.admin.run(revoke).assert_code(0);
    audit.assert_clean();
    restore.assert_restores(&honest, &decoy);
    restore.assert_restores(&snapshot, &next);
}

/// Says that his pack holds `data`; gives the snapshot that says so.
fn poison(thief: &Thief, data: &[u8]) -> String {
    let loot = &thief.loot;
    let repository = thief.open();
    let state = repository.state();
    let tag = loot.identity.source_tag("a");
    let honest = state.indexes.values().find(|index| index.source_tag == tag).unwrap();
    let stored = thief.read(&format!("index/{tag}/{}", honest.id));
    let opened = loot.metadata.open(ObjectKind::Index, "", &stored).unwrap();
    let index = Index::decode(opened.body().unwrap().content).unwrap();
    let lie = |pack: &IndexedPack| {
        let mut footer = Footer::decode(&pack.footer).unwrap();
        assert_eq!((footer.chunks.len(), footer.chunks[0].length as usize), (1, data.len()));
        footer.chunks[0].id = loot.identity.chunk_id(data);
        let signed = footer.signed_part().unwrap();
        footer.signature = sign_footer(&loot.signer, ObjectKind::DataPack, &pack.header, &signed);
        IndexedPack { footer: footer.encode().unwrap(), ..pack.clone() }
    };
    let is_data = |pack: &&IndexedPack| pack.decoded_header().unwrap().kind == ObjectKind::DataPack;
    let packs: Vec<_> = index.packs.iter().filter(is_data).map(lie).collect();
    assert_eq!(packs.len(), 1);
    let content = Index { source_tag: tag, packs }.encode().unwrap();
    let bytes = thief.seal(ObjectKind::Index, "", &content, &loot.signer);
    let id = IndexId(content_hash(&bytes).0);
    thief.create(&format!("index/{tag}/{id}"), &bytes);
    let added = IndexRef { id, source_tag: tag, length: bytes.len() as u64 };
    let manifest = Manifest { nonce: [9; 16], ..state.snapshots[0].manifest.clone() };
    let _entry = thief.append(snapshot_of(&manifest, vec![added]), &loot.signer);
    let snapshot: SnapshotId = loot.identity.snapshot_id(&manifest.encode());
    snapshot.to_hex()
}
