//! Orders to the simulator, and its state: plain HTTP/1.1 over one blocking connection.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use enrolld::simulator::model::state::State;
use serde_json::Value;

use crate::Fallible;

/// The admin interface of one simulator.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    connection: RefCell<BufReader<TcpStream>>,
}

impl Admin {
    /// Connects to it.
    pub fn connect(address: SocketAddr) -> Fallible<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { address, connection: RefCell::new(BufReader::new(stream)) })
    }

    /// An order, which must be carried out.
    pub fn post(&self, path: &str, body: &Value) -> Fallible<Value> {
        self.request("POST", path, &body.to_string())
    }

    /// Deletes counts or faults.
    pub fn delete(&self, path: &str) -> Fallible<()> {
        self.request("DELETE", path, "").map(drop)
    }

    /// Launches instances of a group.
    pub fn launch(&self, group: &str, count: usize) -> Fallible<()> {
        self.post("launch", &serde_json::json!({ "group": group, "count": count })).map(drop)
    }

    /// A server's status from now on.
    pub fn server_is(&self, server: &str, status: &str) -> Fallible<()> {
        self.post("server-status", &serde_json::json!({ "server": server, "status": status })).map(drop)
    }

    /// So many milliseconds on every call.
    pub fn latency(&self, ms: u64) -> Fallible<()> {
        let effect = serde_json::json!({ "kind": "latency", "ms": ms });
        self.post("faults", &serde_json::json!({ "operation": "*", "effect": effect })).map(drop)
    }

    /// The state without its long lists.
    pub fn summary(&self) -> Fallible<State> {
        Ok(serde_json::from_value(self.request("GET", "state?summary=1", "")?)?)
    }

    /// All of the state.
    pub fn state(&self) -> Fallible<State> {
        Ok(serde_json::from_value(self.request("GET", "state", "")?)?)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Fallible<Value> {
        let mut connection = self.connection.borrow_mut();
        let head = format!("{method} /_sim/{path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n", self.address, body.len());
        connection.get_mut().write_all((head + body).as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        connection.read_line(&mut line)?;
        let status: u16 = line.split_whitespace().nth(1).and_then(|status| status.parse().ok()).ok_or("no HTTP status")?;
        loop {
            line.clear();
            connection.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        connection.read_exact(&mut answer)?;
        let answer: Value = serde_json::from_slice(&answer)?;
        if status == 200 { Ok(answer) } else { Err(format!("{method} /_sim/{path}: {answer}").into()) }
    }
}
