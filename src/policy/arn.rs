//! Where things are, and what their ARNs are.

use crate::config::{QueueUrl, RoleArn};
use crate::names::{AccountId, Region, Template, shown};

/// An account and a region, in their partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The region.
    pub region: Region,
    /// The account.
    pub account: AccountId,
}

/// Why a policy cannot be exact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Neither the configuration nor the command names a region.
    #[error("which region the policy is for is not known: write region in the configuration, or give --region")]
    Region,
    /// The queue's URL does not show its account.
    #[error("which account the policy is for is not known, since queue_url does not show it: give --account")]
    Account,
    /// It depends on what the queue's redrive policy says, which only AWS knows.
    #[error(
        "which queue the dead letters go to stands in the redrive policy of the queue and not in the configuration: \
         write dead_letter_queue_url there, or give --dead-letter-queue with its ARN, or with none where there is no such queue"
    )]
    DeadLetters,
    /// The dead-letter queue's URL does not show its account or region.
    #[error("dead_letter_queue_url does not show which queue it is: give --dead-letter-queue with its ARN")]
    DeadLetterUrl,
}

/// The queue for what nobody can handle, where the configuration does not name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterQueue {
    /// This one.
    Arn(String),
    /// There is none.
    None,
}

/// Why a text does not name a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is neither the ARN of a queue, such as arn:aws:sqs:eu-central-1:123456789012:enrolld-dead-letters, nor \"none\"")]
pub struct DeadLetterQueueError(String);

impl std::str::FromStr for DeadLetterQueue {
    type Err = DeadLetterQueueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self::None);
        }
        let error = || DeadLetterQueueError(shown(text));
        let parts: Vec<&str> = text.split(':').collect();
        let &["arn", partition, "sqs", region, account, name] = parts.as_slice() else { return Err(error()) };
        let good = partition.starts_with("aws")
            && Region::new(region).is_ok()
            && AccountId::new(account).is_ok()
            && (1..=80).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if good { Ok(Self::Arn(text.to_owned())) } else { Err(error()) }
    }
}

impl Place {
    /// `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`
    pub(super) fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{resource}", self.partition(), self.region, self.account)
    }

    /// The group of regions that shares its ARNs with no other.
    fn partition(&self) -> &'static str {
        let of = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-iso-", "aws-iso"),
            ("us-isob-", "aws-iso-b"),
            ("us-isof-", "aws-iso-f"),
            ("eu-isoe-", "aws-iso-e"),
            ("eusc-", "aws-eusc"),
        ];
        of.iter().find(|(prefix, _)| self.region.as_str().starts_with(prefix)).map_or("aws", |(_, partition)| partition)
    }

    /// The ARN of a queue, by its URL's own account and region, and otherwise by this place's.
    pub(super) fn queue(&self, url: &QueueUrl) -> String {
        let place = Self { region: url.region().unwrap_or(&self.region).clone(), account: url.account().unwrap_or(&self.account).clone() };
        place.arn("sqs", url.as_str().rsplit('/').next().unwrap_or_default())
    }

    /// The ARN of the groups that a glob matches: the middle part is an id of Auto Scaling's own.
    pub(super) fn groups(&self, glob: &str) -> String {
        self.groups_like(&literal(glob))
    }

    /// The same of a pattern as IAM reads it.
    pub(super) fn groups_like(&self, pattern: &str) -> String {
        self.arn("autoscaling", &format!("autoScalingGroup:*:autoScalingGroupName/{pattern}"))
    }

    /// The ARNs of the parameters that a template makes for the groups of a route.
    pub(super) fn parameters(&self, name: &Template, groups: &[String]) -> Vec<String> {
        self.parameters_like(name, &groups.iter().map(|glob| literal(glob)).collect::<Vec<_>>())
    }

    /// The same of groups as IAM reads them.
    pub(super) fn parameters_like(&self, name: &Template, groups: &[String]) -> Vec<String> {
        let by_group = name.source().contains("{group}");
        let each: &[String] = if by_group { groups } else { &groups[..1.min(groups.len())] };
        let fill = |group: &String| {
            let filled = name
                .source()
                .replace("{instance_id}", "i-*")
                .replace("{group}", group)
                .replace("{account}", self.account.as_str())
                .replace("{region}", self.region.as_str());
            // A name begins with a slash where it has levels, and in ARNs there is one slash between.
            self.arn("ssm", &format!("parameter/{}", filled.trim_start_matches('/')))
        };
        each.iter().map(fill).collect()
    }

    /// The ARN of a document. Amazon's own stand in no account, which a star matches too; nobody else can use their names.
    pub(super) fn document(&self, name: &str) -> String {
        if name.starts_with("arn:") {
            name.to_owned()
        } else if name.starts_with("AWS-") || name.starts_with("Amazon") {
            format!("arn:{}:ssm:{}:*:document/{name}", self.partition(), self.region)
        } else {
            self.arn("ssm", &format!("document/{name}"))
        }
    }

    /// The ARN of the instances of this place, all of them: their groups are a condition's matter.
    pub(super) fn instances(&self) -> String {
        self.arn("ec2", "instance/*")
    }

    /// The place where a route asks: of a role's own account.
    pub(super) fn of(&self, region: Option<&Region>, role: Option<&RoleArn>) -> Self {
        Self { region: region.unwrap_or(&self.region).clone(), account: role.map_or(&self.account, RoleArn::account).clone() }
    }
}

/// A name as IAM reads it: one in which nothing stands for anything else.
pub(super) fn exactly(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        match c {
            '*' | '?' | '$' => text.extend(['$', '{', c, '}']),
            c => text.push(c),
        }
    }
    text
}

/// A glob of ours as IAM reads it: `*` and `?` mean the same, and a dollar would begin a policy variable.
pub(super) fn literal(glob: &str) -> String {
    glob.replace('$', "${$}")
}
