//! What is known of real devices: each figure with how it is known and from where.
//!
//! The files stand in `devices/` of the repository and are built in ([`BUNDLED`]). A figure that is
//! not there is unknown, never zero.
//!
//! ```toml
//! name = "amd-mi50"
//! title = "AMD Radeon Instinct MI50 16 GB"
//! kind = "gpu"
//! idle_power_watts = { value = 15, basis = "measured", source = "CoFRIS, section II-B" }
//! ```

mod curve;
mod embodied;
pub(crate) mod reader;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::provenance::Basis;
use crate::units::{Megahertz, Watts};
use reader::{Reader, clocks, count, curve, parse_toml, positive, unknown_name};

pub use curve::Curve;
pub use embodied::{EmbodiedSpec, Published, PublishedBoundary};
pub use reader::SpecError;

/// The names and texts of the devices that are built in.
pub const BUNDLED: &[(&str, &str)] = &[
    ("amd-mi50", include_str!("../../../devices/amd-mi50.toml")),
    ("nvidia-a100-40gb", include_str!("../../../devices/nvidia-a100-40gb.toml")),
    ("nvidia-a100-80gb", include_str!("../../../devices/nvidia-a100-80gb.toml")),
    ("nvidia-h100", include_str!("../../../devices/nvidia-h100.toml")),
    ("nvidia-p40", include_str!("../../../devices/nvidia-p40.toml")),
    ("nvidia-rtx-3090", include_str!("../../../devices/nvidia-rtx-3090.toml")),
    ("nvidia-v100", include_str!("../../../devices/nvidia-v100.toml")),
    ("x86-server-small", include_str!("../../../devices/x86-server-small.toml")),
];

/// Every key of a device file.
const KEYS: [&str; 25] = [
    "name",
    "title",
    "kind",
    "compute_units",
    "shader_engines",
    "memory_bytes",
    "memory_bandwidth_bytes_per_second",
    "memory_energy_picojoules_per_bit",
    "host_link_bytes_per_second",
    "peak_flops_fp32",
    "peak_flops_tf32",
    "peak_flops_fp16",
    "boost_clock_mhz",
    "core_clocks_mhz",
    "idle_power_watts",
    "loaded_idle_power_watts",
    "max_power_watts",
    "static_power_watts",
    "active_idle_power_watts",
    "core_voltage_millivolts",
    "context_memory_bytes",
    "embodied",
    "embodied_kilograms_co2e",
    "lifetime_years",
    "mig_slices",
];

/// A figure, how it is known and from where.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure<T> {
    /// The figure, in the unit that the name of its field tells.
    pub value: T,
    /// Measured by somebody, modelled, or assumed (a datasheet, a table, a round figure).
    pub basis: Basis,
    /// Whose measurement, which model, which table.
    pub source: String,
}

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A processor with its own memory behind a link.
    Gpu,
    /// The host's own processor.
    Cpu,
}

/// What is known of one device. `None` is unknown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceSpec {
    /// Short name, such as `nvidia-p40`.
    pub name: String,
    /// Full name.
    pub title: String,
    /// GPU or CPU.
    pub kind: DeviceKind,
    /// Compute units: multiprocessors, CUs or cores.
    pub compute_units: Option<Figure<u32>>,
    /// Groups of compute units that are gated together, each with as many units as the others.
    pub shader_engines: Option<Figure<u32>>,
    /// Memory.
    pub memory_bytes: Option<Figure<u64>>,
    /// Peak bandwidth of the memory.
    pub memory_bandwidth_bytes_per_second: Option<Figure<f64>>,
    /// Energy of moving one bit between chip and memory.
    pub memory_energy_picojoules_per_bit: Option<Figure<f64>>,
    /// Peak bandwidth between host and device. `None` for a CPU, which needs none.
    pub host_link_bytes_per_second: Option<Figure<f64>>,
    /// Peak rate with 32-bit values at the boost clock, a multiply-accumulate counting twice.
    pub peak_flops_fp32: Option<Figure<f64>>,
    /// Peak rate at the boost clock of 32-bit values that are multiplied with 10 bits of fraction, as
    /// frameworks do by default in convolutions where the device can. `None` where it can't.
    pub peak_flops_tf32: Option<Figure<f64>>,
    /// Peak rate with 16-bit values at the boost clock, a multiply-accumulate counting twice.
    pub peak_flops_fp16: Option<Figure<f64>>,
    /// The core clock that the peak rates belong to.
    pub boost_clock_mhz: Option<Figure<Megahertz>>,
    /// Core clocks that can be set, ascending; all of them or a choice, as the source tells.
    pub core_clocks_mhz: Option<Figure<Vec<Megahertz>>>,
    /// Power with nothing loaded.
    pub idle_power_watts: Option<Figure<Watts>>,
    /// Power with a model loaded and nothing to do.
    pub loaded_idle_power_watts: Option<Figure<Watts>>,
    /// The board's power limit.
    pub max_power_watts: Option<Figure<Watts>>,
    /// Watts drawn whatever runs, by core clock.
    pub static_power_watts: Option<Figure<Curve>>,
    /// Watts while empty kernels run without pause, by core clock (CoFRIS, section II-B).
    pub active_idle_power_watts: Option<Figure<Curve>>,
    /// Core voltage by core clock.
    pub core_voltage_millivolts: Option<Figure<Curve>>,
    /// Memory that each process takes before it loads a model.
    pub context_memory_bytes: Option<Figure<u64>>,
    /// How the device was made, for ACT, and what was published of its board.
    pub embodied: Option<EmbodiedSpec>,
    /// Emissions of making the device, in kilograms of CO2 equivalent.
    pub embodied_kilograms_co2e: Option<Figure<f64>>,
    /// Years that the device is used for.
    pub lifetime_years: Option<Figure<f64>>,
    /// Slices that the device can be cut into.
    pub mig_slices: Option<Figure<u32>>,
}

