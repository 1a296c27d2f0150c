//! What Auto Scaling's word about an instance means for the claim that a notification makes.

use crate::event::{LifecycleAction, Place, Transition};
use crate::facts::{InstanceSeen, LifecycleState};

/// What the claim is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It waits, as claimed.
    Waits,
    /// A launch may wait in the warm pool's own state, and so does an instance on its way back: the group's activities tell which.
    PerhapsEnters,
    /// It is on its way back into the warm pool and waits there: it lives on, and keeps its association.
    WaitsForPool,
    /// It is about to wait, or has just stopped waiting: look again shortly.
    Soon,
    /// It stands where it may have stood before it began to wait, and what Auto Scaling shows may be older than its event: look again for a
    /// while before it is taken for one that lives.
    Before,
    /// It lives, and nothing waits for us. For a launch that is the end; for a termination the claim is without proof.
    Alive,
    /// It is being terminated, and not (any more) waiting as claimed.
    Leaving,
    /// Auto Scaling does not list it, which proves nothing.
    Absent,
    /// It is in another group than the claim says.
    OtherGroup,
}

/// Holds a claim against what was seen.
pub(super) fn judge(claim: &LifecycleAction, seen: Option<&InstanceSeen>) -> Verdict {
    use LifecycleState as S;
    let Some(seen) = seen else { return Verdict::Absent };
    if seen.group != claim.group {
        return Verdict::OtherGroup;
    }
    match claim.transition {
        // A launch into the group never waits in the warm pool's state: that instance is on its way back into the pool. Nor does one
        // into the pool wait in the group's: it is on its way out of it. A duplicate that comes late must not be taken for either.
        Transition::Launching if comes_from(claim, seen.state) => Verdict::Before,
        Transition::Launching if goes_elsewhere(claim, seen.state) => Verdict::Alive,
        Transition::Launching => match seen.state {
            S::PendingWait => Verdict::Waits,
            S::WarmedPendingWait => Verdict::PerhapsEnters,
            S::Pending | S::PendingProceed | S::Unknown => Verdict::Soon,
            S::Living | S::Standby | S::Pooled | S::Detached => Verdict::Alive,
            S::Terminating | S::TerminatingWait | S::TerminatingProceed => Verdict::Leaving,
        },
        // The destination is a claim too, so the state decides: what really terminates is disassociated, whatever the message
        // says; and what waits in the warm pool's own state lives on.
        Transition::Terminating => match seen.state {
            S::TerminatingWait => Verdict::Waits,
            // One that terminates never comes back: what is shown is from before, or the claim is not true.
            S::WarmedPendingWait if claim.destination == Some(Place::Ec2) => Verdict::Before,
            S::WarmedPendingWait => Verdict::WaitsForPool,
            S::Terminating | S::Pending | S::PendingProceed | S::Unknown => Verdict::Soon,
            S::TerminatingProceed => Verdict::Leaving,
            S::Living | S::Standby | S::Pooled | S::PendingWait | S::Detached => Verdict::Alive,
        },
    }
}

/// Whether a launch waits where its claim does not lead.
fn goes_elsewhere(claim: &LifecycleAction, state: LifecycleState) -> bool {
    match claim.destination {
        Some(Place::AutoScalingGroup) => state == LifecycleState::WarmedPendingWait,
        Some(Place::WarmPool) => state == LifecycleState::PendingWait,
        _ => false,
    }
}

/// Whether a launch stands where it says that it comes from: in the warm pool; or in Standby, of which no event tells.
fn comes_from(claim: &LifecycleAction, state: LifecycleState) -> bool {
    match state {
        _ if claim.destination == Some(Place::WarmPool) => false,
        LifecycleState::Pooled => claim.origin == Some(Place::WarmPool),
        LifecycleState::WarmedPendingWait => claim.origin == Some(Place::WarmPool) && claim.destination == Some(Place::AutoScalingGroup),
        LifecycleState::Standby => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::samples;

    #[test]
    fn each_state_has_its_verdict_for_each_transition() {
        use LifecycleState as S;
        use Verdict as V;
        for (state, launch, terminate) in [
            (S::Pending, V::Soon, V::Soon),
            (S::PendingWait, V::Waits, V::Alive),
            (S::WarmedPendingWait, V::PerhapsEnters, V::WaitsForPool),
            (S::PendingProceed, V::Soon, V::Soon),
            (S::Living, V::Alive, V::Alive),
            (S::Standby, V::Before, V::Alive),
            (S::Pooled, V::Alive, V::Alive),
            (S::Detached, V::Alive, V::Alive),
            (S::Terminating, V::Leaving, V::Soon),
            (S::TerminatingWait, V::Leaving, V::Waits),
            (S::TerminatingProceed, V::Leaving, V::Leaving),
            (S::Unknown, V::Soon, V::Soon),
        ] {
            for (transition, expected) in [(Transition::Launching, launch), (Transition::Terminating, terminate)] {
                let claim = LifecycleAction { destination: None, ..samples::claim(transition, 1) };
                let seen = InstanceSeen { instance: claim.instance.clone(), group: claim.group.clone(), state };
                assert_eq!(judge(&claim, Some(&seen)), expected, "{state:?} for {transition:?}");
            }
        }
    }

    #[test]
    fn a_launch_that_leads_elsewhere_than_the_instance_stands_is_over_or_has_yet_to_begin() {
        use LifecycleState as S;
        use Place as P;
        for (origin, destination, state, expected) in [
            (P::Ec2, P::AutoScalingGroup, S::PendingWait, Verdict::Waits),
            (P::Ec2, P::AutoScalingGroup, S::WarmedPendingWait, Verdict::Alive),
            (P::Ec2, P::AutoScalingGroup, S::Pooled, Verdict::Alive),
            (P::Ec2, P::AutoScalingGroup, S::Standby, Verdict::Before),
            (P::Ec2, P::WarmPool, S::PendingWait, Verdict::Alive),
            (P::Ec2, P::WarmPool, S::WarmedPendingWait, Verdict::PerhapsEnters),
            (P::Ec2, P::WarmPool, S::Pooled, Verdict::Alive),
            (P::Ec2, P::WarmPool, S::Standby, Verdict::Alive),
            (P::WarmPool, P::AutoScalingGroup, S::PendingWait, Verdict::Waits),
            (P::WarmPool, P::AutoScalingGroup, S::WarmedPendingWait, Verdict::Before),
            (P::WarmPool, P::AutoScalingGroup, S::Pooled, Verdict::Before),
        ] {
            let ways = LifecycleAction { origin: Some(origin), destination: Some(destination), ..samples::claim(Transition::Launching, 1) };
            let seen = InstanceSeen { instance: ways.instance.clone(), group: ways.group.clone(), state };
            assert_eq!(judge(&ways, Some(&seen)), expected, "{origin:?} to {destination:?}: {state:?}");
        }
    }

    #[test]
    fn an_instance_of_another_group_is_never_taken_for_the_claimed_one() {
        let claim = samples::claim(Transition::Launching, 1);
        let seen = InstanceSeen {
            instance: claim.instance.clone(),
            group: crate::names::GroupName::new("another").unwrap(),
            state: LifecycleState::PendingWait,
        };
        assert_eq!(judge(&claim, Some(&seen)), Verdict::OtherGroup);
        assert_eq!(judge(&claim, None), Verdict::Absent);
    }
}
