//! Tests of the built-in networks and of wrong files.

use super::*;

#[test]
fn every_built_in_network_reads() {
    let all = parse(BUNDLED, "networks.toml").unwrap();
    assert!(all.len() >= 30);
    for network in all {
        assert!(network.source.len() > 10, "{}", network.name);
        let images = network.quality.as_ref().is_some_and(|quality| quality.metric.contains("top-1"));
        assert!(!images || network.quality.unwrap().value < 100.0);
    }
}

#[test]
fn the_networks_of_the_papers_are_there() {
    for name in [
        // BatchSizer, Table 1.
        "inception_v1",
        "inception_v2",
        "inception_v3",
        "mobilenet_v1",
        "mobilenet_v2",
        "nasnet_mobile",
        "pnasnet_mobile",
        "resnet_v2_50",
        "resnet_v2_101",
        "resnet_v2_152",
        // CoFRIS, as its text names them.
        "albert_base",
        "alexnet",
        "vgg19",
        "shufflenet_v2",
        "squeezenet1_0",
        "resnext101_32x8d",
        // The Utilization Fallacy.
        "sdxl",
        "gpt_j_6b",
        "whisper_large_v3",
        // Carbon-adaptive inference.
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "vgg16",
        // Renewable-powered inference, as its text names them.
        "mobilenet_v3_large",
        "nasnet_large",
    ] {
        assert!(bundled(name).is_ok(), "{name}");
    }
}

#[test]
fn counted_figures_agree_with_published_ones() {
    // torchvision's documentation: GFLOPS (multiply-accumulates) and parameters.
    for (name, giga, parameters) in [
        ("resnet50", 4.09, 25_557_032.0),
        ("resnet152", 11.51, 60_192_808.0),
        ("vgg19", 19.63, 143_667_240.0),
        ("alexnet", 0.71, 61_100_840.0),
        ("mobilenet_v3_large", 0.22, 5_483_032.0),
    ] {
        let network = bundled(name).unwrap();
        assert!((network.multiply_accumulates_per_row / 1e9 - giga).abs() < 0.006, "{name}");
        assert_eq!(network.parameters, parameters, "{name}");
    }
}

#[test]
fn wrong_files_are_told_where_what_and_what_to_do() {
    let error = bundled("mobilenetv1").unwrap_err().to_string();
    assert!(error.contains("did you mean \"mobilenet_v1\"?"), "{error}");
    let error = parse("[a]\ntitel = \"A\"", "n.toml").unwrap_err().to_string();
    assert!(error.contains("key \"a.titel\"") && error.contains("did you mean \"title\"?"), "{error}");
    let error = parse("a = 1", "n.toml").unwrap_err().to_string();
    assert!(error.contains("key \"a\": found 1, expected the table of a network"), "{error}");
    let error = parse("[a]\ntitle = \"A\"\nmultiply_accumulates_per_row = 0", "n.toml").unwrap_err();
    assert!(error.to_string().contains("a.multiply_accumulates_per_row\": found 0"), "{error}");
}
