//! The sources: one file each.

pub mod carbon_aware_sdk;
pub mod constant;
pub mod csv_file;
pub mod electricity_maps;
pub mod http_json;
pub mod prometheus;
pub mod uk_carbon_intensity;
pub mod watttime;
