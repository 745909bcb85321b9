//! The protocol's messages, generated from `proto/` at build time.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]

tonic::include_proto!("inference");

/// The compiled .proto files, for reading and writing messages as text and JSON.
static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The description of the message of that name, for its text and JSON forms.
pub fn descriptor(name: &str) -> prost_reflect::MessageDescriptor {
    use std::sync::LazyLock;
    static POOL: LazyLock<prost_reflect::DescriptorPool> = LazyLock::new(|| {
        prost_reflect::DescriptorPool::decode(DESCRIPTORS)
            .expect("the descriptors were compiled by our build script")
    });
    POOL.get_message_by_name(name).expect("the .proto files define it")
}

/// The JSON form of the message of that name that Triton's clients read: field names as in the .proto
/// file, defaults included, 64-bit numbers as numbers.
pub fn to_json(name: &str, message: &impl prost::Message) -> serde_json::Value {
    let message = prost_reflect::DynamicMessage::decode(descriptor(name), message.encode_to_vec().as_slice())
        .expect("both sides come from one .proto file");
    let options = prost_reflect::SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(false)
        .stringify_64_bit_integers(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap_or(serde_json::Value::Null)
}
