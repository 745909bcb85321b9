//! Whose the energy is: how clients name their class, and what splits a device's power.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde::Deserialize;
use wattle_core::id::ModelName;
use wattle_core::ledger::PowerSplit;
use wattle_core::profile::{Profile, idle_power_of};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::units::Watts;
use wattle_device::device::DeviceInfo;
use wattle_server::accounts::{AccountsConfig, DEFAULT_MAX_CLASSES};
use wattle_server::data_plane::CLASS_HEADER;

use crate::exit::ConfigError;

/// More classes than a table of metrics bears.
const MOST_CLASSES: usize = 65_536;

/// The flags.
#[derive(Args, Default)]
pub(crate) struct AccountsArgs {
    /// A header (gRPC: metadata) that names a request's class beside x-wattle-class, such as one that carries
    /// the tenant
    #[arg(long, value_name = "NAME")]
    class_header: Option<String>,
    /// Most classes of requests that are told apart; further ones are booked as `other` [default: 256]
    #[arg(long, value_name = "NUMBER")]
    max_classes: Option<usize>,
}

/// `[accounts]` of the configuration file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AccountsOptions {
    class_header: Option<String>,
    max_classes: Option<usize>,
    /// What the device draws with nothing to do.
    idle_watts: Option<f64>,
    /// What the parts of the device that all share draw as soon as somebody works.
    shared_idle_watts: Option<f64>,
    /// How far off the power source says it may be, as a share.
    power_error: Option<f64>,
}

/// How energy is split, by flags, file and what `profiles` tell of the `device` with `cores` cores.
///
/// # Errors
/// Names the key whose value can't be.
pub(crate) fn configure(
    args: AccountsArgs,
    file: AccountsOptions,
    profiles: &BTreeMap<ModelName, Profile>,
    (device, cores): (&DeviceInfo, u32),
) -> Result<AccountsConfig> {
    read(args, file, profiles, (device, cores)).context("accounts").context(ConfigError)
}

fn read(
    args: AccountsArgs,
    file: AccountsOptions,
    profiles: &BTreeMap<ModelName, Profile>,
    (device, cores): (&DeviceInfo, u32),
) -> Result<AccountsConfig> {
    let class_header = args.class_header.or(file.class_header).map(|name| {
        let header = name.parse().ok().filter(|_| !name.ends_with("-bin"));
        header.ok_or_else(|| {
            anyhow!("class_header is {name:?}, expected the name of a header of text, such as {CLASS_HEADER}")
        })
    });
    let max_classes = args.max_classes.or(file.max_classes).unwrap_or(DEFAULT_MAX_CLASSES);
    if max_classes > MOST_CLASSES {
        bail!("max_classes is {max_classes}, expected 0 to {MOST_CLASSES}");
    }
    for (key, watts) in [("idle_watts", file.idle_watts), ("shared_idle_watts", file.shared_idle_watts)] {
        if let Some(watts) = watts.filter(|watts| !(watts.is_finite() && *watts >= 0.0)) {
            bail!("{key} is {watts}, expected watts, 0 or more");
        }
    }
    if let Some(error) = file.power_error.filter(|error| !(0.0..=1.0).contains(error)) {
        bail!("power_error is {error}, expected a share in 0 to 1, such as 0.05 for ± 5 %");
    }
    let profiles = of_one_device(profiles, device);
    let split = PowerSplit {
        idle_power: idle_power(file.idle_watts, &profiles, device),
        ..PowerSplit::of_profiles(&profiles, file.shared_idle_watts.map(Watts::new), cores)
    };
    Ok(AccountsConfig {
        class_header: class_header.transpose()?,
        max_classes,
        split,
        power_error: file.power_error,
    })
}

/// The profiles that were taken on `device`, or else all where they were taken on the same one: watts of
/// different devices can't be held against each other.
fn of_one_device(
    profiles: &BTreeMap<ModelName, Profile>,
    device: &DeviceInfo,
) -> BTreeMap<ModelName, Profile> {
    let taken_on = |name: &str| -> BTreeMap<ModelName, Profile> {
        let of = profiles.iter().filter(|(_, profile)| profile.head.device == name);
        of.map(|(model, profile)| (model.clone(), profile.clone())).collect()
    };
    let own = taken_on(&device.description);
    let other = profiles.values().next().map(|profile| taken_on(&profile.head.device));
    other.filter(|other| own.is_empty() && other.len() == profiles.len()).unwrap_or(own)
}

