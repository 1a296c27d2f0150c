//! The protocols: one port for all services, and the admin interface beside them.

mod admin;
mod asked;
mod delay;
mod exchange;
mod form;
mod in_process;
mod json;
mod metadata;
mod poll;
mod query;
mod reply;
mod shared;
mod xml;

pub use admin::orders;
pub use in_process::Exchange;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::model::World;
use super::model::fixture::Fixture;
use super::model::state::State;
use shared::{Shared, wall_clock_ms};

/// How to start a simulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The seed of everything random.
    pub seed: u64,
    /// What is there from the start.
    pub fixture: Fixture,
    /// How far its clock is behind the machine's, in milliseconds: to whoever goes by that one, all that happens has happened so long ago.
    pub behind_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), seed: 0, fixture: Fixture::standard(), behind_ms: 0 }
    }
}

/// A simulator that is running; it ends when this is dropped.
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: [JoinHandle<Infallible>; 2],
}

impl Simulator {
    /// Starts a simulator on the current tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on; the fixture cannot be (`InvalidInput`, with what the service concerned says).
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let mut fixture = options.fixture;
        fixture.settings.endpoint = format!("http://{address}");
        let now = wall_clock_ms().saturating_sub(options.behind_ms);
        let world = World::from_fixture(fixture, options.seed, now).map_err(|error| {
            let message = error.message.unwrap_or_default();
            io::Error::new(io::ErrorKind::InvalidInput, format!("the fixture cannot be: {}: {message}", error.code))
        })?;
        let shared = Arc::new(Shared::new(world, now));
        let clock = Arc::clone(&shared);
        let keep_time = tokio::spawn(async move {
            clock.keep_time().await;
            unreachable!("the clock never stops")
        });
        let accept = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, address, tasks: [keep_time, accept] })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `AWS_ENDPOINT_URL` must be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Works on the world at the present time (unix milliseconds).
    pub fn with<T>(&self, work: impl FnOnce(&mut World, u64) -> T) -> T {
        self.shared.with(work)
    }

    /// The present state; without the long lists where `details` is false.
    #[must_use]
    pub fn state(&self, details: bool) -> State {
        self.with(|world, now| {
            world.advance(now);
            world.state(details)
        })
    }

    /// Puts the clock forward.
    pub fn skip(&self, ms: u64) {
        self.shared.skip(ms);
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Small answers must not wait for more to send.
                    let _ = stream.set_nodelay(true);
                    let shared = Arc::clone(&shared);
                    let service = service_fn(move |request| {
                        let shared = Arc::clone(&shared);
                        async move { exchange::exchange(shared, request).await.map(|reply| reply.map(Full::new)) }
                    });
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    // It ends with an error where the plan, or the client, drops it.
                    connections.spawn(async move { drop(connection.await) });
                }
                // Out of file descriptors, most likely: some connection must end first.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}
