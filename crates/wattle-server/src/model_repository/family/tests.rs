//! What a family claims: it is read with errors that say what to do, and one of its variants answers.

use std::fs;
use std::sync::Arc;

use tempfile::TempDir;
use wattle_device::cpu::CoreBudget;
use wattle_runtime::runtime::{Instance, LoadedModel, ModelSource, Runtime, RuntimeError};
use wattle_runtime::tensor::{BatchInput, Datatype, Tensor};

use super::*;
use crate::clock::Clock;
use crate::control_loop::Waker;
use crate::executor::Surroundings;
use crate::meter::EnergyRate;
use crate::model_repository::ModelRepository;

/// Loads any model: `image` in, as many scores out as the folder's name ends in.
struct Scores;

struct Loaded(Vec<TensorSpec>, Vec<TensorSpec>);

impl Runtime for Scores {
    fn name(&self) -> &'static str {
        "scores"
    }

    fn describe(&self) -> String {
        "scores".into()
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn LoadedModel>, RuntimeError> {
        let spec =
            |name: &str, shape: Vec<i64>| TensorSpec { name: name.into(), datatype: Datatype::Fp32, shape };
        let scores = source.name.as_str().rsplit('-').next().and_then(|end| end.parse().ok()).unwrap_or(10);
        Ok(Arc::new(Loaded(vec![spec("image", vec![-1, 64])], vec![spec("scores", vec![-1, scores])])))
    }
}

impl LoadedModel for Loaded {
    fn inputs(&self) -> &[TensorSpec] {
        &self.0
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.1
    }

    fn instance(&self) -> Result<Box<dyn Instance>, RuntimeError> {
        Ok(Box::new(Nothing))
    }
}

struct Nothing;

impl Instance for Nothing {
    fn infer(&mut self, _: Vec<BatchInput>, _: u32) -> Result<Vec<Tensor>, RuntimeError> {
        Ok(Vec::new())
    }
}

/// A repository of `models`, and of a family `family` with this file.
fn folder(models: &[&str], family: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for model in models {
        fs::create_dir_all(folder.path().join(model).join("1")).unwrap();
        fs::write(folder.path().join(model).join("1/model.onnx"), "").unwrap();
    }
    fs::create_dir_all(folder.path().join("family")).unwrap();
    fs::write(folder.path().join("family/family.toml"), family).unwrap();
    folder
}

fn open(folder: &TempDir) -> Arc<ModelRepository> {
    let around = Surroundings {
        clock: Clock::start(),
        budget: CoreBudget::new(1),
        energy_rate: Arc::new(EnergyRate::unknown()),
        waker: Arc::new(Waker::default()),
    };
    Arc::new(ModelRepository::open(folder.path(), Arc::new(Scores), around).unwrap())
}

const TWO: &str = "active = \"b\"\n[[variants]]\nmodel = \"a\"\nquality = 0.9\n[[variants]]\nmodel = \"b\"\nquality = 1.0\n";

fn answering(repository: &ModelRepository) -> Option<String> {
    repository.find("family", "").ok().map(|model| model.name.to_string())
}

#[test]
fn the_chosen_variant_answers_and_the_first_that_is_loaded_where_it_is_not() {
    let folder = folder(&["a", "b"], TWO);
    let repository = open(&folder);
    assert_eq!(answering(&repository), None, "nothing is loaded yet");
    repository.load("a", None).unwrap();
    assert_eq!(answering(&repository).unwrap(), "a");
    repository.load("b", None).unwrap();
    assert_eq!(answering(&repository).unwrap(), "b", "the active one of the file");
    repository.choose_variant(&"family".into(), &"a".into()).unwrap();
    assert_eq!(answering(&repository).unwrap(), "a");
    repository.unload("a").unwrap();
    assert_eq!(answering(&repository).unwrap(), "b");
    assert_eq!(repository.families()["family"].switches(), 1);
    let error = repository.choose_variant(&"family".into(), &"c".into()).unwrap_err();
    assert_eq!(error, "family family has no variant c; it has a, b");
}

#[test]
fn a_variant_that_is_not_loaded_is_not_chosen_and_only_switches_count() {
    let folder = folder(&["a", "b"], TWO);
    let repository = open(&folder);
    repository.load("a", None).unwrap();
    let choose = |model: &str| repository.choose_variant(&"family".into(), &model.into());
    let switches = || repository.families()["family"].switches();
    let error = choose("b").unwrap_err();
    assert_eq!(error, "family family can't switch to b, which is not loaded; a answers");
    choose("a").unwrap();
    assert_eq!((answering(&repository).unwrap().as_str(), switches()), ("a", 0), "a answered before");
    repository.load("b", None).unwrap();
    assert_eq!(answering(&repository).unwrap(), "a", "a was chosen in place of b");
    choose("b").unwrap();
    assert_eq!((answering(&repository).unwrap().as_str(), switches()), ("b", 1));
}

