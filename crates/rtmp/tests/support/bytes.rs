//! RTMP as bytes: what a publisher sends, header by header.

pub const NULL: &[u8] = &[5];

pub fn string(text: &str) -> Vec<u8> {
    let mut out = vec![2];
    out.extend(key(text));
    out
}

pub fn key(text: &str) -> Vec<u8> {
    let mut out = (text.len() as u16).to_be_bytes().to_vec();
    out.extend(text.as_bytes());
    out
}

pub fn number(value: f64) -> Vec<u8> {
    let mut out = vec![0];
    out.extend(value.to_be_bytes());
    out
}

pub fn object(properties: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![3];
    for (name, value) in properties {
        out.extend(key(name));
        out.extend(value);
    }
    out.extend([0, 0, 9]);
    out
}

pub fn command_body(name: &str, transaction: f64, arguments: &[&[u8]]) -> Vec<u8> {
    let mut out = string(name);
    out.extend(number(transaction));
    for argument in arguments {
        out.extend(*argument);
    }
    out
}

pub fn command(stream: u32, name: &str, transaction: f64, arguments: &[&[u8]]) -> Vec<u8> {
    message(3, 20, stream, 0, &command_body(name, transaction, arguments))
}

pub fn connect(app: &str) -> Vec<u8> {
    command(0, "connect", 1.0, &[&object(&[("app", string(app)), ("type", string("nonprivate"))])])
}

pub fn publish(key: &str) -> Vec<u8> {
    command(1, "publish", 3.0, &[NULL, &string(key), &string("live")])
}

pub fn basic(fmt: u8, id: u32) -> Vec<u8> {
    match id {
        0..64 => vec![fmt << 6 | id as u8],
        64..320 => vec![fmt << 6, (id - 64) as u8],
        _ => vec![fmt << 6 | 1, (id - 64) as u8, ((id - 64) >> 8) as u8],
    }
}

/// A message in chunks of 128 bytes, a type 0 header first.
pub fn message(id: u32, kind: u8, stream: u32, timestamp: u32, body: &[u8]) -> Vec<u8> {
    chunks(id, kind, stream, timestamp, body, 128, true)
}

/// A message in chunks of a given size; `repeat` says whether type 3 chunks repeat the extended timestamp.
pub fn chunks(id: u32, kind: u8, stream: u32, timestamp: u32, body: &[u8], size: usize, repeat: bool) -> Vec<u8> {
    let mut out = basic(0, id);
    out.extend(&timestamp.min(0xff_ffff).to_be_bytes()[1..]);
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.push(kind);
    out.extend(stream.to_le_bytes());
    rest(&mut out, id, timestamp, body, size, repeat);
    out
}

/// A type 1 header and a body of one chunk.
pub fn delta(id: u32, kind: u8, delta: u32, body: &[u8]) -> Vec<u8> {
    delta_chunks(id, kind, delta, body, usize::MAX, true)
}

/// A type 1 header and a body in chunks of a given size; `repeat` as in [`chunks`].
pub fn delta_chunks(id: u32, kind: u8, delta: u32, body: &[u8], size: usize, repeat: bool) -> Vec<u8> {
    let mut out = basic(1, id);
    out.extend(&delta.min(0xff_ffff).to_be_bytes()[1..]);
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.push(kind);
    rest(&mut out, id, delta, body, size, repeat);
    out
}

/// What follows a header: the extended timestamp if there must be one, and the body, a type 3 header before each further chunk.
fn rest(out: &mut Vec<u8>, id: u32, time: u32, body: &[u8], size: usize, repeat: bool) {
    let extended = time >= 0xff_ffff;
    if extended {
        out.extend(time.to_be_bytes());
    }
    for (index, piece) in body.chunks(size.max(1)).enumerate() {
        if index > 0 {
            out.extend(basic(3, id));
            if extended && repeat {
                out.extend(time.to_be_bytes());
            }
        }
        out.extend(piece);
    }
}

pub fn control(kind: u8, value: u32) -> Vec<u8> {
    message(2, kind, 0, 0, &value.to_be_bytes())
}
