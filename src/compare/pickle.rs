//! Pickles, read as a stream of opcodes. Nothing is ever unpickled: no class is looked up, and nothing is called.
//!
//! Two streams are read in parallel. A small machine tracks the stack, so that the first difference can be named by the
//! attribute, key or position in the object that it belongs to. joblib interrupts the stream with the bytes of arrays,
//! which are compared as numbers. <https://docs.python.org/3/library/pickletools.html>

mod machine;
mod opcodes;

use std::fs::File;

use super::numbers::{self, Array, Kind, Number};
use super::{Cause, Failed, Likeness, Pair, bytes, npy, text};
use machine::{Item, Machine};
use modelseal_format::display::name;
use modelseal_format::manifest::Rung;
use opcodes::{Argument, Operation, Stream};

/// `None` if either file is not a pickle that this module can follow.
pub(super) fn compare(pair: &Pair<'_>) -> Result<Option<Likeness>, Failed> {
    let mut reading = Reading {
        pair,
        left: Side::new(pair.sealed)?,
        right: Side::new(pair.rebuilt)?,
        whole: Likeness::at(Rung::R1, "the pickle is framed differently; its operations are the same"),
    };
    loop {
        pair.context.check()?;
        let (Some(left), Some(right)) = (reading.left.next()?, reading.right.next()?) else {
            return Ok(None);
        };
        if let Some(likeness) = reading.step(&left, &right)? {
            return Ok(Some(likeness));
        }
        if reading.left.machine.is_full() {
            return Ok(None);
        }
        if left.is_stop() && reading.left.machine.is_done() {
            return reading.end();
        }
    }
}

struct Side<'a> {
    stream: Stream<'a>,
    machine: Machine,
}

impl<'a> Side<'a> {
    fn new(file: &'a File) -> std::io::Result<Self> {
        Ok(Self { stream: Stream::new(file)?, machine: Machine::default() })
    }

    /// The next operation that is not framing.
    fn next(&mut self) -> std::io::Result<Option<Operation>> {
        loop {
            match self.stream.next()? {
                Some(operation) if operation.is_framing() => {}
                other => return Ok(other),
            }
        }
    }
}

struct Reading<'a> {
    pair: &'a Pair<'a>,
    left: Side<'a>,
    right: Side<'a>,
    whole: Likeness,
}

