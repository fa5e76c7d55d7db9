//! The AMF3 decoder.

use std::{ops::Range, rc::Rc};

use bytes::Bytes;

use super::{DYNAMIC, EXTERNALIZABLE, INLINE, INLINE_TRAITS, INTEGER_MAX, U29_MAX, marker};
use crate::amf::{Error, Value, source::Source};

/// Decodes one value, with empty reference tables.
pub(in crate::amf) fn decode_from(source: &mut Source<'_>) -> Result<Value, Error> {
    Decoder { source, strings: Vec::new(), objects: Vec::new(), traits: Vec::new(), replaying: false }.value()
}

/// Decodes one value. What references mean is kept as places in the input and decoded again for each of them, so
/// that a copy costs as much of the budget as the original.
struct Decoder<'s, 'a> {
    source: &'s mut Source<'a>,
    strings: Vec<Range<usize>>,
    objects: Vec<Object>,
    traits: Vec<Rc<Traits>>,
    /// Decoding something again: nothing is added to the tables.
    replaying: bool,
}

/// Something that can be referred to: where it begins, after its marker.
#[derive(Clone, Copy)]
struct Object {
    marker: u8,
    at: usize,
    /// Its end has not been read yet.
    open: bool,
}

/// What objects of one class have in common.
struct Traits {
    class: String,
    names: Vec<String>,
    dynamic: bool,
}

impl Decoder<'_, '_> {
    fn value(&mut self) -> Result<Value, Error> {
        self.source.count_value()?;
        Ok(match self.source.u8()? {
            marker::UNDEFINED => Value::Undefined,
            marker::NULL => Value::Null,
            marker::FALSE => Value::Bool(false),
            marker::TRUE => Value::Bool(true),
            marker::INTEGER => Value::Number(self.integer()?.into()),
            marker::DOUBLE => Value::Number(self.source.f64()?),
            marker::STRING => Value::String(self.string()?),
            marker @ (marker::XML_DOCUMENT..=marker::DICTIONARY) => self.object_or_reference(marker)?,
            unknown => return Err(Error::UnknownMarker(unknown)),
        })
    }

    fn object_or_reference(&mut self, marker: u8) -> Result<Value, Error> {
        let at = self.source.position();
        let head = self.u29()?;
        if head & INLINE == 0 {
            return self.reference(head >> 1);
        }
        let index = self.objects.len();
        let registered = !self.replaying;
        if registered {
            self.objects.push(Object { marker, at, open: true });
        }
        let value = self.body(marker, head)?;
        if registered {
            self.objects[index].open = false;
        }
        Ok(value)
    }

    fn reference(&mut self, index: u32) -> Result<Value, Error> {
        let target = *self.objects.get(index as usize).ok_or(Error::UnknownReference)?;
        if target.open {
            return Err(Error::CyclicReference);
        }
        let (back, replaying) = (self.source.position(), std::mem::replace(&mut self.replaying, true));
        self.source.set_position(target.at);
        let value = self.object_or_reference(target.marker)?;
        self.source.set_position(back);
        self.replaying = replaying;
        Ok(value)
    }

    fn body(&mut self, marker: u8, head: u32) -> Result<Value, Error> {
        let count = (head >> 1) as usize;
        match marker {
            marker::XML_DOCUMENT | marker::XML => Ok(Value::Xml(self.source.text(count)?)),
            marker::DATE => Ok(Value::Date { unix_ms: self.source.f64()?, zone: 0 }),
            marker::BYTE_ARRAY => Ok(Value::Bytes(Bytes::copy_from_slice(self.source.blob(count)?))),
            container => {
                self.source.enter()?;
                let value = self.container(container, head, count)?;
                self.source.leave();
                Ok(value)
            }
        }
    }

    fn container(&mut self, marker: u8, head: u32, count: usize) -> Result<Value, Error> {
        match marker {
            marker::ARRAY => self.array(count),
            marker::OBJECT => self.object(head),
            marker::VECTOR_INT => self.vector(count, 4, |source| Ok((source.u32()? as i32).into())),
            marker::VECTOR_UINT => self.vector(count, 4, |source| Ok(source.u32()?.into())),
            marker::VECTOR_DOUBLE => self.vector(count, 8, |source| source.f64()),
            marker::VECTOR_OBJECT => {
                self.source.u8()?; // Whether its length is fixed.
                self.string()?; // The class of its items, each of which names its own.
                self.items(count).map(Value::StrictArray)
            }
            marker::DICTIONARY => self.dictionary(count),
            unknown => Err(Error::UnknownMarker(unknown)),
        }
    }

