//! What was measured so far, on disk at once: a run that is killed loses the point it was at, no more.
//!
//! JSON lines. The first tells what is measured and how, each further one a point and what came of it. A
//! last line that was cut off by the end of the process is left out, and overwritten.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wattle_core::operating_point::{OperatingPoint, ProfileRow};
use wattle_core::units::Watts;
use wattle_search::{Outcome, Probe};

/// The version of the format that this code reads and writes.
const VERSION: u32 = 1;

/// What is said of a point at which the process ended twice.
const ENDED_TWICE: &str = "the process was ended twice while this point was measured, perhaps for want of memory; \
                           --restart tries it again";

/// What is measured and how. Points of a journal whose subject is another are not this run's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(pub BTreeMap<String, String>);

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    wattle_profile_journal: u32,
    pub(super) subject: Subject,
    /// What the device drew with the model loaded and nothing to do.
    pub(super) idle_power_watts: Option<Watts>,
    /// What surrounded the device at the start.
    pub(super) ambient: String,
}

impl Head {
    pub(super) fn new(subject: Subject, idle_power_watts: Option<Watts>, ambient: String) -> Self {
        Self { wattle_profile_journal: VERSION, subject, idle_power_watts, ambient }
    }
}

/// A further line: a point that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) point: OperatingPoint,
    pub(super) outcome: EntryOutcome,
    /// How long it took.
    pub(super) seconds: f64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EntryOutcome {
    /// Figures, and how far to trust them.
    Measured {
        /// Its figures.
        row: Box<ProfileRow>,
        /// Whether its last windows agreed.
        is_steady: bool,
        /// Whether it was cut short for being above the cap.
        is_over_cap: bool,
        /// Rows in a batch as a share of the most there may be.
        fill: f64,
        /// Share of the device that others kept busy.
        others: Option<f64>,
    },
    /// Too little memory.
    OutOfMemory,
    /// Something else.
    Failed(String),
    /// It was begun, and no end of it was seen.
    Begun,
}

impl Entry {
    /// A point that is about to be measured. Where no end of it follows, the process ended while it was.
    pub(super) fn begun(point: &OperatingPoint) -> Self {
        Self { point: point.clone(), outcome: EntryOutcome::Begun, seconds: 0.0 }
    }

    /// As a search sees it; `None` of one that was only begun.
    pub(super) fn probe(&self) -> Option<Probe> {
        let outcome = match &self.outcome {
            EntryOutcome::Begun => return None,
            EntryOutcome::Measured { row, .. } => Outcome::Measured(row.clone()),
            EntryOutcome::OutOfMemory => Outcome::OutOfMemory,
            EntryOutcome::Failed(detail) => Outcome::Failed(detail.clone()),
        };
        Some(Probe { point: self.point.clone(), outcome })
    }
}

/// A journal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It can't be read or written.
    #[error("failed to {action} the journal {path}: {source}")]
    File {
        /// `read`, `write` or `lock`.
        action: &'static str,
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is none of a journal.
    #[error(
        "{path}, line {line}: {detail}; expected a journal of wattle profile; remove the file, or start anew with --restart"
    )]
    Content {
        /// Which file.
        path: String,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        detail: String,
    },
    /// Another process writes it.
    #[error(
        "{path} is the journal of another wattle profile that runs now: wait for it, or name another --output"
    )]
    InUse {
        /// Which file.
        path: String,
    },
    /// It is of another subject.
    #[error(
        "{path} holds {points} points of an interrupted run that differs from this one: {differences}; run it as it was \
         to go on, or start anew with --restart"
    )]
    Differs {
        /// Which file.
        path: String,
        /// Points in it.
        points: usize,
        /// Each key that differs, with both values.
        differences: String,
    },
}

