//! What is left of a token among all that the process has on its heap once its message is gone: nothing. SNS is left out: a text with escapes is put
//! together in a buffer of `serde_json`, which is not ours to wipe.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use enrolld::event::decode;
use enrolld::facts::MessageBody;

/// The token in the samples.
const SAMPLE: &str = "5d1f0a52-7b0e-4c8e-9a49-2f6d3f6f1c01";
/// The allocator writes its own into the first bytes of what is freed: what is looked for begins behind them.
const OVERWRITTEN: usize = 16;

/// A token that nobody else has; each of its bytes is kept one too high, so that it is found in memory only where somebody else keeps it.
struct Planted(Vec<u8>);

impl Planted {
    fn new() -> Self {
        Self(SAMPLE.bytes().map(|byte| 1 + if byte == b'-' { byte } else { b"0123456789abcdef"[fastrand::usize(..16)] }).collect())
    }

    /// The sample with it, in one piece from the start.
    fn put_into(&self, sample: &str) -> MessageBody {
        let (before, behind) = sample.split_once(SAMPLE).expect("the sample has a token");
        let mut text = String::with_capacity(sample.len());
        text.push_str(before);
        text.extend(self.0.iter().map(|byte| char::from(byte - 1)));
        text.push_str(behind);
        MessageBody::new(text)
    }
}

/// A look into what this process may write to, but for the stack of this thread: a search puts the 32 bytes by there that it has just
/// compared, and the next call overwrites them. It takes no memory anew, which could be what somebody has just freed.
struct Look {
    maps: String,
    block: Vec<u8>,
}

impl Look {
    fn finds(&mut self, token: &Planted) -> bool {
        let Self { maps, block } = self;
        maps.clear();
        File::open("/proc/self/maps").and_then(|mut file| file.read_to_string(maps)).expect("Linux shows a process its memory");
        let memory = File::open("/proc/self/mem").expect("a process may read its own");
        let wanted = &token.0[OVERWRITTEN..];
        let stack = std::ptr::from_ref(&wanted).addr() as u64;
        maps.lines().filter(|line| line.contains(" rw")).any(|line| {
            let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
            let at = |text| u64::from_str_radix(text, 16).expect("an address");
            let (mut from, to) = (at(from), at(to));
            if (from..to).contains(&stack) {
                return false;
            }
            while from < to {
                let Ok(read) = memory.read_at(block, from) else { return false };
                // What was read is put one higher as well: nothing is found in the block itself.
                block[..read].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
                if block[..read].windows(wanted.len()).any(|window| window == wanted) {
                    return true;
                }
                // Blocks overlap by as much as is looked for.
                match read.checked_sub(wanted.len()) {
                    Some(step @ 1..) => from += step as u64,
                    _ => return false,
                }
            }
            false
        })
    }
}

#[test]
fn nothing_is_left_of_a_token_when_its_message_is_gone() {
    let samples = [include_str!("direct-launch.json"), include_str!("eventbridge-launch.json")];
    // In the hands of the decoder when it finds out that there is nothing to be had.
    let late = |sample: &str| sample.trim_end().strip_suffix('}').expect("an object").to_owned();
    let twice = format!("{},\"x\":1,\"x\":2}}", late(samples[0]));
    let strange = format!("{},\"detail\":[\"{SAMPLE}\"]}}", late(samples[0]).replace(SAMPLE, "z"));
    let half = late(samples[1]);
    let mut look = Look { maps: String::with_capacity(1 << 20), block: vec![0; 1 << 16] };
    for (sample, good) in [(samples[0], true), (samples[1], true), (&twice, false), (&strange, false), (&half, false)] {
        let token = Planted::new();
        let body = token.put_into(sample);
        assert!(look.finds(&token), "while the body is there its token is, or this shows nothing");
        let decoded = decode(body.as_str());
        assert_eq!(decoded.is_ok(), good, "{decoded:?}");
        drop((decoded, body));
        assert!(!look.finds(&token), "{sample}");
    }
}
