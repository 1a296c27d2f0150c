//! Floods, against the real process: how much memory it takes is read from the kernel, and the good ones behind the flood are served.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use enrolld::simulator::model::autoscaling::Place;
use serde_json::json;

use crate::bench::{ACCOUNT, Bench, GROUP, QUEUE, SERVER, configuration, configuration_of, group, never_publishes, publishes_after};
use crate::process::{Process, folder};

const MIB: usize = 1 << 20;

/// A launch that Auto Scaling knows nothing of.
fn claim(number: u32) -> String {
    let body = json!({
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING", "AccountId": ACCOUNT, "AutoScalingGroupName": GROUP,
        "EC2InstanceId": format!("i-{number:017x}"), "LifecycleHookName": "enrol-on-launch",
        "LifecycleActionToken": format!("{number:08x}-0000-4000-8000-000000000000"),
    });
    body.to_string()
}

/// The same, as long as SQS takes it.
fn huge_claim(number: u32) -> String {
    let body = claim(number);
    let padding = " ".repeat(MIB - body.len());
    body + &padding
}

#[tokio::test]
async fn a_flood_of_huge_messages_does_not_fill_the_memory_and_the_launches_behind_it_are_served() {
    const FLOOD: u32 = 30;
    let bench = Bench::start(|_| {}).await;
    for number in 0..FLOOD {
        if number % 4 == 0 { bench.send(&"[".repeat(MIB)) } else { bench.send(&huge_claim(number)) }
    }
    let good = bench.launch(5);
    let text = configuration(&bench.simulator.endpoint(), "").replace("patience = \"1s\"", "patience = \"3s\"\nmax_open = 1000");
    let mut process = Process::start(&bench, "flood-huge", &text, &[]);
    bench.until_in_service(&good).await;
    bench.until_empty().await;
    let peak = process.peak_mib();
    assert!(bench.queue(crate::bench::LETTERS).messages.len() >= FLOOD as usize);
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0));
    assert!(peak < MOST_MIB, "{peak} MiB for {FLOOD} messages of 1 MiB");
}

/// A list of objects in objects, about so long. Each takes five bytes, and a node of a tree once it is read.
fn nested(bytes: usize) -> String {
    let chain = format!("{}0{}", "{\"\":".repeat(100), "}".repeat(100));
    format!("[{}0]", format!("{chain},").repeat((bytes - 3) / (chain.len() + 1)))
}

#[tokio::test]
async fn a_flood_of_messages_that_would_take_a_hundred_times_their_length_does_not_fill_the_memory_and_the_launches_behind_it_are_served() {
    const FLOOD: u32 = 30;
    let bench = Bench::start(|_| {}).await;
    for number in 0..FLOOD {
        let claim = claim(number);
        let note = format!(",\"Note\":{}}}", nested(MIB - claim.len() - 16));
        bench.send(&(claim.trim_end_matches('}').to_owned() + &note));
    }
    let good = bench.launch(5);
    let text = configuration(&bench.simulator.endpoint(), "").replace("patience = \"1s\"", "patience = \"3s\"\nmax_open = 1000");
    let mut process = Process::start(&bench, "flood-nested", &text, &[]);
    bench.until_in_service(&good).await;
    bench.until_empty().await;
    let peak = process.peak_mib();
    let letters = bench.queue(crate::bench::LETTERS).messages.len();
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0));
    assert!(peak < MOST_MIB, "{peak} MiB for {FLOOD} nested messages of 1 MiB");
    assert!(process.log().contains("too_much") && letters >= FLOOD as usize, "{letters}");
}

#[tokio::test]
async fn a_flood_of_claims_without_an_instance_does_not_fill_the_memory_and_the_launches_behind_it_are_served() {
    const FLOOD: u32 = 800;
    let bench = Bench::start(|_| {}).await;
    for number in 0..FLOOD {
        bench.send(&claim(number));
    }
    let good = bench.launch(5);
    let text = configuration(&bench.simulator.endpoint(), "");
    let mut process = Process::start(&bench, "flood-claims", &text, &[]);
    bench.until_in_service(&good).await;
    let peak = process.peak_mib();
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0));
    assert!(peak < MOST_MIB, "{peak} MiB for {FLOOD} claims");
}

