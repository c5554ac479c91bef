//! Messages between master and volumes, for whoever feeds them garbage: what is parsed must be what it is written as
//! again.
//!
//! The first byte says what the rest is: a question of a volume, its answer, an order of the master, what came of it.

use olivine_vfs::Random;

use super::{Answer, Asked, CHANGES, Done, Lying, Order, Published, State};
use crate::Place;

/// Parses a message: how many bytes it has.
pub(crate) fn parse(bytes: &[u8]) -> Result<u64, String> {
    let (kind, message) = bytes.split_first().ok_or("nothing")?;
    let again = match kind % 4 {
        0 => Asked::parse(message)
            .map(|asked| (asked.encode(), Asked::parse(&asked.encode()) == Some(asked))),
        1 => Answer::parse(message)
            .map(|answer| (answer.encode(), Answer::parse(&answer.encode()) == Some(answer))),
        2 => Order::parse(message)
            .map(|order| (order.encode(), Order::parse(&order.encode()) == Some(order))),
        _ => Done::parse(message)
            .map(|done| (done.encode(), Done::parse(&done.encode()) == Some(done))),
    };
    let (written, is_same) = again.ok_or("no message")?;
    assert!(is_same, "a message comes back as it was");
    assert_eq!(written, message, "a message has one encoding");
    Ok(message.len() as u64)
}

/// A message, drawn.
pub(crate) fn sample(random: &mut Random) -> Vec<u8> {
    let kind = random.below(4) as u8;
    let message = match kind {
        0 => asked(random).encode(),
        1 => answer(random).encode(),
        2 => {
            let (key, value) = (key(random), random.bytes(100));
            let generation = random.below(1 << 40);
            let keep = Order::Keep {
                key: &key,
                generation,
                expiry: some(random),
                wants_digest: random.chance(1, 2),
                value: &value,
            };
            let bury = Order::Bury { key: &key, generation, place: place(random) };
            if random.chance(1, 2) { keep.encode() } else { bury.encode() }
        }
        _ => match random.below(3) {
            0 => {
                Done::Kept { digest: random.chance(1, 2).then_some([5; 16]), place: place(random) }
            }
            1 => Done::Away("full".to_owned()),
            _ => Done::Failed("broken".to_owned()),
        }
        .encode(),
    };
    [&[kind][..], &message].concat()
}

fn asked(random: &mut Random) -> Asked {
    let (key, volume, generation) =
        (key(random), [random.below(256) as u8; 16], random.below(1 << 40));
    let mut records = || {
        let (key, place) = (self::key(random), place(random));
        vec![Lying { key, generation, place }; random.between(1, 4) as usize]
    };
    match generation % 8 {
        0 => Asked::Publish(Published {
            key,
            generation,
            bytes: 1 << 20,
            digest: Some([3; 16]),
            expiry: some(random),
            known: some(random),
            places: vec![(volume, place(random)), ([1; 16], place(random))],
        }),
        1 => Asked::Remove { key, generation, known: some(random), volume },
        2 => Asked::Grant { verb: 2, key },
        3 => Asked::Others { key, generation, expiry: some(random), wants_digest: true, volume },
        4 => Asked::Spread {
            key,
            generation,
            expiry: some(random),
            wants_digest: false,
            volume,
            value: random.bytes(60),
        },
        5 => Asked::Names { volume, records: records() },
        6 => {
            let records = records();
            let places = records.iter().map(|record| record.place).collect();
            Asked::Moved { volume, records, places }
        }
        _ => Asked::Is(State { room: generation, takes_writes: true, far_bytes: generation / 2 }),
    }
}

fn answer(random: &mut Random) -> Answer {
    match random.below(8) {
        0 => Answer::Changed(CHANGES[random.index(CHANGES.len())]),
        1 => Answer::Each(vec![true; random.index(20)]),
        2 => Answer::Urls(vec![([4; 16], "http://a:9001/k?grant=x".to_owned())]),
        3 => Answer::Places(vec![([4; 16], place(random)); random.index(4)]),
        4 => Answer::Absent,
        5 => Answer::Away("away".to_owned()),
        6 => Answer::Failed("broken".to_owned()),
        _ => Answer::Nothing,
    }
}

fn key(random: &mut Random) -> Vec<u8> {
    let length = random.between(1, 20) as usize;
    random.bytes(length)
}

fn some(random: &mut Random) -> Option<u64> {
    random.chance(1, 2).then(|| random.below(1 << 45))
}

fn place(random: &mut Random) -> Place {
    let extent = random.below(1 << 20) as u32;
    Place { extent, offset: random.below(1 << 30), bytes: random.below(1 << 40) }
}
