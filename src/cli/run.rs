//! `enrolld run`: the daemon.

use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{CommandError, ConfigArgs, process, rooms};
use crate::config::{Config, LogFormat};
use crate::driver::{Ended, Worker};
use crate::observe::listener::Listener;
use crate::observe::logs::{self, Format, LogSettings};
use crate::observe::{Health, Observer, ObserverSettings, ServiceManager, service_manager};

/// Run the daemon
///
/// Takes lifecycle notifications from the queue until it is told to stop. SIGTERM and SIGINT end it: it takes no more messages, finishes what is
/// in flight or gives it back to the queue within `shutdown_grace`, and exits with 0. Run as many of it on one queue as you like.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct RunArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld run --config /etc/enrolld/enrolld.toml
  With more in the log, for this once:
    ENROLLD_LOG=info,enrolld=debug enrolld run --config enrolld.toml
  Against the simulator on this machine (enrolld simulate):
    AWS_ENDPOINT_URL=http://127.0.0.1:4599 enrolld run --config enrolld.toml";

/// Runs the daemon to its end.
///
/// # Errors
/// A configuration that cannot be used, or a start that failed.
pub async fn run(args: RunArgs) -> Result<ExitCode, CommandError> {
    // Before anything else, so that being told to stop while starting ends in order too.
    let stop = stop_signals().map_err(CommandError::failed)?;
    let config = args.config.load()?;
    process::keep_memory_private();
    let log = logs::start(&log_settings(&config), std::env::var("RUST_LOG").ok().as_deref()).map_err(CommandError::failed)?;
    let mut settings = config.core_settings();
    let aws = rooms::aws(&config).await?;
    rooms::name_regions(&mut settings, &aws);
    let services = rooms::services(&config, &settings, &aws)?;
    let observer = Observer::new(ObserverSettings {
        worker: config.worker.clone(),
        routes: rooms::route_names(&config, &settings),
        audit: rooms::audit_target(&config),
    })
    .map_err(CommandError::failed)?;
    let health = Arc::new(Health::new());
    if let Some(address) = config.listen {
        let listener = Listener::bind(address).await.map_err(CommandError::failed)?;
        tracing::info!(address = %listener.address(), "listening for health checks and scrapes");
        tokio::spawn(listener.run(Arc::clone(&health), observer.metrics()));
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        worker = config.worker,
        queue = config.queue_url.as_str(),
        routes = config.routes.len(),
        "enrolld starts"
    );
    if let Some(manager) = ServiceManager::of_this_process(Arc::clone(&health)) {
        manager.start();
    }
    let stop = announced(stop);
    let ended = Worker::new(settings, services, observer, health, fastrand::u64(..)).run(stop).await;
    match ended {
        Ended::InOrder => tracing::info!("enrolld ended in order"),
        Ended::AtOnce => {
            tracing::warn!("told to stop twice, enrolld ended at once; what was in hand comes back after the visibility time-out")
        }
    }
    drop(log);
    Ok(match ended {
        Ended::InOrder => ExitCode::SUCCESS,
        Ended::AtOnce => ExitCode::FAILURE,
    })
}

fn log_settings(config: &Config) -> LogSettings {
    let format = match config.log_format {
        LogFormat::Auto => None,
        LogFormat::Human => Some(Format::Human),
        LogFormat::Json => Some(Format::Json),
    };
    LogSettings { format, filter: Some(config.log.clone()) }
}

/// Passes on each time that the worker is told to stop, and says so to the service manager first.
fn announced(mut stop: mpsc::Receiver<()>) -> mpsc::Receiver<()> {
    let (tell, told) = mpsc::channel(2);
    tokio::spawn(async move {
        while let Some(()) = stop.recv().await {
            service_manager::stopping();
            if tell.send(()).await.is_err() {
                return;
            }
        }
    });
    told
}

/// Tells of each SIGTERM and SIGINT.
pub(super) fn stop_signals() -> std::io::Result<mpsc::Receiver<()>> {
    let (tell, told) = mpsc::channel(2);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if tell.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(told)
}
