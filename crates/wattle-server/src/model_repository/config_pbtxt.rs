//! Triton's model configuration: `config.pbtxt` in, JSON out.

use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value;

use crate::data_plane::proto::{self, ModelConfig};

fn descriptor() -> MessageDescriptor {
    proto::descriptor("inference.ModelConfig")
}

/// Reads the protobuf text form. The error says what was found and what was expected.
pub fn parse_text(text: &str) -> Result<ModelConfig, String> {
    let message = DynamicMessage::parse_text_format(descriptor(), &with_colons_before_lists(text))
        .map_err(|error| error.to_string())?;
    message.transcode_to().map_err(|error| error.to_string())
}

/// Puts in the colon that the text format lets one leave out before a list of messages
/// (`input [ { ... } ]`, as most owners write it) and that the parser asks for.
fn with_colons_before_lists(text: &str) -> String {
    let mut colons = String::with_capacity(text.len() + 16);
    let (mut quote, mut is_escaped, mut is_comment) = (None, false, false);
    // The last character that says anything, outside of text and comments.
    let mut last = ' ';
    for character in text.chars() {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if character == '\\' => is_escaped = true,
            Some(end) if character == end => quote = None,
            Some(_) => {}
            None if is_comment => is_comment = character != '\n',
            None => match character {
                '#' => is_comment = true,
                '"' | '\'' => (quote, last) = (Some(character), character),
                '[' => {
                    if last.is_alphanumeric() || last == '_' {
                        colons.push(':');
                    }
                    last = character;
                }
                _ if !character.is_whitespace() => last = character,
                _ => {}
            },
        }
        colons.push(character);
    }
    colons
}

/// Reads the JSON form, as a repository load request carries it. Unlike protobuf's own JSON, a number
/// may stand as text (`"16"`): clients send it so.
pub fn parse_json(text: &str) -> Result<ModelConfig, String> {
    let mut from = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(descriptor(), &mut from).map_err(|error| error.to_string())?;
    from.end().map_err(|error| error.to_string())?;
    message.transcode_to().map_err(|error| error.to_string())
}

/// The JSON form that Triton's clients read.
pub fn to_json(config: &ModelConfig) -> Value {
    proto::to_json("inference.ModelConfig", config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        name: "resnet" platform: "onnxruntime_onnx" max_batch_size: 8
        input [ { name: "data", data_type: TYPE_FP32, dims: [ 3, -1, -1 ] } ]
        output { name: "prob" data_type: TYPE_FP32 dims: 1000 label_filename: "labels.txt" }
        instance_group [ { count: 2 kind: KIND_CPU } ]
        dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
        parameters { key: "intra_op_thread_count" value { string_value: "2" } }
    "#;

    #[test]
    fn reads_what_tritons_owners_write() {
        let config = parse_text(TEXT).unwrap();
        assert_eq!(config.max_batch_size, 8);
        assert_eq!(config.input[0].dims, [3, -1, -1]);
        assert_eq!(config.instance_group[0].count, 2);
    }

    #[test]
    fn a_list_of_messages_needs_no_colon_and_text_is_left_alone() {
        let check = |text: &str, expected: &str| assert_eq!(with_colons_before_lists(text), expected);
        check("input [ { dims: [1] } ]", "input :[ { dims: [1] } ]");
        check("input[\n{}]", "input:[\n{}]");
        check(r#"name: "a\"b [" # c [ d"#, r#"name: "a\"b [" # c [ d"#);
    }

    #[test]
    fn an_unknown_field_is_an_error_that_names_it() {
        let error = parse_text("name: \"m\"\nmax_batchsize: 4").unwrap_err();
        assert!(error.contains("max_batchsize"), "{error}");
    }

    #[test]
    fn json_has_proto_names_and_plain_numbers() {
        let json = to_json(&parse_text(TEXT).unwrap());
        assert_eq!(json["max_batch_size"], 8);
        assert_eq!(json["input"][0]["data_type"], "TYPE_FP32");
        assert_eq!(json["input"][0]["dims"][1], -1);
        assert_eq!(json["dynamic_batching"]["max_queue_delay_microseconds"], 100);
        assert_eq!(parse_json(&json.to_string()).unwrap(), parse_text(TEXT).unwrap());
        assert_eq!(parse_json(r#"{"max_batch_size": "16"}"#).unwrap().max_batch_size, 16);
    }
}
