//! Splits documents into bulks that the server accepts as one command.

use mongodb::bson::{Document, RawDocumentBuf};

/// Most bytes of one command; the server accepts 48 MB.
const COMMAND_BYTES: usize = 8 << 20;

/// A document with an encoded size in bytes.
pub(super) trait EncodedSize {
    fn encoded_size(&self) -> usize;
}

impl EncodedSize for RawDocumentBuf {
    fn encoded_size(&self) -> usize {
        self.as_bytes().len()
    }
}

impl EncodedSize for Document {
    fn encoded_size(&self) -> usize {
        mongodb::bson::serialize_to_raw_document_buf(self).map_or(0, |raw| raw.as_bytes().len())
    }
}

/// Splits documents into bulks of at most `most` documents and [`COMMAND_BYTES`].
pub(super) fn split<T: EncodedSize>(documents: Vec<T>, most: usize) -> Vec<Vec<T>> {
    let mut bulks = Vec::new();
    let (mut bulk, mut bytes) = (Vec::new(), 0);
    for document in documents {
        let size = document.encoded_size();
        if !bulk.is_empty() && (bulk.len() >= most || bytes + size > COMMAND_BYTES) {
            bulks.push(std::mem::take(&mut bulk));
            bytes = 0;
        }
        bytes += size;
        bulk.push(document);
    }
    if !bulk.is_empty() {
        bulks.push(bulk);
    }
    bulks
}