/// Waits for a request: an answer that comes before it is none.
fn asked(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 65_536]);
}

/// A server that answers every request with gigabytes; it counts what was taken of them.
fn gigabytes() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || {
                let mut stream = stream;
                let piece = vec![b' '; 65_536];
                asked(&mut stream);
                let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n");
                while sent.is_ok() {
                    sent = stream.write_all(&piece);
                    counted.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    (url, taken)
}

/// A server that answers every request with this JSON; it counts the answers.
fn answering(body: String) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let answers = Arc::new(AtomicU64::new(0));
    let (counted, body) = (Arc::clone(&answers), Arc::new(body));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (counted, body) = (Arc::clone(&counted), Arc::clone(&body));
            std::thread::spawn(move || {
                asked(&mut stream);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
                let sent = stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes());
                counted.fetch_add(u64::from(sent.is_ok()), Ordering::Relaxed);
            });
        }
    });
    (url, answers)
}

/// A route for the usual group, and one for another whose server answers without end.
fn configuration_with_endless(bench: &Bench, name: &str, url: &str) -> String {
    let key = folder(name).join("client.pem");
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("AWS-LC makes keys");
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = aws_lc_rs::encoding::AsDer::as_der(&pair).expect("it can be written");
    std::fs::write(&key, pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()))).expect("the folder is there");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    let owner = format!("owner_role = \"arn:aws:iam::{ACCOUNT}:role/enrolld-node\"");
    let keys = format!("key = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", {owner} }}");
    let good = format!("registrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}\n{keys}");
    let endless = format!(
        "[[route]]\nname = \"endless\"\ngroups = [\"endless\"]\nkey_poll = \"200ms\"\nkey_rate = 1000\n{keys}\n\
         registrar = {{ kind = \"chef-server\", url = \"{url}\", client_name = \"enrolld\", client_key = \"{}\" }}\n",
        key.display()
    );
    let text = configuration_of(&bench.simulator.endpoint(), "", &format!("{good}\n{endless}"));
    text.replace("groups = [\"*\"]", &format!("groups = [\"{GROUP}\"]"))
}

#[tokio::test]
async fn a_server_that_answers_with_gigabytes_does_not_fill_the_memory_and_holds_up_no_other_server() {
    let bench = Bench::start(|fixture| {
        fixture.groups.push(group("endless", enrolld::simulator::model::autoscaling::Form::Direct));
    })
    .await;
    let (url, taken) = gigabytes();
    let text = configuration_with_endless(&bench, "flood-key", &url);
    let text = text.replace("not_ready_max = \"300ms\"", "not_ready_max = \"100ms\"");
    let mut process = Process::start(&bench, "flood-gigabytes", &text, &[]);
    for _ in 0..20 {
        bench.launch_in("endless", Place::AutoScalingGroup, Some(&publishes_after(0)));
    }
    bench.until("the server was asked", |_| taken.load(Ordering::Relaxed) > 0).await;
    for _ in 0..20 {
        bench.launch_with(never_publishes());
    }
    let good = bench.launch(5);
    bench.until_in_service(&good).await;
    bench.until("it was asked again and again", |_| taken.load(Ordering::Relaxed) > 200 * MIB as u64).await;
    let peak = process.peak_mib();
    bench.until("the others wait still, and no more", |bench| bench.summary().queues[QUEUE].in_flight == 40).await;
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0));
    assert!(peak < MOST_MIB, "{peak} MiB");
}

