//! Claims of the topology, over fake trees.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::fake_tree::FakeTree;
use super::*;

/// Two packages of two L3 caches of two cores of two threads; the threads of a core are 8 apart.
fn server() -> FakeTree {
    let tree = FakeTree::new();
    tree.write("sys/devices/system/cpu/online", "0-15\n");
    for id in 0..16 {
        let core = id % 8;
        let folder = format!("sys/devices/system/cpu/cpu{id}");
        tree.write(&format!("{folder}/topology/thread_siblings_list"), &format!("{core},{}\n", core + 8));
        tree.write(&format!("{folder}/topology/physical_package_id"), &(core / 4).to_string());
        tree.write(&format!("{folder}/cache/index0/level"), "1");
        tree.write(&format!("{folder}/cache/index1/level"), "3");
        let first = core / 2 * 2;
        let sharing = format!("{first}-{},{}-{}", first + 1, first + 8, first + 9);
        tree.write(&format!("{folder}/cache/index1/shared_cpu_list"), &sharing);
    }
    tree.write("sys/devices/system/node/online", "0-1");
    tree.write("sys/devices/system/node/node0/cpulist", "0-3,8-11");
    tree.write("sys/devices/system/node/node1/cpulist", "4-7,12-15");
    tree
}

fn read(tree: &FakeTree) -> Topology {
    Topology::read(&tree.roots()).unwrap()
}

#[test]
fn reads_packages_caches_cores_and_nodes() {
    let topology = read(&server());
    assert_eq!(
        topology.to_string(),
        "2 packages, 4 L3 caches, 2 NUMA nodes, 8 cores, 16 logical CPUs; all allowed; no quota"
    );
    let cpu = LogicalCpu { id: 14, package: 1, cache: 6, core: 6, thread: 1, node: 1, is_allowed: true };
    assert_eq!(topology.cpus[14], cpu);
}

#[test]
fn a_machine_that_tells_little_is_one_cache_and_one_node() {
    let tree = FakeTree::new();
    tree.write("sys/devices/system/cpu/online", "0,2");
    for id in [0, 2] {
        tree.write(&format!("sys/devices/system/cpu/cpu{id}/topology/thread_siblings_list"), &id.to_string());
        tree.write(&format!("sys/devices/system/cpu/cpu{id}/topology/physical_package_id"), "-1");
    }
    let topology = read(&tree);
    let counts = [topology.packages(), topology.caches(), topology.nodes(), topology.cores()];
    assert_eq!((counts, topology.core_set(5)), ([1, 1, 1, 2], vec![0, 2]));
}

#[test]
fn a_core_set_fills_a_cache_before_the_next_and_takes_second_threads_last() {
    let topology = read(&server());
    assert_eq!(topology.core_set(3), [0, 1, 2]);
    assert_eq!(topology.core_set(16), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
}

#[test]
fn a_core_set_stays_within_what_is_allowed() {
    let tree = server();
    tree.write("proc/self/status", "Name:\tx\nCpus_allowed_list:\t3,8-11\n");
    let topology = read(&tree);
    // 11 is the second thread of 3; 8, 9 and 10 are alone on their cores.
    assert_eq!(topology.core_set(9), [8, 9, 10, 3, 11]);
    assert!(topology.to_string().contains("5 allowed"), "{topology}");
    tree.write("proc/self/status", "Cpus_allowed_list:\t3-\n");
    assert!(matches!(Topology::read(&tree.roots()), Err(DeviceError::Content { .. })));
}

proptest! {
    #[test]
    fn a_larger_core_set_holds_the_smaller_ones(allowed: [bool; 16], cores in 0_u32..20) {
        static SERVER: LazyLock<Topology> = LazyLock::new(|| read(&server()));
        let mut topology = SERVER.clone();
        for (cpu, is_allowed) in topology.cpus.iter_mut().zip(allowed) {
            cpu.is_allowed = is_allowed;
        }
        let (smaller, larger) = (topology.core_set(cores), topology.core_set(cores + 1));
        prop_assert!(larger.starts_with(&smaller));
        let allowed = allowed.iter().filter(|is_allowed| **is_allowed).count();
        prop_assert_eq!(smaller.len(), allowed.min(cores as usize));
        // No second thread while a core is free.
        let set_of = |cpus: &[u32]| cpus.iter().map(|id| id % 8).collect::<BTreeSet<_>>().len();
        prop_assert_eq!(set_of(&smaller), set_of(&topology.core_set(16)).min(smaller.len()));
    }
}

#[test]
fn the_lowest_quota_of_the_group_and_those_it_is_in_counts() {
    let tree = server();
    tree.write("proc/self/cgroup", "0::/pod/container\n");
    assert_eq!(read(&tree).quota_cores, None);
    tree.write("sys/fs/cgroup/pod/container/cpu.max", "400000 100000\n");
    tree.write("sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
    tree.write("sys/fs/cgroup/cpu.max", "max 100000\n");
    assert_eq!(read(&tree).quota_cores, Some(2.5));
    tree.write("sys/fs/cgroup/cpu.max", "0 0");
    assert!(matches!(Topology::read(&tree.roots()), Err(DeviceError::Content { .. })));
}

#[test]
fn quotas_of_version_1_are_read_by_the_name_of_their_controllers() {
    let tree = server();
    tree.write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,cpuacct:/docker/1\n0::/\n");
    tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1");
    assert_eq!(read(&tree).quota_cores, None);
    // Seen from within: the path of outside isn't there.
    tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000");
    tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000");
    assert_eq!(read(&tree).quota_cores, Some(1.5));
}
