//! Partitions of an NVIDIA GPU (MIG) against a stand-in for NVIDIA's library.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod mock_nvml;

use mock_nvml::Mock;
use wattle_core::time::Timestamp;
use wattle_device::device::{Access, Device};
use wattle_device::nvidia::mig::{GpuInstance, MigMode, WantedPartition};

const NOT_SUPPORTED: f64 = 3.0;
const IN_USE: f64 = 19.0;
const INSUFFICIENT_RESOURCES: f64 = 23.0;

/// Numbers of profiles of the stand-in, an A100 of 40 GB.
const ONE_G: u32 = 19;
const TWO_G: u32 = 14;
const THREE_G: u32 = 9;

fn partitionable() -> Mock {
    let mock = Mock::new();
    mock.set("mig", 1.0);
    mock
}

fn anywhere(profile_id: u32) -> WantedPartition {
    WantedPartition { profile_id, start: None }
}

fn lies(instance: &GpuInstance) -> (&str, u32, u32) {
    (instance.profile.as_deref().unwrap(), instance.start.unwrap(), instance.memory_slices.unwrap())
}

#[test]
fn an_empty_gpu_tells_what_it_could_have() {
    let mock = partitionable();
    let layout = mock.open().mig().unwrap().layout().unwrap();
    assert_eq!((layout.mode, layout.mode_after_reset), (MigMode::Enabled, None));
    assert!(layout.gpu_instances.is_empty());
    let names: Vec<_> = layout.profiles.iter().map(|profile| (profile.id, profile.name.as_str())).collect();
    assert_eq!(names, [(19, "1g.5gb"), (14, "2g.10gb"), (9, "3g.20gb"), (5, "4g.20gb"), (0, "7g.40gb")]);
    let two = &layout.profiles[1];
    assert_eq!((two.slices, two.multiprocessors, two.memory_mib, two.most), (2, 28, 9856, 3));
    assert_eq!(two.starts, Some(vec![0, 2, 4]));
    assert_eq!((two.remaining, two.memory_slices), (Some(3), Some(2)));
}

#[test]
fn partitions_are_made_largest_first_each_with_a_uuid_to_use_it_by() {
    let mock = partitionable();
    let device = mock.open();
    let mig = device.mig().unwrap();
    // In the order asked, the small one would take the first place of the large one.
    let made = mig.create(&[anywhere(ONE_G), anywhere(TWO_G), anywhere(THREE_G)]).unwrap();
    assert_eq!(
        made.iter().map(lies).collect::<Vec<_>>(),
        [("3g.20gb", 0, 4), ("2g.10gb", 4, 2), ("1g.5gb", 6, 1)]
    );
    let uuids: Vec<_> = made.iter().map(|one| one.compute_instances[0].uuid.clone().unwrap()).collect();
    assert!(uuids.iter().all(|uuid| uuid.starts_with("MIG-")) && uuids[0] != uuids[1], "{uuids:?}");
    let layout = mig.layout().unwrap();
    assert_eq!(layout.gpu_instances, made);
    assert_eq!(layout.profiles[0].remaining, Some(0));
    assert_eq!(layout.to_string(), "on, 1 3g.20gb (slices 0-3), 2 2g.10gb (slices 4-5), 3 1g.5gb (slices 6)");
}

#[test]
fn a_partition_lies_where_it_is_wanted_or_not_at_all() {
    let mock = partitionable();
    let device = mock.open();
    let mig = device.mig().unwrap();
    let made = mig.create(&[WantedPartition { profile_id: THREE_G, start: Some(4) }]).unwrap();
    assert_eq!(lies(&made[0]), ("3g.20gb", 4, 4));
    let error = mig.create(&[WantedPartition { profile_id: TWO_G, start: Some(3) }]).unwrap_err().to_string();
    assert!(error.contains("it can't start at slice 3; it can at [0, 2, 4]"), "{error}");
    let error = mig.create(&[anywhere(99)]).unwrap_err().to_string();
    assert!(error.contains("there is no such profile; there are [19, 14, 9, 5, 0]"), "{error}");
}

#[test]
fn a_large_partition_goes_around_a_small_one_that_has_its_place() {
    let mock = partitionable();
    let device = mock.open();
    let placed = WantedPartition { profile_id: ONE_G, start: Some(2) };
    let made = device.mig().unwrap().create(&[anywhere(THREE_G), placed]).unwrap();
    assert_eq!(made.iter().map(lies).collect::<Vec<_>>(), [("1g.5gb", 2, 1), ("3g.20gb", 4, 4)]);
}

#[test]
fn where_one_partition_can_not_be_made_none_is_left() {
    let mock = partitionable();
    let device = mock.open();
    let mig = device.mig().unwrap();
    let error = mig.create(&[anywhere(THREE_G), anywhere(THREE_G), anywhere(TWO_G)]).unwrap_err().to_string();
    assert!(error.contains("not enough resources left"), "{error}");
    assert!(mig.layout().unwrap().gpu_instances.is_empty());
    // Likewise where it is its compute instance that can't be made.
    mock.set("fail_once:nvmlGpuInstanceCreateComputeInstance", INSUFFICIENT_RESOURCES);
    mig.create(&[anywhere(ONE_G)]).unwrap_err();
    assert!(mig.layout().unwrap().gpu_instances.is_empty());
}

