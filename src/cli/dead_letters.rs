//! `enrolld dead-letters`: what stands in the dead-letter queue, and sending it back.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use tokio::sync::watch;

use super::{CommandError, ConfigArgs, print, process, rooms, run::stop_signals};
use crate::aws::Aws;
use crate::config::Config;
use crate::core::call::InHand;
use crate::core::settings::Settings;
use crate::dead_letters::look::{self, End, Look, Queues};
use crate::dead_letters::redrive::{self, Deeds, Redrive};
use crate::dead_letters::{Letter, Selection, table};
use crate::driver::services::Services;
use crate::names::InstanceId;

/// Show what could not be handled, and send it back
///
/// What no worker could handle stands in the dead-letter queue, with the reason beside it: that of the configuration, or of the queue's redrive
/// policy. `list` shows it. `redrive` sends it back to the queue once the cause is mended, and takes those nodes off their servers which
/// a worker had to leave there.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct DeadLettersArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: DeadLettersCommand,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld dead-letters list --config enrolld.toml
  What would be done with those of one reason, then do it:
    enrolld dead-letters redrive --config enrolld.toml --reason no_route --dry-run
    enrolld dead-letters redrive --config enrolld.toml --reason no_route";

/// What to do with the letters. Described where the arguments are.
#[expect(missing_docs, reason = "clap would show it instead of the command's own description")]
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    List(ListArgs),
    Redrive(RedriveArgs),
}

/// Show the dead letters
///
/// Nothing is lost by looking: every letter is given back at once at the end, also after an error or an interrupt. While it is looked at, a
/// letter is hidden from others, for a minute at most. Each look counts as a receive.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_HELP)]
pub struct ListArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Which letters.
    #[command(flatten)]
    pub filter: Filter,

    /// How they are printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

const LIST_HELP: &str = "\
Examples:
  enrolld dead-letters list --config enrolld.toml
  enrolld dead-letters list --config enrolld.toml --reason moved_by_sqs
  How many there are of each reason, with jq:
    enrolld dead-letters list --config enrolld.toml --output json | jq '[.letters[].reason] | group_by(.) | map({(.[0]): length}) | add'";

/// Send dead letters back to the queue, and finish what is owed
///
/// The body of each chosen letter is sent back to the queue unchanged, and the letter is deleted after that; a worker that gets a notification
/// twice does its work once. A letter that says that a node must still be disassociated is sent back only where Auto Scaling shows its instance
/// waiting: then a worker does that, too. Otherwise the node is taken off its server here, once Auto Scaling shows its instance terminating or its
/// scaling activities prove that it was terminated, and the letter is deleted when the server reports success. Without that proof the letter stays.
///
/// Exits with 0 when everything chosen was done, and with 1 when something was left or failed.
#[derive(Debug, clap::Args)]
#[command(after_help = REDRIVE_HELP)]
pub struct RedriveArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Which letters.
    #[command(flatten)]
    pub filter: Filter,

    /// Every letter: needed where no filter is given
    #[arg(long, required_unless_present_any = ["reasons", "instances"], conflicts_with_all = ["reasons", "instances"])]
    pub all: bool,

    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,

    /// How long to wait for a server, for each node that is owed a disassociation
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub wait: u64,

    /// How it is told
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

const REDRIVE_HELP: &str = "\
Examples:
  A route was missing, and has been added:
    enrolld dead-letters redrive --config enrolld.toml --reason no_route
  One instance:
    enrolld dead-letters redrive --config enrolld.toml --instance i-0a1b2c3d4e5f60718
  Everything, but first only say what would be done:
    enrolld dead-letters redrive --config enrolld.toml --all --dry-run";

/// Which letters are meant.
#[derive(Debug, Clone, clap::Args)]
pub struct Filter {
    /// Only those with this reason, such as no_route or moved_by_sqs; may be given more than once
    #[arg(long = "reason", value_name = "CODE")]
    pub reasons: Vec<String>,

    /// Only those about this instance; may be given more than once
    #[arg(long = "instance", value_name = "ID", value_parser = InstanceId::new)]
    pub instances: Vec<InstanceId>,

