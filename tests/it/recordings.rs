//! The recordings in `tests/data/recordings` are read completely.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kubeherald::recording;
use kubeherald::recording::{RecordingError, RecordingFile, changes};
use kubeherald::testkit::ApiServer;
use kubeherald::watch::{Change, Kind};

fn all() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "gz")).collect();
    files.sort();
    assert_eq!(files.len(), 15);
    files
}

#[test]
fn every_recording_decodes_and_is_framed_by_lists() {
    let mut kinds = BTreeSet::new();
    for path in all() {
        let mut listed = 0;
        let mut last = None;
        for timed in changes(RecordingFile::open(&path).unwrap()) {
            let (at, change) = timed.unwrap();
            assert!(last.is_none_or(|last| last <= at), "{}: time runs backwards", path.display());
            last = Some(at);
            match change {
                Change::Listing(_) => assert_eq!(listed, 0),
                Change::Listed(_) => listed += 1,
                Change::Initial(object) => {
                    assert_eq!(listed, 0);
                    kinds.insert(object.kind());
                }
                Change::Applied(object) | Change::Deleted(object) => {
                    assert_eq!(listed, Kind::ALL.len(), "{}", path.display());
                    kinds.insert(object.kind());
                }
                // Marks of time in the recording.
                Change::Contact(..) => {}
                other => panic!("{}: {other:?}", path.display()),
            }
        }
        assert_eq!(listed, Kind::ALL.len(), "{}", path.display());
    }
    let seen: Vec<_> = kinds.iter().map(|k| k.as_str()).collect();
    assert!(seen.contains(&"Pod") && seen.contains(&"Event") && seen.contains(&"CronJob"), "{seen:?}");
}

#[tokio::test]
async fn a_recording_played_into_the_server_leaves_what_it_ended_with() {
    let path = all().into_iter().find(|p| p.ends_with("crashloop.jsonl.gz")).unwrap();
    let server = ApiServer::start().await.unwrap();
    let mut known = std::collections::BTreeMap::new();
    for line in RecordingFile::open(&path).unwrap() {
        let line = line.unwrap();
        server.play(&line).unwrap();
        match recording::change(&line, true) {
            Some(Change::Applied(object)) => {
                let meta = object.metadata();
                known.insert((object.kind(), meta.namespace.clone(), meta.name.clone()), meta.uid.clone());
            }
            Some(Change::Deleted(object)) => {
                let meta = object.metadata();
                known.remove(&(object.kind(), meta.namespace.clone(), meta.name.clone()));
            }
            _ => {}
        }
    }
    let mut truth = std::collections::BTreeMap::new();
    for kind in Kind::ALL {
        for object in server.objects(kind.as_str()) {
            let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
            truth.insert((kind, text("namespace"), text("name")), text("uid"));
        }
    }
    assert!(known.len() > 5);
    assert_eq!(truth, known);
}

#[test]
fn a_missing_or_broken_file_is_named() {
    let error = RecordingFile::open(Path::new("no/such.jsonl")).err().unwrap();
    assert!(error.to_string().starts_with("no/such.jsonl: "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.jsonl.gz");
    let whole = std::fs::read(&all()[0]).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let errors: Vec<_> = RecordingFile::open(&path).unwrap().filter_map(Result::err).collect();
    assert!(matches!(errors.as_slice(), [RecordingError::Read { line, .. }] if *line > 1), "{errors:?}");
}
