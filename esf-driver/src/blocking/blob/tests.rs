use std::io::Cursor;

use super::*;

fn read_all(source: &mut impl BlobSource, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let piece = source.read(bytes.len() as u64, most)?;
        if piece.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&piece);
    }
}

#[test]
fn every_source_gives_its_bytes_and_only_some_go_back() {
    let text = b"hello world";
    let mut bytes = Bytes::from_static(text);
    let mut reader = BlobReader::new(&text[..], Some(11));
    let mut seeker = BlobSeeker::new(Cursor::new(text.to_vec()), None);
    for most in [3, 100] {
        assert_eq!(read_all(&mut bytes, most).unwrap(), text);
        assert_eq!(read_all(&mut seeker, most).unwrap(), text);
    }
    assert_eq!(read_all(&mut reader, 3).unwrap(), text);
    assert_eq!(reader.read(0, 3).unwrap_err().kind(), ErrorKind::NotSeekable);
    assert_eq!((bytes.can_seek(), seeker.can_seek(), reader.can_seek()), (true, true, false));
    assert_eq!((bytes.total(), seeker.total(), reader.total()), (Some(11), None, Some(11)));
}

#[test]
fn a_file_is_read_and_a_folder_is_none() {
    let path = std::env::temp_dir().join(format!("esf-blocking-blob-{}", std::process::id()));
    std::fs::write(&path, "hello world").unwrap();
    let mut file = BlobFile::open(&path).unwrap();
    assert_eq!(read_all(&mut file, 4).unwrap(), b"hello world");
    assert_eq!((file.total(), file.can_seek()), (Some(11), true));
    std::fs::remove_file(&path).unwrap();
    let folder = BlobFile::open(std::env::temp_dir()).map(drop).unwrap_err();
    assert_eq!(folder.kind(), ErrorKind::IsADirectory);
}
