use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory of the test's own, which goes with it.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("esf-part-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Waits for the thread that writes.
    async fn until(&self, names: &[&str]) {
        for _ in 0..1000 {
            if self.names() == names {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("not {names:?} but {:?}", self.names());
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_file_has_its_name_only_when_it_is_whole() {
    let dir = Dir::new();
    let mut file = Receiving::start(&dir.0, "a.txt".into());
    file.write("hello ".into()).await.unwrap();
    dir.until(&["a.txt.part"]).await;
    file.write("world".into()).await.unwrap();
    let path = file.finish().await.unwrap();
    assert_eq!((path.as_path(), dir.names()), (dir.0.join("a.txt").as_path(), vec!["a.txt".to_owned()]));
    assert_eq!(fs::read_to_string(path).unwrap(), "hello world");
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let dir = Dir::new();
    fs::write(dir.0.join("a.txt"), "mine").unwrap();
    let files = [0, 1].map(|_| Receiving::start(&dir.0, "a.txt".into()));
    for (number, mut file) in files.into_iter().enumerate() {
        file.write(number.to_string().into()).await.unwrap();
        let path = file.finish().await.unwrap();
        assert_eq!(path, dir.0.join(format!("a-{}.txt", number + 1)));
        assert_eq!(fs::read_to_string(path).unwrap(), number.to_string());
    }
    assert_eq!(fs::read_to_string(dir.0.join("a.txt")).unwrap(), "mine");
    assert_eq!(dir.names(), ["a-1.txt", "a-2.txt", "a.txt"]);
}

#[tokio::test]
async fn a_file_that_is_given_up_leaves_nothing() {
    let dir = Dir::new();
    let mut file = Receiving::start(&dir.0, "a.txt".into());
    file.write("half".into()).await.unwrap();
    dir.until(&["a.txt.part"]).await;
    drop(file);
    dir.until(&[]).await;
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error() {
    let dir = Dir::new();
    let mut file = Receiving::start(&dir.0.join("gone"), "a.txt".into());
    // The first chunks may be taken before the thread has seen it.
    let _ = file.write("x".into()).await;
    assert_eq!(file.finish().await.unwrap_err().kind(), io::ErrorKind::NotFound);
}
