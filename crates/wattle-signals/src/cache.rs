//! What is known of a signal, kept on disk: a server that starts without its sources goes on from there.
//!
//! One JSON file a signal, written whole or not at all, of a bounded size. One that can't be read is told
//! and left aside under another name; it never keeps a server from starting.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wattle_core::signal::series::{Known, Series};
use wattle_core::signal::{PointStatus, SignalHead};
use wattle_core::time::UnixTime;

/// The version of the file that is written and read.
const VERSION: u32 = 1;
/// Largest file that is read, in bytes: the most that is ever written is far smaller.
const LARGEST: u64 = 8 << 20;

/// The file of one signal.
#[derive(Debug, Clone)]
pub struct Cache {
    path: PathBuf,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Cached {
    /// What is known.
    pub series: Series,
    /// Before this the source is not to be asked again, as far as was known then.
    pub not_before: UnixTime,
}

/// A cache that could not be read or written. A server goes on without it.
#[derive(Debug, thiserror::Error)]
#[error("the signal cache {path}: found {found}; {done}")]
pub struct CacheError {
    /// Which file.
    pub path: String,
    /// What was found.
    pub found: String,
    /// What was done about it.
    pub done: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CacheFile {
    wattle_signal_cache: u32,
    head: SignalHead,
    step_seconds: u64,
    not_before: UnixTime,
    /// From when on, the value, how the source came by it, and when it told it.
    points: Vec<(UnixTime, f64, PointStatus, UnixTime)>,
}

impl Cache {
    /// The file of the signal `name` with this head in `folder`: another head is another file. Its name tells
    /// people which; a hash tells apart what reads alike.
    pub fn new(folder: &Path, name: &str, head: &SignalHead) -> Self {
        let mut file = slug(name, 40);
        for part in [Some(head.source.as_str()), head.zone.as_deref()].into_iter().flatten() {
            file = format!("{file}--{}", slug(part, 60));
        }
        let mut hash = DefaultHasher::new();
        head.hash(&mut hash);
        Self { path: folder.join(format!("{file}--{:08x}.json", hash.finish() as u32)) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what was kept of a signal with this head. `None`: nothing was.
    ///
    /// # Errors
    /// What is in the way, after it was put aside. Then there is nothing kept.
    pub fn read(&self, head: &Arc<SignalHead>) -> Result<Option<Cached>, CacheError> {
        let file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error(error.to_string(), "it is not used".into())),
        };
        let mut text = String::new();
        if let Err(error) = file.take(LARGEST + 1).read_to_string(&mut text) {
            return Err(self.put_aside(error.to_string()));
        }
        if text.len() as u64 > LARGEST {
            return Err(self.put_aside(format!("more than {LARGEST} bytes")));
        }
        let file: CacheFile =
            serde_json::from_str(&text).map_err(|error| self.put_aside(error.to_string()))?;
        if file.wattle_signal_cache != VERSION {
            return Err(self.put_aside(format!("version {}, not {VERSION}", file.wattle_signal_cache)));
        }
        if file.head != **head {
            return Err(self.put_aside(format!("a signal of {:?}, not of {head:?}", file.head)));
        }
        let points = file
            .points
            .into_iter()
            .map(|(at, value, status, told_at)| (at, Known { value, status, told_at }));
        let series = Series::of(Arc::clone(head), Duration::from_secs(file.step_seconds), points);
        Ok(Some(Cached { series, not_before: file.not_before }))
    }

    /// Keeps what is known: beside its place, then into it, so that a reader never sees half.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&self, series: &Series, not_before: UnixTime) -> Result<(), CacheError> {
        let file = CacheFile {
            wattle_signal_cache: VERSION,
            head: (**series.head()).clone(),
            step_seconds: series.step().as_secs(),
            not_before,
            points: series.points().map(|(at, of)| (at, of.value, of.status, of.told_at)).collect(),
        };
        self.write_file(&file).map_err(|error| self.error(error.to_string(), "nothing was kept".into()))
    }

    fn write_file(&self, file: &CacheFile) -> std::io::Result<()> {
        let text = serde_json::to_vec(file)?;
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let written = fs::File::create(&beside).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        let placed = written.and_then(|()| fs::rename(&beside, &self.path));
        if placed.is_err() {
            // Where nothing can be written there may be nothing to remove, either.
            let _ = fs::remove_file(&beside);
        }
        placed
    }