/// A journal that is open for more.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// What stands in the journal at `path`; `None` where there is none, or nothing whole in it.
    ///
    /// # Errors
    /// Where it is of another subject, or no journal.
    pub(super) fn read(path: &Path, subject: &Subject) -> Result<Option<(Head, Vec<Entry>)>, JournalError> {
        let mut text = String::new();
        match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", path)(source)),
            Ok(mut file) => {
                lock(&file, path)?;
                file.read_to_string(&mut text).map_err(failed("read", path))?;
            }
        }
        let wrong = |line: usize, detail: String| JournalError::Content {
            path: path.display().to_string(),
            line,
            detail,
        };
        // What stands after the last line's end was being written as the process ended.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut lines = whole.lines().enumerate();
        let Some((_, first)) = lines.next() else { return Ok(None) };
        let head: Head = serde_json::from_str(first).map_err(|error| wrong(1, error.to_string()))?;
        if head.wattle_profile_journal != VERSION {
            let found = head.wattle_profile_journal;
            return Err(wrong(1, format!("it is of version {found}, expected {VERSION}")));
        }
        let mut entries: Vec<Entry> = Vec::new();
        for (index, line) in lines {
            entries.push(serde_json::from_str(line).map_err(|error| wrong(index + 1, error.to_string()))?);
        }
        let entries = without_ends_unseen(entries);
        if let Some(differences) = differences(&head.subject, subject) {
            let path = path.display().to_string();
            return Err(JournalError::Differs { path, points: entries.len(), differences });
        }
        Ok(Some((head, entries)))
    }

    /// Writes a journal of what there is, in place of any that is there.
    pub(super) fn create(path: &Path, head: &Head, entries: &[Entry]) -> Result<Self, JournalError> {
        let create = || {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            // Beside its place, then into it: what is there stays until the new one is whole.
            let beside = path.with_extension("partial-new");
            let mut file = File::create(&beside)?;
            let mut text = format!("{}\n", serde_json::to_string(head)?);
            for entry in entries {
                text.push_str(&format!("{}\n", serde_json::to_string(entry)?));
            }
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, path)?;
            OpenOptions::new().append(true).open(path)
        };
        let file = create().map_err(failed("write", path))?;
        lock(&file, path)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Adds a point, durably.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let mut append = || {
            let line = format!("{}\n", serde_json::to_string(entry)?);
            self.file.write_all(line.as_bytes())?;
            self.file.sync_data()
        };
        append().map_err(failed("write", &self.path))
    }
}

/// `entries` without what was begun and then ended. A point that was begun twice and never ended has failed:
/// where memory runs out the kernel ends the process, and would again at each new try.
fn without_ends_unseen(entries: Vec<Entry>) -> Vec<Entry> {
    let (begun, mut ended): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.outcome == EntryOutcome::Begun);
    let mut open: Vec<Entry> = Vec::new();
    for entry in begun.into_iter().filter(|entry| ended.iter().all(|other| other.point != entry.point)) {
        match open.iter_mut().find(|other| other.point == entry.point) {
            Some(twice) => twice.outcome = EntryOutcome::Failed(ENDED_TWICE.into()),
            None => open.push(entry),
        }
    }
    ended.append(&mut open);
    ended
}

/// Takes the journal for this process: until the file is closed, however that comes about.
fn lock(file: &File, path: &Path) -> Result<(), JournalError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { path: path.display().to_string() }),
        Err(TryLockError::Error(source)) => Err(failed("lock", path)(source)),
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> JournalError + 'a {
    move |source| JournalError::File { action, path: path.display().to_string(), source }
}