impl DeviceSpec {
    /// Reads a device from the TOML `text`; `file_name` is for errors only.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, SpecError> {
        let table = parse_toml(text, file_name)?;
        let file = Reader::new(file_name, "", &table, &KEYS)?;
        let number = |key| file.figure(key, "a number over 0", positive);
        let whole = |key| file.figure(key, "a whole number over 0", count::<u32>);
        let bytes = |key| file.figure(key, "a whole number of bytes over 0", count::<u64>);
        let watts = |key| file.figure(key, "watts over 0", |value| positive(value).map(Watts::new));
        let by_clock = |key| file.figure(key, "a list of [MHz, value], clocks ascending, all over 0", curve);
        let spec = Self {
            name: file.text("name")?,
            title: file.text("title")?,
            kind: file.required("kind", "\"gpu\" or \"cpu\"", |value| match value.as_str()? {
                "gpu" => Some(DeviceKind::Gpu),
                "cpu" => Some(DeviceKind::Cpu),
                _ => None,
            })?,
            compute_units: whole("compute_units")?,
            shader_engines: whole("shader_engines")?,
            memory_bytes: bytes("memory_bytes")?,
            memory_bandwidth_bytes_per_second: number("memory_bandwidth_bytes_per_second")?,
            memory_energy_picojoules_per_bit: number("memory_energy_picojoules_per_bit")?,
            host_link_bytes_per_second: number("host_link_bytes_per_second")?,
            peak_flops_fp32: number("peak_flops_fp32")?,
            peak_flops_tf32: number("peak_flops_tf32")?,
            peak_flops_fp16: number("peak_flops_fp16")?,
            boost_clock_mhz: file
                .figure("boost_clock_mhz", "MHz over 0", |value| positive(value).map(Megahertz::new))?,
            core_clocks_mhz: file.figure("core_clocks_mhz", "a list of MHz over 0, ascending", clocks)?,
            idle_power_watts: watts("idle_power_watts")?,
            loaded_idle_power_watts: watts("loaded_idle_power_watts")?,
            max_power_watts: watts("max_power_watts")?,
            static_power_watts: by_clock("static_power_watts")?,
            active_idle_power_watts: by_clock("active_idle_power_watts")?,
            core_voltage_millivolts: by_clock("core_voltage_millivolts")?,
            context_memory_bytes: bytes("context_memory_bytes")?,
            embodied: EmbodiedSpec::read(&file)?,
            embodied_kilograms_co2e: number("embodied_kilograms_co2e")?,
            lifetime_years: number("lifetime_years")?,
            mig_slices: whole("mig_slices")?,
        };
        spec.check_engines(&file)?;
        Ok(spec)
    }

    /// Compute units of each shader engine; `None` unless both counts are known.
    pub fn units_per_engine(&self) -> Option<u32> {
        let (units, engines) = (self.compute_units.as_ref()?, self.shader_engines.as_ref()?);
        units.value.checked_div(engines.value)
    }

    /// Shader engines must divide the compute units evenly, or no rule about them holds.
    fn check_engines(&self, file: &Reader<'_>) -> Result<(), SpecError> {
        let Some(engines) = &self.shader_engines else { return Ok(()) };
        let found = engines.value.to_string();
        match &self.compute_units {
            None => Err(file.error("compute_units", "nothing", "their number", "add compute_units")),
            Some(units) if units.value % engines.value != 0 => {
                let expected = format!("a divisor of the {} compute units", units.value);
                Err(file.error("shader_engines", &found, &expected, "correct one of the two"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// The built-in device of that name, or an error that names the nearest.
pub fn bundled(name: &str) -> Result<DeviceSpec, SpecError> {
    match BUNDLED.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => DeviceSpec::parse(text, name),
        None => {
            let names: Vec<&str> = BUNDLED.iter().map(|(known, _)| *known).collect();
            Err(unknown_name("device", name, &names))
        }
    }
}
