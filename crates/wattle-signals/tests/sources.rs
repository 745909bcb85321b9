//! Every source against a server of this machine that replays what the real one answers, and worse.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "sources/anything.rs"]
mod anything;
#[path = "sources/carbon_aware_sdk.rs"]
mod carbon_aware_sdk;
#[path = "sources/cases.rs"]
mod cases;
#[path = "sources/configuration.rs"]
mod configuration;
#[path = "sources/electricity_maps.rs"]
mod electricity_maps;
#[path = "sources/files.rs"]
mod files;
#[path = "sources/http_json.rs"]
mod http_json;
#[path = "sources/prometheus.rs"]
mod prometheus;
#[path = "sources/secrets.rs"]
mod secrets;
#[path = "sources/server.rs"]
mod server;
#[path = "sources/troubles.rs"]
mod troubles;
#[path = "sources/uk_carbon_intensity.rs"]
mod uk_carbon_intensity;
#[path = "sources/watttime.rs"]
mod watttime;
