//! Makes a [`Tree`] of a statement in the library's types, which know how to be serialised: this is their serialiser.

use std::fmt;

use serde::ser::{self, Serialize};

use super::{DEPTH_MAX, Node, Tree};

/// Whether a field only tells a place in the text, which a tree leaves out.
fn is_place(field: &str) -> bool {
    field == "location"
        || field.ends_with("_location")
        || field == "stmt_len"
        || matches!(field, "list_start" | "list_end")
        || field.ends_with("_list_start")
        || field.ends_with("_list_end")
}

/// Makes the tree of one value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Builder {
    /// The number of levels above the value.
    depth: usize,
}

/// Why a value is no tree.
#[derive(Debug)]
pub(super) struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl ser::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Refusal(message.to_string())
    }
}

type Built = Result<Option<Tree>, Refusal>;
type Never = ser::Impossible<Option<Tree>, Refusal>;

/// The error of a shape that the library's types do not have.
fn unknown_shape<T>() -> Result<T, Refusal> {
    Err(Refusal("a tree of an unknown form".to_owned()))
}

/// Refuses the shapes that the library's types do not have.
macro_rules! refuse {
    ($($name:ident$(<$value:ident>)?($($kind:ty),*) -> $built:ty;)*) => {$(
        fn $name$(<$value: Serialize + ?Sized>)?(self, $(_: $kind),*) -> $built {
            unknown_shape()
        }
    )*};
}

macro_rules! numbers {
    ($($name:ident($kind:ty))*) => {$(
        fn $name(self, value: $kind) -> Built {
            integer_node(i64::from(value))
        }
    )*};
}

fn integer_node(number: i64) -> Built {
    Ok((number != 0).then_some(Tree::Number(number)))
}

impl ser::Serializer for Builder {
    type Ok = Option<Tree>;
    type Error = Refusal;
    type SerializeSeq = ListBuilder;
    type SerializeStruct = NodeBuilder;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStructVariant = Never;

    numbers! { serialize_bool(bool) serialize_i32(i32) serialize_i64(i64) serialize_u32(u32) }

    fn serialize_u64(self, value: u64) -> Built {
        i64::try_from(value).map_or_else(|_| unknown_shape(), integer_node)
    }

    fn serialize_str(self, value: &str) -> Built {
        Ok((!value.is_empty()).then(|| Tree::Text(value.to_owned())))
    }

    fn serialize_none(self) -> Built {
        Ok(None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Built {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        kind: &'static str,
        value: &T,
    ) -> Built {
        match value.serialize(self)? {
            Some(Tree::Node(node)) => Ok(Some(Tree::Node(Node { kind, ..node }))),
            _ => unknown_shape(),
        }
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListBuilder, Refusal> {
        Ok(ListBuilder { items: Vec::with_capacity(len.unwrap_or(0)), depth: self.depth })
    }

    fn serialize_struct(self, kind: &'static str, _: usize) -> Result<NodeBuilder, Refusal> {
        if self.depth > DEPTH_MAX {
            return Err(Refusal(format!("it is nested more than {DEPTH_MAX} levels deep")));
        }
        Ok(NodeBuilder { node: Node { kind, fields: Vec::new() }, wrapped: None, depth: self.depth })
    }

    refuse! {
        serialize_i8(i8) -> Built;
        serialize_i16(i16) -> Built;
        serialize_u8(u8) -> Built;
        serialize_u16(u16) -> Built;
        serialize_f32(f32) -> Built;
        serialize_f64(f64) -> Built;
        serialize_char(char) -> Built;
        serialize_bytes(&[u8]) -> Built;
        serialize_unit() -> Built;
        serialize_unit_struct(&'static str) -> Built;
        serialize_unit_variant(&'static str, u32, &'static str) -> Built;
        serialize_newtype_struct<T>(&'static str, &T) -> Built;
        serialize_tuple(usize) -> Result<Never, Refusal>;
        serialize_tuple_struct(&'static str, usize) -> Result<Never, Refusal>;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Result<Never, Refusal>;
        serialize_map(Option<usize>) -> Result<Never, Refusal>;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Result<Never, Refusal>;
    }
}

#[derive(Debug)]
pub(super) struct ListBuilder {
    items: Vec<Tree>,
    depth: usize,
}

impl ser::SerializeSeq for ListBuilder {
    type Ok = Option<Tree>;
    type Error = Refusal;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Refusal> {
        self.items.push(item.serialize(Builder { depth: self.depth })?.unwrap_or(Tree::Nothing));
        Ok(())
    }

    fn end(self) -> Built {
        Ok((!self.items.is_empty()).then_some(Tree::List(self.items)))
    }
}

#[derive(Debug)]
pub(super) struct NodeBuilder {
    node: Node,
    /// What stands in the library's type `Node`, which only says that there is one of many types.
    wrapped: Option<Option<Tree>>,
    depth: usize,
}

impl ser::SerializeStruct for NodeBuilder {
    type Ok = Option<Tree>;
    type Error = Refusal;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Refusal> {
        if is_place(name) {
            return Ok(());
        }
        let value = value.serialize(Builder { depth: self.depth + 1 })?;
        if self.node.kind == "Node" {
            self.wrapped = Some(value);
        } else if let Some(value) = value {
            self.node.fields.push((name, value));
        }
        Ok(())
    }

    fn end(self) -> Built {
        Ok(self.wrapped.unwrap_or(Some(Tree::Node(self.node))))
    }
}