#[tokio::test]
async fn a_server_whose_answers_would_take_a_hundred_times_their_length_does_not_fill_the_memory_and_holds_up_no_other_server() {
    let bench = Bench::start(|fixture| {
        fixture.groups.push(group("endless", enrolld::simulator::model::autoscaling::Form::Direct));
    })
    .await;
    let (url, answers) = answering(nested(4 * MIB));
    let text = configuration_with_endless(&bench, "flood-nested-key", &url);
    let text = text.replace("not_ready_max = \"300ms\"", "not_ready_max = \"100ms\"");
    let mut process = Process::start(&bench, "flood-nested-answers", &text, &[]);
    for _ in 0..20 {
        bench.launch_in("endless", Place::AutoScalingGroup, Some(&publishes_after(0)));
    }
    bench.until("the server has answered", |_| answers.load(Ordering::Relaxed) > 0).await;
    let good = bench.launch(5);
    bench.until_in_service(&good).await;
    bench.until("it was asked again", |_| answers.load(Ordering::Relaxed) > 3).await;
    let peak = process.peak_mib();
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0));
    assert!(peak < MOST_MIB, "{peak} MiB");
    assert!(process.log().contains("oversized_answer"), "that is why it is not used");
}

/// A server that answers every request with all but the end of an answer that is almost too long, and then holds it back; it counts the
/// connections that there were, and those that it holds.
fn held_back() -> (String, Arc<AtomicU64>, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (begun, held) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counts = (Arc::clone(&begun), Arc::clone(&held));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (begun, held) = counts.clone();
            std::thread::spawn(move || {
                held.fetch_add(1, Ordering::Relaxed);
                begun.fetch_add(1, Ordering::Relaxed);
                let piece = vec![b' '; 65_536];
                asked(&mut stream);
                let mut going = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n");
                for _ in 0..63 {
                    going = going.and_then(|()| stream.write_all(&piece));
                }
                // A blank now and then, until nobody takes it.
                while going.is_ok() {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    going = stream.write_all(b" ");
                }
                held.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    (url, begun, held)
}

#[tokio::test]
async fn a_server_that_holds_back_many_long_answers_at_once_does_not_fill_the_memory_and_holds_up_no_other_server() {
    const MANY: usize = 100;
    let bench = Bench::start(|fixture| {
        fixture.groups.push(group("endless", enrolld::simulator::model::autoscaling::Form::Direct));
    })
    .await;
    let (url, begun, held) = held_back();
    let text = configuration_with_endless(&bench, "flood-held-key", &url);
    let text = text.replace("poll_wait = \"1s\"", "poll_wait = \"1s\"\nmax_calls = 400\nattempt_timeout = \"5s\"");
    let mut process = Process::start(&bench, "flood-held", &text, &[]);
    for _ in 0..MANY {
        bench.launch_in("endless", Place::AutoScalingGroup, Some(&publishes_after(0)));
    }
    bench.until("the server was asked", |_| begun.load(Ordering::Relaxed) > 0).await;
    let good = bench.launch(5);
    bench.until_in_service(&good).await;
    bench.until("it was asked often", |_| begun.load(Ordering::Relaxed) >= 20).await;
    // A probe, and one more that has just been given up. Where all are held, they are so for as long as an attempt may take.
    bench.until("it holds no more than probes", |_| held.load(Ordering::Relaxed) <= 2).await;
    let peak = process.peak_mib();
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0));
    assert!(peak < MOST_MIB, "{peak} MiB");
}

/// A Chef server where every node object is there already, with rights on it that take almost as much as an answer may once they are read; it
/// says nothing to what is asked after them. It counts how often it gave them.
fn heavy_rights() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let given = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&given);
    let stranger = r#"{"actors":["stranger"],"groups":[]}"#;
    let rights = Arc::new(format!(r#"{{"read":{stranger},"update":{stranger},"padding":{}}}"#, nested(100 * 1024)));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (counted, rights) = (Arc::clone(&counted), Arc::clone(&rights));
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    let asked = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    let said = match asked.split(' ').nth(1).unwrap_or_default() {
                        path if path.ends_with("/_acl?detail=granular") && path.starts_with("/nodes/") => {
                            counted.fetch_add(1, Ordering::Relaxed);
                            ("200 OK", rights.as_str())
                        }
                        path if path.starts_with("/containers/") => continue,
                        "/nodes" => ("409 Conflict", r#"{"error":["it is there"]}"#),
                        "/clients/enrolld" => ("200 OK", r#"{"name":"enrolld","public_key":"x"}"#),
                        _ => ("404 Not Found", r#"{"error":["there is none"]}"#),
                    };
                    let head = "content-type: application/json\r\ncontent-length:";
                    let _ = stream.write_all(format!("HTTP/1.1 {}\r\n{head} {}\r\n\r\n{}", said.0, said.1.len(), said.1).as_bytes());
                }
            });
        }
    });
    (url, given)
}

