//! Uploads and their parts, apart from S3's requests: what they go by, what XML says of them, and which object they make.
//! The manner of minikeyvalue has uploads as well, and they are these.
//!
//! 1. What is no such document, names nothing, or asks for more than is done, is refused.
//! 2. Parts make an object in the order of their numbers, each as it lies there when the object becomes known.

use olivine_blobs::{attributes::Parts, manifest, own, row::Row};
use s3s::{
    crypto::{Checksum as _, Md5},
    dto::{CompletedMultipartUpload, Delete},
    xml::{Deserialize, Deserializer},
};

use crate::{
    store::{Stop, Store},
    told::tag,
};

/// The most keys that are deleted at once.
pub const KEYS_MAX: usize = 1_000;

/// What an upload goes by.
pub fn upload_id(upload: u64) -> String {
    format!("{upload:016x}")
}

/// The upload that goes by this; nothing if none can.
pub fn upload_of_id(id: &str) -> Option<u64> {
    let is_ours = id.len() == 16 && id.bytes().all(|c| c.is_ascii_hexdigit());
    is_ours.then(|| u64::from_str_radix(id, 16).ok()).flatten()
}

/// A part that an object is to be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its number; none has the number 0.
    pub number: u32,
    /// What it must be, if somebody says so: its tag, without the quotes.
    pub tag: Option<String>,
}

/// What an object is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// For the attributes of the object.
    pub made_of: Parts,
    /// For its bytes.
    pub parts: Vec<manifest::Part>,
}

/// Why parts make no object.
#[derive(Debug)]
pub enum NoObject {
    /// They are none, or too many.
    Count,
    /// There is no part of this number, or it is another than was named.
    Absent(u32),
    /// They are not in the order of their numbers.
    Order,
    /// One that is not the last is too short.
    Short,
    /// The store does not tell.
    Stop(Stop),
}

/// The tag of a part or an object, without quotes.
pub fn tag_of(row: &Row) -> String {
    tag(row)
}

/// Finds the parts of an upload that an object is to be made of; those before the last have at least `bytes_min`.
pub fn gather<S: Store>(
    store: &S,
    upload: u64,
    named: &[Named],
    bytes_min: u64,
) -> Result<Gathered, NoObject> {
    if named.is_empty() || manifest::PARTS_MAX < named.len() {
        return Err(NoObject::Count);
    }
    let mut parts: Vec<manifest::Part> = Vec::with_capacity(named.len());
    let mut digests = Md5::new();
    for (nth, Named { number, tag: wanted }) in named.iter().enumerate() {
        let number = *number;
        if parts.last().is_some_and(|before| number <= before.number) {
            return Err(NoObject::Order);
        }
        let row = store.row(&own::part_key(upload, number)).map_err(NoObject::Stop)?;
        let row = row.ok_or(NoObject::Absent(number))?;
        let is_it = wanted.as_ref().is_none_or(|wanted| *wanted == tag(&row));
        let digest = row.digest.filter(|_| is_it).ok_or(NoObject::Absent(number))?;
        if row.bytes < bytes_min && nth + 1 < named.len() {
            return Err(NoObject::Short);
        }
        digests.update(&digest);
        let (generation, bytes) = (row.generation, row.bytes);
        parts.push(manifest::Part { number, generation, bytes });
    }
    let bytes = parts.iter().map(|part| part.bytes).sum();
    let made_of = Parts { upload, count: parts.len() as u64, bytes, digest: digests.finalize() };
    Ok(Gathered { made_of, parts })
}

/// The parts that a document names which completes an upload.
pub fn read_parts(document: &[u8]) -> Result<Vec<Named>, String> {
    let completed: CompletedMultipartUpload = read(document, "CompleteMultipartUpload")?;
    let parts = completed.parts.unwrap_or_default();
    if parts.is_empty() || manifest::PARTS_MAX < parts.len() {
        return Err(format!("an object is made of 1 to {} parts", manifest::PARTS_MAX));
    }
    let named = parts.into_iter().map(|part| {
        let number = part.part_number.and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| *number != 0);
        let number = number.ok_or("a part has a `PartNumber`, a whole number from 1")?;
        // Who was never told a tag may name an empty one.
        let tag = part.e_tag.map(|tag| tag.value().to_owned()).filter(|tag| !tag.is_empty());
        Ok(Named { number, tag })
    });
    named.collect()
}