    /// Look at so many letters at most
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

impl Filter {
    fn selection(&self) -> Selection {
        Selection { reasons: self.reasons.clone(), instances: self.instances.clone() }
    }
}

/// How something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// Does it.
///
/// # Errors
/// A configuration that cannot be used, no dead-letter queue, or a queue that does not answer.
pub async fn run(args: DeadLettersArgs) -> Result<ExitCode, CommandError> {
    match args.command {
        DeadLettersCommand::List(args) => list(args).await,
        DeadLettersCommand::Redrive(args) => redrive(args).await,
    }
}

async fn list(args: ListArgs) -> Result<ExitCode, CommandError> {
    let config = args.config.load()?;
    // Nothing is asked of a server, so that whoever looks need not have the daemon's own keys.
    let Opened { queues, stop, .. } = Opened::open(&config, rooms::services_without_registrars).await?;
    let look = look::take(&queues, args.filter.limit as usize, &stop).await;
    // Given back before anything is printed: whoever reads the output may take their time.
    let hands: Vec<InHand> = look.held.iter().map(|held| held.hand.clone()).collect();
    let not_given_back = look::give_back(&queues.letters, &hands).await;
    let selection = args.filter.selection();
    let chosen: Vec<&Letter> = look.held.iter().map(|held| &held.letter).filter(|letter| selection.takes(letter)).collect();
    let out = match args.output {
        Output::Json => {
            let mut value = table::json(&look, &queues.letters_url, chosen.len(), not_given_back);
            value["letters"] = chosen.iter().map(|letter| letter.json()).collect();
            format!("{value}\n")
        }
        Output::Text => {
            let mut text = if chosen.is_empty() { String::new() } else { table::text(chosen.iter().copied()) };
            for remark in table::remarks(&look, chosen.len(), not_given_back) {
                text.push_str(&remark);
                text.push('\n');
            }
            text
        }
    };
    print(&out)?;
    Ok(if matches!(look.end, End::Failed(_) | End::Stopped) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn redrive(args: RedriveArgs) -> Result<ExitCode, CommandError> {
    let selection = args.filter.selection();
    let config = args.config.load()?;
    let Opened { queues, services, settings, stop } = Opened::open(&config, rooms::services).await?;
    let url = queues.letters_url.clone();
    let mut look = look::take(&queues, args.filter.limit as usize, &stop).await;
    let seen = std::mem::take(&mut look.held);
    let (chosen, others): (Vec<_>, Vec<_>) = seen.iter().cloned().partition(|held| selection.takes(&held.letter));
    look.held = seen;
    let hands: Vec<InHand> = others.into_iter().map(|held| held.hand).collect();
    let mut not_given_back = look::give_back(&queues.letters, &hands).await;
    let letters: Vec<Letter> = chosen.iter().map(|held| held.letter.clone()).collect();
    let mut deeds = Deeds::default();
    let wait = Duration::from_secs(args.wait);
    let redrive = Redrive::new(queues, services, settings, args.dry_run, wait, stop);
    let told = redrive.run(chosen, |held, deed| {
        deeds.note(&held.letter, deed);
        if args.output == Output::Text {
            // Nobody reading is no reason to stop half-way.
            let _ = print(&format!("{}\n", redrive::line(&held.letter, deed)));
        }
    });
    not_given_back += told.await;
    deeds.note_lost(&letters);
    print(&match args.output {
        Output::Json => format!("{}\n", summary_json(&look, &url, &deeds, not_given_back)),
        Output::Text => summary(&look, &deeds, not_given_back),
    })?;
    let looked = !matches!(look.end, End::Failed(_) | End::Stopped);
    Ok(if deeds.all_done() && looked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const WORDS: [&str; 7] = ["sent_back", "disassociated", "would_send_back", "would_disassociate", "left", "failed", "not_reached"];

fn summary(look: &Look, deeds: &Deeds, not_given_back: usize) -> String {
    let counts = WORDS.map(|word| (word, deeds.count(word)));
    let said: Vec<String> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {}", word.replace('_', " "))).collect();
    let mut lines = vec![if said.is_empty() { "nothing was chosen".to_owned() } else { said.join(", ") }];
    lines.extend(table::remarks(look, deeds.iter().count(), not_given_back));
    lines.join("\n") + "\n"
}

fn summary_json(look: &Look, url: &str, deeds: &Deeds, not_given_back: usize) -> serde_json::Value {
    let mut value = table::json(look, url, deeds.iter().count(), not_given_back);
    for word in WORDS {
        value[word] = deeds.count(word).into();
    }
    let entry = |(letter, deed): &(Letter, redrive::Deed)| {
        let mut entry = letter.json();
        entry["result"] = deed.word().into();
        entry["said"] = redrive::line(letter, deed).into();
        entry
    };
    value["letters"] = deeds.iter().map(entry).collect();
    value
}

/// What both commands work with.
struct Opened {
    queues: Queues,
    services: Services,
    settings: Settings,
    stop: watch::Receiver<bool>,
}

impl Opened {
    async fn open(
        config: &Config,
        rooms: impl FnOnce(&Config, &Settings, &Aws) -> Result<Services, CommandError>,
    ) -> Result<Self, CommandError> {
        process::keep_memory_private();
        let stop = stop_on_signal("what is in hand is given back first", "the letters in hand come back by themselves within a minute");
        let stop = stop.map_err(CommandError::failed)?;
        let mut settings = config.core_settings();
        let aws = rooms::aws(config).await?;
        rooms::name_regions(&mut settings, &aws);
        let services = rooms(config, &settings, &aws)?;
        let found = Queues::find(&aws, services.queue.clone(), config.queue_url.as_str());
        let queues = found.await.map_err(CommandError::failed)?;
        Ok(Self { queues, services, settings, stop })
    }
}

/// Becomes true at the first SIGINT or SIGTERM. At the second the process ends at once. Both say what becomes of what is under way.
pub(super) fn stop_on_signal(first: &'static str, second: &'static str) -> io::Result<watch::Receiver<bool>> {
    let mut signals = stop_signals()?;
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        signals.recv().await;
        eprintln!("enrolld: interrupted; {first}");
        let _ = tell.send(true);
        signals.recv().await;
        eprintln!("enrolld: interrupted twice; {second}");
        std::process::exit(1);
    });
    Ok(told)
}
