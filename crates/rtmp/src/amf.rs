//! AMF0, read within bounds. (What we send is written by the protocol crate.)
//!
//! The protocol crate's parser refuses a whole command over one string that is not UTF-8, a date with a time zone or a typed
//! object, all of which encoders send, and lets a peer turn eight megabytes of nulls into a quarter gigabyte of values.

/// How deep objects and arrays may nest.
pub(crate) const MAX_DEPTH: usize = 16;
/// How many values one message may hold. `onMetaData` of the most talkative encoder has about fifty.
pub(crate) const MAX_VALUES: usize = 2048;

/// An AMF0 value. ECMA arrays and typed objects are [`Value::Object`]s.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Boolean(bool),
    String(String),
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
    Null,
}

impl Value {
    pub(crate) fn property(&self, wanted: &str) -> Option<&Value> {
        match self {
            Value::Object(properties) => properties.iter().find(|(name, _)| name == wanted).map(|(_, value)| value),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AmfError {
    #[error("AMF0 data ends in the middle of a value")]
    Short,
    #[error("AMF0 value with marker {0:#04x}")]
    Marker(u8),
    #[error("AMF0 values nested deeper than {MAX_DEPTH}")]
    Depth,
    #[error("more than {MAX_VALUES} AMF0 values in a message")]
    Values,
}

/// Reads values one after the other.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    values: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, values: 0 }
    }

    pub(crate) fn value(&mut self) -> Result<Value, AmfError> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Value, AmfError> {
        if depth > MAX_DEPTH {
            return Err(AmfError::Depth);
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(AmfError::Values);
        }
        match self.take(1)?[0] {
            0x00 => Ok(Value::Number(self.number()?)),
            0x01 => Ok(Value::Boolean(self.take(1)?[0] != 0)),
            0x02 => Ok(Value::String(self.short_string()?)),
            0x03 => self.properties(depth),
            // Null, undefined, unsupported.
            0x05 | 0x06 | 0x0d => Ok(Value::Null),
            // A reference to an earlier object.
            0x07 => self.take(2).map(|_| Value::Null),
            0x08 => {
                // The count of an ECMA array is a hint; FFmpeg and others write 0 or a wrong one.
                self.take(4)?;
                self.properties(depth)
            }
            0x0a => self.array(depth),
            0x0b => {
                let number = self.number()?;
                self.take(2)?;
                Ok(Value::Number(number))
            }
            // Long string, XML document.
            0x0c | 0x0f => {
                let size = u32::from_be_bytes(self.fixed()?);
                let bytes = self.take(size as usize)?;
                Ok(Value::String(String::from_utf8_lossy(bytes).into_owned()))
            }
            // A typed object: its class name, then an object.
            0x10 => {
                self.short_string()?;
                self.properties(depth)
            }
            other => Err(AmfError::Marker(other)),
        }
    }

    fn properties(&mut self, depth: usize) -> Result<Value, AmfError> {
        let mut properties = Vec::new();
        loop {
            // Several encoders leave the end marker out at the end of onMetaData.
            if self.bytes.is_empty() {
                break;
            }
            let name = self.short_string()?;
            if name.is_empty() {
                match self.bytes.first() {
                    Some(0x09) => {
                        self.take(1)?;
                        break;
                    }
                    None => break,
                    Some(_) => {}
                }
            }
            properties.push((name, self.nested(depth + 1)?));
        }
        Ok(Value::Object(properties))
    }

    fn array(&mut self, depth: usize) -> Result<Value, AmfError> {
        let count = u32::from_be_bytes(self.fixed()?);
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.nested(depth + 1)?);
        }
        Ok(Value::Array(values))
    }

    fn number(&mut self) -> Result<f64, AmfError> {
        Ok(f64::from_be_bytes(self.fixed()?))
    }

    fn short_string(&mut self) -> Result<String, AmfError> {
        let size = u16::from_be_bytes(self.fixed()?);
        let bytes = self.take(usize::from(size))?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        self.take(N)?.try_into().map_err(|_| AmfError::Short)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], AmfError> {
        if count > self.bytes.len() {
            return Err(AmfError::Short);
        }
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nesting_is_bounded() {
        // Strict arrays of one element, one inside the other.
        let bytes: Vec<u8> = std::iter::repeat_n([0x0a, 0, 0, 0, 1], 1000).flatten().collect();
        assert_eq!(Reader::new(&bytes).value(), Err(AmfError::Depth));
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let mut bytes = vec![0x0a, 0xff, 0xff, 0xff, 0xff];
        bytes.resize(100_000, 0x05);
        assert_eq!(Reader::new(&bytes).value(), Err(AmfError::Values));
    }

    #[test]
    fn strings_that_are_not_utf8_and_dates_with_a_zone_are_read() {
        assert_eq!(Reader::new(&[2, 0, 1, 0xe9]).value(), Ok(Value::String("\u{fffd}".into())));
        assert_eq!(Reader::new(&[11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60]).value(), Ok(Value::Number(0.0)));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let mut reader = Reader::new(&bytes);
            while reader.value().is_ok() {}
        }
    }
}