/// The keys that a document names which deletes several.
pub fn read_keys(document: &[u8]) -> Result<Vec<String>, String> {
    let delete: Delete = read(document, "Delete")?;
    if delete.objects.is_empty() || KEYS_MAX < delete.objects.len() {
        return Err(format!("1 to {KEYS_MAX} objects are deleted at once"));
    }
    let key = |object: s3s::dto::ObjectIdentifier| {
        if object.version_id.is_some()
            || object.e_tag.is_some()
            || object.last_modified_time.is_some()
            || object.size.is_some()
        {
            return Err("an object is deleted by its `Key`, and nothing else".to_owned());
        }
        match object.key {
            key if key.is_empty() => Err("a `Key` is empty".to_owned()),
            key => Ok(key),
        }
    };
    delete.objects.into_iter().map(key).collect()
}

fn read<T: for<'xml> Deserialize<'xml>>(document: &[u8], name: &str) -> Result<T, String> {
    let mut reader = Deserializer::new(document);
    let read = T::deserialize(&mut reader).and_then(|read| reader.expect_eof().map(|()| read));
    read.map_err(|error| format!("the body is no `{name}` as S3 has it: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_go_by_names_that_come_back() {
        for upload in [0, 77, u64::MAX] {
            assert_eq!(upload_of_id(&upload_id(upload)), Some(upload));
        }
        for wrong in ["", "1", "000000000000000g", "+00000000000004d", "00000000000000000"] {
            assert_eq!(upload_of_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parts_are_read_as_clients_write_them() {
        let document = "<?xml version=\"1.0\"?>\n<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n\
            <Part><ETag>&quot;ab&quot;</ETag><PartNumber>1</PartNumber></Part>\
            <Part><PartNumber>7</PartNumber></Part><Part><PartNumber>8</PartNumber><ETag></ETag></Part>\
            </CompleteMultipartUpload>\n";
        let named = |number, tag: Option<&str>| Named { number, tag: tag.map(str::to_owned) };
        let wanted = [named(1, Some("ab")), named(7, None), named(8, None)];
        assert_eq!(read_parts(document.as_bytes()).unwrap(), wanted);
        let end = document.len() - 10;
        for wrong in [
            "",
            "no XML",
            "<Delete></Delete>",
            "<CompleteMultipartUpload/>",
            "<CompleteMultipartUpload><Part><ETag>a</ETag></Part></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><PartNumber>0</PartNumber></Part></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><PartNumber>-1</PartNumber></Part></CompleteMultipartUpload>",
            &document[..end],
            &format!("{document}<more/>"),
        ] {
            read_parts(wrong.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn keys_are_read_and_no_more_than_keys() {
        let document = |objects: &str| format!("<Delete><Quiet>true</Quiet>{objects}</Delete>");
        let object = |inner: &str| format!("<Object><Key>{inner}</Object>");
        let two = object("a &amp; b</Key>") + &object("c&#47;d</Key>");
        assert_eq!(read_keys(document(&two).as_bytes()).unwrap(), ["a & b", "c/d"]);
        let most = object("k</Key>").repeat(KEYS_MAX);
        assert_eq!(read_keys(document(&most).as_bytes()).unwrap().len(), KEYS_MAX);
        for wrong in [
            String::new(),
            object("</Key>"),
            object("<![CDATA[k]]></Key>"),
            object("k</Key><VersionId>1</VersionId>"),
            object("k</Key><Size>1</Size>"),
            object("k"),
            object("&unknown;</Key>"),
            most + &object("k</Key>"),
        ] {
            read_keys(document(&wrong).as_bytes()).unwrap_err();
        }
    }
}
