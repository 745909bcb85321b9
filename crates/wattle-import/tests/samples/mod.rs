//! Small files of every format, written by hand for the tests.

#![allow(dead_code, reason = "each test program uses some of them")]

use wattle_import::{Format, ImportError, Imported, Input, Options};

pub(crate) const ENERTUNE: &str = "\
model,batch_size,mig_slices,frequency,avg_power_draw,dynamic_power_draw,throughput,latency
tiny,1,1,210,46.0,2.0,20.0,50.0
tiny,1,7,210,54.0,10.0,40.0,25.0
tiny,1,1,1410,90.0,17.0,100.0,10.0
tiny,1,7,1410,,,200.0,5.0
tiny,2,1,210,47.0,3.0,40.0,0
tiny,2,1,210,48.0,4.0,41.0,48.0
tiny,2,7,210,55.0,12.0,50.0,20.0
,2,7,1410,55.0,12.0,50.0,40.0
";

pub(crate) const PARVAGPU: &str = "\
Mig instance,Batch size,Workload Number,Throughput,Latency\r
1,1,1,100,0.01\r
1,1,2,80,0.0125\r
1,1,3,0,0\r
7,4,1,400,0.01\r
7,4,1,400,0.01\r
";

pub(crate) const STEP_LOG: &str = "\
time stamp, Througput (image/sec), power, batch size, minBS, maxBS, BestBS, power cap, DVFS
1000.0,1.0,80.0,8,0,254,7,150,1063
1000.5,16.0,100.0,8,0,254,7,150,1063
1001.5,8.0,110.0,8,0,254,7,150,1063
1003.5,2.0,90.0,4,0,254,3,100,949

 ,min, 1.0, 80.0,4.0,0,254,3,100.0,949.0
 ,max, 16.0, 110.0,8.0,0,254,7,150.0,1063.0
 ,average, 6.75, 95.0,7.0,0,254,6,137.5,1034.5
 ,std, 7.0, 12.0,2.0,0,0,2,25.0,57.0
 ,Number of power cap violation, 0
 ,Violation Amount Precentage, 0.0
";

pub(crate) const NVIDIA_SMI: &str = "\
timestamp, utilization.gpu [%], utilization.memory [%], power.draw [W], clocks.current.sm [MHz]
2020/12/31 04:02:30.000, 0 %, 0 %, 9.91 W, 544 MHz
2020/12/31 04:02:31.003, 0 %, 0 %, [N/A], 544 MHz
2020/12/31 04:02:32.006, 98 %, 0 %, 146.66 W, 1063 MHz
";

pub(crate) const CHECKPOINT: &str = r#"{
"ResultManager.results": {"_results": {"tiny": {
 "tiny_config_0": [
  {"_model_run_configs": [{"_model_name": "tiny", "_model_config_variant": {"model_config":
   {"name": "tiny", "maxBatchSize": 4, "instanceGroup": [{"count": 2, "kind": "KIND_GPU"}], "dynamicBatching": {}},
   "variant_name": "tiny_config_0"}}]},
  {"a": {"_gpu_data": {"GPU-1": [["gpu_used_memory", {"_value": 900.5}], ["gpu_utilization", {"_value": 50.0}],
     ["gpu_power_usage", {"_value": 120.0}]]},
   "_model_config_measurements": [{"_model_specific_pa_params": {"batch-size": 1, "concurrency-range": 8},
    "_non_gpu_data": [["perf_latency_avg", {"_value": 10.0}], ["perf_latency_p99", {"_value": 14.0}],
     ["perf_throughput", {"_value": 800.0}], ["perf_server_queue", {"_value": 3.0}],
     ["perf_server_compute_input", {"_value": 0.5}], ["perf_server_compute_infer", {"_value": 5.0}],
     ["perf_server_compute_output", {"_value": 0.5}], ["perf_client_send_recv", {"_value": 0.25}]]}]},
   "b": {"_gpu_data": {}, "_model_config_measurements": [{
    "_model_specific_pa_params": {"batch-size": 1, "concurrency-range": 128},
    "_non_gpu_data": [["perf_throughput", {"_value": 900.0}]]}]}}],
 "tiny_config_default": [
  {"_model_run_configs": [{"_model_name": "tiny", "_model_config_variant": {"model_config":
   {"name": "tiny", "maxBatchSize": 8}, "variant_name": "tiny_config_default"}}]},
  {"c": {"_gpu_data": {"GPU-1": [["gpu_power_usage", {"_value": 60.0}]]},
   "_model_config_measurements": [{"_model_specific_pa_params": {"batch-size": 2, "concurrency-range": 1},
    "_non_gpu_data": [["perf_throughput", {"_value": 100.0}], ["perf_latency_avg", {"_value": 20.0}]]}]}}]
}}},
"ResultManager.server_only_data": {"GPU-1": [["gpu_power_usage", {"_value": 55.0}]]},
"MetricsManager.gpus": {"GPU-1": {"name": "A GPU", "total_memory": 1}}
}"#;

