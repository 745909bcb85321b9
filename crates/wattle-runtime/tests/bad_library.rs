//! A library that can't be loaded; a process of its own, for a process keeps what it has loaded.

use wattle_runtime::choice::{Offer, RuntimeChoice, choose};
use wattle_runtime::onnxruntime::library::{Discovery, Library};

#[test]
fn broken_library_is_an_error_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libonnxruntime.so.1.27.0");
    std::fs::write(&path, "no machine code").unwrap();
    let library = Library { path, version: None, how_found: "--ort-lib".to_owned() };
    let discovery = Discovery { chosen: Some(library.clone()), considered: Vec::new() };
    let mut offer = Offer { discovery, ..Offer::default() };
    for choice in [RuntimeChoice::OnnxRuntime, RuntimeChoice::Auto] {
        let says = choose(choice, &offer).err().unwrap().to_string();
        assert!(says.contains("onnxruntime is not available: failed to load from"), "{says}");
        assert!(says.contains("wattle runtimes install"), "{says}");
    }

    // Nobody asked for this one, so rten serves, and says why.
    offer.discovery.chosen =
        Some(Library { how_found: "library folder of the system".to_owned(), ..library });
    let (runtime, why) = choose(RuntimeChoice::Auto, &offer).unwrap();
    assert_eq!(runtime.name(), "rten");
    assert!(why.contains("failed to load from"), "{why}");
}