#[test]
fn a_version_is_refused_of_a_family_whether_its_variants_have_it_or_not() {
    let folder = folder(&["a", "b"], TWO);
    let repository = open(&folder);
    repository.load_all().unwrap();
    for version in ["1", "2"] {
        let error = repository.find("family", version).err().unwrap().to_string();
        let expected = format!(
            "'family' is a family and has no versions, found version {version}; leave it out, or ask one of \
             its variants: a, b"
        );
        assert_eq!(error, expected);
    }
    assert_eq!(repository.find("b", "1").unwrap().version, 1);
}

#[test]
fn the_index_lists_families_and_they_are_not_loaded_themselves() {
    let folder = folder(&["a", "b"], TWO);
    let repository = open(&folder);
    let line = |repository: &ModelRepository| {
        let lines = repository.index().unwrap();
        assert_eq!(lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>(), ["a", "b", "family"]);
        (lines[2].state, lines[2].version.clone(), lines[2].reason.clone())
    };
    assert_eq!(line(&repository), ("UNAVAILABLE", String::new(), "family: none of a, b is loaded".into()));
    assert!(repository.load_all().unwrap().is_empty());
    assert_eq!(line(&repository), ("READY", String::new(), "family: b answers".into()));
    for refused in [repository.load("family", None), repository.unload("family")] {
        let error = refused.unwrap_err().to_string();
        assert_eq!(error, "'family' is a family, expected one of its variants: a, b");
    }
}

#[test]
fn a_variant_that_clients_could_tell_from_the_others_is_not_loaded() {
    let family =
        "[[variants]]\nmodel = \"m-10\"\nquality = 0.9\n[[variants]]\nmodel = \"m-5\"\nquality = 1\n";
    let folder = folder(&["m-10", "m-5"], family);
    let repository = open(&folder);
    repository.load("m-10", None).unwrap();
    let error = repository.load("m-5", None).unwrap_err().to_string();
    assert_eq!(
        error,
        "failed to load 'm-5', variants of family family must agree, but output 0 is 'scores' FP32 [-1, 5] in \
         m-5, but 'scores' FP32 [-1, 10] in m-10"
    );
}

#[test]
fn variants_take_batches_of_the_same_size() {
    let folder = folder(&["a", "b"], TWO);
    fs::write(folder.path().join("b/model.toml"), "[batching]\nmax_batch_size = 4\n").unwrap();
    let repository = open(&folder);
    repository.load("a", None).unwrap();
    let error = repository.load("b", None).unwrap_err().to_string();
    assert!(error.ends_with("max_batch_size is 4 in b, but 32 in a; set it in their model.toml"), "{error}");
}

#[track_caller]
fn check_error(family: &str, expected: &str) {
    let folder = folder(&["digits-s", "digits-m"], family);
    let error = read_families(folder.path()).unwrap_err().to_string();
    assert!(error.contains("family.toml: ") && error.contains(expected), "{error:?} without {expected:?}");
}

#[test]
fn a_family_that_is_not_as_it_should_be_is_told_with_its_file() {
    check_error("variants = []", "variants is empty, expected at least one [[variants]]");
    let variant = "[[variants]]\nmodel = \"digits-s\"\nquality = 0.9\n";
    check_error(&variant.repeat(2), "variant digits-s is there twice");
    check_error(
        "[[variants]]\nmodel = \"digit-m\"\nquality = 0.9\n",
        "variant digit-m is not a model of the repository, did you mean \"digits-m\"?",
    );
    check_error(
        &variant.replace("0.9", "97"),
        "quality of variant digits-s is 97, expected a number in 0 to 1",
    );
    check_error(
        &format!("{variant}energy_joules_per_row = -1\n"),
        "energy_joules_per_row of variant digits-s is -1, expected a number over 0",
    );
    check_error(
        &format!("active = \"digits-m\"\n{variant}"),
        "active is digits-m, expected one of the variants: digits-s",
    );
    check_error(&format!("{variant}qality = 1\n"), "unknown field `qality`");
}

#[test]
fn a_folder_is_a_family_or_a_model() {
    let folder = folder(&["digits-s", "family"], "[[variants]]\nmodel = \"digits-s\"\nquality = 0.9\n");
    let error = read_families(folder.path()).unwrap_err().to_string();
    assert!(error.contains("there is a model in the same folder"), "{error}");
}