#[test]
fn compute_instances_are_destroyed_before_their_gpu_instance() {
    let mock = partitionable();
    let device = mock.open();
    let mig = device.mig().unwrap();
    let made = mig.create(&[anywhere(ONE_G), anywhere(TWO_G)]).unwrap();
    // The stand-in refuses to destroy one that still has any, as the driver does.
    mig.destroy(&[made[0].id]).unwrap();
    assert_eq!(mig.layout().unwrap().gpu_instances, made[1..]);
    let error = mig.destroy(&[made[1].id, 77]).unwrap_err().to_string();
    assert!(error.contains("GPU instance 77: there is none of this number"), "{error}");
    assert_eq!(mig.layout().unwrap().gpu_instances, made[1..]);
}

#[test]
fn a_partition_in_use_is_not_destroyed_and_the_error_says_what_to_do() {
    let mock = partitionable();
    let device = mock.open();
    let mig = device.mig().unwrap();
    let made = mig.create(&[anywhere(ONE_G)]).unwrap();
    mock.set("fail_once:nvmlComputeInstanceDestroy", IN_USE);
    let error = mig.destroy(&[made[0].id]).unwrap_err().to_string();
    assert!(error.ends_with("; stop the processes that use it, then try again"), "{error}");
    assert_eq!(mig.layout().unwrap().gpu_instances.len(), 1);
}

#[test]
fn without_permission_nothing_is_repartitioned_and_the_error_says_what_to_do() {
    let mock = partitionable();
    mock.set("no_permission", 1.0);
    let error = mock.open().mig().unwrap().create(&[anywhere(ONE_G)]).unwrap_err().to_string();
    assert!(error.contains("CAP_SYS_ADMIN"), "{error}");
}

#[test]
fn without_permission_the_partitions_that_run_work_are_seen_and_the_rest_is_unknown() {
    let mock = partitionable();
    let device = mock.open();
    let made = device.mig().unwrap().create(&[anywhere(ONE_G), anywhere(THREE_G)]).unwrap();
    assert!(device.mig().unwrap().layout().unwrap().is_complete);
    mock.set("no_permission", 1.0);
    let layout = device.mig().unwrap().layout().unwrap();
    assert!(!layout.is_complete);
    let expected = made.into_iter().map(|one| GpuInstance { start: None, memory_slices: None, ..one });
    assert_eq!(layout.gpu_instances, expected.collect::<Vec<_>>());
    assert_eq!(layout.to_string(), "on, 1 3g.20gb, 2 1g.5gb (more may be kept from this user)");
    assert_eq!((layout.profiles.len(), layout.profiles[0].remaining), (5, None));
    let placed = WantedPartition { profile_id: ONE_G, start: Some(6) };
    let error = device.mig().unwrap().create(&[placed]).unwrap_err().to_string();
    assert!(error.contains("CAP_SYS_ADMIN"), "{error}");
}

#[test]
fn a_gpu_that_is_not_in_mig_mode_says_so() {
    let mock = Mock::new();
    mock.set("mig_pending", 1.0);
    let device = mock.open();
    let layout = device.mig().unwrap().layout().unwrap();
    assert_eq!((layout.mode, layout.mode_after_reset), (MigMode::Disabled, Some(MigMode::Enabled)));
    assert_eq!(layout.to_string(), "off (on after the next reset)");
    let error = device.mig().unwrap().create(&[anywhere(ONE_G)]).unwrap_err().to_string();
    assert!(error.contains("not in MIG mode; stop all that uses it and run"), "{error}");
    mock.set("fail:nvmlDeviceGetMigMode", NOT_SUPPORTED);
    assert_eq!(device.mig().unwrap().layout().unwrap().mode, MigMode::Unsupported);
    let error = device.mig().unwrap().destroy(&[1]).unwrap_err().to_string();
    assert!(error.ends_with("this GPU can't be partitioned"), "{error}");
}

#[test]
fn a_partitioned_gpu_is_read_and_what_it_does_not_tell_is_unknown() {
    let mock = partitionable();
    let mut device = mock.open();
    device.mig().unwrap().create(&[anywhere(THREE_G)]).unwrap();
    let reading = device.read(Timestamp::ZERO).unwrap();
    assert!(reading.power.is_some());
    assert_eq!((reading.utilization, reading.own_share), (None, None));
    let facts = device.inspect(Timestamp::ZERO).facts;
    let fact = |name| &facts.iter().find(|(found, _)| *found == name).unwrap().1;
    assert!(matches!(fact("processes"), Access::Absent { because } if because.contains("MIG")));
    assert!(matches!(fact("own_share"), Access::Absent { because } if because.contains("MIG")));
    assert_eq!(*fact("mig"), Access::Here("on, 1 3g.20gb (slices 0-3)".into()));
    let room = "any of 3 x 1g.5gb, 1 x 2g.10gb, 1 x 3g.20gb";
    assert_eq!(*fact("mig_room"), Access::Here(room.into()));
}
