//! JSON values that forgive: a value of the wrong type is taken as missing, and costs nothing else.
//!
//! With these, one bad member of a document never rejects the document; only broken syntax does.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use mailkeep_model::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A time as JSON feeds write it: RFC 3339, or without an offset, which is UTC then (CVE Record
/// Format, `timestamp`).
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        let time = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(time.timestamp())
    })
}

/// A text; empty where the value is missing or no text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

/// An object; `None` where the value is missing or no object. Boxed, so that a list of wrong values
/// stays small.
#[derive(Debug, Clone)]
pub(crate) struct Object<T>(pub(crate) Option<Box<T>>);

/// An array; empty where the value is missing or no array.
#[derive(Debug, Clone)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl Text<'_> {
    /// The text, trimmed.
    pub(crate) fn get(&self) -> &str {
        self.0.trim()
    }

    /// The text, unless it is empty.
    pub(crate) fn some(&self) -> Option<&str> {
        Some(self.get()).filter(|text| !text.is_empty())
    }
}

impl<T> Object<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }
}

impl<T> List<T> {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<T> List<Object<T>> {
    /// The members that are objects.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(Object::get)
    }

    /// How many members are no objects.
    pub(crate) fn wrong(&self) -> usize {
        self.0.iter().filter(|object| object.0.is_none()).count()
    }
}

/// The visits of every type but the wanted ones, each giving the same.
macro_rules! otherwise {
    ($value:expr; $($kind:ident)*) => {$(
        otherwise!(@ $value; $kind);
    )*};
    (@ $value:expr; scalar) => {
        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok($value)
        }
    };
    (@ $value:expr; text) => {
        fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
            Ok($value)
        }
    };
    (@ $value:expr; array) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok($value)
        }
    };
    (@ $value:expr; object) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok($value)
        }
    };
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for TextVisitor<'a> {
            type Value = Text<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text)))
            }
            otherwise! { Text::default(); scalar array object }
        }
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|t| Object(Some(Box::new(t))))
            }
            otherwise! { Object(None); scalar text array }
        }
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = List<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(List(items))
            }
            otherwise! { List(Vec::new()); scalar text object }
        }
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Sample<'a> {
        #[serde(borrow)]
        name: Text<'a>,
        #[serde(borrow)]
        inner: Object<Self>,
        #[serde(borrow)]
        list: List<Object<Self>>,
    }

    #[test]
    fn a_time_without_offset_is_utc() {
        let with = timestamp("2026-01-02T03:04:05Z");
        assert!(with.is_some());
        assert_eq!(timestamp("2026-01-02T03:04:05"), with);
        assert_eq!(timestamp("2026-01-02T04:04:05+01:00"), with);
        assert_eq!(timestamp("soon"), None);
    }

    #[test]
    fn a_wrong_type_costs_only_itself() {
        for wrong in ["1", "-1", "1.5", "true", "null", "[1,{}]", "{\"a\":[]}"] {
            let text =
                format!(r#"{{"inner":{wrong},"name":{wrong},"list":[{wrong},{{"name":"x"}}]}}"#);
            let sample: Sample<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(sample.name.some(), None, "{wrong}");
            assert_eq!(sample.list.objects().last().unwrap().name.get(), "x");
        }
        let sample: Sample<'_> =
            serde_json::from_str(r#"{"list":"x","inner":"x","name":"a\u0062"}"#).unwrap();
        assert!(sample.list.0.is_empty() && sample.inner.get().is_none());
        assert_eq!(sample.name.get(), "ab");
    }
}
