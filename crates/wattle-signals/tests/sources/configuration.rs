//! Configurations: what is wrong in them is told with what was meant.

use wattle_core::signal::Quantity;
use wattle_signals::config::{SOURCES, SourceConfig, build};

use crate::cases::{config, folder, refused};

fn error_of(text: &str) -> String {
    toml::from_str::<SourceConfig>(text).unwrap_err().to_string()
}

#[test]
fn an_unknown_source_names_the_nearest() {
    let error = error_of("source = \"electricitymaps\"\nzone = \"DE\"");
    assert!(error.contains("did you mean \"electricity-maps\""), "{error}");
    for text in ["zone = \"DE\"", "source = 5"] {
        let error = error_of(text);
        assert!(SOURCES.iter().all(|source| error.contains(source)), "{error}");
    }
}

#[test]
fn an_unknown_key_is_an_error_of_every_source() {
    for source in SOURCES {
        let error = error_of(&format!("source = \"{source}\"\nfrobnicate = 1"));
        assert!(error.contains("frobnicate") && error.contains(source), "{error}");
    }
}

#[test]
fn an_unknown_unit_and_a_path_of_nothing_are_errors() {
    let error = error_of("source = \"constant\"\nvalue = 1\nunit = \"lb/kMWh\"");
    assert!(error.contains("lbs/MWh"), "{error}");
    let error = error_of("source = \"http-json\"\nurl = \"http://x\"\nvalue_path = \"a..b\"\nunit = \"W\"");
    assert!(error.contains("a..b"), "{error}");
}

#[test]
fn the_official_address_stands_where_there_is_one() {
    for (text, address) in [
        ("source = \"electricity-maps\"\nzone = \"DE\"", "https://api.electricitymaps.com/v3"),
        ("source = \"watttime\"\nregion = \"CAISO_NORTH\"\nusername = \"ada\"", "https://api.watttime.org"),
        ("source = \"uk-carbon-intensity\"", "https://api.carbonintensity.org.uk"),
    ] {
        let told = match config(text) {
            SourceConfig::ElectricityMaps(config) => config.base_url,
            SourceConfig::WattTime(config) => config.base_url,
            SourceConfig::UkCarbonIntensity(config) => config.base_url,
            other => panic!("{other:?}"),
        };
        assert_eq!(told, address);
    }
}

#[test]
fn sources_of_carbon_intensity_and_units_of_it_are_no_power() {
    for text in [
        "source = \"electricity-maps\"\nzone = \"DE\"\ntoken_file = \"token\"",
        "source = \"watttime\"\nregion = \"CAISO_NORTH\"\nusername = \"ada\"\npassword_file = \"token\"",
        "source = \"uk-carbon-intensity\"",
        "source = \"carbon-aware-sdk\"\nbase_url = \"http://localhost\"\nlocation = \"westus\"",
    ] {
        let error = refused(Quantity::Power, text).to_string();
        assert!(error.contains("a source of carbon intensity"), "{error}");
    }
    let constant = |unit: &str| format!("source = \"constant\"\nvalue = 1\nunit = \"{unit}\"");
    let error = refused(Quantity::Power, &constant("g/kWh")).to_string();
    assert!(error.contains("g/kWh") && error.contains("kW"), "{error}");
    let error = refused(Quantity::CarbonIntensity, &constant("kW")).to_string();
    assert!(error.contains("lbs/MWh"), "{error}");
}

