//! gzip and deflate bodies, both ways. Deflate has zlib framing, as HTTP means it.

use std::io::{Read, Write};

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use super::error::{ApiError, ErrorKind};

/// The body as it was before its Content-Encoding, at most `limit` bytes.
pub fn decompress(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, ApiError> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else { return Ok(body) };
    match encoding.as_bytes() {
        b"identity" => Ok(body),
        b"gzip" => read_all(GzDecoder::new(body.as_ref()), limit),
        b"deflate" => read_all(ZlibDecoder::new(body.as_ref()), limit),
        _ => Err(ApiError::new(
            ErrorKind::Unsupported,
            format!("Content-Encoding {encoding:?} is not supported, expected gzip or deflate"),
        )),
    }
}

fn read_all(from: impl Read, limit: usize) -> Result<Bytes, ApiError> {
    let mut body = Vec::new();
    from.take(limit as u64 + 1)
        .read_to_end(&mut body)
        .map_err(|error| ApiError::invalid(format!("failed to decompress the body: {error}")))?;
    if body.len() > limit {
        return Err(too_large(limit));
    }
    Ok(body.into())
}

/// The error of a body over the limit.
pub fn too_large(limit: usize) -> ApiError {
    ApiError::new(
        ErrorKind::TooLarge,
        format!(
            "the request body is larger than the {limit} bytes this server takes; send less, or raise --max-request-bytes"
        ),
    )
}

/// The encoding the client takes and we give, if any: `gzip`, else `deflate`.
pub fn accepted(headers: &HeaderMap) -> Option<&'static str> {
    let accepted = headers.get(ACCEPT_ENCODING)?.to_str().ok()?;
    let takes = |wanted: &str| {
        accepted.split(',').any(|one| {
            let (name, weight) = one.split_once(';').unwrap_or((one, ""));
            name.trim() == wanted && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        })
    };
    ["gzip", "deflate"].into_iter().find(|encoding| takes(encoding))
}

/// `slices` as one compressed body.
pub fn compress(encoding: &str, slices: &[Bytes]) -> std::io::Result<Bytes> {
    fn write_into(mut to: impl Write, slices: &[Bytes]) -> std::io::Result<()> {
        slices.iter().try_for_each(|slice| to.write_all(slice))
    }
    // The fastest level: the client asked to save its network, not our cores.
    let level = Compression::fast();
    if encoding == "gzip" {
        let mut to = GzEncoder::new(Vec::new(), level);
        write_into(&mut to, slices)?;
        Ok(to.finish()?.into())
    } else {
        let mut to = ZlibEncoder::new(Vec::new(), level);
        write_into(&mut to, slices)?;
        Ok(to.finish()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn what_is_compressed_comes_back_and_never_larger_than_the_limit() {
        let body = Bytes::from(vec![7_u8; 10_000]);
        for encoding in ["gzip", "deflate"] {
            let slices = [body.slice(..3), body.slice(3..)];
            let compressed = compress(encoding, &slices).unwrap();
            assert!(compressed.len() < 200);
            let headers = headers(CONTENT_ENCODING, encoding);
            assert_eq!(decompress(&headers, compressed.clone(), 10_000).unwrap(), body);
            let error = decompress(&headers, compressed, 9_999).unwrap_err();
            assert_eq!(error.kind, ErrorKind::TooLarge);
        }
        let error = decompress(&headers(CONTENT_ENCODING, "br"), body, 10).unwrap_err();
        assert!(error.text.contains("expected gzip or deflate"), "{error}");
    }

    #[test]
    fn an_encoding_is_given_only_to_those_who_take_it() {
        let check =
            |value, expected| assert_eq!(accepted(&headers(ACCEPT_ENCODING, value)), expected, "{value}");
        check("gzip, deflate", Some("gzip"));
        check("br;q=1.0, deflate;q=0.5", Some("deflate"));
        check("gzip;q=0, deflate", Some("deflate"));
        check("identity", None);
        assert_eq!(accepted(&HeaderMap::new()), None);
    }
}
