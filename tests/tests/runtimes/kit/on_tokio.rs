//! tokio.

use std::{io, net::TcpStream, sync::LazyLock, time::Duration};

use esf_driver::{
    blob::SendingBlob,
    client::{Client, ClientBuilder, Config},
    runtime::{BoxFuture, BoxStream},
    server::ServerBuilder,
};
use tokio::runtime::{Builder, Runtime};

use super::{futures::Adapter, spec::Blob};

#[derive(Clone, Copy)]
pub(crate) struct Tokio;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime"));

impl Adapter for Tokio {
    fn client(self, url: &str, config: Config) -> ClientBuilder {
        let _runtime = RUNTIME.enter();
        esf_tokio::client(url, config)
    }

    fn server(self) -> ServerBuilder {
        let _runtime = RUNTIME.enter();
        esf_tokio::server()
    }

    fn block_on<T>(self, future: impl Future<Output = T>) -> T {
        RUNTIME.block_on(future)
    }

    fn spawn(self, task: BoxFuture<'static, ()>) {
        RUNTIME.spawn(task);
    }

    fn sleep(self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async move { tokio::time::sleep(time).await })
    }

    fn stream(self, stream: TcpStream) -> io::Result<BoxStream> {
        let _runtime = RUNTIME.enter();
        stream.set_nonblocking(true)?;
        Ok(esf_tokio::io(tokio::net::TcpStream::from_std(stream)?))
    }

    fn send_file(self, client: &Client, blob: &Blob, path: &str) -> BoxFuture<'static, io::Result<SendingBlob>> {
        let (client, blob, path) = (client.clone(), blob.clone(), path.to_owned());
        Box::pin(async move {
            let file = esf_tokio::BlobFile::open(path).await?;
            client.send_blob((&blob.to).into(), blob.info_type, &blob.name, file).map_err(io::Error::other)
        })
    }
}
