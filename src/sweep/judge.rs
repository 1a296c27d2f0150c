//! What Auto Scaling says of the instances behind some nodes.

use std::collections::{BTreeSet, HashMap};

use super::finding::Verdict;
use crate::facts::{InstanceSeen, LifecycleState, Whereabouts};
use crate::lifecycle::Lifecycle;
use crate::names::{GroupName, InstanceId, NodeName, Origin};
use crate::removal::retried;
use crate::retry::{Class, Failure};

/// Ids a call (the API's limit).
const BATCH: usize = 50;
/// How far back a group's activities are read, a hundred a page. The real ones go back six weeks.
const MOST_PAGES: usize = 100;

/// A node, and which instance its name is of.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The node.
    pub node: NodeName,
    /// What its name says.
    pub origin: Origin,
}

/// Judges nodes by their instances. Those that Auto Scaling lists live, or are on their way; of the others, the groups' activities tell.
pub async fn judge(lifecycle: &Lifecycle, groups: &BTreeSet<GroupName>, candidates: Vec<Candidate>) -> Vec<(Candidate, Verdict)> {
    let mut verdicts: HashMap<InstanceId, Verdict> = HashMap::with_capacity(candidates.len());
    let mut absent: BTreeSet<InstanceId> = BTreeSet::new();
    for batch in candidates.chunks(BATCH) {
        let ids: Vec<InstanceId> = batch.iter().map(|candidate| candidate.origin.instance.clone()).collect();
        for (id, seen) in ids.iter().zip(describe(lifecycle, &ids).await) {
            match seen {
                Ok(Some(seen)) => drop(verdicts.insert(id.clone(), of_listed(&seen))),
                Ok(None) => drop(absent.insert(id.clone())),
                Err(failure) => {
                    let why = format!("Auto Scaling could not be asked about its instance: {failure}");
                    verdicts.insert(id.clone(), Verdict::failed(why));
                }
            }
        }
    }
    // A group that was deleted since is known by the names of its nodes alone.
    let told = candidates.iter().filter(|candidate| absent.contains(&candidate.origin.instance)).filter_map(|one| one.origin.group.clone());
    let groups: BTreeSet<GroupName> = groups.iter().cloned().chain(told).collect();
    prove(lifecycle, &groups, absent, &mut verdicts).await;
    let judged = candidates.into_iter().map(|candidate| {
        let verdict = verdicts.get(&candidate.origin.instance).cloned().unwrap_or(Verdict::Unproven);
        (candidate, verdict)
    });
    judged.collect()
}

/// Where instances stand, in the order asked. A batch that is refused is halved until the member stands alone that is to blame.
async fn describe(lifecycle: &Lifecycle, ids: &[InstanceId]) -> Vec<Result<Option<InstanceSeen>, Failure>> {
    let mut answers = Vec::with_capacity(ids.len());
    let mut open = vec![ids];
    while let Some(batch) = open.pop() {
        match retried(async || lifecycle.describe_instances(batch).await).await {
            Ok(seen) => answers.extend(seen.into_iter().map(Ok)),
            Err(failure) if failure.class == Class::Final && batch.len() > 1 => {
                let (first, second) = batch.split_at(batch.len() / 2);
                open.extend([second, first]);
            }
            Err(failure) => answers.extend(batch.iter().map(|_| Err(failure.clone()))),
        }
    }
    answers
}

fn of_listed(seen: &InstanceSeen) -> Verdict {
    match seen.state {
        state if state.is_terminating() => Verdict::Terminating,
        LifecycleState::Detached => Verdict::Detached,
        _ => Verdict::Alive,
    }
}

/// Looks for the end of instances in the groups' activities. A termination that any group shows is a proof: an instance that was
/// terminated never lives again. Of one group's activities the newest counts.
async fn prove(
    lifecycle: &Lifecycle,
    groups: &BTreeSet<GroupName>,
    mut open: BTreeSet<InstanceId>,
    verdicts: &mut HashMap<InstanceId, Verdict>,
) {
    let mut unread: Option<String> = None;
    for group in groups {
        let mut newest: HashMap<InstanceId, Whereabouts> = HashMap::new();
        let mut after = None;
        for _ in 0..MOST_PAGES {
            if open.iter().all(|id| newest.contains_key(id)) {
                break;
            }
            let page = match retried(async || lifecycle.activities(group, after.clone()).await).await {
                Ok(page) => page,
                // There is no such group (any more), and so no activity of it.
                Err(failure) if failure.class == Class::Final => break,
                Err(failure) => {
                    unread = Some(format!("the scaling activities of a group could not be read: {failure}"));
                    break;
                }
            };
            for activity in page.items.into_iter().filter(|activity| open.contains(&activity.instance)) {
                if let Some(proves) = activity.proves {
                    newest.entry(activity.instance).or_insert(proves);
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for (id, proves) in newest {
            match proves {
                Whereabouts::Terminated | Whereabouts::Terminating => {
                    open.remove(&id);
                    verdicts.insert(id, Verdict::Gone(group.clone()));
                }
                Whereabouts::Detached => drop(verdicts.insert(id, Verdict::Detached)),
                Whereabouts::EntersPool | Whereabouts::Elsewhere | Whereabouts::Returned | Whereabouts::Unproven => {}
            }
        }
    }
    // What was not read may hold the proof.
    if let Some(why) = unread {
        for id in open {
            verdicts.entry(id).or_insert_with(|| Verdict::failed(&why));
        }
    }
}