    fn array(&mut self, count: usize) -> Result<Value, Error> {
        let mut members = self.dynamic_members(Vec::new())?;
        let items = self.items(count)?;
        if members.is_empty() {
            return Ok(Value::StrictArray(items));
        }
        for (index, item) in items.into_iter().enumerate() {
            members.push((index.to_string(), item));
        }
        Ok(Value::EcmaArray(members))
    }

    fn object(&mut self, head: u32) -> Result<Value, Error> {
        let traits = self.object_traits(head)?;
        let mut members = Vec::new();
        for name in &traits.names {
            self.source.count_text(name.len())?;
            members.push((name.clone(), self.value()?));
        }
        if traits.dynamic {
            members = self.dynamic_members(members)?;
        }
        if traits.class.is_empty() {
            return Ok(Value::Object(members));
        }
        self.source.count_text(traits.class.len())?;
        Ok(Value::Typed { class: traits.class.clone(), members })
    }

    fn object_traits(&mut self, head: u32) -> Result<Rc<Traits>, Error> {
        if head & INLINE_TRAITS == 0 {
            return self.traits.get((head >> 2) as usize).cloned().ok_or(Error::UnknownReference);
        }
        if head & EXTERNALIZABLE != 0 {
            return Err(Error::Externalizable);
        }
        let count = (head >> 4) as usize;
        self.source.check_key(count.saturating_sub(1))?;
        let class = self.string()?;
        let names = (0..count).map(|_| self.string()).collect::<Result<_, _>>()?;
        let traits = Rc::new(Traits { class, names, dynamic: head & DYNAMIC != 0 });
        if !self.replaying {
            self.traits.push(traits.clone());
        }
        Ok(traits)
    }

    /// Names and values up to an empty name, added to the members there are.
    fn dynamic_members(&mut self, mut members: Vec<(String, Value)>) -> Result<Vec<(String, Value)>, Error> {
        loop {
            let key = self.string()?;
            if key.is_empty() {
                return Ok(members);
            }
            self.source.check_key(members.len())?;
            members.push((key, self.value()?));
        }
    }

    fn items(&mut self, count: usize) -> Result<Vec<Value>, Error> {
        self.source.check_items(count, 1)?;
        (0..count).map(|_| self.value()).collect()
    }

    fn vector(
        &mut self,
        count: usize,
        bytes_each: usize,
        number: impl Fn(&mut Source<'_>) -> Result<f64, Error>,
    ) -> Result<Value, Error> {
        self.source.u8()?; // Whether its length is fixed.
        self.source.check_items(count, bytes_each)?;
        let numbers = (0..count).map(|_| {
            self.source.count_value()?;
            number(self.source).map(Value::Number)
        });
        numbers.collect::<Result<_, _>>().map(Value::StrictArray)
    }

    fn dictionary(&mut self, count: usize) -> Result<Value, Error> {
        self.source.u8()?; // Whether its keys are held weakly.
        self.source.check_items(count, 2)?;
        let pairs = (0..count).map(|_| Ok((self.value()?, self.value()?)));
        pairs.collect::<Result<_, _>>().map(Value::Dictionary)
    }

    fn string(&mut self) -> Result<String, Error> {
        let head = self.u29()?;
        let length = (head >> 1) as usize;
        if head & INLINE == 0 {
            let place = self.strings.get(length).cloned().ok_or(Error::UnknownReference)?;
            let back = self.source.position();
            self.source.set_position(place.start);
            let text = self.source.text(place.len())?;
            self.source.set_position(back);
            return Ok(text);
        }
        let start = self.source.position();
        let text = self.source.text(length)?;
        if length > 0 && !self.replaying {
            self.strings.push(start..start + length);
        }
        Ok(text)
    }

    fn integer(&mut self) -> Result<i32, Error> {
        let number = self.u29()? as i32;
        Ok(if number > INTEGER_MAX { number - (U29_MAX as i32 + 1) } else { number })
    }

    /// Up to four bytes: seven bits of each of the first three, all eight of the fourth (AMF3, 1.3.1).
    fn u29(&mut self) -> Result<u32, Error> {
        let mut number = 0;
        for _ in 0..3 {
            let byte = u32::from(self.source.u8()?);
            number = number << 7 | byte & 0x7F;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Ok(number << 8 | u32::from(self.source.u8()?))
    }
}
