//! smol.

use std::{io, net::TcpStream, time::Duration};

use esf_driver::{
    blob::SendingBlob,
    client::{Client, ClientBuilder, Config},
    runtime::{BoxFuture, BoxStream},
    server::ServerBuilder,
};
use smol::Async;

use super::{futures::Adapter, spec::Blob};

#[derive(Clone, Copy)]
pub(crate) struct Smol;

impl Adapter for Smol {
    fn client(self, url: &str, config: Config) -> ClientBuilder {
        esf_smol::client(url, config)
    }

    fn server(self) -> ServerBuilder {
        esf_smol::server()
    }

    fn block_on<T>(self, future: impl Future<Output = T>) -> T {
        smol::block_on(future)
    }

    fn spawn(self, task: BoxFuture<'static, ()>) {
        smol::spawn(task).detach();
    }

    fn sleep(self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            smol::Timer::after(time).await;
        })
    }

    fn stream(self, stream: TcpStream) -> io::Result<BoxStream> {
        Ok(esf_smol::io(Async::new(stream)?))
    }

    fn send_file(self, client: &Client, blob: &Blob, path: &str) -> BoxFuture<'static, io::Result<SendingBlob>> {
        let (client, blob, path) = (client.clone(), blob.clone(), path.to_owned());
        Box::pin(async move {
            let file = esf_smol::BlobFile::open(path).await?;
            client.send_blob((&blob.to).into(), blob.info_type, &blob.name, file).map_err(io::Error::other)
        })
    }
}