#[test]
fn what_a_source_needs_is_asked_for() {
    for (text, field) in [
        ("source = \"electricity-maps\"\nzone = \"DE\"", "token_env"),
        ("source = \"electricity-maps\"\nzone = \" \"\ntoken_file = \"token\"", "zone"),
        (
            "source = \"electricity-maps\"\nzone = \"DE\"\ntoken_env = \"WATTLE_TEST_NO_SUCH_VARIABLE\"",
            "token_env",
        ),
        (
            "source = \"electricity-maps\"\nzone = \"DE\"\ntoken_file = \"token\"\nscope = \"unknown\"",
            "scope",
        ),
        ("source = \"watttime\"\nregion = \"CAISO_NORTH\"\nusername = \"ada\"", "password_env"),
        ("source = \"watttime\"\nregion = \"\"\nusername = \"ada\"\npassword_file = \"token\"", "region"),
        ("source = \"uk-carbon-intensity\"\nbase_url = \"https://host/?key=1\"", "base_url"),
        ("source = \"carbon-aware-sdk\"\nbase_url = \"localhost\"\nlocation = \"westus\"", "base_url"),
        ("source = \"carbon-aware-sdk\"\nbase_url = \"http://localhost\"\nlocation = \"\"", "location"),
        ("source = \"prometheus\"\nbase_url = \"http://localhost\"\nquery = \"\"\nunit = \"g/kWh\"", "query"),
        (
            "source = \"http-json\"\nurl = \"http://localhost\"\nvalue_path = \"a\"\nlist_path = \"b\"\nunit = \"g/kWh\"",
            "list_path",
        ),
    ] {
        let error = refused(Quantity::CarbonIntensity, text);
        assert_eq!(error.field, field, "{error}");
    }
}

#[test]
fn a_provider_asks_nobody_before_it_is_told_to() {
    let folder = folder();
    let text = "source = \"electricity-maps\"\nzone = \"DE\"\ntoken_file = \"token\"";
    let source = build(&config(text), Quantity::CarbonIntensity, folder.path()).unwrap();
    assert_eq!(source.head().zone.as_deref(), Some("DE"));
    assert_eq!(source.interval().as_secs(), 900);
}

#[test]
fn an_example_of_each_source_makes_a_provider() {
    let examples = [
        ("source = \"electricity-maps\"\nzone = \"DE\"\ntoken_file = \"token\"", Quantity::CarbonIntensity),
        (
            "source = \"watttime\"\nregion = \"CAISO_NORTH\"\nusername = \"ada\"\npassword_file = \"token\"",
            Quantity::CarbonIntensity,
        ),
        ("source = \"uk-carbon-intensity\"\nregion = 11", Quantity::CarbonIntensity),
        (
            "source = \"carbon-aware-sdk\"\nbase_url = \"http://localhost:8080\"\nlocation = \"westus\"\n\
             kind = \"marginal\"",
            Quantity::CarbonIntensity,
        ),
        (
            "source = \"prometheus\"\nbase_url = \"http://localhost:9090\"\nquery = \"sum(pv_power_kilowatts)\"\n\
             unit = \"kW\"",
            Quantity::Power,
        ),
        (
            "source = \"http-json\"\nurl = \"http://localhost/cap.json\"\nvalue_path = \"cap.watts\"\n\
             time_path = \"cap.at\"\nunit = \"W\"\nheaders = { \"X-Key\" = { file = \"token\" } }",
            Quantity::Power,
        ),
        (
            "source = \"csv\"\nfile = \"grid.csv\"\nvalue_column = \"g_per_kwh\"\nunit = \"g/kWh\"",
            Quantity::CarbonIntensity,
        ),
        (
            "source = \"constant\"\nvalue = 295\nunit = \"g/kWh\"\nzone = \"Europe\"\nkind = \"average\"",
            Quantity::CarbonIntensity,
        ),
    ];
    let folder = folder();
    std::fs::write(folder.path().join("grid.csv"), "time,g_per_kwh\n2026-11-21T21:00:00Z,212\n").unwrap();
    assert_eq!(examples.len(), SOURCES.len());
    for ((text, quantity), source) in examples.into_iter().zip(SOURCES) {
        assert!(text.contains(&format!("source = \"{source}\"")), "{text}");
        let provider = build(&config(text), quantity, folder.path()).unwrap();
        assert_eq!(provider.head().quantity, quantity);
    }
}
