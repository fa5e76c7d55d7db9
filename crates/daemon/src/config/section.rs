//! What a section of a configuration is: documented fields with defaults.

use serde::{Serialize, de::DeserializeOwned};
use serde_yaml::{Mapping, Value};

use super::{Problems, problem};

/// A group of documented settings; made by [`crate::section!`], never by hand.
pub trait Section: Default + Clone + Serialize + DeserializeOwned {
    /// What the group is about.
    fn doc() -> &'static str;

    /// Its fields in the order in which they are written.
    fn fields() -> Vec<Field>;

    /// Adds all that is wrong in `value` to `problems`; `path` is where the section stands.
    fn check(value: &mut Value, path: &str, problems: &mut Problems);
}

/// One setting.
#[derive(Clone, Debug)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// What it does, for whom; several lines may be.
    pub doc: &'static str,
    /// What stands under it.
    pub shape: Shape,
}

/// What stands under a key.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A value.
    Value,
    /// A section.
    Section(Vec<Field>),
    /// A list of sections.
    List(Vec<Field>),
}

/// Describes a section: a struct whose every field has a doc comment and a default.
///
/// ```
/// daemon::section! {
///     /// Where encoders and viewers connect.
///     #[derive(PartialEq)]
///     pub struct Rtmp {
///         /// The address to listen on.
///         pub listen: std::net::SocketAddr = ([127, 0, 0, 1], 1935).into(),
///         /// How long an encoder may be away.
///         pub grace: daemon::config::Period = daemon::config::Period::from_secs(15),
///     }
/// }
/// # assert_eq!(Rtmp::default().listen.port(), 1935);
/// ```
///
/// The struct gets `Clone`, `Debug`, `Default`, `Serialize`, `Deserialize` and [`Section`]; further derives may be given.
/// Keys that it does not know are refused, keys that are not written have their default. A field whose type is itself a
/// section, an `Option` or a `Vec` of one, is described and checked key by key. The using crate needs `serde`.
#[macro_export]
macro_rules! section {
    (
        $(#[$($meta:tt)*])*
        $vis:vis struct $name:ident {
            $( $(#[$($field_meta:tt)*])* $field_vis:vis $field:ident : $type:ty = $default:expr ),* $(,)?
        }
    ) => {
        $(#[$($meta)*])*
        #[derive(Clone, Debug, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        $vis struct $name {
            $( $(#[$($field_meta)*])* $field_vis $field: $type, )*
        }

        impl ::std::default::Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::config::Section for $name {
            fn doc() -> &'static str {
                ::std::concat!($( $crate::doc_line!($($meta)*), )* "")
            }

            fn fields() -> ::std::vec::Vec<$crate::config::Field> {
                #[allow(unused_imports)]
                use $crate::config::probe::{Nested as _, Plain as _, Probe};
                ::std::vec![$( $crate::config::Field {
                    name: ::std::stringify!($field),
                    doc: ::std::concat!($( $crate::doc_line!($($field_meta)*), )* ""),
                    shape: (&Probe::<$type>::NEW).shape(),
                }, )*]
            }

            fn check(
                value: &mut $crate::config::probe::Value,
                path: &str,
                problems: &mut $crate::config::Problems,
            ) {
                #[allow(unused_imports)]
                use $crate::config::probe::{Nested as _, Plain as _, Probe};
                $crate::config::check_section::<Self>(value, path, problems, &mut |name, value, path, problems| {
                    match name {
                        $( ::std::stringify!($field) => {
                            (&Probe::<$type>::NEW).check::<Self>(name, value, path, problems)
                        } )*
                        _ => {}
                    }
                });
            }
        }
    };
}

/// The text of a doc attribute as a line; nothing for any other attribute.
#[doc(hidden)]
#[macro_export]
macro_rules! doc_line {
    (doc = $text:literal) => {
        ::std::concat!($text, "\n")
    };
    ($($other:tt)*) => {
        ""
    };
}

/// Tells at compile time whether a field's type is a section.
///
/// A method call prefers [`probe::Nested`], which takes the probe by one reference, to [`probe::Plain`], which takes it
/// by two; the first exists only for sections and lists of them.
#[doc(hidden)]
pub mod probe {
    use std::marker::PhantomData;

    pub use serde_yaml::Value;

    use super::{Problems, Section, Shape, check_leaf};

    pub struct Probe<T>(PhantomData<T>);

    impl<T> Probe<T> {
        pub const NEW: Self = Self(PhantomData);
    }

    pub trait Nested {
        fn shape(&self) -> Shape;
        fn check<S: Section>(&self, name: &str, value: &mut Value, path: &str, problems: &mut Problems);
    }

    impl<T: Section> Nested for Probe<T> {
        fn shape(&self) -> Shape {
            Shape::Section(T::fields())
        }
        fn check<S: Section>(&self, _name: &str, value: &mut Value, path: &str, problems: &mut Problems) {
            T::check(value, path, problems);
        }
    }

    impl<T: Section> Nested for Probe<Option<T>> {
        fn shape(&self) -> Shape {
            Shape::Section(T::fields())
        }
        fn check<S: Section>(&self, _name: &str, value: &mut Value, path: &str, problems: &mut Problems) {
            if !value.is_null() {
                T::check(value, path, problems);
            }
        }
    }

    impl<T: Section> Nested for Probe<Vec<T>> {
        fn shape(&self) -> Shape {
            Shape::List(T::fields())
        }
        fn check<S: Section>(&self, name: &str, value: &mut Value, path: &str, problems: &mut Problems) {
            match value {
                Value::Sequence(items) => {
                    for (at, item) in items.iter_mut().enumerate() {
                        T::check(item, &format!("{path}[{at}]"), problems);
                    }
                }
                Value::Null => *value = Value::Sequence(Vec::new()),
                _ => check_leaf::<S>(name, value, path, problems),
            }
        }
    }

    pub trait Plain {
        fn shape(&self) -> Shape;
        fn check<S: Section>(&self, name: &str, value: &mut Value, path: &str, problems: &mut Problems);
    }

    impl<T> Plain for &Probe<T> {
        fn shape(&self) -> Shape {
            Shape::Value
        }
        fn check<S: Section>(&self, name: &str, value: &mut Value, path: &str, problems: &mut Problems) {
            check_leaf::<S>(name, value, path, problems);
        }
    }
}

/// Checks a value by reading the section with this one key: the section's own serde attributes hold.
#[doc(hidden)]
pub fn check_leaf<S: Section>(name: &str, value: &Value, path: &str, problems: &mut Problems) {
    let alone = Mapping::from_iter([(Value::from(name), value.clone())]);
    if let Err(error) = serde_yaml::from_value::<S>(Value::Mapping(alone)) {
        let message = error.to_string();
        let message = message.strip_prefix(&format!("{name}: ")).unwrap_or(&message);
        problems.add_with_help(path, message, problem::advice(message));
    }
}

type CheckField<'a> = dyn FnMut(&str, &mut Value, &str, &mut Problems) + 'a;

/// Checks that `value` is a mapping of known keys, and each of their values with `check_field`.
#[doc(hidden)]
pub fn check_section<S: Section>(
    value: &mut Value,
    path: &str,
    problems: &mut Problems,
    check_field: &mut CheckField<'_>,
) {
    // `rtmp:` with nothing under it means all defaults.
    if value.is_null() {
        *value = Value::Mapping(Mapping::new());
    }
    let Some(mapping) = value.as_mapping_mut() else {
        return problems.add(path, "must be keys and values, e.g. `key: value` on the lines below it");
    };
    let fields = S::fields();
    for (key, value) in mapping.iter_mut() {
        let name = match key {
            Value::String(name) => name.clone(),
            other => serde_yaml::to_string(other).unwrap_or_default().trim().to_owned(),
        };
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match fields.iter().any(|field| field.name == name) {
            true => check_field(&name, value, &path, problems),
            false => problems.add_with_help(&path, "unknown key", problem::nearest(&name, &fields)),
        }
    }
}