impl Reading<'_> {
    /// Compares one operation and applies it. `Some` if the streams differ from here on.
    fn step(&mut self, left: &Operation, right: &Operation) -> Result<Option<Likeness>, Failed> {
        if left.code != right.code || !self.same_shape(left, right) {
            return Ok(Some(self.different(left, right)));
        }
        if left.argument != right.argument || left.is_region() {
            match self.compare_arguments(left, right)? {
                likeness if likeness.rung.is_none() => return Ok(Some(likeness)),
                likeness => self.whole = self.whole.clone().and(likeness),
            }
        }
        let (left_array, right_array) = (self.left.machine.apply(left), self.right.machine.apply(right));
        let (Some(left_array), Some(right_array)) = (left_array, right_array) else {
            return Ok(None);
        };
        if left_array != right_array {
            return Ok(Some(self.different(left, right)));
        }
        let likeness = self.compare_interruption(&left_array)?;
        if likeness.as_ref().is_some_and(|likeness| likeness.rung.is_some()) {
            self.whole = self.whole.clone().and(likeness.unwrap_or(Likeness::same()));
            return Ok(None);
        }
        Ok(likeness)
    }

    /// Long arguments are not loaded from the file. They can be compared only if their lengths are equal.
    fn same_shape(&self, left: &Operation, right: &Operation) -> bool {
        match (&left.argument, &right.argument) {
            (Argument::Region { length: left, .. }, Argument::Region { length: right, .. }) => left == right,
            (Argument::Region { .. }, _) | (_, Argument::Region { .. }) => false,
            _ => true,
        }
    }

    /// Compares the data after the pickle: further pickles, or anything else. `None` if it differs; the files are then
    /// compared as bytes.
    fn end(self) -> Result<Option<Likeness>, Failed> {
        let ((left, left_rest), (right, right_rest)) = (self.left.stream.rest(), self.right.stream.rest());
        if left_rest != right_rest {
            return Ok(None);
        }
        let difference = bytes::first_difference_in(self.pair, left, right, left_rest)?;
        Ok(difference.is_none().then_some(self.whole))
    }

    fn place(&self) -> String {
        self.left.machine.place()
    }

    fn different(&self, left: &Operation, right: &Operation) -> Likeness {
        let place = self.place();
        let (shown_left, shown_right) = (left.shown(), right.shown());
        let cause = text::cause(&place, &shown_left, &shown_right)
            .or_else(|| self.left.machine.is_unordered().then_some(Cause::Order));
        let operation = if left.code == right.code {
            opcodes::label(left.code).to_string()
        } else {
            format!("{} / {}", opcodes::label(left.code), opcodes::label(right.code))
        };
        let text =
            format!("at {}: {} / {} ({operation})", name(&place), name(&shown_left), name(&shown_right));
        Likeness::different(text).because(cause)
    }

    fn compare_arguments(&self, left: &Operation, right: &Operation) -> Result<Likeness, Failed> {
        let double = Kind { number: Number::F64, big_endian: true };
        if let (Argument::Float(sealed), Argument::Float(rebuilt)) = (&left.argument, &right.argument) {
            let (sealed, rebuilt) = (sealed.to_be_bytes(), rebuilt.to_be_bytes());
            let distance = numbers::compare_blocks(&sealed, &rebuilt, double, self.pair.tolerance, 0);
            if distance.beyond == 0 && self.whole.rung >= Some(Rung::R2) {
                // An earlier difference has already been named. Finding the place of each one would take long.
                return Ok(Likeness::same());
            }
            return Ok(distance.likeness(&format!("at {}", name(&self.place())), 1));
        }
        // The bytes of an array in the state of a NumPy array. The state also holds the type of the array.
        let kind = self.left.machine.array_kind().as_deref().and_then(npy::kind);
        match (&left.argument, &right.argument, kind) {
            (Argument::Bytes(sealed), Argument::Bytes(rebuilt), Some(kind))
                if sealed.len() == rebuilt.len() =>
            {
                let count = (sealed.len() / kind.number.width()) as u64;
                let distance = numbers::compare_blocks(sealed, rebuilt, kind, self.pair.tolerance, 0);
                Ok(distance.likeness(&format!("array at {}", name(&self.place())), count))
            }
            (Argument::Region { offset: sealed, length }, Argument::Region { offset: rebuilt, .. }, kind) => {
                self.compare_regions(&self.place(), *sealed, *rebuilt, *length, kind)
            }
            _ => Ok(self.different(left, right)),
        }
    }

    fn compare_regions(
        &self,
        place: &str,
        sealed: u64,
        rebuilt: u64,
        length: u64,
        kind: Option<Kind>,
    ) -> Result<Likeness, Failed> {
        let place = name(place);
        let Some(kind) = kind else {
            let found = bytes::first_difference_in(self.pair, sealed, rebuilt, length)?;
            return Ok(found.map_or(Likeness::same(), |offset| {
                Likeness::different(format!("at {place}: differs from byte {offset} on"))
            }));
        };
        let count = length / kind.number.width() as u64;
        let left = Array { file: self.pair.sealed, offset: sealed };
        let right = Array { file: self.pair.rebuilt, offset: rebuilt };
        let distance = numbers::compare(&left, &right, count, kind, self.pair.tolerance, self.pair.context)?;
        Ok(distance.likeness(&format!("array at {place}"), count))
    }

    /// Compares the raw bytes of an array that joblib put between two operations.
    fn compare_interruption(&mut self, array: &opcodes::RawArray) -> Result<Option<Likeness>, Failed> {
        let Some(kind) = npy::kind(&array.descr) else { return Ok(None) };
        let Some(length) = array.count.checked_mul(kind.number.width() as u64) else { return Ok(None) };
        let (Some(sealed), Some(rebuilt)) =
            (self.left.stream.skip_array(array, length)?, self.right.stream.skip_array(array, length)?)
        else {
            return Ok(Some(Likeness::different(format!("array at {} is cut off", name(&self.place())))));
        };
        self.compare_regions(&self.left.machine.place_of_top(), sealed, rebuilt, length, Some(kind)).map(Some)
    }
}

impl Item {
    /// The start of a text or number, for messages.
    fn short(&self) -> Option<String> {
        match self {
            Item::Text(text) | Item::Scalar(text) => Some(text.chars().take(60).collect()),
            _ => None,
        }
    }
}
