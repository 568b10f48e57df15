//! Tracks the stack of a pickle with shadows of the values: enough to name the current place in the object.

use std::collections::HashMap;
use std::rc::Rc;

use super::opcodes::{Argument, Operation, RawArray};

/// How many items of a list are kept. The rest are only counted.
const KEPT: usize = 16;

/// Maximum depth to which values are tracked. The type of a NumPy array inside joblib's wrapper needs four levels.
const DEEPEST_KEPT: usize = 64;

/// A pickle that needs more stack entries or memo entries than this is not followed.
const MOST_ENTRIES: usize = 4 << 20;

/// Maximum number of parts in the name of a place.
const DEEPEST: usize = 8;

/// The shadow of a value.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// Module and name.
    Class(String),
    /// The result of a call: the name of what was called, its arguments, and the object's state.
    Object {
        class: String,
        arguments: Shadow,
        state: Option<Shadow>,
    },
    Text(String),
    /// A number, a boolean or `None`.
    Scalar(String),
    Tuple(Vec<Shadow>, usize),
    List(Vec<Shadow>, usize),
    Set(usize),
    Dict(Vec<(Shadow, Shadow)>, usize),
    /// Bytes, or a value that the comparison does not need.
    Other,
}

/// A value that several others may share.
#[derive(Debug, Clone)]
pub(super) struct Shadow {
    item: Rc<Item>,
    /// How deep it is nested.
    depth: usize,
}

impl From<Item> for Shadow {
    /// A value that is nested too deep is replaced by `Other`. Dropping it would need as many nested calls as its
    /// depth.
    fn from(item: Item) -> Self {
        let deepest = |items: &[Shadow]| items.iter().map(|item| item.depth).max().unwrap_or(0);
        let depth = 1 + match &item {
            Item::Object { arguments, state, .. } => {
                arguments.depth.max(state.as_ref().map_or(0, |state| state.depth))
            }
            Item::Tuple(items, _) | Item::List(items, _) => deepest(items),
            Item::Dict(entries, _) => {
                entries.iter().map(|(key, value)| key.depth.max(value.depth)).max().unwrap_or(0)
            }
            _ => 0,
        };
        if depth > DEEPEST_KEPT {
            return Self { item: Item::Other.into(), depth: 1 };
        }
        Self { item: item.into(), depth }
    }
}

impl std::ops::Deref for Shadow {
    type Target = Item;

    fn deref(&self) -> &Item {
        &self.item
    }
}

/// An entry of the stack.
#[derive(Debug, Clone)]
enum Entry {
    Mark,
    Item(Shadow),
}

#[derive(Default)]
pub(super) struct Machine {
    stack: Vec<Entry>,
    memo: HashMap<u64, Shadow>,
    /// The number of nested pickles that have begun. joblib writes arrays of objects that way.
    inner: usize,
    done: bool,
}

impl Machine {
    /// Whether the pickle has become too large to be followed.
    pub(super) fn is_full(&self) -> bool {
        self.stack.len() > MOST_ENTRIES || self.memo.len() > MOST_ENTRIES
    }