/// Each key in which two subjects differ; `None` where they are one.
fn differences(before: &Subject, now: &Subject) -> Option<String> {
    let keys: std::collections::BTreeSet<&String> = before.0.keys().chain(now.0.keys()).collect();
    let tell = |subject: &Subject, key: &String| {
        subject.0.get(key).map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"))
    };
    let different = keys.into_iter().filter(|key| before.0.get(*key) != now.0.get(*key));
    let each: Vec<String> =
        different.map(|key| format!("{key} was {}, is {}", tell(before, key), tell(now, key))).collect();
    (!each.is_empty()).then(|| each.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(seed: &str) -> Subject {
        Subject(BTreeMap::from([("model".into(), "m".into()), ("seed".into(), seed.into())]))
    }

    fn entry(batch: u32) -> Entry {
        let outcome = EntryOutcome::Failed(format!("batch {batch}\nfailed"));
        Entry { point: OperatingPoint::of_batch_and_instances(batch, 1), outcome, seconds: 0.5 }
    }

    #[test]
    fn a_line_cut_off_is_left_out_and_the_journal_goes_on_after_the_last_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.csv.partial");
        assert_eq!(Journal::read(&path, &subject("1")).unwrap(), None);
        let head = Head::new(subject("1"), Some(Watts::new(3.0)), "quiet".into());
        let mut journal = Journal::create(&path, &head, &[]).unwrap();
        journal.append(&entry(1)).unwrap();
        journal.append(&entry(2)).unwrap();
        drop(journal);
        let text = std::fs::read_to_string(&path).unwrap();
        for cut in 0..text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            let read = Journal::read(&path, &subject("1")).unwrap();
            let whole_lines = text[..cut].matches('\n').count();
            assert_eq!(read.as_ref().map(|(_, entries)| entries.len()), whole_lines.checked_sub(1));
            if let Some((head, mut entries)) = read {
                Journal::create(&path, &head, &entries).unwrap().append(&entry(3)).unwrap();
                entries.push(entry(3));
                assert_eq!(Journal::read(&path, &subject("1")).unwrap(), Some((head, entries)));
            }
        }
    }

    #[test]
    fn a_point_at_which_the_process_ended_twice_has_failed_and_is_not_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.partial");
        let head = Head::new(subject("1"), None, String::new());
        let mut journal = Journal::create(&path, &head, &[]).unwrap();
        let begun = |batch| Entry::begun(&OperatingPoint::of_batch_and_instances(batch, 1));
        for entry in [begun(1), entry(1), begun(2)] {
            journal.append(&entry).unwrap();
        }
        drop(journal);
        let (_, entries) = Journal::read(&path, &subject("1")).unwrap().unwrap();
        assert_eq!(entries, [entry(1), begun(2)]);
        assert_eq!(entries.iter().filter_map(Entry::probe).count(), 1);
        let mut journal = Journal::create(&path, &head, &entries).unwrap();
        journal.append(&begun(2)).unwrap();
        drop(journal);
        let (_, entries) = Journal::read(&path, &subject("1")).unwrap().unwrap();
        assert_eq!(entries.len(), 2);
        let outcome = entries[1].probe().unwrap().outcome;
        assert!(matches!(outcome, Outcome::Failed(why) if why.contains("ended twice")));

        let mut journal = Journal::create(&path, &head, &[begun(3)]).unwrap();
        for entry in [begun(3), entry(3)] {
            journal.append(&entry).unwrap();
        }
        drop(journal);
        let (_, entries) = Journal::read(&path, &subject("1")).unwrap().unwrap();
        assert_eq!(entries, [entry(3)], "the second try came to an end");
    }

    #[test]
    fn a_journal_that_another_run_writes_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.partial");
        let head = Head::new(subject("1"), None, String::new());
        let journal = Journal::create(&path, &head, &[entry(1)]).unwrap();
        let error = Journal::read(&path, &subject("1")).unwrap_err().to_string();
        assert!(error.contains("another wattle profile that runs now"), "{error}");
        drop(journal);
        assert_eq!(Journal::read(&path, &subject("1")).unwrap(), Some((head, vec![entry(1)])));
    }

    #[test]
    fn a_journal_of_another_run_is_refused_with_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.partial");
        Journal::create(&path, &Head::new(subject("1"), None, String::new()), &[entry(1)]).unwrap();
        let error = Journal::read(&path, &subject("2")).unwrap_err().to_string();
        assert!(error.contains("1 points") && error.contains("seed was \"1\", is \"2\""), "{error}");
        assert!(!error.contains("model was"), "{error}");
        std::fs::write(&path, "batch_size\n1\n").unwrap();
        let error = Journal::read(&path, &subject("2")).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("--restart"), "{error}");
    }
}
