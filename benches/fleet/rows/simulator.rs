//! The simulator is no bottleneck: what it answers on one core, asked by `wrk`.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::bench::{Bench, actions};
use crate::processes::Simulator;
use crate::report::Measured;
use crate::{Fallible, kernel, setup};

pub fn run(bench: &Bench) -> Fallible<Measured> {
    if Command::new("wrk").arg("-v").output().is_err() {
        return Err("there is no wrk: apt-get install wrk".into());
    }
    let seconds = bench.scale(10, 1);
    let simulator = Simulator::start(bench.folder(), &setup::fixture(3600), &["taskset", "-c", "0"])?;
    simulator.admin.launch(setup::GROUP, 100)?;
    let state = simulator.admin.state()?;
    let waiting: Vec<_> = actions(&state, setup::GROUP).map(|action| json!([action.instance, action.token])).collect();
    let script = bench.folder().join("wrk.lua");
    fs::write(&script, lua(&waiting))?;
    let before = kernel::cpu(simulator.pid())?;
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", "64", "--duration", &format!("{seconds}s"), "--script"])
        .arg(&script)
        .arg(simulator.endpoint())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let cpu = (kernel::cpu(simulator.pid())? - before).as_secs_f64();
    let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(|rest| rest.trim().to_owned());
    let a_second: f64 = field("Requests/sec:").ok_or_else(|| format!("wrk said {text}"))?.parse()?;
    let state = simulator.admin.summary()?;
    let refused: u64 = state.outcomes.values().flat_map(|outcomes| outcomes.iter()).filter(|(name, _)| *name != "ok").map(|(_, n)| n).sum();
    if refused > 0 || field("Non-2xx or 3xx responses:").is_some() {
        return Err(format!("calls were refused: {:?}", state.outcomes).into());
    }
    let made: u64 = state.calls.values().sum();
    Ok(Measured::default()
        .at_least("calls a second of its CPU time, on one core", made as f64 / cpu, "calls/s", 30_000.0)
        .shown("calls a second as wrk saw them, beside it on the same machine", a_second, "calls/s")
        .note("AssociateNode, DescribeServers, GetParameters of one name, RecordLifecycleActionHeartbeat in turn, 64 connections"))
}

/// Calls of a launch, in turn.
fn lua(waiting: &[serde_json::Value]) -> String {
    let tokens: Vec<String> = waiting.iter().map(|pair| format!("{{{},{}}}", pair[0], pair[1])).collect();
    format!(
        r#"local waiting = {{{tokens}}}
local turn = 0
local function headers(kind, target)
  return {{ ["Content-Type"] = kind, ["X-Amz-Target"] = target,
    ["Authorization"] = "AWS4-HMAC-SHA256 Credential=simulated/20260302/eu-central-1/any/aws4_request, SignedHeaders=host, Signature=0" }}
end
local json, form = "application/x-amz-json-1.1", "application/x-www-form-urlencoded"
request = function()
  turn = turn + 1
  local one = waiting[turn % #waiting + 1]
  local kind = turn % 4
  if kind == 0 then
    return wrk.format("POST", "/", headers(json, "OpsWorksCM_V2016_11_01.AssociateNode"), '{{"ServerName":"{server}","NodeName":"' .. one[1] ..
      '","EngineAttributes":[{{"Name":"CHEF_ORGANIZATION","Value":"default"}},{{"Name":"CHEF_NODE_PUBLIC_KEY","Value":"key"}}]}}')
  elseif kind == 1 then
    return wrk.format("POST", "/", headers(json, "OpsWorksCM_V2016_11_01.DescribeServers"), '{{"ServerName":"{server}"}}')
  elseif kind == 2 then
    return wrk.format("POST", "/", headers(json, "AmazonSSM.GetParameters"), '{{"Names":["/enrolld/' .. one[1] .. '/public-key"],"WithDecryption":true}}')
  else
    return wrk.format("POST", "/", headers(form, nil), "Action=RecordLifecycleActionHeartbeat&Version=2011-01-01&AutoScalingGroupName={group}" ..
      "&LifecycleHookName={hook}&LifecycleActionToken=" .. one[2] .. "&InstanceId=" .. one[1])
  end
end
"#,
        tokens = tokens.join(","),
        server = setup::SERVER,
        group = setup::GROUP,
        hook = setup::HOOK,
    )
}
