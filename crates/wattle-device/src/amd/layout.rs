//! The structures of AMD SMI that Wattle reads, as each ABI of the library lays them out.
//!
//! After the public header `amdsmi.h` of ABI 24 (ROCm 6.3), 25 (6.4) and 26 (7), whose sizes zeusd
//! checks too. Of structures that differ between releases only the first members are described.

use std::mem::{offset_of, size_of};

/// `amdsmi_power_info_t` of ABI 24. Watts and millivolts.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PowerInfo24 {
    pub(super) current_socket_power: u32,
    pub(super) average_socket_power: u32,
    _gfx_voltage: u32,
    _soc_voltage: u32,
    _mem_voltage: u32,
    _power_limit: u32,
    _reserved: [u32; 11],
}

/// `amdsmi_power_info_t` of ABI 25.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PowerInfo25 {
    _socket_power: u64,
    pub(super) current_socket_power: u32,
    pub(super) average_socket_power: u32,
    _gfx_voltage: u32,
    _soc_voltage: u32,
    _mem_voltage: u32,
    _power_limit: u32,
    _reserved: [u32; 2],
}

/// `amdsmi_power_info_t` of ABI 26.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PowerInfo26 {
    _socket_power: u64,
    pub(super) current_socket_power: u32,
    pub(super) average_socket_power: u32,
    _gfx_voltage: u64,
    _soc_voltage: u64,
    _mem_voltage: u64,
    _power_limit: u32,
    _reserved: [u64; 18],
}

/// `amdsmi_power_cap_info_t`, the same in every ABI. Microwatts.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PowerCapInfo {
    pub(super) power_cap: u64,
    pub(super) default_power_cap: u64,
    _dpm_cap: u64,
    pub(super) min_power_cap: u64,
    pub(super) max_power_cap: u64,
    _reserved: [u64; 3],
}

/// `amdsmi_clk_info_t`, the same in every ABI from 24.7. Megahertz.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClockInfo {
    pub(super) clk: u32,
    pub(super) min_clk: u32,
    pub(super) max_clk: u32,
    _clk_locked: u8,
    _clk_deep_sleep: u8,
    _reserved: [u32; 4],
}

/// `amdsmi_engine_usage_t`, the same in the headers of 24 and 26. Percent.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EngineUsage {
    pub(super) gfx_activity: u32,
    _umc_activity: u32,
    _mm_activity: u32,
    _reserved: [u32; 13],
}

/// The first member of `amdsmi_od_volt_freq_data_t`: how far the core clock may run now. Megahertz, or
/// hertz in some releases. What follows it is not the same in every release.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CoreClockRange {
    pub(super) lower_bound: u64,
    pub(super) upper_bound: u64,
}

/// The first words of `amdsmi_version_t`: year, major, minor in ABI 24 and 25; major, minor, release in 26.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct VersionWords(pub(super) [u32; 4]);

/// A structure with room behind it, so that a library that has let it grow writes over nothing else.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Roomy<T> {
    pub(super) value: T,
    _room: [u64; 32],
    _more: [u64; 32],
}

const _: () = {
    assert!(size_of::<PowerInfo24>() == 68);
    assert!(offset_of!(PowerInfo24, average_socket_power) == 4);
    assert!(size_of::<PowerInfo25>() == 40);
    assert!(offset_of!(PowerInfo25, current_socket_power) == 8);
    assert!(offset_of!(PowerInfo25, average_socket_power) == 12);
    assert!(size_of::<PowerInfo26>() == 192);
    assert!(offset_of!(PowerInfo26, current_socket_power) == 8);
    assert!(offset_of!(PowerInfo26, average_socket_power) == 12);
    assert!(size_of::<PowerCapInfo>() == 64);
    assert!(offset_of!(PowerCapInfo, max_power_cap) == 32);
    assert!(size_of::<ClockInfo>() == 32);
    assert!(offset_of!(ClockInfo, max_clk) == 8);
    assert!(size_of::<EngineUsage>() == 64);
    assert!(offset_of!(Roomy<PowerInfo26>, value) == 0);
};