    /// Whether the outermost pickle has ended.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Applies one operation. Returns the array whose bytes come next, if there is one.
    pub(super) fn apply(&mut self, operation: &Operation) -> Option<RawArray> {
        match operation.code {
            b'(' => self.stack.push(Entry::Mark),
            b'.' => {
                self.done = self.inner == 0;
                self.inner = self.inner.saturating_sub(1);
            }
            b'0' => drop(self.stack.pop()),
            b'1' => drop(self.above_mark()),
            b'2' => {
                let top = self.top();
                self.push(top);
            }
            b'K' | b'M' | b'J' | b'G' | b'I' | b'L' | b'F' | b'N' | 0x88 | 0x89 | 0x8a | 0x8b => {
                self.push(Item::Scalar(operation.shown()).into());
            }
            b'X' | 0x8c | 0x8d | b'T' | b'U' | b'S' | b'V' => self.push(text(operation).into()),
            b'c' => self.push(Item::Class(operation.shown()).into()),
            0x93 => {
                let (name, module) = (self.pop(), self.pop());
                self.push(Item::Class(format!("{}.{}", word(&module), word(&name))).into());
            }
            b')' => self.push(Item::Tuple(Vec::new(), 0).into()),
            b']' => self.push(Item::List(Vec::new(), 0).into()),
            b'}' => self.push(Item::Dict(Vec::new(), 0).into()),
            0x8f => self.push(Item::Set(0).into()),
            0x85..=0x87 => {
                let count = usize::from(operation.code - 0x84);
                let mut items: Vec<Shadow> = (0..count).map(|_| self.pop()).collect();
                items.reverse();
                self.push(Item::Tuple(items, count).into());
            }
            b't' | b'l' | b'd' | 0x91 => self.collect(operation.code),
            b'a' | b'e' => self.append(operation.code == b'e'),
            b's' | b'u' => self.set_items(operation.code == b'u'),
            0x90 => {
                let added = self.above_mark().len();
                self.change(|item| {
                    if let Item::Set(count) = item {
                        *count += added;
                    }
                });
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop(), self.pop());
                let class = word(&callable);
                self.push(Item::Object { class, arguments, state: None }.into());
            }
            0x92 => {
                let (_, arguments, class) = (self.pop(), self.pop(), self.pop());
                self.push(Item::Object { class: word(&class), arguments, state: None }.into());
            }
            b'o' | b'i' => self.instance(operation),
            b'b' => return self.build(),
            b'h' | b'j' | b'g' => {
                let item = self.memo.get(&index(operation)).cloned().unwrap_or(Item::Other.into());
                self.push(item);
            }
            b'q' | b'r' | b'p' => self.remember(index(operation)),
            0x94 => self.remember(self.memo.len() as u64),
            // A persistent id replaces one stack entry. The content of buffers and extensions is not needed.
            b'Q' => {
                self.pop();
                self.push(Item::Other.into());
            }
            b'P' | b'B' | b'C' | 0x8e | 0x96 | 0x97 | 0x82..=0x84 => self.push(Item::Other.into()),
            _ => {}
        }
        None
    }

    fn push(&mut self, item: Shadow) {
        self.stack.push(Entry::Item(item));
    }

    fn pop(&mut self) -> Shadow {
        match self.stack.pop() {
            Some(Entry::Item(item)) => item,
            _ => Item::Other.into(),
        }
    }

    fn top(&self) -> Shadow {
        match self.stack.last() {
            Some(Entry::Item(item)) => item.clone(),
            _ => Item::Other.into(),
        }
    }

    fn remember(&mut self, index: u64) {
        self.memo.insert(index, self.top());
    }

    fn above_mark(&mut self) -> Vec<Shadow> {
        let mark = self.stack.iter().rposition(|entry| matches!(entry, Entry::Mark)).unwrap_or(0);
        let above = self.stack.split_off(mark);
        above
            .into_iter()
            .filter_map(|entry| if let Entry::Item(item) = entry { Some(item) } else { None })
            .collect()
    }

    /// Changes the item on top of the stack.
    fn change(&mut self, change: impl FnOnce(&mut Item)) {
        if let Some(Entry::Item(item)) = self.stack.last_mut() {
            let mut changed = Item::clone(item);
            change(&mut changed);
            *item = changed.into();
        }
    }

    fn collect(&mut self, code: u8) {
        let mut items = self.above_mark();
        let count = items.len();
        let item = match code {
            b'd' => Item::Dict(pairs(items), count / 2),
            0x91 => Item::Set(count),
            _ => {
                items.truncate(KEPT);
                if code == b't' { Item::Tuple(items, count) } else { Item::List(items, count) }
            }
        };
        self.push(item.into());
    }

    fn append(&mut self, several: bool) {
        let added = if several { self.above_mark() } else { vec![self.pop()] };
        self.change(|item| {
            if let Item::List(kept, count) = item {
                *count += added.len();
                kept.extend(added.into_iter().take(KEPT.saturating_sub(kept.len())));
            }
        });
    }

    fn set_items(&mut self, several: bool) {
        let added = if several {
            self.above_mark()
        } else {
            let (value, key) = (self.pop(), self.pop());
            vec![key, value]
        };
        self.change(|item| {
            if let Item::Dict(kept, count) = item {
                *count += added.len() / 2;
                kept.extend(pairs(added));
                kept.truncate(4 * KEPT);
            }
        });
    }

    fn instance(&mut self, operation: &Operation) {
        let mut items = self.above_mark();
        let class = match &operation.argument {
            Argument::Global(class) => class.clone(),
            _ if items.is_empty() => String::new(),
            _ => word(&items.remove(0)),
        };
        let count = items.len();
        items.truncate(KEPT);
        self.push(Item::Object { class, arguments: Item::Tuple(items, count).into(), state: None }.into());
    }

    fn build(&mut self) -> Option<RawArray> {
        let given = self.pop();
        let array = match &*self.top() {
            Item::Object { class, .. } if class == "joblib.numpy_pickle.NumpyArrayWrapper" => {
                raw_array(&given)
            }
            _ => None,
        };
        self.change(|item| {
            if let Item::Object { state, .. } = item {
                *state = Some(given);
            }
        });
        if array.as_ref().is_some_and(|array| array.descr == "|O") {
            // The objects follow as a nested pickle.
            self.inner += 1;
            return None;
        }
        array
    }

    /// The place of the next value: its attribute, key or position.
    pub(super) fn place(&self) -> String {
        place(&self.stack)
    }

    /// The place of the value on top of the stack: its attribute, key or position.
    pub(super) fn place_of_top(&self) -> String {
        place(&self.stack[..self.stack.len().saturating_sub(1)])
    }

    /// Whether the next values belong to a set, which has no order.
    pub(super) fn is_unordered(&self) -> bool {
        self.stack.iter().any(|entry| matches!(entry, Entry::Item(item) if matches!(**item, Item::Set(_))))
    }

    /// NumPy's type string, if the next value is the bytes in the state of an array. That state is an unfinished tuple
    /// of version, shape, type and order.
    pub(super) fn array_kind(&self) -> Option<String> {
        let mark = self.stack.iter().rposition(|entry| matches!(entry, Entry::Mark))?;
        match &self.stack[mark + 1..] {
            [_, Entry::Item(_), Entry::Item(kind), Entry::Item(_)] => descr(kind),
            _ => None,
        }
    }
}

