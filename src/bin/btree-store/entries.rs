//! Single entries and buckets.
//!
//! Owns: `get`, `put`, `del` and `buckets`. Must not know: ranges of entries.

use super::args::{Buckets, Create, Del, Get, Put};
use super::files::{Missing, Source, open_to_read, open_to_write};
use super::outcome::{Code, Done, Failure};
use super::output::Output;
use super::text::Form;
use btree_store::format::VALUE_LEN_MAX;
use btree_store::{BTree, Error};
use std::ffi::OsStr;
use std::io::Write;

/// The bytes that an argument stands for.
pub fn bytes_of(what: &str, form: Form, text: &OsStr) -> Done<Vec<u8>> {
    let read = form.read(text.as_encoded_bytes());
    read.map_err(|why| Failure::usage(format!("{what} {}: {why}", shown(text))))
}

/// The name of a bucket that an argument stands for.
pub fn name_of(text: &OsStr) -> Done<String> {
    let bytes = bytes_of("bucket", Form::Text, text)?;
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("bucket {}: a name is UTF-8", shown(text))))
}

fn shown(text: &OsStr) -> String {
    Form::Text.show(text.as_encoded_bytes())
}

/// That there is no such bucket.
pub fn no_bucket(name: &str) -> Failure {
    Failure::new(Code::NotFound, format!("no bucket {}", Form::Text.show(name.as_bytes())))
}

fn no_key(form: Form, key: &[u8], bucket: &str) -> Failure {
    let (key, bucket) = (form.show(key), Form::Text.show(bucket.as_bytes()));
    Failure::new(Code::NotFound, format!("no key {key} in bucket {bucket}"))
}

/// What happens when there is no file.
pub fn missing(create: Create) -> Missing {
    let Create { create, page_size } = create;
    if create { Missing::Create { page_size } } else { Missing::Fail }
}

/// Prints a value.
pub fn get(args: &Get, out: &mut Output) -> Done {
    let form = Form::of(args.form.hex);
    let (bucket, key) = (name_of(&args.place.bucket)?, bytes_of("key", form, &args.key)?);
    let db = open_to_read(&args.place.file)?;
    let found = db.view(&bucket, |txn| match txn.get_reader(&key) {
        Err(Error::NotFound) => Ok(None),
        found => found.map(Some),
    });
    let mut reader = match found {
        Ok(Some(reader)) => reader,
        Ok(None) => return Err(no_key(form, &key, &bucket)),
        Err(Error::NotFound) => return Err(no_bucket(&bucket)),
        Err(error) => return Err(error.into()),
    };
    if out.is_json() {
        let mut value = Vec::new();
        while let Some(piece) = reader.next_piece()? {
            value.extend_from_slice(piece);
        }
        out.json(|json| {
            json.string("bucket", &Form::Text.show(bucket.as_bytes()));
            json.string("key", &form.show(&key));
            json.string("value", &form.show(&value));
        })?;
        return Ok(Code::Done);
    }
    while let Some(piece) = reader.next_piece()? {
        match form {
            Form::Text => out.out.write_all(piece)?,
            Form::Hex => form.write(piece, &mut out.out)?,
        }
    }
    if form == Form::Hex {
        out.text("\n")?;
    }
    Ok(Code::Done)
}

/// Puts an entry.
pub fn put(args: &Put, out: &mut Output) -> Done {
    let form = Form::of(args.form.hex);
    let (bucket, key) = (name_of(&args.place.bucket)?, bytes_of("key", form, &args.key)?);
    // All of it is there before the file is locked.
    let mut source = match (&args.value, &args.from_file) {
        (Some(value), _) => Source::Bytes(bytes_of("value", form, value)?),
        (None, Some(path)) => Source::of_file(path, VALUE_LEN_MAX)?,
        (None, None) => Source::of_reader(std::io::stdin().lock(), VALUE_LEN_MAX)?,
    };
    let db = open_to_write(&args.place.file, missing(args.create))?;
    let len = db.exec(&bucket, |txn| match &mut source {
        Source::Bytes(bytes) => txn.put(&key, &*bytes).map(|()| bytes.len() as u64),
        Source::File(file, len) => txn.put_from(&key, *len, file).map(|()| *len),
    })?;
    if out.is_json() {
        out.json(|json| {
            json.string("bucket", &Form::Text.show(bucket.as_bytes()));
            json.string("key", &form.show(&key));
            json.number("value_bytes", len);
            json.number("seq", db.current_seq());
        })?;
    }
    Ok(Code::Done)
}

/// Removes an entry or a bucket.
pub fn del(args: &Del, out: &mut Output) -> Done {
    let form = Form::of(args.form.hex);
    let bucket = name_of(&args.place.bucket)?;
    let key = args.key.as_ref().map(|key| bytes_of("key", form, key)).transpose()?;
    let db = open_to_write(&args.place.file, Missing::Fail)?;
    match &key {
        Some(key) => db.exec(&bucket, |txn| txn.del(key)).map_err(|error| match error {
            Error::NotFound => no_key(form, key, &bucket),
            error => error.into(),
        })?,
        None => db.del_bucket(&bucket).map_err(|error| match error {
            Error::NotFound => no_bucket(&bucket),
            error => error.into(),
        })?,
    }
    if out.is_json() {
        out.json(|json| {
            json.string("bucket", &Form::Text.show(bucket.as_bytes()));
            if let Some(key) = &key {
                json.string("key", &form.show(key));
            }
            json.number("seq", db.current_seq());
        })?;
    }
    Ok(Code::Done)
}

/// The buckets of a store with the number of their entries.
pub fn counts(db: &BTree) -> Done<Vec<(String, u64)>> {
    let state = db.snapshot();
    let count = |name: String| {
        let entries = state.view(&name, |txn| Ok(txn.len()))?;
        Ok((name, entries))
    };
    state.buckets()?.into_iter().map(count).collect()
}

/// Lists the buckets.
pub fn buckets(args: &Buckets, out: &mut Output) -> Done {
    let counts = counts(&open_to_read(&args.file)?)?;
    if out.is_json() {
        out.json(|json| {
            json.list("buckets", &counts, |json, (name, entries)| {
                json.string("name", &Form::Text.show(name.as_bytes()));
                json.number("entries", *entries);
            });
        })?;
        return Ok(Code::Done);
    }
    for (name, entries) in counts {
        Form::Text.write(name.as_bytes(), &mut out.out)?;
        out.text(&format!("\t{entries}\n"))?;
    }
    Ok(Code::Done)
}