#[tokio::test]
async fn a_server_whose_answers_are_heavy_and_kept_in_hand_does_not_fill_the_memory_and_holds_up_no_other_server() {
    const MANY: usize = 100;
    let bench = Bench::start(|fixture| {
        fixture.groups.push(group("endless", enrolld::simulator::model::autoscaling::Form::Direct));
    })
    .await;
    let (url, given) = heavy_rights();
    let text = configuration_with_endless(&bench, "flood-heavy-key", &url);
    let text = text.replace("poll_wait = \"1s\"", "poll_wait = \"1s\"\nmax_calls = 400\nattempt_timeout = \"5s\"");
    let mut process = Process::start(&bench, "flood-heavy", &text, &[]);
    for _ in 0..MANY {
        bench.launch_in("endless", Place::AutoScalingGroup, Some(&publishes_after(0)));
    }
    bench.until("rights were read", |_| given.load(Ordering::Relaxed) > 0).await;
    let good = bench.launch(5);
    bench.until_in_service(&good).await;
    bench.until("rights were read of many nodes at once", |_| given.load(Ordering::Relaxed) >= 40).await;
    let peak = process.peak_mib();
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0));
    assert!(peak < MOST_MIB, "{peak} MiB");
}

/// A server that answers everything with blanks, by single bytes: each a packet of its own, or each a chunk of its own. It counts its answers.
fn by_single_bytes(chunked: bool) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let begun = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&begun);
    let (header, piece) =
        if chunked { ("transfer-encoding: chunked", "1\r\n \r\n".repeat(10_000)) } else { ("connection: close", " ".to_owned()) };
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (counted, piece) = (Arc::clone(&counted), piece.clone());
            std::thread::spawn(move || {
                asked(&mut stream);
                counted.fetch_add(1, Ordering::Relaxed);
                let mut going = stream.set_nodelay(true);
                going = going.and_then(|()| {
                    stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{header}\r\n\r\n").as_bytes())
                });
                while going.is_ok() {
                    if !chunked {
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                    going = stream.write_all(piece.as_bytes());
                }
            });
        }
    });
    (url, begun)
}

#[tokio::test]
async fn a_server_that_answers_by_single_bytes_does_not_fill_the_memory_and_holds_up_no_other_server() {
    for chunked in [false, true] {
        let bench = Bench::start(|fixture| {
            fixture.groups.push(group("endless", enrolld::simulator::model::autoscaling::Form::Direct));
        })
        .await;
        let (url, begun) = by_single_bytes(chunked);
        let text = configuration_with_endless(&bench, &format!("flood-bytes-key-{chunked}"), &url);
        let text = text.replace("poll_wait = \"1s\"", "poll_wait = \"1s\"\nmax_calls = 100\nattempt_timeout = \"5s\"");
        let mut process = Process::start(&bench, &format!("flood-bytes-{chunked}"), &text, &[]);
        for _ in 0..40 {
            bench.launch_in("endless", Place::AutoScalingGroup, Some(&publishes_after(0)));
        }
        bench.until("the server was asked", |_| begun.load(Ordering::Relaxed) > 0).await;
        let good = bench.launch(5);
        bench.until_in_service(&good).await;
        process.until_logged("server_held").await;
        let peak = process.peak_mib();
        process.signal("TERM");
        assert_eq!(process.ended().await, Some(0));
        assert!(peak < MOST_MIB, "{peak} MiB, in chunks: {chunked}");
    }
}

/// More than the process takes in any of these, and less than what each flood would take.
const MOST_MIB: u64 = 150;