fn place(stack: &[Entry]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (index, entry) in stack.iter().enumerate() {
        let Entry::Item(item) = entry else { continue };
        let rest = &stack[index + 1..];
        match &**item {
            // An object whose state is being read.
            Item::Object { class, .. } if matches!(rest.first(), Some(Entry::Item(next)) if matches!(**next, Item::Dict(..))) =>
            {
                parts.push(short_class(class));
            }
            Item::Dict(..) => parts.extend(open_key(rest)),
            Item::List(_, count) if matches!(rest.first(), Some(Entry::Mark)) => {
                let more = segment(&rest[1..]).0.len();
                parts.push(format!("[{}]", count + more));
            }
            Item::Set(_) if matches!(rest.first(), Some(Entry::Mark)) => parts.push("a set".to_string()),
            _ => {}
        }
    }
    let skipped = parts.len().saturating_sub(DEEPEST);
    parts.drain(..skipped);
    if parts.is_empty() { "the object".to_string() } else { parts.join(".") }
}

/// The items before the next mark, and whether there is a mark.
fn segment(entries: &[Entry]) -> (Vec<&Shadow>, bool) {
    let mark = entries.iter().position(|entry| matches!(entry, Entry::Mark));
    let before = &entries[..mark.unwrap_or(entries.len())];
    let items =
        before.iter().filter_map(|entry| if let Entry::Item(item) = entry { Some(item) } else { None });
    (items.collect(), mark.is_some())
}

/// The dictionary key whose value is being read, from the entries after the dictionary on the stack.
fn open_key(rest: &[Entry]) -> Option<String> {
    let (items, goes_on) = match rest.first()? {
        Entry::Mark => segment(&rest[1..]),
        // A single key without a mark: one item is being set.
        Entry::Item(_) => (segment(&rest[..1]).0, false),
    };
    // Keys and values alternate. The last key may be followed by entries from which its value is built.
    let last = if goes_on { items.len().checked_sub(2)? / 2 * 2 } else { items.len().checked_sub(1)? };
    if last.is_multiple_of(2) { items.get(last)?.short() } else { None }
}

fn index(operation: &Operation) -> u64 {
    match &operation.argument {
        Argument::Integer(index) => *index as u64,
        Argument::Text(text) => text.trim().parse().unwrap_or(u64::MAX),
        _ => u64::MAX,
    }
}

fn text(operation: &Operation) -> Item {
    match &operation.argument {
        Argument::Text(text) => Item::Text(text.chars().take(200).collect()),
        _ => Item::Other,
    }
}

fn word(item: &Item) -> String {
    match item {
        Item::Class(name) | Item::Text(name) | Item::Scalar(name) => name.clone(),
        _ => String::new(),
    }
}

/// For example `LogisticRegression` for `sklearn.linear_model._logistic.LogisticRegression`.
fn short_class(class: &str) -> String {
    class.rsplit('.').next().unwrap_or(class).to_string()
}

fn pairs(items: Vec<Shadow>) -> Vec<(Shadow, Shadow)> {
    let mut items = items.into_iter();
    let mut pairs = Vec::new();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    pairs
}

/// What joblib says about an array whose bytes come next.
fn raw_array(state: &Item) -> Option<RawArray> {
    let Item::Dict(entries, _) = state else { return None };
    let find = |wanted: &str| entries.iter().find(|(key, _)| word(key) == wanted).map(|(_, value)| value);
    let Item::Tuple(shape, length) = &**find("shape")? else { return None };
    if shape.len() != *length {
        return None;
    }
    let mut count = 1u64;
    for size in shape {
        count = count.checked_mul(word(size).parse().ok()?)?;
    }
    let is_aligned = find("numpy_array_alignment_bytes").is_some_and(|value| word(value) != "None");
    Some(RawArray { descr: descr(find("dtype")?)?, count, is_aligned })
}

/// The type string of a `numpy.dtype` object: its argument, with the byte order from its state.
fn descr(kind: &Item) -> Option<String> {
    let Item::Object { class, arguments, state } = kind else { return None };
    if !class.ends_with("numpy.dtype") && class != "numpy.dtype" && !class.starts_with("numpy.dtypes.") {
        return None;
    }
    let Item::Tuple(arguments, _) = &**arguments else { return None };
    let name = word(arguments.first()?);
    let order = match state.as_deref() {
        Some(Item::Tuple(state, _)) => state.get(1).map(|order| word(order)).unwrap_or_default(),
        _ => "<".to_string(),
    };
    let order = if matches!(order.as_str(), "<" | ">" | "|") { order } else { "<".to_string() };
    if name.starts_with('O') { Some("|O".to_string()) } else { Some(format!("{order}{name}")) }
}
