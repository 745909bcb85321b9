//! Compute units at start, against a library that plays ROCr: the program starts itself anew, as it does
//! on a machine with the GPU.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop")]

mod mock_amdsmi;

use std::path::Path;
use std::process::Command;

use wattle_device::amd::cu_mask;

/// What the tests below start: sets compute units in its own process and prints what came of it.
#[test]
#[ignore = "started by the tests below, in a process of its own"]
fn child() {
    let told = |name: &str| std::env::var(name).unwrap();
    let units = told("UNITS").parse().unwrap();
    let gpu = told("GPU");
    let gpu = (!gpu.is_empty()).then_some(gpu.as_str());
    match cu_mask::start(Some(Path::new(&told("LIBRARY"))), gpu, units) {
        Ok(mask) => println!("RESULT {} units: {mask}", mask.units()),
        Err(error) => println!("RESULT failed: {error}"),
    }
}

/// What came of asking for `units` on GPU 1, where the runtime `plays` this, with these variables set.
fn result(plays: &str, units: u32, gpu: &str, variables: &[(&str, &str)]) -> String {
    let (_folder, library) = mock_amdsmi::copy_of("hsa");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env_remove("HSA_CU_MASK")
        .env_remove("ROC_GLOBAL_CU_MASK")
        .env("WATTLE_MOCK_HSA", plays)
        .env("LIBRARY", library)
        .env("UNITS", units.to_string())
        .env("GPU", gpu)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| Some(line.split_once("RESULT ")?.1.to_owned()));
    line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

const GPU: &str = "0000:C2:00.0";

#[test]
fn the_program_starts_anew_with_the_mask_and_its_queues_use_those_units() {
    assert_eq!(result("mi50", 15, GPU, &[]), "15 units: 0,4,8,12,16,20,24,28,32,36,40,44,48,52,56");
    assert_eq!(result("mi50", 60, GPU, &[]), "60 units: 0-59");
    assert_eq!(result("mi300x", 16, GPU, &[]), "16 units: 0-7,32-39");
}

#[test]
fn a_mask_that_the_runtime_rounds_without_a_word_is_an_error_that_names_both() {
    let told = result("mi50,rounds", 3, GPU, &[]);
    let expected = "HSA_CU_MASK was set to 1:0,4,8 but queues use 1:0-15";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_mask_that_the_user_set_is_not_written_over() {
    for variable in ["HSA_CU_MASK", "ROC_GLOBAL_CU_MASK"] {
        let told = result("mi50", 3, GPU, &[(variable, "0xf")]);
        assert!(told.contains(&format!("{variable} is set to \"0xf\" already; unset it")), "{told}");
    }
}

#[test]
fn a_number_of_units_that_the_gpu_can_not_be_given_is_refused_before_anything_starts() {
    let told = result("mi50", 61, GPU, &[]);
    assert_eq!(told, "failed: compute units: found 61, expected 1 to 60");
    let told = result("mi300x", 12, GPU, &[]);
    assert!(told.contains("expected a multiple of 8, 8 to 304"), "{told}");
}

#[test]
fn a_gpu_or_runtime_that_is_not_there_is_told() {
    let told = result("mi50", 3, "0000:01:00.0", &[]);
    let expected = r#"ROCr shows no GPU at 0000:01:00.0; it shows ["0000:c1:00.0", "0000:c2:00.0"]"#;
    assert!(told.contains(expected), "{told}");
    let told = result("mi50", 3, "", &[]);
    assert!(told.contains(r#"expected the name of one GPU, as ROCr shows these: ["0000:c1:00.0""#), "{told}");
    let told = result("broken", 3, GPU, &[]);
    assert!(told.contains("hsa_init said: HSA_STATUS_ERROR_OUT_OF_RESOURCES"), "{told}");
    let error = cu_mask::start(Some(Path::new("/nowhere/libhsa.so")), None, 3).unwrap_err().to_string();
    assert!(error.contains("which can't be loaded: ") && error.contains("/nowhere/libhsa.so"), "{error}");
}
