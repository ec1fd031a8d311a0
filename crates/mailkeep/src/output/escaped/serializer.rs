//! From serde's calls to the text. Not `serde_json`'s own serializer: that one looks at every text
//! byte by byte, and writes it piece by piece, which was a quarter of a check.

use std::fmt;
use std::io;

use serde::Serialize;
use serde::ser::{self, Error as _};

use super::Text;

/// Why a value cannot be written.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Failed(io::Error);

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        failed.0
    }
}

impl ser::Error for Failed {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(io::Error::other(message.to_string()))
    }
}

/// Writes one value.
pub(super) struct Serializer<'t, 'w>(&'t mut Text<'w>);

impl<'t, 'w> Serializer<'t, 'w> {
    pub(super) fn new(text: &'t mut Text<'w>) -> Self {
        Self(text)
    }

    /// Numbers and the like are few, and `serde_json` knows how they are written.
    fn scalar(self, value: &impl Serialize) -> Result<(), Failed> {
        serde_json::to_writer(&mut self.0.bytes, value).map_err(Failed::custom)
    }

    fn list(self) -> Members<'t, 'w> {
        self.0.begin(b'[');
        Members {
            text: self.0,
            ends: b"]",
        }
    }

    fn object(self) -> Members<'t, 'w> {
        self.0.begin(b'{');
        Members {
            text: self.0,
            ends: b"}",
        }
    }

    /// `{"variant":` before what is in the variant.
    fn variant(self, variant: &'static str) -> Result<Self, Failed> {
        self.0.begin(b'{');
        self.0.field(variant)?;
        Ok(self)
    }
}

macro_rules! scalars {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method(self, value: $type) -> Result<(), Failed> {
            self.scalar(&value)
        }
    )*};
}

impl<'t, 'w> ser::Serializer for Serializer<'t, 'w> {
    type Ok = ();
    type Error = Failed;
    type SerializeSeq = Members<'t, 'w>;
    type SerializeTuple = Members<'t, 'w>;
    type SerializeTupleStruct = Members<'t, 'w>;
    type SerializeTupleVariant = Members<'t, 'w>;
    type SerializeMap = Members<'t, 'w>;
    type SerializeStruct = Members<'t, 'w>;
    type SerializeStructVariant = Members<'t, 'w>;

    scalars! {
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
    }

    fn serialize_bool(self, value: bool) -> Result<(), Failed> {
        self.0
            .bytes
            .extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Failed> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Failed> {
        self.0.string(value);
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), Failed> {
        self.0.shown(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Failed> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), Failed> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Failed> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Failed> {
        self.0.bytes.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Failed> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Failed> {
        self.0.plain(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Failed> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Failed> {
        let Self(text) = self.variant(variant)?;
        value.serialize(Serializer(&mut *text))?;
        Ok(text.end(b'}')?)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Failed> {
        Ok(self.list())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Failed> {
        Ok(self.list())
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Failed> {
        Ok(self.list())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Failed> {
        let members = self.variant(variant)?.list();
        Ok(Members {
            ends: b"]}",
            ..members
        })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Failed> {
        Ok(self.object())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Failed> {
        Ok(self.object())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Failed> {
        let members = self.variant(variant)?.object();
        Ok(Members {
            ends: b"}}",
            ..members
        })
    }
}

/// Writes the members of a list or an object.
pub(super) struct Members<'t, 'w> {
    text: &'t mut Text<'w>,
    /// The brackets that close it.
    ends: &'static [u8],
}

impl Members<'_, '_> {
    fn member<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        self.text.next()?;
        value.serialize(Serializer(self.text))
    }

    fn field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Failed> {
        self.text.field(name)?;
        value.serialize(Serializer(self.text))
    }

    fn close(self) -> Result<(), Failed> {
        for bracket in self.ends {
            self.text.end(*bracket)?;
        }
        Ok(())
    }
}

macro_rules! members {
    ($($trait:ident: $method:ident,)*) => {$(
        impl ser::$trait for Members<'_, '_> {
            type Ok = ();
            type Error = Failed;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
                self.member(value)
            }

            fn end(self) -> Result<(), Failed> {
                self.close()
            }
        }
    )*};
}

members! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

macro_rules! fields {
    ($($trait:ident,)*) => {$(
        impl ser::$trait for Members<'_, '_> {
            type Ok = ();
            type Error = Failed;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Failed> {
                self.field(name, value)
            }

            fn end(self) -> Result<(), Failed> {
                self.close()
            }
        }
    )*};
}

fields! {
    SerializeStruct,
    SerializeStructVariant,
}

impl ser::SerializeMap for Members<'_, '_> {
    type Ok = ();
    type Error = Failed;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Failed> {
        self.text.next()?;
        let start = self.text.bytes.len();
        key.serialize(Serializer(self.text))?;
        // RFC 8259 section 4: a name is a string.
        if self.text.bytes.get(start) == Some(&b'"') {
            Ok(())
        } else {
            Err(Failed::custom("a name in a JSON object must be a text"))
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        self.text.bytes.push(b':');
        value.serialize(Serializer(self.text))
    }

    fn end(self) -> Result<(), Failed> {
        self.close()
    }
}