    fn put_aside(&self, found: String) -> CacheError {
        let aside = self.path.with_extension("json.unreadable");
        let done = match fs::rename(&self.path, &aside) {
            Ok(()) => format!("it was put aside as {} and a new one is begun", aside.display()),
            Err(error) => format!("it is not used, and could not be put aside: {error}"),
        };
        self.error(found, done)
    }

    fn error(&self, found: String, done: String) -> CacheError {
        CacheError { path: self.path.display().to_string(), found, done }
    }
}

/// `text` as a part of a file name, of `most` characters at most.
fn slug(text: &str, most: usize) -> String {
    let safe = |character: char| {
        if character.is_ascii_alphanumeric() || character == '_' {
            character.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let mut slug: String = text.chars().map(safe).collect();
    while slug.contains("--") {
        slug = slug.replace("--", "-");
    }
    slug.trim_matches('-').chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use wattle_core::signal::{Quantity, SignalPoint};

    use super::*;

    fn head(zone: &str) -> Arc<SignalHead> {
        let head = SignalHead::configured(Quantity::CarbonIntensity, "Electricity Maps v3");
        Arc::new(SignalHead { zone: Some(zone.into()), ..head })
    }

    fn series(zone: &str) -> Series {
        let mut series = Series::new(head(zone), Duration::from_secs(1800));
        let point = |at, value, status| SignalPoint { at: UnixTime::from_secs(at), value, status };
        let points = [
            point(1_700_000_000, 123.456, PointStatus::Actual),
            point(1_700_001_800, 0.1, PointStatus::Forecast),
        ];
        series.merge(&points, None, UnixTime::from_secs(1_700_000_100));
        series
    }

    #[test]
    fn what_was_kept_is_read_again_and_another_zone_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("deep/below");
        let cache = Cache::new(&folder, "carbon_intensity", &head("US-CAL-CISO"));
        let name = cache.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("carbon_intensity--electricity-maps-v3--us-cal-ciso--"), "{name}");
        let marginal = SignalHead {
            kind: wattle_core::signal::IntensityKind::Marginal,
            ..(*head("US-CAL-CISO")).clone()
        };
        assert_ne!(cache.path(), Cache::new(&folder, "carbon_intensity", &marginal).path());
        assert_eq!(cache.read(&head("US-CAL-CISO")).unwrap(), None);
        cache.write(&series("US-CAL-CISO"), UnixTime::from_secs(42)).unwrap();
        let kept = cache.read(&head("US-CAL-CISO")).unwrap().unwrap();
        assert_eq!(kept, Cached { series: series("US-CAL-CISO"), not_before: UnixTime::from_secs(42) });
        let other = Cache::new(&folder, "carbon_intensity", &head("../../etc"));
        assert_eq!(other.path().parent(), Some(folder.as_path()));
        assert_eq!(other.read(&head("../../etc")).unwrap(), None);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn a_file_that_makes_no_sense_is_told_and_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), "s", &head("A"));
        cache.write(&series("A"), UnixTime::from_secs(42)).unwrap();
        let good = fs::read_to_string(cache.path()).unwrap();
        let other_head = good.replace("\"kind\":\"unknown\"", "\"kind\":\"marginal\"");
        let half = &good[..good.len() / 2];
        let huge = " ".repeat(LARGEST as usize + 1);
        for (text, told) in [
            ("", "EOF while parsing"),
            (half, "EOF while parsing"),
            ("{\"a\":1}", "unknown field `a`"),
            (good.replace(":1,", ":2,").as_str(), "version 2, not 1"),
            (other_head.as_str(), "a signal of SignalHead"),
            (huge.as_str(), "more than 8388608 bytes"),
        ] {
            fs::write(cache.path(), text).unwrap();
            let error = cache.read(&head("A")).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("it was put aside as"), "{error}");
            assert!(!cache.path().exists());
            assert_eq!(cache.read(&head("A")).unwrap(), None, "a new one is begun");
        }
        fs::write(cache.path(), [0xff, 0xfe]).unwrap();
        assert!(cache.read(&head("A")).is_err());
        assert!(cache.read(&head("A")).unwrap().is_none());
    }

    #[test]
    fn a_folder_that_can_not_be_made_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = Cache::new(file.path(), "s", &head("A"));
        let error = cache.write(&series("A"), UnixTime::from_secs(0)).unwrap_err().to_string();
        assert!(error.contains("nothing was kept"), "{error}");
        assert!(cache.read(&head("A")).is_err(), "told here, too");
    }
}