pub(crate) const INFERENCE_CSV: &str = "\
Model,Batch,Concurrency,Model Config Path,Instance Group,Max Batch Size,Satisfies Constraints,Throughput (infer/sec),p99 Latency (ms)
tiny,1,8,tiny_config_0,2:GPU,4,Yes,800.0,14.0
\"tiny,other\",\"1,1\",\"8,4\",\"tiny_config_0,other_config_1\",\"2:GPU,1:GPU\",\"4,2\",Yes,\"500.0, [300.0,200.0]\",\"20.0, [30.0,10.0]\"
";

pub(crate) const GPU_CSV: &str = "\
Model,GPU UUID,Batch,Concurrency,Model Config Path,Instance Group,Satisfies Constraints,GPU Memory Usage (MB),GPU Utilization (%),GPU Power Usage (W)
tiny,GPU-1,1,8,tiny_config_0,2:GPU,Yes,900.5,50.0,120.0
";

pub(crate) const MLPERF_SUMMARY: &str = "\
Scenario : SingleStream
Result is : VALID
QPS w/ loadgen overhead         : 10.00
Mean latency (ns)                : 100000000
50.00 percentile latency (ns)   : 90000000
95.00 percentile latency (ns)   : 110000000
99.00 percentile latency (ns)   : 120000000
min_query_count : 1024
";

pub(crate) const SPL: &str = "\
Time,08-10-2021 22:59:20.053,Watts,1.0,Volts,250.0,Amps,0.07,PF,0.36,Mark,m
Time,08-10-2021 22:59:21.053,Watts,20.0,Volts,250.0,Amps,0.07,PF,0.36,Mark,m
Time,08-10-2021 22:59:22.053,Watts,22.0,Volts,250.0,Amps,0.07,PF,0.36,Mark,m
Time,08-10-2021 22:59:23.053,Watts,24.0,Volts,250.0,Amps,0.07,PF,0.36,Mark,m
Time,08-10-2021 22:59:24.053,Watts,22.0,Volts,250.0,Amps,0.07,PF,0.36,Mark,m
Time,08-10-2021 22:59:25.053,Watts,1.0,Volts,250.0,Amps,0.07,PF,0.36,Mark,m
";

pub(crate) const DACF: &str = "\
UTC time,coal,nat_gas,nuclear,oil,hydro,solar,wind,other,forecast_avg_wind_speed_wMean
2020-01-01 00:00:00,100,100,0,0,0,0,0,0,5.7
2020-01-01 01:00:00,0,100,100,0,0,-4,0,0,5.7
2020-01-01 02:00:00,0,0,0,0,0,0,0,0,5.7
2020-01-01 03:00:00,0,0,0,100,0,50,0,50,5.7
";