/// What the device draws with nothing to do: as configured, as it says itself, or as the profiles that were
/// taken on it say. Counters say nothing of it. `None`: not known, or the device says so itself.
fn idle_power(
    configured: Option<f64>,
    profiles: &BTreeMap<ModelName, Profile>,
    device: &DeviceInfo,
) -> Option<(Watts, Provenance)> {
    if let Some(watts) = configured {
        return Some((Watts::new(watts), Provenance::new(Basis::Assumed, "as configured")));
    }
    if device.idle_power.is_some() {
        return None;
    }
    let own = profiles.values().filter(|profile| profile.head.device == device.description);
    let source = "the idle power in the profiles taken on this device";
    Some((idle_power_of(own)?, Provenance::new(Basis::Modelled, source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<AccountsConfig> {
        configure(AccountsArgs::default(), toml::from_str(toml)?, &BTreeMap::new(), (&device(None), 2))
    }

    fn device(idle_power: Option<(Watts, Provenance)>) -> DeviceInfo {
        DeviceInfo {
            id: "gpu".into(),
            description: "a GPU".into(),
            knobs: vec![],
            power_provenance: Provenance::new(Basis::Measured, "a counter"),
            idle_power,
            full_power: None,
        }
    }

    #[test]
    fn only_profiles_of_one_device_tell_of_power_and_of_idle_power_only_those_of_this_one() {
        let profile = |device: &str, watts: f64| {
            let text = format!(
                "# wattle_profile = 1\n# model = \"m\"\n# device = \"{device}\"\n# runtime = \"a test\"\n\
                 # idle_power_watts = {watts:?}\n# power_source = \"a test\"\n\
                 batch_size,instances,basis,power_basis,samples\n1,1,measured,measured,9\n"
            );
            Profile::parse(&text, "a test").unwrap()
        };
        let profiles: BTreeMap<ModelName, Profile> = [
            ("a".into(), profile("a GPU", 50.0)),
            ("b".into(), profile("a GPU", 48.0)),
            ("c".into(), profile("another", 5.0)),
        ]
        .into();
        let models =
            |of: &BTreeMap<ModelName, Profile>| of.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(models(&of_one_device(&profiles, &device(None))), ["a", "b"]);
        let mut elsewhere = DeviceInfo { description: "a third".into(), ..device(None) };
        assert!(of_one_device(&profiles, &elsewhere).is_empty(), "two devices, and neither is this one");
        elsewhere.description = "another".into();
        assert_eq!(models(&of_one_device(&profiles, &elsewhere)), ["c"]);
        let of_one: BTreeMap<_, _> = [("c".into(), profile("another", 5.0))].into();
        assert_eq!(models(&of_one_device(&of_one, &device(None))), ["c"]);
        let said = Some((Watts::new(30.0), Provenance::new(Basis::Assumed, "itself")));
        let watts =
            |configured, device| idle_power(configured, &profiles, &device).map(|(power, _)| power.get());
        assert_eq!(watts(Some(7.0), device(said.clone())), Some(7.0));
        assert_eq!(watts(None, device(said)), None, "the meter asks the device");
        assert_eq!(watts(None, device(None)), Some(48.0));
        assert_eq!(idle_power(None, &BTreeMap::new(), &device(None)), None);
    }

    #[test]
    fn what_is_not_said_is_unknown() {
        assert_eq!(read("").unwrap(), AccountsConfig::default());
    }

    #[test]
    fn all_of_it_can_be_said() {
        let toml =
            "class_header = \"X-Tenant\"\nmax_classes = 3\nshared_idle_watts = 4.5\npower_error = 0.05";
        let config = read(toml).unwrap();
        assert_eq!(config.class_header.unwrap(), "x-tenant");
        assert_eq!((config.max_classes, config.power_error), (3, Some(0.05)));
        assert_eq!(config.split.shared_idle_power, Some(Watts::new(4.5)));
    }

    #[test]
    fn what_cannot_be_is_named_with_what_was_expected() {
        for (toml, words) in [
            ("class_header = \"a b\"", "class_header is \"a b\", expected the name of a header"),
            ("class_header = \"tenant-bin\"", "class_header is \"tenant-bin\""),
            ("max_classes = 100000", "max_classes is 100000, expected 0 to 65536"),
            ("idle_watts = nan", "idle_watts is NaN, expected watts, 0 or more"),
            ("shared_idle_watts = -1.0", "shared_idle_watts is -1, expected watts, 0 or more"),
            ("power_error = nan", "power_error is NaN, expected a share"),
            ("power_eror = 0.1", "unknown field `power_eror`"),
        ] {
            let error = format!("{:#}", read(toml).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }
}