pub(crate) const PORTAL: &str = "\
Datetime (UTC),Country,Zone Name,Zone Id,Carbon Intensity gCO₂eq/kWh (direct),Carbon Intensity gCO₂eq/kWh (LCA),Low Carbon Percentage,Data Estimated
2022-01-01 00:00:00,Here,Here,HE,0,30.5,99,false
2022-01-01 01:00:00,Here,Here,HE,10.0,40.5,99,true
2022-01-01 02:00:00,Here,Here,HE,20.0,50.5,99,false
2022-01-01 00:00:00,There,There,TH,200.0,250.0,9,false
";

pub(crate) const RAW_MIX: &str = "\
datetime,carbon_intensity_avg,power_production_coal_avg,power_production_solar_avg
2020-01-01 00:00:00,369.98,12.0,1403.0
2020-01-01 01:00:00,,15.0,0.0
2020-01-01 02:00:00,397.43,14.0,-1.0
";

pub(crate) const HALF_HOURS: &str = "\
Time,Carbon Intensity
2020-01-01 00:00:00,40.0
2020-01-01 00:30:00,42.0
2020-01-01 01:30:00,46.0
";

pub(crate) const UK_JSON: &str = r#"{"data": [
 {"from": "2020-01-01T00:00Z", "to": "2020-01-01T00:30Z", "intensity": {"forecast": 100, "actual": 110, "index": "low"}},
 {"from": "2020-01-01T00:30Z", "to": "2020-01-01T01:00Z", "intensity": {"forecast": 120, "actual": null, "index": "low"}}
]}"#;

pub(crate) const CLOVER: &str = "CISO_March\n124.57\n135.6\n0\n";

/// Every sample with its format, as the files of one import.
pub(crate) fn all() -> Vec<(Format, Vec<(&'static str, &'static str)>)> {
    vec![
        (Format::EnerTune, vec![("tiny-profile.csv", ENERTUNE)]),
        (Format::ModelAnalyzer, vec![("0.ckpt", CHECKPOINT)]),
        (Format::ModelAnalyzer, vec![("gpu.csv", GPU_CSV), ("inference.csv", INFERENCE_CSV)]),
        (Format::ParvaGpu, vec![("tiny.csv", PARVAGPU)]),
        (Format::BatchDvfs, vec![("steps.csv", STEP_LOG), ("steps.txt_nvidiasmi_output.csv", NVIDIA_SMI)]),
        (Format::MlperfPower, mlperf()),
        (Format::Dacf, vec![("HERE.csv", DACF)]),
        (Format::ElectricityMaps, vec![("HE_2022_hourly.csv", PORTAL)]),
        (Format::ElectricityMaps, vec![("HE_raw_mix.csv", RAW_MIX)]),
        (Format::Uk, vec![("ci.csv", HALF_HOURS)]),
        (Format::Uk, vec![("ci.json", UK_JSON)]),
        (Format::Clover, vec![("ci.csv", CLOVER)]),
    ]
}

pub(crate) fn mlperf() -> Vec<(&'static str, &'static str)> {
    vec![
        ("results/board.a/net/singlestream/performance/run_1/mlperf_log_summary.txt", MLPERF_SUMMARY),
        ("results/board.a/net/singlestream/performance/run_1/spl.txt", SPL),
        (
            "results/board.a/net/singlestream/accuracy/accuracy.txt",
            "accuracy=76.442%, good=38221, total=50000\n",
        ),
        ("systems/board.a.json", r#"{"system_name": "A board", "framework": "F 1", "hw_notes": "slow"}"#),
    ]
}

pub(crate) fn inputs(files: &[(&str, &str)]) -> Vec<Input> {
    let input =
        |(name, text): &(&str, &str)| Input { name: (*name).to_owned(), bytes: text.as_bytes().to_vec() };
    files.iter().map(input).collect()
}

pub(crate) fn import_one(format: Format, name: &str, text: &str) -> Result<Imported, ImportError> {
    wattle_import::import(format, &inputs(&[(name, text)]), &Options::default())
}

/// How often `what`, or an oddity that starts so, was met.
pub(crate) fn odd(imported: &Imported, what: &str) -> u64 {
    imported.oddities.iter().filter(|oddity| oddity.what.starts_with(what)).map(|oddity| oddity.count).sum()
}
